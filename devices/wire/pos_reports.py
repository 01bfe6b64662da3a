"""Where things stand in the reports of a HID POS scanner: as it describes them, or as most have them.

The one idea: a description says for each byte what it is (HID Point of Sale Usage Tables 1.02, page 8C), so that no
maker needs a table of its own here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from devices.wire.hid import Field, Report, input_reports

# Page 8C: symbology id 1 to 3, decoded data, decoded data continued. HID Usage Tables, page 01: Byte Count.
_IDS: Final = range(0x8C00FB, 0x8C00FE)
_DATA, _CONTINUED, _BYTE_COUNT = 0x8C00FE, 0x8C00FF, 0x01003B

USUAL_BYTES: Final = 64
"""A report as long as a packet of a full-speed interrupt endpoint (USB 2.0, §5.7.3)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand in a report, in bytes from its beginning."""

    size: int
    report: int | None
    """The id in the first byte; None: reports have none."""
    length: int | None
    """Where the number of data bytes stands; None: the data end with the last byte that is not zero."""
    ids: tuple[int, ...]
    data: int
    data_most: int
    continued: tuple[int, int] | None
    """Byte and bit that say that more follows."""
    others: Mapping[int, int] = field(default_factory=dict)
    """Other reports of the same device: id → bytes."""
    strict: bool = False
    """Nobody said so: everything that the layout leaves empty must be."""


def usual_layout(size: int = USUAL_BYTES) -> Layout:
    """Report 2: length, AIM id, data, another id, a reserved byte, and "more follows" (Access-IS LSR118 manual)."""
    return Layout(size, 2, 1, (2, 3, 4), 5, size - 8, (size - 1, 0), strict=True)


def layout_of(description: bytes) -> Layout:
    """The layout of the report that has decoded data. Raises ValueError: there is none, or it makes no sense."""
    reports = input_reports(description)
    for report, fields in reports.items():
        if any(each.usage == _DATA for each in fields.fields):
            others = {other: each.bytes_long for other, each in reports.items() if other not in (0, report)}
            return _layout(report, fields, others)
    raise ValueError(
        "no report has decoded data (usage FE of page 8C): set the scanner to HID POS, or take another of its nodes"
    )


def _layout(report: int, description: Report, others: dict[int, int]) -> Layout:
    fields = description.fields
    data = [each for each in fields if each.usage == _DATA]
    ids = [each for each in fields if each.usage in _IDS]
    more = [each for each in fields if each.usage == _CONTINUED]
    counts = [each for each in fields if each.usage == _BYTE_COUNT and each.bits == 8]
    for each, place in zip(data, range(data[0].bit, data[0].bit + 8 * len(data), 8), strict=True):
        _whole_byte(each, place)
    for each in ids:
        _whole_byte(each, each.bit)
    return Layout(
        size=description.bytes_long,
        report=report or None,
        length=counts[0].bit // 8 if counts else _first_byte(report, data + ids),
        ids=tuple(each.bit // 8 for each in sorted(ids, key=lambda each: each.bit)),
        data=data[0].bit // 8,
        data_most=len(data),
        continued=divmod(more[0].bit, 8) if more else None,
        others=others,
    )


def _whole_byte(each: Field, place: int) -> None:
    if each.bits != 8 or each.bit != place or each.bit % 8:
        raise ValueError("the decoded data or symbology ids in its reports are not bytes in a row")


def _first_byte(report: int, known: list[Field]) -> int | None:
    """The length stands first, also where the device does not call it a Byte Count."""
    first = 1 if report else 0
    return first if first * 8 < min(each.bit for each in known) else None


def layout_from_hex(text: str) -> Layout:
    """The layout of a description in hex, as an option has it. Raises ValueError."""
    try:
        return layout_of(bytes.fromhex(text))
    except ValueError as problem:
        raise ValueError(f"must be the hex digits of a report descriptor: {problem}") from None


def layout_or_reason(description: bytes, otherwise: Layout) -> tuple[Layout, str | None]:
    """The layout that the device describes, or another one where it describes none; and why it cannot be used."""
    if not description:
        return otherwise, None
    try:
        return layout_of(description), None
    except ValueError as problem:
        return otherwise, f"the device says of itself: {problem}"

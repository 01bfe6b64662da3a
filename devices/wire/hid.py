"""HID report descriptors: what a device says its input reports mean (USB HID 1.11, §6.2.2). Pure; opens nothing.

The one idea: a descriptor is a program of short items for a small machine with a stack; running it gives, for each
report, which usage stands at which bit. Whoever wrote the descriptor may be wrong or hostile, so every count in it
is checked before it is believed.
"""

from dataclasses import dataclass, field, replace
from typing import Final

# All input reports of a device together. Those of scanners have 64 bytes, and a descriptor has at most 4096.
MAX_BITS: Final = 4096 * 8
_STACK_MOST: Final = 16
_USAGES_MOST: Final = 4096
_VALUE_BYTES: Final = (0, 1, 2, 4)
"""The two lowest bits of an item → bytes of its value."""
_LONG_ITEM: Final = 0xFE
_CONSTANT: Final = 1
"""Bit 0 of an Input item: padding."""

# Items without their size bits (§6.2.2.4 to 6.2.2.8).
_INPUT: Final = 0x80
_MAIN: Final = (_INPUT, 0x90, 0xB0, 0xA0, 0xC0)
"""Input, output, feature, collection and its end: each uses up the usages before it."""
_GLOBALS: Final = {0x04: "page", 0x74: "bits", 0x84: "report", 0x94: "count"}
_PUSH, _POP = 0xA4, 0xB4
_USAGE, _USAGE_FIRST, _USAGE_LAST = 0x08, 0x18, 0x28


@dataclass(frozen=True, slots=True)
class Field:
    """One value in a report."""

    usage: int
    """Page in the upper 16 bits, usage in the lower; 0: padding."""
    bit: int
    """Where it begins, counted from the report's first byte, the report id included."""
    bits: int


@dataclass(frozen=True, slots=True)
class Report:
    """One input report."""

    bytes_long: int
    """With its id, where reports have ids."""
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class _Globals:
    page: int = 0
    bits: int = 0
    count: int = 0
    report: int = 0


@dataclass(slots=True)
class _Machine:
    globals: _Globals = _Globals()
    stack: list[_Globals] = field(default_factory=list)
    usages: list[int] = field(default_factory=list)
    first_usage: int = 0
    reports: dict[int, list[Field]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    """Where the next field of a report begins, in bits."""


def input_reports(descriptor: bytes) -> dict[int, Report]:
    """The input reports by id; 0: the device's reports have none. Raises ValueError for what is no descriptor."""
    machine = _Machine()
    at = 0
    while at < len(descriptor):
        item = descriptor[at]
        if item == _LONG_ITEM:
            at += 3 + (descriptor[at + 1] if at + 1 < len(descriptor) else 0)
            continue
        size = _VALUE_BYTES[item & 3]
        if at + 1 + size > len(descriptor):
            raise ValueError(f"a report descriptor that ends in the middle of an item, at byte {at}")
        _run(machine, item & 0xFC, int.from_bytes(descriptor[at + 1 : at + 1 + size], "little"), size)
        at += 1 + size
    return {
        report: Report((machine.ends[report] + 7) // 8, tuple(fields))
        for report, fields in machine.reports.items()
    }


def _run(machine: _Machine, item: int, value: int, size: int) -> None:
    now = machine.globals
    if item in _GLOBALS:
        if _GLOBALS[item] == "report" and not 1 <= value <= 0xFF:
            raise ValueError(f"a report descriptor with a report id of {value}")
        machine.globals = replace(now, **{_GLOBALS[item]: value})
    elif item == _PUSH:
        if len(machine.stack) >= _STACK_MOST:
            raise ValueError(f"a report descriptor that pushes more than {_STACK_MOST} times")
        machine.stack.append(now)
    elif item == _POP:
        if not machine.stack:
            raise ValueError("a report descriptor that pops what it did not push")
        machine.globals = machine.stack.pop()
    elif item == _USAGE:
        usage = _whole(now, value, size)
        _use(machine, range(usage, usage + 1))
    elif item == _USAGE_FIRST:
        machine.first_usage = _whole(now, value, size)
    elif item == _USAGE_LAST:
        _use(machine, range(machine.first_usage, _whole(now, value, size) + 1))
    elif item in _MAIN:
        if item == _INPUT:
            _input(machine, constant=bool(value & _CONSTANT))
        machine.usages, machine.first_usage = [], 0


def _whole(now: _Globals, value: int, size: int) -> int:
    """A usage of four bytes brings its page along (§6.2.2.8)."""
    return value if size == 4 else (now.page & 0xFFFF) << 16 | value


def _use(machine: _Machine, usages: range) -> None:
    if len(machine.usages) + len(usages) > _USAGES_MOST:
        raise ValueError(f"a report descriptor with more than {_USAGES_MOST} usages for one item")
    machine.usages += usages


def _input(machine: _Machine, *, constant: bool) -> None:
    now = machine.globals
    begin = machine.ends.get(now.report, 8 if now.report else 0)
    if now.bits * now.count > MAX_BITS - sum(machine.ends.values()):
        raise ValueError(f"a report descriptor whose reports are longer than {MAX_BITS // 8} bytes")
    machine.ends[now.report] = begin + now.bits * now.count
    fields = machine.reports.setdefault(now.report, [])
    for place in range(now.count if now.bits else 0):
        usage = 0
        if machine.usages and not constant:
            # Where there are fewer usages than values, the last one is that of all the others (§6.2.2.8).
            usage = machine.usages[min(place, len(machine.usages) - 1)]
        fields.append(Field(usage, begin + place * now.bits, now.bits))

"""The stock events: one row each, what it must carry and what it may.

`check(type, data)` says whether data can be booked; what it refuses is `rejected`, and kept. A new event is one
class and one row here, and one row in central's transition table. Source: docs/contract.md, "Events".
"""

from typing import Annotated, Any, Literal

import msgspec

# A name has no control characters: they would be invisible to people, and PostgreSQL stores no NUL.
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
# Exact in every JSON reader (RFC 8259 §6) and far below what a 64-bit column holds.
MAX_QUANTITY = 10**12
Positive = Annotated[int, msgspec.Meta(ge=1, le=MAX_QUANTITY)]
Counted = Annotated[int, msgspec.Meta(ge=0, le=MAX_QUANTITY)]
State = Literal["stock", "picked", "packed", "in_transit", "returned", "quarantine", "damaged"]

SUBJECTS = ("sku", "gtin", "epc", "sscc", "raw")


class Malformed(Exception):
    """This event can never be booked; the text says which member and why."""


class Data(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What every event may say. Unknown members are kept with the event and ignored here."""

    operator: Text | None = None
    document: Text | None = None
    reason: Text | None = None
    task: Text | None = None
    capture: dict[str, Any] | None = None


class About(Data, kw_only=True, omit_defaults=True):
    """An event about goods: at least one of SUBJECTS names them."""

    sku: Text | None = None
    gtin: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{8,14}$(?!\n)")] | None = None
    epc: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{2,128}$(?!\n)")] | None = None
    sscc: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{18}$(?!\n)")] | None = None
    raw: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)] | None = None
    lot: Text | None = None
    serial: Text | None = None
    expiry: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)")] | None = None
    quantity: Positive = 1
    unit: Literal["base", "label"] = "base"
    """`label` counts labels whose packaging level the agent did not know; central multiplies."""


class Received(About, kw_only=True, omit_defaults=True):
    """Goods came in from a supplier."""

    to_location: Text


class Moved(About, kw_only=True, omit_defaults=True):
    """Goods changed place, not state."""

    from_location: Text
    to_location: Text
    state: State = "stock"


class Picked(About, kw_only=True, omit_defaults=True):
    """Goods left a bin for a document."""

    from_location: Text


class Unpicked(About, kw_only=True, omit_defaults=True):
    """Picked goods went back to a bin."""

    to_location: Text


class PickShort(About, kw_only=True, omit_defaults=True):
    """A bin had less than a document asked: the missing quantity."""

    from_location: Text
    quantity: Positive
    reason: Text


class ForDocument(About, kw_only=True, omit_defaults=True):
    """Goods of a document were packed or left."""

    document: Text
    container: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{18}$(?!\n)")] | None = None


class TransferIn(About, kw_only=True, omit_defaults=True):
    """Goods of a transfer arrived."""

    document: Text
    to_location: Text | None = None


class TransferOut(About, kw_only=True, omit_defaults=True):
    """Goods of a transfer left, or did not arrive."""

    document: Text
    from_location: Text | None = None


class Returned(About, kw_only=True, omit_defaults=True):
    """Goods came back, or were accepted."""

    to_location: Text


class ReturnRejected(About, kw_only=True, omit_defaults=True):
    """Returned goods cannot be sold."""

    to_location: Text
    reason: Text


class Stated(About, kw_only=True, omit_defaults=True):
    """Goods changed state where they are."""

    location: Text
    reason: Text
    state: State = "stock"


class WrittenOff(Stated, kw_only=True, omit_defaults=True):
    """Goods are gone for good."""

    state: State = "damaged"


class CountedBin(About, kw_only=True, omit_defaults=True):
    """A bin was counted: what a person found, and the last movement number their agent had seen."""

    location: Text
    quantity: Counted
    watermark: Annotated[int, msgspec.Meta(ge=0)]


class Sighted(About, kw_only=True, omit_defaults=True):
    """A reader saw it; no stock moves."""

    location: Text


class Corrected(Data, kw_only=True, omit_defaults=True):
    """The exact reverse of one event, by its id."""

    corrects: Text


class Void(Data, kw_only=True, omit_defaults=True):
    """Stands in for an event that central could not read: its id, and its bytes in base64 as far as they fit."""

    id: Text
    original: str
    length: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many bytes the whole original has, when this is only its beginning …"""
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")] | None = None
    """… and the hash of all of them, by which it is known where it was recorded."""


TYPES: dict[str, type[Data]] = {
    "tallyman.received.v1": Received,
    "tallyman.put_away.v1": Moved,
    "tallyman.moved.v1": Moved,
    "tallyman.picked.v1": Picked,
    "tallyman.unpicked.v1": Unpicked,
    "tallyman.pick_short.v1": PickShort,
    "tallyman.packed.v1": ForDocument,
    "tallyman.shipped.v1": ForDocument,
    "tallyman.ship_voided.v1": ForDocument,
    "tallyman.transfer_out.v1": TransferOut,
    "tallyman.transfer_in.v1": TransferIn,
    "tallyman.transfer_short.v1": TransferOut,
    "tallyman.returned.v1": Returned,
    "tallyman.return_accepted.v1": Returned,
    "tallyman.return_rejected.v1": ReturnRejected,
    "tallyman.held.v1": Stated,
    "tallyman.hold_released.v1": Stated,
    "tallyman.damaged.v1": Stated,
    "tallyman.written_off.v1": WrittenOff,
    "tallyman.counted.v1": CountedBin,
    "tallyman.sighted.v1": Sighted,
    "tallyman.corrected.v1": Corrected,
    "tallyman.void.v1": Void,
}


def event_type(name: str) -> str:
    """`received` → `tallyman.received.v1`."""
    return f"tallyman.{name}.v1"


def event_name(type: str) -> str | None:  # noqa: A002 (the contract's word)
    """`tallyman.received.v1` → `received`; None for a type that is not of TYPES."""
    return type.split(".")[1] if type in TYPES else None


def check(type: str, data: dict[str, Any]) -> Data:  # noqa: A002 (the contract's word)
    """The event's data as a value.

    Raises:
        Malformed: unknown type, a member missing or out of bounds, or nothing that it is about.
    """
    if type not in TYPES:
        raise Malformed(f"unknown event type {type[:100]!r}")
    present = {key: member for key, member in data.items() if member is not None}
    try:
        value: Data = msgspec.convert(present, TYPES[type])
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed(f"{event_name(type)}: {error}") from error
    if isinstance(value, About) and not any(getattr(value, name) for name in SUBJECTS):
        raise Malformed(
            f"{event_name(type)}: says nothing of what it is about (one of {', '.join(SUBJECTS)})"
        )
    return value

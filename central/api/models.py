"""What requests may say, with exact bounds, and what answers look like.

The one idea: a request is checked here completely, so that the ledger never meets text that PostgreSQL cannot
store or a number that does not fit. Types are strict: "5" is no number. Answers are described for the
documentation; they are built by the ledger's views.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from sync.events import MAX_QUANTITY

MAX_LINES = 10_000
MAX_TTL_S = 30 * 24 * 3600  # what is meant to stay longer is an order

# No control characters, no line or paragraph separators: people could not see them, PostgreSQL stores no NUL.
_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN)]
Text = Annotated[str, StringConstraints(max_length=200, pattern=_PLAIN)]
Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
Delta = Annotated[int, Field(ge=-MAX_QUANTITY, le=MAX_QUANTITY)]
GtinText = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}([0-9]{4,6})?$")]
Sscc = Annotated[str, StringConstraints(pattern=r"^[0-9]{18}$")]
Gln = Annotated[str, StringConstraints(pattern=r"^[0-9]{13}$")]


class Asked(BaseModel):
    """Base of every request: unknown members are refused, so that a misspelt one is not silently dropped."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Shown(BaseModel):
    """Base of every answer. More members may come in time."""


# --- what things are ---------------------------------------------------------------------------------


class ItemGtin(Asked):
    """A trade item number and how many base units one label of it stands for."""

    gtin: GtinText
    quantity: int = Field(default=1, ge=1, le=10**9)


class ItemIn(Asked):
    """What can be counted. `sku` may be left out; if it is there, it is that of the path."""

    sku: Name | None = None
    name: Text
    gtins: list[ItemGtin] = Field(default=[], max_length=50)
    tracking: Literal["none", "lot", "serial"] = "none"
    scale: int = Field(default=0, ge=0, le=6)
    """Decimal places of the base unit."""


class LocationIn(Asked):
    """Where things can be. `id` may be left out; if it is there, it is that of the path."""

    id: Name | None = None
    site: Name
    zone: Text = ""
    walk_order: int = Field(default=0, ge=-(2**31), le=2**31 - 1)
    gln: Gln | None = None


class ItemOut(Shown):
    """An item."""

    sku: str
    name: str
    gtins: list[ItemGtin]
    tracking: Literal["none", "lot", "serial"]
    scale: int
    provisional: bool = False
    """Booked under what was read; nobody has described it yet."""


class LocationOut(Shown):
    """A location."""

    id: str
    site: str
    zone: str
    walk_order: int
    gln: str | None = None
    provisional: bool = False


# --- documents ---------------------------------------------------------------------------------------


class Line(Asked):
    """So many of an item."""

    sku: Name
    quantity: Quantity


class NoticeLine(Asked):
    """What a logistic unit holds of an item."""

    sku: Name
    quantity: Quantity
    lot: Name | None = None
    serials: list[Name] | None = Field(default=None, max_length=MAX_LINES)


class NoticeIn(Asked):
    """An announced logistic unit and what it holds."""

    sscc: Sscc
    parent: Sscc | None = None
    lines: list[NoticeLine] = Field(default=[], max_length=MAX_LINES)


Lines = Annotated[list[Line], Field(min_length=1, max_length=MAX_LINES)]


class PurchaseOrderIn(Asked):
    """What is expected from a supplier."""

    id: Name
    site: Name
    supplier: Text = ""
    lines: Lines
    notices: list[NoticeIn] = Field(default=[], max_length=MAX_LINES)


class PurchaseOrderLine(Shown):
    """How far a line has come. Goods that nobody ordered are lines of their own, expected 0."""

    sku: str
    site: str
    expected: int
    received: int
    over: int
    short: int


class PurchaseOrderOut(Shown):
    """A purchase order and how far it has come."""

    id: str
    site: str
    supplier: str
    status: Literal["open", "closed", "cancelled"]
    created_at: datetime
    lines: list[PurchaseOrderLine]


class OrderIn(Asked):
    """What a channel sold: all lines are committed, or none."""

    id: Name
    site: Name
    channel: Name
    lines: Lines
    reservations: list[Name] = Field(default=[], max_length=MAX_LINES)


class OrderLine(Shown):
    """How far a line has come."""

    sku: str
    site: str
    quantity: int
    picked: int
    packed: int
    shipped: int


class OrderOut(Shown):
    """An order and how far it has come."""

    id: str
    site: str
    channel: str
    status: Literal["open", "closed", "cancelled"]
    created_at: datetime
    lines: list[OrderLine]


# --- claims and stock --------------------------------------------------------------------------------


class ReservationIn(Asked):
    """A hold that ends by itself. Without `site` one that covers it whole is chosen."""

    sku: Name
    quantity: Quantity
    site: Name | None = None
    channel: Name
    ttl_s: int = Field(ge=1, le=MAX_TTL_S)


class CommitIn(Asked):
    """The order to commit to; without one, an order with the reservation's id is opened."""

    order: Name | None = None


class ReservationOut(Shown):
    """A hold."""

    id: str
    sku: str
    site: str
    quantity: int
    channel: str
    status: Literal["active", "committed", "released", "expired"]
    expires_at: datetime
    order: str | None


class AdjustmentIn(Asked):
    """Stock changed by hand. A repeated `id` books once, for ever."""

    id: Name | None = None
    sku: Name
    site: Name
    location: Name
    lot: Name | None = None
    delta: Delta
    reason: Name

    @field_validator("delta")
    @classmethod
    def _not_nothing(cls, delta: int) -> int:
        if delta == 0:
            raise ValueError("must not be 0: nothing would change")
        return delta


class Levels(Shown):
    """How much there is, by what can be done with it."""

    on_hand: int
    available: int
    reserved: int
    committed: int
    picked: int
    packed: int
    in_transit: int
    returned: int
    quarantine: int
    damaged: int
    overpromised: int
    """Promised, and gone."""
    owed: int
    """Taken from bins that had nothing in the books."""


class AvailabilityOut(Levels):
    """What can be sold, net of expired holds, over all sites and by site."""

    sku: str
    sites: dict[str, Levels]
    history: str
    as_of: int
    """The last movement that is in these numbers."""


class AdjustmentOut(Shown):
    """What was booked."""

    id: str
    movement: int
    sku: str
    site: str
    location: str
    lot: str
    delta: int
    reason: str


class EntryOut(Shown):
    """One line of a movement."""

    book: Literal["physical", "promise"]
    account: dict[str, str]
    delta: int


class MovementOut(Shown):
    """What was booked."""

    movement: int
    event: str
    event_id: str
    sku: str | None = None
    site: str | None = None
    quantity: int | None = None
    outcome: Literal["accepted", "discrepant", "rejected", "conflict"]
    reason: str | None = None
    document: str | None = None
    actor: str
    corrects: str | None = None
    occurred_at: str
    recorded_at: str
    entries: list[EntryOut]


class MovementsOut(Shown):
    """Movements in central order, and where to go on."""

    movements: list[MovementOut]
    next: str


class DiscrepancyOut(Shown):
    """Something that does not add up, with an owner and a due time."""

    id: str
    kind: str
    sku: str | None = None
    site: str | None = None
    location: str | None = None
    expected: int | None = None
    actual: int | None = None
    detail: str
    owner: str
    due_at: datetime
    status: Literal["open", "closed"]
    opened_at: datetime
    closed_at: datetime | None
    movements: list[int]


class DiscrepanciesOut(Shown):
    """One page of discrepancies; `next` is null on the last."""

    discrepancies: list[DiscrepancyOut]
    next: str | None


class PurchaseOrdersOut(Shown):
    """One page of purchase orders; `next` is null on the last."""

    purchase_orders: list[PurchaseOrderOut]
    next: str | None


class OrdersOut(Shown):
    """One page of orders; `next` is null on the last."""

    orders: list[OrderOut]
    next: str | None


class ProblemOut(Shown):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None
    """For `invalid`: each field and what is wrong with it."""

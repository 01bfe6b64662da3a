"""The shapes of what central publishes for everybody, which no program of ours decodes: so they live here.

Source: docs/contract.md, section 7; the tests hold central's real output against them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from sync.messages import Count, Message, Name


class Levels(Message, kw_only=True, frozen=True):
    """Stock and promises of one SKU, at one site or in all."""

    on_hand: int
    available: Count
    reserved: int
    committed: int
    picked: int
    packed: int
    in_transit: int
    returned: int
    quarantine: int
    damaged: int
    overpromised: Count
    owed: Count


class Stock(Levels, kw_only=True, frozen=True):
    """The availability of one SKU."""

    sku: Name
    sites: dict[str, Levels]
    history: str
    as_of: Count
    """The last movement number that it counts."""


class Entry(Message, kw_only=True, frozen=True):
    """One line of a movement in one of the two books."""

    book: Literal["physical", "promise"]
    account: dict[str, str]
    delta: int


class MovementData(Message, kw_only=True, frozen=True):
    """One booked movement."""

    history: str
    movement: Annotated[int, msgspec.Meta(ge=1)]
    event: str
    sku: str | None
    site: str | None
    outcome: Literal["accepted", "discrepant"]
    entries: list[Entry]
    event_id: str | UnsetType = UNSET
    """The id of the event that it books."""
    quantity: int | UnsetType | None = UNSET
    document: str | UnsetType | None = UNSET
    actor: str | UnsetType = UNSET
    occurred_at: str | UnsetType = UNSET
    recorded_at: str | UnsetType = UNSET


class Movement(Message, kw_only=True, frozen=True, omit_defaults=True):
    """A CloudEvents 1.0 envelope around one booked movement."""

    specversion: Literal["1.0"]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    type: Annotated[str, msgspec.Meta(pattern=r"^tallyman\.movement\.[a-z_]+\.v1$")]
    time: str
    subject: str | None = None
    datacontenttype: Literal["application/json"] = "application/json"
    data: MovementData

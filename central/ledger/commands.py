"""Everything that can be asked of the record of truth, as values. One way in: `Ledger.submit(command)`.

Facts are booked whatever the books say; claims succeed whole or are refused with a reason. Every command is
answered once, durably: `Done` or `Refused` for the API, acknowledgements for agents. Quantities are integers in
the item's base unit; times are microseconds since 1970 (UTC) by the database's clock.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sync.messages import Ack, DocumentLine, Event, Gtin, Hello, State, TaskType

# --- answers ------------------------------------------------------------------------------------

ProblemCode = Literal[
    "insufficient-stock",
    "unknown-item",
    "unknown-location",
    "unknown-document",
    "unknown-reservation",
    "already-exists",
    "not-active",
    "expired",
    "invalid",
    "idempotency-mismatch",
]


@dataclass(frozen=True, slots=True)
class Done:
    """It was done (or had been, under the same key): the body to show. `created` for a new thing."""

    body: dict[str, Any]
    created: bool = False
    replayed: bool = False
    """This is the answer that was given before under the same key."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not done, finally; `detail` says what, where and what to do next."""

    problem: ProblemCode
    detail: str
    extra: dict[str, Any] | None = None
    replayed: bool = False
    """This is the answer that was given before under the same key."""


Answer = Done | Refused


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key: `scope` is a hash of token, method, path and key; `body_hash` of the request."""

    scope: str
    body_hash: str


# --- facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BookBatch:
    """One batch as an agent published it → Ack. `texts` are the events' own bytes, in the same order."""

    agent: str
    events: tuple[Event, ...]
    texts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AnswerHello:
    """An agent's hello → list[Ack], one for each incarnation that it lists."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class RecordState:
    """What an agent says of its condition → Done({"ignored": bool}): an older connection is not believed."""

    agent: str
    state: State
    retained: bool = False
    """The broker kept it, from whatever time: it says nothing about who is there now."""


@dataclass(frozen=True, slots=True)
class Adjust:
    """Stock ↔ adjustment by a person: who and why are required. A repeated `id` books once, for ever."""

    actor: str
    sku: str
    site: str
    location: str
    delta: int
    reason: str
    lot: str = ""
    id: str | None = None
    key: Key | None = None


# --- who works on what ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Present:
    """An agent that was heard of."""

    agent: str
    site: str
    takes: tuple[TaskType, ...] | None
    """The types of tasks that its stations work on; None: as it said before."""


@dataclass(frozen=True, slots=True)
class RenewLeases:
    """The tasks of these agents stay theirs for so long from now → Done({})."""

    agents: tuple[Present, ...]
    lease_s: float


@dataclass(frozen=True, slots=True)
class Move:
    """The open tasks of a type and document that `holder` has (None: nobody) go to another agent."""

    site: str
    type: str
    document: str
    holder: str | None
    to: str


@dataclass(frozen=True, slots=True)
class MoveTasks:
    """Carry out those moves that are still right → Done({"moved": number of tasks})."""

    moves: tuple[Move, ...]


# --- claims ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reserve:
    """Free → reserved, until it expires. Without `site` one that covers it whole is chosen."""

    actor: str
    sku: str
    quantity: int
    channel: str
    ttl_s: int
    site: str | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class CommitReservation:
    """Reserved → committed to an order; without `order` one is opened with the reservation's id."""

    actor: str
    id: str
    order: str | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class ReleaseReservation:
    """Reserved → free."""

    actor: str
    id: str
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """Free or reserved → committed: all lines or none."""

    actor: str
    id: str
    site: str
    channel: str
    lines: tuple[DocumentLine, ...]
    reservations: tuple[str, ...] = ()
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """What is left of the commitment → free."""

    actor: str
    id: str
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class ExpireReservations:
    """What ends by the database's clock: holds past their time → free (of the SKUs of the `limit` longest overdue),
    and answers under old keys are forgotten. Done({"expired": n}).
    """

    limit: int = 500


# --- reference --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PutItem:
    """Create or replace an item."""

    actor: str
    sku: str
    name: str
    gtins: tuple[Gtin, ...]
    tracking: Literal["none", "lot", "serial"] = "none"
    scale: int = 0
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class PutLocation:
    """Create or replace a location."""

    actor: str
    id: str
    site: str
    zone: str
    walk_order: int
    gln: str | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class PutOperator:
    """Create or replace a person who works at stations."""

    actor: str
    id: str
    name: str
    badge: str
    roles: tuple[str, ...] = ()
    pin_hash: str | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """An announced logistic unit (SSCC) and what it holds."""

    sscc: str
    parent: str | None
    lines: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class OpenPurchaseOrder:
    """What is expected from a supplier."""

    actor: str
    id: str
    site: str
    supplier: str
    lines: tuple[DocumentLine, ...]
    notices: tuple[Notice, ...] = ()
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class ClosePurchaseOrder:
    """Nothing more is expected; what differs stays visible."""

    actor: str
    id: str
    key: Key | None = None


Keyed = (
    Adjust
    | Reserve
    | CommitReservation
    | ReleaseReservation
    | OpenOrder
    | CancelOrder
    | PutItem
    | PutLocation
    | PutOperator
    | OpenPurchaseOrder
    | ClosePurchaseOrder
)
Command = BookBatch | AnswerHello | RecordState | RenewLeases | MoveTasks | ExpireReservations | Keyed
Result = Answer | Ack | list[Ack]

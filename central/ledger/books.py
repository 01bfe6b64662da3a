"""The rows that one transaction touches, in memory: loaded, changed, and taken back when a command fails.

The idea: the store loads and locks what a batch of commands can touch, pure functions change it here, and the
store writes the difference. Rows are values that are replaced, never changed, so an undo log of old values is
enough to set a single command aside.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

from central.ledger.accounts import Bin, Entry, Line, Promise, Shelf, Totals
from central.ledger.transitions import Fact

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

CLOCK: Final = "clock"


class Rows(Generic[K, V]):
    """The touched rows of one table by key. None: looked for, and there is none."""

    def __init__(self, undo: "list[tuple[dict[Any, Any], Any, Any]]") -> None:
        self._undo = undo
        self._loaded: dict[K, V | None] = {}
        self._rows: dict[K, V | None] = {}

    def load(self, key: K, row: V | None) -> None:
        """What the database holds; read again under a lock, the later word counts."""
        assert self._rows.get(key) == self._loaded.get(key), f"{key} is loaded again after it changed"
        self._loaded[key] = row
        self._rows[key] = row

    def get(self, key: K) -> V | None:
        """The row as it is now; None if there is none. KeyError: the store was not told to load it."""
        return self._rows[key]

    def __getitem__(self, key: K) -> V:
        row = self._rows[key]
        assert row is not None, f"no row {key}"
        return row

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def put(self, key: K, row: V) -> None:
        """Replace the row, or make it."""
        old = self._rows[key]
        if old != row:
            self._undo.append((self._rows, key, old))
            self._rows[key] = row

    def items(self) -> Iterator[tuple[K, V]]:
        """The rows that are there."""
        return ((key, row) for key, row in self._rows.items() if row is not None)

    def changed(self) -> Iterator[tuple[K, V | None, V]]:
        """(key, as loaded, as it is now) of every row that differs."""
        for key, row in self._rows.items():
            if row is not None and row != self._loaded[key]:
                yield key, self._loaded[key], row


class Grouped(Rows[K, V]):
    """Rows that are asked for by their document, too. A row stays with its document."""

    def __init__(
        self, undo: "list[tuple[dict[Any, Any], Any, Any]]", document_of: Callable[[K, V], str]
    ) -> None:
        super().__init__(undo)
        self._document_of = document_of
        self._keys: dict[str, dict[K, None]] = {}

    def load(self, key: K, row: V | None) -> None:
        """See Rows."""
        super().load(key, row)
        self._group(key, row)

    def put(self, key: K, row: V) -> None:
        """See Rows."""
        super().put(key, row)
        self._group(key, row)

    def _group(self, key: K, row: V | None) -> None:
        if row is not None:
            self._keys.setdefault(self._document_of(key, row), {})[key] = None

    def of(self, document: str) -> Iterator[tuple[K, V]]:
        """The rows of a document."""
        return ((key, row) for key in self._keys.get(document, ()) if (row := self.get(key)) is not None)


# --- rows: the columns of a table beside its key, in their order ------------------------------------


class Item(NamedTuple):
    """What can be counted."""

    name: str = ""
    tracking: str = "none"
    scale: int = 0
    provisional: bool = False


class Labelled(NamedTuple):
    """What a GTIN stands for; of none, that it was let go."""

    sku: str = ""
    printed: str = ""
    """As it was registered: of 8 to 14 digits."""
    quantity: int = 0
    """Base units of one label."""


class Location(NamedTuple):
    """Where things can be."""

    site: str
    zone: str = ""
    walk_order: int = 0
    gln: str | None = None
    provisional: bool = False


class Operator(NamedTuple):
    """A person at a station."""

    name: str = ""
    badge: str = ""
    pin_hash: str | None = None
    roles: str = "[]"
    """JSON."""
    provisional: bool = False


class Document(NamedTuple):
    """A purchase order, an order, or a name that only facts have mentioned (`provisional`)."""

    type: str
    site: str
    status: str = "open"
    supplier: str | None = None
    channel: str | None = None
    notices: str | None = None
    created_us: int = 0


class Reservation(NamedTuple):
    """A hold on free stock until it expires."""

    sku: str
    site: str
    quantity: int
    channel: str
    status: str
    created_us: int
    expires_us: int
    document: str | None = None


class Unit(NamedTuple):
    """A logistic unit: what it was announced to hold, and the event that brought it in."""

    site: str
    location: str | None = None
    parent: str | None = None
    document: str | None = None
    contents: str | None = None
    first_event: str | None = None


class Task(NamedTuple):
    """Work for a person at a site."""

    type: str
    site: str
    document: str
    sku: str
    quantity: int
    from_location: str
    done: int = 0
    lot: str | None = None
    status: str = "open"
    changed_us: int = 0
    holder: str | None = None
    """The agent that it was given to, whether its lease lasts or not."""


class Lease(NamedTuple):
    """Until when an agent holds its tasks."""

    site: str
    takes: str
    """JSON: the types of tasks."""
    until_us: int


class Cursor(NamedTuple):
    """How far central has come with one incarnation."""

    agent: str
    acked: int = 0
    predecessor: str | None = None
    first_seen_us: int = 0
    backed_up: int = 0
    """What every backup that is counted on holds of it. Read only: recording a backup changes it."""


class AgentRow(NamedTuple):
    """What an agent's last hello said, and its last state."""

    site: str
    software: str = ""
    incarnation: str | None = None
    hello_us: int | None = None
    connection: int = 0
    state: str | None = None
    state_us: int | None = None
    returns: int = 0
    """How often an older life spoke after a younger one, since a new life began."""


class Answered(NamedTuple):
    """What is known under an idempotency key."""

    body_hash: str
    answer: str
    created_us: int


class Movement(NamedTuple):
    """One event or claim with its verdict. Never changed once it is written."""

    event_id: str
    event: str
    content_hash: str
    outcome: str
    actor: str
    occurred_at: str
    reason: str | None = None
    site: str | None = None
    sku: str | None = None
    quantity: int | None = None
    document: str | None = None
    corrects: str | None = None
    incarnation: str | None = None
    sequence: int | None = None
    fact: Fact | None = None
    original: str | None = None
    """As it was sent; not loaded again."""
    number: int | None = None
    """As stored; a new movement gets its number when the transaction is about to commit."""
    numbered: bool = True
    """Whether it takes a number: what is rejected books nothing and takes none."""
    entries: tuple[Entry, ...] = ()


class SetAside(NamedTuple):
    """An event kept beside the books."""

    event_id: str
    content_hash: str
    incarnation: str
    sequence: int
    problem: str
    original: str


class Open(NamedTuple):
    """Something does not add up: open a discrepancy, or bring the open one of this kind and key up to date."""

    kind: str
    key: str
    detail: str
    sku: str | None = None
    site: str | None = None
    location: str | None = None
    expected: int | None = None
    actual: int | None = None


class Close(NamedTuple):
    """It adds up again."""

    kind: str
    key: str


class Noted(NamedTuple):
    """A discrepancy opened or closed by a movement."""

    change: Open | Close
    movement: str | None


class Shelved(NamedTuple):
    """Where stock of a SKU lies, for allocating picks: as read, without a lock."""

    location: str
    walk_order: int
    lot: str
    quantity: int
    promised: int
    """What open tasks will still take from it."""


@dataclass
class Books:
    """Everything that a batch of commands can see and change."""

    new_id: Callable[[], str]
    """Names that nobody else gives: UUIDs."""
    now_us: int = 0
    history: str = ""
    undo: list[tuple[dict[Any, Any], Any, Any]] = field(default_factory=list)
    new_movements: list[Movement] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    new_histories: list[tuple[str, str]] = field(default_factory=list)
    """(id, cause) of the histories begun here."""
    aside: set[tuple[str, str, str, int]] = field(default_factory=set)
    """What is set aside already: (id, content hash, incarnation, sequence)."""
    rivals: dict[str, frozenset[str]] = field(default_factory=dict)
    """Incarnations in the database that name this predecessor."""
    history_found: str = ""
    """The current one when this transaction began."""
    histories: frozenset[str] = frozenset()
    """Every history there ever was."""
    backups: bool = False
    """Whether there is a backup that is counted on."""

    def __post_init__(self) -> None:
        undo = self.undo
        self.agents: Rows[str, AgentRow] = Rows(undo)
        self.cursors: Rows[str, Cursor] = Rows(undo)
        self.occupants: Rows[tuple[str, int], str] = Rows(undo)
        self.keys: Rows[str, Answered] = Rows(undo)
        self.items: Rows[str, Item] = Rows(undo)
        self.gtins: Rows[str, Labelled] = Rows(undo)
        self.locations: Rows[str, Location] = Rows(undo)
        self.operators: Rows[str, Operator] = Rows(undo)
        self.documents: Rows[str, Document] = Rows(undo)
        self.lines: Grouped[Line, Totals] = Grouped(undo, lambda line, _: line.document)
        self.promises: Rows[Shelf, Promise] = Rows(undo)
        self.reservations: Rows[str, Reservation] = Rows(undo)
        self.units: Rows[str, Unit] = Rows(undo)
        self.bins: Rows[Bin, Mapping[str, int]] = Rows(undo)
        self.tasks: Grouped[str, Task] = Grouped(undo, lambda _, task: task.document)
        self.leases: Rows[str, Lease] = Rows(undo)
        self.shelved: Rows[Shelf, tuple[Shelved, ...]] = Rows(undo)
        self.movements: Rows[str, Movement] = Rows(undo)
        self.corrections: Rows[str, frozenset[str]] = Rows(undo)

    def lines_of(self, document: str) -> list[tuple[Line, Totals]]:
        """The lines of a document, by SKU."""
        return sorted(self.lines.of(document))

    def book(self, movement: Movement) -> None:
        """Write a movement down; `note` says what it opens and closes."""
        self.movements.put(movement.event_id, movement)
        self.new_movements.append(movement)

    def note(self, change: Open | Close, movement: str | None) -> None:
        """Open or close a discrepancy."""
        self.noted.append(Noted(change, movement))

    def begin_history(self, cause: str, foreign: str | None) -> None:
        """From here on agents send again what this central may lack. `foreign`: the history that an agent named
        and nobody here knows; it is known from now on, so that naming it again begins no other.
        """
        if foreign is not None:
            self.new_histories.append((foreign, "foreign"))
        self.history = self.new_id()
        self.new_histories.append((self.history, cause))
        self.histories |= {self.history, foreign or self.history}

    def savepoint(self) -> tuple[int, ...]:
        """Where to roll back to."""
        return (len(self.undo), *(len(grown) for grown in self._grown))

    def rollback(self, savepoint: tuple[int, ...]) -> None:
        """Take back everything since."""
        for rows, key, old in reversed(self.undo[savepoint[0] :]):
            rows[key] = old
        del self.undo[savepoint[0] :]
        for grown, length in zip(self._grown, savepoint[1:], strict=True):
            del grown[length:]

    @property
    def _grown(self) -> "tuple[list[Any], ...]":
        return (self.new_movements, self.set_aside, self.noted, self.new_histories)

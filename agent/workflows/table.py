"""What a workflow is: a table (state, what was read) → (next state, what to do, what to show). Pure.

The one idea: `relate` says what a read is to the job at hand (the item that is wanted, one too many, …), and the
table decides what follows. Whatever is not OK changes nothing.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from agent.meaning import Meaning
from devices.driver import Outcome
from sync.messages import Document, Item, Task

State = Literal["blind", "document", "idle", "go", "scan", "gate"]
NEXT: Final = "next"
"""Whatever state the next line needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a station knows when a code is read."""

    location: str
    """Where goods are booked (receive, gate), or where the picker stands (pick)."""
    site: str = ""
    operator: str | None = None
    document: Document | None = None
    totals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What this agent received: by document, then by SKU, in base units."""
    orders: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    """gate: by SKU, the open purchase orders of all sites that list it, the oldest first."""
    outward: bool = False
    """gate: the tag passes from inside to outside."""
    task: Task | None = None
    task_item: Item | None = None
    picked: int = 0
    """Of the task, in base units."""
    lines_after: int = 0
    """How many open tasks follow this one."""
    confirm_location: bool = True
    """Whether the task's location has a label that must be scanned first."""
    seen: Container[str] = ()
    """The serial numbers and SSCCs that this job has recorded already."""

    @property
    def received(self) -> Mapping[str, int]:
        """Of the document, by SKU, in base units."""
        return self.totals.get(self.document.id, {}) if self.document is not None else {}

    @property
    def left(self) -> int:
        """What is left of the task."""
        return max(0, self.task.quantity - self.picked) if self.task is not None else 0


class Row(NamedTuple):
    """One line of a table."""

    then: str
    """The next state."""
    do: str
    """A key of ACTIONS."""
    outcome: Outcome
    say: str
    """A key of [station.say] in the catalogue."""


Table = Mapping[tuple[str, str], Row]


@dataclass(frozen=True, slots=True)
class Effect:
    """What an action brings about."""

    draft: tuple[str, dict[str, Any]] | None = None
    """An event's name and data, to be recorded before anyone sees OK."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Members of the station's choices."""
    undo: bool = False
    """Correct the station's newest event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One way of working."""

    table: Table
    state: Callable[[Context], State]
    relate: Callable[[Context, Meaning], str]
    documents: str
    """The type of documents that can be chosen."""
    event: str
    """The event that its goods are recorded as."""
    finish: str
    """The action that ends a job."""
    left: str
    """What is said when a document is left."""
    aim: Callable[[Context, Meaning], Context] = lambda context, _meaning: context
    """Finds the document that a read belongs to, where nobody chooses one."""


def rows(state: str, table: Mapping[str, tuple[str, str, Outcome, str]]) -> dict[tuple[str, str], Row]:
    """The rows of one state."""
    return {(state, kind): Row(*row) for kind, row in table.items()}


def expected_of(document: Document, sku: str) -> int:
    """How many the document's lines ask for, together."""
    return sum(line.quantity for line in document.lines if line.sku == sku)

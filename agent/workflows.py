"""The workflows, as tables: (state, what was read) → (next state, what to do, what to show). Pure.

`relate` says what a read is to the job at hand (the item that is wanted, one too many, …); the table decides what
follows; an action gives the draft of an event and what changes at the station. Whatever is not OK changes nothing.
A new workflow is one table, one `relate` and one line in WORKFLOWS.

    receive   blind ──document──▶ document ──done──▶ blind
    pick      idle ──a task──▶ go ──its location──▶ scan ──its items──▶ the next line: go, scan or idle
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from agent.meaning import Meaning
from devices.driver import Outcome
from sync.messages import Document, Item, Task

State = Literal["blind", "document", "idle", "go", "scan"]
NEXT: Final = "next"
"""Whatever state the next line needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a station knows when a code is read."""

    location: str
    """Where goods are booked (receive), or where the picker stands (pick)."""
    operator: str | None = None
    document: Document | None = None
    received: Mapping[str, int] = field(default_factory=dict)
    """Of the chosen document, by SKU, in base units."""
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


@dataclass(frozen=True, slots=True)
class Step:
    """What one read leads to."""

    row: Row
    effect: Effect
    values: Mapping[str, object]
    """For the text that is shown."""


def _rows(state: str, rows: Mapping[str, tuple[str, str, Outcome, str]]) -> dict[tuple[str, str], Row]:
    return {(state, kind): Row(*row) for kind, row in rows.items()}


# --- receive -------------------------------------------------------------------------------------------

RECEIVE: Final[Table] = {
    **_rows(
        "blind",
        {
            "item": ("blind", "receive", "ok", "received"),
            "unknown_item": ("blind", "receive", "ok", "received_unknown"),
            "unit": ("blind", "receive", "ok", "received_unit"),
            "seen": ("blind", "nothing", "duplicate", "seen"),
            "no_lot": ("blind", "nothing", "reject", "no_lot"),
            "no_serial": ("blind", "nothing", "reject", "no_serial"),
            "location": ("blind", "stand", "ok", "location"),
            "elsewhere": ("blind", "nothing", "reject", "elsewhere"),
            "operator": ("blind", "sign_in", "ok", "operator"),
            "document": ("document", "choose", "ok", "purchase_order"),
            "wrong_document": ("blind", "nothing", "reject", "no_purchase_order"),
            "undo": ("blind", "undo", "ok", "undone"),
            "done": ("blind", "finish", "ok", "count_restarted"),
            "unknown": ("blind", "nothing", "reject", "unknown"),
        },
    ),
    **_rows(
        "document",
        {
            "expected": ("document", "receive", "ok", "received_of"),
            "over": ("document", "receive", "ok", "received_over"),
            "not_listed": ("document", "receive", "ok", "received_not_listed"),
            "unknown_item": ("document", "receive", "ok", "received_unknown"),
            "unit": ("document", "receive", "ok", "received_unit"),
            "seen": ("document", "nothing", "duplicate", "seen"),
            "no_lot": ("document", "nothing", "reject", "no_lot"),
            "no_serial": ("document", "nothing", "reject", "no_serial"),
            "location": ("document", "stand", "ok", "location"),
            "elsewhere": ("document", "nothing", "reject", "elsewhere"),
            "operator": ("document", "sign_in", "ok", "operator"),
            "document": ("document", "choose", "ok", "purchase_order"),
            "wrong_document": ("document", "nothing", "reject", "no_purchase_order"),
            "undo": ("document", "undo", "ok", "undone"),
            "done": ("blind", "finish", "ok", "document_left"),
            "unknown": ("document", "nothing", "reject", "unknown"),
        },
    ),
}


def receive_state(context: Context) -> State:
    """With or without a purchase order."""
    return "blind" if context.document is None else "document"


def relate_receive(context: Context, meaning: Meaning) -> str:
    """What the read is to the purchase order."""
    if meaning.unit_key is not None and meaning.unit_key in context.seen:
        return "seen"
    if meaning.kind == "document":
        assert meaning.document is not None
        return "document" if meaning.document.type == "purchase_order" else "wrong_document"
    if meaning.kind != "item" or context.document is None:
        return meaning.kind
    assert meaning.item is not None
    expected = expected_of(context.document, meaning.item.sku)
    if expected == 0:
        return "not_listed"
    total = context.received.get(meaning.item.sku, 0) + meaning.quantity
    return "over" if total > expected else "expected"


def expected_of(document: Document, sku: str) -> int:
    """How many the document's lines ask for, together."""
    return sum(line.quantity for line in document.lines if line.sku == sku)


# --- pick ----------------------------------------------------------------------------------------------

_ANYWHERE: Final[dict[str, tuple[str, str, Outcome, str]]] = {
    "elsewhere": ("", "nothing", "reject", "elsewhere"),
    "operator": ("", "sign_in", "ok", "operator"),
    "document": (NEXT, "choose_order", "ok", "order"),
    "wrong_document": ("", "nothing", "reject", "no_order"),
    "undo": (NEXT, "undo", "ok", "undone"),
    "unknown": ("", "nothing", "reject", "unknown"),
    "unknown_item": ("", "nothing", "reject", "pick_unknown"),
    "unit": ("", "nothing", "reject", "pick_unit"),
    "seen": ("", "nothing", "duplicate", "seen"),
}


def _anywhere(state: str) -> dict[str, tuple[str, str, Outcome, str]]:
    return {kind: (then or state, do, outcome, say) for kind, (then, do, outcome, say) in _ANYWHERE.items()}


PICK: Final[Table] = {
    **_rows(
        "idle",
        {
            **_anywhere("idle"),
            "unknown_item": ("idle", "nothing", "reject", "no_task"),
            "location": ("idle", "stand", "ok", "location"),
            "item": ("idle", "nothing", "reject", "no_task"),
            "no_lot": ("idle", "nothing", "reject", "no_task"),
            "no_serial": ("idle", "nothing", "reject", "no_task"),
            "done": (NEXT, "finish_order", "ok", "order_left"),
        },
    ),
    **_rows(
        "go",
        {
            **_anywhere("go"),
            "here": ("scan", "stand", "ok", "at_location"),
            "wrong_place": ("go", "nothing", "reject", "wrong_place"),
            "wanted": ("go", "nothing", "reject", "location_first"),
            "last": ("go", "nothing", "reject", "location_first"),
            "too_many": ("go", "nothing", "reject", "location_first"),
            "wrong_item": ("go", "nothing", "reject", "location_first"),
            "wrong_lot": ("go", "nothing", "reject", "location_first"),
            "no_lot": ("go", "nothing", "reject", "location_first"),
            "no_serial": ("go", "nothing", "reject", "location_first"),
            "done": (NEXT, "put_off", "ok", "put_off"),
            "done_alone": ("go", "nothing", "reject", "no_other_line"),
        },
    ),
    **_rows(
        "scan",
        {
            **_anywhere("scan"),
            "here": ("scan", "stand", "ok", "at_location"),
            "wrong_place": ("scan", "nothing", "reject", "wrong_place"),
            "wanted": ("scan", "pick", "ok", "picked"),
            "last": (NEXT, "pick", "ok", "picked_last"),
            "too_many": ("scan", "nothing", "reject", "too_many"),
            "wrong_item": ("scan", "nothing", "reject", "wrong_item"),
            "wrong_lot": ("scan", "nothing", "reject", "wrong_lot"),
            "no_lot": ("scan", "nothing", "reject", "no_lot"),
            "no_serial": ("scan", "nothing", "reject", "no_serial"),
            "done": (NEXT, "put_off", "ok", "put_off"),
            "done_alone": ("scan", "nothing", "reject", "no_other_line"),
        },
    ),
}


def pick_state(context: Context) -> State:
    """Nothing to do, on the way, or there. Where locations have no labels, or none is named, one is always there."""
    if context.task is None:
        return "idle"
    place = context.task.from_location
    there = place is None or not context.confirm_location or place == context.location
    return "scan" if there else "go"


def relate_pick(context: Context, meaning: Meaning) -> str:
    """What the read is to the task."""
    if meaning.unit_key is not None and meaning.unit_key in context.seen:
        return "seen"
    if meaning.kind == "document":
        assert meaning.document is not None
        return "document" if meaning.document.type == "order" else "wrong_document"
    if context.task is not None:
        return _relate_to_task(context, context.task, meaning)
    return meaning.kind


def _relate_to_task(context: Context, task: Task, meaning: Meaning) -> str:
    if meaning.kind == "done":
        return "done" if context.lines_after else "done_alone"
    if meaning.kind == "location":
        assert meaning.location is not None
        return "here" if task.from_location in (None, meaning.location.id) else "wrong_place"
    if meaning.item is not None and meaning.kind in ("item", "no_lot", "no_serial"):
        return _relate_item(task, context.left, meaning, meaning.item)
    return meaning.kind


def _relate_item(task: Task, left: int, meaning: Meaning, item: Item) -> str:
    if item.sku != task.sku:
        return "wrong_item"
    if meaning.kind != "item":
        return meaning.kind
    if task.lot is not None and meaning.identity.lot != task.lot:
        return "wrong_lot" if meaning.identity.lot is not None else "no_lot"
    if meaning.quantity > left:
        return "too_many"
    return "last" if meaning.quantity == left else "wanted"


# --- what can be done ----------------------------------------------------------------------------------


def _about(context: Context, meaning: Meaning) -> dict[str, Any]:
    """What every event of goods says: what it is, how many, who, for which document. Without what is not known."""
    identity = meaning.identity
    data = {
        "sku": meaning.item.sku if meaning.item is not None else None,
        "gtin": identity.gtin,
        "sscc": identity.sscc,
        # The SSCC says all that its EPC says; beside a second name, central would take the unit for goods.
        "epc": identity.epc if identity.sscc is None else None,
        "quantity": meaning.quantity,
        "unit": "base" if meaning.level_known else "label",
        "lot": identity.lot,
        "serial": identity.serial,
        "expiry": identity.expiry,
        "document": context.document.id if context.document is not None else None,
        "operator": context.operator,
    }
    return {name: value for name, value in data.items() if value is not None}


def _receive(context: Context, meaning: Meaning) -> Effect:
    return Effect(("received", {**_about(context, meaning), "to_location": context.location}))


def _pick(context: Context, meaning: Meaning) -> Effect:
    assert context.task is not None
    task = context.task
    about = {**_about(context, meaning), "from_location": task.from_location or context.location}
    if task.document is not None:
        about["document"] = task.document
    return Effect(("picked", {**about, "task": task.task}))


def _stand(_context: Context, meaning: Meaning) -> Effect:
    assert meaning.location is not None
    return Effect(changes={"location": meaning.location.id})


def _sign_in(_context: Context, meaning: Meaning) -> Effect:
    assert meaning.operator is not None
    return Effect(changes={"operator": meaning.operator.id})


def _choose(_context: Context, meaning: Meaning) -> Effect:
    return Effect(changes={"document": meaning.document})


def _choose_order(_context: Context, meaning: Meaning) -> Effect:
    return Effect(changes={"document": meaning.document, "task": None, "later": ()})


def _finish(_context: Context, _meaning: Meaning) -> Effect:
    return Effect(changes={"document": None, "finished": True})


def _finish_order(_context: Context, _meaning: Meaning) -> Effect:
    return Effect(changes={"document": None, "task": None, "later": (), "finished": True})


def _put_off(context: Context, _meaning: Meaning) -> Effect:
    assert context.task is not None
    return Effect(changes={"put_off": context.task.task, "task": None})


ACTIONS: Final[Mapping[str, Callable[[Context, Meaning], Effect]]] = {
    "nothing": lambda _context, _meaning: Effect(),
    "undo": lambda _context, _meaning: Effect(undo=True),
    "receive": _receive,
    "pick": _pick,
    "stand": _stand,
    "sign_in": _sign_in,
    "choose": _choose,
    "choose_order": _choose_order,
    "finish": _finish,
    "finish_order": _finish_order,
    "put_off": _put_off,
}


@dataclass(frozen=True, slots=True)
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


WORKFLOWS: Final[Mapping[str, Workflow]] = {
    "receive": Workflow(
        RECEIVE, receive_state, relate_receive, "purchase_order", "received", "finish", "document_left"
    ),
    "pick": Workflow(PICK, pick_state, relate_pick, "order", "picked", "finish_order", "order_left"),
}


def step(workflow: Workflow, context: Context, meaning: Meaning) -> Step:
    """What a read leads to, here and now. Changes nothing by itself."""
    row = workflow.table[workflow.state(context), workflow.relate(context, meaning)]
    return Step(row, ACTIONS[row.do](context, meaning), _values(context, meaning))


def item_name(
    item: Item | None, sku: str | None = None, gtin: str | None = None, sscc: str | None = None
) -> str:
    """How goods are called in front of people."""
    if item is not None:
        return f"{item.name} ({item.sku})" if item.name and item.name != item.sku else item.sku
    return sku or gtin or (f"SSCC {sscc}" if sscc is not None else "?")


def _values(context: Context, meaning: Meaning) -> dict[str, object]:
    """Everything a text may name."""
    task, document = context.task, context.document
    sku = meaning.item.sku if meaning.item is not None else None
    received = context.received.get(sku, 0) if sku is not None else 0
    return {
        "code": meaning.identity.text,
        "name": item_name(meaning.item, sku, meaning.identity.gtin, meaning.identity.sscc),
        "sscc": meaning.identity.sscc or "",
        "quantity": meaning.quantity,
        "lot": meaning.identity.lot or "–",
        "place": meaning.location.id if meaning.location is not None else meaning.identity.gln or "",
        "operator": (meaning.operator.name or meaning.operator.id) if meaning.operator is not None else "",
        "document": meaning.document.id if meaning.document is not None else "",
        "current": document.id if document is not None else "",
        "expected": expected_of(document, sku) if document is not None and sku is not None else 0,
        "total": received + meaning.quantity,
        "wanted": item_name(context.task_item, task.sku) if task is not None else "",
        "wanted_lot": (task.lot or "–") if task is not None else "–",
        "wanted_place": (task.from_location or "") if task is not None else "",
        "left": context.left,
        "left_after": context.left - meaning.quantity,
    }

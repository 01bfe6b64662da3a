"""Picking, line by line in walking order: idle ──a task──▶ go ──its location──▶ scan ──its items──▶ the next."""

from typing import Final

from agent.meaning import Meaning
from agent.workflows.table import NEXT, Context, State, Table, Workflow, rows
from devices.driver import Outcome
from sync.messages import Item, Task

_ANYWHERE: Final[dict[str, tuple[str, str, Outcome, str]]] = {
    "elsewhere": ("", "nothing", "reject", "elsewhere"),
    "asset": ("", "nothing", "reject", "asset"),
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
    **rows(
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
    **rows(
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
    **rows(
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


WORKFLOW: Final = Workflow(
    table=PICK,
    state=pick_state,
    relate=relate_pick,
    documents="order",
    event="picked",
    finish="finish_order",
    left="order_left",
)

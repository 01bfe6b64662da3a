"""What a row of a table can ask for: an event to record, changes at the station. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.meaning import Meaning
from agent.workflows.table import Context, Effect


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


def _sight(context: Context, meaning: Meaning) -> Effect:
    identity = meaning.identity
    named = {"epc": identity.epc} if identity.epc is not None else {"raw": identity.text}
    by = {"operator": context.operator} if context.operator is not None else {}
    return Effect(("sighted", {**named, **by, "location": context.location}))


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
    "sight": _sight,
    "pick": _pick,
    "stand": _stand,
    "sign_in": _sign_in,
    "choose": _choose,
    "choose_order": _choose_order,
    "finish": _finish,
    "finish_order": _finish_order,
    "put_off": _put_off,
}

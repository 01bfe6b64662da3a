"""A station's state as its page, and whoever watches it, sees it: plain values, bounded. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from agent.history import TOLD, Entry
from agent.passage import grouped
from agent.reference import Lookups
from agent.workflows import Context, asset_name, expected_of, item_name, pick_state
from identity import identity_of_tag
from sync.messages import Document, Task

if TYPE_CHECKING:
    from agent.shared import Shared
    from agent.station import Station

RECORDED: Final = 60  # of the newest scans
LINES: Final = 100  # of a document
ORDERS: Final = 8  # at a gate
NOTES: Final = 10  # verdicts that a person should look at


def state(station: "Station", shared: "Shared", lines: list[Task], status: dict[str, Any]) -> dict[str, Any]:
    """Everything the page shows."""
    context = station.context()
    lookups, history = shared.reference.now, shared.history
    document = context.document
    operator = lookups.operator(context.operator) if context.operator is not None else None
    entries = list(station.entries())
    last, unseen = station.last, station.before_restart()
    if station.settings.workflow == "pick":
        job = _pick_job(context, lookups, lines)
        count = history.job_scans(station.name)
    elif station.settings.workflow == "gate":
        touched = history.job_documents(station.name)
        job = _gate_job(context, lookups, touched)
        count = sum(touched.values())
    else:
        job = _receive_job(context, lookups)
        count = history.scans(station.name, document.id if document is not None else None)
    return {
        "station": station.name,
        "workflow": station.settings.workflow,
        "location": context.location,
        "operator": context.operator,
        "operator_name": operator.name if operator is not None else context.operator,
        "document": document.id if document is not None else None,
        "status": status,
        "last": None
        if last is None
        else {
            "outcome": last.outcome,
            "text": last.text,
            "code": last.code,
            "event_id": last.event_id,
            "at": last.at,
            "token": last.token,
        },
        "recording": station.recording,
        "before_restart": None if unseen is None else _described(unseen, lookups),
        "job": job,
        "passage": station.passage.public() if station.passage is not None else None,
        "concerns": grouped(station.choices.concerns),
        "count": count,
        "recorded": [_described(entry, lookups) for entry in entries[:RECORDED]],
        "notes": [_described(entry, lookups) for entry in entries if _is_note(entry)][:NOTES],
    }


def _is_note(entry: Entry) -> bool:
    return entry.verdict in TOLD and not entry.undone


def _described(entry: Entry, lookups: Lookups) -> dict[str, Any]:
    return {**entry.public(), "name": entry_name(entry, lookups)}


def entry_name(entry: Entry, lookups: Lookups) -> str:
    """How the goods of a recorded event are called."""
    data = entry.data
    sku = data.get("sku")
    item = lookups.item(sku) if sku is not None else None
    if entry.name == "sighted" and entry.tag is not None:
        return asset_name(identity_of_tag(entry.tag, None, None))
    return item_name(item, sku, data.get("gtin"), data.get("sscc"))


def _receive_job(context: Context, lookups: Lookups) -> dict[str, Any]:
    document = context.document
    if document is None:
        return {"kind": "receive", "document": None, "lines": [], "expected": 0, "received": 0}
    return {
        "kind": "receive",
        **_progress(document, context.received, lookups),
        "open": lookups.document(document.id) is not None,
    }


def _progress(document: Document, received: Mapping[str, int], lookups: Lookups) -> dict[str, Any]:
    """A purchase order, line by line."""
    skus = list(dict.fromkeys(line.sku for line in document.lines))
    lines = [
        {
            "sku": sku,
            "name": item_name(lookups.item(sku), sku),
            "expected": expected_of(document, sku),
            "received": received.get(sku, 0),
        }
        for sku in skus[:LINES]
    ]
    return {
        "document": document.id,
        "supplier": document.supplier,
        "lines": lines,
        "expected": sum(line.quantity for line in document.lines),
        "received": sum(received.values()),
    }


def _gate_job(context: Context, lookups: Lookups, touched: Mapping[str | None, int]) -> dict[str, Any]:
    """The orders that this job received for, and those that are waited for; those with goods in this job first."""
    orders = [order for order in lookups.purchase_orders.values() if order.site == context.site]
    orders.sort(key=lambda order: order.id not in touched)
    return {
        "kind": "gate",
        "orders": [
            {**_progress(order, context.totals.get(order.id, {}), lookups), "scans": touched.get(order.id, 0)}
            for order in orders[:ORDERS]
        ],
        "more": max(0, len(orders) - ORDERS),
        "without": touched.get(None, 0),
    }


def _pick_job(context: Context, lookups: Lookups, lines: list[Task]) -> dict[str, Any]:
    task = context.task
    following = [line for line in lines if task is None or line.task != task.task]
    job: dict[str, Any] = {"kind": "pick", "step": pick_state(context), "open": len(lines)}
    if task is not None:
        job |= {
            "task": task.task,
            "document": task.document,
            "sku": task.sku,
            "name": item_name(context.task_item, task.sku),
            "lot": task.lot,
            "from_location": task.from_location,
            "quantity": task.quantity,
            "done": context.picked,
            "left": context.left,
            # Another agent has it, or may have it by now. Nobody is stopped: what is picked counts all the same.
            "holder": task.holder,
        }
    job["next"] = _next_line(following[0], lookups) if following else None
    return job


def _next_line(task: Task, lookups: Lookups) -> dict[str, Any]:
    item = lookups.item(task.sku) if task.sku is not None else None
    return {
        "from_location": task.from_location,
        "sku": task.sku,
        "name": item_name(item, task.sku),
        "quantity": task.quantity,
    }


def documents(lookups: Lookups, kind: str, most: int) -> list[dict[str, Any]]:
    """The open documents that can be chosen, by id."""
    return [_choice(document) for document in lookups.documents(kind)[:most]]


def _choice(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "supplier": document.supplier,
        "channel": document.channel,
        "lines": len(document.lines),
        "quantity": sum(line.quantity for line in document.lines),
    }

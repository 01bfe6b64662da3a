"""The workflows: what a read leads to at each kind of station. Pure.

A new workflow is one module with its table and its `relate`, and one line in WORKFLOWS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.meaning import Meaning
from agent.workflows import gate, pick, receive
from agent.workflows.actions import ACTIONS
from agent.workflows.pick import pick_state
from agent.workflows.table import NEXT, Context, Effect, Row, Workflow, expected_of
from identity import Identity
from sync.messages import Item

__all__ = [
    "ACTIONS",
    "NEXT",
    "WORKFLOWS",
    "Context",
    "Effect",
    "Step",
    "Workflow",
    "asset_name",
    "expected_of",
    "item_name",
    "pick_state",
    "step",
]

WORKFLOWS: Final[Mapping[str, Workflow]] = {
    "receive": receive.WORKFLOW,
    "pick": pick.WORKFLOW,
    "gate": gate.WORKFLOW,
}


@dataclass(frozen=True, slots=True)
class Step:
    """What one read leads to."""

    relation: str
    """What it was to the job."""
    row: Row
    effect: Effect
    values: Mapping[str, object]
    """For the text that is shown."""


def step(workflow: Workflow, context: Context, meaning: Meaning) -> Step:
    """What a read leads to, here and now. Changes nothing by itself."""
    context = workflow.aim(context, meaning)
    relation = workflow.relate(context, meaning)
    row = workflow.table[workflow.state(context), relation]
    return Step(relation, row, ACTIONS[row.do](context, meaning), _values(context, meaning))


def item_name(
    item: Item | None, sku: str | None = None, gtin: str | None = None, sscc: str | None = None
) -> str:
    """How goods are called in front of people."""
    if item is not None:
        return f"{item.name} ({item.sku})" if item.name and item.name != item.sku else item.sku
    return sku or gtin or (f"SSCC {sscc}" if sscc is not None else "?")


def asset_name(identity: Identity) -> str:
    """How a crate or a pallet is called in front of people: its GIAI, or its GRAI and which one of these it is."""
    return identity.giai or " ".join(part for part in (identity.grai, identity.serial) if part)


def _values(context: Context, meaning: Meaning) -> dict[str, object]:
    """Everything a text may name."""
    task, document = context.task, context.document
    sku = meaning.item.sku if meaning.item is not None else None
    received = context.received.get(sku, 0) if sku is not None else 0
    return {
        "code": meaning.identity.text,
        "name": item_name(meaning.item, sku, meaning.identity.gtin, meaning.identity.sscc),
        "sscc": meaning.identity.sscc or "",
        "asset": asset_name(meaning.identity),
        "serial": meaning.identity.serial or meaning.identity.sscc or "",
        "quantity": meaning.quantity,
        "lot": meaning.identity.lot or "–",
        "place": meaning.location.id if meaning.location is not None else meaning.identity.gln or "",
        "operator": (meaning.operator.name or meaning.operator.id) if meaning.operator is not None else "",
        "document": meaning.document.id if meaning.document is not None else "",
        "current_place": context.location,
        "current": document.id if document is not None else "",
        "expected": expected_of(document, sku) if document is not None and sku is not None else 0,
        "total": received + meaning.quantity,
        "wanted": item_name(context.task_item, task.sku) if task is not None else "",
        "wanted_lot": (task.lot or "–") if task is not None else "–",
        "wanted_place": (task.from_location or "") if task is not None else "",
        "left": context.left,
        "left_after": context.left - meaning.quantity,
    }

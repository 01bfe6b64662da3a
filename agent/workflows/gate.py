"""A gate: tags that pass inward are received, without anybody who scans or chooses a document.

The one idea: goods find their purchase order by themselves, and are never refused for paperwork. What no order
expects is recorded all the same, and said; what passes outward is said loudly, and nothing is recorded.
"""

from dataclasses import replace
from typing import Final

from agent.meaning import Meaning
from agent.workflows.receive import relate_receive
from agent.workflows.table import Context, State, Table, Workflow, expected_of, rows
from sync.messages import Document

GATE: Final[Table] = rows(
    "gate",
    {
        "expected": ("gate", "receive", "ok", "gate_received"),
        "over": ("gate", "receive", "ok", "gate_over"),
        "item": ("gate", "receive", "ok", "gate_not_ordered"),
        "unknown_item": ("gate", "receive", "ok", "received_unknown"),
        "unit": ("gate", "receive", "ok", "received_unit"),
        "asset": ("gate", "sight", "ok", "sighted"),
        "seen": ("gate", "nothing", "duplicate", "gate_seen"),
        "outward": ("gate", "nothing", "reject", "outward"),
        "no_lot": ("gate", "nothing", "reject", "gate_no_lot"),
        "no_serial": ("gate", "nothing", "reject", "no_serial"),
        "location": ("gate", "nothing", "reject", "gate_stands"),
        "elsewhere": ("gate", "nothing", "reject", "elsewhere"),
        "document": ("gate", "nothing", "reject", "gate_chooses"),
        "wrong_document": ("gate", "nothing", "reject", "no_purchase_order"),
        "operator": ("gate", "sign_in", "ok", "operator"),
        "undo": ("gate", "undo", "ok", "undone"),
        "done": ("gate", "finish", "ok", "count_restarted"),
        "unknown": ("gate", "nothing", "reject", "unknown"),
    },
)
_GOODS: Final = frozenset({"item", "no_lot", "no_serial", "unknown_item", "unit"})
"""What is on its way out when it passes outward. An asset is seen whichever way it goes."""


def gate_state(_context: Context) -> State:
    """Always the same: a gate has nothing to be told."""
    return "gate"


def relate_gate(context: Context, meaning: Meaning) -> str:
    """What the read is to the order that it was aimed at."""
    if context.outward and meaning.kind in _GOODS:
        return "outward"
    return relate_receive(context, meaning)


def aim(context: Context, meaning: Meaning) -> Context:
    """With the order that these goods belong to. What is in a unit, and for which order, central knows."""
    if meaning.kind != "item" or meaning.item is None:
        return replace(context, document=None)  # one may be left from when the station was no gate
    return replace(context, document=order_of(context, meaning.item.sku, meaning.quantity))


def order_of(context: Context, sku: str, quantity: int) -> Document | None:
    """The oldest purchase order of the site that the goods fit into; else the oldest that lacks any; else, as too
    many, the newest that lists them; None: none lists them.
    """
    listing = [order for order in context.orders.get(sku, ()) if order.site == context.site]
    lacks = {
        order.id: expected_of(order, sku) - context.totals.get(order.id, {}).get(sku, 0) for order in listing
    }
    for enough in (quantity, 1):
        for order in listing:
            if lacks[order.id] >= enough:
                return order
    return listing[-1] if listing else None


WORKFLOW: Final = Workflow(
    table=GATE,
    state=gate_state,
    relate=relate_gate,
    documents="purchase_order",
    event="received",
    finish="finish",
    left="count_restarted",
    aim=aim,
)

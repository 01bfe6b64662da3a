"""Receiving by hand, with or without a purchase order: blind ──document──▶ document ──done──▶ blind."""

from typing import Final

from agent.meaning import Meaning
from agent.workflows.table import Context, State, Table, Workflow, expected_of, rows

RECEIVE: Final[Table] = {
    **rows(
        "blind",
        {
            "item": ("blind", "receive", "ok", "received"),
            "unknown_item": ("blind", "receive", "ok", "received_unknown"),
            "unit": ("blind", "receive", "ok", "received_unit"),
            "seen": ("blind", "nothing", "duplicate", "seen"),
            "no_lot": ("blind", "nothing", "reject", "no_lot"),
            "no_serial": ("blind", "nothing", "reject", "no_serial"),
            "asset": ("blind", "nothing", "reject", "asset"),
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
    **rows(
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
            "asset": ("document", "nothing", "reject", "asset"),
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


WORKFLOW: Final = Workflow(
    table=RECEIVE,
    state=receive_state,
    relate=relate_receive,
    documents="purchase_order",
    event="received",
    finish="finish",
    left="document_left",
)

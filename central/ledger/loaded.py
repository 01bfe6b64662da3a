"""Rows of the database as the values that the books are made of: read here alone, written in scribe.py."""

import json
from typing import Any

import msgspec

from central.ledger.accounts import Promise, Totals
from central.ledger.books import (
    AgentRow,
    Answered,
    Cursor,
    Document,
    Item,
    Lease,
    Location,
    Movement,
    Operator,
    Reservation,
    Task,
    Unit,
)
from central.ledger.transitions import Fact

_facts = msgspec.json.Decoder(Fact)


def item(row: Any) -> Item:
    """What can be counted; its GTINs are rows of their own."""
    return Item(row.name, row.tracking, row.scale, bool(row.provisional))


def location(row: Any) -> Location:
    """Where things can be."""
    return Location(row.site, row.zone, row.walk_order, row.gln, bool(row.provisional))


def operator(row: Any) -> Operator:
    """A person at a station."""
    return Operator(row.name, row.badge, row.pin_hash, tuple(json.loads(row.roles)), bool(row.provisional))


def unit(row: Any) -> Unit:
    """A logistic unit."""
    return Unit(row.site, row.location, row.parent, row.document, row.contents, row.first_event)


def document(row: Any) -> Document:
    """What is expected or was sold, without its lines."""
    return Document(row.type, row.site, row.status, row.supplier, row.channel, row.notices, row.created_us)


def reservation(row: Any) -> Reservation:
    """A hold."""
    return Reservation(
        row.sku, row.site, row.quantity, row.channel, row.status, row.created_us, row.expires_us, row.document
    )


def task(row: Any) -> Task:
    """Work for a person."""
    return Task(
        row.type, row.site, row.document, row.sku, row.quantity, row.from_location, row.done, row.lot,
        row.status, row.changed_us, row.holder,
    )  # fmt: skip


def lease(row: Any) -> Lease:
    """Until when an agent holds its tasks."""
    return Lease(row.site, tuple(json.loads(row.takes)), row.until_us)


def cursor(row: Any) -> Cursor:
    """How far one incarnation has come."""
    return Cursor(row.agent, row.acked, row.predecessor, row.first_seen_us, row.backed_up)


def agent(row: Any) -> AgentRow:
    """What an agent last said."""
    return AgentRow(
        row.site, row.software, row.incarnation, row.hello_us, row.connection, row.state, row.state_us,
        row.returns,
    )  # fmt: skip


def answered(row: Any) -> Answered:
    """What is known under an idempotency key."""
    return Answered(row.body_hash, row.answer)


def totals(row: Any) -> Totals:
    """The totals of a document's line."""
    return Totals(row.ordered, row.received, row.picked, row.packed, row.shipped, row.transferred)


def promise(row: Any) -> Promise:
    """The balances of a shelf."""
    return Promise(row.free, row.reserved, row.committed)


def movement(row: Any) -> Movement:
    """An event or claim with its verdict; its entries and its original are not loaded."""
    return Movement(
        row.event_id, row.event, row.content_hash, row.outcome, row.actor, row.occurred_at, row.reason,
        row.site, row.sku, row.quantity, row.document, row.corrects, row.incarnation, row.sequence,
        _facts.decode(row.fact) if row.fact else None, None, row.number, row.number is not None,
    )  # fmt: skip

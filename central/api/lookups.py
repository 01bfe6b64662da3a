"""Plain questions to the tables: one item, one location, pages of documents and discrepancies.

The one idea: functions over a connection, so that one snapshot answers everything that a request asks. Stock and
claims are read through `central.ledger.views`.
"""

from typing import Any

import sqlalchemy as sa

from central import tables
from central.ledger import bodies, kinds, views
from central.ledger.accounts import Line, Totals
from central.ledger.books import Document

Rows = list[tuple[str, dict[str, Any]]]


def item(connection: sa.Connection, sku: str) -> dict[str, Any] | None:
    """An item as the API shows it."""
    t = tables.item.c
    row = connection.execute(sa.select(tables.item).where(t.sku == sku)).one_or_none()
    if row is None:
        return None
    g = tables.item_gtin.c
    rows = connection.execute(sa.select(tables.item_gtin).where(g.sku == sku).order_by(g.quantity, g.gtin))
    known, gtins = kinds.ITEMS.row(row), map(kinds.GTINS.row, rows)
    return _marked(bodies.item(sku, known, gtins), provisional=row.provisional)


def location(connection: sa.Connection, name: str) -> dict[str, Any] | None:
    """A location as the API shows it."""
    row = connection.execute(sa.select(tables.location).where(tables.location.c.id == name)).one_or_none()
    if row is None:
        return None
    return _marked(bodies.location(name, kinds.LOCATIONS.row(row)), provisional=row.provisional)


def _marked(body: dict[str, Any], *, provisional: bool) -> dict[str, Any]:
    """Only what nobody has registered yet says so: the body of a PUT and of a GET are the same."""
    return {**body, "provisional": True} if provisional else body


def purchase_orders(connection: sa.Connection, after: str, limit: int, *, status: str | None = None) -> Rows:
    """Purchase orders with ids after `after`."""
    found = _documents(connection, "purchase_order", after, limit, status)
    return [(name, bodies.purchase_order(name, row, lines)) for name, row, lines in found]


def orders(connection: sa.Connection, after: str, limit: int, *, status: str | None = None) -> Rows:
    """Orders with ids after `after`."""
    found = _documents(connection, "order", after, limit, status)
    return [(name, bodies.order(name, row, lines)) for name, row, lines in found]


def _documents(
    connection: sa.Connection, kind: str, after: str, limit: int, status: str | None
) -> list[tuple[str, Document, list[tuple[Line, Totals]]]]:
    d = tables.document.c
    query = sa.select(tables.document).where(d.type == kind, d.id > after).order_by(d.id).limit(limit)
    if status is not None:
        query = query.where(d.status == status)
    found = connection.execute(query).all()
    lines = views.lines_of(connection, [row.id for row in found])
    return [(row.id, kinds.DOCUMENTS.row(row), lines[row.id]) for row in found]


def discrepancies(
    connection: sa.Connection,
    after: str,
    limit: int,
    *,
    status: str | None = None,
    sku: str | None = None,
) -> Rows:
    """Discrepancies opened after the one with the number `after`."""
    d = tables.discrepancy.c
    query = sa.select(tables.discrepancy).where(d.id > int(after or 0)).order_by(d.id).limit(limit)
    if status is not None:
        query = query.where(d.status == status)
    if sku is not None:
        query = query.where(d.sku == sku)
    found = connection.execute(query).all()
    movements = _movements_of(connection, [row.id for row in found])
    return [(str(row.id), discrepancy(row, movements.get(row.id, []))) for row in found]


def discrepancy(row: Any, movements: list[int]) -> dict[str, Any]:
    """A row of the table as the API shows it."""
    return {
        "id": str(row.id),
        "kind": row.kind,
        "sku": row.sku,
        "site": row.site,
        "location": row.location,
        "expected": row.expected,
        "actual": row.actual,
        "detail": row.detail,
        "owner": row.owner,
        "due_at": bodies.rfc3339(row.due_us),
        "status": row.status,
        "opened_at": bodies.rfc3339(row.opened_us),
        "closed_at": None if row.closed_us is None else bodies.rfc3339(row.closed_us),
        "movements": movements,
    }


def _movements_of(connection: sa.Connection, discrepancies: list[int]) -> dict[int, list[int]]:
    """The numbers of the movements that belong to each; what booked nothing has no number."""
    link, m = tables.discrepancy_movement.c, tables.movement.c
    query = (
        sa.select(link.discrepancy, m.number)
        .join(tables.movement, m.event_id == link.movement)
        .where(link.discrepancy.in_(discrepancies), m.number.is_not(None))
        .order_by(m.number)
    )
    found: dict[int, list[int]] = {}
    for identity, number in connection.execute(query):
        found.setdefault(identity, []).append(number)
    return found

"""What the books say: availability, movements, documents, and whether balances still equal their entries.

The idea: plain functions over a connection that sees one snapshot (`central.database.reading`). A hold whose time
has passed counts as free in every answer, whether anyone has written its end down or not.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from central import tables
from central.database import current_history
from central.database import now_us as clock_us
from central.ledger import bodies, kinds
from central.ledger.accounts import BOUNDARIES, ON_HAND, Line, Totals, key_of
from central.ledger.books import Document

LEVELS: Final = (
    "on_hand",
    "available",
    "reserved",
    "committed",
    "picked",
    "packed",
    "in_transit",
    "returned",
    "quarantine",
    "damaged",
    "overpromised",
    "owed",
)
_SHOWN_STATES: Final = ("picked", "packed", "in_transit", "returned", "quarantine", "damaged")


def last_movement(connection: sa.Connection) -> int:
    """The highest movement number that is committed."""
    table = tables.counter
    query = sa.select(table.c.value).where(table.c.name == "movement")
    return int(connection.execute(query).scalar_one())


def reference_version(connection: sa.Connection) -> int:
    """The version of the reference data."""
    table = tables.counter
    query = sa.select(table.c.value).where(table.c.name == "reference")
    return int(connection.execute(query).scalar_one())


# --- availability ---------------------------------------------------------------------------------


def availability(
    connection: sa.Connection,
    sku: str,
    site: str | None = None,
    channel: str | None = None,  # noqa: ARG001 (safety buffers by channel will look at it)
    now_us: int | None = None,
) -> dict[str, Any]:
    """Stock and promises of a SKU, at one site or at all, net of holds that are past their time."""
    return availabilities(connection, [sku], site, now_us)[sku]


def availabilities(
    connection: sa.Connection, skus: Iterable[str], site: str | None = None, now_us: int | None = None
) -> dict[str, dict[str, Any]]:
    """The same for several SKUs in as many queries."""
    wanted = sorted(set(skus))
    now = clock_us(connection) if now_us is None else now_us
    sites: dict[str, dict[str, Counter[str]]] = {sku: defaultdict(Counter) for sku in wanted}
    for row in _balances(connection, wanted, site):
        levels = sites[row.sku][row.site]
        if row.state in ON_HAND:
            levels["on_hand"] += int(row.quantity)
        if row.state in _SHOWN_STATES:
            levels[row.state] += int(row.quantity)
        elif row.quantity < 0:
            levels["owed"] -= int(row.quantity)
    late = _late_holds(connection, wanted, now)
    for row in _promises(connection, wanted, site):
        levels, let_go = sites[row.sku][row.site], late[row.site, row.sku]
        free = row.free + let_go
        levels["available"] += max(0, free)
        levels["overpromised"] += max(0, -free)
        levels["reserved"] += row.reserved - let_go
        levels["committed"] += row.committed
    history, as_of = current_history(connection), last_movement(connection)
    return {sku: _levels(sku, by_site, history, as_of) for sku, by_site in sites.items()}


def _levels(sku: str, by_site: dict[str, Counter[str]], history: str, as_of: int) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for levels in by_site.values():
        total.update(levels)
    return {
        "sku": sku,
        **{name: total[name] for name in LEVELS},
        "sites": {site: {name: levels[name] for name in LEVELS} for site, levels in sorted(by_site.items())},
        "history": history,
        "as_of": as_of,
    }


def _balances(connection: sa.Connection, skus: list[str], site: str | None) -> Iterable[Any]:
    """Per bin and state, over all lots: what is below zero is judged so."""
    c = tables.balance.c
    query = (
        sa.select(c.site, c.sku, c.location, c.state, sa.func.sum(c.quantity).label("quantity"))
        .where(c.sku.in_(skus))
        .group_by(c.site, c.sku, c.location, c.state)
    )
    return connection.execute(query if site is None else query.where(c.site == site))


def _promises(connection: sa.Connection, skus: list[str], site: str | None) -> Iterable[Any]:
    c = tables.promise.c
    query = sa.select(tables.promise).where(c.sku.in_(skus))
    return connection.execute(query if site is None else query.where(c.site == site))


def _late_holds(connection: sa.Connection, skus: list[str], now_us: int) -> Counter[tuple[str, str]]:
    c = tables.reservation.c
    query = (
        sa.select(c.site, c.sku, sa.func.sum(c.quantity))
        .where(c.sku.in_(skus), c.status == "active", c.expires_us <= now_us)
        .group_by(c.site, c.sku)
    )
    return Counter({(site, sku): int(quantity) for site, sku, quantity in connection.execute(query)})


def stock(connection: sa.Connection, after: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """Availability of the SKUs after `after`, in their order: those that ever had any."""
    c = tables.promise.c
    query = sa.select(c.sku).where(c.sku > after).distinct().order_by(c.sku).limit(limit)
    skus = list(connection.execute(query).scalars())
    found = availabilities(connection, skus)
    return [found[sku] for sku in skus]


def bins(connection: sa.Connection, sku: str) -> list[dict[str, Any]]:
    """Where a SKU is, by site, location, state and lot."""
    c = tables.balance.c
    query = sa.select(tables.balance).where(c.sku == sku, c.quantity != 0)
    rows = connection.execute(query.order_by(c.site, c.location, c.state, c.lot))
    return [dict(row._mapping) for row in rows]


# --- movements ------------------------------------------------------------------------------------


def movements(
    connection: sa.Connection,
    after: int = 0,
    limit: int = 100,
    sku: str | None = None,
    document: str | None = None,
) -> list[dict[str, Any]]:
    """Movements with numbers above `after`, in central order, with their entries."""
    m, e = tables.movement.c, tables.entry.c
    query = sa.select(tables.movement).where(m.number > after).order_by(m.number).limit(limit)
    if document is not None:
        query = query.where(m.document == document)
    queries = [query]
    if sku is not None:
        # A movement of several SKUs (a unit with contents) names none; its entries do. Two questions, because each
        # can follow an index; together they would be read to their end and put in order for every page.
        inside = sa.exists().where(e.movement == m.number, e.sku == sku)
        queries = [query.where(m.sku == sku), query.where(m.sku.is_(None), inside)]
    found = [row for one in queries for row in connection.execute(one)]
    rows = sorted(found, key=lambda row: int(row.number))[:limit]
    entries: dict[int, list[dict[str, Any]]] = defaultdict(list)
    numbers = [row.number for row in rows]
    # Of all movements: one statement for good, where a list of numbers is understood anew each time.
    every = sku is None and document is None and rows
    theirs = e.movement.between(numbers[0], numbers[-1]) if every else e.movement.in_(numbers)
    for row in connection.execute(sa.select(tables.entry).where(theirs).order_by(e.movement, e.ordinal)):
        entries[row.movement].append(entry_body(row))
    return [movement_body(row, row.number, row.recorded_us, entries[row.number]) for row in rows]


def movement_body(row: Any, number: int, recorded_us: int, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """A movement as the API and the feeds show it; `row` has the movement's columns as attributes."""
    return {
        "movement": number,
        "event": row.event,
        "event_id": row.event_id,
        "sku": row.sku,
        "site": row.site,
        "quantity": row.quantity,
        "outcome": row.outcome,
        "reason": row.reason,
        "document": row.document,
        "actor": row.actor,
        "corrects": row.corrects,
        "occurred_at": row.occurred_at,
        "recorded_at": bodies.rfc3339(recorded_us),
        "entries": entries,
    }


def entry_body(row: Any) -> dict[str, Any]:
    """One entry; the account names what its book keeps apart."""
    account = {"site": row.site, "sku": row.sku, "state": row.state}
    if row.book == "physical":
        account |= {"location": row.location, "lot": row.lot}
    return {"book": row.book, "account": account, "delta": row.delta}


# --- documents and claims -------------------------------------------------------------------------


def purchase_order(connection: sa.Connection, name: str) -> dict[str, Any] | None:
    """A purchase order with what came, or None."""
    row = _document(connection, name, "purchase_order")
    return None if row is None else bodies.purchase_order(name, row, lines_of(connection, [name])[name])


def order(connection: sa.Connection, name: str) -> dict[str, Any] | None:
    """An order with how far it has come, or None."""
    row = _document(connection, name, "order")
    return None if row is None else bodies.order(name, row, lines_of(connection, [name])[name])


def _document(connection: sa.Connection, name: str, kind: str) -> Document | None:
    c = tables.document.c
    row = connection.execute(sa.select(tables.document).where(c.id == name, c.type == kind)).one_or_none()
    return None if row is None else kinds.DOCUMENTS.row(row)


def lines_of(connection: sa.Connection, documents: Sequence[str]) -> dict[str, list[tuple[Line, Totals]]]:
    """The lines of each of these documents, by site and SKU."""
    c = tables.document_line.c
    query = sa.select(tables.document_line).where(c.document.in_(documents)).order_by(c.site, c.sku)
    lines: dict[str, list[tuple[Line, Totals]]] = {name: [] for name in documents}
    for row in connection.execute(query):
        lines[row.document].append((Line(row.document, row.site, row.sku), kinds.LINES.row(row)))
    return lines


def reservation(connection: sa.Connection, name: str, now_us: int | None = None) -> dict[str, Any] | None:
    """A hold as it is now, or None."""
    c = tables.reservation.c
    row = connection.execute(sa.select(tables.reservation).where(c.id == name)).one_or_none()
    if row is None:
        return None
    now = clock_us(connection) if now_us is None else now_us
    return bodies.reservation(name, kinds.RESERVATIONS.row(row), now)


def tasks(connection: sa.Connection, site: str | None = None, *, status: str | None = "open") -> list[Any]:
    """Rows of the task table, oldest change first."""
    c = tables.task.c
    query = sa.select(tables.task).order_by(c.changed_us, c.id)
    if site is not None:
        query = query.where(c.site == site)
    return list(connection.execute(query if status is None else query.where(c.status == status)))


# --- does it add up? ------------------------------------------------------------------------------


def verify(connection: sa.Connection) -> list[str]:
    """What does not add up, in words; empty when the books are right. Reads everything: for `central verify`.

    Balances equal the sum of their entries, every movement adds up to zero in both books, what is promised and
    free is the stock, and what is below zero has an open discrepancy.
    """
    return [
        *_verify_balances(connection),
        *_verify_promises(connection),
        *_verify_movements(connection),
        *_verify_discrepancies(connection),
    ]


def _verify_balances(connection: sa.Connection) -> list[str]:
    e = tables.entry.c
    keys = ("site", "sku", "location", "state", "lot")
    query = (
        sa.select(*(e[key] for key in keys), sa.func.sum(e.delta))
        .where(e.book == "physical", e.state.not_in(BOUNDARIES))
        .group_by(*(e[key] for key in keys))
    )
    rebuilt = {tuple(row[:5]): int(row[5]) for row in connection.execute(query)}
    stored = {
        tuple(row._mapping[key] for key in keys): row.quantity
        for row in connection.execute(sa.select(tables.balance))
    }
    return [
        f"balance of {'/'.join(key)} is {stored.get(key, 0)}, its entries add up to {rebuilt.get(key, 0)}"
        for key in sorted({*rebuilt, *stored})
        if rebuilt.get(key, 0) != stored.get(key, 0)
    ]


def _verify_promises(connection: sa.Connection) -> list[str]:
    e = tables.entry.c
    query = (
        sa.select(e.site, e.sku, e.state, sa.func.sum(e.delta))
        .where(e.book == "promise", e.state != "outside")
        .group_by(e.site, e.sku, e.state)
    )
    rebuilt = {(row[0], row[1], row[2]): int(row[3]) for row in connection.execute(query)}
    b = tables.balance.c
    stock_query = sa.select(b.site, b.sku, sa.func.sum(b.quantity)).where(b.state == "stock")
    in_bins = {
        (site, sku): int(quantity)
        for site, sku, quantity in connection.execute(stock_query.group_by(b.site, b.sku))
    }
    wrong: list[str] = []
    for row in connection.execute(sa.select(tables.promise)):
        for name in ("free", "reserved", "committed"):
            stored, folded = row._mapping[name], rebuilt.pop((row.site, row.sku, name), 0)
            if stored != folded:
                wrong.append(f"{name} of {row.sku} at {row.site} is {stored}, its entries add up to {folded}")
        total, there = row.free + row.reserved + row.committed, in_bins.pop((row.site, row.sku), 0)
        if total != there:
            wrong.append(f"{row.sku} at {row.site}: {total} free or promised, {there} in stock")
    lost = [
        *(key for key, value in rebuilt.items() if value),
        *(key for key, value in in_bins.items() if value),
    ]
    return wrong + [f"{'/'.join(key)} has no row in the promise book" for key in sorted(lost)]


def _verify_movements(connection: sa.Connection) -> list[str]:
    e, m = tables.entry.c, tables.movement.c
    query = sa.select(e.movement, e.book).group_by(e.movement, e.book).having(sa.func.sum(e.delta) != 0)
    wrong = [
        f"movement {row.movement} does not add up in the {row.book} book" for row in connection.execute(query)
    ]
    orphans = sa.select(e.movement).where(~sa.exists().where(m.number == e.movement)).distinct()
    wrong += [f"entries of movement {number}, which is not there" for number in connection.scalars(orphans)]
    last, count = last_movement(connection), connection.scalar(sa.select(sa.func.count(m.number)))
    return wrong if last == count else [*wrong, f"{last} movements were numbered, {count} are there"]


def _verify_discrepancies(connection: sa.Connection) -> list[str]:
    b, p, d = tables.balance.c, tables.promise.c, tables.discrepancy.c
    keys = (b.site, b.location, b.sku, b.state)
    owed = sa.select(*keys).group_by(*keys).having(sa.func.sum(b.quantity) < 0)
    gone = sa.select(p.site, p.sku).where(p.free < 0)
    below = {("owed", key_of(*row)) for row in connection.execute(owed)}
    below |= {("overpromised", key_of(*row)) for row in connection.execute(gone)}
    query = sa.select(d.kind, d.key).where(d.status == "open", d.kind.in_(("owed", "overpromised")))
    opened = {(row.kind, row.key) for row in connection.execute(query)}
    wrong = [
        f"{key} is below zero without an open discrepancy ({kind})" for kind, key in sorted(below - opened)
    ]
    return wrong + [
        f"discrepancy {kind} of {key} is open without cause" for kind, key in sorted(opened - below)
    ]

"""What the dashboard shows, as queries over one snapshot. Every list is bounded; what is cut off is counted.

The one idea: a section of the page is a small JSON value with the time of the snapshot left out, so that two equal
values mean that nothing changed and nothing need be sent.
"""

import json
from typing import Any, Final

import sqlalchemy as sa

from central import backups, tables
from central.api import lookups
from central.database import current_history, now_us
from central.ledger import bodies, views
from central.ledger.accounts import BOUNDARIES

AGENTS_MAX: Final = 100
SKUS_MAX: Final = 200
MOVEMENTS_MAX: Final = 50
DISCREPANCIES_MAX: Final = 50
DOCUMENTS_MAX: Final = 20

SHOWN: Final = ("on_hand", "available", "reserved", "committed", "picked", "packed", "owed", "overpromised")

Section = dict[str, Any]


def everything(connection: sa.Connection) -> dict[str, Section]:
    """Every section, all of the same instant."""
    at_us = now_us(connection)
    return {
        "agents": agents(connection),
        "stock": stock(connection, at_us),
        "movements": movements(connection),
        "discrepancies": discrepancies(connection, at_us),
        "purchase_orders": documents(connection, "purchase_order"),
        "orders": documents(connection, "order"),
        "books": {
            "history": current_history(connection),
            "as_of": views.last_movement(connection),
            "backup": _backup(connection),
        },
    }


def _backup(connection: sa.Connection) -> dict[str, Any] | None:
    """The newest backup that is counted on; None is a standing warning."""
    found = backups.latest(connection)
    return None if found is None else {"at": bodies.rfc3339(found.begun_us), "place": found.place}


def _count(connection: sa.Connection, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0)


# --- agents ------------------------------------------------------------------------------------------


def agents(connection: sa.Connection) -> Section:
    """Agents with their queue and devices, as they last said it themselves."""
    a = tables.agent.c
    found = connection.execute(sa.select(tables.agent).order_by(a.site, a.id).limit(AGENTS_MAX))
    return {"total": _count(connection, tables.agent), "rows": [_agent(row) for row in found]}


def _agent(row: Any) -> dict[str, Any]:
    state = json.loads(row.state) if row.state else {}
    return {
        "id": row.id,
        "site": row.site,
        "software": row.software,
        "status": state.get("status", "unknown"),
        "since": None if row.state_us is None else bodies.rfc3339(row.state_us),
        "queued": state.get("queued", 0),
        "oldest_queued_at": state.get("oldest_queued_at"),
        "devices": [
            {name: device.get(name) for name in ("name", "driver", "port", "status", "reason", "since")}
            for device in state.get("devices", [])
        ],
    }


# --- stock -------------------------------------------------------------------------------------------


def stock(connection: sa.Connection, at_us: int) -> Section:
    """Items with stock or promises, those that need a person first: what is below zero has an open discrepancy."""
    d, p = tables.discrepancy.c, tables.promise.c
    short = sa.select(d.sku).where(
        d.status == "open", d.kind.in_(("owed", "overpromised")), d.sku.is_not(None)
    )
    worried = set(connection.scalars(short.distinct().limit(SKUS_MAX)))
    known = sa.select(p.sku).distinct().order_by(p.sku).limit(SKUS_MAX)
    skus = sorted(worried)[:SKUS_MAX]
    skus += [sku for sku in connection.scalars(known) if sku not in worried][: SKUS_MAX - len(skus)]
    total = int(connection.scalar(sa.select(sa.func.count(sa.distinct(p.sku)))) or 0)
    return {"total": max(total, len(skus)), "rows": _levels(connection, skus, at_us)}


def _levels(connection: sa.Connection, skus: list[str], at_us: int) -> list[dict[str, Any]]:
    levels = views.availabilities(connection, skus, now_us=at_us)
    names = _names(connection, skus)
    return [
        {"sku": sku, "name": names.get(sku, ""), **{name: levels[sku][name] for name in SHOWN}}
        for sku in skus
    ]


def _names(connection: sa.Connection, skus: list[str]) -> dict[str, str]:
    i = tables.item.c
    return {row.sku: row.name for row in connection.execute(sa.select(i.sku, i.name).where(i.sku.in_(skus)))}


# --- what happened -----------------------------------------------------------------------------------


def movements(connection: sa.Connection) -> Section:
    """The newest movements, the last one first."""
    m = tables.movement.c
    columns = (m.number, m.event, m.outcome, m.reason, m.sku, m.quantity, m.document, m.actor, m.recorded_us)
    query = sa.select(*columns).where(m.number.is_not(None)).order_by(m.number.desc()).limit(MOVEMENTS_MAX)
    found = connection.execute(query).all()
    places = _places(connection, [row.number for row in found])
    return {
        "rows": [
            {
                "movement": row.number,
                "event": row.event,
                "outcome": row.outcome,
                "reason": row.reason,
                "sku": row.sku,
                "quantity": row.quantity,
                "document": row.document,
                "actor": row.actor,
                "at": bodies.rfc3339(row.recorded_us),
                **places.get(row.number, {"from": None, "to": None}),
            }
            for row in found
        ]
    }


def _places(connection: sa.Connection, numbers: list[int]) -> dict[int, dict[str, str | None]]:
    """Where the goods of a movement came from and went to; promises change no place."""
    e = tables.entry.c
    query = (
        sa.select(e.movement, e.location, e.state, e.delta)
        .where(e.movement.in_(numbers), e.book == "physical")
        .order_by(e.movement, e.ordinal)
    )
    found: dict[int, dict[str, str | None]] = {}
    for row in connection.execute(query):
        ends = found.setdefault(row.movement, {"from": None, "to": None})
        side = "from" if row.delta < 0 else "to"
        if ends[side] is None:
            # Goods of a document lie at no place of the house: their state says where they are.
            nowhere = row.state in BOUNDARIES or row.location.startswith("@")
            ends[side] = row.state if nowhere else row.location
    return found


# --- what is to be done ------------------------------------------------------------------------------


def discrepancies(connection: sa.Connection, at_us: int) -> Section:
    """Open discrepancies, the most urgent first."""
    d = tables.discrepancy.c
    is_open = d.status == "open"
    query = sa.select(tables.discrepancy).where(is_open).order_by(d.due_us, d.id).limit(DISCREPANCIES_MAX)
    return {
        "total": _count(connection, tables.discrepancy, is_open),
        "overdue": _count(connection, tables.discrepancy, is_open, d.due_us <= at_us),
        "rows": [lookups.discrepancy(row, []) for row in connection.execute(query)],
    }


def documents(connection: sa.Connection, kind: str) -> Section:
    """Open documents of a kind and how far they have come, the newest first."""
    d = tables.document.c
    wanted = (d.type == kind, d.status == "open")
    query = (
        sa.select(d.id, d.site, d.supplier, d.channel)
        .where(*wanted)
        .order_by(d.created_us.desc(), d.id)
        .limit(DOCUMENTS_MAX)
    )
    found = connection.execute(query).all()
    lines = views.lines_of(connection, [row.id for row in found])
    rows = []
    for row in found:
        totals = [one for _, one in lines[row.id]]
        done = [one.received if kind == "purchase_order" else one.picked for one in totals]
        rows.append(
            {
                "id": row.id,
                "site": row.site,
                "partner": row.supplier or row.channel or "",
                "lines": len(totals),
                "ordered": sum(one.ordered for one in totals),
                "done": sum(
                    min(max(0, so_far), one.ordered) for so_far, one in zip(done, totals, strict=True)
                ),
                "over": sum(max(0, so_far - one.ordered) for so_far, one in zip(done, totals, strict=True)),
            }
        )
    return {"total": _count(connection, tables.document, *wanted), "rows": rows}

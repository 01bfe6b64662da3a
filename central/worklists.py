"""What each agent is told of its site's tasks: those that it holds, and who has the others.

The idea: tasks are told by their ids, the newer replacing the older, and an answer to a hello is the whole list: what
it does not mention is over, also where a central that was restored never knew of it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from central import reference, tables
from central.database import current_history, now_us
from central.ledger import views
from central.ledger.bodies import rfc3339
from central.ledger.commands import Move
from central.ledger.leases import LEASED, Group, plan
from sync.messages import Task, Tasks, encode

RECENT_US: Final = 7 * 24 * 3600 * 1_000_000
"""Tasks that ended are told for so long, to agents that were away."""
MOST_ENDED: Final = 2000  # ended tasks in one answer
MOST_GROUPS: Final = 20_000  # of one site that are given out at once; the others follow as these are done
_OPEN: Final = tables.task.c.status == sa.literal_column("'open'")  # as in the partial index


class Line(NamedTuple):
    """A task, ready to be told."""

    type: str
    leased: bool
    """Told to those alone who work on such."""
    holder: str | None
    """Of an open one that is leased: who has it."""
    row: Any
    """Of the task table."""
    text: msgspec.Raw
    """As it is told to everybody but its holder."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a site's agents are told, before it is cut to what each of them sees: whatever is the same for all of them
    is written once.
    """

    history: str
    as_of: int
    now_us: int
    lines: Sequence[Line]
    until_us: Mapping[str, int]
    """By agent: when its lease ends."""
    takes: Mapping[str, Sequence[str]]
    """By agent: the types that it works on."""

    def messages(self, agent: str, *, whole: bool = False) -> list[bytes]:
        """For one agent. `whole`: these are all, and what else it has is over."""
        takes, until_us = self.takes.get(agent, LEASED), self.until_us.get(agent)
        until = None if until_us is None else rfc3339(until_us)
        tasks = [
            one.text if one.holder != agent else _text(one.row, "open", lease_until=until)
            for one in self.lines
            if not one.leased or one.type in takes
        ]
        chunks: list[Any] = reference.chunks(tasks, lambda text: len(bytes(text)))
        if whole and not chunks:
            chunks = [[]]
        more: dict[str, Any] = {"as_of": self.as_of, "history": self.history}
        if until_us is not None:
            more["lease_s"] = max(0, until_us - self.now_us) // 1_000_000
        payloads = []
        for number, chunk in enumerate(chunks, 1):
            if whole:
                more |= {"part": number, "parts": len(chunks)}
            payloads.append(encode(Tasks(tasks=chunk, **more)))
        return payloads


def _lines(rows: Iterable[Any]) -> Iterator[Line]:
    """A task that is done is over for every agent, like one that was called back; so is what another has. What nobody
    has is about to be given to somebody.
    """
    for row in rows:
        leased, opened = row.type in LEASED, row.status == "open"
        if leased and opened and row.holder is None:
            continue
        elsewhere = row.holder if leased and opened else None
        status: Literal["open", "cancelled"] = "open" if opened and not leased else "cancelled"
        yield Line(row.type, leased, elsewhere, row, _text(row, status, holder=elsewhere))


def _text(
    row: Any,
    status: Literal["open", "cancelled"],
    *,
    lease_until: str | None = None,
    holder: str | None = None,
) -> msgspec.Raw:
    task = Task(
        task=row.id,
        type=row.type,
        lease_until=lease_until,
        status=status,
        document=row.document,
        sku=row.sku,
        quantity=row.quantity,
        from_location=row.from_location or None,
        lot=row.lot,
        holder=holder,
    )
    return msgspec.Raw(encode(task))


def whole(connection: sa.Connection, site: str) -> Told:
    """What agents of the site have to know when they say hello: open tasks, and those that ended lately."""
    c = tables.task.c
    now = now_us(connection)
    found = connection.execute(sa.select(tables.task).where(c.site == site, _OPEN)).all()
    # In order here: for the order alone SQLite would read what has ended too.
    opened = sorted(found, key=lambda row: (row.changed_us, row.id))
    ended = connection.execute(
        sa.select(tables.task)
        .where(c.site == site, c.status != "open", c.changed_us > now - RECENT_US)
        .order_by(c.changed_us.desc())
        .limit(MOST_ENDED)
    ).all()
    return _told(connection, site, now, [*opened, *ended])


def changed(connection: sa.Connection, site: str, since_us: int) -> Told:
    """Tasks of a site that changed at or after `since_us`."""
    c = tables.task.c
    now = now_us(connection)
    query = sa.select(tables.task).where(c.site == site, c.changed_us >= since_us)
    rows = connection.execute(query.order_by(c.changed_us, c.id)).all()
    return _told(connection, site, now, rows)


def _told(connection: sa.Connection, site: str, now: int, rows: Sequence[Any]) -> Told:
    leases = connection.execute(sa.select(tables.lease).where(tables.lease.c.site == site)).all()
    return Told(
        current_history(connection),
        views.last_movement(connection),
        now,
        tuple(_lines(rows)),
        {row.agent: row.until_us for row in leases},
        {row.agent: json.loads(row.takes) for row in leases},
    )


def planned(connection: sa.Connection, site: str) -> list[Move]:
    """Who is to get what at a site: by who holds what is open, and whose lease lasts."""
    c, lease = tables.task.c, tables.lease.c
    groups = connection.execute(
        sa.select(
            c.type, c.document, c.holder, sa.func.count(), sa.func.max(c.done) > 0, sa.func.min(c.changed_us)
        )
        .where(c.site == site, _OPEN, c.type.in_(LEASED))
        .group_by(c.type, c.document, c.holder)
        .limit(MOST_GROUPS)
    )
    present = connection.execute(
        sa.select(lease.agent, lease.takes).where(lease.site == site, lease.until_us > now_us(connection))
    )
    return plan(site, [Group(*row) for row in groups], {row.agent: json.loads(row.takes) for row in present})

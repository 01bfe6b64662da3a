"""What each agent is told of its site's tasks: those that it holds, and who has the others.

The idea: tasks are told by their ids, the newer replacing the older, and an answer to a hello is the whole list: what
it does not mention is over, also where a central that was restored never knew of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

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


@dataclass(frozen=True, slots=True)
class Told:
    """What a site's agents are told, before it is cut to what each of them sees."""

    history: str
    as_of: int
    now_us: int
    rows: Sequence[Any]
    """Of the task table."""
    until_us: Mapping[str, int]
    """By agent: when its lease ends."""
    takes: Mapping[str, Sequence[str]]
    """By agent: the types that it works on."""

    def messages(self, agent: str, *, whole: bool = False) -> list[bytes]:
        """For one agent. `whole`: these are all, and what else it has is over."""
        tasks = [task for row in self.rows if (task := self._task(agent, row)) is not None]
        chunks = reference.chunks(tasks, lambda task: len(msgspec.json.encode(task)))
        if whole and not chunks:
            chunks = [[]]
        more: dict[str, Any] = {"as_of": self.as_of, "history": self.history}
        if agent in self.until_us:
            more["lease_s"] = max(0, self.until_us[agent] - self.now_us) // 1_000_000
        payloads = []
        for number, chunk in enumerate(chunks, 1):
            if whole:
                more |= {"part": number, "parts": len(chunks)}
            payloads.append(encode(Tasks(tasks=chunk, **more)))
        return payloads

    def _task(self, agent: str, row: Any) -> Task | None:
        """A task that is done is over for every agent, like one that was called back; so is what another has."""
        leased = row.type in LEASED
        if leased and row.type not in self.takes.get(agent, LEASED):
            return None  # nobody there works on such
        if leased and row.status == "open" and row.holder is None:
            return None  # it is about to be given to somebody
        elsewhere = leased and row.status == "open" and row.holder != agent
        until = self.until_us.get(agent)
        held = leased and row.status == "open" and not elsewhere
        return Task(
            task=row.id,
            type=row.type,
            lease_until=rfc3339(until) if held and until is not None else None,
            status="open" if row.status == "open" and not elsewhere else "cancelled",
            document=row.document,
            sku=row.sku,
            quantity=row.quantity,
            from_location=row.from_location or None,
            lot=row.lot,
            holder=row.holder if elsewhere else None,
        )


def whole(connection: sa.Connection, site: str, agent: str) -> Told:
    """What this agent of the site has to know when it says hello: open tasks, and those that ended lately."""
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
    return _told(connection, tables.lease.c.agent == agent, now, [*opened, *ended])


def changed(connection: sa.Connection, site: str, since_us: int) -> Told:
    """Tasks of a site that changed at or after `since_us`."""
    c = tables.task.c
    now = now_us(connection)
    query = sa.select(tables.task).where(c.site == site, c.changed_us >= since_us)
    rows = connection.execute(query.order_by(c.changed_us, c.id)).all()
    return _told(connection, tables.lease.c.site == site, now, rows)


def _told(connection: sa.Connection, whose: sa.ColumnElement[bool], now: int, rows: Sequence[Any]) -> Told:
    leases = connection.execute(sa.select(tables.lease).where(whose)).all()
    return Told(
        current_history(connection),
        views.last_movement(connection),
        now,
        rows,
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

"""Which backups are counted on, and what every one of them holds of each stream: what `safe` says.

The idea: how far each stream has come is read and committed before a copy is begun, so that the copy holds at least
that. Only when the copy is proved is the backup finished, and counted on. What every finished backup holds of a
stream stands in its cursor, where each answer to an agent finds it without a question more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from central import database, streams, tables
from central.database import current_history, now_us, writing

KEEP: Final = 7  # finished backups that are counted on when nobody says otherwise: a week of nights
KEEP_MOST: Final = 1000
BEGUN_MOST: Final = 20  # marks that wait to be finished; the oldest is forgotten
AT_ONCE: Final = 1000  # cursors looked at in one transaction: agents wait for no more

_backup, _held, _cursor = tables.backup, tables.backup_cursor, tables.cursor
_FINISHED: Final = _backup.c.finished_us.is_not(None)


class UnknownMark(Exception):
    """There is no backup that was begun under this mark and is not finished."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup. `place` is its file, or what its operator calls it; times are microseconds since 1970 (UTC)."""

    mark: str
    place: str
    begun_us: int
    finished_us: int | None


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of finishing one: how many are counted on now, and the places of those that are not any more."""

    kept: int
    forgotten: tuple[str, ...]


def begin(engine: sa.Engine, place: str, mark: str) -> Backup:
    """Write down, durably, what a copy that is begun from now on certainly holds."""
    with writing(engine) as connection:
        begun_us = now_us(connection)
        row = {"mark": mark, "history": current_history(connection), "place": place, "begun_us": begun_us}
        _insert(connection, row)
        waiting = sa.select(_backup.c.ordinal).where(~_FINISHED).order_by(_backup.c.ordinal.desc())
        _forget(connection, connection.scalars(waiting.offset(BEGUN_MOST)).all())
    return Backup(mark, place, begun_us, None)


def finish(engine: sa.Engine, mark: str, *, keep: int) -> Finished:
    """The copy that was begun under this mark is proved: count on it, and on the `keep` newest alone. A newer one at
    the same place has replaced the older. One that was begun before another that counts already is not counted on:
    agents may have forgotten what it lacks.

    Raises:
        UnknownMark: nothing was begun under it.
    """
    with writing(engine) as connection:
        found = connection.execute(sa.select(_backup).where(_backup.c.mark == mark, ~_FINISHED)).one_or_none()
        if found is None:
            raise UnknownMark(mark)
        connection.execute(
            sa.update(_backup).where(_backup.c.mark == mark).values(finished_us=now_us(connection))
        )
        newest = connection.execute(
            sa.select(_backup).where(_FINISHED).order_by(_backup.c.ordinal.desc())
        ).all()
        replaced = {row.ordinal for row in newest if row.place == found.place and row.ordinal < found.ordinal}
        if newest[0].ordinal > found.ordinal:
            replaced.add(found.ordinal)
        kept = [row for row in newest if row.ordinal not in replaced][:keep]
        gone = [row for row in newest if row not in kept]
        _forget(connection, [row.ordinal for row in gone])
        _changed(connection)
    _spread(engine)
    needed = {row.place for row in kept}
    return Finished(len(kept), tuple(dict.fromkeys(row.place for row in gone if row.place not in needed)))


def give_up(engine: sa.Engine, mark: str) -> None:
    """Nothing came of what was begun under this mark."""
    with writing(engine) as connection:
        found = sa.select(_backup.c.ordinal).where(_backup.c.mark == mark, ~_FINISHED)
        _forget(connection, connection.scalars(found).all())


def restored(engine: sa.Engine, place: str, mark: str) -> int:
    """This database was just restored from that place: that is a backup to count on, and a new history begins.
    Returns since when, in microseconds since 1970, what was written is not in it.
    """
    with writing(engine) as connection:
        begun = connection.execute(sa.select(_backup).where(~_FINISHED)).all()
        replaced = connection.scalars(sa.select(_backup.c.ordinal).where(_backup.c.place == place)).all()
        movement = connection.scalar(sa.select(sa.func.max(tables.movement.c.recorded_us)))
        since_us = max((row.begun_us for row in begun), default=movement or 0)
        _forget(connection, [*(row.ordinal for row in begun), *replaced])
        at_us = now_us(connection)
        row = {"mark": mark, "history": current_history(connection), "place": place, "begun_us": since_us}
        _insert(connection, {**row, "finished_us": at_us})
        database.new_history(connection, "restored")
        _changed(connection)
    _spread(engine)
    return since_us


def _insert(connection: sa.Connection, row: dict[str, Any]) -> None:
    ordinal = connection.execute(sa.insert(_backup).returning(_backup.c.ordinal), row).scalar_one()
    held = sa.select(sa.literal(ordinal), _cursor.c.incarnation, _cursor.c.acked).where(_cursor.c.acked > 0)
    connection.execute(sa.insert(_held).from_select(["backup", "incarnation", "acked"], held))


def _forget(connection: sa.Connection, ordinals: Sequence[int]) -> None:
    connection.execute(sa.delete(_held).where(_held.c.backup.in_(ordinals)))
    connection.execute(sa.delete(_backup).where(_backup.c.ordinal.in_(ordinals)))


def _changed(connection: sa.Connection) -> None:
    c = tables.counter.c
    connection.execute(sa.update(tables.counter).where(c.name == "backup").values(value=c.value + 1))


def _spread(engine: sa.Engine) -> None:
    """Write beside each cursor what every finished backup holds of it. Until a row is reached it says less: that is
    safe. Rows are locked by key, as the ledger does, and some at a time: each of the transactions reads those alone.
    """
    after, upto = sa.bindparam("after", type_=sa.Text), sa.bindparam("upto", type_=sa.Text)
    finished = sa.select(_backup.c.ordinal).where(_FINISHED)
    count = sa.select(sa.func.count()).select_from(_backup).where(_FINISHED).scalar_subquery()
    least = (
        sa.select(_held.c.incarnation, sa.func.min(_held.c.acked).label("acked"))
        .where(_held.c.backup.in_(finished), _held.c.incarnation > after, _held.c.incarnation <= upto)
        .group_by(_held.c.incarnation)
        .having(sa.func.count() == count)
        .subquery()
    )
    wanted = sa.func.coalesce(least.c.acked, 0)
    query = (
        sa.select(_cursor.c.incarnation, wanted.label("backed_up"))
        .select_from(_cursor.outerjoin(least, least.c.incarnation == _cursor.c.incarnation))
        .where(_cursor.c.incarnation > after, _cursor.c.incarnation <= upto, _cursor.c.backed_up != wanted)
        .order_by(_cursor.c.incarnation)
    )
    change = (
        sa.update(_cursor)
        .where(_cursor.c.incarnation == sa.bindparam("name"))
        .values(backed_up=sa.bindparam("held", type_=sa.BigInteger))
    )
    some = sa.select(_cursor.c.incarnation).where(_cursor.c.incarnation > after)
    some = some.order_by(_cursor.c.incarnation).limit(AT_ONCE)
    place, more = "", True
    while more:
        with writing(engine) as connection:
            names = connection.scalars(some, {"after": place}).all()
            more = bool(names)
            if more:
                reach = {"after": place, "upto": names[-1]}
                rows = connection.execute(query, reach).all()
                if rows:
                    changed = [{"name": row.incarnation, "held": row.backed_up} for row in rows]
                    connection.execute(change, changed)
                place = names[-1]
            else:
                _changed(connection)


# --- what others ask ---------------------------------------------------------------------------------


def version(connection: sa.Connection) -> int:
    """A number that changes whenever another part of some stream may be safe."""
    c = tables.counter.c
    return int(connection.execute(sa.select(c.value).where(c.name == "backup")).scalar_one())


def latest(connection: sa.Connection) -> Backup | None:
    """The newest backup that is counted on; None: there is none."""
    query = sa.select(_backup).where(_FINISHED).order_by(_backup.c.ordinal.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Backup(row.mark, row.place, row.begun_us, row.finished_us)


def stands(connection: sa.Connection, incarnations: Sequence[str]) -> tuple[str, list[tuple[str, int, int]]]:
    """(history, (incarnation, acked, safe) of those that are known)."""
    query = sa.select(_cursor).where(_cursor.c.incarnation.in_(incarnations))
    backups = latest(connection) is not None
    return current_history(connection), [
        (row.incarnation, row.acked, streams.safe_part(row.acked, row.backed_up, backups=backups))
        for row in connection.execute(query)
    ]

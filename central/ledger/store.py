"""Rows from the database into memory: what a batch touches is read and locked (it is written by scribe.py).

The idea: every table is read with one query per batch, in one lock order (that of central/tables.py, by key
within a table). PostgreSQL locks rows; on SQLite the writer holds the whole file. A row that was missing when it
was looked for is inserted, never replaced: if another worker was faster, the transaction starts again.
"""

import json
import zlib
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa

from central import database, tables
from central.ledger import loaded
from central.ledger.accounts import Bin, Line, Shelf
from central.ledger.books import Books, Shelved
from central.ledger.touch import Touch

CHUNK = 1000  # keys in one query: SQLite binds at most 32,766 values, of five columns at most
T = TypeVar("T")

# PostgreSQL's advisory locks, where there may be no row to lock: any numbers that nobody else uses.
_CATALOGUE_LOCK = 0x74616C6D  # "talm"
_HISTORY_LOCK = 0x74616C68  # "talh"
_BIN_LOCKS = 0x74616C6E  # "taln": the class of the locks that bins share
_BIN_LOCKS_MOST = 64  # of the server's few thousand


class Again(Exception):
    """Somebody else changed what this transaction was about to build on; try it again from the start."""


def _chunks(keys: Iterable[T]) -> Iterable[list[T]]:
    ordered = sorted(keys)  # type: ignore[type-var]
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


@cache
def _by_keys(table: sa.Table, columns: tuple[str, ...], *, lock: bool) -> sa.Select[Any]:
    """The rows whose `columns` are among :keys, for PostgreSQL. Built once."""
    query = sa.select(table).where(database.among([table.c[name] for name in columns], postgres=True))
    if not lock:
        return query
    order = [sa.collate(one, "C") for one in table.primary_key.columns if isinstance(one.type, sa.Text)]
    return query.order_by(*order).with_for_update()


@cache
def _text_by_keys(table: sa.Table, columns: tuple[str, ...], count: int) -> str:
    """The same for SQLite, for so many keys of one column, or a JSON list of rows; see `database.directly`."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    if len(columns) == 1:
        where = f'"{columns[0]}" IN ({", ".join("?" * count)})'
    else:  # see `database.among`
        each = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(columns)))
        several = ", ".join(f'"{name}"' for name in columns)
        where = f"({several}) IN (SELECT {each} FROM json_each(?))"  # noqa: S608 (as below)
    return f'SELECT {names} FROM "{table.name}" WHERE {where}'  # noqa: S608 (names of ours alone)


@cache
def _row_of(table: sa.Table) -> Callable[[Iterable[Any]], Any]:
    """What names the values of a row."""
    names = [column.name for column in table.columns]
    made: Any = namedtuple("made", names)  # type: ignore[misc] # noqa: PYI024 (its names are the table's)
    return made._make


@cache
def _key_of(table: sa.Table) -> tuple[tuple[str, ...], Callable[[Any], Any]]:
    """The columns of the primary key, and what takes it out of a row."""
    places = [place for place, column in enumerate(table.columns) if column.primary_key]
    return tuple(column.name for column in table.primary_key.columns), itemgetter(*places)


def _bound(keys: list[Any]) -> tuple[Any, ...]:
    """The keys as that statement wants them; the last one several times, so that there are few statements."""
    if isinstance(keys[0], tuple):
        return (json.dumps(keys),)
    places = 1 << (len(keys) - 1).bit_length()
    return (*keys, *keys[-1:] * (places - len(keys)))


@cache
def _overdue_of(*, postgres: bool) -> sa.Select[Any]:
    """Holds of :keys (site and SKU) whose time has passed at :now."""
    c = tables.reservation.c
    query = sa.select(tables.reservation).where(
        database.among([c.site, c.sku], postgres=postgres),
        c.status == sa.literal_column("'active'"),  # as in the partial index
        c.expires_us <= sa.bindparam("now"),
    )
    return query.order_by(sa.collate(c.id, "C")).with_for_update() if postgres else query


_HISTORIES = sa.select(
    tables.history.c.id, sa.exists().where(tables.backup.c.finished_us.is_not(None)).label("backups")
).order_by(tables.history.c.ordinal)


class Store:
    """One transaction's view of the database."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.postgres = database.is_postgres(connection)
        self._tasks_of: set[str] = set()
        """Documents whose tasks were read before; on SQLite nobody has changed them since."""

    # --- reading ---------------------------------------------------------------------------------

    def _rows(
        self, table: sa.Table, columns: Sequence[str], keys: Iterable[Any], *, lock: bool = False
    ) -> Iterable[Any]:
        """The rows whose `columns` are among the keys; locked in the order of their keys."""
        for chunk in _chunks(keys):
            if self.postgres:
                query = _by_keys(table, tuple(columns), lock=lock)
                yield from self.connection.execute(query, database.keyed(chunk, postgres=True))
            else:
                bound = _bound(chunk)
                text = _text_by_keys(table, tuple(columns), len(bound))
                yield from map(_row_of(table), database.directly(self.connection, text, bound))

    def _load(
        self,
        into: Any,
        table: sa.Table,
        keys: Iterable[Any],
        make: Callable[[Any], Any],
        *,
        lock: bool = False,
    ) -> None:
        """Load rows by their primary key; keys without a row are loaded as missing."""
        # A row's key as the named tuple that was asked for. On SQLite nobody has changed what was read before.
        wanted = {key: key for key in keys if self.postgres or key not in into}
        if not wanted:
            return
        columns, key_of = _key_of(table)
        found = set()
        for row in self._rows(table, columns, wanted, lock=lock):
            key = key_of(row)
            found.add(key)
            into.load(wanted[key], make(row))
        for key in wanted.keys() - found:
            into.load(key, None)

    def look_up(self, books: Books, touch: Touch) -> None:
        """The first round: what codes and ids mean. No row is locked yet."""
        if touch.catalogue and self.postgres:
            self.connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CATALOGUE_LOCK})")
        self._gtins(books, touch)
        self._load(books.locations, tables.location, touch.locations, loaded.location)
        self._load(books.operators, tables.operator, touch.operators, loaded.operator)
        self._units(books, touch)
        self._load(books.items, tables.item, touch.items, loaded.item)
        self._load(books.documents, tables.document, touch.documents, loaded.document)
        self._load(books.reservations, tables.reservation, touch.reservations, loaded.reservation)
        self._lines_of(books, touch.whole_documents)
        self._movements(books, touch)
        self._tasks(books, touch)

    def _gtins(self, books: Books, touch: Touch) -> None:
        table = tables.item_gtin
        for row in self._rows(table, ["gtin"], touch.gtins):
            books.gtins.load(row.gtin, (row.sku, row.quantity))
            touch.items.add(row.sku)
        for row in self._rows(table, ["sku"], touch.gtins_of):
            books.gtins.load(row.gtin, (row.sku, row.quantity))
        for gtin in touch.gtins:
            if gtin not in books.gtins:
                books.gtins.load(gtin, None)
            if books.gtins.get(gtin) is None:
                touch.items.add(f"gtin:{gtin}")

    def _units(self, books: Books, touch: Touch) -> None:
        """Units, and what is announced inside them, however deep."""
        pending = set(touch.units)
        while pending:
            touch.units |= pending
            self._load(books.units, tables.unit, pending, loaded.unit)
            inner = {row.id for row in self._rows(tables.unit, ["parent"], pending)}
            pending = inner - touch.units
        for _, unit in books.units.items():
            if unit.document:
                touch.documents.add(unit.document)
                touch.worked_documents.add(unit.document)
            if unit.first_event:
                touch.events.add(unit.first_event)
            for line in json.loads(unit.contents or "[]"):
                touch.items.add(line["sku"])

    def _movements(self, books: Books, touch: Touch) -> None:
        """Known events, and everything that corrects them or that they correct, however long the chain."""
        table = tables.movement
        naming: dict[str, set[str]] = {}
        seen: set[str] = set()
        pending = set(touch.events)
        while pending:
            seen |= pending
            found = {row.event_id: row for row in self._rows(table, ["event_id"], pending)}
            for name in pending:
                books.movements.load(name, loaded.movement(found[name]) if name in found else None)
            near = {row.corrects for row in found.values() if row.corrects}
            for row in self._rows(table, ["corrects"], pending):
                if row.number is not None:
                    naming.setdefault(row.corrects, set()).add(row.event_id)
                    near.add(row.event_id)
            pending = near - seen
        for name in seen:
            books.corrections.load(name, frozenset(naming.get(name, ())))
        touch.events = seen
        touch.known = {name for name in seen if books.movements.get(name) is not None}

    def _tasks(self, books: Books, touch: Touch, *, lock: bool = False) -> None:
        self._load(books.tasks, tables.task, touch.tasks, loaded.task, lock=lock)
        documents = touch.worked_documents | touch.whole_documents
        if not self.postgres:
            documents -= self._tasks_of
            self._tasks_of |= documents
        for row in self._rows(tables.task, ["document"], documents, lock=lock):
            books.tasks.load(row.id, loaded.task(row))
            touch.tasks.add(row.id)

    def _lines_of(self, books: Books, documents: Iterable[str], *, lock: bool = False) -> None:
        for row in self._rows(tables.document_line, ["document"], documents, lock=lock):
            books.lines.load(Line(row.document, row.site, row.sku), loaded.totals(row))

    def lock(self, books: Books, touch: Touch) -> None:
        """The second round: what will change, in lock order."""
        self._load(books.agents, tables.agent, touch.agents, loaded.agent, lock=True)
        self._load(books.cursors, tables.cursor, touch.cursors, loaded.cursor, lock=True)
        for _, agent in books.agents.items():
            if agent.incarnation is not None and agent.incarnation not in books.cursors:
                self._load(books.cursors, tables.cursor, [agent.incarnation], loaded.cursor)
        for row in self._rows(tables.cursor, ["predecessor"], touch.predecessors):
            rivals = books.rivals.get(row.predecessor, frozenset())
            books.rivals[row.predecessor] = rivals | {row.incarnation}
        self._places(books, touch)
        self._load(books.keys, tables.idempotency, touch.keys, loaded.answered)
        self._load(books.documents, tables.document, touch.documents, loaded.document, lock=True)
        self._load(books.lines, tables.document_line, touch.lines, loaded.totals, lock=True)
        known = set(touch.lines)
        self._lines_of(books, touch.whole_documents, lock=True)
        if any(line not in known for line, _ in books.lines.items()):
            raise Again("a document got more lines")
        for row in self._rows(tables.promise, ["sku"], touch.everywhere):
            touch.shelves.add(Shelf(row.site, row.sku))
        if touch.overdue:
            touch.shelves |= self.overdue(touch.overdue, database.now_us(self.connection))
        self._load(books.promises, tables.promise, touch.shelves, loaded.promise, lock=True)
        books.now_us = database.now_us(self.connection)
        self._reservations(books, touch)
        self._load(books.units, tables.unit, touch.units, loaded.unit, lock=True)
        if any(
            unit.first_event and unit.first_event not in books.movements for _, unit in books.units.items()
        ):
            raise Again("a unit was received meanwhile")
        self._bins(books, touch)
        self._tasks(books, touch, lock=True)
        self._load(books.leases, tables.lease, touch.leases, loaded.lease, lock=True)
        self._shelved(books, touch)
        self._history(books)

    def _places(self, books: Books, touch: Touch) -> None:
        movement, delivery, aside = tables.movement, tables.delivery, tables.set_aside
        found: dict[tuple[str, int], str] = {}
        for table in (movement, delivery):
            for row in self._rows(table, ["incarnation", "sequence"], touch.places):
                found[row.incarnation, row.sequence] = row.event_id
        for place in touch.places:
            books.occupants.load(place, found.get(place))
        if found:
            for row in self._rows(aside, ["event_id"], touch.events):
                books.aside.add((row.event_id, row.content_hash, row.incarnation, row.sequence))

    def overdue(self, limit: int, now_us: int) -> set[Shelf]:
        """The shelves of the holds that are longest past their time."""
        table = tables.reservation
        query = (
            sa.select(table.c.site, table.c.sku)
            .where(table.c.status == "active", table.c.expires_us <= now_us)
            .order_by(table.c.expires_us)
            .limit(limit)
        )
        return {Shelf(row.site, row.sku) for row in self.connection.execute(query)}

    def _reservations(self, books: Books, touch: Touch) -> None:
        self._load(books.reservations, tables.reservation, touch.reservations, loaded.reservation, lock=True)
        for chunk in _chunks(touch.shelves):
            keys = database.keyed(chunk, postgres=self.postgres)
            overdue = _overdue_of(postgres=self.postgres)
            found = database.ask(self.connection, overdue, {**keys, "now": books.now_us})
            for row in map(_row_of(tables.reservation), found):
                books.reservations.load(row.id, loaded.reservation(row))

    def _bins(self, books: Books, touch: Touch) -> None:
        if self.postgres:
            self._guard_bins(books, touch)
        lots: dict[Bin, dict[str, int]] = {key: {} for key in touch.bins}
        columns = ["site", "sku", "location", "state"]
        for row in self._rows(tables.balance, columns, touch.bins, lock=True):
            lots[Bin(row.site, row.sku, row.location, row.state)][row.lot] = row.quantity
        for key, held in lots.items():
            books.bins.load(key, held)

    def _guard_bins(self, books: Books, touch: Touch) -> None:
        """Lock bins that no row locked so far stands for: the rows of their lots may be yet to come."""

        def guarded(key: Bin) -> bool:  # by the row of the document's line, or of the promise
            at_shelf = key.state == "stock" and books.promises.get(Shelf(key.site, key.sku)) is not None
            return at_shelf or key.state in ("picked", "packed")

        alone = ["\x1f".join(key).encode() for key in touch.bins if not guarded(key)]
        for number in sorted({zlib.crc32(name) % _BIN_LOCKS_MOST for name in alone}):
            self.connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_BIN_LOCKS}, {number})")

    def _shelved(self, books: Books, touch: Touch) -> None:
        """Where picks can be allocated. Not locked: a bin that changes meanwhile is a short pick at worst."""
        if not touch.allocated:
            return
        balance, location, task = tables.balance, tables.location, tables.task
        shelves = sorted(touch.allocated)
        keys = database.keyed(shelves, postgres=self.postgres)
        open_tasks = (
            sa.select(
                task.c.site, task.c.sku, task.c.from_location, sa.func.sum(task.c.quantity - task.c.done)
            )
            .where(task.c.status == "open", self._among(task.c.site, task.c.sku))
            .group_by(task.c.site, task.c.sku, task.c.from_location)
        )
        promised = {tuple(row[:3]): int(row[3]) for row in self.connection.execute(open_tasks, keys)}
        query = (
            sa.select(balance, sa.func.coalesce(location.c.walk_order, 0).label("walk_order"))
            .join(location, location.c.id == balance.c.location, isouter=True)
            .where(balance.c.state == "stock", balance.c.quantity != 0)
            .where(self._among(balance.c.site, balance.c.sku))
        )
        found: dict[Shelf, list[Shelved]] = {shelf: [] for shelf in shelves}
        for row in self.connection.execute(query, keys):
            taken = promised.get((row.site, row.sku, row.location), 0)
            found[Shelf(row.site, row.sku)].append(
                Shelved(row.location, row.walk_order, row.lot, row.quantity, taken)
            )
        for shelf, places in found.items():
            books.shelved.load(shelf, tuple(places))

    def _among(self, *columns: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        return database.among(columns, postgres=self.postgres)

    def _history(self, books: Books) -> None:
        known = database.ask(self.connection, _HISTORIES, {})
        books.history = books.history_found = known[-1][0]
        books.histories = frozenset(name for name, _ in known)
        books.backups = bool(known[-1][1])

    def alone_with(self, history: str) -> None:
        """A history may begin after this one: nobody else begins one at the same time, or has begun one meanwhile."""
        if self.postgres:
            self.connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_HISTORY_LOCK})")
            if database.current_history(self.connection) != history:
                raise Again("another worker has begun a history")

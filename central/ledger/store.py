"""Rows from the database into memory: what a batch touches is read and locked (it is written by scribe.py).

The idea: every table is read with one query per batch, in one lock order (that of central/tables.py, by key
within a table). PostgreSQL locks rows; on SQLite the writer holds the whole file. A row that was missing when it
was looked for is inserted, never replaced: if another worker was faster, the transaction starts again.
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from central import database, sets, tables
from central.ledger import kinds
from central.ledger.accounts import Bin, Shelf
from central.ledger.books import Books, Shelved
from central.ledger.kinds import Kind
from central.ledger.touch import Touch

# PostgreSQL's advisory locks, where there may be no row to lock: any numbers that nobody else uses.
_CATALOGUE_LOCK = 0x74616C6D  # "talm"
_HISTORY_LOCK = 0x74616C68  # "talh"
_BIN_LOCKS = 0x74616C6E  # "taln": the class of the locks that bins share
_BIN_LOCKS_MOST = 64  # of the server's few thousand


# A transaction looks up rows by their keys, and nothing else. Whatever PostgreSQL believes of the size of a table
# (of a new one, nothing), it does so by the index: a plan that reads tables whole would turn up with their growth.
_BY_INDEX = "SELECT " + ", ".join(
    f"set_config('enable_{way}', 'off', true)" for way in ("seqscan", "hashjoin", "mergejoin", "bitmapscan")
)


class Again(Exception):
    """Somebody else changed what this transaction was about to build on; try it again from the start."""


_HISTORIES = sa.select(
    tables.history.c.id, sa.exists().where(tables.backup.c.finished_us.is_not(None)).label("backups")
).order_by(tables.history.c.ordinal)


class Store:
    """One transaction's view of the database."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.postgres = sets.is_postgres(connection)
        if self.postgres:
            sets.run(connection, _BY_INDEX)

    # --- reading ---------------------------------------------------------------------------------

    def _rows(
        self, table: sa.Table, columns: tuple[str, ...], keys: Iterable[Any], **how: Any
    ) -> Iterator[sets.Row]:
        return sets.read(self.connection, table, columns, keys, **how)

    def _load(self, books: Books, kind: Kind, keys: Iterable[Any], *, lock: bool = False) -> None:
        """Load rows by their key; keys without a row are loaded as missing."""
        into = getattr(books, kind.name)
        # On SQLite nobody has changed what was read before.
        wanted = set(keys) if self.postgres else {key for key in keys if key not in into}
        if not wanted:
            return
        columns = tuple(column.name for column in kind.table.primary_key.columns)
        for row in self._rows(kind.table, columns, wanted, lock=lock):
            key = kind.key(row)
            wanted.discard(key)
            into.load(key, kind.row(row))
        for key in wanted:
            into.load(key, None)

    def _load_by(
        self, books: Books, kind: Kind, column: str, keys: Iterable[str], *, lock: bool = False
    ) -> list[Any]:
        """Load the rows in which this column is one of the keys; their own keys."""
        into, found = getattr(books, kind.name), []
        for row in self._rows(kind.table, (column,), keys, lock=lock):
            into.load(kind.key(row), kind.row(row))
            found.append(kind.key(row))
        return found

    def look_up(self, books: Books, touch: Touch) -> None:
        """The first round: what codes and ids mean. No row is locked yet."""
        if touch.catalogue and self.postgres:
            self.connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CATALOGUE_LOCK})")
        self._gtins(books, touch)
        self._load(books, kinds.LOCATIONS, touch.locations)
        self._load(books, kinds.OPERATORS, touch.operators)
        self._units(books, touch)
        self._load(books, kinds.ITEMS, touch.items)
        self._load(books, kinds.DOCUMENTS, touch.documents)
        self._load(books, kinds.RESERVATIONS, touch.reservations)
        self._load_by(books, kinds.LINES, "document", touch.whole_documents)
        self._movements(books, touch)

    def _gtins(self, books: Books, touch: Touch) -> None:
        self._load(books, kinds.GTINS, touch.gtins)
        self._load_by(books, kinds.GTINS, "sku", touch.gtins_of)
        for gtin in touch.gtins:
            label = books.gtins.get(gtin)
            touch.items.add(f"gtin:{gtin}" if label is None else label.sku)

    def _units(self, books: Books, touch: Touch) -> None:
        """Units, and what is announced inside them, however deep."""
        pending = set(touch.units)
        while pending:
            touch.units |= pending
            self._load(books, kinds.UNITS, pending)
            inner = {row[0] for row in self._rows(tables.unit, ("parent",), pending, fields=("id",))}
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
            rows = map(kinds.movement, self._rows(table, ("event_id",), pending, fields=kinds.KNOWN))
            found = {row.event_id: row for row in rows}
            for name in pending:
                books.movements.load(name, found.get(name))
            near = {row.corrects for row in found.values() if row.corrects}
            naming_them = self._rows(
                table, ("corrects",), pending, fields=("corrects", "event_id"), also="number IS NOT NULL"
            )
            for corrected, name in naming_them:
                naming.setdefault(corrected, set()).add(name)
                near.add(name)
            pending = near - seen
        for name in seen:
            books.corrections.load(name, frozenset(naming.get(name, ())))
        touch.events = seen
        touch.known = {name for name in seen if books.movements.get(name) is not None}

    def lock(self, books: Books, touch: Touch) -> None:
        """The second round: what will change, in lock order."""
        self._load(books, kinds.AGENTS, touch.agents, lock=True)
        self._load(books, kinds.CURSORS, touch.cursors, lock=True)
        for _, agent in books.agents.items():
            if agent.incarnation is not None and agent.incarnation not in books.cursors:
                self._load(books, kinds.CURSORS, [agent.incarnation])
        follows = ("predecessor", "incarnation")
        for before, name in self._rows(tables.cursor, follows[:1], touch.predecessors, fields=follows):
            books.rivals[before] = books.rivals.get(before, frozenset()) | {name}
        self._places(books, touch)
        self._load(books, kinds.KEYS, touch.keys)
        self._load(books, kinds.DOCUMENTS, touch.documents, lock=True)
        self._load(books, kinds.LINES, touch.lines, lock=True)
        self._load_by(books, kinds.LINES, "document", touch.whole_documents, lock=True)
        if any(line not in touch.lines for line, _ in books.lines.items()):
            raise Again("a document got more lines")
        shelves = self._rows(tables.promise, ("sku",), touch.everywhere, fields=("site", "sku"))
        touch.shelves |= set(map(Shelf._make, shelves))
        if touch.overdue:
            touch.shelves |= self.overdue(touch.overdue, database.now_us(self.connection))
        self._load(books, kinds.PROMISES, touch.shelves, lock=True)
        books.now_us = database.now_us(self.connection)
        self._reservations(books, touch)
        self._load(books, kinds.UNITS, touch.units, lock=True)
        if any(
            unit.first_event and unit.first_event not in books.movements for _, unit in books.units.items()
        ):
            raise Again("a unit was received meanwhile")
        self._bins(books, touch)
        self._tasks(books, touch)
        self._load(books, kinds.LEASES, touch.leases, lock=True)
        self._shelved(books, touch)
        self._history(books)

    def _tasks(self, books: Books, touch: Touch) -> None:
        """Those that are named and those of the documents: all are locked in one order."""
        documents = touch.worked_documents | touch.whole_documents
        if self.postgres:
            theirs = self._rows(tables.task, ("document",), documents, fields=("id",))
            touch.tasks |= {name for (name,) in theirs}
        self._load(books, kinds.TASKS, touch.tasks, lock=True)
        self._load_by(books, kinds.TASKS, "document", documents, lock=True)  # those that came meanwhile, too

    def _places(self, books: Books, touch: Touch) -> None:
        """Who holds the places that the batches name: nobody holds one above what is acknowledged."""
        acked = {name: row.acked for name, row in books.cursors.items()}
        taken = [one for one in touch.places if one[1] <= acked.get(one[0], 0)]
        found: dict[tuple[str, int], str] = {}
        place = ("incarnation", "sequence")
        for table in (tables.movement, tables.delivery):
            for name, *at in self._rows(table, place, taken, fields=("event_id", *place)):
                found[tuple(at)] = name
        for one in touch.places:
            books.occupants.load(one, found.get(one))
        if found:
            fields = ("event_id", "content_hash", *place)
            books.aside |= set(self._rows(tables.set_aside, ("event_id",), touch.events, fields=fields))

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
        kind = kinds.RESERVATIONS
        self._load(books, kind, touch.reservations, lock=True)
        overdue = "status = 'active' AND expires_us <= ?"  # as in the partial index
        shelf = ("site", "sku")
        for row in self._rows(
            kind.table, shelf, touch.shelves, also=overdue, values=[books.now_us], lock=True
        ):
            books.reservations.load(kind.key(row), kind.row(row))

    def _bins(self, books: Books, touch: Touch) -> None:
        if self.postgres:
            self._guard_bins(books, touch)
        lots: dict[Bin, dict[str, int]] = {key: {} for key in touch.bins}
        for *bin_, lot, quantity in self._rows(tables.balance, Bin._fields, touch.bins):
            lots[Bin._make(bin_)][lot] = quantity
        for key, held in lots.items():
            books.bins.load(key, held)

    def _guard_bins(self, books: Books, touch: Touch) -> None:
        """Lock bins that no row locked so far stands for. Their own rows are not locked: those of their lots may be
        yet to come.
        """

        def guarded(key: Bin) -> bool:  # by the row of the document's line, or of the promise
            at_shelf = key.state == "stock" and books.promises.get(Shelf(key.site, key.sku)) is not None
            return at_shelf or key.state in ("picked", "packed")

        alone = ["\x1f".join(key).encode() for key in touch.bins if not guarded(key)]
        for number in sorted({zlib.crc32(name) % _BIN_LOCKS_MOST for name in alone}):
            sets.run(self.connection, "SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_BIN_LOCKS, number))

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
        known = sets.ask(self.connection, _HISTORIES, {})
        books.history = books.history_found = known[-1][0]
        books.histories = frozenset(name for name, _ in known)
        books.backups = bool(known[-1][1])

    def alone_with(self, history: str) -> None:
        """A history may begin after this one: nobody else begins one at the same time, or has begun one meanwhile."""
        if self.postgres:
            self.connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_HISTORY_LOCK})")
            if database.current_history(self.connection) != history:
                raise Again("another worker has begun a history")

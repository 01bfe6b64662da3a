"""The ledger's pure core without a database: what is not there is loaded as missing, and only what `touch` names.

So every test that runs here also shows that `touch` names everything that a command reaches.
"""

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from central.ledger import booking, claims, touch
from central.ledger.accounts import Promise, Shelf
from central.ledger.books import Books, Item, Location
from central.ledger.commands import BookBatch
from central.ledger.writer import HANDLERS


class Memory:
    """One set of books; commands go through it one after the other."""

    def __init__(self) -> None:
        ids = itertools.count(1)
        self.books = Books(
            lambda: f"id-{next(ids)}", now_us=1_000_000, history="h-1", histories=frozenset({"h-1"})
        )
        self._numbers = itertools.count(1)
        self._numbered = 0
        self.numbers: dict[str, int | None] = {}

    def know(self, *, items: Iterable[str] = (), locations: Iterable[str] = ()) -> "Memory":
        """Register these, at site lej1."""
        for sku in items:
            self.books.items.load(sku, Item(sku))
        for name in locations:
            self.books.locations.load(name, Location("lej1"))
        return self

    def do(self, command: Any) -> Any:
        """Carry out a command; what a claim refuses is raised and leaves no trace."""
        prepared = {0: booking.prepare(command)} if isinstance(command, BookBatch) else {}
        touched = touch.first_round([command], prepared)
        touched.items |= {f"gtin:{gtin}" for gtin in touched.gtins}
        self._load(touched)
        prepared = {position: booking.resolve(self.books, events) for position, events in prepared.items()}
        touch.second_round(touched, self.books, [command], prepared)
        self._load(touched)
        claims.expire_overdue(self.books)
        savepoint = self.books.savepoint()
        try:
            if isinstance(command, BookBatch):
                finish = booking.book_batch(self.books, command.agent, prepared[0])
            else:
                finish = HANDLERS[type(command)](self.books, command)
        except claims.RefusedError:
            self.books.rollback(savepoint)
            raise
        for movement in self.books.new_movements[self._numbered :]:
            self.numbers[movement.event_id] = next(self._numbers) if movement.numbered else None
        self._numbered = len(self.books.new_movements)
        return finish(self.numbers)

    def _load(self, touched: touch.Touch) -> None:
        books = self.books
        for rows, keys in (
            (books.agents, touched.agents),
            (books.cursors, touched.cursors),
            (books.occupants, touched.places),
            (books.items, touched.items),
            (books.gtins, touched.gtins),
            (books.locations, touched.locations),
            (books.operators, touched.operators),
            (books.documents, touched.documents),
            (books.lines, touched.lines),
            (books.promises, touched.shelves),
            (books.reservations, touched.reservations),
            (books.units, touched.units),
            (books.bins, touched.bins),
            (books.tasks, touched.tasks),
            (books.shelved, touched.allocated),
            (books.movements, touched.events),
            (books.corrections, touched.events),
        ):
            for key in keys:
                if key not in rows:  # type: ignore[operator]
                    rows.load(key, None)  # type: ignore[attr-defined]

    # --- what the books say ------------------------------------------------------------------------

    def balances(self) -> dict[tuple[str, ...], int]:
        """Per site, SKU, location and state, over all lots; without zeros."""
        found = {tuple(key): sum(lots.values()) for key, lots in self.books.bins.items()}
        return {key: quantity for key, quantity in found.items() if quantity}

    def promises(self) -> dict[Shelf, Promise]:
        """The promise book; without rows that are all zero."""
        return {key: row for key, row in self.books.promises.items() if any(row)}

    def check(self) -> None:
        """What must hold after every command."""
        stock: Counter[Shelf] = Counter()
        for (site, sku, _, state), quantity in self.balances().items():
            if state == "stock":
                stock[Shelf(site, sku)] += quantity
        for shelf in {*stock, *self.promises()}:
            row = self.books.promises.get(shelf) or Promise()
            assert sum(row) == stock[shelf], f"{shelf}: {row}, {stock[shelf]} in stock"
            assert row.reserved >= 0 <= row.committed
        rebuilt: Counter[tuple[str, ...]] = Counter()
        for movement in self.books.new_movements:
            for book in ("physical", "promise"):
                assert sum(entry.delta for entry in movement.entries if entry.book == book) == 0
            for entry in movement.entries:
                if entry.book == "physical" and entry.location:
                    rebuilt[entry.site, entry.sku, entry.location, entry.state] += entry.delta
        assert {key: quantity for key, quantity in rebuilt.items() if quantity} == self.balances()

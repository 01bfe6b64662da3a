"""Writing down what a transaction did: rows that changed, movements with their numbers, discrepancies.

The idea: everything is written at the end, in one go and in the lock order; the counter that numbers movements
is locked last and held until the commit, so that numbers are given in commit order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from central import sets, tables
from central.ledger import changes, kinds
from central.ledger.books import Books, Movement, Open, SetAside
from central.ledger.kinds import Kind
from central.ledger.store import Again, Store
from central.ledger.touch import Touch

KEPT_US: Final = 30 * 24 * 3600 * 1_000_000  # contract: answers under a key are kept 30 days
FORGET_AT_ONCE: Final = 1000  # old answers removed in one transaction
DUE_US: Final = 24 * 3600 * 1_000_000  # a discrepancy should be settled within a day


_FIRST: Final = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction wrote, once it is committed."""

    numbers: dict[str, int | None]
    """Movement numbers by event id; None for what was rejected."""
    movements: tuple[Movement, ...]
    recorded_us: int
    history: str
    reference_changed: bool
    task_sites: frozenset[str]


_COUNT = (
    sa.update(tables.counter)
    .where(tables.counter.c.name == sa.bindparam("counted"))
    .values(value=tables.counter.c.value + sa.bindparam("by", type_=sa.BigInteger))
    .returning(tables.counter.c.value)
)

_SET = (
    sa.update(tables.counter)
    .where(tables.counter.c.name == sa.bindparam("counted"))
    .values(value=sa.bindparam("to", type_=sa.BigInteger))
)


class Scribe:
    """Writes the difference between what was loaded and what is."""

    def __init__(self, store: Store, books: Books, touch: Touch) -> None:
        self.store = store
        self.books = books
        self.touch = touch

    def write(self) -> Written:
        """Write all of it. Raises Again when another worker booked what our corrections are about."""
        books = self.books
        if books.new_histories:
            self.store.alone_with(books.history_found)
        for name, cause in books.new_histories:
            self._insert(tables.history, [(name, cause, books.now_us)], fields=("id", "cause", "created_us"))
        self._streams()
        self._catalogue()
        self._documents()
        self._physical()
        self._discrepancies()
        changed = self._reference()
        numbers = self._movements()
        sites = frozenset(task.site for _, _, task in books.tasks.changed())
        fresh = tuple(books.new_movements)
        return Written(numbers, fresh, books.now_us, books.history, changed, sites)

    # --- tables ----------------------------------------------------------------------------------

    def _streams(self) -> None:
        books = self.books
        self._save(kinds.AGENTS)
        self._save(kinds.CURSORS)
        places = {(one.incarnation, one.sequence) for one in books.new_movements}
        held = [(*place, name) for place, _, name in books.occupants.changed() if place not in places]
        self._insert(tables.delivery, held)
        self._insert(
            tables.set_aside,
            [(*one, books.now_us) for one in books.set_aside],
            fields=(*SetAside._fields, "recorded_us"),
        )

    def _catalogue(self) -> None:
        self._save(kinds.ITEMS)
        gone = [key for key, _, label in self.books.gtins.changed() if not label.sku]
        if gone:
            table = tables.item_gtin
            self.store.connection.execute(sa.delete(table).where(table.c.gtin.in_(gone)))
        kept = [(key, *label) for key, _, label in self.books.gtins.changed() if label.sku]
        self._insert(tables.item_gtin, kept, conflict="update")
        self._save(kinds.LOCATIONS)
        self._save(kinds.OPERATORS)

    def _documents(self) -> None:
        for kind in (kinds.DOCUMENTS, kinds.LINES, kinds.PROMISES, kinds.RESERVATIONS):
            self._save(kind)

    def _physical(self) -> None:
        self._save(kinds.UNITS)
        fresh: list[sets.Row] = []
        changed: list[sets.Row] = []
        for key, before, after in self.books.bins.changed():
            known = before or {}
            for lot, quantity in after.items():
                if known.get(lot) != quantity:
                    (changed if lot in known else fresh).append((*key, lot, quantity))
        self._insert(tables.balance, sorted(fresh))
        self._insert(tables.balance, sorted(changed), conflict="update")
        self._save(kinds.TASKS)
        self._save(kinds.LEASES)

    def _reference(self) -> bool:
        """Log what agents have to hear of; whether there is anything."""
        found = changes.changed(self.books)
        if not found:
            return False
        table = tables.reference_change
        count = changes.counted(self._count("reference", 0))
        low = changes.low_bits(self.books.new_id())
        rows = [
            (changes.version_of(number, low), name, key)
            for number, (name, key) in enumerate(found, count + 1)
        ]
        self.store.connection.execute(_SET, {"counted": "reference", "to": rows[-1][0]})
        self._insert(table, rows)
        too_old = changes.version_of(max(0, count + len(rows) - changes.KEPT_CHANGES), 0)
        self.store.connection.execute(sa.delete(table).where(table.c.version < too_old))
        return True

    def _movements(self) -> dict[str, int | None]:
        books = self.books
        fresh = books.new_movements
        count = sum(one.numbered for one in fresh)
        last = self._count("movement", count) if count else 0
        self._check_chains()
        numbers: dict[str, int | None] = {}
        number = last - count
        rows: list[sets.Row] = []
        entries: list[sets.Row] = []
        for one in fresh:
            number += one.numbered
            numbers[one.event_id] = number if one.numbered else None
            rows.append(kinds.movement_row(one, numbers[one.event_id], books.now_us))
            entries += [(number, ordinal, *entry) for ordinal, entry in enumerate(one.entries)]
        self._insert(tables.movement, rows)
        self._insert(tables.entry, entries)
        return numbers

    def _check_chains(self) -> None:
        """Under the counter's lock: has anybody else booked a correction of ours, or what ours correct?"""
        if not self.store.postgres or not self.touch.events:
            return
        read = partial(sets.read, self.store.connection, tables.movement, fields=("event_id",))
        events = self.touch.events
        there = {*read(("event_id",), events), *read(("corrects",), events, also="number IS NOT NULL")}
        for (name,) in there:
            if name not in self.touch.known:
                raise Again(f"{name} was booked meanwhile")

    # --- discrepancies ---------------------------------------------------------------------------

    def _discrepancies(self) -> None:
        """Open, bring up to date and close, in the order in which it happened."""
        books = self.books
        if not books.noted:
            return
        table = tables.discrepancy
        names = {(one.change.kind, one.change.key) for one in books.noted}
        still = "status = 'open'"  # as in the partial index
        found = sets.read(self.store.connection, table, ("kind", "key"), names, also=still)
        rows = [dict(zip(table.columns.keys(), row, strict=True)) for row in found]
        current = {(row["kind"], row["key"]): row for row in rows}
        links: list[tuple[dict[str, Any], str]] = []
        fresh: list[dict[str, Any]] = []
        touched: list[dict[str, Any]] = []
        for one in books.noted:
            change, name = one.change, (one.change.kind, one.change.key)
            row = current.get(name)
            if row is None:
                if not isinstance(change, Open):
                    continue
                row = current[name] = _discrepancy_row(change, books.now_us)
                fresh.append(row)
            elif isinstance(change, Open):
                row |= {"expected": change.expected, "actual": change.actual, "detail": change.detail}
                touched.append(row)
            if not isinstance(change, Open):
                row |= {"status": "closed", "closed_us": books.now_us}
                touched.append(row)
                del current[name]
            if one.movement is not None:
                links.append((row, one.movement))
        self._write_discrepancies(fresh, touched)
        pairs = {(row["id"], movement) for row, movement in links}
        self._insert(tables.discrepancy_movement, sorted(pairs), conflict="nothing")

    def _write_discrepancies(self, fresh: list[dict[str, Any]], touched: list[dict[str, Any]]) -> None:
        table = tables.discrepancy
        known = {row["id"]: row for row in touched if "id" in row}
        self._insert(table, [tuple(row.values()) for row in known.values()], conflict="update")
        if fresh:
            query = sa.insert(table).returning(table.c.id, sort_by_parameter_order=True)
            for row, number in zip(fresh, self.store.connection.execute(query, fresh).scalars(), strict=True):
                row["id"] = number

    # --- statements ------------------------------------------------------------------------------

    def _count(self, name: str, by: int) -> int:
        return int(sets.ask(self.store.connection, _COUNT, {"counted": name, "by": by})[0][0])

    def _save(self, kind: Kind) -> None:
        """Insert what is new, replace what changed; in lock order."""
        fresh: list[sets.Row] = []
        changed: list[sets.Row] = []
        for key, before, after in getattr(self.books, kind.name).changed():
            (fresh if before is None else changed).append((key, after))
        for rows, conflict in ((fresh, ""), (changed, "update")):
            rows.sort(key=_FIRST)
            self._insert(kind.table, [kind.columns(key, row) for key, row in rows], conflict=conflict)

    def _insert(self, table: sa.Table, rows: Sequence[sets.Row], **how: Any) -> None:
        sets.insert(self.store.connection, table, rows, **how)

    def keep_answers(self, answers: Iterable[tuple[str, str, str]]) -> None:
        """(scope, body hash, answer) of the commands that came with an idempotency key."""
        self._insert(tables.idempotency, [(*answer, self.books.now_us) for answer in sorted(answers)])

    def forget_answers(self) -> None:
        """Remove answers that nobody may ask for any more."""
        c = tables.idempotency.c
        old = sa.select(c.scope).where(c.created_us < self.books.now_us - KEPT_US).limit(FORGET_AT_ONCE)
        self.store.connection.execute(sa.delete(tables.idempotency).where(c.scope.in_(old)))


def _discrepancy_row(change: Open, now_us: int) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "key": change.key,
        "sku": change.sku,
        "site": change.site,
        "location": change.location,
        "expected": change.expected,
        "actual": change.actual,
        "detail": change.detail,
        "owner": f"site:{change.site}" if change.site else "central",
        "due_us": now_us + DUE_US,
        "status": "open",
        "opened_us": now_us,
        "closed_us": None,
    }

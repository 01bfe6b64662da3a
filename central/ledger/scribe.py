"""Writing down what a transaction did: rows that changed, movements with their numbers, discrepancies.

The idea: everything is written at the end, in one go and in the lock order; the counter that numbers movements
is locked last and held until the commit, so that numbers are given in commit order.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from central import database, tables
from central.ledger import changes
from central.ledger.accounts import Account
from central.ledger.books import Books, Movement, Open, Rows
from central.ledger.store import Again, Store
from central.ledger.touch import Touch

KEPT_US: Final = 30 * 24 * 3600 * 1_000_000  # contract: answers under a key are kept 30 days
FORGET_AT_ONCE: Final = 1000  # old answers removed in one transaction
MOST_ROWS: Final = 64  # in one statement, a power of two; SQLite binds at most 32,766 values
DUE_US: Final = 24 * 3600 * 1_000_000  # a discrepancy should be settled within a day


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


@cache
def _insertion(table: sa.Table, columns: tuple[str, ...], conflict: str) -> Any:
    """The statement that inserts rows of these columns, for PostgreSQL. Built once."""
    statement = postgresql.insert(table)
    keys = [column.name for column in table.primary_key.columns]
    if conflict == "nothing":
        return statement.on_conflict_do_nothing()
    if conflict == "update":
        changes = {name: statement.excluded[name] for name in columns if name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=changes)
    return statement


@cache
def _insertion_text(table: sa.Table, columns: tuple[str, ...], conflict: str, count: int) -> str:
    """The same for SQLite, as text, for so many rows; see `database.directly`."""
    keys = [column.name for column in table.primary_key.columns]
    names = ", ".join(f'"{name}"' for name in columns)
    row = f"({', '.join('?' * len(columns))})"
    text = f'INSERT INTO "{table.name}" ({names}) VALUES {", ".join([row] * count)}'  # noqa: S608 (names of ours alone)
    if conflict == "nothing":
        return f"{text} ON CONFLICT DO NOTHING"
    if conflict == "update":
        target = ", ".join(f'"{name}"' for name in keys)
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in keys)
        return f"{text} ON CONFLICT ({target}) DO UPDATE SET {changes}"
    return text


def _portions(rows: int) -> Iterator[tuple[int, int]]:
    """(first, how many) of so many rows in few statements that are prepared already: powers of two. Every step of
    SQLite lets go of the interpreter, and to get it back costs more than to write a row.
    """
    first, most = 0, MOST_ROWS
    while first < rows:
        while most > rows - first:
            most //= 2
        yield first, most
        first += most


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
            self._insert(tables.history, [{"id": name, "cause": cause, "created_us": books.now_us}])
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
        self._save(
            tables.agent,
            books.agents,
            lambda key, row: {
                "id": key,
                "site": row.site,
                "software": row.software,
                "incarnation": row.incarnation,
                "hello_us": row.hello_us,
                "connection": row.connection,
                "state": row.state,
                "state_us": row.state_us,
                "returns": row.returns,
            },
        )
        self._save(
            tables.cursor,
            books.cursors,
            lambda key, row: {
                "incarnation": key,
                "agent": row.agent,
                "acked": row.acked,
                "predecessor": row.predecessor,
                "first_seen_us": row.first_seen_us,
            },
        )
        places = {(one.incarnation, one.sequence) for one in books.new_movements}
        held = [
            {"incarnation": place[0], "sequence": place[1], "event_id": holder}
            for place, _, holder in books.occupants.changed()
            if place not in places
        ]
        self._insert(tables.delivery, held)
        aside = [
            {
                "event_id": one.event_id,
                "content_hash": one.content_hash,
                "incarnation": one.incarnation,
                "sequence": one.sequence,
                "problem": one.problem,
                "original": one.original,
                "recorded_us": books.now_us,
            }
            for one in books.set_aside
        ]
        self._insert(tables.set_aside, aside)

    def _catalogue(self) -> None:
        books = self.books
        self._save(
            tables.item,
            books.items,
            lambda key, row: {
                "sku": key,
                "name": row.name,
                "tracking": row.tracking,
                "scale": row.scale,
                "provisional": row.provisional,
            },
        )
        printed = {full: text for _, _, item in books.items.changed() for full, text, _ in item.gtins or ()}
        gone = [key for key, _, row in books.gtins.changed() if not row[0]]
        if gone:
            table = tables.item_gtin
            self.store.connection.execute(sa.delete(table).where(table.c.gtin.in_(gone)))
        kept = [
            {"gtin": key, "sku": row[0], "quantity": row[1], "printed": printed.get(key, key)}
            for key, _, row in books.gtins.changed()
            if row[0]
        ]
        self._insert(tables.item_gtin, kept, "update")
        self._save(
            tables.location,
            books.locations,
            lambda key, row: {
                "id": key,
                "site": row.site,
                "zone": row.zone,
                "walk_order": row.walk_order,
                "gln": row.gln,
                "provisional": row.provisional,
            },
        )
        self._save(
            tables.operator,
            books.operators,
            lambda key, row: {
                "id": key,
                "name": row.name,
                "badge": row.badge,
                "pin_hash": row.pin_hash,
                "roles": json.dumps(list(row.roles)),
                "provisional": row.provisional,
            },
        )

    def _documents(self) -> None:
        books = self.books
        self._save(
            tables.document,
            books.documents,
            lambda key, row: {
                "id": key,
                "type": row.type,
                "site": row.site,
                "status": row.status,
                "supplier": row.supplier,
                "channel": row.channel,
                "notices": row.notices,
                "created_us": row.created_us,
            },
        )
        self._save(tables.document_line, books.lines, lambda key, row: {**key._asdict(), **row._asdict()})
        self._save(tables.promise, books.promises, lambda key, row: {**key._asdict(), **row._asdict()})
        self._save(
            tables.reservation,
            books.reservations,
            lambda key, row: {
                "id": key,
                "sku": row.sku,
                "site": row.site,
                "quantity": row.quantity,
                "channel": row.channel,
                "status": row.status,
                "created_us": row.created_us,
                "expires_us": row.expires_us,
                "document": row.document,
            },
        )

    def _physical(self) -> None:
        books = self.books
        self._save(
            tables.unit,
            books.units,
            lambda key, row: {
                "id": key,
                "site": row.site,
                "location": row.location,
                "parent": row.parent,
                "document": row.document,
                "contents": row.contents,
                "first_event": row.first_event,
            },
        )
        fresh: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for key, before, after in books.bins.changed():
            for lot, quantity in after.items():
                if (before or {}).get(lot) == quantity:
                    continue
                row = {**Account(*key, lot)._asdict(), "quantity": quantity}
                (changed if lot in (before or {}) else fresh).append(row)
        self._insert(tables.balance, _by_key(tables.balance, fresh))
        self._insert(tables.balance, _by_key(tables.balance, changed), "update")
        self._save(
            tables.task,
            books.tasks,
            lambda key, row: {
                "id": key,
                "type": row.type,
                "site": row.site,
                "document": row.document,
                "sku": row.sku,
                "quantity": row.quantity,
                "done": row.done,
                "from_location": row.from_location,
                "lot": row.lot,
                "status": row.status,
                "changed_us": row.changed_us,
                "holder": row.holder,
            },
        )
        self._save(
            tables.lease,
            books.leases,
            lambda key, row: {
                "agent": key,
                "site": row.site,
                "takes": json.dumps(row.takes),
                "until_us": row.until_us,
            },
        )

    def _reference(self) -> bool:
        """Log what agents have to hear of; whether there is anything."""
        found = changes.changed(self.books)
        if not found:
            return False
        table = tables.reference_change
        count = changes.counted(self._count("reference", 0))
        low = changes.low_bits(self.books.new_id())
        rows = [
            {"version": changes.version_of(number, low), "list": name, "id": key}
            for number, (name, key) in enumerate(found, count + 1)
        ]
        self.store.connection.execute(_SET, {"counted": "reference", "to": rows[-1]["version"]})
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
        rows, entries = [], []
        for one in fresh:
            number += one.numbered
            numbers[one.event_id] = number if one.numbered else None
            rows.append(_movement_row(one, numbers[one.event_id], books.now_us))
            entries += [
                {"movement": number, "ordinal": ordinal, **entry._asdict()}
                for ordinal, entry in enumerate(one.entries)
            ]
        self._insert(tables.movement, rows)
        self._insert(tables.entry, entries)
        return numbers

    def _check_chains(self) -> None:
        """Under the counter's lock: has anybody else booked a correction of ours, or what ours correct?"""
        if not self.store.postgres or not self.touch.events:
            return
        table, events = tables.movement, sorted(self.touch.events)
        query = sa.select(table.c.event_id, table.c.corrects).where(
            sa.or_(
                table.c.event_id.in_(events),
                sa.and_(table.c.corrects.in_(events), table.c.number.is_not(None)),
            )
        )
        for row in self.store.connection.execute(query):
            if row.event_id not in self.touch.known:
                raise Again(f"{row.event_id} was booked meanwhile")

    # --- discrepancies ---------------------------------------------------------------------------

    def _discrepancies(self) -> None:
        """Open, bring up to date and close, in the order in which it happened."""
        books = self.books
        if not books.noted:
            return
        table = tables.discrepancy
        names = sorted({(one.change.kind, one.change.key) for one in books.noted})
        postgres = self.store.postgres
        rows = self.store.connection.execute(
            sa.select(table).where(
                table.c.status == sa.literal_column("'open'"),  # as in the partial index
                database.among([table.c.kind, table.c.key], postgres=postgres),
            ),
            database.keyed(names, postgres=postgres),
        )
        current = {(row.kind, row.key): dict(row._mapping) for row in rows}
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
        joined = [{"discrepancy": number, "movement": movement} for number, movement in sorted(pairs)]
        self._insert(tables.discrepancy_movement, joined, "nothing")

    def _write_discrepancies(self, fresh: list[dict[str, Any]], touched: list[dict[str, Any]]) -> None:
        table = tables.discrepancy
        known = {row["id"]: row for row in touched if "id" in row}
        self._insert(table, list(known.values()), "update")
        if fresh:
            query = sa.insert(table).returning(table.c.id, sort_by_parameter_order=True)
            for row, number in zip(fresh, self.store.connection.execute(query, fresh).scalars(), strict=True):
                row["id"] = number

    # --- statements ------------------------------------------------------------------------------

    def _count(self, name: str, by: int) -> int:
        return int(database.ask(self.store.connection, _COUNT, {"counted": name, "by": by})[0][0])

    def _save(
        self, table: sa.Table, rows: "Rows[Any, Any]", make: Callable[[Any, Any], dict[str, Any]]
    ) -> None:
        """Insert what is new, replace what changed."""
        fresh: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for key, before, after in rows.changed():
            (fresh if before is None else changed).append(make(key, after))
        self._insert(table, _by_key(table, fresh))
        self._insert(table, _by_key(table, changed), "update")

    def _insert(self, table: sa.Table, rows: Sequence[dict[str, Any]], conflict: str = "") -> None:
        """Insert rows. On a row that is there: fail (""), leave it ("nothing"), or replace it ("update")."""
        if not rows:
            return
        columns = tuple(rows[0])
        if self.store.postgres:
            self.store.connection.execute(_insertion(table, columns, conflict), list(rows))
        else:
            for first, count in _portions(len(rows)):
                text = _insertion_text(table, columns, conflict, count)
                values = [row[name] for row in rows[first : first + count] for name in columns]
                database.directly(self.store.connection, text, values)

    def keep_answers(self, answers: Iterable[tuple[str, str, str]]) -> None:
        """(scope, body hash, answer) of the commands that came with an idempotency key."""
        rows = [
            {"scope": scope, "body_hash": body, "answer": answer, "created_us": self.books.now_us}
            for scope, body, answer in sorted(answers)
        ]
        self._insert(tables.idempotency, rows)

    def forget_answers(self) -> None:
        """Remove answers that nobody may ask for any more."""
        c = tables.idempotency.c
        old = sa.select(c.scope).where(c.created_us < self.books.now_us - KEPT_US).limit(FORGET_AT_ONCE)
        self.store.connection.execute(sa.delete(tables.idempotency).where(c.scope.in_(old)))


def _by_key(table: sa.Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In lock order."""
    if len(rows) < 2:
        return rows
    keys = [column.name for column in table.primary_key.columns]
    return sorted(rows, key=lambda row: [row[name] for name in keys])


def _movement_row(one: Movement, number: int | None, now_us: int) -> dict[str, Any]:
    fact = msgspec.json.encode(one.fact).decode() if one.fact is not None else None
    return {
        "event_id": one.event_id,
        "number": number,
        "event": one.event,
        "content_hash": one.content_hash,
        "outcome": one.outcome,
        "reason": one.reason,
        "site": one.site,
        "sku": one.sku,
        "quantity": one.quantity,
        "document": one.document,
        "actor": one.actor,
        "corrects": one.corrects,
        "incarnation": one.incarnation,
        "sequence": one.sequence,
        "occurred_at": one.occurred_at,
        "recorded_us": now_us,
        "fact": fact,
        "original": one.original,
    }


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

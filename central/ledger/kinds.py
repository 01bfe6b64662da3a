"""Which table keeps which rows of the books. Rows are the table's columns in order, those of the key first."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from central import tables
from central.ledger import books
from central.ledger.accounts import Line, Promise, Shelf, Totals
from central.ledger.transitions import Fact


class Kind(NamedTuple):
    """One kind of rows: a row of the books, as a value, beside its key."""

    name: str
    """Of the rows in `Books`."""
    table: sa.Table
    make: Callable[[Sequence[Any]], Any]
    """The row from its columns after the key."""
    key_of: Callable[[Sequence[Any]], Any] | None = None
    """Makes a key of several columns; None: its only column is the key."""

    @property
    def width(self) -> int:
        """How many columns the key has."""
        return len(self.table.primary_key.columns)

    def key(self, row: Sequence[Any]) -> Any:
        """The key of a row of the table."""
        return row[0] if self.key_of is None else self.key_of(row[: self.width])

    def row(self, row: Sequence[Any]) -> Any:
        """What the books hold of a row of the table."""
        return self.make(row[self.width :])

    def columns(self, key: Any, row: Any) -> tuple[Any, ...]:
        """The row as the table has it."""
        return (key, *row) if self.key_of is None else (*key, *row)


AGENTS: Final = Kind("agents", tables.agent, books.AgentRow._make)
CURSORS: Final = Kind("cursors", tables.cursor, books.Cursor._make)
KEYS: Final = Kind("keys", tables.idempotency, books.Answered._make)
ITEMS: Final = Kind("items", tables.item, books.Item._make)
GTINS: Final = Kind("gtins", tables.item_gtin, books.Labelled._make)
LOCATIONS: Final = Kind("locations", tables.location, books.Location._make)
OPERATORS: Final = Kind("operators", tables.operator, books.Operator._make)
DOCUMENTS: Final = Kind("documents", tables.document, books.Document._make)
LINES: Final = Kind("lines", tables.document_line, Totals._make, Line._make)
PROMISES: Final = Kind("promises", tables.promise, Promise._make, Shelf._make)
RESERVATIONS: Final = Kind("reservations", tables.reservation, books.Reservation._make)
UNITS: Final = Kind("units", tables.unit, books.Unit._make)
TASKS: Final = Kind("tasks", tables.task, books.Task._make)
LEASES: Final = Kind("leases", tables.lease, books.Lease._make)

_facts = msgspec.json.Decoder(Fact)
_COLUMNS: Final = tuple(column.name for column in tables.movement.columns)
KNOWN: Final = tuple(name for name in _COLUMNS if name != "original")
"""What is read of a movement that is booked already: its original may be long, and is for people."""
_FACT, _NUMBER = KNOWN.index("fact"), KNOWN.index("number")


def movement(row: Sequence[Any]) -> books.Movement:
    """An event or claim with its verdict, of the columns KNOWN; its entries and its original are not loaded."""
    fact, number = row[_FACT], row[_NUMBER]
    known = dict(zip(KNOWN[:_FACT], row, strict=False))
    return books.Movement(
        **known, fact=_facts.decode(fact) if fact else None, number=number, numbered=number is not None
    )


def movement_row(one: books.Movement, number: int | None, now_us: int) -> tuple[Any, ...]:
    """A new movement as its table has it."""
    fact = msgspec.json.encode(one.fact).decode() if one.fact is not None else None
    return (*one[:_FACT], fact, one.original, number, now_us)

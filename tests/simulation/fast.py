"""SQLAlchemy's connection without what costs most of it: the ledger's statements, compiled once.

The ledger core runs unchanged, with its own SQL. SQLAlchemy compiles a statement the first time it is seen twice;
from then on the text goes to SQLite directly. Everything else goes through a real connection on the same database.
`test_fast.py` holds both against each other.
"""

import sqlite3
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

KEYS = "keys"
"""The parameter that central's statements expand; see `among` in central/database.py."""
HELD = f"(__[POSTCOMPILE_{KEYS}])"


class Plan:
    """One statement as text, with what stands at each of its places."""

    def __init__(self, statement: Any, dialect: Any, columns: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns) or None)
        expanding = {one.key for one in compiled.post_compile_params}
        self.usable = expanding <= {KEYS} and not compiled.returning_precedes_values
        self.text = str(compiled)
        self.expands = bool(expanding)
        self.places = tuple(compiled.positiontup or ())
        self.fixed = {name: one.value for name, one in compiled.binds.items() if not one.required}
        self.binding = dict(compiled._bind_processors)
        self.columns: Callable[[Any], Any] | None = None
        self.reading: list[tuple[int, Callable[[Any], Any]]] = []
        if compiled._result_columns:
            names = [column.keyname for column in compiled._result_columns]
            self.columns = _row_of(tuple(names))
            for place, column in enumerate(compiled._result_columns):
                processor = column.type._cached_result_processor(dialect, None)
                if processor is not None:
                    self.reading.append((place, processor))

    def bound(self, parameters: dict[str, Any]) -> tuple[str, list[Any]]:
        """The text and the values for these parameters."""
        values: list[Any] = []
        text = self.text
        for name in self.places:
            value = parameters[name] if name in parameters else self.fixed[name]
            if self.expands and name == KEYS:
                text = text.replace(HELD, f"({','.join('?' * len(value))})")
                values += value
                continue
            processor = self.binding.get(name)
            values.append(value if processor is None else processor(value))
        return text, values


@cache
def _row_of(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """What makes rows of these columns."""
    made = namedtuple("Row", names, rename=True)  # type: ignore[misc] # noqa: PYI024 (named by its columns)
    made._mapping = property(lambda row: dict(zip(names, row, strict=True)))  # type: ignore[attr-defined]
    return made._make  # type: ignore[no-any-return]


class Rows:
    """What a statement gave back."""

    def __init__(self, rows: list[Any], rowcount: int = -1) -> None:
        self.rows, self.rowcount = rows, rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def all(self) -> list[Any]:
        return self.rows

    def first(self) -> Any:
        return self.rows[0] if self.rows else None

    def one(self) -> Any:
        (row,) = self.rows
        return row

    def one_or_none(self) -> Any:
        return self.one() if self.rows else None

    def scalars(self) -> "Rows":
        return Rows([row[0] for row in self.rows])

    def scalar(self) -> Any:
        return self.rows[0][0] if self.rows else None

    def scalar_one(self) -> Any:
        return self.one()[0]


class FastConnection:
    """As much of `sa.Connection` as the ledger asks for."""

    def __init__(self, engine: "FastEngine") -> None:
        self.engine, self.dialect = engine, engine.dialect

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execution_options(self, **_: object) -> "FastConnection":
        return self

    @contextmanager
    def begin(self) -> Iterator[None]:
        raw = self.engine.raw
        raw.execute("BEGIN IMMEDIATE")
        try:
            yield
            raw.execute("COMMIT")
        finally:
            if raw.in_transaction:
                raw.execute("ROLLBACK")

    def in_transaction(self) -> bool:
        return self.engine.raw.in_transaction

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        many = isinstance(parameters, list)
        columns = tuple(parameters[0]) if many and parameters else ()
        plan = self.engine.plan(statement, columns)
        if plan is None:  # no cursor stays open: the database under it may be exchanged
            result = self.engine.slow.execute(statement, parameters)
            return Rows(list(result.all()) if result.returns_rows else [], result.rowcount)
        if many:
            bound = [plan.bound(one) for one in parameters]
            cursor = self.engine.raw.executemany(bound[0][0], [values for _, values in bound])
        else:
            cursor = self.engine.raw.execute(*plan.bound(parameters or {}))
        if plan.columns is None:
            return Rows([], cursor.rowcount)
        rows = cursor.fetchall()
        for place, processor in plan.reading:
            rows = [(*row[:place], processor(row[place]), *row[place + 1 :]) for row in rows]
        return Rows([plan.columns(row) for row in rows])

    def exec_driver_sql(self, text: str, parameters: Any = ()) -> Rows:
        if isinstance(parameters, list):
            self.engine.raw.executemany(text, parameters)
            return Rows([])
        cursor = self.engine.raw.execute(text, parameters)
        if cursor.description is None:
            return Rows([])
        make = _row_of(tuple(column[0] for column in cursor.description))
        return Rows([make(row) for row in cursor])

    @property
    def connection(self) -> "FastConnection":
        """The pool's connection, as far as the ledger asks for it."""
        return self

    @property
    def driver_connection(self) -> sqlite3.Connection:
        """The driver's own."""
        return self.engine.raw

    def scalar(self, statement: Any, parameters: Any = None) -> Any:
        return self.execute(statement, parameters).scalar()

    def scalars(self, statement: Any, parameters: Any = None) -> Any:
        return self.execute(statement, parameters).scalars()


class FastEngine:
    """As much of `sa.Engine` as the ledger asks for, over one SQLite connection.

    Args:
        raw: in autocommit. The caller keeps it and closes it.
    """

    plans: dict[tuple[int, tuple[str, ...]], tuple[Any, Plan]] = {}  # noqa: RUF012 (plans serve every database)
    met: dict[int, Any] = {}  # noqa: RUF012 (statements met once)

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw
        self._engine = sa.create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        self.slow = self._engine.connect()
        """SQLAlchemy's own connection on the same database; it takes part in whatever transaction is open."""
        self.dialect = self.slow.dialect

    def connect(self) -> FastConnection:
        return FastConnection(self)

    def plan(self, statement: Any, columns: tuple[str, ...]) -> Plan | None:
        """The plan of a statement that stands for good; None for one that is built anew at each call."""
        name = (id(statement), columns)
        found = self.plans.get(name)
        if found is not None:
            return found[1] if found[1].usable else None
        before = self.met.get(name[0])
        if before is None or before() is not statement:
            self.met[name[0]] = weakref.ref(statement)
            return None
        self.plans[name] = (statement, Plan(statement, self.dialect, columns))
        return self.plan(statement, columns)

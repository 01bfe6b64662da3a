"""Rows in sets: read by many keys, or written, with one statement; alike on both engines, past SQLAlchemy's layers.

The idea: a transaction of the ledger is a few statements about hundreds of rows each. PostgreSQL takes every column
as one array, so that a statement has one text whatever it carries; SQLite takes the values themselves, in portions of
few sizes. Rows are plain tuples in the order of the table's columns. Only within a transaction: the drivers do not
begin one as SQLAlchemy would.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Row = tuple[Any, ...]
Conflict = Literal["", "nothing", "update"]

CHUNK: Final = 1000  # keys in one question: SQLite binds at most 32,766 values, of five columns at most
MOST_ROWS: Final = 64  # in one statement on SQLite, a power of two, for the same bound


def is_postgres(connection: sa.Connection | sa.Engine) -> bool:
    """Whether this speaks to PostgreSQL; else it is SQLite."""
    return connection.dialect.name == "postgresql"


# --- one statement -----------------------------------------------------------------------------------


def run(
    connection: sa.Connection, text: str, values: Sequence[Any] | Mapping[str, Any] = ()
) -> Sequence[Row]:
    """Run a statement of the driver's own on it; the rows that it gives. SQLAlchemy's layers take ten times as long
    as the statement itself, and a transaction of the ledger has some twenty.

    Raises:
        sa.exc.DBAPIError: what SQLAlchemy would have made of the driver's error.
    """
    assert connection.in_transaction(), "past SQLAlchemy nobody begins a transaction"
    raw: Any = connection.connection.driver_connection
    try:
        if isinstance(raw, sqlite3.Connection):
            return raw.execute(text, values).fetchall()
        cursor = raw.execute(text, values, prepare=True)
        return cursor.fetchall() if cursor.description else []
    except (sqlite3.Error, psycopg.Error) as error:
        raise _told(connection, raw, text, error) from error


def _told(connection: sa.Connection, raw: Any, text: str, error: Exception) -> Exception:
    """The driver's error as SQLAlchemy tells it; a connection that is lost is not given to anybody again."""
    lost = connection.dialect.is_disconnect(error, raw, None)  # type: ignore[arg-type]
    if lost:
        connection.invalidate(error)
    base = sqlite3.Error if isinstance(error, sqlite3.Error) else psycopg.Error
    told: Exception = sa.exc.DBAPIError.instance(
        text, None, error, base, hide_parameters=True, connection_invalidated=lost, dialect=connection.dialect
    )
    return told


@cache
def _compiled(statement: sa.Select[Any] | sa.Update, *, postgres: bool) -> tuple[str, dict[str, Any]]:
    """A statement that stands for good as the driver's text, and the values that it brings along."""
    made: Any = postgresql.dialect if postgres else sqlite.dialect
    compiled = statement.compile(dialect=made(paramstyle="pyformat" if postgres else "named"))
    return str(compiled), dict(compiled.params)


def ask(
    connection: sa.Connection, statement: sa.Select[Any] | sa.Update, values: Mapping[str, Any]
) -> Sequence[Row]:
    """The rows of a statement that stands for good."""
    text, fixed = _compiled(statement, postgres=is_postgres(connection))
    return run(connection, text, {**fixed, **values})


# --- reading -----------------------------------------------------------------------------------------


def read(
    connection: sa.Connection,
    table: sa.Table,
    columns: tuple[str, ...],
    keys: Iterable[Any],
    *,
    fields: tuple[str, ...] = (),
    also: str = "",
    values: Sequence[Any] = (),
    lock: bool = False,
) -> Iterator[Row]:
    """The rows whose `columns` are among the keys (values, or tuples where there are several columns).

    `fields`: of what columns; else of all. `also`: what else must be true of a row, in SQL with `?` for each of
    `values`. `lock`: PostgreSQL's rows are locked, in the order of the table's key; SQLite's writer has the file.
    """
    postgres = is_postgres(connection)
    ordered = sorted(keys)
    for start in range(0, len(ordered), CHUNK):
        chunk = ordered[start : start + CHUNK]
        if postgres:
            text = _question(table, columns, fields, also, lock=lock)
            bound = _arrays(table, columns, chunk if len(columns) > 1 else [(key,) for key in chunk])
        else:
            several = len(columns) > 1
            # The last key several times, so that there are few statements: powers of two.
            places = 0 if several else 1 << (len(chunk) - 1).bit_length()
            text = _question_here(table, columns, fields, also, places)
            bound = [json.dumps(chunk)] if several else [*chunk, *chunk[-1:] * (places - len(chunk))]
        yield from run(connection, text, [*bound, *values])


def _names(table: sa.Table, fields: tuple[str, ...], prefix: str = "") -> str:
    return ", ".join(f'{prefix}"{name}"' for name in fields or table.columns.keys())


@cache
def _question(
    table: sa.Table, columns: tuple[str, ...], fields: tuple[str, ...], also: str, *, lock: bool
) -> str:
    arrays = ", ".join(f"%s::{_type_of(table.c[name])}[]" for name in columns)
    if len(columns) == 1:
        text = f'FROM "{table.name}" AS t WHERE t."{columns[0]}" = ANY ({arrays})'
    else:
        places = ", ".join(f"k{place}" for place in range(len(columns)))
        equal = " AND ".join(f't."{name}" = k.k{place}' for place, name in enumerate(columns))
        text = f'FROM unnest({arrays}) AS k({places}) JOIN "{table.name}" AS t ON {equal}'
    if also:
        text += f" {'WHERE' if len(columns) > 1 else 'AND'} {also.replace('?', '%s')}"
    if lock:
        order = ", ".join(f't."{one.name}" {_collation(one)}' for one in table.primary_key.columns)
        text += f" ORDER BY {order} FOR UPDATE OF t"
    return f"SELECT {_names(table, fields, 't.')} {text}"


@cache
def _question_here(
    table: sa.Table, columns: tuple[str, ...], fields: tuple[str, ...], also: str, places: int
) -> str:
    """The same for SQLite. For a list of rows it reads the whole table, for a subquery it searches the index; see
    "vector IN" in its whereexpr.c. As JSON the rows are one value besides, however many they are.
    """
    if len(columns) == 1:
        where = f'"{columns[0]}" IN ({", ".join("?" * places)})'
    else:
        each = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(columns)))
        where = f"({_names(table, columns)}) IN (SELECT {each} FROM json_each(?))"  # noqa: S608 (as below)
    also = f" AND {also}" if also else ""
    return f'SELECT {_names(table, fields)} FROM "{table.name}" WHERE {where}{also}'  # noqa: S608 (names of ours)


# --- writing -----------------------------------------------------------------------------------------


def insert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Row],
    *,
    fields: tuple[str, ...] = (),
    conflict: Conflict = "",
) -> None:
    """Insert rows in this order. On a row that is there: fail (""), leave it ("nothing"), or replace it ("update").
    `fields`: what the rows hold; else all columns.
    """
    if not rows:
        return
    fields = fields or tuple(table.columns.keys())
    if is_postgres(connection):
        run(connection, _insertion(table, fields, conflict), _arrays(table, fields, rows))
        return
    for first, count in _portions(len(rows)):
        values = [value for row in rows[first : first + count] for value in row]
        run(connection, _insertion_here(table, fields, conflict, count), values)


def _on_conflict(table: sa.Table, fields: tuple[str, ...], conflict: Conflict) -> str:
    if not conflict:
        return ""
    keys = [column.name for column in table.primary_key.columns]
    if conflict == "nothing":
        return " ON CONFLICT DO NOTHING"
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in fields if name not in keys)
    return f" ON CONFLICT ({_names(table, tuple(keys))}) DO UPDATE SET {changes}"


@cache
def _insertion(table: sa.Table, fields: tuple[str, ...], conflict: Conflict) -> str:
    arrays = ", ".join(f"%s::{_type_of(table.c[name])}[]" for name in fields)
    text = f'INSERT INTO "{table.name}" ({_names(table, fields)}) SELECT * FROM unnest({arrays})'  # noqa: S608 (as above)
    return text + _on_conflict(table, fields, conflict)


@cache
def _insertion_here(table: sa.Table, fields: tuple[str, ...], conflict: Conflict, count: int) -> str:
    row = f"({', '.join('?' * len(fields))})"
    values = ", ".join([row] * count)
    text = f'INSERT INTO "{table.name}" ({_names(table, fields)}) VALUES {values}'  # noqa: S608 (as above)
    return text + _on_conflict(table, fields, conflict)


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


# --- PostgreSQL's arrays -----------------------------------------------------------------------------


def _type_of(column: sa.Column[Any]) -> str:
    """What an array of its values is called."""
    if isinstance(column.type, sa.Text):
        return "text"
    return "boolean" if isinstance(column.type, sa.Boolean) else "bigint"


def _collation(column: sa.Column[Any]) -> str:
    """Bytes order rows everywhere, whatever language the database speaks."""
    return 'COLLATE "C"' if isinstance(column.type, sa.Text) else ""


def _arrays(table: sa.Table, fields: tuple[str, ...], rows: Sequence[Row]) -> list[str]:
    """The columns of these rows as array literals: written here they take a tenth of the driver's time."""
    columns = zip(*rows, strict=True)
    return [write(column) for write, column in zip(_writers(table, fields), columns, strict=True)]


@cache
def _writers(table: sa.Table, fields: tuple[str, ...]) -> tuple[Callable[[Row], str], ...]:
    return tuple(_texts if _type_of(table.c[name]) == "text" else _numbers for name in fields)


def _numbers(column: Row) -> str:
    """Integers or booleans. Source: PostgreSQL manual, 8.15.6 Array Input and Output Syntax."""
    return f"{{{','.join(map(str, column))}}}".replace("None", "NULL")


def _texts(column: Row) -> str:
    """Texts, as a whole where none of them needs more than its quotes."""
    if None not in column:
        joined = '","'.join(column)
        if "\\" not in joined and joined.count('"') == 2 * (len(column) - 1):
            return f'{{"{joined}"}}'
    return f"{{{','.join(map(_quoted, column))}}}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    if '"' in value:
        value = value.replace('"', '\\"')
    return f'"{value}"'

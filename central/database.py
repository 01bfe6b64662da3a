"""The database as the rest of central sees it: one engine, one clock, two engines that behave alike.

The idea: what differs between SQLite and PostgreSQL is said here once. Writers take the whole file on SQLite
(BEGIN IMMEDIATE) and row locks on PostgreSQL; readers see one snapshot on both; time is the database's clock.
Errors tell no values: they go to the log.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine.url import make_url
from sqlalchemy.pool import QueuePool

from central import sets, tables
from central.sets import is_postgres

BUSY_TIMEOUT_MS = 10_000  # how long SQLite waits for another process that writes
CONNECT_TIMEOUT_S = 10
# SQLite brings its log into the file after 40 MB instead of 4: whoever commits then waits for the disk twice more.
CHECKPOINT_PAGES = 10_000
POOL_SIZE = 8  # connections kept; as many again are opened under load, then callers wait
POOL_TIMEOUT_S = 10
LOCK_TIMEOUT_MS = 10_000  # how long PostgreSQL waits for a row before the transaction is tried again

_WRITER = "tallyman_writer"
_MIGRATION_LOCK = 0x74616C6C  # any number that nobody else uses: "tall"


class DatabaseError(Exception):
    """The database cannot be used as configured; the text says what, where and what to do next."""


def open_engine(url: str) -> sa.Engine:
    """An engine for `sqlite:///path` or `postgresql+psycopg://…`. Nothing is connected yet.

    Raises:
        DatabaseError: the URL is none of these, or the folder of the SQLite file does not exist.
    """
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as error:
        raise DatabaseError(f"{url!r} is no database URL: {error}. Example: sqlite:///central.db") from error
    if parsed.drivername == "sqlite":
        return _closing_late_ones(_open_sqlite(parsed))
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return _closing_late_ones(_open_postgres(parsed.set(drivername="postgresql+psycopg")))
    raise DatabaseError(
        f"{parsed.drivername!r} is no database that central knows. "
        "Use sqlite:///file or postgresql+psycopg://user@host/name."
    )


def _open_sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise DatabaseError(
            "central needs a SQLite file, not memory. Example: sqlite:////var/lib/tallyman/central.db"
        )
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise DatabaseError(f"the folder {folder} of the database does not exist. Create it first.")
    engine = sa.create_engine(
        url, poolclass=QueuePool, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_timeout=POOL_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False, "cached_statements": 512},
        hide_parameters=True,
    )  # fmt: skip

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={CHECKPOINT_PAGES}",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITER)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _open_postgres(url: sa.URL) -> sa.Engine:
    # Plans made on empty tables stick and cost a factor of nine: every plan is made for its values.
    # Our questions are short: to compile one (jit) takes longer than to answer it.
    options = (
        f"-c timezone=UTC -c plan_cache_mode=force_custom_plan -c jit=off -c lock_timeout={LOCK_TIMEOUT_MS}"
    )
    return sa.create_engine(
        url, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_timeout=POOL_TIMEOUT_S, pool_pre_ping=True,
        isolation_level="READ COMMITTED", hide_parameters=True,
        connect_args={"options": options, "connect_timeout": CONNECT_TIMEOUT_S, "application_name": "tallyman"},
    )  # fmt: skip


def _closing_late_ones(engine: sa.Engine) -> sa.Engine:
    """The engine, which also closes what is still in use when it is disposed of (a thread may read on after its task
    was cancelled): SQLAlchemy leaves such a connection to the garbage collector.
    """
    disposed = 0

    @sa.event.listens_for(engine, "engine_disposed")
    def count(_engine: sa.Engine) -> None:
        nonlocal disposed
        disposed += 1

    @sa.event.listens_for(engine, "connect")
    def note(_connection: Any, record: Any) -> None:
        record.info["disposed"] = disposed

    @sa.event.listens_for(engine, "checkin")
    def close(_connection: Any, record: Any) -> None:
        if record.info.get("disposed", disposed) != disposed:
            record.invalidate()

    return engine


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction that writes; committed at the end, rolled back when it raises."""
    with engine.connect().execution_options(**{_WRITER: True}) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One snapshot to read from: all its queries see the same commit."""
    with engine.connect() as connection:
        if is_postgres(engine):
            connection = connection.execution_options(  # noqa: PLW2901 (the same connection, told how)
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        with connection.begin():
            yield connection


def among(columns: Sequence[sa.ColumnElement[Any]], *, postgres: bool) -> sa.ColumnElement[bool]:
    """Whether the columns together are one of the rows bound as `keys` (see `keyed`).

    For a list of rows SQLite reads the whole table, for a subquery it searches the index; see "vector IN" in its
    whereexpr.c. As JSON the rows are one value besides, however many they are.
    """
    if len(columns) == 1:
        return columns[0].in_(sa.bindparam("keys", expanding=True))
    if postgres:
        return sa.tuple_(*columns).in_(sa.bindparam("keys", expanding=True))
    each = sa.func.json_each(sa.bindparam("keys", type_=sa.Text)).table_valued("value")
    rows = sa.select(*(sa.func.json_extract(each.c.value, f"$[{place}]") for place in range(len(columns))))
    return sa.tuple_(*columns).in_(rows)


def keyed(keys: Sequence[Any], *, postgres: bool) -> dict[str, Any]:
    """The rows as `among` wants them bound; each a value, or a tuple of the values of several columns."""
    several = bool(keys) and isinstance(keys[0], tuple)
    return {"keys": json.dumps(keys) if several and not postgres else keys}


def now_us(connection: sa.Connection) -> int:
    """The database's clock: microseconds since 1970 (UTC). Holds expire by it alone."""
    if is_postgres(connection):
        text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return int(sets.run(connection, text)[0][0])
    # julianday has the resolution of a millisecond
    text = "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"
    return int(sets.run(connection, text)[0][0])


def migrate(engine: sa.Engine) -> None:
    """Bring the tables to this version and see that there is a current history. Safe to call at every start."""
    with writing(engine) as connection:
        if is_postgres(engine):  # two centrals that start at once migrate one after the other
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if connection.scalar(sa.select(sa.func.count()).select_from(tables.history)) == 0:
            new_history(connection, "first")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", "central:migrations")
    return config


def revisions() -> frozenset[str]:
    """The versions of the tables that this program can bring up to date."""
    return frozenset(one.revision for one in ScriptDirectory.from_config(_alembic()).walk_revisions())


def new_history(connection: sa.Connection, cause: str) -> str:
    """Begin a history: agents that hear its name send again what it may lack. Returns its id."""
    identity = uuid.uuid4().hex
    connection.execute(
        sa.insert(tables.history).values(id=identity, created_us=now_us(connection), cause=cause)
    )
    return identity


def current_history(connection: sa.Connection) -> str:
    """The history that is being written."""
    query = sa.select(tables.history.c.id).order_by(tables.history.c.ordinal.desc()).limit(1)
    return str(connection.execute(query).scalar_one())

"""The migrations end in exactly the tables that the program uses, on both engines."""

import asyncio
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from central import backups, database, reference, tables
from central.ledger import views, writer
from central.ledger.commands import Done, PutItem


def test_autogenerate_finds_no_difference(database_url: str) -> None:
    engine = database.open_engine(database_url)
    database.migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    """Two centrals that start at once migrate one after the other; the history stays."""
    engine = database.open_engine(database_url)
    await asyncio.gather(*(asyncio.to_thread(database.migrate, engine) for _ in range(2)))
    with database.reading(engine) as connection:
        history = database.current_history(connection)
    database.migrate(engine)
    with database.reading(engine) as connection:
        assert database.current_history(connection) == history
        assert len(list(connection.execute(tables.history.select()))) == 1
    engine.dispose()


def test_a_database_of_the_first_version_keeps_every_row(database_url: str) -> None:
    """One in each table, as that version had them; and its versions of reference data are told from ours."""
    engine = database.open_engine(database_url)
    with database.writing(engine) as connection:
        alembic = database._alembic()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "0001")
    old = sa.MetaData()
    old.reflect(engine)
    before = {}
    with database.writing(engine) as connection:
        for table in old.sorted_tables:
            if table.name not in ("alembic_version", "counter"):
                row = {one.name: _filler(one) for one in table.columns}
                connection.execute(sa.insert(table), row)
                before[table.name] = row
        counter = old.tables["counter"]
        connection.execute(sa.update(counter).where(counter.c.name == "reference").values(value=17))
    database.migrate(engine)
    with database.reading(engine) as connection:
        for name, row in before.items():
            (found,) = connection.execute(sa.select(tables.metadata.tables[name])).mappings()
            assert {**found, **row} == dict(found), name
            assert {key: found[key] for key in found.keys() - row.keys()} in (
                {}, {"backed_up": 0}, {"returns": 0}, {"holder": None},
            )  # fmt: skip
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        assert reference.delta(connection, 17) is None, "who has a version of before gets the snapshot"
        assert backups.stands(connection, ["1"]) == ("1", [("1", 1, 1)])
    (answer,), written = writer.run(engine, [PutItem("t", "SKU-1", "Mug", ())], lambda: uuid.uuid4().hex)
    assert isinstance(answer, Done) and written.reference_changed
    with database.reading(engine) as connection:
        assert views.reference_version(connection) > 17
    engine.dispose()


def _filler(column: sa.Column[Any]) -> Any:
    return 1 if isinstance(column.type, sa.Integer) else isinstance(column.type, sa.Boolean) or "1"


def test_the_clock_is_the_databases(database_url: str) -> None:
    engine = database.open_engine(database_url)
    with database.reading(engine) as connection:
        first, second = database.now_us(connection), database.now_us(connection)
    assert 1_700_000_000_000_000 < first <= second < first + 10_000_000
    engine.dispose()


def test_an_error_tells_no_values(database_url: str) -> None:
    """It goes to the log, and a value may be the hash of a PIN, a session or a badge."""
    engine = database.open_engine(database_url)
    database.migrate(engine)
    operator = {"id": "op-7", "pin_hash": "scrypt$secret"}
    with pytest.raises(sa.exc.IntegrityError) as caught, database.writing(engine) as connection:
        for _ in range(2):
            connection.execute(sa.insert(tables.operator), operator)
    assert "operator" in str(caught.value) and "secret" not in str(caught.value)
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "is no database URL"),
        ("mysql://host/db", "Use sqlite:///file"),
        ("sqlite://", "needs a SQLite file"),
        ("sqlite:////no/such/folder/central.db", "does not exist. Create it first"),
    ],
)
def test_a_wrong_url_is_told(url: str, says: str) -> None:
    with pytest.raises(database.DatabaseError, match=says):
        database.open_engine(url)


def test_sqlite_is_durable(tmp_path: Any) -> None:
    engine = database.open_engine(f"sqlite:///{tmp_path / 'central.db'}")
    with engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    engine.dispose()

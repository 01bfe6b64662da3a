"""The short way to the database gives the same answers as SQLAlchemy's own."""

import sqlite3
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from tests.simulation import centre
from tests.simulation.play import play


def whole_engine() -> Any:
    """SQLAlchemy itself, on one connection of the simulation's."""
    raw = centre.connection()
    engine = sa.create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.raw = raw  # type: ignore[attr-defined]
    return engine


@pytest.mark.parametrize("seed", [9, 14, 25])
def test_a_run_is_the_same_with_sqlalchemys_own_connection(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = play(seed, tracing=True)
    engine = whole_engine()
    monkeypatch.setattr(centre, "_engine", lambda: engine)
    whole = play(seed, tracing=True)
    assert whole.lines == short.lines
    assert whole == short


def test_a_statement_that_changes_between_two_calls_is_not_taken_for_the_one_before() -> None:
    engine = centre._engine()
    centre.load(engine.raw, centre.template())
    connection = engine.connect()
    for text in ("SKU-1", "SKU-2", "SKU-1"):
        query = sa.select(sa.literal(text))
        assert connection.execute(query).scalar_one() == text


def test_what_fails_at_the_commit_is_not_there_or_is_there_as_it_was_armed() -> None:
    engine = centre._engine()
    centre.load(engine.raw, centre.template())
    engine.raw.is_ledger = True
    for armed, there in (("fails", 0), ("half", 1)):
        engine.raw.armed = armed
        with pytest.raises(sa.exc.OperationalError), engine.connect().begin():
            engine.raw.execute("INSERT INTO counter VALUES (?, 1)", (armed,))
        assert engine.raw.execute("SELECT count(*) FROM counter WHERE name = ?", (armed,)).fetchone() == (
            there,
        )
    engine.raw.is_ledger = False
    assert isinstance(engine.raw, sqlite3.Connection)

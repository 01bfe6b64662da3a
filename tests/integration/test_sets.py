"""Rows in sets: what is written in one statement is read in one, whatever it holds, on both engines."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central import sets, tables
from central.database import migrate, open_engine, writing

COUNTER, SETS, TOKEN, LINE = tables.counter, tables.set_aside, tables.token, tables.document_line


@pytest.fixture
def connection(database_url: str) -> Iterator[sa.Connection]:
    engine = open_engine(database_url)
    migrate(engine)
    with writing(engine) as connection:
        yield connection
    engine.dispose()


ODD = [
    '"',
    "\\",
    '","',
    "{}",
    "NULL",
    "null",
    "",
    " ",
    "a,b",
    "\n\r\t\x01",
    "é漢🙂",
    "'%s",
    "?",
    '\\"',
    "None",
    ":now",
]


def rows_of(connection: sa.Connection, table: sa.Table) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in connection.execute(sa.select(table)))


def test_every_text_comes_back_as_it_was_written(connection: sa.Connection) -> None:
    rows = [(f"h{number}", text, "read", number, None) for number, text in enumerate(ODD)]
    sets.insert(connection, TOKEN, rows)
    assert rows_of(connection, TOKEN) == sorted(rows)
    assert {row[1] for row in sets.read(connection, TOKEN, ("name",), ODD)} == set(ODD)
    for text in ODD:
        [row] = sets.read(connection, TOKEN, ("name",), [text])
        assert row[1] == text


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), min_size=1, max_size=20
    )
)
def test_whatever_is_written_is_found_by_it(connection: sa.Connection, texts: list[str]) -> None:
    connection.execute(sa.delete(LINE))
    rows = [(text, f"{number}", text, *range(6)) for number, text in enumerate(texts)]
    sets.insert(connection, LINE, rows)
    keys = {(row[0], row[1], row[2]) for row in rows}
    found = list(sets.read(connection, LINE, ("document", "site", "sku"), keys, lock=True))
    assert sorted(found) == sorted(rows)
    assert sorted(sets.read(connection, LINE, ("sku",), set(texts))) == sorted(rows)


def test_what_is_absent_stays_absent_and_truth_stays_truth(connection: sa.Connection) -> None:
    places = [("A", "lej1", "z", 1, None, False), ("B", "lej1", "", -(2**63), "gln", True)]
    sets.insert(connection, tables.location, places)
    assert rows_of(connection, tables.location) == places


def test_more_rows_and_keys_than_one_statement_takes(connection: sa.Connection) -> None:
    rows = [(f"n-{number:05}", number) for number in range(2 * sets.CHUNK + 7)]
    sets.insert(connection, COUNTER, rows)
    keys = [name for name, _ in rows]
    assert sorted(sets.read(connection, COUNTER, ("name",), keys)) == rows
    assert list(sets.read(connection, COUNTER, ("name",), [])) == []
    sets.insert(connection, COUNTER, [])


@pytest.mark.parametrize("columns", [("document",), ("document", "site")])
def test_only_what_is_so_besides(connection: sa.Connection, columns: tuple[str, ...]) -> None:
    sets.insert(
        connection, LINE, [("O", "lej1", sku, ordered, *[0] * 5) for sku, ordered in (("A", 1), ("B", 5))]
    )
    key = "O" if len(columns) == 1 else ("O", "lej1")
    found = sets.read(
        connection, LINE, columns, [key], fields=("sku",), also="ordered > ?", values=[3], lock=True
    )
    assert list(found) == [("B",)]


def test_a_row_that_is_there_is_replaced_left_or_refused(connection: sa.Connection) -> None:
    sets.insert(connection, COUNTER, [("a", 1), ("b", 2)])
    sets.insert(connection, COUNTER, [("b", 20), ("c", 3)], conflict="update")
    sets.insert(connection, COUNTER, [("c", 30), ("d", 4)], conflict="nothing")
    counted = [("a", 1), ("b", 20), ("c", 3), ("d", 4)]
    assert sorted(sets.read(connection, COUNTER, ("name",), "abcd")) == counted
    with pytest.raises(sa.exc.IntegrityError) as refused, connection.begin_nested():
        sets.insert(connection, COUNTER, [("e", 5), ("a", 100)])
    assert "100" not in str(refused.value).partition("DETAIL")[0], "values stay out of what is told"


def test_some_columns_alone(connection: sa.Connection) -> None:
    sets.insert(connection, SETS, [("e", "h", "i", 1, "fork", "o", 7)], fields=tuple(SETS.columns.keys())[1:])
    [row] = sets.read(connection, SETS, ("event_id",), ["e"], fields=("problem", "sequence"))
    assert row == ("fork", 1)


def test_a_statement_that_stands_for_good_is_asked_with_its_values(connection: sa.Connection) -> None:
    sets.insert(connection, COUNTER, [("a", 1), ("b", 2)])
    question = sa.select(COUNTER.c.value).where(COUNTER.c.name == sa.bindparam("wanted"), COUNTER.c.value > 0)
    assert [tuple(row) for row in sets.ask(connection, question, {"wanted": "b"})] == [(2,)]


def test_a_statement_that_gives_no_rows(connection: sa.Connection) -> None:
    assert list(sets.run(connection, "DELETE FROM token")) == []


def test_outside_of_a_transaction_nothing_is_run(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.connect() as connection, pytest.raises(AssertionError, match="nobody begins"):
        sets.run(connection, "SELECT 1")
    engine.dispose()

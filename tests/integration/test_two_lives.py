"""Two processes under one agent's name are noticed, and what merely comes late is not mistaken for one."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from central.ledger.commands import AnswerHello, RecordState
from sync.messages import Hello, ListedIncarnation, State
from tests.support.ledger import Books, Stream, opened


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened(database_url) as books:
        yield books


def hello(*lives: Stream, history: str | None = None) -> AnswerHello:
    """It lists them, the last one speaks."""
    rows = [
        ListedIncarnation(incarnation=one.incarnation, first_kept=1, last_sequence=0, acked=0)
        for one in lives
    ]
    said = Hello(
        agent="dock-2",
        site="lej1",
        nonce="n",
        history=history,
        reference=None,
        software="",
        incarnations=rows,
    )
    return AnswerHello(said)


def state(stream: Stream, connection: int, status: Any = "online", *, retained: bool = False) -> RecordState:
    said = State(
        status=status, connection=connection, incarnation=stream.incarnation, site="lej1",
        queued=0, oldest_queued_at=None, devices=[],
    )  # fmt: skip
    return RecordState("dock-2", said, retained)


ALARM = ("two_connections", "dock-2")


async def test_two_lives_that_take_turns_raise_an_alarm_and_one_that_comes_late_does_not(
    books: Books,
) -> None:
    left, right = Stream(), Stream()
    for life in (left, right, left, right):
        await books.do(hello(life))
        assert books.open_discrepancies() == []
    await books.do(hello(left))
    assert books.open_discrepancies() == [ALARM]


async def test_each_new_life_is_watched_anew(books: Books) -> None:
    """A message that comes late at every restart adds up to nothing."""
    lives = [Stream() for _ in range(6)]
    for before, life in pairwise(lives):
        await books.do(hello(before, life))
        await books.do(hello(before))
    assert books.open_discrepancies() == []


async def test_an_older_life_that_connects_again_raises_an_alarm(books: Books) -> None:
    left, right = Stream(), Stream()
    for connection, stream in enumerate((left, right), 6):
        await books.do(state(stream, connection))
        await books.do(hello(stream, history="h"))
    for late in (state(left, 6), state(left, 7), state(left, 8, retained=True), state(left, 9, "offline")):
        await books.do(late)
    assert books.open_discrepancies() == []
    await books.do(state(left, 9))
    assert books.open_discrepancies() == [ALARM]


async def test_the_last_will_of_a_life_before_does_not_hide_a_new_journal(books: Books) -> None:
    """A new journal counts its connections anew."""
    old, new = Stream(), Stream()
    await books.do(hello(old, history="h"))
    assert not (await books.do(state(old, 81))).body["ignored"]
    await books.do(hello(new))
    assert (await books.do(state(old, 81, "offline"))).body["ignored"]
    assert not (await books.do(state(new, 1))).body["ignored"]


async def test_of_incarnations_that_one_hello_lists_the_later_one_is_the_younger(books: Books) -> None:
    """Also for a central that never heard of either before."""
    old, new = Stream(), Stream()
    await books.do(hello(old, new))
    for life in (old, new, old):
        await books.do(hello(life))
    assert books.open_discrepancies() == [ALARM]

"""Which command is begun when: live work first, backlogs in turn, and each agent's own order."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from central.ledger.commands import AnswerHello, BookBatch, ExpireReservations, PutItem
from central.ledger.lanes import LIVE_EVENTS, QUIET, Lanes
from sync.messages import Hello, ListedIncarnation


def batch(agent: str, events: int) -> BookBatch:
    return BookBatch(agent, (None,) * events, (b"",) * events)  # type: ignore[arg-type]


def hello(agent: str) -> AnswerHello:
    listed = ListedIncarnation(incarnation="a" * 32, first_kept=1, last_sequence=0, acked=0)
    return AnswerHello(
        Hello(
            agent=agent, site="s", nonce="n", history=None, reference=None, software="", incarnations=[listed]
        )
    )


CALL = ExpireReservations()
ITEM = PutItem("t", "A", "", ())


def lanes(*commands: Any, most: int = 1000, batch_events: int = 300) -> Lanes[int]:
    found: Lanes[int] = Lanes(most, batch_events)
    for number, command in enumerate(commands):
        assert found.put(command, number)
    return found


def taken(found: Lanes[int]) -> list[int]:
    return [one.beside for one in found.take()]


def test_live_work_and_calls_go_before_a_backlog():
    found = lanes(*[batch("old", 100)] * 10, batch("new", 1), CALL)
    assert taken(found) == [10, 11]
    assert found.put(CALL, 12)
    assert taken(found) == [0, 12], "the backlog has its share of every second transaction"
    assert found.put(CALL, 13)
    assert taken(found) == [13]
    assert len(found) == 9


def test_a_backlog_fills_its_transactions_while_nobody_is_at_work():
    found = lanes(*[batch("old", 100)] * (QUIET + 10))
    assert taken(found) == [0, 1, 2]
    assert found.put(CALL, 99)
    assert taken(found) == [99]
    for number in range(QUIET):
        assert taken(found) == [3 + number], "whoever scans next waits for this one"
    assert taken(found) == [3 + QUIET, 4 + QUIET, 5 + QUIET]


def test_many_small_batches_of_one_agent_are_a_backlog_too():
    found = lanes(*[batch("old", 5)] * 100, batch("new", 1))
    assert taken(found) == [*range(LIVE_EVENTS // 5), 100]


def test_whatever_an_agent_sends_later_waits_behind_its_backlog():
    found = lanes(*[batch("old", 100)] * 4, batch("old", 1), hello("old"), hello("new"))
    assert taken(found) == [6]
    assert [taken(found) for _ in range(5)] == [[0], [1], [2], [3], [4, 5]]


def test_a_backlog_waits_for_what_its_agent_sent_before():
    calls = [CALL] * 250
    found = lanes(*calls, batch("old", 1), batch("old", 100), batch("other", 100))
    for number in range(250, 300):
        assert found.put(CALL, 1000 + number)
    assert taken(found) == [*range(250), 250, *range(1250, 1299)]
    assert taken(found) == [251, 1299], "its turn has come, and what it sent before is under way"
    found = lanes(*calls, *calls, batch("old", 1), batch("old", 100), batch("other", 100))
    assert taken(found) == list(range(300))
    assert taken(found) == [502, *range(300, 500)], "the other agent's turn: this one's first is not begun"
    assert taken(found) == [500]
    assert taken(found) == [501]


def test_backlogs_take_turns():
    found = lanes(*[batch("a", 50)] * 4, *[batch("b", 50)] * 2, batch("c", 50))
    assert taken(found) == [0, 4, 6, 1, 5, 2]


def test_what_may_not_share_a_transaction_does_not_and_a_backlog_is_not_forgotten_for_it():
    found = lanes(batch("old", 100), ITEM, ITEM, CALL)
    assert taken(found) == [1, 2]
    assert taken(found) == [0, 3], "it was passed over once"
    found = lanes(batch("old", 100), batch("old", 100), ITEM)
    assert taken(found) == [2]
    assert found.put(ITEM, 9)
    assert taken(found) == [0]
    assert taken(found) == [9]


def test_a_backlog_leaves_half_of_the_room_to_live_work():
    found = lanes(*[batch("old", 100)] * 5, most=10)
    assert not found.put(batch("old", 100), 5)
    assert not found.put(batch("old", 1), 5), "it would overtake"
    for number in range(5):
        assert found.put(CALL, number)
    assert not found.put(CALL, 5)
    assert len(found) == 10


@given(
    commands=st.lists(
        st.one_of(
            st.builds(batch, st.sampled_from("abc"), st.sampled_from([1, 5, 30, 100])),
            st.builds(hello, st.sampled_from("abc")),
            st.sampled_from([CALL, ITEM]),
        ),
        max_size=60,
    ),
    takes=st.lists(st.booleans(), max_size=60),
    batch_events=st.sampled_from([1, 2, 7, 300]),
)
def test_everything_is_taken_once_and_in_the_order_of_its_agent(
    commands: list[Any], takes: list[bool], batch_events: int
) -> None:
    found: Lanes[int] = Lanes(1000, batch_events)
    order: list[int] = []
    for number, command in enumerate(commands):
        assert found.put(command, number)
        if number < len(takes) and takes[number]:
            order += taken(found)
    while len(found):
        one = taken(found)
        assert one, "something waits, so something is taken"
        order += one
    assert sorted(order) == list(range(len(commands)))
    for agent in "abc":
        of_agent = [number for number in order if _speaker(commands[number]) == agent]
        assert of_agent == sorted(of_agent)
    calls = [number for number in order if _speaker(commands[number]) is None]
    assert calls == sorted(calls)


def _speaker(command: Any) -> str | None:
    return command.hello.agent if isinstance(command, AnswerHello) else getattr(command, "agent", None)


@given(st.lists(st.sampled_from([1, 2, 5]), min_size=1, max_size=10))
def test_a_backlog_gets_its_share_however_busy_the_stations_are(sizes: list[int]) -> None:
    found = lanes(*[batch("old", 100)] * len(sizes), most=10_000)
    shares = []
    for size in sizes:
        for number in range(300 * size):
            found.put(CALL, 1000 + number)
        shares.append(any(number < 1000 for number in taken(found)))
    assert all(one or other for one, other in itertools.pairwise(shares))

"""The engine is asked to say a hello because what central told beside acks could not be used."""

import json
from typing import Any

from sync.engine import ASK_S, Action, Engine, Publish
from sync.messages import Ack
from sync.stream import Stream

LIFE = "a" * 32


def engine() -> Engine:
    count = iter(range(1000))
    return Engine(
        agent="dock-1",
        site="lej1",
        software="test",
        history="H1",
        streams=[Stream(LIFE)],
        new_nonce=lambda: f"n{next(count)}",
        random=lambda: 0.0,
    )


def hellos(actions: list[Action]) -> list[Any]:
    return [json.loads(one.payload) for one in actions if isinstance(one, Publish) and one.kind == "hello"]


def answer(one: Engine, hello: Any, now: float) -> list[Action]:
    ack = Ack(history="H1", nonce=hello["nonce"], incarnation=LIFE, acked=0, safe=0, window=100, verdicts=[])
    return one.received_ack(ack, now)


def test_it_says_a_hello_with_the_version_that_it_has():
    one = engine()
    (first,) = hellos(one.connected(0.0))
    answer(one, first, 0.1)
    one.reference = 17
    (hello,) = hellos(one.ask(ASK_S + 1))
    assert hello["reference"] == 17
    assert hello["nonce"] != first["nonce"]


def test_however_often_it_is_asked_it_says_one_in_so_long_and_forgets_none():
    one = engine()
    answer(one, hellos(one.connected(0.0))[0], 0.1)
    assert [action for n in range(100) for action in one.ask(0.2 + n / 100)] == []
    assert one.tick(ASK_S - 0.1) == []
    assert len(hellos(one.tick(ASK_S))) == 1


def test_events_on_their_way_stay_so():
    one = engine()
    answer(one, hellos(one.connected(0.0))[0], 0.1)
    one.appended(LIFE, 3, 0.2)
    one.ask(ASK_S + 1)
    assert one.streams[LIFE].may_send


def test_nothing_is_said_without_a_connection():
    one = engine()
    assert one.ask(100.0) == []


def test_it_says_what_its_stations_work_on():
    one = engine()
    (hello,) = hellos(one.connected(0.0))
    assert "tasks" not in hello
    one.takes = ["pick"]
    (hello,) = hellos(one.ask(ASK_S))
    assert hello["tasks"] == ["pick"]

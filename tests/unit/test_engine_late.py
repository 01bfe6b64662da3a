"""What comes at the wrong moment: while events are entered elsewhere, while central is asked for something else, and
while so much goes on that a loss is hard to notice.
"""

import pytest

from sync.engine import ASK_S, PERIODIC_S, STALL_FIRST_S, Reenter
from sync.ranges import Ranges
from sync.stream import Stream
from tests.unit.test_engine import A, B, C, Desk, answered, online

# --- while events are entered into another incarnation ------------------------------------------------


def entering() -> Desk:
    """The journal is at work: it has looked at what it holds, and nobody has heard of it yet."""
    desk = answered(Stream(A, last=5, acked=5, safe=2), Stream(B, last=1, acked=1, safe=1))
    desk.ack(A, 5, safe=2)
    desk.append(B, 1)
    desk.ack(B, 1, problem="fork")
    assert desk.others == [Reenter(B)]
    desk.others.clear()
    desk.records.clear()
    return desk


def entered(desk: Desk) -> None:
    desk.do(
        desk.engine.reentered(
            [
                Stream(A, last=5, acked=5, safe=2, answered=True),
                Stream(B, last=2, acked=1, safe=1, left=True, lacking=Ranges()),
                Stream(C, last=1, lacking=Ranges([(1, 1)])),
            ],
            desk.now,
        )
    )


def test_a_history_that_changes_while_events_are_entered_is_not_half_believed() -> None:
    """The journal would write it down only behind what it is doing, and what it tells then is of before."""
    desk = entering()
    desk.tick(PERIODIC_S)
    desk.answer(A, 5, safe=2, history="H2")
    assert desk.engine.history == "H1" and desk.records == []
    entered(desk)
    hello = desk.hello()
    told = {one["incarnation"]: one["acked"] for one in hello["incarnations"]}
    assert (hello["history"], told) == ("H1", {A: 5, B: 1, C: 0}), "what was acked was acked in that history"
    desk.answer(A, 5, safe=2, history="H2")
    assert desk.records[-1].history == "H2" and (A, 2) in desk.records[-1].forget_above
    assert list(desk.engine.streams[A].lacking) == [(3, 5)]


def test_an_answer_that_lowers_while_events_are_entered_is_asked_for_once_more() -> None:
    desk = entering()
    desk.tick(PERIODIC_S)
    desk.answer(A, 3)
    entered(desk)
    assert {one["incarnation"]: one["acked"] for one in desk.hello()["incarnations"]}[A] == 5
    assert desk.records == [], "neither here nor in the journal: both are of one mind"
    desk.answer(A, 3)
    assert desk.records[-1].forget_above == ((A, 3),) and list(desk.engine.streams[A].lacking) == [(4, 5)]


def test_a_fork_that_is_noticed_while_a_left_incarnation_is_emptied_is_noticed_again() -> None:
    desk = online(Stream(A, last=9, acked=3, safe=3, left=True, lacking=Ranges([(4, 4)])), Stream(B))
    desk.answer(B)
    desk.append(B, 1)
    desk.answer(A, 3)
    assert desk.others == [Reenter(A)]
    desk.records.clear()
    desk.ack(B, 1, problem="fork", verdicts=[(1, "b1")])
    assert desk.records == []
    emptied = Stream(A, last=9, acked=3, safe=3, left=True, lacking=Ranges())
    desk.do(desk.engine.reentered([emptied, Stream(B, last=2, lacking=Ranges([(1, 2)]))], desk.now))
    desk.rows[(B, 2)] = desk.rows[(B, 1)].replace(b"b1", b"a4").replace(b"1", b"2", 1)
    desk.answer(A, 3)
    desk.answer(B, 1)
    assert desk.batches()[-1] == [1, 2], "its conflict was not taken for the last word"
    desk.ack(B, 1, problem="fork")
    assert desk.others == [Reenter(A), Reenter(B)]


# --- while central is asked for something else -----------------------------------------------------------


def test_what_is_lost_is_said_again_however_often_central_is_asked_for_what_does_not_fit() -> None:
    """A disk too full for reference data asks for it with every change, and central answers each time."""
    desk = answered()
    desk.append(A, 1)
    for _ in range(40):
        desk.tick(0.5)
        desk.do(desk.engine.ask(desk.now))
        if desk.hellos():
            desk.answer(A, 0)
        if len(desk.batches()) > 1:
            break
    assert desk.batches() == [[1], [1]]
    assert desk.now - 100 <= STALL_FIRST_S + ASK_S


# --- while much goes on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 3])
def test_a_verdict_that_was_lost_is_asked_for_although_work_never_pauses(lost: int) -> None:
    """Something moves all the time, so nothing stalls; the next hello's answer tells that it was judged."""
    desk = answered()
    desk.append(A, 5)
    desk.ack(A, 5, verdicts=[(n, f"a{n}") for n in range(1, 6) if n != lost])
    for n in range(6, 130):
        desk.append(A, 1)
        desk.tick(2.5)
        desk.ack(A, n, verdicts=[(n, f"a{n}")])
        if desk.hellos():
            break
    assert desk.engine.oldest == (A, lost)
    desk.append(A, 1)
    desk.answer(A, n)
    assert desk.batches()[-1] == [lost], "and what is above is on its way"
    desk.ack(A, n, verdicts=[(lost, f"a{lost}")])
    assert desk.engine.queued == 1

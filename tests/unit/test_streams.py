"""The five rules of a central about streams, each as an example."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.streams import (
    Arrived,
    Known,
    Lost,
    Previous,
    Ruling,
    Step,
    connected_again,
    judge_batch,
    judge_hello,
    previous_of,
    rolled_back,
    safe_part,
    two_speak,
)
from sync.messages import Hello, ListedIncarnation
from tests.support.ledger import Stream


def arrived(sequence: int, identity: str, content: str = "c", *, void: bool = False) -> Arrived:
    return Arrived(sequence, identity, content, void)


def actions(ruling: Ruling) -> list[tuple[str, bool]]:
    return [(step.action, step.takes_place) for step in ruling.steps]


def test_events_are_booked_strictly_in_sequence() -> None:
    ruling = judge_batch(0, {}, {}, [arrived(1, "a"), arrived(2, "b")])
    assert ruling == Ruling((Step("book", True), Step("book", True)), 2, False)


def test_what_lies_above_a_gap_is_dropped_and_answered_with_the_current_ack() -> None:
    assert judge_batch(3, {}, {}, [arrived(5, "e"), arrived(6, "f")]) == Ruling((), 3, False)


def test_an_event_delivered_again_is_known() -> None:
    known = {"a": Known("c"), "b": Known("c")}
    ruling = judge_batch(2, {1: "a", 2: "b"}, known, [arrived(1, "a"), arrived(2, "b"), arrived(3, "x")])
    assert actions(ruling) == [("known", False), ("known", False), ("book", True)]
    assert (ruling.acked, ruling.forked) == (3, False)


def test_an_event_entered_again_elsewhere_is_known_and_takes_the_place() -> None:
    ruling = judge_batch(0, {}, {"a": Known("c")}, [arrived(1, "a")])
    assert (actions(ruling), ruling.acked) == ([("known", True)], 1)


def test_the_same_id_with_another_content_is_a_conflict_and_blocks_nothing() -> None:
    ruling = judge_batch(
        0, {}, {"a": Known("other")}, [arrived(1, "a"), arrived(2, "b"), arrived(3, "b", "d")]
    )
    assert actions(ruling) == [("conflict", True), ("book", True), ("conflict", True)]
    assert (ruling.acked, ruling.forked) == (3, False)


def test_another_id_at_a_taken_place_is_a_fork_and_the_first_stays() -> None:
    ruling = judge_batch(
        2, {1: "a", 2: "b"}, {"a": Known("c"), "b": Known("c")}, [arrived(2, "x"), arrived(3, "y")]
    )
    assert actions(ruling) == [("fork", False), ("book", True)]
    assert (ruling.acked, ruling.forked) == (3, True)


def test_a_forked_event_that_was_entered_again_elsewhere_is_known_at_its_old_place() -> None:
    ruling = judge_batch(2, {1: "a", 2: "b"}, {"b": Known("c"), "x": Known("c")}, [arrived(2, "x")])
    assert (actions(ruling), ruling.forked) == ([("known", False)], True)


def test_a_lost_place_can_still_be_taken() -> None:
    ruling = judge_batch(5, {4: "d"}, {}, [arrived(2, "b"), arrived(3, "c")])
    assert (actions(ruling), ruling.acked) == ([("book", True), ("book", True)], 5)


def test_an_id_that_comes_twice_in_one_batch_is_known_the_second_time() -> None:
    ruling = judge_batch(0, {}, {}, [arrived(1, "a"), arrived(2, "a")])
    assert actions(ruling) == [("book", True), ("known", True)]
    ruling = judge_batch(0, {}, {}, [arrived(1, "a", "one", void=True), arrived(2, "a", "other")])
    assert actions(ruling) == [("book", True), ("known", True)]


@pytest.mark.parametrize(("booked", "comes"), [(True, False), (False, True), (True, True)])
def test_a_void_and_the_event_it_replaces_are_one(booked: bool, comes: bool) -> None:
    ruling = judge_batch(
        1, {1: "a"}, {"a": Known("one", void=booked)}, [arrived(1, "a", "other", void=comes)]
    )
    assert (actions(ruling), ruling.forked) == ([("known", False)], False)


@given(st.lists(st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abcd"), st.sampled_from("xy")))))
def test_acked_never_skips_a_gap_and_an_id_is_booked_once(deliveries: list[list[Any]]) -> None:
    """Promises 2 and 6, whatever comes: contiguous or not, forked, repeated, conflicting."""
    acked, holders, known = 0, {}, {}
    for delivery in deliveries:
        events = [arrived(*one) for one in delivery]
        ruling = judge_batch(acked, holders, known, events)
        for event, step in zip(events, ruling.steps, strict=False):
            if step.takes_place:
                assert event.sequence not in holders
                holders[event.sequence] = event.identity
            if step.action == "book":
                assert event.identity not in known
                known[event.identity] = Known(event.content)
        assert ruling.acked >= acked
        acked = ruling.acked
        assert set(holders) == set(range(1, acked + 1))


# --- the life before ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sequence", "expected"),
    [
        ({"previous": {"incarnation": "i", "last_sequence": 7}}, 1, Previous("i", 7)),
        ({"previous": {"incarnation": "i", "last_sequence": 7}}, 2, None),
        ({"previous": None}, 1, None),
        ({}, 1, None),
        ({"previous": "i"}, 1, None),
        ({"previous": {"incarnation": 5, "last_sequence": 7}}, 1, None),
        ({"previous": {"incarnation": "i", "last_sequence": "7"}}, 1, None),
        ({"previous": {"incarnation": "i", "last_sequence": True}}, 1, None),
    ],
)
def test_what_event_one_says_of_the_life_before(data: Any, sequence: int, expected: Previous | None) -> None:
    assert previous_of(Stream().event("received", data, sequence=sequence)) == expected


def test_a_past_life_that_ends_below_what_was_received_was_set_back() -> None:
    assert rolled_back(4, 5)
    assert not rolled_back(5, 5)


# --- hellos ---------------------------------------------------------------------------------------

OLD, NEW = "0" * 32, "1" * 32


def hello(*listed: tuple[str, int, int, int], history: str | None = "h-1") -> Hello:
    return Hello(
        agent="dock-2", site="lej1", nonce="n", history=history, reference=None, software="",
        incarnations=[
            ListedIncarnation(incarnation=name, first_kept=first, last_sequence=last, acked=acked)
            for name, first, last, acked in listed
        ],
    )  # fmt: skip


def judge(said: Hello, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "history": "h-1",
        "histories": frozenset({"h-0", "h-1"}),
        "acked": {},
        "first_seen": {},
        "current": None,
    }
    return judge_hello(said, **{**fields, **more})


def test_a_hello_that_agrees_changes_nothing() -> None:
    greeting = judge(hello((OLD, 3, 9, 9), (NEW, 1, 4, 2)), acked={OLD: 9, NEW: 3})
    assert (greeting.new_history, greeting.lost, greeting.rolled_back, greeting.returned) == (
        None,
        (),
        (),
        False,
    )


def test_acked_above_our_own_means_that_we_were_rolled_back() -> None:
    assert judge(hello((NEW, 1, 4, 4)), acked={NEW: 3}).new_history == "rolled_back"
    assert judge(hello((NEW, 1, 4, 4), history="h-0"), acked={NEW: 3}).new_history is None, (
        "of an older history"
    )
    assert judge(hello((NEW, 1, 4, 4), history=None), acked={}).new_history is None


def test_a_history_that_nobody_here_knows_begins_a_new_one() -> None:
    assert judge(hello((NEW, 1, 4, 0), history="elsewhere")).new_history == "unknown_history"


def test_a_range_that_the_agent_no_longer_has_is_lost() -> None:
    greeting = judge(hello((OLD, 8, 9, 9), (NEW, 1, 0, 0)), acked={OLD: 5})
    assert greeting.lost == (Lost(OLD, 6, 7),)
    greeting = judge(hello((OLD, 100, 9, 9), (NEW, 100, 0, 0)), acked={OLD: 5})
    assert greeting.lost == (Lost(OLD, 6, 9),), "no event was ever beyond the last"
    assert judge(hello((NEW, 2, 4, 0))).lost == (Lost(NEW, 1, 1),), "of one that nobody heard of too"


def test_only_a_past_incarnation_can_have_been_set_back() -> None:
    greeting = judge(hello((OLD, 1, 4, 0), (NEW, 1, 0, 0)), acked={OLD: 5, NEW: 2})
    assert [listed.incarnation for listed in greeting.rolled_back] == [OLD]
    assert judge(hello((NEW, 1, 4, 0)), acked={NEW: 5}).rolled_back == ()


@pytest.mark.parametrize(
    ("current", "first_seen", "returned"),
    [
        (None, {}, False),
        (NEW, {NEW: 2}, False),
        (OLD, {NEW: 2}, False),
        (OLD, {OLD: 1}, False),
        (OLD, {OLD: 1, NEW: 2}, False),
        (OLD, {OLD: 2, NEW: 2}, False),
        (OLD, {OLD: 2, NEW: 1}, True),
    ],
)
def test_an_older_life_that_speaks_after_a_younger_one_is_a_second_process(
    current: str | None, first_seen: dict[str, int], returned: bool
) -> None:
    assert judge(hello((NEW, 1, 4, 0)), current=current, first_seen=first_seen).returned is returned


def test_one_return_may_be_a_message_that_came_late_and_two_are_a_second_process() -> None:
    assert [two_speak(returns) for returns in range(4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("older", "connection", "again"), [(True, 8, True), (True, 7, False), (True, 6, False), (False, 8, False)]
)
def test_an_older_life_with_a_new_connection_is_a_second_process(
    older: bool, connection: int, again: bool
) -> None:
    """What came late has a lower number, and what came twice the same."""
    assert connected_again(older=older, connection=connection, highest=7) is again


# --- backups --------------------------------------------------------------------------------------


def test_safe_is_what_is_backed_up_and_never_above_acked() -> None:
    assert safe_part(7, 5, backups=True) == 5
    assert safe_part(7, 9, backups=True) == 7
    assert safe_part(7, 0, backups=True) == 0


def test_without_backups_all_of_it_is_called_safe() -> None:
    assert safe_part(7, 0, backups=False) == 7

"""What central does with batches, hellos and states, on rows in memory: cursors, verdicts and alarms."""

from typing import Any

import pytest
from msgspec import UNSET

from central.ledger.books import Cursor, Open
from central.ledger.commands import AnswerHello, BookBatch, RecordState
from central.windows import WINDOW
from sync.messages import Ack, Hello, ListedIncarnation, State
from tests.support.ledger import Stream
from tests.support.memory import Memory

GOODS = {"sku": "SKU-1", "to_location": "DOCK-2"}


def central() -> Memory:
    return Memory().know(items=["SKU-1"], locations=["DOCK-2"])


def received(stream: Stream, count: int = 1, **data: Any) -> BookBatch:
    return stream.batch(*(stream.event("received", {**GOODS, **data}) for _ in range(count)))


def follows(stream: Stream, before: Stream, last: int) -> BookBatch:
    return received(stream, previous={"incarnation": before.incarnation, "last_sequence": last})


def verdicts(ack: Ack) -> list[tuple[int, str, str | None, bool, int | None]]:
    return [(v.sequence, v.outcome, v.reason, v.duplicate, v.movement) for v in ack.verdicts]


def alarms(memory: Memory, *kinds: str) -> list[Open]:
    return [
        noted.change
        for noted in memory.books.noted
        if isinstance(noted.change, Open) and noted.change.kind in kinds
    ]


def hello(
    *listed: tuple[Stream, int, int, int], history: str | None = "h-1", site: str = "lej1"
) -> AnswerHello:
    """Of each (stream, first kept, last, acked); the last one speaks."""
    rows = [
        ListedIncarnation(incarnation=stream.incarnation, first_kept=first, last_sequence=last, acked=acked)
        for stream, first, last, acked in listed
    ]
    said = Hello(
        agent="dock-2", site=site, nonce="n-1", history=history, reference=None, software="2.1",
        incarnations=rows,
    )  # fmt: skip
    return AnswerHello(said)


def state(stream: Stream, connection: int, status: Any = "online", *, retained: bool = False) -> RecordState:
    said = State(
        status=status, connection=connection, incarnation=stream.incarnation, site="lej1",
        queued=0, oldest_queued_at=None, devices=[],
    )  # fmt: skip
    return RecordState("dock-2", said, retained)


# --- batches --------------------------------------------------------------------------------------


def test_an_answer_says_how_far_it_came_and_what_became_of_each() -> None:
    memory, dock = central(), Stream()
    ack = memory.do(received(dock, 2))
    assert (ack.history, ack.nonce, ack.incarnation, ack.acked, ack.safe, ack.window, ack.problem) == (
        "h-1", None, dock.incarnation, 2, 2, WINDOW, UNSET,
    )  # fmt: skip
    assert verdicts(ack) == [(1, "accepted", None, False, 1), (2, "accepted", None, False, 2)]
    cursor = memory.books.cursors.get(dock.incarnation)
    assert cursor == Cursor("dock-2", acked=2, first_seen_us=memory.books.now_us)


def test_what_comes_again_has_its_first_verdict_and_movement() -> None:
    memory, dock = central(), Stream()
    batch = received(dock, 2)
    memory.do(batch)
    memory.do(received(Stream("dock-3")))
    assert verdicts(memory.do(batch)) == [(1, "accepted", None, True, 1), (2, "accepted", None, True, 2)]
    assert len(memory.books.new_movements) == 3
    assert memory.do(received(dock)).acked == 3


def test_what_lies_above_a_gap_is_not_answered_and_moves_nothing() -> None:
    memory, dock = central(), Stream()
    early = dock.batch(dock.event("received", GOODS, sequence=3))
    ack = memory.do(early)
    assert (ack.acked, ack.verdicts, memory.books.new_movements) == (0, [], [])


def test_one_id_with_another_content_is_kept_aside_once_and_told_by_its_name() -> None:
    memory, dock = central(), Stream()
    first = dock.event("received", GOODS)
    memory.do(dock.batch(first))
    other = dock.event("received", {**GOODS, "quantity": 2}, id=first.id)
    for duplicate in (False, True):
        ack = memory.do(dock.batch(other))
        assert verdicts(ack) == [(2, "conflict", "this id is known with another content", duplicate, None)]
        assert (ack.acked, ack.problem) == (2, UNSET)
    [kept] = memory.books.set_aside
    assert (kept.event_id, kept.incarnation, kept.sequence, kept.problem) == (
        first.id, dock.incarnation, 2, "conflict",
    )  # fmt: skip
    assert '"quantity":2' in kept.original
    [alarm] = alarms(memory, "conflict")
    assert (
        (alarm.key, alarm.site) == (first.id, "lej1")
        and "dock-2" in alarm.detail
        and first.id in alarm.detail
    )
    assert [noted.movement for noted in memory.books.noted] == [first.id]
    assert memory.books.occupants.get((dock.incarnation, 2)) == first.id, "it has taken the place"


def test_another_event_at_a_taken_place_is_kept_aside_once_and_the_fork_is_told() -> None:
    memory, dock = central(), Stream()
    first = dock.event("received", GOODS)
    memory.do(dock.batch(first))
    clone = dock.event("received", GOODS, sequence=1)
    for duplicate in (False, True):
        ack = memory.do(dock.batch(clone))
        assert verdicts(ack) == [(1, "conflict", "another event holds this place", duplicate, None)]
        assert (ack.history, ack.nonce, ack.incarnation, ack.acked, ack.safe, ack.window, ack.problem) == (
            "h-1", None, dock.incarnation, 1, 1, WINDOW, "fork",
        )  # fmt: skip
    assert [(kept.event_id, kept.problem) for kept in memory.books.set_aside] == [(clone.id, "fork")]
    assert memory.books.occupants.get((dock.incarnation, 1)) == first.id, "the first stays"
    assert {(alarm.key, alarm.site) for alarm in alarms(memory, "fork")} == {(dock.incarnation, "lej1")}
    assert all("dock-2" in one.detail and dock.incarnation in one.detail for one in alarms(memory, "fork"))
    assert alarms(memory, "conflict") == []


def test_a_fork_in_the_midst_of_a_batch_costs_its_neighbours_nothing() -> None:
    memory, dock = central(), Stream()
    memory.do(received(dock, 2))
    clone = dock.event("received", GOODS, sequence=2)
    ack = memory.do(dock.batch(clone, dock.event("received", GOODS)))
    assert [(v.sequence, v.outcome, v.movement) for v in ack.verdicts] == [
        (2, "conflict", None),
        (3, "accepted", 3),
    ]
    assert (ack.acked, ack.problem) == (3, "fork")


def test_a_void_that_was_booked_is_the_event_that_it_replaced() -> None:
    memory, dock = central(), Stream()
    event = dock.event("received", GOODS)
    void = {"id": event.id, "original": "e30="}
    memory.do(dock.batch(dock.event("void", void, id=event.id, sequence=1)))
    ack = memory.do(dock.batch(event))
    assert [(v.outcome, v.duplicate) for v in ack.verdicts] == [("rejected", True)]
    assert ack.problem is UNSET and memory.books.set_aside == []


def test_a_void_that_comes_after_its_event_is_that_event() -> None:
    memory, dock, other = central(), Stream(), Stream()
    event = dock.event("received", GOODS)
    memory.do(dock.batch(event))
    void = other.event("void", {"id": event.id, "original": "e30="}, id=event.id)
    ack = memory.do(other.batch(void))
    assert [(v.outcome, v.duplicate) for v in ack.verdicts] == [("accepted", True)]
    assert memory.books.set_aside == []


@pytest.mark.parametrize("is_booked", [False, True])
def test_a_void_of_another_id_is_rejected_under_its_own_and_settles_nothing_else(is_booked: bool) -> None:
    memory, dock, other = central(), Stream(), Stream("dock-3")
    event = other.event("received", GOODS)
    void = dock.event("void", {"id": event.id, "original": "e30="})
    if is_booked:
        memory.do(other.batch(event))
    ack = memory.do(dock.batch(void))
    [(sequence, outcome, reason, duplicate, number)] = verdicts(ack)
    assert (sequence, outcome, duplicate, number) == (1, "rejected", False, None)
    assert reason is not None and "another id" in reason and ack.verdicts[0].id == void.id
    assert memory.books.occupants.get((dock.incarnation, 1)) == void.id
    again = memory.do(other.batch(event))
    assert verdicts(again) == [(1, "accepted", None, is_booked, 1)]
    assert [(v.outcome, v.duplicate) for v in memory.do(dock.batch(void)).verdicts] == [("rejected", True)]
    assert alarms(memory, "unreadable") == []


def test_a_void_of_somebody_elses_event_is_rejected_like_any_event_of_theirs() -> None:
    memory, dock, other = central(), Stream(), Stream("dock-3")
    event = other.event("received", GOODS)
    void = dock.event("void", {"id": event.id, "original": "e30="}, id=event.id, source=event.source)
    [(_, outcome, reason, _, _)] = verdicts(memory.do(dock.batch(void)))
    assert outcome == "rejected" and reason is not None and "is not agent dock-2" in reason
    assert alarms(memory, "unreadable") == []
    assert verdicts(memory.do(other.batch(event)))[0][1] == "conflict", "it is told, not answered in silence"


def test_a_void_that_is_rejected_for_what_it_says_is_no_void_afterwards() -> None:
    memory, dock = central(), Stream()
    event = dock.event("received", GOODS)
    wrong = [{"id": "other", "original": "e30="}, {"id": event.id}]
    for place, data in enumerate(wrong, 1):
        dock.last = place - 1
        void = dock.event("void", data, id=f"void-{place}")
        late = dock.event("received", GOODS, id=void.id, sequence=place)
        memory.do(dock.batch(void))
        [verdict] = memory.do(dock.batch(late)).verdicts
        assert (verdict.outcome, verdict.reason) == ("conflict", "this id is known with another content")
    assert len(alarms(memory, "conflict")) == 2, "somebody is told, and both are kept"


def test_what_was_booked_long_ago_is_answered_with_its_number_and_reason() -> None:
    memory, dock = central(), Stream()
    batch = dock.batch(dock.event("received", {}), dock.event("received", GOODS))
    ack = memory.do(batch)
    [(_, outcome, reason, _, number), *_] = verdicts(ack)
    assert (outcome, number) == ("rejected", None) and reason is not None
    assert [one.actor for one in memory.books.new_movements] == ["agent:dock-2", "agent:dock-2"]
    later = central()
    for place, movement in enumerate(memory.books.new_movements, 1):
        later.books.movements.load(movement.event_id, movement._replace(number=40 + place))
        later.books.occupants.load((dock.incarnation, place), movement.event_id)
    later.books.cursors.load(dock.incarnation, Cursor("dock-2", acked=2))
    assert verdicts(later.do(batch)) == [(1, "rejected", reason, True, 41), (2, "accepted", None, True, 42)]


def test_with_backups_safe_is_what_they_hold() -> None:
    memory, dock = central(), Stream()
    memory.books.backups = True
    memory.books.cursors.load(dock.incarnation, Cursor("dock-2", acked=4, backed_up=3))
    dock.last = 4
    ack = memory.do(received(dock))
    assert (ack.acked, ack.safe) == (5, 3)


# --- the life before ------------------------------------------------------------------------------


def test_the_first_event_names_the_life_before_once() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(received(old, 3))
    first = follows(new, old, 3)
    memory.do(first)
    assert memory.books.cursors[new.incarnation].predecessor == old.incarnation
    memory.do(first)
    assert alarms(memory, "agent_set_back", "cloned_agent") == []


def test_a_first_event_above_a_gap_or_one_that_names_nothing_says_nothing() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(received(old, 3))
    memory.do(received(new))
    assert memory.books.cursors[new.incarnation].predecessor is None


def test_an_agent_whose_life_before_ends_too_early_was_set_back() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(received(old, 3))
    memory.do(follows(new, old, 2))
    [alarm] = alarms(memory, "agent_set_back")
    assert (alarm.key, alarm.expected, alarm.actual) == (old.incarnation, 3, 2)
    for part in ("dock-2", old.incarnation, "ends at 2", "3 were received"):
        assert part in alarm.detail
    assert [noted.movement for noted in memory.books.noted] == [None]


def test_what_the_first_event_says_is_looked_at_once() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(received(old, 3))
    first = follows(new, old, 2)
    memory.do(first)
    memory.do(first)
    assert len(alarms(memory, "agent_set_back")) == 1


def test_a_life_before_that_central_never_heard_of_was_not_set_back() -> None:
    memory, new = central(), Stream()
    memory.do(follows(new, Stream(), 2))
    assert alarms(memory, "agent_set_back", "cloned_agent") == []


def test_two_lives_that_follow_one_are_clones() -> None:
    memory, old, left, right = central(), Stream(), Stream(), Stream()
    memory.do(received(old, 3))
    memory.do(follows(left, old, 3))
    assert alarms(memory, "cloned_agent") == []
    second = follows(right, old, 3)
    memory.do(second)
    [alarm] = alarms(memory, "cloned_agent")
    assert (alarm.key, alarm.site) == (old.incarnation, "lej1")
    assert "dock-2" in alarm.detail and old.incarnation in alarm.detail
    assert memory.books.noted[-1].movement == second.events[0].id
    assert alarms(memory, "agent_set_back") == []


def test_a_clone_that_only_the_database_knows_is_noticed_too() -> None:
    memory, old, right = central(), Stream(), Stream()
    memory.books.rivals = {old.incarnation: frozenset({"f" * 32})}
    memory.do(follows(right, old, 3))
    assert [alarm.key for alarm in alarms(memory, "cloned_agent")] == [old.incarnation]
    memory, alone = central(), Stream()
    memory.books.rivals = {old.incarnation: frozenset({alone.incarnation})}
    memory.do(follows(alone, old, 3))
    assert alarms(memory, "cloned_agent") == [], "it is no rival of its own"


# --- hellos ---------------------------------------------------------------------------------------


def test_a_hello_is_answered_for_each_incarnation_and_remembered() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(received(old))
    acks = memory.do(hello((old, 1, 1, 1), (new, 1, 0, 0)))
    assert [(ack.incarnation, ack.acked, ack.nonce, ack.history, ack.verdicts) for ack in acks] == [
        (old.incarnation, 1, "n-1", "h-1", []),
        (new.incarnation, 0, "n-1", "h-1", []),
    ]
    row = memory.books.agents.get("dock-2")
    assert row is not None
    assert (row.site, row.software, row.incarnation, row.hello_us, row.returns, row.connection) == (
        "lej1", "2.1", new.incarnation, memory.books.now_us, 0, 0,
    )  # fmt: skip
    assert memory.books.cursors[new.incarnation] == Cursor("dock-2", first_seen_us=memory.books.now_us + 1)
    assert memory.books.cursors[old.incarnation].acked == 1
    assert (memory.books.noted, memory.books.new_histories) == ([], [])
    memory.do(hello((new, 1, 0, 0), site="lej2"))
    assert memory.books.agents["dock-2"].site == "lej2"


def test_of_incarnations_that_one_hello_lists_the_later_one_is_the_younger() -> None:
    memory, lives = central(), [Stream() for _ in range(3)]
    memory.do(hello(*((one, 1, 0, 0) for one in lives)))
    seen = [memory.books.cursors[one.incarnation].first_seen_us for one in lives]
    assert seen == [memory.books.now_us + place for place in range(3)]


def test_a_range_that_is_lost_is_told_and_passed() -> None:
    memory, dock = central(), Stream()
    memory.do(received(dock))
    [ack] = memory.do(hello((dock, 4, 5, 1)))
    assert ack.acked == 3
    [alarm] = alarms(memory, "lost_range")
    assert (alarm.key, alarm.site) == (f"{dock.incarnation}:2-3", "lej1")
    for part in ("dock-2", "2 to 3", dock.incarnation):
        assert part in alarm.detail
    assert [noted.movement for noted in memory.books.noted] == [None]


def test_a_past_life_that_ends_below_what_was_received_was_set_back() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(received(old, 3))
    acks = memory.do(hello((old, 1, 2, 2), (new, 1, 0, 0)))
    [alarm] = alarms(memory, "agent_set_back")
    assert (alarm.key, alarm.expected, alarm.actual, acks[0].acked) == (old.incarnation, 3, 2, 3)
    assert "dock-2" in alarm.detail and old.incarnation in alarm.detail


def test_an_agent_that_knows_more_than_central_begins_a_new_history() -> None:
    memory, dock = central(), Stream()
    [ack] = memory.do(hello((dock, 1, 9, 9)))
    assert ack.history != "h-1" and memory.books.new_histories == [(ack.history, "rolled_back")]
    [again] = memory.do(hello((dock, 1, 9, 9)))
    assert again.history == ack.history


def test_a_history_that_nobody_here_knows_begins_a_new_one_and_is_known_then() -> None:
    memory, dock = central(), Stream()
    [ack] = memory.do(hello((dock, 1, 0, 0), history="elsewhere"))
    assert memory.books.new_histories == [("elsewhere", "foreign"), (ack.history, "unknown_history")]
    [again] = memory.do(hello((dock, 1, 0, 0), history="elsewhere"))
    assert again.history == ack.history


def test_two_lives_that_take_turns_are_two_processes() -> None:
    memory, left, right = central(), Stream(), Stream()
    for life in (left, right, left, right):
        memory.books.now_us += 1_000_000
        memory.do(hello((life, 1, 0, 0)))
        assert alarms(memory, "two_connections") == []
    memory.do(hello((left, 1, 0, 0)))
    [alarm] = alarms(memory, "two_connections")
    assert (alarm.key, alarm.site) == ("dock-2", "lej1") and "dock-2" in alarm.detail
    assert [noted.movement for noted in memory.books.noted] == [None]
    memory.do(hello((right, 1, 0, 0)))
    assert len(alarms(memory, "two_connections")) == 1, "the younger one has not returned"
    memory.do(hello((Stream(), 1, 0, 0)))
    assert memory.books.agents["dock-2"].returns == 0, "each new life is watched anew"


def test_a_hello_of_a_new_journal_forgets_the_connections_of_the_old_one() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(hello((old, 1, 0, 0)))
    memory.do(state(old, 81))
    memory.do(hello((old, 1, 0, 0)))
    assert memory.books.agents["dock-2"].connection == 81
    assert memory.books.agents["dock-2"].state is not None
    memory.do(hello((new, 1, 0, 0), history=None))
    assert memory.books.agents["dock-2"].connection == 0


# --- states ---------------------------------------------------------------------------------------


def test_a_state_is_kept_unless_it_is_of_an_older_connection() -> None:
    memory, dock = central(), Stream()
    assert memory.do(state(dock, 7)).body == {"ignored": False}
    row = memory.books.agents["dock-2"]
    assert (row.site, row.connection, row.state_us) == ("lej1", 7, memory.books.now_us)
    assert row.state is not None and '"connection":7' in row.state
    assert memory.do(state(dock, 6)).body == {"ignored": True}
    assert memory.do(state(dock, 7, "offline")).body == {"ignored": False}
    assert '"offline"' in str(memory.books.agents["dock-2"].state)
    memory.do(hello((dock, 1, 0, 0)))
    assert memory.books.agents["dock-2"].connection == 7


def test_the_last_will_of_an_older_life_is_ignored() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(hello((old, 1, 0, 0), (new, 1, 0, 0)))
    assert memory.do(state(new, 5)).body == {"ignored": False}
    assert memory.do(state(old, 9, "offline")).body == {"ignored": True}
    assert memory.books.agents["dock-2"].connection == 5
    assert alarms(memory, "two_connections") == []


def test_an_older_life_that_connects_again_is_a_second_process() -> None:
    memory, old, new = central(), Stream(), Stream()
    memory.do(hello((old, 1, 0, 0), (new, 1, 0, 0)))
    memory.do(state(new, 5))
    memory.do(state(old, 5))
    memory.do(state(old, 6, retained=True))
    assert alarms(memory, "two_connections") == []
    memory.do(state(old, 7))
    assert [(one.key, one.site) for one in alarms(memory, "two_connections")] == [("dock-2", "lej1")]

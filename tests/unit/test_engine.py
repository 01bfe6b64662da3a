"""The agent's six rules, one by one, and then all of them against a careless network."""

import hashlib
import itertools
import json
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync import engine as engine_module
from sync.engine import FOREIGN_S, Action, Engine, Publish, Read, Record, Reenter, Void
from sync.messages import Ack, Batch, Verdict, cut_batches
from sync.ranges import Ranges
from sync.stream import Stream

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def text(incarnation: str, sequence: int, id_: str) -> bytes:
    return json.dumps({"incarnation": incarnation, "sequence": sequence, "id": id_}).encode()


@dataclass
class Desk:
    """An engine, the journal it believes in, and what it said."""

    streams: list[Stream]
    history: str | None = None
    now: float = 100.0
    rows: dict[tuple[str, int], bytes] = field(default_factory=dict)
    said: list[Publish] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    others: list[Action] = field(default_factory=list)
    hold_reads: bool = False
    held: list[Read] = field(default_factory=list)

    def __post_init__(self) -> None:
        nonces = itertools.count(1)
        self.engine = Engine(
            agent="dock-1",
            site="lej1",
            software="test",
            history=self.history,
            streams=self.streams,
            new_nonce=lambda: f"n{next(nonces)}",
            random=lambda: 0.5,
        )
        for stream in self.streams:
            for sequence in range(stream.first_kept, stream.last + 1):
                self.rows[(stream.incarnation, sequence)] = text(
                    stream.incarnation, sequence, f"{stream.incarnation[0]}{sequence}"
                )

    def do(self, actions: list[Action]) -> None:
        todo = deque(actions)
        for done in itertools.count():
            if not todo:
                return
            assert done < 1000, "the engine asks without end"
            action = todo.popleft()
            if isinstance(action, Publish):
                self.said.append(action)
            elif isinstance(action, Read) and not self.hold_reads:
                todo.extend(self.engine.read(action, self.lookup(action)))
            elif isinstance(action, Read):
                self.held.append(action)
            elif isinstance(action, Record):
                self.records.append(action)
            else:
                self.others.append(action)

    def lookup(self, read: Read) -> list[Batch]:
        return cut_batches(
            [
                (sequence, row)
                for sequence in range(read.first, read.last + 1)
                if (row := self.rows.get((read.incarnation, sequence)))
            ]
        )

    def append(self, incarnation: str, count: int) -> None:
        last = self.engine.streams[incarnation].last
        for sequence in range(last + 1, last + count + 1):
            self.rows[(incarnation, sequence)] = text(incarnation, sequence, f"{incarnation[0]}{sequence}")
        self.do(self.engine.appended(incarnation, last + count, self.now))

    def ack(self, incarnation: str | None, acked: int = 0, **members: Any) -> None:
        members.setdefault("history", "H1")
        members.setdefault("safe", acked)
        members.setdefault("window", 1000)
        members.setdefault("nonce", None)
        verdicts = [
            Verdict(
                sequence=sequence, id=id_, outcome=outcome[0] if outcome else "accepted", movement=sequence
            )
            for sequence, id_, *outcome in members.pop("verdicts", [])
        ]
        self.do(
            self.engine.received_ack(
                Ack(incarnation=incarnation, acked=acked, verdicts=verdicts, **members), self.now
            )
        )

    def answer(self, incarnation: str, acked: int = 0, **members: Any) -> None:
        self.ack(incarnation, acked, nonce=self.hello()["nonce"], **members)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.engine.tick(self.now))

    def hello(self) -> Any:
        return json.loads([p for p in self.said if p.kind == "hello"][-1].payload)

    def hellos(self) -> int:
        return sum(p.kind == "hello" for p in self.said)

    def batches(self) -> list[list[int]]:
        return [
            [event["sequence"] for event in json.loads(p.payload)] for p in self.said if p.kind == "events"
        ]

    def last_payload_hash(self) -> str:
        return hashlib.sha256([p for p in self.said if p.kind == "events"][-1].payload).hexdigest()


def online(*streams: Stream, history: str | None = "H1") -> Desk:
    desk = Desk(list(streams) or [Stream(A)], history)
    desk.do(desk.engine.connected(desk.now))
    return desk


def answered(*streams: Stream) -> Desk:
    desk = online(*streams)
    for name in list(desk.engine.streams):
        desk.answer(name, desk.engine.streams[name].acked)
    assert desk.engine.answered
    desk.said.clear(), desk.records.clear()
    return desk


# --- rule 1: hello -------------------------------------------------------------------------------------


def test_hello_lists_every_incarnation_that_is_kept_and_an_empty_one_until_it_was_answered() -> None:
    empty, kept, answered_empty = (
        Stream(A),
        Stream(B, last=7, acked=5),
        Stream("d" * 32, first_kept=4, last=3, answered=True),
    )
    desk = online(empty, kept, answered_empty, Stream(C))
    hello = desk.hello()
    assert [
        (i["incarnation"], i["first_kept"], i["last_sequence"], i["acked"]) for i in hello["incarnations"]
    ] == [
        (A, 1, 0, 0),
        (B, 1, 7, 5),
        (C, 1, 0, 0),
    ]
    assert (hello["agent"], hello["site"], hello["history"], hello["reference"]) == (
        "dock-1",
        "lej1",
        "H1",
        None,
    )


def test_what_was_pruned_is_told_in_the_next_hello_and_no_longer_waited_for() -> None:
    desk = answered(Stream(B, last=9, acked=9), Stream(A))
    desk.engine.pruned(B, 5)
    desk.engine.pruned(B, 4)
    desk.tick(300)
    assert [(i["first_kept"], i["last_sequence"], i["acked"]) for i in desk.hello()["incarnations"]] == [
        (5, 9, 9),
        (1, 0, 0),
    ]
    desk.answer(B, 2)
    assert list(desk.engine.streams[B].lacking) == [(5, 9)], (
        "central was set back: what is left is sent again"
    )
    desk.engine.pruned(B, 8)
    assert (list(desk.engine.streams[B].lacking), desk.engine.queued) == ([(8, 9)], 2)


def test_what_was_sent_is_still_held() -> None:
    desk = answered()
    desk.append(A, 2), desk.append(A, 2)
    assert desk.batches() == [[1, 2], [3, 4]]
    desk.tick(300)
    assert desk.hello()["incarnations"][0]["first_kept"] == 1


def test_hello_is_repeated_after_one_second_doubling_until_each_incarnation_is_answered() -> None:
    desk = online(Stream(A, last=1), Stream(B))
    first = desk.hello()
    at = []
    while desk.now < 100 + 200:
        before = desk.hellos()
        desk.tick(0.5)
        if desk.hellos() > before:
            at.append(desk.now - 100)
    assert at == [1, 3, 7, 15, 31, 63, 123, 183]
    assert desk.hello() == first, "the same nonce until it is answered"
    desk.answer(A)
    assert not desk.engine.answered
    desk.answer(B)
    assert desk.engine.answered


def test_a_new_hello_is_said_every_five_minutes_and_sending_goes_on() -> None:
    desk = answered()
    desk.tick(269)
    assert desk.hellos() == 0
    desk.tick(1)
    assert desk.hellos() == 1
    desk.append(A, 2)
    assert desk.batches() == [[1, 2]]


def test_a_hello_lists_two_hundred_and_first_those_that_need_something() -> None:
    settled = [Stream(f"{n:032x}", last=1, answered=True) for n in range(300)]
    needy = Stream(B, last=1, lacking=Ranges([(1, 1)]))
    desk = online(*settled, needy, Stream(C))
    listed = [i["incarnation"] for i in desk.hello()["incarnations"]]
    assert len(listed) == 200
    assert listed[:198] == [s.incarnation for s in settled[:198]] and listed[198:] == [B, C]


# --- rule 2: sending -----------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_first_answer_and_then_the_oldest_first() -> None:
    desk = online(Stream(A, last=2, lacking=Ranges([(1, 2)])), Stream(B))
    desk.append(B, 1)
    assert desk.batches() == [] and desk.engine.queued == 3 and desk.engine.oldest == (A, 1)
    desk.answer(B)
    assert [e["incarnation"] for p in desk.said if p.kind == "events" for e in json.loads(p.payload)] == [B]
    desk.answer(A)
    assert desk.batches() == [[1], [1, 2]]


def test_never_more_than_the_window_is_unanswered() -> None:
    desk = online(Stream(A, last=10, lacking=Ranges([(1, 10)])))
    desk.answer(A, window=4)
    assert desk.batches() == [[1, 2, 3, 4]]
    desk.ack(A, 2, window=4, verdicts=[(1, "a1"), (2, "a2")])
    assert desk.batches()[1:] == [[5, 6]]
    desk.ack(A, 2, window=0)
    desk.ack(A, 3, window=0, verdicts=[(3, "a3")])
    assert len(desk.batches()) == 2
    desk.ack(A, 6, window=100, verdicts=[(4, "a4"), (5, "a5"), (6, "a6")])
    assert desk.batches()[2:] == [[7, 8, 9, 10]]


def test_a_window_that_narrows_while_events_are_read_holds_for_them() -> None:
    desk = Desk([Stream(A, last=5, lacking=Ranges([(1, 5)]))], hold_reads=True)
    desk.do(desk.engine.connected(desk.now))
    desk.answer(A)
    desk.ack(A, window=2)
    desk.hold_reads = False
    desk.do(desk.engine.read(desk.held[0], desk.lookup(desk.held[0])))
    assert desk.batches() == [[1, 2]]


def test_batches_hold_a_hundred_events_and_reads_are_bounded() -> None:
    desk = answered()
    desk.append(A, 1500)
    assert [len(b) for b in desk.batches()] == [100] * 10
    desk.hold_reads = True
    desk.ack(A, 1000, verdicts=[(n, f"a{n}") for n in range(1, 1001)])
    assert [(r.first, r.last) for r in desk.held] == [(1001, 1500)]


def test_when_nothing_moves_for_five_seconds_a_new_hello_doubling_and_everything_again() -> None:
    desk = answered()
    desk.append(A, 1)
    first = desk.batches()
    gaps = []
    for _ in range(5):
        since = desk.now
        hellos = desk.hellos()
        while desk.hellos() == hellos and desk.now < since + 100:
            desk.tick(0.5)
        gaps.append(desk.now - since)
        desk.answer(A)
    assert gaps == [5, 10, 20, 40, 60]
    assert desk.batches() == first * 6
    desk.ack(A, 1, verdicts=[(1, "a1")])
    desk.append(A, 1)
    hellos = desk.hellos()
    desk.tick(4.5)
    assert desk.hellos() == hellos
    desk.tick(0.5)
    assert desk.hellos() == hellos + 1, "what moved resets the wait"


def test_central_that_comes_further_has_moved_though_its_verdicts_are_lost() -> None:
    desk = answered()
    desk.append(A, 2)
    desk.tick(4.5)
    desk.ack(A, 1)
    desk.tick(4.5)
    assert desk.hellos() == 0
    desk.tick(0.5)
    assert desk.hellos() == 1


def test_the_answer_to_a_periodic_hello_moves_nothing() -> None:
    desk = answered()
    desk.tick(268)
    desk.append(A, 1)
    desk.tick(2)
    desk.answer(A)
    assert desk.hellos() == 1
    desk.tick(3)
    assert desk.hellos() == 2, "five seconds after the event was sent"


def test_an_answer_that_says_nothing_new_is_not_written_down() -> None:
    desk = answered(Stream(A, last=3, acked=1, safe=1, lacking=Ranges([(2, 3)])))
    desk.tick(300)
    desk.answer(A, 1)
    assert desk.hellos() == 1 and desk.records == []


def test_a_stall_is_also_noticed_with_window_zero() -> None:
    desk = online(Stream(A, last=1, lacking=Ranges([(1, 1)])))
    desk.answer(A, window=0)
    desk.tick(5)
    assert desk.hellos() == 2


def test_after_a_disconnect_nothing_is_said_and_all_is_sent_again() -> None:
    desk = answered()
    desk.append(A, 2)
    desk.engine.disconnected()
    desk.append(A, 1)
    desk.tick(1000)
    assert desk.hellos() == 0
    desk.ack(None, history="H9")
    assert desk.hellos() == 0
    desk.do(desk.engine.connected(desk.now))
    desk.answer(A)
    assert desk.batches() == [[1, 2], [1, 2, 3]]


def test_what_the_journal_no_longer_holds_is_not_waited_for() -> None:
    desk = Desk([Stream(A, last=5, lacking=Ranges([(1, 5)]))], "H1")
    del desk.rows[A, 3]
    desk.do(desk.engine.connected(desk.now))
    desk.answer(A)
    assert desk.batches() == [[1, 2], [4, 5]]
    assert desk.engine.streams[A].lacking == Ranges([(1, 2), (4, 5)])
    assert desk.engine.streams[A].first_kept == 1
    desk = Desk([Stream(A, last=5, lacking=Ranges([(2, 5)]))], "H1")
    desk.rows.clear()
    desk.do(desk.engine.connected(desk.now))
    desk.answer(A, 1)
    assert (desk.batches(), desk.engine.queued, desk.engine.streams[A].first_kept) == ([], 0, 6)


def test_what_the_journal_let_go_of_without_a_word_is_told_in_the_next_hello() -> None:
    desk = Desk([Stream(A, last=5, acked=5, safe=5)], "H1")
    for sequence in (1, 2, 3):
        del desk.rows[(A, sequence)]
    desk.do(desk.engine.connected(desk.now))
    desk.answer(A, 0)  # central was set back
    assert desk.batches() == [[4, 5]]
    desk.tick(6)
    assert desk.hello()["incarnations"][0]["first_kept"] == 4


def test_rows_of_an_old_question_are_ignored_and_what_the_journal_no_longer_holds_is_let_go() -> None:
    desk = answered()
    desk.hold_reads = True
    desk.append(A, 3)
    desk.tick(5)
    desk.do(desk.engine.read(desk.held[0], desk.lookup(desk.held[0])))
    assert desk.batches() == []
    desk.hold_reads = False
    del desk.rows[(A, 2)]
    desk.answer(A)
    assert desk.batches() == [[1], [3]] and desk.engine.queued == 2


# --- rule 3: answers, histories, verdicts -----------------------------------------------------------------


def test_only_an_answer_lowers_acked_and_what_is_above_is_sent_again() -> None:
    desk = answered(Stream(A, last=3, acked=3))
    desk.ack(A, 1)
    assert desk.engine.streams[A].acked == 3
    desk.tick(300)
    desk.answer(A, 1)
    assert desk.engine.streams[A].acked == 1 and desk.batches() == [[2, 3]]
    desk.answer(A, 0)
    assert desk.engine.streams[A].acked == 1, "a second answer to the same nonce lowers nothing"


def test_an_ack_of_another_history_is_answered_by_one_hello_a_second_and_otherwise_ignored() -> None:
    desk = answered()
    desk.append(A, 1)
    desk.now += FOREIGN_S
    desk.ack(A, 1, history="H2", verdicts=[(1, "a1")])
    desk.ack(A, 1, history="H2", verdicts=[(1, "a1")])
    assert desk.hellos() == 1 and desk.engine.queued == 1 and desk.engine.history == "H1"


def test_an_ack_of_another_history_right_after_a_hello_is_asked_about_a_little_later() -> None:
    desk = answered()
    desk.ack(A, 1, history="H2")
    desk.tick(0.5)
    assert desk.hellos() == 0
    desk.tick(0.6)
    assert desk.hellos() == 1


def test_a_new_history_forgets_acked_elsewhere_and_verdicts_above_safe() -> None:
    desk = answered(Stream(A, last=5, acked=5, safe=3), Stream(B, last=4, acked=4, safe=4))
    desk.ack(A, 5, safe=3), desk.ack(B, 4, safe=4)
    desk.records.clear()
    desk.tick(300)
    desk.answer(B, 2, history="H2", safe=2)
    [record] = desk.records
    assert record.history == "H2" and dict(record.forget_above) == {A: 3, B: 2}
    assert desk.engine.history == "H2" and desk.engine.streams[A].acked == 0
    assert desk.batches() == [[3, 4]], "of A nothing is sent before it is answered in this history"
    desk.answer(A, 3, history="H2", safe=3)
    assert desk.batches() == [[3, 4], [4, 5]]


def test_what_central_never_had_is_not_safe_whatever_it_says() -> None:
    desk = answered(Stream(A, last=5))
    desk.ack(A, 2, safe=9)
    assert desk.engine.streams[A].safe == 2 and desk.records[-1].streams == ((A, 2, 2, True),)


def test_a_central_restored_to_before_what_it_called_safe_gets_everything_above_its_acked() -> None:
    """Of several incarnations only the one whose answer came first is known to be below; the others say so later."""
    desk = answered(Stream(A, last=5, acked=5, safe=5), Stream(B, last=4, acked=4, safe=4))
    desk.tick(300)
    desk.answer(B, 2, history="H2", safe=2)
    desk.records.clear()
    desk.answer(A, 3, history="H2", safe=3)
    assert desk.batches() == [[3, 4], [4, 5]]
    [record] = desk.records
    assert (record.history, record.forget_above) == (None, ((A, 3),)), (
        "its verdicts are of the history that is gone"
    )


def test_an_old_ack_that_comes_late_hides_nothing_that_a_restored_central_lacks() -> None:
    desk = answered(Stream(A, last=5, acked=5, safe=5), Stream(B, last=4, acked=4, safe=4))
    desk.tick(300)
    desk.answer(B, 4, history="H2", safe=4)
    desk.ack(A, 3, history="H2", safe=3)
    desk.answer(A, 3, history="H2", safe=3)
    assert desk.batches() == [[4, 5]]


def test_the_answer_to_a_periodic_hello_sends_nothing_again_that_is_on_its_way() -> None:
    desk = answered()
    desk.tick(269)
    desk.append(A, 3)
    desk.tick(2)
    assert desk.hellos() == 1
    desk.answer(A, 0)
    assert desk.batches() == [[1, 2, 3]]


def test_one_nonce_changes_the_history_once() -> None:
    desk = online(history=None)
    desk.answer(A, history="H1")
    desk.now += 2
    desk.answer(A, history="H2")
    assert desk.engine.history == "H1" and desk.hellos() == 2
    desk.answer(A, history="H2")
    assert desk.engine.history == "H2"


def test_a_history_that_changes_twice_while_a_hello_is_answered_is_asked_about_anew() -> None:
    desk = online(Stream(A), Stream(B))
    desk.answer(A, history="H2")  # that of B gets lost, and central is restored once more
    for _ in range(5):
        hellos = desk.hellos()
        desk.tick(1)
        if desk.hellos() > hellos:
            desk.answer(A, history="H3")
            desk.answer(B, history="H3")
    assert desk.engine.history == "H3" and desk.engine.answered


def test_what_comes_before_the_first_connect_is_ignored() -> None:
    desk = Desk([Stream(A, last=1, lacking=Ranges([(1, 1)]))], "H1")
    desk.ack(A, 1, history="H2", verdicts=[(1, "a1")])
    assert desk.engine.queued == 1 and desk.said == [] and desk.records == []
    assert not desk.engine.answered


def test_of_two_verdicts_on_one_place_that_counts_which_names_its_event() -> None:
    desk = answered()
    desk.append(A, 1)
    desk.ack(A, 1, verdicts=[(1, "of another"), (1, "a1")])
    assert [verdict.id for _, verdict in desk.records[-1].verdicts] == ["a1"]


def test_an_ack_of_an_incarnation_that_is_not_ours_changes_nothing() -> None:
    desk = answered()
    desk.ack(C, 9), desk.ack(None, 9)
    assert desk.records == [] and desk.said == []


def test_what_is_at_or_below_acked_without_a_verdict_is_published_again() -> None:
    desk = online(Stream(A, last=3, acked=3, lacking=Ranges([(2, 2)])))
    desk.answer(A, 3)
    assert desk.batches() == [[2]]


def test_verdicts_are_matched_by_id_and_written_once() -> None:
    desk = answered()
    desk.append(A, 2)
    desk.ack(A, 2, verdicts=[(1, "somebody else's"), (2, "a2"), (7, "a7")])
    desk.ack(A, 2, verdicts=[(2, "a2")])
    [record] = desk.records
    assert [(inc, v.id) for inc, v in record.verdicts] == [(A, "a2")]
    assert desk.engine.queued == 1 and desk.engine.oldest == (A, 1)
    desk.tick(5)
    desk.answer(A, 2)
    desk.ack(A, 2, verdicts=[(1, "a1")])
    assert desk.engine.queued == 0 and desk.engine.oldest is None


# --- rule 5: unreadable -----------------------------------------------------------------------------------


def test_an_unreadable_batch_is_sent_singly_and_an_unreadable_single_becomes_a_void() -> None:
    desk = answered()
    desk.append(A, 3)
    whole = desk.last_payload_hash()
    desk.append(A, 1)
    desk.ack(None, problem="unreadable", payload=whole)
    assert desk.batches() == [[1, 2, 3], [4], [1]], "one at a time: what follows a bad one only meets a gap"
    desk.ack(A, 1, verdicts=[(1, "a1")])
    desk.ack(None, problem="unreadable", payload=desk.last_payload_hash())
    assert desk.others == [Void(A, 2)]
    desk.append(A, 1)
    assert desk.batches()[3:] == [[2]], "nothing overtakes the void"
    desk.rows[(A, 2)] = text(A, 2, "a2").replace(b"}", b', "void": 1}')
    desk.do(desk.engine.voided(A, 2))
    assert desk.batches()[4:] == [[2]]
    desk.ack(None, problem="unreadable", payload=desk.last_payload_hash())
    assert desk.others == [Void(A, 2)] and len(desk.batches()) == 5, (
        "the stall timer decides when to try again"
    )
    desk.ack(A, 2, verdicts=[(2, "a2")])
    desk.ack(A, 3, verdicts=[(3, "a3")])
    assert desk.batches()[5:] == [[3], [4, 5]]


def test_an_unreadable_message_that_is_not_ours_or_is_settled_is_ignored() -> None:
    desk = answered()
    desk.append(A, 1)
    single = desk.last_payload_hash()
    desk.ack(None, problem="unreadable", payload="f" * 64)
    desk.ack(None, problem="unreadable")
    desk.ack(A, 1, verdicts=[(1, "a1")])
    desk.ack(None, problem="unreadable", payload=single)
    desk.do(desk.engine.voided(A, 1))
    assert desk.others == [] and desk.batches() == [[1]]


def test_names_of_messages_are_forgotten_when_they_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "READ_EVENTS", 2)
    monkeypatch.setattr(engine_module, "MOST_IN_FLIGHT", 3)
    desk = answered()
    for n in range(1, 6):
        desk.append(A, 1)
        if n < 3:
            desk.ack(A, n, verdicts=[(n, f"a{n}")])
    assert len(desk.engine._batches) == 3
    assert desk.batches() == [[1], [2], [3], [4], [5]], "three at most are unanswered"
    desk.engine._batches.update((f"x{n}", (A, 5, 5)) for n in range(5))
    desk.tick(5)
    desk.answer(A, 2)
    assert len(desk.engine._batches) == 3, "and the names kept are bounded whatever happens"


# --- rule 6: forks -------------------------------------------------------------------------------------------


def test_a_fork_of_the_current_incarnation_is_left_for_a_new_one() -> None:
    desk = answered(Stream(A, last=1, acked=1), Stream(B))
    desk.append(B, 2)
    desk.ack(C, 1, problem="fork")
    assert desk.others == [], "of an incarnation that is not kept it means nothing"
    desk.ack(B, 2, problem="fork", verdicts=[(1, "b1")])
    desk.ack(B, 2, problem="fork")
    assert desk.others == [Reenter(B)]
    desk.append(B, 1)
    assert desk.batches() == [[1, 2]], "nothing is sent until the journal has moved"
    desk.rows[(C, 1)] = text(C, 1, "b2")
    desk.do(
        desk.engine.reentered(
            [Stream(B, last=2, acked=2), Stream(C, last=1, lacking=Ranges([(1, 1)]))], desk.now
        )
    )
    assert desk.engine.current == C and desk.hellos() == 1
    desk.answer(B, 2), desk.answer(C)
    assert desk.batches()[1:] == [[1]]
    desk.ack(C, 1, verdicts=[(1, "b2")])
    assert desk.engine.queued == 0


def test_a_fork_of_a_past_incarnation_is_left_for_the_current_one() -> None:
    """The agent died before it could enter elsewhere what was in conflict, or heard of it only in its next life."""
    desk = answered(Stream(A, last=2, acked=1, lacking=Ranges([(2, 2)])), Stream(B, last=1, acked=1))
    desk.ack(A, 2, problem="fork", verdicts=[(2, "a2", "conflict")])
    assert desk.others == [Reenter(A)]
    assert all(record.verdicts == () for record in desk.records), (
        "until it stands elsewhere it lacks a verdict"
    )
    left = Stream(A, last=2, acked=2, left=True, lacking=Ranges())
    desk.rows[(B, 2)] = text(B, 2, "a2")
    desk.do(desk.engine.reentered([left, Stream(B, last=2, lacking=Ranges([(2, 2)]))], desk.now))
    desk.answer(A, 2), desk.answer(B, 1)
    desk.others.clear()
    desk.ack(A, 2, problem="fork")
    assert desk.others == [], "of one that was left it means nothing"
    assert desk.batches()[-1] == [2]


def test_an_incarnation_left_for_another_is_listed_only_while_it_holds_something() -> None:
    emptied = Stream(A, first_kept=6, last=5, acked=1, left=True)
    holding = Stream(B, first_kept=1, last=5, acked=1, left=True)
    listed = online(emptied, holding, Stream(C)).hello()["incarnations"]
    assert [i["incarnation"] for i in listed] == [B, C], "what was moved is not lost"


def test_what_was_entered_elsewhere_is_not_looked_for_at_its_old_place() -> None:
    desk = online(Stream(A, last=9, acked=3, safe=3, left=True, lacking=Ranges()), Stream(B))
    desk.hold_reads = True
    desk.answer(A, 3), desk.answer(B, 0)
    assert desk.held == [] and desk.engine.queued == 0


def test_what_lacks_a_verdict_again_in_a_left_incarnation_is_entered_into_the_current_one() -> None:
    """It has holes where events were entered elsewhere: a central that was restored would wait for these for ever,
    and what is sent above them would fill the window, so that nothing else came through either.
    """
    desk = answered(
        Stream(A, last=9, acked=9, safe=5, left=True, lacking=Ranges()), Stream(B, last=1, acked=1)
    )
    desk.ack(A, 9, safe=1), desk.records.clear()
    assert desk.engine.streams[A].safe == 9, (
        "it tells up to where there are verdicts, and they are not asked for again"
    )
    desk.tick(300)
    desk.answer(B, 1, history="H2")
    assert desk.others == [Reenter(A)] and (A, 9) in desk.records[-1].forget_above
    desk.others.clear()
    streams = [Stream(A, last=9, acked=0, safe=9, left=True, lacking=Ranges()), Stream(B, last=1, acked=1)]
    desk.do(desk.engine.reentered(streams, desk.now))
    desk.answer(A, 3, history="H2")
    assert desk.others == [Reenter(A)] and (A, 3) in desk.records[-1].forget_above
    desk.do(
        desk.engine.reentered([Stream(A, last=9, acked=3, safe=3, left=True, lacking=Ranges([(4, 4)]))], 1.0)
    )
    assert desk.batches() == []


def test_what_an_agent_that_died_had_yet_to_enter_elsewhere_is_entered_at_the_next_answer() -> None:
    desk = online(Stream(A, last=9, acked=3, safe=3, left=True, lacking=Ranges([(4, 5)])), Stream(B))
    desk.answer(B), desk.answer(A, 3)
    assert desk.others == [Reenter(A)] and desk.batches() == []


def test_what_is_recorded_while_events_of_a_left_incarnation_are_entered_is_sent_too() -> None:
    """The journal looked before it was recorded, and the current incarnation stays."""
    desk = online(Stream(A, last=9, acked=3, safe=3, left=True, lacking=Ranges([(4, 4)])), Stream(B))
    desk.answer(B), desk.answer(A, 3)
    assert desk.others == [Reenter(A)]
    desk.append(B, 2)
    entered = Stream(B, last=1, lacking=Ranges([(1, 1)]))
    desk.do(
        desk.engine.reentered([Stream(A, last=9, acked=3, safe=3, left=True, lacking=Ranges()), entered], 1.0)
    )
    assert desk.engine.queued == 2, "before central says anything"
    desk.answer(A, 3), desk.answer(B)
    assert desk.batches() == [[1, 2]] and desk.engine.queued == 2


def test_a_fork_that_is_mended_offline_is_told_at_the_next_connect() -> None:
    desk = answered()
    desk.engine.disconnected()
    desk.do(desk.engine.reentered([Stream(A, last=1), Stream(C)], desk.now))
    assert desk.hellos() == 0
    desk.do(desk.engine.connected(desk.now))
    assert [i["incarnation"] for i in desk.hello()["incarnations"]] == [A, C]


def test_what_is_recorded_while_the_new_incarnation_begins_is_not_forgotten() -> None:
    desk = answered(Stream(A, last=1, acked=1))
    desk.ack(A, 1, problem="fork")
    desk.do(desk.engine.appended(C, 1, desk.now))
    desk.do(desk.engine.appended(C, 2, desk.now))
    for sequence in (1, 2):
        desk.rows[(C, sequence)] = text(C, sequence, f"c{sequence}")
    desk.do(desk.engine.reentered([Stream(A, last=1), Stream(C, last=1, lacking=Ranges([(1, 1)]))], desk.now))
    assert desk.hello()["incarnations"][-1]["last_sequence"] == 2
    desk.answer(A, 1), desk.answer(C)
    assert desk.batches() == [[1, 2]]


# --- all of it -----------------------------------------------------------------------------------------------


class LittleCentral:
    """Applies strictly in order, remembers every verdict; written from the contract, sharing nothing."""

    def __init__(self) -> None:
        self.history = "H1"
        self.places: dict[tuple[str, int], str] = {}
        self.booked: dict[str, int] = {}
        self.acked: dict[str, int] = {}

    def ack(self, incarnation: str, nonce: str | None = None, verdicts: tuple[Verdict, ...] = ()) -> Ack:
        acked = self.acked.get(incarnation, 0)
        return Ack(
            history=self.history,
            nonce=nonce,
            incarnation=incarnation,
            acked=acked,
            safe=acked,
            window=5,
            verdicts=list(verdicts),
        )

    def hear(self, published: Publish) -> list[Ack]:
        body = json.loads(published.payload)
        if published.kind == "hello":
            return [self.ack(i["incarnation"], body["nonce"]) for i in body["incarnations"]]
        verdicts = []
        for event in body:
            incarnation, sequence = event["incarnation"], event["sequence"]
            if sequence == self.acked.get(incarnation, 0) + 1:
                self.acked[incarnation] = sequence
                self.booked[event["id"]] = self.booked.get(event["id"], 0) + 1
            elif sequence > self.acked.get(incarnation, 0):
                break
            verdicts.append(Verdict(sequence=sequence, id=event["id"], outcome="accepted"))
        return [self.ack(body[0]["incarnation"], verdicts=tuple(verdicts))]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_through_a_careless_network_every_event_gets_one_verdict(seed: int) -> None:
    dice = random.Random(seed)
    desk = online(Stream(A, last=3, lacking=Ranges([(1, 3)])), Stream(B), history=None)
    central = LittleCentral()
    wire: list[Publish | Ack] = []
    for step in range(400):
        # Trouble for 200 steps, then calm: what is left drains.
        calm = step > 200
        if not calm and dice.random() < 0.3:
            desk.append(B, dice.randint(1, 4))
        if not calm and dice.random() < 0.05:
            desk.engine.disconnected()
            wire.clear()
            desk.do(desk.engine.connected(desk.now))
        wire += desk.said
        desk.said.clear()
        for _ in range(len(wire) if calm else min(1, len(wire))):
            place = 0 if calm else dice.randrange(min(3, len(wire)))
            message = wire.pop(place)
            if not calm and dice.random() < 0.2:
                wire.append(message)
            if calm or dice.random() > 0.2:
                if isinstance(message, Ack):
                    desk.do(desk.engine.received_ack(message, desk.now))
                else:
                    wire += central.hear(message)
        desk.tick(1.0 if calm else dice.choice((0.1, 1.0, 6.0)))
    assert desk.engine.queued == 0
    assert all(count == 1 for count in central.booked.values())
    assert len(central.booked) == 3 + desk.engine.streams[B].last
    # A verdict may be told twice (an answer that overtook others lowers `acked`), but none is missing.
    assert {v.id for record in desk.records for _, v in record.verdicts} == set(central.booked)

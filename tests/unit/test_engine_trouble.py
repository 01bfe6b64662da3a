"""What goes wrong between an agent and central, as tables; and then at random: lost, late and doubled messages,
agents that start again, a central that is restored, and one that cannot read what it gets.
"""

import copy
import json
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.engine import (
    ASK_S,
    MOST_IN_FLIGHT,
    READ_EVENTS,
    Engine,
    Publish,
    Read,
    Record,
    Reenter,
    Void,
)
from sync.messages import BATCH_EVENTS, MAX_INCARNATIONS, Ack, Verdict, cut_batches
from sync.ranges import Ranges
from sync.stream import Stream
from tests.unit.test_engine import A, B, C, answered, online

# --- acks, one after the other --------------------------------------------------------------------------

Said = dict[str, Any]
"""Members of an ack; `to`: the hello whose nonce it echoes, counted from 1."""


@pytest.mark.parametrize(
    ("acks", "acked", "history"),
    [
        pytest.param([{"acked": 3}, {"acked": 1}], 3, "H1", id="an older one that comes late"),
        pytest.param([{"acked": 3}, {"acked": 3}], 3, "H1", id="one that comes twice"),
        pytest.param([{"acked": 1, "to": 1}], 2, "H1", id="an answer to the hello before the latest"),
        pytest.param([{"acked": 1, "to": 2}], 1, "H1", id="an answer to the latest"),
        pytest.param([{"acked": 1, "to": 2}, {"acked": 0, "to": 2}], 1, "H1", id="a second answer to it"),
        pytest.param([{"acked": 3}, {"acked": 1, "to": 2}], 1, "H1", id="an answer that overtook an ack"),
        pytest.param([{"acked": 1, "to": 2}, {"acked": 3}], 3, "H1", id="an ack that overtook an answer"),
        pytest.param([{"acked": 4, "history": "H2"}], 2, "H1", id="another history, unasked"),
        pytest.param(
            [{"acked": 1, "to": 1, "history": "H2"}], 2, "H1", id="another history, for an old hello"
        ),
        pytest.param([{"acked": 1, "to": 2, "history": "H2"}], 1, "H2", id="another history, for the latest"),
        pytest.param(
            [{"acked": 1, "to": 2, "history": "H2"}, {"acked": 4}], 1, "H2", id="the old history, afterwards"
        ),
        pytest.param(
            [{"acked": 1, "to": 2, "history": "H2"}, {"acked": 0, "to": 2, "history": "H3"}],
            1,
            "H2",
            id="two histories for one hello",
        ),
    ],
)
def test_only_the_answer_to_the_latest_hello_lowers_and_changes(
    acks: list[Said], acked: int, history: str
) -> None:
    desk = online(Stream(A, last=4, acked=2, safe=2, lacking=Ranges([(3, 4)])))
    desk.answer(A, 2)
    desk.tick(5)
    for ack in acks:
        echo = {1: "n1", 2: "n2"}.get(ack.get("to", 0))
        desk.ack(A, ack["acked"], nonce=echo, history=ack.get("history", "H1"))
    assert (desk.engine.streams[A].acked, desk.engine.history) == (acked, history)


def test_what_the_answer_of_a_new_history_calls_safe_is_all_that_is_left_of_the_old_one() -> None:
    desk = answered(Stream(A, last=9, acked=9, safe=7))
    desk.ack(A, 9, safe=7)
    desk.tick(300)
    desk.answer(A, 8, safe=5, history="H2")
    assert (A, 5) in desk.records[-1].forget_above
    assert desk.engine.streams[A].lacking == Ranges([(6, 9)])


def test_a_hello_that_nobody_answers_is_repeated_with_its_nonce_however_much_waits() -> None:
    desk = online(Stream(A, last=5, lacking=Ranges([(1, 5)])), Stream(B))
    desk.answer(B)
    for _ in range(40):
        desk.tick(0.5)
    assert desk.hellos() > 3 and desk.hello()["nonce"] == "n1"


def test_what_changes_while_events_are_read_costs_none_of_those_that_follow() -> None:
    """Some were let go of meanwhile, or the window has become narrower: the rest still needs its verdicts."""
    many = 3 * BATCH_EVENTS
    for meanwhile in ("pruned", "narrowed", "narrowed by one"):
        desk = answered()
        desk.hold_reads = True
        desk.append(A, many)
        asked = desk.held[0]
        batches, sent = desk.lookup(asked), len(desk.batches())
        if meanwhile == "pruned":
            desk.engine.pruned(A, 3)
        else:
            desk.ack(A, window=BATCH_EVENTS + (1 if meanwhile == "narrowed" else -1))
        desk.do(desk.engine.read(asked, batches))
        kept = 3 if meanwhile == "pruned" else 1
        assert desk.engine.streams[A].lacking == Ranges([(kept, many)]), meanwhile
        assert len(desk.batches()) - sent == {"pruned": 2, "narrowed": 1, "narrowed by one": 0}[meanwhile]


@pytest.mark.parametrize(
    ("window", "batches"),
    [(0, []), (1, [[1]]), (2, [[1, 2]]), (5, [[1, 2, 3, 4, 5]]), (9, [[1, 2, 3, 4, 5]])],
)
def test_a_window_is_how_many_are_on_their_way(window: int, batches: list[list[int]]) -> None:
    desk = online(Stream(A, last=5, lacking=Ranges([(1, 5)])))
    desk.answer(A, window=window)
    assert desk.batches() == batches
    for sequence in range(1, 6):
        desk.ack(A, sequence, window=window, verdicts=[(sequence, f"a{sequence}")])
    assert desk.engine.queued == (0 if window else 5), "what was never sent has no verdict"


def test_what_comes_faster_than_it_is_answered_goes_together() -> None:
    desk = answered()
    for _ in range(10):
        desk.append(A, 1)
    assert desk.batches() == [[1], [2], [3], [4]]
    desk.ack(A, 1, verdicts=[(1, "a1")])
    assert desk.batches()[4:] == [[5, 6, 7, 8, 9, 10]]
    desk.append(A, 1)
    desk.ack(A, 4, verdicts=[(n, f"a{n}") for n in (2, 3, 4)])
    assert desk.batches()[5:] == [[11]], "alone again"
    for _ in range(2):
        desk.append(A, 1)
    desk.append(A, 99)
    assert desk.batches()[6:] == [[12], [13]]
    desk.append(A, 1)
    assert desk.batches()[8:] == [[*range(14, 114)]], "a full one waits for nobody"


def test_a_window_that_opens_again_is_used_at_once() -> None:
    desk = online(Stream(A, last=2, lacking=Ranges([(1, 2)])))
    desk.answer(A, window=0)
    desk.ack(A, 0, window=1)
    assert desk.batches() == [[1]]


def test_nothing_overtakes_what_waits_for_a_window_that_narrowed() -> None:
    desk = online(Stream(A, last=102, lacking=Ranges([(1, 102)])))
    desk.hold_reads = True
    desk.answer(A, window=1000)
    desk.ack(A, 0, window=5)
    desk.hold_reads = False
    desk.do(desk.engine.read(desk.held[0], desk.lookup(desk.held[0])))
    assert desk.batches() == [[1, 2, 3, 4, 5]], "not the two that were read behind the hundred"


def test_a_verdict_that_was_lost_is_asked_for_again() -> None:
    """Central has booked both; its ack never came."""
    desk = answered()
    desk.append(A, 2)
    desk.tick(5)
    desk.answer(A, 2)
    assert desk.batches() == [[1, 2], [1, 2]] and desk.engine.queued == 2
    desk.ack(A, 2, verdicts=[(2, "a2"), (1, "a1")])
    assert desk.engine.queued == 0, "in no promised order"


def test_what_was_told_and_does_not_fit_is_asked_for_by_one_hello_after_the_other() -> None:
    desk = answered()
    desk.append(A, 1)
    desk.now += ASK_S
    desk.do(desk.engine.ask(desk.now)), desk.do(desk.engine.ask(desk.now))
    assert desk.hellos() == 1
    desk.answer(A, 0)
    desk.tick(ASK_S)
    assert desk.hellos() == 2 and desk.batches() == [[1]], "and what is on its way stays there"
    desk.engine.disconnected()
    assert desk.engine.ask(desk.now) == []


def test_a_verdict_that_comes_while_its_event_is_read_again_is_not_asked_for_again() -> None:
    desk = answered()
    desk.append(A, 3)
    desk.tick(5)
    desk.hold_reads = True
    desk.answer(A, 0)
    desk.ack(A, 0, verdicts=[(2, "a2")])
    desk.hold_reads = False
    desk.do(desk.engine.read(desk.held[0], desk.lookup(desk.held[0])))
    assert desk.batches() == [[1, 2, 3], [1], [3]]


def test_an_incarnation_that_is_never_answered_keeps_no_other_from_being_sent_again() -> None:
    desk = online(Stream(A, last=1, lacking=Ranges([(1, 1)])), Stream(B))
    desk.append(B, 1)
    desk.answer(B, window=10)
    assert desk.batches() == [[1]]
    sent = []
    for _ in range(240):
        desk.tick(0.5)
        if desk.hello()["nonce"] not in sent:
            sent.append(desk.hello()["nonce"])
            desk.answer(B, window=10)
    assert len(desk.batches()) == len(sent) >= 4, "each stall says it again, ever more seldom"
    assert desk.hellos() < 40


def test_more_incarnations_than_a_hello_can_list_are_emptied_one_part_after_the_other() -> None:
    many = [Stream(f"{n:032x}", last=1, lacking=Ranges([(1, 1)])) for n in range(450)]
    desk = online(*many, Stream(C))
    for _ in range(60):
        for listed in desk.hello()["incarnations"]:
            name = listed["incarnation"]
            desk.answer(name, 0)
            if listed["last_sequence"]:
                desk.ack(name, 1, verdicts=[(1, f"{name[0]}1")])
        if not desk.engine.queued:
            break
        desk.tick(5)
    assert desk.engine.queued == 0 and desk.hellos() < 10


@pytest.mark.parametrize("needs", ["verdicts", "an answer"])
def test_of_more_incarnations_than_a_hello_can_list_those_come_first_that_need_something(needs: str) -> None:
    settled = [Stream(f"{n:032x}", last=1, acked=1, answered=True) for n in range(MAX_INCARNATIONS)]
    if needs == "verdicts":
        needy = Stream(A, last=1, answered=True, lacking=Ranges([(1, 1)]))
    else:
        needy = Stream(A, last=1, acked=1)
    listed = [one["incarnation"] for one in online(*settled, needy, Stream(C)).hello()["incarnations"]]
    assert listed == [*(one.incarnation for one in settled[: MAX_INCARNATIONS - 2]), A, C]


@pytest.mark.parametrize("trouble", ["reading", "voiding", "singly", "entering"])
def test_a_history_that_changes_in_the_middle_of_something_forgets_nothing(trouble: str) -> None:
    desk = online(Stream(A, last=3, acked=1, safe=1, lacking=Ranges([(2, 3)])), Stream(B))
    desk.hold_reads = trouble == "reading"
    desk.answer(A, 1), desk.answer(B)
    if trouble in ("voiding", "singly"):
        desk.ack(None, problem="unreadable", payload=desk.last_payload_hash())
    if trouble == "voiding":
        desk.ack(None, problem="unreadable", payload=desk.last_payload_hash())
        assert desk.others == [Void(A, 2)]
    if trouble == "entering":
        desk.ack(B, 0, problem="fork")
        assert desk.others == [Reenter(B)]
    held = list(desk.held)
    desk.tick(300)
    desk.answer(A, 0, history="H2"), desk.answer(B, history="H2")
    desk.hold_reads = False
    for read in held:
        desk.do(desk.engine.read(read, desk.lookup(read)))
    for read in desk.held[len(held) :]:
        desk.do(desk.engine.read(read, desk.lookup(read)))
    if trouble == "voiding":
        desk.do(desk.engine.voided(A, 2))
    if trouble == "entering":
        streams = [Stream(A, last=3, lacking=Ranges([(1, 3)])), Stream(B), Stream(C)]
        desk.do(desk.engine.reentered(streams, desk.now))
        for name in (A, B, C):
            desk.answer(name, history="H2")
    for sequence in (1, 2, 3):
        desk.ack(A, sequence, history="H2", verdicts=[(sequence, f"a{sequence}")])
    assert desk.engine.queued == 0 and desk.engine.history == "H2"


def test_a_copy_that_took_our_place_gives_us_a_conflict_and_a_new_incarnation() -> None:
    """Both processes go on from one journal: the other's event 1 was first."""
    desk = answered()
    desk.append(A, 1)
    conflict = Verdict(sequence=1, id="a1", outcome="conflict", reason="another event holds this place")
    ack = Ack(
        history="H1",
        nonce=None,
        incarnation=A,
        acked=1,
        safe=1,
        window=9,
        verdicts=[conflict],
        problem="fork",
    )
    desk.do(desk.engine.received_ack(ack, desk.now))
    assert desk.others == [Reenter(A)] and desk.engine.queued == 1
    assert desk.records[-1].verdicts == (), (
        "what lacks a verdict is entered again, whenever the journal comes to it"
    )


def test_what_an_engine_remembers_does_not_grow_with_what_it_drains() -> None:
    desk = online(Stream(A, last=50_000, lacking=Ranges([(1, 50_000)])))
    desk.rows = _Rows()  # type: ignore[assignment]
    desk.answer(A, window=1_000_000)
    stream = desk.engine.streams[A]
    most = 0
    for _ in range(50_000 // BATCH_EVENTS):
        first = stream.lacking.first_run()
        assert first is not None
        places = range(first[0], min(first[0] + 99, 50_000) + 1)
        desk.ack(A, places[-1], window=1_000_000, verdicts=[(n, f"a{n}") for n in places])
        most = max(most, len(stream.ids))
        assert len(list(stream.todo)) <= 2 and len(list(stream.lacking)) <= 2
        desk.said.clear(), desk.records.clear()
    assert desk.engine.queued == 0
    assert len(desk.engine._batches) <= READ_EVENTS + MOST_IN_FLIGHT // 100
    assert most <= MOST_IN_FLIGHT and not stream.ids and not stream.single and not stream.voided


class _Rows(dict[tuple[str, int], bytes]):
    """A journal of any length."""

    def get(self, place: tuple[str, int], default: Any = None) -> Any:  # type: ignore[override]
        return json.dumps({"incarnation": place[0], "sequence": place[1], "id": f"a{place[1]}"}).encode()


# --- at random --------------------------------------------------------------------------------------------


@dataclass
class Shelf:
    """A journal: what is in it outlives every engine."""

    history: str | None = None
    order: list[str] = field(default_factory=list)
    events: dict[str, dict[int, str]] = field(default_factory=dict)
    verdicts: dict[tuple[str, int], str] = field(default_factory=dict)
    streams: dict[str, tuple[int, int, bool]] = field(default_factory=dict)
    voids: set[str] = field(default_factory=set)

    def begin(self) -> None:
        name = f"{len(self.order):032x}"
        self.order.append(name)
        self.events[name], self.streams[name] = {}, (0, 0, False)

    def stand(self) -> list[Stream]:
        stand = []
        for name in self.order:
            last = max(self.events[name], default=0)
            acked, safe, was_answered = self.streams[name]
            lacking = Ranges((n, n) for n in self.events[name] if (name, n) not in self.verdicts)
            stand.append(Stream(name, 1, last, acked, safe, was_answered, lacking=lacking))
        return stand

    def record(self, record: Record) -> None:
        if record.history is not None:
            self.history = record.history
            self.streams = {name: (0, safe, False) for name, (_, safe, _) in self.streams.items()}
        for name, floor in record.forget_above:
            self.verdicts = {
                place: outcome
                for place, outcome in self.verdicts.items()
                if place[0] != name or place[1] <= floor
            }
        for name, acked, safe, was_answered in record.streams:
            self.streams[name] = (acked, safe, was_answered)
        for name, verdict in record.verdicts:
            self.verdicts.setdefault((name, verdict.sequence), verdict.id)


@dataclass
class Memory:
    """What central has, and could have again after a restore."""

    acked: dict[str, int] = field(default_factory=dict)
    booked: dict[str, int] = field(default_factory=dict)


class Centre:
    """Written from the contract, sharing nothing: strict order, one verdict each, some events it cannot read."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.now, self.backup = dice, Memory(), Memory()
        self.windows: tuple[int, ...] = (0, 1, 3, 50)
        self.histories = ["H0"]

    def save(self) -> None:
        self.backup = copy.deepcopy(self.now)

    def restore(self, *, told: bool) -> None:
        self.now = copy.deepcopy(self.backup)
        if told:
            self.histories.append(f"H{len(self.histories)}")

    def hear(self, published: Publish) -> list[Ack]:
        body = json.loads(published.payload)
        if published.kind == "hello":
            known = {one["incarnation"]: one for one in body["incarnations"]}
            ahead = any(one["acked"] > self.now.acked.get(name, 0) for name, one in known.items())
            if body["history"] == self.histories[-1] and ahead:
                self.histories.append(f"H{len(self.histories)}")
            return [self._ack(name, body["nonce"]) for name in known]
        if any(event["id"].endswith("7") and not event.get("void") for event in body):
            named = {"problem": "unreadable", "payload": _sha(published.payload)}
            return [Ack(history=self.histories[-1], nonce=None, incarnation=None, acked=0, safe=0, window=1,
                        verdicts=[], **named)]  # fmt: skip
        verdicts = []
        for event in body:
            name, place = event["incarnation"], event["sequence"]
            if place > self.now.acked.get(name, 0) + 1:
                break
            if place == self.now.acked.get(name, 0) + 1:
                self.now.acked[name] = place
            if event["id"] not in self.now.booked:
                self.now.booked[event["id"]] = 0
            verdicts.append(Verdict(sequence=place, id=event["id"], outcome="accepted"))
        return [self._ack(body[0]["incarnation"], None, verdicts)]

    def _ack(self, name: str, nonce: str | None, verdicts: list[Verdict] | None = None) -> Ack:
        acked, safe = self.now.acked.get(name, 0), self.backup.acked.get(name, 0)
        return Ack(
            history=self.histories[-1], nonce=nonce, incarnation=name, acked=acked, safe=min(acked, safe),
            window=self.dice.choice(self.windows), verdicts=verdicts or [],
        )  # fmt: skip


def _sha(payload: bytes) -> str:
    from hashlib import sha256

    return sha256(payload).hexdigest()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_each_event_is_booked_and_has_its_verdict_of_the_history_that_stands(
    seed: int,
) -> None:
    dice = random.Random(seed)
    shelf, centre = Shelf(), Centre(dice)
    shelf.begin()
    now, wire = 0.0, list[Publish | Ack]()
    made = nonces = 0

    def new_engine() -> Engine:
        def nonce() -> str:
            nonlocal nonces
            nonces += 1
            return f"n{nonces}"

        return Engine(
            agent="a", site="s", software="t", history=shelf.history, streams=shelf.stand(),
            new_nonce=nonce, random=dice.random,
        )  # fmt: skip

    def do(actions: list[Any]) -> None:
        todo = deque(actions)
        for done in count():
            if not todo:
                return
            assert done < 1000, "the engine asks without end"
            action = todo.popleft()
            if isinstance(action, Publish):
                wire.append(action)
            elif isinstance(action, Read):
                held = [
                    (n, _text(action.incarnation, n, id_, shelf))
                    for n, id_ in shelf.events[action.incarnation].items()
                    if action.first <= n <= action.last
                ]
                todo.extend(engine.read(action, cut_batches(held)))
            elif isinstance(action, Record):
                shelf.record(action)
            else:
                assert isinstance(action, Void)
                shelf.voids.add(shelf.events[action.incarnation][action.sequence])
                todo.extend(engine.voided(action.incarnation, action.sequence))

    engine = new_engine()
    for step in range(900):
        calm, roll = step > 250, dice.random()
        centre.windows = (50,) if calm else centre.windows
        if not calm and roll < 0.25:
            name = shelf.order[-1]
            last = max(shelf.events[name], default=0)
            for n in range(last + 1, last + dice.randint(2, 5)):
                made += 1
                shelf.events[name][n] = f"e{made}"
            do(engine.appended(name, max(shelf.events[name]), now))
        elif not calm and roll < 0.28:
            shelf.begin()
            engine = new_engine()
            do(engine.connected(now))
        elif not calm and roll < 0.32:
            engine.disconnected()
            do(engine.connected(now))
        elif not calm and roll < 0.34:
            centre.save()
        elif not calm and roll < 0.36:
            centre.restore(told=dice.random() < 0.5)
        elif step == 0 or (step == 251 and not engine.online):
            do(engine.connected(now))
        for _ in range(len(wire) if calm else min(2, len(wire))):
            message = wire.pop(0 if calm else dice.randrange(min(4, len(wire))))
            if not calm and dice.random() < 0.15:
                wire.append(message)
            if not calm and dice.random() < 0.15:
                continue
            if isinstance(message, Ack):
                do(engine.received_ack(message, now))
            else:
                wire += centre.hear(message)
        now += 1.0 if calm else dice.choice((0.1, 1.0, 6.0))
        do(engine.tick(now))
        if calm and not engine.queued and not wire and step > 600:
            break
    everything = {id_ for events in shelf.events.values() for id_ in events.values()}
    assert engine.queued == 0
    assert set(shelf.verdicts.values()) == everything
    assert set(centre.now.booked) == everything, "central has what it may have lost once more"
    assert shelf.history == centre.histories[-1]


def _text(incarnation: str, sequence: int, id_: str, shelf: Shelf) -> bytes:
    void = {"void": True} if id_ in shelf.voids else {}
    return json.dumps({"incarnation": incarnation, "sequence": sequence, "id": id_, **void}).encode()

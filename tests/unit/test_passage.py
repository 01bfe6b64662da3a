"""What passes a gate, as people read it."""

from agent.passage import (
    MOST_CONCERNS,
    MOST_REJECTED,
    MOST_STRANGERS,
    SHOWN_AS,
    SIGNAL_AGAIN_NS,
    Concern,
    Passage,
    Signals,
    grouped,
)
from agent.shared import Shown
from agent.workflows import WORKFLOWS

S = 1_000_000_000


class Bench:
    """A passage with a clock, and what nobody has looked at."""

    def __init__(self) -> None:
        self.passage = Passage(5_000)
        self.concerns: tuple[Concern, ...] = ()
        self.now_ns = self.token = 0

    def tell(self, relation: str, code: str, name: str = "Oat milk", after_s: float = 0.02) -> None:
        """As a station does: the outcome is that of the table, but for what cannot be recorded."""
        self.now_ns += int(after_s * S)
        self.token += 1
        kind = relation.removeprefix("not recorded: ")
        outcome = "reject" if kind != relation else WORKFLOWS["gate"].table["gate", kind].outcome
        shown = Shown(outcome, f"{kind} {self.token}", code, None, "2026-11-20T08:15:30Z", self.token)
        self.concerns = self.passage.take(kind, shown, name, self.now_ns, self.concerns)

    @property
    def counts(self) -> dict[str, int]:
        found = self.passage.public()
        assert found is not None
        return dict(found["counts"])


def test_fifty_tags_in_a_second_are_one_passage():
    bench = Bench()
    assert bench.passage.public() is None
    for number in range(48):
        bench.tell("expected", f"c{number}")
    bench.tell("over", "c48")
    bench.tell("seen", "c49")
    found = bench.passage.public()
    assert found is not None
    assert found["counts"] == {"ok": 48, "duplicate": 1, "over": 1}
    assert (found["outcome"], found["tags"], found["number"]) == ("duplicate", 50, 1)
    assert [(one["tally"], one["count"], one["codes"]) for one in grouped(bench.concerns)] == [
        ("duplicate", 1, ["c49"]),
        ("over", 1, ["c48"]),
    ]


def test_a_pause_begins_a_new_passage_and_what_was_not_looked_at_stays():
    bench = Bench()
    bench.tell("outward", "c1")
    bench.tell("expected", "c2", after_s=5.0)
    assert bench.counts == {"ok": 1, "outward": 1}
    bench.tell("expected", "c3", after_s=5.1)
    assert bench.counts == {"ok": 1}
    found = bench.passage.public()
    assert found is not None
    assert (found["number"], found["outcome"]) == (3, "ok"), "of the outcome that it began with"
    assert [one.code for one in bench.concerns] == ["c1"]


def test_what_could_not_be_recorded_and_then_was_is_ok_and_counts_once():
    bench = Bench()
    bench.tell("not recorded: expected", "c1")
    bench.tell("not recorded: expected", "c1")
    assert bench.counts == {"rejected": 1}
    assert [one.tally for one in bench.concerns] == ["rejected"]
    bench.tell("expected", "c1")
    assert bench.counts == {"ok": 1}
    assert bench.concerns == ()


def test_what_could_be_recorded_after_all_is_bounded():
    bench = Bench()
    for number in range(MOST_REJECTED + 1):
        bench.tell("not recorded: expected", f"c{number}")
    bench.tell("expected", f"c{MOST_REJECTED}")
    assert bench.counts == {"ok": 1, "rejected": MOST_REJECTED}
    bench.tell("expected", "c0")  # forgotten: it counts as both
    assert bench.counts == {"ok": 2, "rejected": MOST_REJECTED}


def test_like_is_listed_with_like_and_strangers_by_their_code():
    bench = Bench()
    for number in range(7):
        bench.tell("no_lot", f"p{number}", "Pills")
    bench.tell("unknown", "E200", "?")
    bench.tell("unknown", "E201", "?")
    bench.tell("no_lot", "p0", "Pills")
    first, *strangers = grouped(bench.concerns)
    assert (first["what"], first["count"], first["outcome"]) == ("Pills", 7, "reject")
    assert first["codes"] == ["p0", "p6", "p5"]
    assert [one["what"] for one in strangers] == ["E201", "E200"]


def test_people_and_commands_are_no_goods():
    bench = Bench()
    for relation in ("operator", "done", "undo"):
        bench.tell(relation, "x")
    assert bench.passage.public() is None
    assert bench.concerns == ()


def test_every_row_of_the_gate_is_counted_as_something_that_can_be_shown():
    bench = Bench()
    for _, relation in WORKFLOWS["gate"].table:
        bench.tell(relation, relation)
    assert set(bench.counts) == set(SHOWN_AS)


def test_a_stranger_is_told_of_once_in_a_job():
    passage = Passage(5_000)
    assert not passage.is_known("outward", "c1")
    told = [passage.is_known("unknown", "jacket") for _ in range(3)]
    assert told == [False, True, True]
    passage.finish()
    assert not passage.is_known("unknown", "jacket")
    for number in range(MOST_STRANGERS):
        assert not passage.is_known("unknown", f"c{number}")
    assert not passage.is_known("unknown", "jacket"), "the first of too many is forgotten"


def test_what_waits_to_be_looked_at_is_bounded():
    bench = Bench()
    for number in range(MOST_CONCERNS + 10):
        bench.tell("seen", f"c{number}")
    assert len(bench.concerns) == MOST_CONCERNS
    assert bench.concerns[0].code == "c10"
    assert bench.counts == {"duplicate": MOST_CONCERNS + 10}


def test_a_reader_beeps_each_outcome_once_in_a_while():
    signals = Signals()
    assert [signals.due("ok", n * S // 50) for n in range(50)] == [True, *[False] * 49]
    assert signals.due("reject", S // 2)
    assert signals.due("ok", SIGNAL_AGAIN_NS)

"""Records that are written down together: fewer of them, and the same said."""

from sync.engine import Record, joined
from sync.messages import Verdict

STREAM, OTHER = "a" * 32, "b" * 32


def _verdict(sequence: int) -> tuple[str, Verdict]:
    return STREAM, Verdict(sequence=sequence, id=f"id-{sequence}", outcome="accepted", movement=sequence)


def test_nothing_stays_nothing() -> None:
    assert joined([]) == []


def test_what_follows_is_one_record_in_the_same_order() -> None:
    first = Record(streams=((STREAM, 1, 0, True),), verdicts=(_verdict(1),))
    second = Record(streams=((STREAM, 3, 1, True), (OTHER, 1, 1, True)), verdicts=(_verdict(2), _verdict(3)))
    assert joined([first, second]) == [
        Record(streams=first.streams + second.streams, verdicts=first.verdicts + second.verdicts)
    ]


def test_what_is_forgotten_is_forgotten_after_what_was_said_before() -> None:
    said, told = Record(verdicts=(_verdict(1),)), Record(verdicts=(_verdict(2),))
    forget = Record(forget_above=((STREAM, 0),))
    assert joined([said, forget, told]) == [
        said,
        Record(forget_above=((STREAM, 0),), verdicts=(_verdict(2),)),
    ]


def test_a_new_history_begins_a_record_of_its_own() -> None:
    said, history = Record(verdicts=(_verdict(1),)), Record(history="second", verdicts=(_verdict(1),))
    assert joined([said, history, said]) == [
        said,
        Record(history="second", verdicts=(_verdict(1), _verdict(1))),
    ]

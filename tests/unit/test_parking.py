"""What lies above a gap: kept within bounds, applied in order, dropped without harm."""

import random

from hypothesis import given
from hypothesis import strategies as st

from central.ledger.commands import BookBatch
from central.parking import KEPT_S, RETRY_FIRST_S, RETRY_MOST_S, Parking, above_gap, last_of
from tests.support.ledger import Stream

STREAM = Stream()


def batch(first: int, last: int, stream: Stream = STREAM, size: int = 1) -> BookBatch:
    data = {"sku": "S" * size}
    return stream.batch(*(stream.event("received", data, sequence=n) for n in range(first, last + 1)))


def park(parking: Parking, one: BookBatch, *, acked: int = 0, history: str = "h", now: float = 0.0) -> bool:
    return parking.park(one, history=history, acked=acked, now=now)


def ready(parking: Parking, acked: int, *, history: str = "h", stream: Stream = STREAM) -> list[BookBatch]:
    return parking.ready(stream.incarnation, history=history, acked=acked)


def test_what_was_parked_is_ready_in_order_once_the_gap_closes() -> None:
    parking = Parking()
    far, near, beyond = batch(6, 8), batch(3, 5), batch(20, 21)
    assert all(park(parking, one) for one in (far, near, beyond))
    assert ready(parking, 1) == []
    assert ready(parking, 2) == [near, far]
    assert len(parking) == 1, "what lies above the next gap stays"
    assert ready(parking, 2) == [], "each is given out once"
    assert ready(parking, 19) == [beyond]
    assert (len(parking), parking.bytes, parking.next_due()) == (0, 0, None)


def test_what_was_overtaken_is_neither_given_out_nor_in_the_way() -> None:
    parking = Parking(window=10)
    assert parking.bytes == 0
    assert park(parking, batch(3, 8))
    assert park(parking, batch(10, 18), acked=8), "more than the window, with what was overtaken"
    assert len(parking) == 1
    assert ready(parking, 18) == [] and parking.bytes == 0


def test_what_follows_without_a_hole_is_not_parked() -> None:
    parking = Parking()
    assert not park(parking, batch(4, 5), acked=3)
    assert park(parking, batch(5, 5), acked=3)


def test_batches_that_overlap_are_given_out_in_order_and_overtaken_ones_never() -> None:
    parking = Parking()
    small, large, inside = batch(3, 4), batch(3, 9), batch(5, 6)
    assert park(parking, small) and park(parking, inside) and park(parking, large)
    assert park(parking, small), "a shorter cut of what is parked is parked already"
    assert len(parking) == 2
    assert ready(parking, 2) == [large, inside], "the second has its duplicates answered"
    assert park(parking, small) and park(parking, batch(8, 9))
    parking.passed(STREAM.incarnation, history="h", acked=4)
    assert len(parking) == 1, "the first was overtaken"


def test_of_one_incarnation_at_most_a_window_is_parked() -> None:
    parking = Parking(window=10)
    assert not park(parking, batch(5, 11)), "beyond what may have been sent"
    assert park(parking, batch(3, 8))
    assert not park(parking, batch(4, 8)), "more events than the window, however they overlap"
    assert park(parking, batch(7, 10))
    other = Stream()
    assert park(parking, batch(3, 8, other)), "each incarnation has its own"


def test_all_incarnations_together_have_a_bound_in_bytes() -> None:
    one = batch(2, 2, size=1000)
    parking = Parking(most_bytes=2500)
    assert park(parking, one)
    full = parking.bytes
    assert park(parking, batch(2, 2, Stream(), size=5))
    assert not park(parking, batch(2, 2, Stream(), size=1000)), "dropped: its agent sends it again"
    assert full < parking.bytes < 2500
    ready(parking, 1)
    assert park(parking, batch(2, 2, Stream(), size=1000)), "there is room again"


def test_the_bound_in_bytes_can_be_reached() -> None:
    one = batch(2, 2)
    assert park(Parking(most_bytes=len(one.texts[0])), one)
    assert not park(Parking(most_bytes=len(one.texts[0]) - 1), one)


def test_what_comes_again_waits_no_longer_for_it() -> None:
    parking, one = Parking(), batch(3, 4)
    assert park(parking, one, now=100.0)
    due = parking.next_due()
    assert park(parking, one, now=101.0)
    assert parking.next_due() == due


def test_a_new_history_drops_everything() -> None:
    for meets in ("park", "ready", "passed"):
        parking = Parking()
        park(parking, batch(3, 3))
        park(parking, batch(3, 3, Stream()))
        if meets == "park":
            assert park(parking, batch(5, 5), history="new")
        elif meets == "ready":
            assert ready(parking, 2, history="new") == []
        else:
            parking.passed(STREAM.incarnation, history="new", acked=2)
        assert len(parking) == (meets == "park")


def test_what_another_worker_may_have_closed_is_tried_again_ever_more_slowly() -> None:
    parking = Parking()
    low, high = batch(3, 4), batch(5, 6)
    park(parking, high, now=100.0)
    park(parking, low, now=100.0)
    assert parking.due(100.0) == []
    now, pause, tries = 100.0, RETRY_FIRST_S, 0
    while (due := parking.next_due()) is not None and due < 100.0 + KEPT_S:
        assert due == now + pause
        now, pause = due, min(pause * 2, RETRY_MOST_S)
        assert parking.due(now) == [low], "the lowest alone: the others follow on its answer"
        tries += 1
    assert tries < 20
    assert ready(parking, 2) == [low, high], "trying takes nothing away"


def test_what_nothing_came_of_is_dropped_after_its_agent_has_sent_it_again() -> None:
    parking = Parking()
    park(parking, batch(3, 4), now=100.0)
    park(parking, batch(7, 8), now=101.0)
    assert parking.due(100.0 + KEPT_S) == []
    assert (len(parking), parking.bytes) == (0, 0)


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 4)), max_size=12),
    st.integers(0, 2**32),
)
def test_in_whatever_order_batches_come_none_is_applied_above_a_gap(
    cuts: list[tuple[int, int]], seed: int
) -> None:
    """A central of one number: what it is given follows on `acked`, and in the end nothing applicable is left."""
    parking, acked = Parking(window=8), 0
    order = [batch(first, first + more) for first, more in cuts]
    random.Random(seed).shuffle(order)
    for one in order:
        if above_gap(one, acked):
            park(parking, one, acked=acked)
            continue
        acked = max(acked, last_of(one))
        for parked in ready(parking, acked):
            assert not above_gap(parked, acked)
            acked = max(acked, last_of(parked))
        assert ready(parking, acked) == []
    assert parking.bytes >= 0

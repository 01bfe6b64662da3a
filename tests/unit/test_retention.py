"""What the journal may forget, held against the contract's rules for whatever it may hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.journal import retention
from sync.journal.lives import Life
from sync.journal.retention import MOST_PRUNED_KEPT, MOST_UNANSWERED_KEPT, Prune, forgettable, next_prune
from sync.ranges import Ranges


def life(
    number: int, first: int, last: int, *, acked: int = 0, safe: int | None = None, **more: object
) -> Life:
    judged = more.pop("judged", last)
    return Life(
        number, f"i{number}", first, last, acked, acked if safe is None else safe, judged=judged, **more
    )  # type: ignore[arg-type]


@st.composite
def a_life(draw: st.DrawFn, number: int) -> Life:
    last = draw(st.integers(0, 30))
    first = draw(st.integers(1, last + 1))
    places = last - first + 1
    left = draw(st.booleans())
    judged = last if left else draw(st.integers(first - 1, last))
    inside = st.integers(first, max(judged, first))
    holes = Ranges((n, n) for n in draw(st.sets(inside, max_size=5)) if n <= judged)
    return Life(
        number,
        f"i{number}",
        first,
        last,
        acked=draw(st.integers(0, last + 3)),
        safe=draw(st.integers(0, last + 3)),
        answered=draw(st.booleans()),
        left=left,
        judged=judged,
        missing=draw(st.integers(0, places - 1)) if left and places > 1 else 0,
        holes=holes,
    )


@st.composite
def a_journal(draw: st.DrawFn) -> list[Life]:
    numbers = sorted(draw(st.sets(st.integers(1, 40), min_size=1, max_size=6)))
    return [draw(a_life(number)) for number in numbers]


@settings(max_examples=200, deadline=None)
@given(a_journal(), st.integers(0, 41), st.integers(0, 35), st.integers(0, 60), st.integers(1, 20))
def test_only_a_prefix_goes_that_has_verdicts_is_acked_safe_and_old_and_never_of_the_newest(
    lives: list[Life], old_number: int, old_sequence: int, keep_newest: int, most: int
) -> None:
    by_number = {one.number: one for one in lives}
    for _ in range(200):
        before = sum(one.held for one in lives)
        found = next_prune(lives, old=(old_number, old_sequence), keep_newest=keep_newest, most=most)
        if found is None:
            break
        one = by_number[found.number]
        assert found.first == one.first <= found.last <= one.last
        assert found.last - found.first < most
        assert found.last <= min(one.acked, one.safe)
        lacking = one.lacking()
        assert not any(n in lacking for n in range(found.first, found.last + 1))
        assert (found.number, found.last) <= (old_number, old_sequence)
        # Of a left one the file tells how many places held an event: here as many as can be.
        removed = min(found.last - found.first + 1, one.held)
        one.begins_at(None if found.last == one.last else found.last + 1, removed)
        assert one.first <= one.acked + 1, "a lost range"
        assert sum(other.held for other in lives) >= min(before, keep_newest)
    assert next_prune(lives, old=(old_number, old_sequence), keep_newest=keep_newest, most=most) is None


def test_all_that_may_go_goes_oldest_first_and_a_little_at_a_time() -> None:
    lives = [life(1, 3, 10, acked=8), life(4, 1, 5, acked=5), life(7, 1, 9, acked=9)]
    gone = []
    while (found := next_prune(lives, old=(7, 2), keep_newest=0, most=4)) is not None:
        gone.append(found)
        one = next(one for one in lives if one.number == found.number)
        one.begins_at(None if found.last == one.last else found.last + 1, found.last - found.first + 1)
    assert gone == [Prune(1, 3, 6), Prune(1, 7, 8), Prune(4, 1, 4), Prune(4, 5, 5), Prune(7, 1, 2)]


def test_what_lacks_a_verdict_stops_what_is_above_it_in_its_incarnation_alone() -> None:
    lives = [life(1, 1, 10, acked=10, holes=Ranges([(4, 4)])), life(2, 1, 3, acked=3)]
    assert next_prune(lives, old=(9, 0), keep_newest=0, most=100) == Prune(1, 1, 3)
    lives[0].begins_at(4, 3)
    assert next_prune(lives, old=(9, 0), keep_newest=0, most=100) == Prune(2, 1, 3)


def test_the_newest_events_stay_and_one_with_missing_places_stays_whole_among_them() -> None:
    lives = [life(1, 1, 10, acked=10), life(2, 1, 10, acked=10, left=True, missing=3), life(3, 1, 5, acked=5)]
    assert next_prune(lives, old=(9, 0), keep_newest=22, most=100) is None
    assert next_prune(lives, old=(9, 0), keep_newest=15, most=100) == Prune(1, 1, 7)
    lives[0].begins_at(None, 10)
    assert next_prune(lives, old=(9, 0), keep_newest=6, most=100) is None, "what is missing cannot be counted"
    assert next_prune(lives, old=(9, 0), keep_newest=5, most=100) == Prune(2, 1, 10)


@st.composite
def starts(draw: st.DrawFn) -> list[Life]:
    kinds = draw(st.lists(st.sampled_from(["unused", "silent", "emptied", "held"]), min_size=1, max_size=400))
    made = []
    for number, kind in enumerate(kinds, 1):
        last = 0 if kind in ("unused", "silent") else 5
        made.append(life(number, 3 if kind == "held" else last + 1, last, answered=kind == "unused"))
    return made


@settings(max_examples=60, deadline=None)
@given(starts())
def test_incarnations_that_hold_nothing_are_bounded_and_what_a_rule_needs_is_never_forgotten(
    lives: list[Life],
) -> None:
    gone = {one.number for one in forgettable(lives)}
    kept = [one for one in lives if one.number not in gone]
    assert kept[-1] is lives[-1], "the next one's first event names it"
    assert all(one.number not in gone for one in lives if one.held)
    empty = [one for one in kept[:-1] if not one.held]
    assert sum(one.last == 0 for one in empty) <= MOST_UNANSWERED_KEPT
    assert sum(one.last > 0 for one in empty) <= MOST_PRUNED_KEPT
    for one in lives[:-1]:
        if one.number in gone and not one.answered and not one.last:
            older = [n for n in kept if not n.held and not n.last and n.number < one.number]
            assert len(older) >= MOST_UNANSWERED_KEPT, "the oldest that was never answered shows a copy"
        if one.number in gone and one.last:
            assert sum(n.last > 0 and not n.held for n in kept if n.number > one.number) >= MOST_PRUNED_KEPT
    assert not [one for one in kept[:-1] if one.answered and not one.last], "used by no rule"


def test_which_incarnations_are_forgotten() -> None:
    """Unused and answered: all. Silent: the newest. Emptied: the oldest. Never the last, nor what holds events."""
    silent = [life(number, 1, 0) for number in range(1, MOST_UNANSWERED_KEPT + 4)]
    emptied = [life(number, 6, 5) for number in range(1001, 1001 + MOST_PRUNED_KEPT + 2)]
    other = [life(2001, 1, 0, answered=True), life(2002, 5, 5), life(2003, 1, 0, answered=True)]
    assert [one.number for one in forgettable([*silent, *emptied, *other])] == [
        2001,
        101,
        102,
        103,
        1001,
        1002,
    ]


def test_marks_are_as_near_as_the_retention_time_needs_and_bounded() -> None:
    assert retention.mark_every_s(0) == retention.mark_every_s(3600) == retention.MARK_S
    assert retention.mark_every_s(30 * 86400) == 30 * 86.4

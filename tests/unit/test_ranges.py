"""Ranges against Python's own sets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.ranges import Ranges, runs

step = st.tuples(st.sampled_from(["add", "remove"]), st.integers(1, 40), st.integers(0, 12))
operations = st.lists(step, max_size=40)


@given(operations)
def test_ranges_hold_what_a_set_holds(steps: list[tuple[str, int, int]]) -> None:
    ranges, numbers = Ranges(), set[int]()
    for operation, first, length in steps:
        span = range(first, first + length)
        if operation == "add":
            ranges.add(first, first + length - 1)
            numbers |= set(span)
        else:
            ranges.remove(first, first + length - 1)
            numbers -= set(span)
        runs = list(ranges)
        assert {n for low, high in runs for n in range(low, high + 1)} == numbers
        assert ranges.total == len(numbers)
        assert all(a[1] + 1 < b[0] for a, b in pairwise(runs)), "runs touch"
        assert [n in ranges for n in range(60)] == [n in numbers for n in range(60)]
        assert bool(ranges) == bool(numbers)
        assert ranges.first_run() == (runs[0] if runs else None)


def test_a_copy_is_a_set_of_its_own() -> None:
    original = Ranges([(1, 5), (9, 9)])
    copy = original.copy()
    assert copy == original and repr(copy) == "Ranges([(1, 5), (9, 9)])"
    copy.remove(2, 3)
    assert list(original) == [(1, 5), (9, 9)] and copy != original
    assert original != [(1, 5), (9, 9)]
    with pytest.raises(TypeError):
        hash(original)  # it changes


@given(st.lists(st.integers(1, 30)))
def test_runs_are_the_same_numbers(numbers: list[int]) -> None:
    found = runs(numbers)
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(set(numbers))
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))


@given(st.sets(st.integers(1, 20)), st.integers(1, 20), st.integers(1, 20))
def test_what_is_covered_is_in_it_whole(numbers: set[int], first: int, last: int) -> None:
    if first <= last:
        covered = Ranges((n, n) for n in numbers).covers(first, last)
        assert covered == (set(range(first, last + 1)) <= numbers)

"""Sets of sequences kept as ranges: a backlog of a million events is one pair of numbers.

Sequences that lack a verdict are nearly always one run, or a few, so every operation is linear in the number of
runs and independent of how many sequences they hold.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The same numbers as sorted runs `first … last`, both included."""
    found: list[tuple[int, int]] = []
    ordered = sorted(set(numbers))
    if ordered and ordered[-1] - ordered[0] == len(ordered) - 1:
        return [(ordered[0], ordered[-1])]  # nearly always
    for number in ordered:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


class Ranges:
    """A set of positive integers as sorted, disjoint, non-adjacent runs `first … last`, both included."""

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.total = 0
        for first, last in runs:
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Put in every number of `first … last`; an empty range changes nothing."""
        if first > last:
            return
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._replace(low, high, [(first, last)])

    def remove(self, first: int, last: int) -> None:
        """Take out every number of `first … last`; an empty range changes nothing."""
        if first > last:
            return
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return
        left = (self._firsts[low], first - 1)
        right = (last + 1, self._lasts[high - 1])
        self._replace(low, high, [run for run in (left, right) if run[0] <= run[1]])

    def _replace(self, low: int, high: int, runs: list[tuple[int, int]]) -> None:
        removed = sum(self._lasts[low:high]) - sum(self._firsts[low:high]) + (high - low)
        self.total += sum(last - first + 1 for first, last in runs) - removed
        self._firsts[low:high] = [first for first, _ in runs]
        self._lasts[low:high] = [last for _, last in runs]

    def first_run(self) -> tuple[int, int] | None:
        """The lowest run, or None when the set is empty."""
        return (self._firsts[0], self._lasts[0]) if self._firsts else None

    def copy(self) -> "Ranges":
        """A set of its own with the same numbers."""
        return Ranges(self)

    def covers(self, first: int, last: int) -> bool:
        """Whether every number of `first … last` is in it."""
        place = bisect_left(self._lasts, last)
        return place < len(self._firsts) and self._firsts[place] <= first

    def __contains__(self, number: int) -> bool:
        place = bisect_left(self._lasts, number)
        return place < len(self._firsts) and self._firsts[place] <= number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # ranges change

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

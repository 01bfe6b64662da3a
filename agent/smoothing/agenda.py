"""What is to be looked at, and when."""

import heapq
from typing import Final, Generic, Protocol, TypeVar

LEAST_STALE: Final = 1_000  # entries that are held before it is looked whether they stand for anything still


class _Item(Protocol):
    is_gone: bool


Item = TypeVar("Item", bound=_Item)


class Agenda(Generic[Item]):
    """A heap by time. What `is_gone` is passed over; when half of it may be that, it is swept."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Item]] = []
        self._number = 0
        self._most = LEAST_STALE

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_ns(self) -> int | None:
        """When there is something to do."""
        return self._heap[0][0] if self._heap else None

    def put(self, due_ns: int, item: Item) -> None:
        """Look at this then."""
        self._number += 1
        heapq.heappush(self._heap, (due_ns, self._number, item))
        if len(self._heap) > self._most:
            self._heap = [entry for entry in self._heap if not entry[2].is_gone]
            heapq.heapify(self._heap)
            self._most = max(LEAST_STALE, 2 * len(self._heap))

    def pop(self, now_ns: int | None = None) -> tuple[int, Item] | None:
        """The next one and its time; with `now_ns`: if its time has come."""
        heap = self._heap
        while heap and (now_ns is None or heap[0][0] <= now_ns):
            due_ns, _, item = heapq.heappop(heap)
            if not item.is_gone:
                return due_ns, item
        return None

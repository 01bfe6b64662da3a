"""Which tags are in view of a station: a tag is one scan when it comes, however often it is read while it stays.

The one idea: what counts is the time since a tag was last *read*. A tag in a field is read many times a second, by
several antennas; only one that nobody has read for a while was away, and comes again when it is read again.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

MOST_TAGS: Final = 100_000  # in view; above, the one that was read longest ago counts as away
NS_PER_MS: Final = 1_000_000


class InView:
    """Pure: time comes in. Its memory is what is in view, at most `most` tags."""

    def __init__(self, again_ms: int, most: int = MOST_TAGS) -> None:
        self._again_ns, self._most = again_ms * NS_PER_MS, most
        self._read_ns: OrderedDict[bytes, int] = OrderedDict()
        """When each was last read; the one that was read longest ago stands first."""
        self._retry_ns: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._read_ns)

    def comes(self, tag: bytes, now_ns: int) -> bool:
        """A tag was read: whether that is news."""
        read_ns = self._read_ns
        before_ns = read_ns.get(tag)
        read_ns[tag] = now_ns
        if before_ns is not None:
            read_ns.move_to_end(tag)
            if now_ns - before_ns < self._again_ns:
                return bool(self._retry_ns) and self._is_due(tag, now_ns)
            self._retry_ns.pop(tag, None)
            return True
        oldest_ns = now_ns - self._again_ns
        while len(read_ns) > self._most or read_ns[next(iter(read_ns))] <= oldest_ns:
            gone, _ = read_ns.popitem(last=False)
            self._retry_ns.pop(gone, None)
        return True

    def retry(self, tag: bytes, due_ns: int) -> None:
        """Its coming led to nothing: if it is still in view then, it comes once more."""
        if tag in self._read_ns:
            self._retry_ns[tag] = due_ns

    def recall(self, tags: Iterable[bytes], now_ns: int) -> None:
        """After a restart: these may be in view still. Those that are not count as away after the usual time."""
        for tag in tags:
            if len(self._read_ns) < self._most:
                self._read_ns[tag] = now_ns

    def _is_due(self, tag: bytes, now_ns: int) -> bool:
        due_ns = self._retry_ns.get(tag)
        if due_ns is None or now_ns < due_ns:
            return False
        del self._retry_ns[tag]
        return True

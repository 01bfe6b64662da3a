"""The double-read guard: the same code from the same device, again within a moment, is one scan.

It looks at the time since the code was last *seen*, not since it was last taken: an item that stays in front of a
reader is counted once, however long it stays. What it skips is shown as a duplicate, never silently.
"""

from collections import OrderedDict
from typing import Final

MOST_REMEMBERED: Final = 1_000  # codes; above, the one that was seen longest ago is forgotten


class DoubleReadGuard:
    """Pure: time comes in. Its memory is bounded."""

    def __init__(self, guard_ms: int, most_remembered: int = MOST_REMEMBERED) -> None:
        self._guard_ns, self._most = guard_ms * 1_000_000, most_remembered
        self._seen: OrderedDict[tuple[str, bytes], int] = OrderedDict()

    def is_repeat(self, device: str, code: bytes, monotonic_ns: int) -> bool:
        """Whether this read only repeats the one before it; remembers it either way."""
        key = (device, code)
        before = self._seen.pop(key, None)
        self._seen[key] = monotonic_ns
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return before is not None and monotonic_ns - before < self._guard_ns

    def forget(self, device: str, code: bytes) -> None:
        """This read came to nothing: the same code, scanned again at once, is no repeat of it."""
        self._seen.pop((device, code), None)

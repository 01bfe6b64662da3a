"""What stations tell of the journal's disk: that it is waited for, that nothing is recorded now, and why.

The one idea: a person in front of a disk that hangs must not take the last OK for the answer to this scan. So the
page goes on while the disk does not, and says what it waits for.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge

from sync.journal import Journal

SLOW_S: Final = (
    1.0  # a disk that is well takes milliseconds; after a second a person wonders, and scans again
)
LOOK_S: Final = 0.25


class Disk:
    """Watches one journal. `changed` is called when `told` is different."""

    def __init__(self, journal: Journal, changed: Callable[[], None]) -> None:
        self._journal, self._changed = journal, changed

    def told(self) -> dict[str, Any]:
        """For the stations' pages: plain values."""
        condition = self._journal.condition
        waiting_s = self.waiting_s()
        return {
            "kind": condition.kind if condition is not None else None,
            "text": condition.text if condition is not None else "",
            "refuses": self.refuses,
            "waiting_s": int(waiting_s) if waiting_s >= SLOW_S else None,
            "moved_from": self._journal.moved_from,
        }

    @property
    def refuses(self) -> bool:
        """Whether scans are refused now."""
        condition = self._journal.condition
        return condition is not None and condition.refuses

    def waiting_s(self) -> float:
        """How long somebody has waited for the disk; 0: nobody does."""
        since = self._journal.waiting_since
        return 0.0 if since is None else time.monotonic() - since

    async def run(self) -> None:
        """Tell of changes, for ever."""
        told = self.told()
        while True:
            await asyncio.sleep(LOOK_S)
            before, told = told, self.told()
            if told != before:
                self._changed()

    def measure(self, registry: CollectorRegistry) -> None:
        """Numbers for Prometheus."""
        refuses = Gauge(
            "tallyman_journal_refuses", "1 while the journal refuses scans: its disk.", registry=registry
        )
        refuses.set_function(lambda: int(self.refuses))
        waiting = Gauge(
            "tallyman_journal_waiting_seconds", "How long the disk has not answered.", registry=registry
        )
        waiting.set_function(self.waiting_s)
        moved = Gauge(
            "tallyman_journal_moved",
            "1 if its file failed and it has a new one since the start.",
            registry=registry,
        )
        moved.set_function(lambda: int(bool(self._journal.moved_from)))

"""All tags of this agent, in front of its stations: sightings come in, each station hears what became of them.

The one idea: the smoothing itself (`agent.smoothing`) is pure; here are its clock, its file, and whom it tells. The
file is written now and then, not for each tag: what was recorded since is in the journal.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from agent import files
from agent.history import Entry, History
from agent.smoothing import Change, Kept, Smoother, keep, restore
from devices.reader import PortStatus
from devices.reads import TagRead

TICK_S: Final = 0.1  # departures and arrivals that time alone decides are told so late at most
# What changed within this time before a crash is told by the journal, or told again. Of many tags, writing takes
# longer: it is done so seldom that it takes a twentieth of the time at most.
KEEP_S: Final = 2.0
KEEP_SHARE: Final = 20

log = structlog.get_logger()


class Tags:
    """The shell around one Smoother. `hear` and `port_changed` are called on the event loop; `run` runs for ever."""

    def __init__(
        self,
        smoother: Smoother,
        path: Path,
        history: History,
        tell: Mapping[str, Callable[[Change], None]],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._smoother, self._path, self._history = smoother, path, history
        self._tell, self._clock = tell, clock
        self._kept = 0

    def load(self) -> None:
        """What may be in view still, from before the restart; after the history was restored."""
        kept = files.load(self._path, Kept) or Kept(None, [])
        newer = itertools.takewhile(
            lambda entry: entry.event_id != kept.newest, self._history.newest_of_all()
        )
        self._recall(newer)
        lost = restore(self._smoother, kept, self._clock())
        self._recall(entry for entry in self._history.newest_of_all() if entry.tag in lost)

    def _recall(self, entries: Iterable[Entry]) -> None:
        """Where each was recorded last; the newest first."""
        now_ns = self._clock()
        for entry in entries:
            place = self._smoother.place_of(*entry.antenna)
            if entry.tag is not None and place is not None:
                self._smoother.recall(entry.tag, place, now_ns)

    def hear(self, read: TagRead) -> None:
        """A device read a tag that has an EPC."""
        changes = self._smoother.feed((read,))
        if changes:
            self._hand_over(changes)

    def port_changed(self, device: str, status: PortStatus) -> None:
        """A device that is away hears nothing, which says nothing of its tags; an idle one (`silent`) listens."""
        if status.status in ("online", "silent"):
            self._smoother.resumed(device, self._clock())
        else:
            self._smoother.stopped(device)

    async def run(self) -> None:
        """Tell what time brings about, and keep what is in view; for ever."""
        keep_ns = 0
        try:
            while True:
                await asyncio.sleep(TICK_S)
                now_ns = self._clock()
                self._hand_over(self._smoother.tick(now_ns))
                if now_ns >= keep_ns:
                    took_ns = await self.keep()
                    keep_ns = now_ns + max(int(KEEP_S * 1e9), KEEP_SHARE * took_ns)
        finally:
            await self.keep()

    def _hand_over(self, changes: list[Change]) -> None:
        for change in changes:
            self._tell[change.place.station](change)

    async def keep(self) -> int:
        """Write what is in view, if it is not what was written last; how long that took."""
        if self._kept == self._smoother.revision:
            return 0
        self._kept, began_ns = self._smoother.revision, self._clock()
        newest = next(self._history.newest_of_all(), None)
        tags, newest_id = self._smoother.snapshot(), newest.event_id if newest is not None else None
        try:
            await asyncio.to_thread(
                lambda: files.replace(self._path, msgspec.json.encode(keep(tags, newest_id)))
            )
        except OSError as error:
            self._kept = -1  # no revision: it is tried again, also if nothing changes
            log.error(
                "the tags in view cannot be kept; check the disk", file=str(self._path), error=str(error)
            )
        return self._clock() - began_ns

"""The live state of the dashboard: read once for everybody, sent as what changed.

The one idea: the board keeps the last snapshot. A page that connects gets all of it; after every commit, and at
least every few seconds while anybody looks, a new snapshot is read and its differences go to all pages.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from central.pages.overview import Section, everything
from service.problems import Problem
from service.stream import Event, EventStream

LEAST_PAUSE_S: Final = 0.25
"""However many commits there are, pages change at most this often."""
LONGEST_PAUSE_S: Final = 2.0
"""What no commit tells (an agent's state, another process) is seen after so long."""

Read = Callable[[Callable[..., dict[str, Section]]], Awaitable[dict[str, Section]]]

# How the rows of a section are told apart. Sections that are not here are small and sent whole.
_KEYS: Final = {"stock": "sku", "movements": "movement"}


class Board:
    """What the dashboard shows now."""

    def __init__(self) -> None:
        self.stream = EventStream()
        self._sections: dict[str, Section] = {}
        self._database_online = True
        self._broker_online = False
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Something was booked, or somebody came to look."""
        self._changed.set()

    def first(self) -> list[Event]:
        """Everything, for a page that just connected."""
        self.wake()
        whole = [(name, {"whole": True, **section}) for name, section in self._sections.items()]
        return [*whole, ("status", self._status())]

    def _status(self) -> dict[str, Any]:
        return {"database": self._database_online, "broker": self._broker_online}

    async def run(self, read: Read, broker_online: Callable[[], bool]) -> None:
        """Keep the board up to date while anybody looks; for ever, cancel to stop."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_PAUSE_S):
                    await self._changed.wait()
            self._changed.clear()
            if self.stream.clients:
                await self._refresh(read, broker_online)
                await asyncio.sleep(LEAST_PAUSE_S)

    async def _refresh(self, read: Read, broker_online: Callable[[], bool]) -> None:
        status = self._status()
        self._broker_online = broker_online()
        try:
            sections = await read(everything)
        except Problem:  # logged where it happened; the page says that it shows an older state
            self._database_online = False
        else:
            self._database_online = True
            before, self._sections = self._sections, sections
            for name, section in sections.items():
                change = difference(before.get(name), section, _KEYS.get(name))
                if change is not None:
                    self.stream.publish(change, name)
        if self._status() != status:
            self.stream.publish(self._status(), "status")


def difference(before: Section | None, after: Section, key: str | None) -> Section | None:
    """What to tell a page that shows `before`: None for nothing, else all of it or the rows that changed."""
    if before == after:
        return None
    if before is None or key is None:
        return {"whole": True, **after}
    old = {row[key]: row for row in before["rows"]}
    new = {row[key]: row for row in after["rows"]}
    return {
        **after,
        "whole": False,
        "rows": [row for name, row in new.items() if old.get(name) != row],
        "gone": [name for name in old if name not in new],
    }

"""The account: of each thing that was shown to a device, whether the host could read it.

The one idea: a thing is `whole` only if a frame (or all its parts in order) left untouched, into an open port, and
was read by the host. What nobody can know is `uncertain`, never rounded. So a host that works reads every whole
thing, and nothing that is not whole or uncertain, apart from what its protocol lets pass for want of a checksum.
"""

import threading
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final, Literal

from simulators.hardware.device import Frame, Thing

Fate = Literal["waiting", "whole", "lost", "uncertain"]
"""`waiting`: not decided yet; there is none when the rig is closed."""
Status = Literal["under way", "whole", "lost", "uncertain"]

NEVER_TOLD: Final = "the device never told it"


@dataclass(slots=True)
class Delivery:
    """One frame's way to the host."""

    part: int
    parts: int
    tells: bool
    """The host learns of a thing from it."""
    status: Status = "under way"
    why: str = ""

    def end(self, status: Status, why: str = "") -> None:
        """What became of it; decided once."""
        if self.status == "under way":
            self.status, self.why = status, why


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one thing."""

    thing: Thing
    fate: Fate
    why: str
    """Of what is not whole: the reason, in a line."""
    times: int
    """How often the host may have got it at the most."""


@dataclass(frozen=True, slots=True)
class Account:
    """Every thing that was shown, in order."""

    entries: tuple[Entry, ...]

    def of(self, *fates: Fate) -> list[Thing]:
        """The things with these fates, in the order in which they were shown."""
        return [entry.thing for entry in self.entries if entry.fate in fates]

    @property
    def whole(self) -> list[Thing]:
        """What the host must have read."""
        return self.of("whole")

    @property
    def lost(self) -> list[Thing]:
        """What the host cannot have read from any untouched frame."""
        return self.of("lost")

    @property
    def uncertain(self) -> list[Thing]:
        """What the host may have read."""
        return self.of("uncertain")

    def counts(self) -> dict[str, int]:
        """How many of each fate."""
        return dict(Counter(entry.fate for entry in self.entries))


@dataclass(slots=True)
class _Page:
    thing: Thing
    deliveries: list[Delivery] = field(default_factory=list)
    dropped: str = ""


class Ledger:
    """Written by the rig's thread, read by everybody."""

    def __init__(self) -> None:
        self._pages: dict[int, _Page] = {}
        self._lock = threading.Lock()

    def shown(self, thing: Thing) -> None:
        """A thing comes before the device."""
        with self._lock:
            self._pages[thing.number] = _Page(thing)

    def attempt(self, frame: Frame) -> int:
        """How often the frame's first thing was on its way before."""
        page = self._pages.get(frame.things[0].number) if frame.things else None
        return len(page.deliveries) if page else 0

    def under_way(self, frame: Frame) -> Delivery:
        """A frame is about to be sent."""
        delivery = Delivery(frame.part, frame.parts, bool(frame.things))
        with self._lock:
            for thing in frame.things:
                if thing.number in self._pages:
                    self._pages[thing.number].deliveries.append(delivery)
        return delivery

    def dropped(self, thing: Thing, why: str) -> None:
        """The device gave it up unread."""
        with self._lock:
            if thing.number in self._pages:
                self._pages[thing.number].dropped = why

    def account(self, holding: Container[int], *, closed: bool) -> Account:
        """As it stands; `holding` are the numbers of what the device has still to tell."""
        with self._lock:
            return Account(tuple(_entry(page, holding, closed=closed) for page in self._pages.values()))

    def take_decided(self, holding: Container[int], *, closed: bool) -> list[Entry]:
        """Hand out, and forget, what is decided, in the order in which it was shown."""
        with self._lock:
            decided = []
            for page in self._pages.values():
                entry = _entry(page, holding, closed=closed)
                if entry.fate == "waiting":
                    break
                decided.append(entry)
            for entry in decided:
                del self._pages[entry.thing.number]
        return decided


def _entry(page: _Page, holding: Container[int], *, closed: bool) -> Entry:
    deliveries = page.deliveries
    surely = _copies(deliveries, lambda status: status == "whole")
    at_most = _copies(deliveries, lambda status: status != "lost")
    if surely:
        return Entry(page.thing, "whole", "", at_most)
    if any(delivery.status == "under way" for delivery in deliveries):
        return Entry(page.thing, "waiting", "", at_most)
    why = next((delivery.why for delivery in reversed(deliveries) if delivery.why), "")
    if at_most:
        return Entry(page.thing, "uncertain", why, at_most)
    told = bool(deliveries) or bool(page.dropped)
    if not closed and (page.thing.number in holding or not told):
        return Entry(page.thing, "waiting", "", 0)
    return Entry(page.thing, "lost", page.dropped or why or NEVER_TOLD, 0)


def _copies(deliveries: list[Delivery], arrived: Callable[[Status], bool]) -> int:
    """How often all parts arrived in order; a part that was lost may be sent again."""
    copies, expected = 0, 1
    for delivery in deliveries:
        if not arrived(delivery.status):
            expected = min(expected, delivery.part)
        elif delivery.part == expected:
            expected += 1
        elif delivery.part == 1:
            expected = 2
        if expected > delivery.parts:
            copies, expected = copies + 1, 1
    return copies

"""What smoothing is compared with: a plain window of time, and the algorithm of EdgeX's RFID inventory service.

Written anew from what they do: the service's facts are its documented settings and formula (ring of 20, two reads,
offset = min(6 dB, −0.008 dB/ms · Δt + 6 dB + 4 dB), departed after 600 s, looked for every 30 s).
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from devices.reads import TagRead

MS, S = 1_000_000, 1_000_000_000
Arrival = tuple[bytes, str, int]
"""(EPC, place, when it was told)."""


class Filter(Protocol):
    """Sightings in, arrivals out."""

    def feed(self, read: TagRead) -> list[Arrival]:
        """One sighting."""

    def tick(self, now_ns: int, /) -> list[Arrival]:
        """Ten times a second."""

    def port(self, device: str, works: bool, now_ns: int) -> None:
        """A device went away, or is there again."""


PlaceOf = Callable[[str, int | None], str]


class Window:
    """A tag arrives at a place when it was not read there for 30 s."""

    AGAIN_NS = 30 * S

    def __init__(self, place_of: PlaceOf) -> None:
        self._place_of = place_of
        self._read_ns: dict[tuple[bytes, str], int] = {}

    def feed(self, read: TagRead) -> list[Arrival]:
        """One sighting."""
        assert read.epc is not None
        key = (read.epc, self._place_of(read.device, read.antenna))
        before_ns = self._read_ns.get(key)
        self._read_ns[key] = read.monotonic_ns
        if before_ns is None or read.monotonic_ns - before_ns >= self.AGAIN_NS:
            return [(*key, read.monotonic_ns)]
        return []

    def tick(self, _now_ns: int) -> list[Arrival]:
        """Nothing is told late."""
        return []

    def port(self, device: str, works: bool, now_ns: int) -> None:
        """It does not know of devices."""


class _Known:
    def __init__(self, antenna: tuple[str, int | None]) -> None:
        self.antenna, self.read_ns, self.is_present = antenna, 0, False
        self.rings: dict[tuple[str, int | None], deque[float]] = {}
        self.heard_ns: dict[tuple[str, int | None], int] = {}


class Inventory:
    """The service's algorithm, with its settings as delivered."""

    RING, SLOPE_DB_PER_MS, MARGIN_DB, HOLD_MS = 20, -0.008, 6.0, 500.0
    DEPARTED_NS, CHECK_NS = 600 * S, 30 * S

    def __init__(self, place_of: PlaceOf) -> None:
        self._place_of = place_of
        self._known: dict[bytes, _Known] = {}
        self._check_ns = 0

    def feed(self, read: TagRead) -> list[Arrival]:
        """One sighting."""
        assert read.epc is not None and read.rssi_dbm is not None
        heard, now_ns = (read.device, read.antenna), read.monotonic_ns
        tag = self._known.get(read.epc)
        if tag is None:
            tag = self._known[read.epc] = _Known(heard)
        was_present, before = tag.is_present, tag.antenna
        tag.read_ns = now_ns
        tag.rings.setdefault(heard, deque(maxlen=self.RING)).append(read.rssi_dbm)
        tag.heard_ns[heard] = now_ns
        if heard != before and self._moves(tag, heard, now_ns):
            tag.antenna = heard
        tag.is_present = True
        place = self._place_of(*tag.antenna)
        if was_present and place == self._place_of(*before):
            return []
        return [(read.epc, place, now_ns)]

    def _moves(self, tag: _Known, heard: tuple[str, int | None], now_ns: int) -> bool:
        here, there = tag.rings.get(tag.antenna), tag.rings[heard]
        if not here:
            return True
        if len(there) < 2:
            return False
        silent_ms = (now_ns - tag.heard_ns[tag.antenna]) / MS
        offset_db = self.SLOPE_DB_PER_MS * silent_ms + self.MARGIN_DB - self.SLOPE_DB_PER_MS * self.HOLD_MS
        return sum(there) / len(there) > sum(here) / len(here) + min(self.MARGIN_DB, offset_db)

    def tick(self, now_ns: int) -> list[Arrival]:
        """What was not read for long departs, and begins anew."""
        if now_ns >= self._check_ns:
            self._check_ns = now_ns + self.CHECK_NS
            for tag in self._known.values():
                if tag.is_present and now_ns - tag.read_ns > self.DEPARTED_NS:
                    tag.is_present = False
                    tag.rings.clear()
                    tag.heard_ns.clear()
        return []

    def port(self, device: str, works: bool, now_ns: int) -> None:
        """It does not know of devices."""

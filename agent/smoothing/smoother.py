"""Many sightings of a tag become one *arrived*, *moved* or *departed*.

The one idea: a tag is at one place until there is evidence that it is not. Hearing it there again is the common
case and costs next to nothing; a new tag, another place and silence are rare, and each is looked at when it happens
or when its time has come.

Pure: time comes in. Everything it holds is bounded: tags in view by `most_tags`, tags that are not believed yet by
`MOST_UNBELIEVED`, what is kept of one tag by `MOST_HEARINGS`.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Final

from agent.smoothing.hearing import Hearing, is_better, is_far_below
from agent.smoothing.values import NS_PER_MS, NS_PER_S, Change, Direction, Place, Side
from devices.reads import TagRead

MOST_TAGS: Final = 100_000  # in view; above, the one that would depart first departs at once
# Seen too seldom to be believed; above, the one that was seen first is forgotten. Noise pushes out nothing else.
MOST_UNBELIEVED: Final = 10_000
_WAYS: Final[dict[tuple[Side | None, Side | None], Direction]] = {
    ("outside", "inside"): "in",
    ("inside", "outside"): "out",
}
MOST_HEARINGS: Final = 8  # places that hear one tag; above, the one that heard it longest ago is forgotten


class _Antennas(dict[int | None, Place]):
    """Antenna → place, of one device."""

    def __missing__(self, antenna: int | None) -> Place:
        return self[None]


class Tag:
    """One that is in view."""

    __slots__ = ("due_ns", "epc", "here", "is_gone", "others", "owed", "settled", "since_ns", "through")

    def __init__(self, epc: bytes, here: Hearing, since_ns: int) -> None:
        self.epc, self.here, self.since_ns = epc, here, since_ns
        self.others: list[Hearing] = []
        self.is_gone = False
        self.through: Direction | None = None
        """The direction that its departure will tell."""
        self.settled: Place | None = None
        """The place that was told, and of which something came."""
        self.owed: Change | None = None
        """What is told once more, since nothing came of it."""
        self.due_ns = 0
        """When."""


class _Unbelieved:
    """One that was seen, but not enough yet."""

    __slots__ = ("believed", "epc", "first", "hearings", "is_gone", "seen_ns")

    def __init__(self, epc: bytes, first: Hearing) -> None:
        self.epc, self.first, self.hearings = epc, first, [first]
        self.seen_ns: deque[int] = deque(maxlen=100)
        self.believed = self.is_gone = False


class Smoother:
    """All tags of all places of one agent."""

    def __init__(self, places: Sequence[Place], most_tags: int = MOST_TAGS) -> None:
        self._most = most_tags
        self._places: dict[str, _Antennas] = {}
        for place in places:
            for device, antenna in place.antennas:
                self._places.setdefault(device, _Antennas())[antenna] = place
        self._watched = {place.station for place in places if place.side == "outside"}
        """Stations that look outside."""
        self._by_name = {place.name: place for place in places}
        self._tags: dict[bytes, Tag] = {}
        self._unbelieved: OrderedDict[bytes, _Unbelieved] = OrderedDict()
        self._agenda: list[tuple[int, int, Tag | _Unbelieved]] = []
        self._number = 0
        self._now_ns = 0
        """Of the last tick."""
        self._deaf: set[str] = set()
        """Devices that are stopped."""
        self._resumed_ns: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tags)

    # --- what comes in ----------------------------------------------------------------------------------------

    def feed(self, reads: Iterable[TagRead]) -> list[Change]:
        """Sightings, in the order in which they came; each has an EPC."""
        changes: list[Change] = []
        tags = self._tags
        device: str | None = None
        for read in reads:
            if read.device is not device:
                device = read.device
                places = self._places[device]
            epc = read.epc
            tag = tags.get(epc)  # type: ignore[arg-type]
            place = places[read.antenna]
            if tag is not None:
                here = tag.here
                if here.place is place:
                    here.read = read
                    strength = read.rssi_dbm
                    if strength is not None:
                        here.strengths.append(strength)
                else:
                    self._elsewhere(tag, place, read, changes)
            else:
                self._unknown(place, read, changes)
        return changes

    def tick(self, now_ns: int) -> list[Change]:
        """What time alone has brought about."""
        changes: list[Change] = []
        self._now_ns = now_ns
        agenda = self._agenda
        while agenda and agenda[0][0] <= now_ns:
            _, _, item = heapq.heappop(agenda)
            if item.is_gone:
                continue
            if isinstance(item, Tag):
                self._look_at(item, now_ns, changes)
            else:
                self._wait_for(item, now_ns, changes)
        return changes

    def due_ns(self) -> int | None:
        """When `tick` has something to do."""
        return self._agenda[0][0] if self._agenda else None

    def stopped(self, device: str) -> None:
        """It hears nothing any more: that is no evidence of anything."""
        self._deaf.add(device)

    def resumed(self, device: str, now_ns: int) -> None:
        """It hears again: from now on its silence means something."""
        if device in self._deaf:
            self._deaf.remove(device)
            self._resumed_ns[device] = now_ns

    # --- what came of it --------------------------------------------------------------------------------------

    def settled(self, change: Change) -> None:
        """It was dealt with; until then a snapshot leaves it out. What is to be told again is not settled by this."""
        tag = self._tags.get(change.epc)
        if tag is not None and change.kind != "departed" and tag.owed is not change:
            tag.settled = change.place

    def retry(self, change: Change, wait_ms: int) -> None:
        """Nothing came of it: if the tag is still in view after this time, it is told once more."""
        tag = self._tags.get(change.epc)
        if tag is not None:
            due_ns = max(self._now_ns, change.read.monotonic_ns) + wait_ms * NS_PER_MS
            tag.owed, tag.due_ns = change, due_ns
            self._put(due_ns, tag)

    # --- over a restart ---------------------------------------------------------------------------------------

    def snapshot(self) -> list["Tag"]:
        """What is in view, cheaply: `kept` makes values of it, also in another thread."""
        return list(self._tags.values())

    def recall(self, epc: bytes, place: Place, stayed_ns: int, now_ns: int) -> None:
        """After a restart: this may be in view still. If it is not, it departs after the usual time."""
        if len(self._tags) >= self._most or epc in self._tags:
            return
        read = TagRead(place.antennas[0][0], b"", epc, 0.0, now_ns)
        tag = self._tags[epc] = Tag(epc, Hearing(place, read), now_ns - stayed_ns)
        tag.settled = place
        self._put(self._departs_ns(tag, now_ns), tag)

    def place(self, name: str) -> Place | None:
        """The place of this name."""
        return self._by_name.get(name)

    def place_of(self, device: str, antenna: int | None) -> Place | None:
        """Where this antenna hears."""
        return self._places[device].get(antenna) if device in self._places else None

    # --- tags that are in view --------------------------------------------------------------------------------

    def _elsewhere(self, tag: Tag, place: Place, read: TagRead, changes: list[Change]) -> None:
        """Another place than its own hears it."""
        floor_dbm, strength = place.parameters.floor_dbm, read.rssi_dbm
        if floor_dbm is not None and strength is not None and strength < floor_dbm:
            return
        other = _hearing(tag.others, place, read)
        other.take(read)
        if is_better(other, tag.here, self._silent_ns(tag.here, read.monotonic_ns)):
            self._move(tag, other, changes)

    def _move(self, tag: Tag, other: Hearing, changes: list[Change]) -> None:
        here = tag.here
        tag.others.remove(other)
        tag.others.append(here)
        tag.here, tag.through = other, None
        direction = _WAYS.get((here.place.side, other.place.side))
        changes.append(Change("moved", other.place, here.place, other.read, direction))

    def _look_at(self, tag: Tag, now_ns: int, changes: list[Change]) -> None:
        """It may have departed, or something is told again."""
        owed = tag.owed
        if owed is not None and tag.due_ns <= now_ns:
            tag.owed = None
            read = tag.here.read if tag.here.place is owed.place else owed.read
            changes.append(Change(owed.kind, owed.place, owed.before, read, owed.direction))
            return
        departs_ns = self._departs_ns(tag, now_ns)
        if departs_ns > now_ns:
            self._put(departs_ns, tag)
            return
        heard = [other for other in tag.others if other.read.monotonic_ns > tag.here.read.monotonic_ns]
        if not heard:
            self._depart(tag, changes)
            return
        self._move(tag, max(heard, key=_rank), changes)
        self._put(self._departs_ns(tag, now_ns), tag)

    def _departs_ns(self, tag: Tag, now_ns: int) -> int:
        """When, if nobody hears it until then."""
        here = tag.here
        if here.read.device in self._deaf:
            return now_ns + here.place.parameters.departed_s * NS_PER_S
        return self._heard_ns(here) + _patience_ns(tag)

    def _depart(self, tag: Tag, changes: list[Change]) -> None:
        del self._tags[tag.epc]
        tag.is_gone = True
        here = tag.here
        changes.append(Change("departed", here.place, None, here.read, tag.through))

    # --- tags that are not ------------------------------------------------------------------------------------

    def _unknown(self, place: Place, read: TagRead, changes: list[Change]) -> None:
        own, strength, epc, now_ns = place.parameters, read.rssi_dbm, read.epc, read.monotonic_ns
        assert epc is not None
        if own.floor_dbm is not None and strength is not None and strength < own.floor_dbm:
            return
        found = self._unbelieved.get(epc)
        if found is None:
            found = self._unbelieved[epc] = _Unbelieved(epc, Hearing(place, read))
            self._put(now_ns + own.settle_ms * NS_PER_MS, found)
            if len(self._unbelieved) > MOST_UNBELIEVED:
                self._unbelieved.popitem(last=False)[1].is_gone = True
        _hearing(found.hearings, place, read).take(read)
        found.seen_ns.extend([now_ns] * min(read.count, own.believe_reads))
        if not found.believed:
            oldest_ns = now_ns - own.believe_within_ms * NS_PER_MS
            while found.seen_ns[0] < oldest_ns:
                found.seen_ns.popleft()
            found.believed = (
                len(found.seen_ns) >= own.believe_reads
                or (own.strong_dbm is not None and strength is not None and strength >= own.strong_dbm)
            ) and now_ns - found.first.first_ns >= own.dwell_ms * NS_PER_MS
        if found.believed and now_ns - found.first.first_ns >= own.settle_ms * NS_PER_MS:
            self._arrive(found, changes)

    def _wait_for(self, found: _Unbelieved, now_ns: int, changes: list[Change]) -> None:
        if found.believed:
            self._arrive(found, changes)
            return
        newest = max(found.hearings, key=lambda hearing: hearing.read.monotonic_ns)
        forgotten_ns = newest.read.monotonic_ns + newest.place.parameters.believe_within_ms * NS_PER_MS
        if forgotten_ns <= now_ns:
            found.is_gone = True
            del self._unbelieved[found.epc]
        else:
            self._put(forgotten_ns, found)

    def _arrive(self, found: _Unbelieved, changes: list[Change]) -> None:
        found.is_gone = True
        del self._unbelieved[found.epc]
        here = max(found.hearings, key=_rank)
        tag = self._tags[found.epc] = Tag(found.epc, here, found.first.first_ns)
        tag.others = [hearing for hearing in found.hearings if hearing is not here]
        if len(self._tags) > self._most:
            self._let_go(changes)
        direction = self._way_of(tag, found.first)
        changes.append(Change("arrived", here.place, None, here.read, direction))
        self._put(self._departs_ns(tag, here.read.monotonic_ns), tag)

    def _way_of(self, tag: Tag, first: Hearing) -> Direction | None:
        """The direction of an arrival; what only its departure can tell is noted."""
        here = tag.here
        if here.place.side != "inside":
            return None
        if here.place.station not in self._watched:
            return "in"
        if first.place.side == "outside" and not is_far_below(first, here):
            return "in"
        tag.through = "in"
        return None

    def _let_go(self, changes: list[Change]) -> None:
        """Too many: the one that would depart first departs now."""
        aside: list[tuple[int, int, Tag | _Unbelieved]] = []
        while True:
            entry = heapq.heappop(self._agenda)
            due_ns, _, item = entry
            if item.is_gone:
                continue
            if isinstance(item, _Unbelieved):
                aside.append(entry)
                continue
            departs_ns = item.here.read.monotonic_ns + _patience_ns(item)
            if departs_ns <= due_ns:
                self._depart(item, changes)
                break
            self._put(departs_ns, item)
        for entry in aside:
            heapq.heappush(self._agenda, entry)

    # --- what helps -------------------------------------------------------------------------------------------

    def _put(self, due_ns: int, item: "Tag | _Unbelieved") -> None:
        self._number += 1
        heapq.heappush(self._agenda, (due_ns, self._number, item))

    def _heard_ns(self, here: Hearing) -> int:
        """Until when the device that heard the tag last, or could have, tells that it is there."""
        read = here.read
        return max(read.monotonic_ns, self._resumed_ns.get(read.device, 0))

    def _silent_ns(self, here: Hearing, now_ns: int) -> int:
        """For how long a place that could hear has not heard it."""
        return 0 if here.read.device in self._deaf else now_ns - self._heard_ns(here)


def _patience_ns(tag: Tag) -> int:
    """How long nobody may hear it: as long as it stayed, within bounds."""
    own = tag.here.place.parameters
    stayed_ns = tag.here.read.monotonic_ns - tag.since_ns
    return min(max(own.departed_s * NS_PER_S, stayed_ns), own.departed_most_s * NS_PER_S)


def _hearing(hearings: list[Hearing], place: Place, read: TagRead) -> Hearing:
    for hearing in hearings:
        if hearing.place is place:
            return hearing
    if len(hearings) >= MOST_HEARINGS:
        hearings.remove(min(hearings, key=lambda hearing: hearing.read.monotonic_ns))
    new = Hearing(place, read)
    hearings.append(new)
    return new


def _rank(hearing: Hearing) -> tuple[float, int, int]:
    level_dbm = hearing.level_dbm()
    return (level_dbm if level_dbm is not None else -200.0, hearing.reads, hearing.read.monotonic_ns)

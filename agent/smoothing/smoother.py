"""Many sightings of a tag become one *arrived*, *moved* or *departed*.

The one idea: a tag is at one place until there is evidence that it is not. Hearing it there again is the common
case and costs next to nothing; a new tag, another place and silence are rare, and each is looked at when it happens
or when its time has come.

Pure: time comes in. Everything it holds is bounded: tags in view and changes that are told again by `most_tags`,
tags that are not believed yet by `MOST_UNBELIEVED`, what is kept of one tag by `MOST_HEARINGS`. A tag that one place
hears takes some 2 kB, one that two hear 4 kB: 100,000 of them 0.2 to 0.4 GB.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from agent.smoothing.agenda import Agenda
from agent.smoothing.hearing import Hearing, is_better, is_far_below, margin_db, rank, went_through
from agent.smoothing.tracks import Owed, Tag, Unbelieved, hearing_of
from agent.smoothing.values import NS_PER_MS, NS_PER_S, Change, Direction, Place, Side
from devices.reads import TagRead

MOST_TAGS: Final = 100_000  # in view; above, the one that would depart first departs at once
# Seen too seldom to be believed; above, the one that was seen first is forgotten; if it only waits to come nearer,
# it arrives. Noise pushes out nothing else.
MOST_UNBELIEVED: Final = 10_000
_WAYS: Final[dict[tuple[Side | None, Side | None], Direction]] = {
    ("outside", "inside"): "in",
    ("inside", "outside"): "out",
}


class _Ears:
    """What one device hears: places by antenna, and that of all other antennas."""

    __slots__ = ("others", "places")

    def __init__(self) -> None:
        self.places: dict[int | None, Place] = {}
        self.others: Place | None = None


class Smoother:
    """All tags of all places of one agent. Every antenna that is heard is in one of the places."""

    def __init__(self, places: Sequence[Place], most_tags: int = MOST_TAGS) -> None:
        self._most = most_tags
        self._by_name = {place.name: place for place in places}
        self._ears: dict[str, _Ears] = {}
        for place in places:
            for device, antenna in place.antennas:
                ears = self._ears.setdefault(device, _Ears())
                if antenna is None:
                    ears.others = place
                else:
                    ears.places[antenna] = place
        self._watched = {place.station for place in places if place.side == "outside"}
        """Stations that look outside."""
        self.gates = frozenset(place.station for place in places if place.side is not None)
        """Stations whose places have sides: there, what comes into view has not passed yet."""
        number_of = Counter(place.station for place in places)
        self._alone = {place for place in places if number_of[place.station] == 1}
        """Places with which no other one of their station competes."""
        self._tags: dict[bytes, Tag] = {}
        self._unbelieved: OrderedDict[bytes, Unbelieved] = OrderedDict()
        self._owed: OrderedDict[bytes, Owed] = OrderedDict()
        self._agenda: Agenda[Tag | Unbelieved | Owed] = Agenda()
        self._departures: Agenda[Tag] = Agenda()
        """Each tag once, not later than it departs."""
        self._now_ns = 0
        """Of the last tick."""
        self.revision = 0
        """Another number means that a snapshot may be another one."""
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
                ears = self._ears[device]
                by_antenna, place = ears.places, ears.others
            if by_antenna:
                place = by_antenna.get(read.antenna, ears.others)
            assert place is not None, "every antenna that is heard is in a place"
            tag = tags.get(read.epc)  # type: ignore[arg-type]
            if tag is None:
                self._unknown(place, read, changes)
                continue
            here = tag.here
            if here.place is place:
                # The common case; everything else is rare.
                here.read = read
                if read.monotonic_ns >= here.next_ns:
                    here.glance(read)
            else:
                self._elsewhere(tag, place, read, changes)
        return changes

    def tick(self, now_ns: int) -> list[Change]:
        """What time alone has brought about."""
        changes: list[Change] = []
        self._now_ns = now_ns
        while (due := self._agenda.pop(now_ns)) is not None:
            item = due[1]
            if isinstance(item, Tag):
                self._listen(item, now_ns, changes)
            elif isinstance(item, Unbelieved):
                self._wait_for(item, now_ns, changes)
            else:
                self._tell_again(item, changes)
        while (departure := self._departures.pop(now_ns)) is not None:
            self._look_after(departure[1], now_ns, changes)
        return changes

    def due_ns(self) -> int | None:
        """When `tick` has something to do."""
        times = (self._agenda.next_ns, self._departures.next_ns)
        return min((due_ns for due_ns in times if due_ns is not None), default=None)

    def stopped(self, device: str) -> None:
        """It hears nothing any more: its silence is no evidence of anything."""
        self._deaf.add(device)

    def resumed(self, device: str, now_ns: int) -> None:
        """It hears again: from now on its silence means something."""
        if device in self._deaf:
            self._deaf.remove(device)
            self._resumed_ns[device] = now_ns

    # --- what came of it --------------------------------------------------------------------------------------

    def settled(self, change: Change) -> None:
        """It was dealt with; until then a snapshot leaves it out. What is to be told again is not settled by this."""
        tag, owed = self._tags.get(change.epc), self._owed.get(change.epc)
        if tag is not None and change.kind != "departed" and (owed is None or owed.change is not change):
            tag.settled = change.place
            self.revision += 1

    def retry(self, change: Change, wait_ms: int) -> None:
        """Nothing came of it: after this time it is told once more, if the tag is still in view; and in any case if
        it passed a gate, as it has gone on by then.
        """
        epc = change.epc
        if epc not in self._tags and change.direction is None:
            return
        self._forgive(epc)
        owed = self._owed[epc] = Owed(change)
        self._agenda.put(max(self._now_ns, change.read.monotonic_ns) + wait_ms * NS_PER_MS, owed)
        if len(self._owed) > self._most:
            self._forgive(next(iter(self._owed)))

    def _forgive(self, epc: bytes) -> None:
        owed = self._owed.pop(epc, None)
        if owed is not None:
            owed.is_gone = True

    def _tell_again(self, owed: Owed, changes: list[Change]) -> None:
        told = owed.change
        self._forgive(told.epc)
        tag = self._tags.get(told.epc)
        is_there = tag is not None and tag.here.place is told.place
        changes.append(replace(told, read=tag.here.read if tag is not None and is_there else told.read))

    # --- over a restart ---------------------------------------------------------------------------------------

    def snapshot(self) -> list[Tag]:
        """What is in view, cheaply: `keep` makes values of it, also in another thread."""
        return list(self._tags.values())

    def recall(
        self, epc: bytes, place: Place, now_ns: int, stayed_ns: int = 0, through: Direction | None = None
    ) -> None:
        """After a restart: this may be in view still. If it is not, it departs after the usual time."""
        if len(self._tags) >= self._most or epc in self._tags:
            return
        device, antenna = place.antennas[0]
        read = TagRead(device, b"", epc, 0.0, now_ns, antenna)
        tag = self._tags[epc] = Tag(epc, Hearing(place, read), now_ns - stayed_ns)
        tag.settled, tag.through = place, through
        self._departures.put(self._departs_ns(tag, now_ns), tag)

    def place(self, name: str) -> Place | None:
        """The place of this name."""
        return self._by_name.get(name)

    def place_of(self, device: str, antenna: int | None) -> Place | None:
        """What this antenna hears."""
        ears = self._ears.get(device)
        return ears.places.get(antenna, ears.others) if ears is not None else None

    # --- tags that are in view --------------------------------------------------------------------------------

    def _elsewhere(self, tag: Tag, place: Place, read: TagRead, changes: list[Change]) -> None:
        """Another place than its own hears it."""
        strength = read.rssi_dbm
        if strength is not None and strength < place.parameters.floor_dbm:
            return
        other, here = hearing_of(tag.others, place, read), tag.here
        other.take(read)
        if is_better(other, here, self._margin_db(here, read.monotonic_ns)):
            self._move(tag, other, changes)
        elif not tag.awaits_quiet:
            tag.awaits_quiet = True
            self._agenda.put(read.monotonic_ns + here.place.parameters.quiet_ms * NS_PER_MS, tag)

    def _move(self, tag: Tag, other: Hearing, changes: list[Change]) -> None:
        here = tag.here
        tag.others.remove(other)
        tag.others.append(here)
        here.forget_peak()
        tag.here, side = other, other.place.side
        direction = _WAYS.get((tag.side, side))
        if tag.side is None:
            direction = self._way_in(tag, here)
        if side is not None:
            tag.side = side
        if side == "outside":
            tag.through = None
        changes.append(Change("moved", other.place, here.place, other.read, direction))

    def _listen(self, tag: Tag, now_ns: int, changes: list[Change]) -> None:
        """Everybody may be silent."""
        quiet_ns = tag.heard_ns + tag.here.place.parameters.quiet_ms * NS_PER_MS
        if quiet_ns > now_ns:
            self._agenda.put(quiet_ns, tag)
        else:
            self._all_is_heard(tag, changes)

    def _look_after(self, tag: Tag, now_ns: int, changes: list[Change]) -> None:
        """It may have departed."""
        if self._departs_ns(tag, now_ns) <= now_ns:
            last_ns = tag.here.read.monotonic_ns
            heard = [
                other for other in tag.others if other.hears(now_ns) and other.read.monotonic_ns > last_ns
            ]
            if not heard:
                self._depart(tag, changes)
                return
            # However weakly: it is heard there, and here it would have departed. Only where it was heard later:
            # two places that are both silent would hand it to each other for ever.
            self._move(tag, max(heard, key=rank), changes)
        if tag.stayed_ns <= 2 * tag.here.place.parameters.departed_most_s * NS_PER_S:
            self.revision += 1  # a snapshot says how long it has stayed, until more makes no difference
        self._departures.put(self._departs_ns(tag, now_ns), tag)

    def _all_is_heard(self, tag: Tag, changes: list[Change]) -> None:
        """Nobody has heard it for a moment: no more evidence comes, so that no margin is left to wait for."""
        tag.awaits_quiet, here = False, tag.here
        went = [other for other in tag.others if went_through(here, other)]
        if not went:
            later = [other for other in tag.others if other.read.monotonic_ns > here.read.monotonic_ns]
            went = [
                other
                for other in later
                if is_better(other, here, min(0.0, self._margin_db(here, other.read.monotonic_ns)))
            ]
        if went:
            self._move(tag, max(went, key=rank), changes)

    def _departs_ns(self, tag: Tag, now_ns: int) -> int:
        """When, if nobody hears it until then."""
        here = tag.here
        device, least_ns = here.read.device, here.place.parameters.departed_s * NS_PER_S
        if device in self._deaf:
            return now_ns + least_ns
        resumed_ns = self._resumed_ns.get(device, 0)
        if resumed_ns > here.read.monotonic_ns:
            # Much may have happened meanwhile: what is still there is heard soon.
            return resumed_ns + max(least_ns, here.forgotten_ns)
        return here.read.monotonic_ns + tag.patience_ns

    def _depart(self, tag: Tag, changes: list[Change]) -> None:
        del self._tags[tag.epc]
        tag.is_gone = True
        self.revision += 1
        owed = self._owed.get(tag.epc)
        if owed is not None and owed.change.direction is None:
            self._forgive(tag.epc)
        here = tag.here
        changes.append(Change("departed", here.place, None, here.read, tag.through))

    # --- tags that are not ------------------------------------------------------------------------------------

    def _unknown(self, place: Place, read: TagRead, changes: list[Change]) -> None:
        own, strength, epc, now_ns = place.parameters, read.rssi_dbm, read.epc, read.monotonic_ns
        if strength is not None and strength < own.floor_dbm:
            return
        assert epc is not None
        found = self._unbelieved.get(epc)
        if found is None:
            found = self._unbelieved[epc] = Unbelieved(epc, now_ns)
            self._agenda.put(now_ns + own.settle_ms * NS_PER_MS, found)
            if len(self._unbelieved) > MOST_UNBELIEVED:
                self._give_up(next(iter(self._unbelieved.values())), changes)
        found.take(place, read)
        if found.believed and (
            now_ns >= found.better_ns + own.settle_ms * NS_PER_MS
            or self._is_alone(found)
            or (strength is not None and strength >= own.strong_dbm and found.is_clear())
        ):
            self._arrive(found, changes)

    def _is_alone(self, found: Unbelieved) -> bool:
        """Nothing competes: there is nothing to wait for."""
        return len(found.hearings) == 1 and found.hearings[0].place in self._alone

    def _wait_for(self, found: Unbelieved, now_ns: int, changes: list[Change]) -> None:
        until_ns = found.settled_ns if found.believed else found.forgotten_ns
        if until_ns > now_ns:
            self._agenda.put(until_ns, found)
        else:
            self._give_up(found, changes)

    def _give_up(self, found: Unbelieved, changes: list[Change]) -> None:
        """No more can be waited for."""
        if found.believed:
            self._arrive(found, changes)
        else:
            found.is_gone = True
            del self._unbelieved[found.epc]

    def _arrive(self, found: Unbelieved, changes: list[Change]) -> None:
        found.is_gone = True
        del self._unbelieved[found.epc]
        here = found.best
        if len(self._tags) >= self._most:
            self._let_go(changes)
        tag = self._tags[found.epc] = Tag(found.epc, here, found.first_ns)
        tag.others = [other for other in found.hearings if other is not here]
        first = next((other for other in tag.others if went_through(other, here)), None)
        if first is not None:
            # Both sides of a gate have heard it by now: it is told what happened, in the order in which it did.
            changes.append(Change("arrived", first.place, None, first.read))
            direction = _WAYS.get((first.place.side, here.place.side))
            changes.append(Change("moved", here.place, first.place, here.read, direction))
            first.forget_peak()
        else:
            direction = self._way_in(tag, found.hearings[0])
            changes.append(Change("arrived", here.place, None, here.read, direction))
        self._departures.put(self._departs_ns(tag, here.read.monotonic_ns), tag)

    def _way_in(self, tag: Tag, first: Hearing) -> Direction | None:
        """The direction of one that was at no side before; what only its departure can tell is noted."""
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
        while (departure := self._departures.pop()) is not None:
            due_ns, tag = departure
            departs_ns = tag.here.read.monotonic_ns + tag.patience_ns
            if departs_ns <= due_ns:
                self._all_is_heard(tag, changes)
                self._depart(tag, changes)
                return
            self._departures.put(departs_ns, tag)

    # --- what helps -------------------------------------------------------------------------------------------

    def _margin_db(self, here: Hearing, now_ns: int) -> float:
        return margin_db(here, self._silent_ns(here, now_ns))

    def _silent_ns(self, here: Hearing, now_ns: int) -> int:
        """For how long a device that could hear the tag has not heard it."""
        device = here.read.device
        if device in self._deaf:
            return 0
        return now_ns - max(here.read.monotonic_ns, self._resumed_ns.get(device, 0))

"""What is known of one tag: where it is, or, as long as it is not believed, that it was seen."""

from collections import deque
from typing import Final

from agent.smoothing.hearing import UNHEARD_DBM, Hearing, is_far_below, rank
from agent.smoothing.parameters import MOST_COUNTED, Parameters
from agent.smoothing.values import NS_PER_MS, NS_PER_S, Change, Direction, Place
from devices.reads import TagRead

MOST_HEARINGS: Final = 8  # places that hear one tag; above, the one that heard it longest ago is forgotten


class Tag:
    """One that is in view."""

    __slots__ = (
        "awaits_quiet",
        "epc",
        "here",
        "is_gone",
        "others",
        "settled",
        "side",
        "since_ns",
        "through",
    )

    def __init__(self, epc: bytes, here: Hearing, since_ns: int) -> None:
        self.epc, self.here, self.since_ns = epc, here, since_ns
        self.others: list[Hearing] = []
        self.is_gone = False
        self.awaits_quiet = False
        """Another place heard it, too: it will be looked whether everybody is silent."""
        self.side = here.place.side
        """Of a gate: the one that it was at last."""
        self.through: Direction | None = None
        """The direction that its departure will tell."""
        self.settled: Place | None = None
        """The place that was told, and of which something came."""

    @property
    def heard_ns(self) -> int:
        """When anybody heard it last."""
        return max(self.here.read.monotonic_ns, *(other.read.monotonic_ns for other in self.others), 0)

    @property
    def stayed_ns(self) -> int:
        """How long it has been in view."""
        return self.here.read.monotonic_ns - self.since_ns

    @property
    def patience_ns(self) -> int:
        """How long nobody may hear it: some times as long as it stayed, within bounds."""
        own = self.here.place.parameters
        given_ns = max(own.departed_s * NS_PER_S, int(own.departed_stays * self.stayed_ns))
        return min(given_ns, max(own.departed_s, own.departed_most_s) * NS_PER_S)


class Owed:
    """A change that is told once more, since nothing came of it."""

    __slots__ = ("change", "is_gone")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.is_gone = False


class Unbelieved:
    """One that was seen, but not enough yet."""

    __slots__ = ("believed", "best_dbm", "better_ns", "epc", "first_ns", "hearings", "is_gone", "seen_ns")

    def __init__(self, epc: bytes, first_ns: int) -> None:
        self.epc, self.first_ns = epc, first_ns
        self.hearings: list[Hearing] = []
        """In the order in which the places heard it first."""
        self.seen_ns: deque[int] = deque(maxlen=MOST_COUNTED)
        self.best_dbm, self.better_ns = UNHEARD_DBM, first_ns
        """It came nearer until then."""
        self.believed = self.is_gone = False

    def take(self, place: Place, read: TagRead) -> None:
        """It was seen once more."""
        now_ns, strength = read.monotonic_ns, read.rssi_dbm
        hearing_of(self.hearings, place, read).take(read)
        if strength is not None and strength > self.best_dbm:
            self.best_dbm, self.better_ns = strength, now_ns
        if not self.believed:
            self.believed = self._is_believed(place.parameters, read)

    def _is_believed(self, own: Parameters, read: TagRead) -> bool:
        seen_ns, now_ns = self.seen_ns, read.monotonic_ns
        seen_ns.extend([now_ns] * min(read.count, own.believe_reads))
        oldest_ns = now_ns - own.believe_within_ms * NS_PER_MS
        while seen_ns[0] < oldest_ns:
            seen_ns.popleft()
        is_enough = len(seen_ns) >= own.believe_reads or self.best_dbm >= own.strong_dbm
        return is_enough and now_ns - self.first_ns >= own.dwell_ms * NS_PER_MS

    @property
    def best(self) -> Hearing:
        """Of the place where it most likely is."""
        return max(self.hearings, key=rank)

    def is_clear(self) -> bool:
        """Whether one place hears it so well that it can be at no other."""
        here = self.best
        if not here.strengths or here.strengths[-1] < here.place.parameters.strong_dbm:
            return False
        return all(other is here or is_far_below(other, here) for other in self.hearings)

    @property
    def settled_ns(self) -> int:
        """From when on it counts as having come as near as it will."""
        return self.better_ns + self.best.place.parameters.settle_ms * NS_PER_MS

    @property
    def forgotten_ns(self) -> int:
        """When what was seen of it says nothing any more."""
        newest = max(self.hearings, key=lambda hearing: hearing.read.monotonic_ns)
        return newest.read.monotonic_ns + newest.place.parameters.believe_within_ms * NS_PER_MS


def hearing_of(hearings: list[Hearing], place: Place, read: TagRead) -> Hearing:
    """What this place heard; a new one if it heard nothing yet."""
    for hearing in hearings:
        if hearing.place is place:
            return hearing
    if len(hearings) >= MOST_HEARINGS:
        hearings.remove(min(hearings, key=lambda hearing: hearing.read.monotonic_ns))
    new = Hearing(place, read)
    hearings.append(new)
    return new

"""Precision and recall of arrivals: the agent's smoothing beside a plain window of time and EdgeX's algorithm.

The one idea: a tag arrives once at each place where it really was, while it was there. A false arrival is one that
has no such visit; a missed one is a visit that was never told, or told before it began or long after it ended.

The seeds that are reported were never used to choose a number of the smoothing; those in `CHOSEN_ON` were.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.smoothing import Change, Parameters, Place, Smoother
from benchmarks.field import START_NS, Stream
from benchmarks.figures import Tally
from benchmarks.rivals import Arrival, Filter, Inventory, PlaceOf, Window
from benchmarks.streams import STREAMS
from devices.reads import TagRead

REPORTED = range(3001, 3004)
CHOSEN_ON = range(1, 6)
EARLY_S = 0.5  # how exactly the geometry says where a pallet of a metre is
LATE_S = 5.0
TICK_NS = 100_000_000
# What whoever sets up a gate finds with a walk: nothing that passes is read more weakly. All else is as delivered.
SETTINGS = dict.fromkeys(("strays", "fast_pass"), Parameters.model_validate({"floor_dbm": -66.0}))


class Ours:
    """The agent's smoothing, and what a port's status tells it."""

    def __init__(self, stream: Stream, parameters: Parameters | None = None) -> None:
        parameters = parameters or SETTINGS.get(stream.name) or Parameters.model_validate({})
        self.changes: list[Change] = []
        self._smoother = Smoother(
            [
                Place(name, "dock", antennas, stream.sides.get(name), parameters)  # type: ignore[arg-type]
                for name, antennas in stream.places.items()
            ]
        )

    def feed(self, read: TagRead) -> list[Arrival]:
        """One sighting."""
        return self._arrivals(self._smoother.feed((read,)), read.monotonic_ns)

    def tick(self, now_ns: int) -> list[Arrival]:
        """Ten times a second."""
        return self._arrivals(self._smoother.tick(now_ns), now_ns)

    def port(self, device: str, works: bool, now_ns: int) -> None:
        """A device went away, or is there again."""
        if works:
            self._smoother.resumed(device, now_ns)
        else:
            self._smoother.stopped(device)

    def _arrivals(self, changes: list[Change], now_ns: int) -> list[Arrival]:
        self.changes += changes
        return [(change.epc, change.place.name, now_ns) for change in changes if change.kind != "departed"]


FILTERS: dict[str, Callable[[Stream, PlaceOf], Filter]] = {
    "ours": lambda stream, _: Ours(stream),
    "window": lambda _, place_of: Window(place_of),
    "edgex": lambda _, place_of: Inventory(place_of),
}


@dataclass(slots=True)
class Score:
    """How many arrivals were right, false and missed."""

    right: int = 0
    false: int = 0
    missed: int = 0

    def add(self, other: "Score") -> None:
        """Of another seed."""
        self.right, self.false = self.right + other.right, self.false + other.false
        self.missed += other.missed

    @property
    def precision(self) -> float:
        """Of what was told, how much was right."""
        return self.right / (self.right + self.false) if self.right + self.false else 1.0

    @property
    def recall(self) -> float:
        """Of what was right, how much was told."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0


def play(stream: Stream, smoothing: Filter) -> list[Arrival]:
    """Everything in the order in which it happened, with a tick ten times a second."""
    ports = sorted(
        (START_NS + int(time_s * 1e9), device, works)
        for start_s, end_s, device in stream.stops
        for time_s, works in ((start_s, False), (end_s, True))
    )
    told: list[Arrival] = []
    tick_ns = START_NS
    end_ns = START_NS + int(stream.seconds * 1e9)
    for read in [*stream.reads, None]:
        until_ns = read.monotonic_ns if read is not None else end_ns
        while tick_ns <= until_ns:
            while ports and ports[0][0] <= tick_ns:
                now_ns, device, works = ports.pop(0)
                smoothing.port(device, works, now_ns)
            told += smoothing.tick(tick_ns)
            tick_ns += TICK_NS
        if read is not None:
            told += smoothing.feed(read)
    return told


def score(stream: Stream, told: list[Arrival]) -> Score:
    """Each visit is told once: the first arrival that fits is right, every other one is false."""
    open_visits: dict[tuple[bytes, str], list[tuple[float, float]]] = {}
    for visit in stream.visits:
        open_visits.setdefault((visit.epc, visit.place), []).append((visit.from_s, visit.to_s))
    found = Score(missed=len(stream.visits))
    for epc, place, told_ns in told:
        at_s = (told_ns - START_NS) / 1e9
        visits = open_visits.get((epc, place), [])
        fits = [each for each in visits if each[0] - EARLY_S <= at_s <= each[1] + LATE_S]
        if fits:
            visits.remove(fits[0])
            found.right, found.missed = found.right + 1, found.missed - 1
        else:
            found.false += 1
    return found


def scores(make: Callable[[random.Random], Stream], seeds: range) -> dict[str, Score]:
    """All filters on the same streams."""
    found = {name: Score() for name in FILTERS}
    for seed in seeds:
        stream = make(random.Random(f"{make.__name__} {seed}"))
        antennas = {ear: place for place, ears in stream.places.items() for ear in ears}

        def place_of(
            device: str, antenna: int | None, antennas: dict[tuple[str, int], str] = antennas
        ) -> str:
            return antennas[device, antenna or 0]

        for name, build in FILTERS.items():
            found[name].add(score(stream, play(stream, build(stream, place_of))))
    return found


def run(_directory: Path) -> Iterator[Tally]:
    """Every stream, every filter; 1 is perfect."""
    for make in STREAMS:
        found = scores(make, REPORTED)
        by = {name: {"precision": each.precision, "recall": each.recall} for name, each in found.items()}
        visits = found["ours"].right + found["ours"].missed
        yield Tally(f"smoothing.{make.__name__}", visits, by, of="visits")

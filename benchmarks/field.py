"""What UHF readers hear of tags that move: physics from a seed, with the right answer known.

The one idea: nothing here knows how readings are smoothed. A tag answers where the field wakes it; the field is the
sum of the direct wave and its echoes, so it fades and swells over half a wavelength; a reader looks through one
antenna after the other, and the tags that hear it share its time. Where a tag really was is geometry alone.

Numbers: ETSI EN 302 208 (2 W ERP, four channels from 865.7 MHz on), free-space loss (Friis), chips that wake
at −18 dBm, readers that hear down to −82 dBm.
"""

import cmath
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from devices.reads import TagRead

CHANNELS_MHZ: Final = (865.7, 866.3, 866.9, 867.5)
LIGHT_M_PER_US: Final = 299.792458
EIRP_DBM: Final = 35.15
ANTENNA_DBI: Final = 8.15
TAG_DBI: Final = 2.0
BACKSCATTER_DB: Final = 6.0  # what a chip sends back is weaker than what it gets
WAKES_DBM: Final = -18.0
HEARS_DBM: Final = -82.0
BEAM: Final = 3.5  # cos^n with half the power at ±35°
BACK_LOBE: Final = 0.01  # of the power, behind the antenna
DWELL_S: Final = 0.2  # on one antenna, then the next
READS_PER_S: Final = 300  # of one reader
MOST_A_DWELL: Final = 3.0  # of one tag
NOISE_DB: Final = 0.8
# Nearer than this, a tag can be heard, and is on its way to a place: 22 m in free space, and echoes add some 5 dB.
REACH_M: Final = 40.0
ZONE_M: Final = 4.0  # and nearer than this, it is there
STEP_S: Final = 0.05
START_NS: Final = 1_000_000_000_000


class Point(NamedTuple):
    """In metres; z is up."""

    x: float
    y: float
    z: float = 1.0


Path = Callable[[float], Point]
"""Where something is, at a time in seconds."""


@dataclass(slots=True)
class Antenna:
    """It looks from `at` towards `to`, and is what hears a place."""

    device: str
    number: int
    place: str
    at: Point
    to: Point


@dataclass(slots=True, eq=False)
class Tag:
    """One tag: where it is, and how well it hears."""

    epc: bytes
    path: Path
    loss_db: float
    shadow_db: dict[int, float] = field(default_factory=dict)
    """What stands between it and an antenna, by the antenna's place in the list."""
    dim_db: Callable[[float], float] = lambda _: 0.0
    """What people and trucks do in addition, over time."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What really happened: a tag was at a place, from when to when."""

    epc: bytes
    place: str
    from_s: float
    to_s: float


@dataclass(slots=True)
class Stream:
    """What the readers told, in order, and what really happened."""

    name: str
    places: dict[str, tuple[tuple[str, int], ...]]
    reads: list[TagRead]
    visits: list[Visit]
    stops: list[tuple[float, float, str]] = field(default_factory=list)
    """(from, to, device): when a device was away."""
    sides: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def line(*points: tuple[float, float, float]) -> Path:
    """Straight from point to point: (seconds, x, y)."""

    def where(time_s: float) -> Point:
        before = points[0]
        for after in points:
            if time_s < after[0]:
                share = (time_s - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
                return Point(
                    before[1] + share * (after[1] - before[1]), before[2] + share * (after[2] - before[2])
                )
            before = after
        return Point(before[1], before[2])

    return where


def beside(path: Path, dx: float, dy: float, z: float) -> Path:
    """The same way, at another place of the pallet."""

    def where(time_s: float) -> Point:
        point = path(time_s)
        return Point(point.x + dx, point.y + dy, z)

    return where


class World:
    """Antennas, tags and walls of one warehouse door."""

    def __init__(self, rng: random.Random, antennas: Sequence[Antenna]) -> None:
        self.rng, self.antennas = rng, list(antennas)
        self.tags: list[Tag] = []
        self._mirrors = [_floor(rng.uniform(0.3, 0.6))] + [
            _wall(rng.uniform(4, 12), rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.5)) for _ in range(4)
        ]

    def add(self, path: Path, *, dim_db: Callable[[float], float] = lambda _: 0.0) -> Tag:
        """One more tag, somehow turned, on something that dims it more or less."""
        rng = self.rng
        tag = Tag(rng.randbytes(12), path, rng.uniform(0, 5) + rng.expovariate(1 / 2), dim_db=dim_db)
        tag.shadow_db = {number: rng.gauss(0, 3) for number in range(len(self.antennas))}
        self.tags.append(tag)
        return tag

    # --- radio ------------------------------------------------------------------------------------------------

    def link_db(self, number: int, tag: Tag, at: Point, channel: int) -> float:
        """One way from the antenna's boresight to the tag's chip."""
        antenna = self.antennas[number]
        wave_m = LIGHT_M_PER_US / CHANNELS_MHZ[channel]
        direct_m = max(0.3, math.dist(antenna.at, at))
        total = math.sqrt(_beam(antenna, at)) / direct_m * cmath.exp(-2j * math.pi * direct_m / wave_m)
        for mirror in self._mirrors:
            image, thrown_back = mirror(at)
            path_m = max(0.3, math.dist(antenna.at, image))
            amplitude = thrown_back * math.sqrt(_beam(antenna, image)) / path_m
            total -= amplitude * cmath.exp(-2j * math.pi * path_m / wave_m)
        return 20 * math.log10(max(1e-9, abs(total)) * wave_m / (4 * math.pi)) + (
            TAG_DBI - tag.loss_db - tag.shadow_db[number]
        )

    # --- inventory --------------------------------------------------------------------------------------------

    def listen(self, seconds: float, stops: Sequence[tuple[float, float, str]] = ()) -> list[TagRead]:
        """What all readers tell in this time, in the order in which they tell it."""
        told: list[TagRead] = []
        for device in dict.fromkeys(antenna.device for antenna in self.antennas):
            away = [(start, end) for start, end, name in stops if name == device]
            told += self._reader(device, seconds, away)
        return sorted(told, key=lambda read: read.monotonic_ns)

    def _reader(self, device: str, seconds: float, away: list[tuple[float, float]]) -> Iterator[TagRead]:
        numbers = [number for number, each in enumerate(self.antennas) if each.device == device]
        standing: dict[tuple[int, int, int], tuple[Point, float]] = {}
        time_s = self.rng.uniform(0, DWELL_S)
        turn = 0
        while time_s < seconds:
            number, channel = numbers[turn % len(numbers)], self.rng.randrange(len(CHANNELS_MHZ))
            if not any(start <= time_s < end for start, end in away):
                yield from self._dwell(number, channel, time_s, standing)
            turn, time_s = turn + 1, time_s + DWELL_S

    def _dwell(
        self,
        number: int,
        channel: int,
        time_s: float,
        standing: dict[tuple[int, int, int], tuple[Point, float]],
    ) -> Iterator[TagRead]:
        rng, antenna = self.rng, self.antennas[number]
        awake = []
        for index, tag in enumerate(self.tags):
            at = tag.path(time_s + DWELL_S / 2)
            key = (number, index, channel)
            kept = standing.get(key)
            if kept is None or kept[0] != at:
                kept = standing[key] = (at, self.link_db(number, tag, at, channel))
            if EIRP_DBM + kept[1] - tag.dim_db(time_s) > WAKES_DBM - 3:
                awake.append(tag)
        share = min(MOST_A_DWELL, READS_PER_S * DWELL_S / max(1, len(awake)))
        for tag in awake:
            for _ in range(_poisson(rng, share)):
                at_s = time_s + rng.uniform(0, DWELL_S)
                link_db = self.link_db(number, tag, tag.path(at_s), channel) - tag.dim_db(at_s)
                rssi_dbm = EIRP_DBM + 2 * link_db + ANTENNA_DBI - BACKSCATTER_DB
                if EIRP_DBM + link_db > WAKES_DBM and rssi_dbm > HEARS_DBM:
                    told_dbm = round(2 * (rssi_dbm + rng.gauss(0, NOISE_DB))) / 2
                    now_ns = START_NS + int(at_s * 1e9)
                    yield TagRead(
                        antenna.device, b"", tag.epc, at_s, now_ns, antenna.number, rssi_dbm=told_dbm
                    )

    # --- what really happened ---------------------------------------------------------------------------------

    def visits(self, seconds: float) -> list[Visit]:
        """Where each tag was: at the place of the antenna that it was nearest to, once it had come near."""
        return [visit for tag in self.tags for visit in self._visits(tag, seconds)]

    def _visits(self, tag: Tag, seconds: float) -> Iterator[Visit]:
        """Runs of the nearest place. Where it only came by at a distance, it was still on its way to the next one."""
        found: list[Visit] = []
        place, start_s, nearest_m = "", 0.0, math.inf
        for number in range(int(seconds / STEP_S) + 1):
            time_s = number * STEP_S
            at = tag.path(time_s)
            distance_m, here = min((_apart(each.to, at), each.place) for each in self.antennas)
            if distance_m > REACH_M or number == int(seconds / STEP_S):
                here = ""
            if here != place:
                if place and nearest_m <= ZONE_M:
                    _append(found, Visit(tag.epc, place, start_s, time_s))
                    start_s = time_s
                elif not place:
                    start_s = time_s
                place, nearest_m = here, math.inf
            nearest_m = min(nearest_m, distance_m)
        yield from found


def _append(visits: list[Visit], visit: Visit) -> None:
    """One visit, though it looked nearer to another place for a moment."""
    if visits and visits[-1].place == visit.place and visits[-1].to_s == visit.from_s:
        visit = Visit(visit.epc, visit.place, visits.pop().from_s, visit.to_s)
    visits.append(visit)


Mirror = Callable[[Point], tuple[Point, float]]
"""Where a tag seems to be in it, and how much of the wave it throws back."""


def _floor(thrown_back: float) -> Mirror:
    return lambda at: (Point(at.x, at.y, -at.z), thrown_back)


def _wall(distance_m: float, angle: float, thrown_back: float) -> Mirror:
    nx, ny = math.cos(angle), math.sin(angle)

    def mirror(at: Point) -> tuple[Point, float]:
        beyond = 2 * (distance_m - at.x * nx - at.y * ny)
        return Point(at.x + beyond * nx, at.y + beyond * ny, at.z), thrown_back

    return mirror


def _beam(antenna: Antenna, at: Point) -> float:
    """How much of the power goes this way."""
    ahead = [b - a for a, b in zip(antenna.at, antenna.to, strict=True)]
    there = [b - a for a, b in zip(antenna.at, at, strict=True)]
    length = math.hypot(*ahead) * math.hypot(*there)
    cosine = sum(a * b for a, b in zip(ahead, there, strict=True)) / length if length else 1.0
    return max(BACK_LOBE, cosine**BEAM if cosine > 0 else 0.0)


def _apart(here: Point, there: Point) -> float:
    """On the floor."""
    return math.hypot(here.x - there.x, here.y - there.y)


def _poisson(rng: random.Random, mean: float) -> int:
    """Knuth's way: mean is small."""
    least, product, number = math.exp(-mean), rng.random(), 0
    while product > least:
        product *= rng.random()
        number += 1
    return number


def slow_db(rng: random.Random, spread_db: float, turn_s: float, seconds: float) -> Callable[[float], float]:
    """People and trucks around: a level that wanders, and now and then something big in the way for a while."""
    step_s, level, levels = 0.5, rng.gauss(0, spread_db), []
    keep = math.exp(-step_s / turn_s)
    blocked_until_s = -1.0
    for number in range(int(seconds / step_s) + 2):
        level = level * keep + rng.gauss(0, spread_db) * math.sqrt(1 - keep * keep)
        if rng.random() < step_s / 240:
            blocked_until_s = number * step_s + rng.uniform(10, 90)
        levels.append(level + (12.0 if number * step_s < blocked_until_s else 0.0))
    return lambda time_s: levels[int(time_s / step_s)]

"""The streams of the bench of the smoothing: what passes a door, and what must not count."""

import random
from collections.abc import Callable, Iterator
from itertools import product

from benchmarks.field import Antenna, Path, Point, Stream, World, beside, line, slow_db

HEIGHT_M = 2.2  # of antennas, at both sides of a door of 3 m


def _door(device: str, x: float, sides: dict[str, float]) -> Iterator[Antenna]:
    """A door at x in the wall y = 0. By place: how far inside its antennas look; two antennas each."""
    number = 0
    for place, y in sides.items():
        for dx in (-1.6, 1.6):
            number += 1
            yield Antenna(device, number, place, Point(x + dx, y * 0.4, HEIGHT_M), Point(x, y, 1.0))


def _pallet(rng: random.Random, world: World, path: Path, tags: int) -> None:
    for number in range(tags):
        dx, dy, z = (rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), 0.3 + 1.4 * number / tags)
        world.add(beside(path, dx, dy, z))


def _racks(rng: random.Random, world: World, seconds: float) -> None:
    """Sixty tags that are read now and then, and never come."""
    for _ in range(60):
        x, y = rng.uniform(-6, 6), rng.uniform(8.5, 12)
        dim = slow_db(rng, 3.0, 20.0, seconds)
        world.add(beside(line((0, x, y)), 0, 0, rng.uniform(0.2, 3)), dim_db=dim)


def _stream(
    name: str, world: World, seconds: float, stops: tuple[tuple[float, float, str], ...] = ()
) -> Stream:
    places: dict[str, tuple[tuple[str, int], ...]] = {}
    for antenna in world.antennas:
        places[antenna.place] = (*places.get(antenna.place, ()), (antenna.device, antenna.number))
    reads = world.listen(seconds, stops)
    heard = {read.epc for read in reads}
    visits = [visit for visit in world.visits(seconds) if visit.epc in heard]  # of others nobody can know
    sides = {place: place.rsplit(" ", 1)[-1] for place in places if place.endswith(("inside", "outside"))}
    return Stream(name, places, reads, visits, list(stops), sides, seconds)


_GATE = {"gate outside": -1.5, "gate inside": 1.5}


def gate_pass(rng: random.Random) -> Stream:
    """Pallets come in at a walk; one turns round before the door; some go out again minutes later."""
    world = World(rng, list(_door("gate", 0, _GATE)))
    for number in range(6):
        start_s, speed = 5 + 25.0 * number, rng.uniform(0.8, 1.6)
        away_s = start_s + 18 / speed
        points = [(start_s, rng.uniform(-1, 1), -9.0), (away_s, rng.uniform(-0.5, 0.5), 9.0)]
        if number == 2:
            points = [points[0], (start_s + 7 / speed, 0, -2.0), (start_s + 14 / speed, 0, -9.0)]
        points += [(points[-1][0] + 1, 40, points[-1][2])]
        if number in (0, 4):
            back_s = points[-1][0] + 200
            points += [(back_s, 40, 9), (back_s + 1, 0, 9), (back_s + 1 + 18 / speed, 0, -9)]
            points += [(points[-1][0] + 1, 40, -9)]
        _pallet(rng, world, line((0, 40, -9), (start_s - 1, 40, -9), *points), 30)
    return _stream("gate_pass", world, 400)


def fast_pass(rng: random.Random) -> Stream:
    """A fork-lift truck at 4 m/s with forty tags, and the racks that stand beyond the gate."""
    world = World(rng, list(_door("gate", 0, _GATE)))
    for number in range(5):
        start_s = 5 + 12.0 * number
        points = [(start_s, 0, -9.0), (start_s + 18 / rng.uniform(3.5, 4.5), 0, 9.0)]
        path = line((0, 40, -9), (start_s - 1, 40, -9), *points, (points[-1][0] + 1, 40, 9))
        _pallet(rng, world, path, 40)
    _racks(rng, world, 70)
    return _stream("fast_pass", world, 70)


def overlapping_gates(rng: random.Random) -> Stream:
    """Two doors side by side, each with its own reader; pallets through both, sometimes at once."""
    doors = [
        *_door("reader 1", 0, {"gate 1 outside": -1.5, "gate 1 inside": 1.5}),
        *_door("reader 2", 4.2, {"gate 2 outside": -1.5, "gate 2 inside": 1.5}),
    ]
    world = World(rng, doors)
    for number in range(8):
        start_s, x, speed = 5 + 9.0 * number, rng.choice((0.0, 4.2)), rng.uniform(0.8, 1.6)
        way = line(
            (0, 40, -9),
            (start_s - 1, 40, -9),
            (start_s, x, -9),
            (start_s + 18 / speed, x, 9),
            (start_s + 1 + 18 / speed, 40, 9),
        )
        _pallet(rng, world, way, 25)
    return _stream("overlapping_gates", world, 110)


def _two_stations() -> list[Antenna]:
    """Two readers that look at two bays, six metres apart."""
    return [
        Antenna(f"reader {number}", 1, f"bay {number}", Point(x, -1.0, HEIGHT_M), Point(x, 1.5, 1.0))
        for number, x in ((1, 0.0), (2, 6.0))
    ]


def parked_pallet(rng: random.Random) -> Stream:
    """A pallet came by a bay and stands at the edge of its field for half an hour; people and trucks go by."""
    seconds = 1800.0
    world = World(rng, _two_stations())
    x, y = rng.uniform(-2, 1.5), rng.uniform(6.5, 8.5)
    path = line((0, 0, -40), (25, 0, -9), (34, 0, 1.5), (42, x, y))
    for number in range(25):
        dim = slow_db(rng, 4.0, 20.0, seconds)
        world.add(
            beside(path, rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), 0.3 + 0.05 * number), dim_db=dim
        )
    return _stream("parked_pallet", world, seconds)


def thousand_tags(rng: random.Random) -> Stream:
    """A thousand tags come to a bay together, and stay."""
    world = World(rng, _two_stations())
    for _ in range(10):
        x = rng.uniform(-0.8, 0.8)
        way = line((0, x, -20), (rng.uniform(17, 20), x, rng.uniform(0.5, 2.0)))
        _pallet(rng, world, way, 100)
    return _stream("thousand_tags", world, 60)


def reader_stops(rng: random.Random) -> Stream:
    """A reader is away for a quarter of an hour; meanwhile a few of its tags are carried to the next bay."""
    seconds, away = 1300.0, (120.0, 1020.0, "reader 1")
    world = World(rng, _two_stations())
    for number in range(40):
        x, y, z = rng.uniform(-1.2, 1.5), rng.uniform(0.5, 3.0), rng.uniform(0.3, 1.8)
        points = [(0.0, x, -30.0), (25 + number * 0.2, x, y)]
        if number % 8 == 0:
            points += [(400.0, x, y), (410.0, 6 + rng.uniform(-1, 1), y)]
        dim = slow_db(rng, 2.0, 20.0, seconds)
        world.add(beside(line(*points), 0, 0, z), dim_db=dim)
    return _stream("reader_stops", world, seconds, (away,))


def strays(rng: random.Random) -> Stream:
    """Pallets pass a gate, beyond which racks full of tags stand."""
    world = World(rng, list(_door("gate", 0, _GATE)))
    for number in range(4):
        start_s, speed = 5 + 20.0 * number, rng.uniform(0.8, 1.6)
        way = line(
            (0, 40, -9),
            (start_s - 1, 40, -9),
            (start_s, 0, -9),
            (start_s + 18 / speed, 0, 9),
            (start_s + 1 + 18 / speed, 40, 9),
        )
        _pallet(rng, world, way, 30)
    _racks(rng, world, 300)
    return _stream("strays", world, 300)


def between_antennas(rng: random.Random) -> Stream:
    """Tags sway a little between two antennas, nearer to one of them, for five minutes."""
    antennas = [
        Antenna("reader", number, f"lane {number}", Point(x, -1.0, HEIGHT_M), Point(x, 1.5, 1.0))
        for number, x in ((1, 0.0), (2, 4.0))
    ]
    world = World(rng, antennas)
    for number, side in product(range(10), (0, 1)):
        x, y = (rng.uniform(0.6, 1.4) if side == 0 else rng.uniform(2.6, 3.4)), rng.uniform(1, 2.5)
        points = [(0.0, 4.0 * side, -30.0), (number * 2.0 + 25, x, y)]
        time_s = number * 2.0 + 25
        while time_s < 300:
            time_s += rng.uniform(2, 20)
            points.append((time_s, x + rng.uniform(-0.15, 0.15), y + rng.uniform(-0.15, 0.15)))
        world.add(beside(line(*points), 0, 0, rng.uniform(0.5, 1.5)))
    return _stream("between_antennas", world, 300)


STREAMS: tuple[Callable[[random.Random], Stream], ...] = (
    gate_pass,
    fast_pass,
    overlapping_gates,
    parked_pallet,
    thousand_tags,
    reader_stops,
    strays,
    between_antennas,
)

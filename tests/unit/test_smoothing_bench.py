"""The bench of the smoothing tells the truth: its streams come from a seed, its answers from geometry."""

import random

import pytest

from benchmarks import streams
from benchmarks.field import START_NS, Antenna, Point, Stream, Visit, World, line
from benchmarks.rivals import Inventory, Window
from benchmarks.smoothing import CHOSEN_ON, FILTERS, REPORTED, Score, play, score
from benchmarks.streams import STREAMS, fast_pass
from devices.reads import TagRead

S = 1_000_000_000


def read(at_s: float, antenna: int = 1, dbm: float = -50.0) -> TagRead:
    return TagRead("r", b"", b"tag", at_s, int(at_s * S), antenna, dbm)


def place_of(_device: str, antenna: int | None) -> str:
    return f"p{antenna}"


def test_what_is_reported_was_not_chosen_on():
    assert not set(REPORTED) & set(CHOSEN_ON)
    names = {make.__name__ for make in STREAMS}
    assert {"gate_pass", "overlapping_gates", "parked_pallet", "thousand_tags", "reader_stops"} <= names


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are over when the first truck has passed: what is slow is to work out what each antenna hears."""
    whole = streams._stream
    monkeypatch.setattr(streams, "_stream", lambda name, world, _seconds: whole(name, world, 12))


def test_a_seed_is_a_stream(short: None):
    first, again = (fast_pass(random.Random("x")) for _ in range(2))
    assert first.reads == again.reads
    assert first.visits == again.visits
    assert first.reads != fast_pass(random.Random("y")).reads
    assert first.reads == sorted(first.reads, key=lambda each: each.monotonic_ns)
    assert {visit.place for visit in first.visits} == set(first.places)


def test_where_a_tag_was_is_geometry():
    antennas = [
        Antenna("r", number, f"p{number}", Point(x, 0, 2), Point(x, 1)) for number, x in ((1, 0), (2, 8))
    ]
    world = World(random.Random(1), antennas)
    tag = world.add(line((0, -50, 1), (10, 0, 1), (20, 8, 1), (30, 60, 1)))
    found = [(visit.place, round(visit.from_s), round(visit.to_s)) for visit in world.visits(40)]
    assert found == [("p1", 2, 15), ("p2", 15, 28)]
    near = world.link_db(0, tag, Point(0, 1), 0)
    assert near > world.link_db(0, tag, Point(0, 9), 0) > world.link_db(0, tag, Point(0, 90), 0)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], Score(0, 0, 2)),
        ([("p1", 4.6), ("p2", 24.9)], Score(2, 0, 0)),
        ([("p1", 4.4)], Score(0, 1, 2)),
        ([("p2", 25.1)], Score(0, 1, 2)),
        ([("p1", 6), ("p1", 7), ("p3", 7)], Score(1, 2, 1)),
    ],
)
def test_an_arrival_is_right_once_while_it_is_there(told: list[tuple[str, float]], expected: Score):
    visits = [Visit(b"tag", "p1", 5, 10), Visit(b"tag", "p2", 10, 20)]
    arrivals = [(b"tag", place, START_NS + int(at_s * S)) for place, at_s in told]
    found = score(Stream("x", {}, [], visits), arrivals)
    assert found == expected


def test_shares_of_nothing_are_perfect():
    assert (Score().precision, Score().recall) == (1.0, 1.0)
    assert (Score(3, 1, 2).precision, Score(3, 1, 2).recall) == (0.75, 0.6)


def test_the_plain_window_begins_anew_after_thirty_seconds():
    window = Window(place_of)
    told = [bool(window.feed(read(at_s))) for at_s in (0, 29, 58, 88.1)]
    assert told == [True, False, False, True]


def test_the_inventory_service_as_its_formula_says():
    service = Inventory(place_of)
    assert service.feed(read(0, 1, -50.0)) == [(b"tag", "p1", 0)]
    assert service.feed(read(0.1, 2, -40.0)) == [], "two reads at least"
    assert [place for _, place, _ in service.feed(read(0.2, 2, -40.0))] == ["p2"], "6 dB better at once"
    assert service.feed(read(0.3, 1, -40.0)) == []
    # 10 dB − 8 dB/s · 2.1 s = −6.8 dB
    assert service.feed(read(2.3, 1, -50.0))[0][1] == "p1"
    service.tick(603 * S)
    assert service.feed(read(603.1, 1)) != [], "it had departed"


def test_all_filters_play_the_same_stream(short: None):
    stream = fast_pass(random.Random("structure"))
    stream.reads, stream.seconds = stream.reads[:400], 20.0
    stream.stops = [(1.0, 2.0, "gate")]
    antennas = {ear: place for place, ears in stream.places.items() for ear in ears}
    for name, build in FILTERS.items():
        told = play(stream, build(stream, lambda device, antenna: antennas[device, antenna or 0]))
        assert told, name
        assert {place for _, place, _ in told} <= set(stream.places)

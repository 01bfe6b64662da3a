"""Every driver of the registry: its vectors, whole and byte by byte; noise between and inside frames; bounds.

A new driver is tested here as soon as it is in the registry and has a file in tests/vectors.
"""

import random
from typing import Any

import pytest

from devices.reads import BadFrame, Read
from devices.registry import DRIVERS
from tests.support.drivers import (
    BYTE_DRIVERS,
    VECTORS,
    Bench,
    assert_reads,
    away_s,
    build,
    held_bytes,
    matches,
    vectors,
)
from tests.support.noise import CLEAN, MEGABYTE, NOISE

CASES = [
    pytest.param(name, vector, id=f"{name}: {vector['about']}")
    for name in BYTE_DRIVERS
    for vector in vectors(name)
]


def prepared(name: str, vector: dict[str, Any]) -> Bench:
    bench = Bench(build(name, vector.get("options")))
    bench.feed(bytes.fromhex(vector.get("setup", "")))
    bench.take_sent()
    bench.reads.clear()
    return bench


def ended(bench: Bench) -> list[Read]:
    """All that was read, with the silence that ends what is unfinished."""
    bench.wait(5)
    bench.close()
    return bench.reads


def whole_frames(name: str) -> list[tuple[bytes, list[dict[str, Any]]]]:
    """Vectors that are read without options, without a state before them, and without a complaint."""
    return [
        (bytes.fromhex(vector["bytes"]), vector["reads"])
        for vector in vectors(name)
        if not vector.get("options")
        and not vector.get("setup")
        and vector["reads"]
        and not any("bad" in read for read in vector["reads"])
    ]


def assert_contains(reads: list[Read], expected: list[dict[str, Any]]) -> int:
    """All of these were read, in this order; returns how many reads there were besides."""
    codes = iter(read for read in reads if not isinstance(read, BadFrame))
    extra = 0
    for wanted in expected:
        for read in codes:
            if matches(read, wanted):
                break
            extra += 1
        else:
            pytest.fail(f"{wanted} was not read (or not in its place)")
    return extra + sum(1 for _ in codes)


def test_every_driver_has_vectors_and_nothing_else_has() -> None:
    files = {path.stem.replace("_", "-") for path in VECTORS.glob("*.json")}
    assert files == set(BYTE_DRIVERS), "a driver without vectors, or vectors without a driver"
    assert set(DRIVERS) - set(BYTE_DRIVERS) == {"camera"}
    for name in BYTE_DRIVERS:
        assert whole_frames(name), f"{name} has no vector that can stand between noise"


@pytest.mark.parametrize(("name", "vector"), CASES)
def test_a_vector_gives_its_reads(name: str, vector: dict[str, Any]) -> None:
    bench = prepared(name, vector)
    bench.feed(bytes.fromhex(vector["bytes"]))
    if "answers" in vector:
        assert bench.take_sent().hex() == vector["answers"]
    assert_reads(ended(bench), vector["reads"])


@pytest.mark.parametrize(("name", "vector"), CASES)
def test_a_vector_gives_the_same_reads_one_byte_at_a_time(name: str, vector: dict[str, Any]) -> None:
    bench = prepared(name, vector)
    bench.feed(*(bytes([byte]) for byte in bytes.fromhex(vector["bytes"])))
    assert_reads(ended(bench), vector["reads"])


@pytest.mark.parametrize("name", BYTE_DRIVERS)
def test_a_megabyte_of_noise_raises_nothing_gives_no_phantoms_and_fills_no_memory(name: str) -> None:
    rng = random.Random(f"noise {name}")
    bench = Bench(build(name)).open()
    most = 2 * bench.driver.MAX_FRAME
    fixed = held_bytes(bench.driver)
    left = MEGABYTE
    while left > 0:
        piece = rng.randbytes(min(left, rng.choice((1, 7, 64, 1000, 4096))))
        left -= len(piece)
        bench.feed(piece)
        if rng.random() < 0.02:
            bench.wait(rng.random())
        assert held_bytes(bench.driver) <= fixed + most + 4096
    phantoms = [read for read in ended(bench) if not isinstance(read, BadFrame)]
    assert len(phantoms) <= NOISE.get(name, CLEAN).phantoms_per_mb


@pytest.mark.parametrize("name", BYTE_DRIVERS)
def test_every_frame_between_noise_is_read(name: str) -> None:
    rng = random.Random(f"between {name}")
    frames, noise = whole_frames(name), NOISE.get(name, CLEAN)
    bench = Bench(build(name))
    expected: list[dict[str, Any]] = []
    noisy = 0
    for _ in range(300):
        data, reads = rng.choice(frames)
        garbage = rng.randbytes(rng.choice((0, 1, 3, 20, 100))) + noise.ends_with
        noisy += len(garbage)
        stream = garbage + data
        cut = rng.randrange(len(stream))
        bench.wait(away_s(name))
        bench.feed(stream[:cut], stream[cut:])
        expected += reads
    extra = assert_contains(ended(bench), expected)
    # Two noises of one read each at the least, where noise may be a read at all.
    assert extra <= noise.phantoms_per_mb * noisy / MEGABYTE * 2 + (600 if noise.phantoms_per_mb > 1 else 0)


@pytest.mark.parametrize("name", BYTE_DRIVERS)
def test_noise_inside_a_frame_costs_that_frame_and_no_other(name: str) -> None:
    rng = random.Random(f"inside {name}")
    frames, noise = whole_frames(name), NOISE.get(name, CLEAN)
    bench = Bench(build(name))
    expected: list[dict[str, Any]] = []
    for _ in range(300):
        data, reads = rng.choice(frames)
        bench.wait(away_s(name))
        if rng.random() < 0.5:
            place = rng.randrange(1, len(data))
            garbage = rng.randbytes(rng.choice((1, 2, 9)))
            gap = rng.choice((0, 0, 1, 4))  # bytes lost at that place
            bench.feed(data[:place] + garbage + data[place + gap :] + noise.ends_with)
        else:
            bench.feed(data)
            expected += reads
    assert_contains(ended(bench), expected)


@pytest.mark.parametrize("name", BYTE_DRIVERS)
def test_a_cut_connection_joins_nothing_to_what_follows(name: str) -> None:
    for data, reads in whole_frames(name):
        bench = Bench(build(name))
        for place in sorted({1, len(data) // 2, len(data) - 1}):
            bench.feed(data[:place])
            bench.close()
            bench.driver.open(bench.now)
            bench.reads.clear()
            bench.feed(data)
            assert_contains(ended(bench), reads)


@pytest.mark.parametrize("name", BYTE_DRIVERS)
def test_a_driver_that_gave_its_device_up_begins_anew_when_the_port_is_opened_again(name: str) -> None:
    bench = Bench(build(name)).open()
    first = bench.take_sent()
    ready, model = bench.driver.ready, bench.driver.model
    bench.wait(60)
    assert ready or bench.driver.fault is not None
    bench.close()
    bench.take_sent()
    bench.open()
    assert (bench.driver.fault, bench.driver.warning) == (None, None)
    assert (bench.driver.ready, bench.driver.model, bench.take_sent()) == (ready, model, first)

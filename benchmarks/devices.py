"""From bytes to reads: how many frames each driver decodes in a second, and what four busy readers cost.

The limit is the same bytes through a pseudo-terminal into an event loop that throws them away.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
import tty
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import uvloop

from agent.smoothing import Place, Smoother
from benchmarks.conversation import converse
from benchmarks.figures import Figure, median
from devices.driver import ByteDriver
from devices.reader import Reader
from devices.reads import BadFrame, Moment, Read, TagRead
from devices.registry import DRIVERS, set_up
from simulators.hardware import KINDS
from simulators.hardware.things import make

FRAMES = 20_000  # of each driver, all different
MOST_BYTES, SAMPLE = 3_000_000, 100  # fewer, where a thing takes many bytes: measured on so many things
CHUNK = 4096  # what a pseudo-terminal delivers at once
ROUNDS = 5
READERS, READS_PER_S, SECONDS = 4, 1000, 10
LATE_S = 10  # how much longer it may take on a machine that has other things to do
_KEPT = 65536
# Tags that are read by one reader, then by another, how often by each, and in what time: 20,000 reads a second are
# those of twenty readers at their fastest.
TAGS, TIMES, SMOOTHED_NS = 1000, 100, 5_000_000_000
HEARD_DBM = {"left": -60, "right": -45}


def run(_directory: Path) -> Iterator[Figure]:
    """Every figure of the devices."""
    for name in DRIVERS:
        if name in KINDS:
            yield _decoding(name)
    yield _smoothing()
    yield uvloop.run(_readers())


# --- decoding ------------------------------------------------------------------------------------------------


def _driver(name: str) -> ByteDriver:
    built = set_up("bench", name, "file:///recording").byte_driver
    assert built is not None
    return built


def _decoding(name: str) -> Figure:
    rng = random.Random(f"bench {name}")
    kind = KINDS[name]
    things = list(islice(make(kind.reads, seed=1), FRAMES))
    few = converse(_driver(name), kind.load()(rng), things[:SAMPLE], longest_s=100_000)
    most = MOST_BYTES * SAMPLE // sum(len(each.data) for each in few if each.told)
    said = converse(_driver(name), kind.load()(rng), things[:most], longest_s=100_000)
    data, told = b"".join(each.data for each in said if each.told), sum(each.told for each in said)
    # A driver that says once what the device says over and over hands over fewer reads than there are frames.
    reads, _ = _decode(name, data)
    assert 0 < reads <= told, f"{name} read {reads} of {told}"
    ours: list[float] = []
    limit: list[float] = []
    for _ in range(ROUNDS):
        again, seconds = _decode(name, data)
        assert again == reads, f"{name} read {again}, and {reads} before"
        ours.append(told / seconds)
        limit.append(told / asyncio.run(_seconds_to_carry(data)))
    what = "the same bytes through a pseudo-terminal into add_reader, thrown away"
    return Figure(f"devices.decode.{name}", median(ours), "frames/s", median(limit), what)


def _decode(name: str, data: bytes) -> tuple[int, float]:
    """(reads, seconds)."""
    driver, now, reads = _driver(name), Moment(1.0, 1), 0
    pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    start = time.perf_counter()
    for piece in pieces:
        reads += len(driver.feed(piece, now))
        driver.output()
    return reads, time.perf_counter() - start


def _smoothing() -> Figure:
    """A thousand tags in a field: from bytes to what happened, first at one reader, then at another."""
    kind = KINDS["m100"]
    tags = list(islice(make(kind.reads, seed=2), TAGS))
    told: dict[str, bytes] = {}
    for name, rssi_dbm in HEARD_DBM.items():
        heard = [replace(tag, rssi_dbm=rssi_dbm) for tag in tags]
        said = converse(_driver("m100"), kind.load()(random.Random(name)), heard * TIMES, longest_s=100_000)
        told[name] = b"".join(each.data for each in said if each.told)
    number, data = len(told) * TAGS * TIMES, b"".join(told.values())
    ours: list[float] = []
    limit: list[float] = []
    for _ in range(ROUNDS):
        ours.append(number / _smooth(told))
        limit.append(number / asyncio.run(_seconds_to_carry(data)))
    what = "the same bytes through a pseudo-terminal into add_reader, thrown away"
    return Figure("devices.smoothed.m100", median(ours), "reads/s", median(limit), what)


def _smooth(told: dict[str, bytes]) -> float:
    """Seconds; nothing is lost on the way."""
    smoother = Smoother([Place(name, "dock", ((name, None),)) for name in told])
    drivers = {name: set_up(name, "m100", "file:///recording").byte_driver for name in told}
    chunks = [
        (name, data[start : start + CHUNK])
        for name, data in told.items()
        for start in range(0, len(data), CHUNK)
    ]
    now_ns, step_ns, changes = 1, len(told) * SMOOTHED_NS // len(chunks), Counter[str]()
    start = time.perf_counter()
    for name, chunk in chunks:
        driver = drivers[name]
        assert driver is not None
        now_ns += step_ns
        reads = driver.feed(chunk, Moment(1.0, now_ns))
        driver.output()
        for change in (*smoother.feed(cast("list[TagRead]", reads)), *smoother.tick(now_ns)):
            changes[change.kind] += 1
    seconds = time.perf_counter() - start
    assert changes == {"arrived": TAGS, "moved": TAGS}, f"{changes} of {TAGS} tags"
    return seconds


async def _seconds_to_carry(data: bytes) -> float:
    """Another process writes; this one only takes."""
    loop = asyncio.get_running_loop()
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(slave, False)
    left, done = len(data), loop.create_future()

    def readable() -> None:
        nonlocal left
        left -= len(os.read(slave, _KEPT))
        if left <= 0 and not done.done():
            done.set_result(None)

    writer = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import os, sys\ndata = sys.stdin.buffer.read()\nprint(flush=True)\n"
        f"sys.stdin.close()\nwhile data: data = data[os.write({master}, data[:65536]):]",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(master,),
    )
    assert writer.stdin is not None and writer.stdout is not None
    writer.stdin.write(data)
    writer.stdin.close()
    await writer.stdout.readline()
    start = time.perf_counter()
    loop.add_reader(slave, readable)
    await done
    seconds = time.perf_counter() - start
    loop.remove_reader(slave)
    await writer.wait()
    os.close(master)
    os.close(slave)
    return seconds


# --- four busy readers ---------------------------------------------------------------------------------------


async def _readers() -> Figure:
    """Four M100 over pseudo-terminals, each frame written by itself, by a process of their own."""
    pairs = [(await _cpu(decoded=True), await _cpu(decoded=False)) for _ in range(2)]
    return Figure(
        f"devices.{READERS}_readers.cpu",
        median([ours for ours, _ in pairs]),
        "% of a core",
        median([bare for _, bare in pairs]),
        f"{READERS} × {READS_PER_S} frames/s through pseudo-terminals into add_reader, thrown away",
    )


async def _cpu(*, decoded: bool) -> float:
    """Percent of one core that this process used for so many seconds' frames, also where they took longer."""
    feeder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.feeder",
        *(str(number) for number in (READERS, READS_PER_S, SECONDS, int(decoded))),
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    assert feeder.stdout is not None and feeder.stdin is not None
    paths = (await feeder.stdout.readline()).decode().split()
    taken = 0

    def take(read: Read) -> None:
        nonlocal taken
        taken += not isinstance(read, BadFrame)

    stop = _read_all(paths, take) if decoded else _throw_away(paths)
    await feeder.stdout.readline()  # all of them are started
    cpu, began = time.process_time(), time.perf_counter()
    feeder.stdin.write(b"go\n")
    told = int(await feeder.stdout.readline())
    late_s = began + SECONDS + LATE_S
    while decoded and taken < told and time.perf_counter() < late_s:
        await asyncio.sleep(0.01)
    cpu = time.process_time() - cpu
    await stop()
    feeder.stdin.close()
    await feeder.wait()
    assert not decoded or taken == told, f"{taken} of {told} were read"
    return 100 * cpu / SECONDS


def _read_all(paths: list[str], take: Callable[[Read], None]) -> Callable[[], Awaitable[None]]:
    """Four readers as an agent has them."""
    readers = [
        Reader(f"gate-{number}", "m100", f"serial://{path}", take, lambda _: None)
        for number, path in enumerate(paths)
    ]
    tasks = [asyncio.create_task(reader.run()) for reader in readers]

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    return stop


def _throw_away(paths: list[str]) -> Callable[[], Awaitable[None]]:
    """Four ports, read and nothing more."""
    loop = asyncio.get_running_loop()
    ports = [os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK) for path in paths]
    for port in ports:
        loop.add_reader(port, os.read, port, _KEPT)

    async def stop() -> None:
        for port in ports:
            loop.remove_reader(port)
            os.close(port)

    return stop

"""A scan is durable before anybody sees OK: how near to the disk is that, alone and in a crowd?

Each figure is measured in several rounds, ours and its limit one after the other in each, and the round in the
middle is told: a neighbour that is noisy for a moment spoils one round and not the figure.
"""

import asyncio
import gc
import itertools
import sqlite3
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path

import uvloop

from benchmarks.figures import Disk, Figure, median, middle, percentile
from sync.journal import Draft, Journal

ROUNDS = 5
SCANS = 1_000  # of a round, awaited one after the other, each paired with one write of the limit
BURST = 30_000  # events of a round: what the log takes before it is carried into the file, which takes longer
WARM = 3  # scans of each caller before it counts: an agent has been running when a burst comes

_numbers = itertools.count()


def draft() -> Draft:
    """A scan as a station writes it, with its capture block."""
    return Draft(
        id=f"01933a7c-0000-7000-8000-{next(_numbers):012x}",
        type="tallyman.received.v1",
        time="2026-11-20T08:15:30.123456Z",
        data={
            "sku": "SKU-1",
            "gtin": "09521234543213",
            "quantity": 1,
            "to_location": "DOCK-2",
            "document": "PO-1001",
            "operator": "op-7",
            "capture": {
                "device": "scanner-1",
                "symbology": "]d2",
                "raw": "MDEwOTUyMTIzNDU0MzIxMw==",
                "monotonic_ns": 1,
            },
        },
    )


def run(directory: Path) -> Iterator[Figure]:
    """Every figure of the journal; files go to `directory`, on the disk that is to be measured."""
    yield from _rounds(directory, _one_by_one)
    for callers in (100, 1000):
        yield from _rounds(directory, partial(_burst, callers=callers))


def _rounds(directory: Path, measure: Callable[[Path], Coroutine[None, None, list[Figure]]]) -> list[Figure]:
    """The middle of each figure, each round in a journal of its own."""
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            rounds.append(uvloop.run(measure(Path(folder))))
    return [middle(figures) for figures in zip(*rounds, strict=True)]


async def _one_by_one(folder: Path) -> list[Figure]:
    journal, disk = await Journal.open(folder / "journal.db", agent="bench", site="bench"), Disk(folder)
    ours: list[float] = []
    limit: list[float] = []
    for _ in range(SCANS):
        scan = [draft()]
        start = time.perf_counter()
        await journal.append(scan)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        disk.write()
        limit.append(time.perf_counter() - start)
    await journal.close()
    disk.close()
    name = "fdatasync of 4 KiB on a preallocated file"
    return [
        Figure("journal.durable_scan.p50", median(ours) * 1e3, "ms", median(limit) * 1e3, f"p50 of {name}"),
        Figure(
            "journal.durable_scan.p99",
            percentile(ours, 99) * 1e3,
            "ms",
            percentile(limit, 99) * 1e3,
            f"p99 of {name}",
        ),
    ]


async def _burst(folder: Path, callers: int) -> list[Figure]:
    """Many callers at once, each with one scan a call; the limit writes the same rows into the same table with no
    durability at all.
    """
    journal = await Journal.open(folder / "journal.db", agent="bench", site="bench")
    scans = iter([[draft()] for _ in range(BURST + WARM * callers)])
    waits: list[float] = []

    async def caller(calls: int) -> None:
        for scan in itertools.islice(scans, calls):
            start = time.perf_counter()
            await journal.append(scan)
            waits.append(time.perf_counter() - start)

    gc.collect()
    gc.freeze()  # an agent has one scan at a time in its hands; to look through so many is not the journal's work
    await asyncio.gather(*(caller(WARM) for _ in range(callers)))
    waits.clear()
    start = time.perf_counter()
    await asyncio.gather(*(caller(BURST // callers) for _ in range(callers)))
    rate = BURST / (time.perf_counter() - start)
    gc.unfreeze()
    rows = await journal.read(journal.incarnation, WARM * callers + 1, WARM * callers + BURST)
    await journal.close()
    assert len(rows) == len(waits) == BURST
    undurable = _undurable_rate(folder, rows)
    name = "the same rows by executemany, synchronous=OFF"
    return [
        Figure(f"journal.burst.{callers}_callers", rate, "scans/s", undurable, name),
        Figure(
            f"journal.burst.{callers}_callers.p99",
            percentile(waits, 99) * 1e3,
            "ms",
            callers / undurable * 1e3,
            name,
        ),
    ]


def _undurable_rate(folder: Path, rows: list[tuple[int, str, bytes]]) -> float:
    connection = sqlite3.connect(folder / "limit.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("CREATE TABLE event (key INTEGER PRIMARY KEY, text BLOB, recorded_ms INTEGER)")
    start = time.perf_counter()
    for first in range(0, len(rows), 200):
        connection.execute("BEGIN")
        chunk = [(key, text, 0) for key, _, text in rows[first : first + 200]]
        connection.executemany("INSERT INTO event VALUES (?, ?, ?)", chunk)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - start
    connection.close()
    return len(rows) / seconds

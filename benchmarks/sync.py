"""How fast a backlog leaves the journal, in how much memory, and how long a scan waits for its verdict.

The limits: ready-made batches through C libmosquitto to the same broker and the same counterpart, with no journal and
no protocol; the bytes that went through; two durable writes and a message there and back.
"""

import asyncio
import contextlib
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import end_to_end, mosquitto
from benchmarks.figures import Figure, median, percentile
from benchmarks.journal import draft
from sync import messages
from sync.journal import Journal
from sync.journal.recorded import Recorded
from sync.messages import Verdict

BACKLOG: Final = 1_000_000
SLICES: Final = 10  # the rate is the median of so many parts of the backlog, for the machine is never quiet
FILL: Final = 1_000  # events of one call while the backlog is made
BATCH: Final = 100  # events in one of the limit's messages
RATE_PER_S: Final = 1_000  # scans, while their verdicts are waited for
SECONDS: Final = 10
LOOP_S: Final = (
    0.001  # uvloop counts in milliseconds: what is shorter does not wait, and takes a processor from central
)


def run(directory: Path) -> Iterator[Figure]:
    """Every figure of the way from the journal to central; files go to `directory`."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        yield from uvloop.run(_drain(Path(folder)))
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        yield from uvloop.run(_paced(Path(folder)))


# --- a backlog -----------------------------------------------------------------------------------------------------


async def _drain(folder: Path) -> list[Figure]:
    async with _broker(folder) as port, _counterpart(folder, port):
        journal = await Journal.open(folder / "journal.db", agent=end_to_end.AGENT, site="bench")
        await _fill(journal)
        texts = [row[2] for row in await journal.read(journal.incarnation, 1, BATCH)]
        size = BACKLOG * len(texts[-1])
        payload = messages.join_batch(texts)
        limits = [await asyncio.to_thread(_bare_rate, port, payload)]
        times, memory = await _drained(journal, port)
        limits.append(await asyncio.to_thread(_bare_rate, port, payload))
        await journal.close()
    slices = [BACKLOG / SLICES / (until - since) for since, until in itertools.pairwise(times)]
    growth = max(max(memory[len(memory) // 10 :]) - memory[len(memory) // 10], 0.1)
    return [
        Figure(
            "sync.drain",
            median(slices),
            "events/s",
            median(limits),
            f"the same batches, ready-made, C libmosquitto, QoS 1, {mosquitto.IN_FLIGHT} in flight",
        ),
        Figure("sync.drain.memory_growth", growth, "MiB", size / 2**20, "the events that went through"),
    ]


async def _fill(journal: Journal) -> None:
    """Record the backlog."""
    for first in range(0, BACKLOG, FILL * 10):
        calls = [[draft() for _ in range(FILL)] for _ in range(min(10, (BACKLOG - first) // FILL))]
        await asyncio.gather(*map(journal.append, calls))


async def _drained(journal: Journal, port: int) -> tuple[list[float], list[float]]:
    """(when each slice had its verdicts, first the begin; MiB of memory, by equal parts of the backlog)."""
    settled = 0
    times: list[float] = []
    memory: list[float] = []
    done = asyncio.Event()

    def on_verdict(_: Verdict) -> None:
        nonlocal settled
        settled += 1
        if settled % (BACKLOG // 100) == 0:
            memory.append(_resident_mib())
        if settled % (BACKLOG // SLICES) == 0:
            times.append(time.perf_counter())
        if settled == BACKLOG:
            done.set()

    uplink = end_to_end.uplink_of(journal, f"mqtt://127.0.0.1:{port}", on_verdict)
    times.append(time.perf_counter())
    running = asyncio.create_task(uplink.run())
    await asyncio.wait_for(done.wait(), 600)
    await end_to_end.until(lambda: journal.queued == 0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return times, memory


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _bare_rate(port: int, payload: bytes) -> float:
    """Events a second, of `payload` over and over, through the broker to the counterpart, by C libmosquitto."""
    wanted, topic = BACKLOG // SLICES // BATCH, messages.agent_topic(end_to_end.AGENT, "events").encode()
    client = mosquitto.Client(port, "limit")
    start = time.perf_counter()
    for _ in range(wanted):
        client.publish(topic, payload)
    while client.taken < wanted:
        time.sleep(0.001)
    seconds = time.perf_counter() - start
    client.close()
    return wanted * BATCH / seconds


# --- a scan and its verdict ----------------------------------------------------------------------------------------


async def _paced(folder: Path) -> list[Figure]:
    async with end_to_end.programs(folder) as url:
        limit = await end_to_end.unavoidable(folder, url)
        waits = await _scan(folder, url)
    name = "two durable writes and a message there and back"
    return [
        Figure(
            f"sync.scan_to_verdict.{RATE_PER_S}_per_s.p{percent}",
            percentile(waits, percent) * 1e3,
            "ms",
            percentile(limit, percent) * 1e3,
            f"p{percent} of {name}",
        )
        for percent in (50, 99)
    ]


async def _scan(folder: Path, url: str) -> list[float]:
    """Seconds from each scan to its verdict. Scans come when they come, whatever became of the one before."""
    journal = await Journal.open(folder / "journal.db", agent=end_to_end.AGENT, site="bench")
    begun: dict[str, float] = {}
    waits: list[float] = []

    def on_verdict(verdict: Verdict) -> None:
        waits.append(time.perf_counter() - begun.pop(verdict.id))

    uplink = end_to_end.uplink_of(journal, url, on_verdict)
    running = asyncio.create_task(uplink.run())
    await end_to_end.until(lambda: uplink.online)
    appends: set[asyncio.Future[list[Recorded]]] = set()
    start = time.perf_counter()
    for number in range(RATE_PER_S * SECONDS):
        while (wait_s := start + number / RATE_PER_S - time.perf_counter()) > 0:
            await asyncio.sleep(max(wait_s, LOOP_S))
        scan = draft()
        begun[scan.id] = time.perf_counter()
        append = journal.append([scan])
        appends.add(append)
        append.add_done_callback(appends.discard)
    await asyncio.wait_for(end_to_end.until(lambda: not begun), end_to_end.START_S)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await journal.close()
    return waits


# --- the programs --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _broker(folder: Path) -> AsyncIterator[int]:
    port = end_to_end.free_port()
    command = [sys.executable, "-m", "tallyman", "broker", "--listen", f"127.0.0.1:{port}"]
    with (
        (folder / "broker.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as broker,
    ):
        try:
            await asyncio.wait_for(end_to_end.until(lambda: end_to_end.listens(port)), end_to_end.START_S)
            yield port
        finally:
            broker.terminate()


@contextlib.asynccontextmanager
async def _counterpart(folder: Path, port: int) -> AsyncIterator[None]:
    window = 1_000  # as our central grants it
    command = [
        sys.executable, "-m", "benchmarks.counterpart", str(port), end_to_end.AGENT, str(window),
    ]  # fmt: skip
    with (folder / "counterpart.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        with process:
            assert process.stdin is not None and process.stdout is not None
            try:
                await asyncio.to_thread(process.stdout.readline)
                yield
            finally:
                process.stdin.close()

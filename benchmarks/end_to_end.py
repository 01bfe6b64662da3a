"""From a scan to central's durable verdict, with the real broker and the real central as processes.

The limit beside it is what no design can avoid on this machine: one durable write at the agent, a message to the
other side of the broker and back, and one durable write there.
"""

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.figures import Disk, Figure, percentile
from benchmarks.journal import draft
from sync.journal import Journal
from sync.messages import Verdict
from sync.mqtt import Incoming, Link, Settings
from sync.uplink import Uplink

SECONDS = 10  # of scanning at each rate
RATES_PER_S = (20, 200)  # a few busy docks; a site with gates
BACKLOG = 20_000  # events queued while offline
ECHOES = 400
START_S = 20.0

OnVerdict = Callable[[Verdict], None]
AGENT: Final = "bench"


def run(directory: Path) -> Iterator[Figure]:
    """Every figure of the whole way; files go to `directory`."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        yield from uvloop.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Figure]:
    async with programs(folder) as url:
        limit = await unavoidable(folder, url)
        paced, drained_per_s = await _scan(folder, url)
        name = "two durable writes and a message there and back"
        echo_rate = await _echo_rate(url)
        return [
            *(
                Figure(
                    f"end_to_end.scan_to_verdict.{rate}_per_s.p{percent}",
                    percentile(waits, percent) * 1e3,
                    "ms",
                    percentile(limit, percent) * 1e3,
                    f"p{percent} of {name}",
                )
                for rate, waits in paced.items()
                for percent in (50, 99)
            ),
            Figure(
                "end_to_end.backlog",
                drained_per_s,
                "events/s",
                echo_rate,
                "messages of one event, QoS 1, no books",
            ),
        ]


class _Mirror:
    """A listener that times its own messages on their way through the broker and back."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.returned: asyncio.Queue[bytes] = asyncio.Queue()

    async def will(self) -> None:
        """None: nobody waits for it."""

    def connected(self) -> None:
        """Ready."""
        self.up.set()

    def received(self, message: Incoming) -> None:
        """Back again."""
        message.acknowledge()
        self.returned.put_nowait(message.payload)

    def disconnected(self, reason: str) -> None:
        """The benchmark ends with an error of its own."""


@contextlib.asynccontextmanager
async def _mirror(url: str, name: str, topic: str) -> AsyncIterator[tuple[Link, _Mirror]]:
    mirror = _Mirror()
    link = Link(Settings(url), name, (topic,), mirror)
    running = asyncio.create_task(link.run())
    try:
        await asyncio.wait_for(mirror.up.wait(), START_S)
        yield link, mirror
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def unavoidable(folder: Path, url: str) -> list[float]:
    """Seconds that two durable writes and a message there and back take, many times."""
    disk, samples = Disk(folder), []
    async with (
        _mirror(url, "there", "bench/there") as (there, back),
        _mirror(url, "back", "bench/back") as (out, ear),
    ):
        for _ in range(ECHOES):
            start = time.perf_counter()
            disk.write()
            out.publish("bench/there", b"x" * 500)
            payload = await back.returned.get()
            disk.write()
            there.publish("bench/back", payload)
            await ear.returned.get()
            samples.append(time.perf_counter() - start)
    disk.close()
    return samples


async def _echo_rate(url: str) -> float:
    async with _mirror(url, "echo", "bench/echo") as (link, mirror):
        start = time.perf_counter()
        for _ in range(BACKLOG // 10):
            link.publish("bench/echo", b"x" * 500)
        for _ in range(BACKLOG // 10):
            await mirror.returned.get()
        return BACKLOG / 10 / (time.perf_counter() - start)


def uplink_of(journal: Journal, url: str, on_verdict: OnVerdict) -> Uplink:
    """An agent's uplink without an agent: nobody looks at what comes but at verdicts."""
    return Uplink(
        journal,
        Settings(url),
        agent=AGENT,
        site="bench",
        software="bench",
        devices=list,
        reference_version=lambda: None,
        on_verdict=on_verdict,
        on_reference=lambda _: None,
        on_tasks=lambda _: None,
        on_change=lambda: None,
    )


async def _scan(folder: Path, url: str) -> tuple[dict[int, list[float]], float]:
    """(rate → seconds from each scan to its verdict, events per second of a backlog drained)."""
    journal = await Journal.open(folder / "journal.db", agent=AGENT, site="bench")
    begun: dict[str, float] = {}
    waits: list[float] = []
    settled = asyncio.Event()

    def on_verdict(verdict: Verdict) -> None:
        assert verdict.outcome == "accepted", verdict
        if (start := begun.pop(verdict.id, None)) is not None:
            waits.append(time.perf_counter() - start)
        if not begun:
            settled.set()

    uplink = uplink_of(journal, url, on_verdict)
    running = asyncio.create_task(uplink.run())
    while not uplink.online:
        await asyncio.sleep(0.05)
    paced: dict[int, list[float]] = {}
    for rate in RATES_PER_S:
        waits.clear()
        for _ in range(rate * SECONDS):
            scan = draft()
            begun[scan.id] = time.perf_counter()
            await journal.append([scan])
            await asyncio.sleep(random.expovariate(rate))
        await asyncio.wait_for(until(lambda: not begun), START_S)
        paced[rate] = waits[:]
    scans = [draft() for _ in range(BACKLOG)]
    settled.clear()
    begun.update((scan.id, time.perf_counter()) for scan in scans)
    start = time.perf_counter()
    for first in range(0, BACKLOG, 1000):
        await journal.append(scans[first : first + 1000])
    await asyncio.wait_for(settled.wait(), 300)
    drained_per_s = BACKLOG / (time.perf_counter() - start)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await journal.close()
    return paced, drained_per_s


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    while not condition():
        await asyncio.sleep(0.01)


# --- the programs -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def programs(folder: Path) -> AsyncIterator[str]:
    """A broker and a central that knows the item; yields the broker's URL."""
    mqtt_port, http_port = free_port(), free_port()
    config = folder / "central.toml"
    config.write_text(
        f'[database]\nurl = "sqlite:///{folder}/central.db"\n[mqtt]\nurl = "mqtt://127.0.0.1:{mqtt_port}"\n'
        f'[http]\nlisten = "127.0.0.1:{http_port}"\n'
    )
    tallyman = [sys.executable, "-m", "tallyman"]
    log = (folder / "log").open("wb")
    processes = [
        subprocess.Popen([*tallyman, "broker", "--listen", f"127.0.0.1:{mqtt_port}"], stdout=log, stderr=log),
        subprocess.Popen([*tallyman, "central", "--config", str(config)], stdout=log, stderr=log),
    ]
    try:
        base = f"http://127.0.0.1:{http_port}"
        await asyncio.wait_for(until(lambda: _get(f"{base}/healthz")), START_S)
        grant = [*tallyman, "central", "token", "--role", "admin", "--name", "bench", "--config", str(config)]
        token = subprocess.run(grant, check=True, capture_output=True, text=True).stdout.split()[-1]
        item = {
            "sku": "SKU-1",
            "name": "Bench",
            "gtins": [{"gtin": "09521234543213", "quantity": 1}],
            "tracking": "none",
        }
        _put(f"{base}/v1/items/SKU-1", token, {**item, "scale": 0})
        place = {"id": "DOCK-2", "site": "bench", "zone": "", "walk_order": 1}
        _put(f"{base}/v1/locations/DOCK-2", token, place)
        _put(f"{base}/v1/purchase-orders", token, _purchase_order(), method="POST")
        operator = [
            *tallyman,
            "central",
            "operator",
            "--config",
            str(config),
            "--id",
            "op-7",
            "--name",
            "Bench",
        ]
        subprocess.run([*operator, "--badge", "B7"], check=True, capture_output=True)
        yield f"mqtt://127.0.0.1:{mqtt_port}"
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(10)
        log.close()


def _purchase_order() -> dict[str, object]:
    lines = [{"sku": "SKU-1", "quantity": SECONDS * sum(RATES_PER_S) + BACKLOG}]
    return {"id": "PO-1001", "site": "bench", "supplier": "bench", "lines": lines}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether connections to it are accepted."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _get(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _put(url: str, token: str, body: object, method: str = "PUT") -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()

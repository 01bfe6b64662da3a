"""Every driver, as an agent runs it, against its own simulated device, on a cable with every fault there is.

The account says of each thing whether it could be read: what arrived whole was read, in no more copies than arrived,
and what nobody showed was not read.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest

from devices import BadFrame, BarcodeRead, PortStatus, Read, Reader
from simulators.hardware import KINDS
from simulators.hardware.device import Thing
from simulators.hardware.faults import FAULTS, Fault
from simulators.hardware.rig import Rig
from simulators.hardware.things import make
from tests.support.drivers import BYTE_DRIVERS
from tests.support.noise import CLEAN, NOISE

T = TypeVar("T")

THINGS = 12
FAULT_RATE = 0.3
OPEN_S, TOLD_S, READ_S = 20, 60, 5


def of_thing(thing: Thing) -> str:
    """What the read of it must say."""
    if thing.card is not None:
        return f"{int(thing.card[2:], 16):010d}"
    return (thing.epc or thing.code or "").upper()


def of_read(read: Read) -> str:
    if isinstance(read, BarcodeRead):
        return read.text.upper()
    assert not isinstance(read, BadFrame)
    return (read.epc.hex() if read.epc is not None else read.text or "").upper()


class Session:
    """One reader and its simulated device."""

    def __init__(
        self, kind: str, faults: tuple[Fault, ...], seed: int, threads: ThreadPoolExecutor, folder: Path
    ) -> None:
        self.kind, self.faults, self.seed, self._threads = kind, faults, seed, threads
        # A name that lasts, as /dev/serial/by-id has it: after each unplugging there is another terminal behind it.
        terminal = "pty" in KINDS[kind].load().PORTS
        self._port = f"pty:{folder / f'device-{seed}'}" if terminal else "tcp:127.0.0.1:0"
        self.reads: list[str] = []
        self.statuses: list[PortStatus] = []

    async def run(self) -> None:
        rig = await self._aside(
            lambda: Rig(self.kind, self._port, seed=self.seed, faults=self.faults, fault_rate=FAULT_RATE)
        )
        try:
            reader = Reader(
                "device-1",
                self.kind,
                rig.url,
                self._read,
                self.statuses.append,
                jitter=lambda: 0.9,
            )
            running = asyncio.create_task(reader.run())
            try:
                await self._show_everything(rig)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        finally:
            await self._aside(rig.close)
        self._compare(rig)

    async def _aside(self, work: Callable[[], T]) -> T:
        """In a thread that is not one of those that readers open their ports in."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _read(self, read: Read) -> None:
        if not isinstance(read, BadFrame):
            self.reads.append(of_read(read))

    async def _show_everything(self, rig: Rig) -> None:
        assert await self._aside(lambda: rig.wait_open(OPEN_S)), f"{self}: never opened; {self.statuses}"
        for thing in islice(make(KINDS[self.kind].reads, seed=self.seed), THINGS):
            await self._aside(lambda: rig.wait_open(OPEN_S))
            rig.see(thing)
            await asyncio.sleep(0.02)
        assert await self._aside(lambda: rig.settle(TOLD_S)), f"{self}: not all was told; {self.statuses}"
        async with asyncio.timeout(READ_S):
            while {of_thing(thing) for thing in rig.account().whole} - set(self.reads):
                await asyncio.sleep(0.02)

    def _compare(self, rig: Rig) -> None:
        account = rig.account()
        have = Counter(self.reads)
        for entry in account.entries:
            read = have.pop(of_thing(entry.thing), 0)
            if entry.fate == "whole":
                assert read >= 1, f"{self}: {entry.thing} arrived whole and was not read"
            assert read <= entry.times, f"{self}: {entry.thing} was read {read} times, {entry.fate}"
        assert not have or NOISE.get(self.kind, CLEAN).misreads, f"{self}: read what nobody showed: {have}"

    def __str__(self) -> str:
        return f"{self.kind} with {', '.join(self.faults) or 'a good cable'} (seed {self.seed})"


@pytest.mark.parametrize("kind", KINDS)
async def test_what_arrives_whole_is_read_on_a_good_cable_and_under_every_fault(
    kind: str, tmp_path: Path
) -> None:
    cables: list[tuple[Fault, ...]] = [(), *((fault,) for fault in FAULTS)]
    with ThreadPoolExecutor(len(cables)) as threads:
        sessions = [Session(kind, faults, seed, threads, tmp_path) for seed, faults in enumerate(cables)]
        done = await asyncio.gather(*(session.run() for session in sessions), return_exceptions=True)
    problems = [f"{session}: {problem!r}" for session, problem in zip(sessions, done, strict=True) if problem]
    assert not problems, "\n".join(problems)


def test_every_driver_has_a_simulated_device() -> None:
    assert set(KINDS) == set(BYTE_DRIVERS)

"""Every driver, as an agent runs it, against its own simulated device, on a cable with every fault there is.

The account says of each thing whether it could be read: what arrived whole was read, in no more copies than arrived,
and what nobody showed was not read. Half of the things come one after the other, each when the one before it was
told, so that a lost frame costs one thing; the others come in a heap, as many frames as the device likes at once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest

from devices import BadFrame, BarcodeRead, PortStatus, Read, Reader
from simulators.hardware import KINDS
from simulators.hardware.device import Frame, Thing
from simulators.hardware.faults import FAULTS, Cable, Fault
from simulators.hardware.rig import Rig
from simulators.hardware.things import make
from tests.support.drivers import BYTE_DRIVERS
from tests.support.noise import CLEAN, NOISE
from tests.support.wait import eventually_async

T = TypeVar("T")

ONE_BY_ONE, IN_A_HEAP = 8, 8
THINGS = ONE_BY_ONE + IN_A_HEAP
LEAST_HIT = 3
"""So many of the first things meet the fault of their cable."""
LEAST_WHOLE = 4
"""So many things arrive whole on the worst cable: a driver that reads nothing is not excused."""
OPEN_S, TOLD_S, READ_S = 60, 60, 30


@dataclass(frozen=True)
class Bad:
    """A cable, by the faults that its frames meet."""

    faults: tuple[Fault, ...]
    rate: float = 0.4
    seed: int = 0

    def __str__(self) -> str:
        return f"{', '.join(self.faults) or 'a good cable'} (seed {self.seed})"


CABLES = (
    Bad(()),
    Bad(("split",), seed=1),
    Bad(("drop",), seed=42),
    Bad(("corrupt",), seed=6),
    Bad(("delay",), seed=4),
    Bad(("duplicate",), seed=5),
    Bad(("noise",), seed=7),
    # Only one of five frames that draw it are unplugged.
    Bad(("unplug",), 1.0, 171),
    Bad(tuple(FAULTS), seed=27),
)


def of_read(read: Read) -> str:
    if isinstance(read, BarcodeRead):
        return read.text.upper()
    assert not isinstance(read, BadFrame)
    return (read.epc.hex() if read.epc is not None else read.text or "").upper()


class Session:
    """One reader and its simulated device."""

    def __init__(self, kind: str, cable: Bad, threads: ThreadPoolExecutor, folder: Path) -> None:
        self.kind, self.cable, self._threads = kind, cable, threads
        # A name that lasts, as /dev/serial/by-id has it: after each unplugging there is another terminal behind it.
        terminal = "pty" in KINDS[kind].load().PORTS
        self._port = f"pty:{folder / f'device-{cable.seed}'}" if terminal else "tcp:127.0.0.1:0"
        self.reads: list[str] = []
        self.statuses: list[PortStatus] = []

    async def run(self) -> None:
        rig = await self._aside(
            lambda: Rig(
                self.kind,
                self._port,
                seed=self.cable.seed,
                faults=self.cable.faults,
                fault_rate=self.cable.rate,
            )
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
        for number, thing in enumerate(islice(make(KINDS[self.kind].reads, self.cable.seed), THINGS)):
            await self._online(rig)
            rig.see(thing)
            if number < ONE_BY_ONE:
                await self._all_told(rig)
            else:
                await asyncio.sleep(0.02)
        await self._all_told(rig)
        await eventually_async(
            lambda: {rig.device.says(thing).upper() for thing in rig.account().whole} <= set(self.reads),
            READ_S,
        )

    async def _online(self, rig: Rig) -> None:
        """What is shown to a device that is not set up yet may be lost, and nobody would know why."""
        assert await self._aside(lambda: rig.wait_open(OPEN_S)), f"not open; {self.statuses}"
        await eventually_async(lambda: self.statuses[-1].status == "online", OPEN_S, "the reader is online")

    async def _all_told(self, rig: Rig) -> None:
        assert await self._aside(lambda: rig.settle(TOLD_S)), f"not all was told; {self.statuses}"

    def _compare(self, rig: Rig) -> None:
        account = rig.account()
        have = Counter(self.reads)
        for entry in account.entries:
            read = have.pop(rig.device.says(entry.thing).upper(), 0)
            if entry.fate == "whole":
                assert read >= 1, f"{entry.thing} arrived whole and was not read"
            assert read <= entry.times, f"{entry.thing} was read {read} times, {entry.fate}"
        assert not have or NOISE.get(self.kind, CLEAN).misreads, f"read what nobody showed: {have}"
        least = LEAST_WHOLE if self.cable.faults else THINGS
        assert len(account.whole) >= least, f"hardly anything arrived: {account.counts()}"


@pytest.mark.parametrize("kind", KINDS)
async def test_what_arrives_whole_is_read_on_a_good_cable_and_under_every_fault(
    kind: str, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(len(CABLES)) as threads:
        sessions = [Session(kind, cable, threads, tmp_path) for cable in CABLES]
        done = await asyncio.gather(*(session.run() for session in sessions), return_exceptions=True)
    problems = [f"{cable}: {problem!r}" for cable, problem in zip(CABLES, done, strict=True) if problem]
    assert not problems, "\n".join(problems)


def test_every_driver_has_a_simulated_device() -> None:
    assert set(KINDS) == set(BYTE_DRIVERS)


@pytest.mark.parametrize("bad", CABLES[1:], ids=str)
def test_each_cable_does_to_some_of_the_things_what_it_is_there_for(bad: Bad) -> None:
    cable = Cable(bad.seed, bad.faults, bad.rate)
    things = [Thing(code="x", number=number) for number in range(1, ONE_BY_ONE + 1)]
    hit = [thing for thing in things if cable.plan(Frame(b"what it says", (thing,))).fault]
    assert len(hit) >= LEAST_HIT

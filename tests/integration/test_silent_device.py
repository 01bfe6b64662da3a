"""Devices that must answer and do not: what is told of them, how often, and at which speed they are asked."""

import asyncio
import os
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar

import pytest

from devices import PortStatus, Read, Reader, Unavailable
from devices.drivers.m100 import M100
from simulators.hardware.rig import Rig
from tests.support.wait import eventually_async

BAUDS = (115200, 9600)


@pytest.fixture
def dumb(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A line with nobody at its other end."""
    monkeypatch.setattr(M100, "BAUDS", BAUDS)
    master, slave = os.openpty()
    tty.setraw(slave)
    yield f"serial://{os.ttyname(slave)}"
    os.close(master)
    os.close(slave)


def reader(url: str, reads: list[Read], statuses: list[PortStatus], *, reopen: bool) -> Reader:
    return Reader("gate", "m100", url, reads.append, statuses.append, jitter=lambda: 0.99, reopen=reopen)


async def test_a_device_that_never_answers_is_told_once(dumb: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("devices.reader.LAST_RETRY_S", 0.05)
    reads: list[Read] = []
    statuses: list[PortStatus] = []
    watched = reader(dumb, reads, statuses, reopen=True)
    task = asyncio.create_task(watched.run())
    try:
        await eventually_async(lambda: watched._unanswered == 3, 15)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    told = [(status.status, status.reason) for status in statuses]
    assert told[0] == ("connecting", None)
    assert told[1] == ("connecting", "the port is open; waiting for the device to answer")
    assert told[2][0] == "failed" and "no answer to the question for its version" in (told[2][1] or "")
    assert len(told) == 3, "however often it is asked again"


async def test_every_speed_is_tried_also_where_the_port_is_opened_once(dumb: str):
    statuses: list[PortStatus] = []
    watched = reader(dumb, [], statuses, reopen=False)
    with pytest.raises(Unavailable, match="no answer"):
        await watched.run()
    assert watched._unanswered == len(BAUDS)


async def test_a_device_that_answers_after_a_while_is_online_and_connects_anew_when_it_was_away(
    tmp_path: Path,
):
    with Rig("m100", f"pty:{tmp_path / 'gate'}") as rig:
        statuses: list[PortStatus] = []
        watched = reader(rig.url, [], statuses, reopen=True)
        task = asyncio.create_task(watched.run())
        try:
            await eventually_async(lambda: watched.status.status == "online", 10)
            rig.unplug(away_s=0.3)
            await eventually_async(lambda: watched.status.status == "failed", 10)
            await eventually_async(lambda: watched.status.status == "online", 10)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    said = [status.status for status in statuses]
    assert said[:3] == ["connecting", "connecting", "online"]
    assert said[-2:] == ["connecting", "online"], "the port was opened, and then it answered"


class Module:
    """An M100 that understands one speed, on a terminal under a name that stays."""

    SPEEDS: ClassVar = {termios.B115200: 115200, termios.B9600: 9600, termios.B57600: 57600}
    ASKED = bytes.fromhex("bb000300010004")
    VERSION = bytes.fromhex("bb0103000b004d3130302056312e3030227e")
    NO_CHANNEL, NO_TAG = bytes.fromhex("bb01ff000120217e"), bytes.fromhex("bb01ff000115167e")

    def __init__(self, name: Path, speed: int) -> None:
        self._name, self._speed = name, speed
        self.asked_at: list[int] = []
        """The speed of every question for its version."""
        self.plug_in()

    def plug_in(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self._name.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._hear)

    def unplug(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        self._name.unlink()
        os.close(self._master)
        os.close(self._slave)

    def say(self, data: bytes) -> None:
        os.write(self._master, data)

    def _hear(self) -> None:
        if self.ASKED in os.read(self._master, 4096):
            speed = self.SPEEDS[termios.tcgetattr(self._slave)[4]]
            self.asked_at.append(speed)
            if speed == self._speed:
                self.say(self.VERSION)


@asynccontextmanager
async def running(watched: Reader) -> AsyncIterator[None]:
    task = asyncio.create_task(watched.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def delays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After how many failures each delay was asked for; none takes long."""
    waited: list[int] = []

    def soon(failures: int, _jitter: float) -> float:
        waited.append(failures)
        return 0.01

    monkeypatch.setattr("devices.reader.retry_delay_s", soon)
    return waited


async def test_a_device_is_asked_first_where_it_answered_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(M100, "BAUDS", (115200, 9600, 57600))
    module = Module(tmp_path / "gate", 9600)
    statuses: list[PortStatus] = []
    watched = reader(f"serial://{tmp_path / 'gate'}", [], statuses, reopen=True)
    async with running(watched):
        await eventually_async(lambda: watched.status.status == "online", 10)
        assert module.asked_at[-1] == 9600
        module.say(module.NO_CHANNEL)
        await eventually_async(lambda: watched.status.reason is not None)
        module.say(module.NO_TAG)
        await eventually_async(lambda: watched.status.reason is None)
        module.asked_at.clear()
        module.unplug()
        await eventually_async(lambda: "there is no" in (watched.status.reason or ""))
        await asyncio.sleep(1.5)  # opening fails again and again
        module.plug_in()
        await eventually_async(lambda: watched.status.status == "online", 3)
        assert module.asked_at == [9600]
    module.unplug()


async def test_whoever_is_away_for_long_is_asked_at_every_speed_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else the last of six speeds would have its turn after six times the longest delay."""
    monkeypatch.setattr(M100, "BAUDS", BAUDS)
    waited = delays(monkeypatch)
    module = Module(tmp_path / "gate", 0)
    async with running(reader(f"serial://{tmp_path / 'gate'}", [], [], reopen=True)):
        await eventually_async(lambda: len(waited) == 4, 20)
    assert waited == [0, 0, 0, 1]
    assert module.asked_at == [speed for speed in (*BAUDS, *BAUDS) for _ in range(3)]
    module.unplug()


async def test_to_answer_and_then_to_fail_is_no_success(monkeypatch: pytest.MonkeyPatch):
    """The only antenna is missing: asked again later and later, not five times a second."""
    waited = delays(monkeypatch)
    with Rig("a0", options={"antennas": "1"}) as rig:
        statuses: list[PortStatus] = []
        watched = Reader("gate", "a0", f"{rig.url}?antennas=3", lambda _: None, statuses.append)
        async with running(watched):
            await eventually_async(lambda: len(waited) == 4, 10)
    assert waited == [0, 1, 2, 3]
    assert "no antenna is connected" in (statuses[-1].reason or "")

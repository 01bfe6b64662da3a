"""Devices that must answer and do not: what is told of them, and how often."""

import asyncio
import os
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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
        await eventually_async(lambda: watched._attempts == 3, 15)
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
    assert watched._attempts == len(BAUDS)


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

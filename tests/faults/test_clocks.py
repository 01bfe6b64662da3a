"""Clocks that are ten years off, at the agent and at central, and that jump while they work."""

import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.nursery import Nursery
from tests.faults.record import healed
from tests.faults.warehouse import warehouse
from tests.support.broker import Broker

TEN_YEARS_NS = 10 * 365_2425 * 86_400 * 10**5  # of 365.2425 days


class Clock:
    """How far a program's wall clock is off; it may change while the program runs."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0)

    def set(self, off_ns: int) -> None:
        """From now on."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=q", off_ns))


@pytest.mark.parametrize("whose", ["agent", "central"])
async def test_a_clock_that_is_ten_years_off_and_jumps_back_and_forth_costs_nothing(
    whose: str, nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    clock = Clock(tmp_path / "clock")
    async with warehouse(nursery, tmp_path, shared_broker.url) as (central, [dock]):
        await dock.scan(5)
        hurt = dock if whose == "agent" else central
        for off_ns in (TEN_YEARS_NS, -TEN_YEARS_NS):
            await hurt.kill()
            clock.set(off_ns)
            await hurt.start(clock=str(clock.file))
            await dock.online()
            await dock.scan(10)
            clock.set(-off_ns)  # somebody sets it, twenty years at once
            await dock.scan(10)
            await dock.settled()
            clock.set(0)
            await dock.scan(5)
            await dock.settled()
        await healed(central, [dock])
        year, log = datetime.now(tz=UTC).year, hurt.log.read_text()
        assert f'"{year + 10}-' in log and f'"{year - 10}-' in log, "its clock was never off"

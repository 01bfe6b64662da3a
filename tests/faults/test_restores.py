"""Old disks, cloned agents, old backups: kept once or kept aside, and somebody is told."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.faults.dock import FORGETFUL, Dock
from tests.faults.nursery import Nursery
from tests.faults.record import healed
from tests.faults.warehouse import under_load, warehouse
from tests.support.broker import Broker
from tests.support.programs import tail
from tests.support.wait import eventually_async


@pytest.mark.parametrize(
    ("copied", "alarm"), [("while it worked", "agent_set_back"), ("when off", "cloned_agent")]
)
async def test_an_agent_on_an_old_disk_keeps_what_central_has_and_raises_an_alarm(
    copied: str, alarm: str, nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    """Copied when off, all that the old disk lacks are whole lives: what follows looks like a clone's."""
    async with warehouse(nursery, tmp_path, shared_broker.url) as (central, [dock]):
        await dock.scan(10)
        if copied == "when off":
            await dock.settled()
            await dock.kill()
            old = dock.copy_disk("old")
            await dock.start()
        else:
            old = dock.snapshot_disk("old")
        await dock.scan(10)
        await dock.settled()
        await dock.kill()
        dock.restore_disk(old)
        await dock.start()
        await dock.scan(10)
        books = await healed(central, [dock])
        assert alarm in books.alarms


async def test_what_only_a_lost_disk_had_is_the_only_thing_that_is_lost_with_it(
    nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, shared_broker.url) as (central, [dock]):
        await dock.scan(10)
        await dock.settled()
        await dock.kill()
        old = dock.copy_disk("old")
        await central.kill()
        await dock.start()
        known = set(dock.ok)
        await dock.scan(10)
        await dock.kill()
        gone = set(dock.ok) - known
        dock.restore_disk(old)
        await central.start()
        await dock.start()
        await dock.scan(10)
        books = await healed(central, [dock], lost=gone)
        assert not gone & books.events.keys(), "they were on that disk alone"


async def test_a_cloned_agent_that_takes_the_others_name_is_booked_once_and_raises_an_alarm(
    nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, shared_broker.url) as (central, [dock]):
        await dock.scan(10)
        await dock.kill()
        clone = Dock(nursery, tmp_path / "clone", dock.agent, shared_broker.url)
        shutil.copytree(dock.data, clone.data)
        try:
            await dock.start()
            await clone.start()
            for _ in range(3):  # each connects and throws the other out, in turns
                await asyncio.gather(dock.scan(10), clone.scan(10))
                await asyncio.sleep(0.3)
            await clone.kill()  # somebody heard the alarm
            await dock.settled()
            await dock.kill()
            await clone.start()
            await clone.settled()
            await clone.kill()
            await dock.start()
            books = await healed(central, [dock], also=[clone])
            assert {"cloned_agent", "two_connections"} & books.alarms
        finally:
            await clone.close()


@pytest.mark.parametrize("told", ["stopped", "crashed"])
async def test_central_from_an_old_copy_has_every_ok_once_after_agents_sent_again(
    told: str, nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, shared_broker.url, docks=2) as (central, docks):
        for dock in docks:
            await dock.scan(15)
            await dock.settled()
        kept = central.back_up("old.db")
        for dock in docks:
            await dock.scan(15)
        if told == "stopped":
            for dock in docks:
                await dock.settled()
        await central.kill()
        await docks[0].kill()  # one agent starts anew and one stays
        central.put_back(kept)
        await central.start()
        await docks[0].start()
        for dock in docks:
            await dock.scan(5)
        books = await healed(central, docks)
        assert len(books.histories) >= 1 + (told == "stopped"), "nobody noticed"


async def test_central_rolled_back_again_and_again_while_it_works_has_every_ok_once(
    nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, shared_broker.url, docks=2) as (central, docks):
        async with under_load(docks):
            for number in range(3):
                kept = central.back_up(f"old-{number}.db")
                before = len(docks[0].ok)
                await eventually_async(lambda before=before: len(docks[0].ok) >= before + 20, 30)
                await asyncio.sleep(0.3)
                await central.kill()
                central.put_back(kept)
                await central.start()
        books = await healed(central, docks)
        assert len(books.histories) >= 2


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_central_restored_from_a_backup_that_was_made_under_load_has_every_ok_once(
    engine: str, request: pytest.FixtureRequest, nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    url = request.getfixturevalue("postgres_url") if engine == "postgresql" else None
    kept = str(tmp_path / "kept")
    async with warehouse(nursery, tmp_path, shared_broker.url, docks=2, url=url) as (central, docks):
        async with under_load(docks):
            assert await central.command("backup", kept) == 0, tail(central.log)
            await asyncio.sleep(0.5)
            await central.kill()
            assert await central.command("restore", "--replace", kept) == 0, tail(central.log)
            await central.start()
            await asyncio.sleep(0.5)
        books = await healed(central, docks)
        assert books.histories[-1] == "restored"


async def test_what_agents_have_let_go_of_is_in_every_backup_that_counts(
    nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    kept = str(tmp_path / "kept")
    async with warehouse(nursery, tmp_path, shared_broker.url) as (central, [dock]):
        assert await central.command("backup", str(tmp_path / "first")) == 0, tail(central.log)
        await dock.kill()
        await dock.start(FORGETFUL)
        await dock.scan(40)
        await dock.settled()
        await asyncio.sleep(0.5)
        assert dock.held() >= 40, "no backup has them yet"
        assert await central.command("backup", "--keep", "1", kept) == 0, tail(central.log)
        await eventually_async(lambda: dock.held() <= 10, 30, "what the backup has is let go of")
        await dock.scan(40)
        await dock.settled()
        await central.kill()
        assert await central.command("restore", "--replace", kept) == 0, tail(central.log)
        await central.start()
        await dock.scan(5)
        await healed(central, [dock])


async def test_a_copy_that_nobody_counted_on_lacks_what_agents_let_go_of_and_says_so(
    nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    """Without recorded backups, what central acknowledged may be forgotten: the warning in its log says so."""
    async with warehouse(nursery, tmp_path, shared_broker.url) as (central, [dock]):
        await dock.kill()
        await dock.start(FORGETFUL)
        await dock.scan(5)
        await dock.settled()
        old = central.back_up("old.db")
        before = set(dock.ok)
        await dock.scan(40)
        await dock.settled()
        await eventually_async(lambda: dock.held() <= 10, 30, "they are let go of")
        gone = set(dock.ok) - before
        await central.kill()
        central.put_back(old)
        await central.start()
        await dock.scan(5)
        books = await healed(central, [dock], lost=gone)
        assert len(gone - books.events.keys()) >= 30
        assert "lost_range" in books.alarms
        assert "no backup" in central.log.read_text()

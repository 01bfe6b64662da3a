"""A central whose database restarts, is cut off at a commit, or is slow; and a central that stands still."""

import asyncio
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.failpoints import DIED
from tests.faults.nursery import Nursery
from tests.faults.record import Central, healed
from tests.faults.warehouse import under_load, warehouse
from tests.support.broker import Broker
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy, Way
from tests.support.wait import eventually_async


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL that keeps what it said it committed, over its own death."""
    server = Postgres(synchronous_commit="on", full_page_writes="on")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_postgresql_that_restarts_under_load_costs_nothing(
    how: signal.Signals, nursery: Nursery, shared_broker: Broker, server: Postgres, tmp_path: Path
) -> None:
    url = server.url(server.create_database())
    async with warehouse(nursery, tmp_path, shared_broker.url, docks=2, url=url) as (central, docks):
        async with under_load(docks):
            for _ in range(2):
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.restart, how)
            await asyncio.sleep(0.3)
        await healed(central, docks)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_connection_that_is_cut_at_a_commit_books_what_was_in_it_once(
    when: str, nursery: Nursery, shared_broker: Broker, server: Postgres, tmp_path: Path
) -> None:
    """`before`: COMMIT never arrives. `after`: it is carried out, and its answer never arrives."""
    database = server.create_database()
    proxy = await Proxy(server.port).start()
    try:
        async with warehouse(nursery, tmp_path, shared_broker.url, url=server.url(database)) as (
            central,
            [dock],
        ):
            await central.kill()
            url = server.url(database).replace(str(server.port), str(proxy.port))
            central.dial(shared_broker.url, url)
            await central.start()
            await dock.online()
            _cut_at_commits(proxy, after=when == "after")
            while central.log.read_text().count("the database does not answer") < 2:
                await dock.scan(5)
            proxy.watch = lambda _way, _data: None
            await healed(central, [dock])
    finally:
        await proxy.close()


def _cut_at_commits(proxy: Proxy, *, after: bool) -> None:
    """Cut the connection at every third commit; some are of the ledger, some of readers."""
    commits = [0]
    is_carried_out = [False]

    def watch(way: Way, data: bytes) -> None:
        if way == "there" and b"COMMIT" in data:
            commits[0] += 1
            if commits[0] % 3 == 0:
                if not after:
                    raise ConnectionResetError("cut before the commit")
                is_carried_out[0] = True
        elif way == "back" and is_carried_out[0]:
            is_carried_out[0] = False
            raise ConnectionResetError("cut before its answer")

    proxy.watch = watch


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_central_on_postgresql_that_dies_at_a_commit_books_every_ok_once(
    moment: str, nursery: Nursery, shared_broker: Broker, server: Postgres, tmp_path: Path
) -> None:
    url = server.url(server.create_database())
    async with warehouse(nursery, tmp_path, shared_broker.url, url=url) as (central, [dock]):
        for number in (2, 4):
            await central.kill()
            await central.start(wait=False, die=[f"batch.commit:{moment}:{number}"])
            while central.alive:
                await dock.scan(2)
            assert await central.ended() == DIED
            await central.start()
        await healed(central, [dock])


async def test_of_two_centrals_on_one_database_each_may_die_and_every_ok_is_booked_once(
    nursery: Nursery, shared_broker: Broker, server: Postgres, tmp_path: Path
) -> None:
    url = server.url(server.create_database())
    async with warehouse(nursery, tmp_path, shared_broker.url, docks=2, url=url) as (central, docks):
        other = Central(nursery, tmp_path / "other", shared_broker.url, url=url)
        try:
            await other.start()
            async with under_load(docks):
                for dies in (central, other, central):
                    await asyncio.sleep(0.4)
                    await dies.kill()
                    await asyncio.sleep(0.3)
                    await dies.start()
            await healed(central, docks)
        finally:
            await other.close()


async def test_central_that_stands_still_for_a_while_is_waited_for(
    nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, shared_broker.url, docks=2) as (central, docks):
        for number in range(3):
            central.signal(signal.SIGSTOP)
            await asyncio.gather(*(dock.scan(20) for dock in docks))
            await asyncio.sleep(0.5 * number)
            central.signal(signal.SIGCONT)
        await healed(central, docks)


async def test_a_slow_central_shuts_its_window_and_opens_it_again(
    nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, shared_broker.url) as (central, [dock]):
        await central.kill()
        await central.start(constants={"central.database.BUSY_TIMEOUT_MS": 100})
        await dock.scan(5)
        await dock.settled()
        other = sqlite3.connect(central.file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # somebody else has the database
        await dock.scan(40)
        await eventually_async(lambda: "the database does not answer" in central.log.read_text(), 30)
        await dock.scan(5)
        assert len(central.books().events) < len(dock.ok)
        other.execute("ROLLBACK")
        other.close()
        await healed(central, [dock])

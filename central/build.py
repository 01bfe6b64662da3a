"""Where central is put together: database, ledger, broker, API, dashboard; and taken apart in the right order.

The one idea: what is opened first is closed last. HTTP and the broker stop taking work, then the ledger finishes
what it has, then the database is let go.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import sqlalchemy as sa

from central import config as configuration
from central import measures, presence
from central.api import app as api
from central.config import CentralConfig
from central.consumer import Consumer
from central.database import DatabaseError, open_engine
from central.ledger.service import Ledger
from central.ledger.sweeper import sweep
from central.opening import prepare
from service import log, metrics, process
from service.config import Listen
from service.version import version
from sync.mqtt import SettingsError

_log = log.get("central")


def main(config: Path) -> int:
    """Run central until a signal; the exit status."""
    settings = configuration.load(config)
    log.configure(json=settings.log.json_lines, level=settings.log.level)
    return process.run(lambda: run(settings), known=(DatabaseError, SettingsError))


async def run(settings: CentralConfig, announce: Callable[[Listen], None] = lambda _: None) -> int:
    """Central, for ever; cancel to stop. `announce` is told where it listens."""
    engine = open_engine(settings.database.full_url)
    try:
        with presence.running(settings.database.url):
            await prepare(engine, settings.database.url)
            async with _ledger(engine) as ledger:
                await _serve(settings, engine, ledger, announce)
    finally:
        engine.dispose()
    return process.DONE


@contextlib.asynccontextmanager
async def _ledger(engine: sa.Engine) -> AsyncIterator[Ledger]:
    ledger = Ledger(engine)
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.close()


async def _serve(
    settings: CentralConfig, engine: sa.Engine, ledger: Ledger, announce: Callable[[Listen], None]
) -> None:
    consumer = Consumer(ledger, settings.broker(), lease_s=settings.tasks.lease_s)
    registry = metrics.create_registry("central", version())
    measures.register(registry, ledger, consumer)
    parts = api.Parts(
        engine=engine,
        ledger=ledger,
        registry=registry,
        version=version(),
        broker_online=lambda: consumer.online,
        hosts=settings.http.hosts,
        requests_per_s=settings.http.requests_per_s,
    )
    app = api.create(parts)
    ledger.on_commit(lambda _: app.state.commits.wake())
    ledger.on_commit(lambda _: app.state.board.wake())
    consumer.on_agent(lambda _: app.state.board.wake())

    def listening(listen: Listen) -> None:
        _log.info("central serves", dashboard=f"http://{listen.authority}/", database=settings.database.url)
        process.ready(f"serving http://{listen.authority}/")
        announce(listen)

    async with asyncio.TaskGroup() as group:
        group.create_task(consumer.run())
        group.create_task(sweep(ledger))
        group.create_task(app.state.board.run(app.state.back.read, parts.broker_online))
        group.create_task(process.serve_http(app, settings.http.listen, announce=listening))

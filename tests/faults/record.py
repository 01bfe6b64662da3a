"""The record of truth as tests start, kill and read it: central as a process, its books looked at from outside."""

import asyncio
import json
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from central import tables
from central.database import migrate, open_engine, reading
from central.ledger import views
from central.ledger.commands import PutItem, PutLocation
from central.ledger.service import Ledger
from sync.messages import Gtin
from tests.faults.dock import GTIN, QUICK, Dock
from tests.faults.nursery import START_S, Nursery, Ward
from tests.support.networks import Network
from tests.support.programs import free_port, tail
from tests.support.wait import eventually_async

SKU = "LAMP"
NAMELESS = ""
"""Where a movement stands whose lot was spoiled on the way."""


async def found(url: str) -> None:
    """A database with the one item and the one location that all docks scan."""
    engine = open_engine(url)
    migrate(engine)
    ledger = Ledger(engine)
    await ledger.start()
    await ledger.submit(PutItem("test", SKU, "Lamp", (Gtin(gtin=GTIN, quantity=1),), tracking="lot"))
    await ledger.submit(PutLocation("test", "DOCK-1", "lej1", "", 0))
    await ledger.close()
    engine.dispose()


@dataclass
class Books:
    """What the ledger has."""

    events: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """lot → (event id, outcome) of each movement that came from a dock."""
    balances: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What does not add up."""
    alarms: set[str] = field(default_factory=set)
    """The kinds of discrepancies that were ever opened."""
    histories: list[str] = field(default_factory=list)
    """Why each history began."""


def look(url: str) -> Books:
    """Read the whole ledger."""
    engine = open_engine(url)
    books = Books()
    try:
        with reading(engine) as connection:
            m, b = tables.movement.c, tables.balance.c
            query = sa.select(m.event_id, m.outcome, m.original).where(m.event == "received")
            for event_id, outcome, original in connection.execute(query):
                lot = json.loads(original)["data"].get("lot", NAMELESS)
                books.events.setdefault(lot, []).append((event_id, outcome))
            for lot, quantity in connection.execute(
                sa.select(b.lot, sa.func.sum(b.quantity)).group_by(b.lot)
            ):
                books.balances[lot] = quantity
            books.problems = views.verify(connection)
            books.alarms = set(connection.scalars(sa.select(tables.discrepancy.c.kind).distinct()))
            query = sa.select(tables.history.c.cause).order_by(tables.history.c.ordinal)
            books.histories = list(connection.scalars(query))
    finally:
        engine.dispose()
    return books


def complaints(books: Books, docks: Iterable[Dock], *, lost: Iterable[str] = ()) -> list[str]:
    """What of the promises does not hold; empty if all is well.

    `lost`: lots that were told OK and whose journal is gone; they may be in the books or not, and once at most.
    """
    found = list(books.problems)
    gone, docks = set(lost), list(docks)
    known = {lot for dock in docks for lot in dock.sent}
    for dock in docks:
        for lot in dock.sent:
            events = books.events.get(lot, [])
            event_id = dock.ok.get(lot)
            if event_id is not None and lot not in gone and [event_id] != [one for one, _ in events]:
                found.append(f"{lot} was OK as {event_id}; the ledger has {events}")
            elif len(events) > 1:
                found.append(f"{lot} was sent once; the ledger has {events}")
            if any(outcome not in ("accepted", "discrepant") for _, outcome in events):
                found.append(f"{lot} was refused: {events}")
            if books.balances.get(lot, 0) != len(events):
                found.append(f"{lot}: the balance is {books.balances.get(lot, 0)}, booked is {len(events)}")
    found += [f"{lot} was never scanned" for lot in books.events.keys() - known]
    return found


class Central(Ward):
    """`tallyman central` as a process on a database of its own.

    Args:
        url: its database; by default a SQLite file in `folder`, founded by `create`.
    """

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        broker: str,
        *,
        url: str | None = None,
        network: Network | None = None,
        mqtt: str = "",
    ) -> None:
        self.nursery, self.folder = nursery, folder
        self.network = network or Network()
        folder.mkdir(exist_ok=True, parents=True)
        self.file = folder / "central.db"
        self.url = url or f"sqlite:///{self.file}"
        self.port = free_port()
        self.log = folder / "central.log"
        self.config = folder / "central.toml"
        self._mqtt = mqtt
        self.dial(broker)
        self.starts = 0
        self.pid: int | None = None

    def dial(self, broker: str, url: str | None = None) -> None:
        """From the next start on, talk to the broker (and the database) at these addresses."""
        self.config.write_text(
            f'[database]\nurl = "{url or self.url}"\n[mqtt]\nurl = "{broker}"\n{self._mqtt}\n'
            f'[http]\nlisten = "127.0.0.1:{self.port}"\n'
        )

    async def create(self) -> "Central":
        """Found its database."""
        await found(self.url)
        return self

    async def start(self, *, wait: bool = True, constants: dict[str, float] = QUICK, **how: Any) -> None:
        """Start it and wait until it serves; with failpoints that it may meet earlier, do not wait."""
        self.starts += 1
        self.pid = self.nursery.start(
            "central", "--config", str(self.config), log=self.log, network=self.network.name,
            constants=constants, **how,
        )  # fmt: skip
        if wait:
            await eventually_async(self._serves, START_S, "central serves")

    async def _serves(self) -> bool:
        assert self.alive, tail(self.log)
        with self.network.socket() as sock:
            try:
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            except OSError:
                return False
        return True

    async def close(self) -> None:
        """End it, however it is."""
        if self.alive:
            self.signal(signal.SIGCONT)
            await self.kill()

    def books(self) -> Books:
        """What the ledger has now."""
        return look(self.url)

    async def command(self, name: str, *arguments: str) -> int:
        """`tallyman central NAME --config FILE ARGUMENTS`; its exit status."""
        pid = self.nursery.start("central", name, "--config", str(self.config), *arguments, log=self.log)
        await eventually_async(lambda: not self.nursery.is_alive(pid), START_S, f"{name} ends")
        return self.nursery.ended[pid]

    # --- copies of the SQLite file, made behind its back ------------------------------------------------

    def back_up(self, name: str) -> Path:
        """A copy of the database as it is now, made by SQLite while central works."""
        kept = self.folder / name
        with sqlite3.connect(self.file) as source, sqlite3.connect(kept) as target:
            source.backup(target)
        source.close()
        target.close()
        return kept

    def put_back(self, kept: Path) -> None:
        """Put an old copy in the place of the database; central must not be running."""
        assert not self.alive
        for file in (self.file, Path(f"{self.file}-wal"), Path(f"{self.file}-shm")):
            file.unlink(missing_ok=True)
        shutil.copy(kept, self.file)


async def healed(
    central: Central,
    docks: Iterable[Dock],
    *,
    lost: Iterable[str] = (),
    also: Iterable[Dock] = (),
    others: bool = False,
    within_s: float = START_S,
) -> Books:
    """Wait until all docks are settled, then hold the promises against the ledger; the books. `also`: docks that
    were settled before, and are off. `others`: more docks than these have used it.
    """
    docks, over_at = list(docks), time.monotonic()
    for dock in docks:
        await dock.settled(within_s)
    healing_s = time.monotonic() - over_at
    books = central.books()
    if others:
        hands = tuple(f"{dock.hand}-" for dock in docks)
        books.events = {lot: events for lot, events in books.events.items() if lot.startswith(hands)}
    docks += also
    problems = complaints(books, docks, lost=lost)
    assert not problems, "\n".join(problems[:20])
    assert all(dock.ok for dock in docks), "nothing was scanned: this proves nothing"
    print(f"{sum(len(dock.ok) for dock in docks)} scans told OK, settled {healing_s:.1f} s after the fault")
    return books

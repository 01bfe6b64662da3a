"""What ledger tests share: an agent's stream in memory, and a ledger on a fresh database."""

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from central.database import migrate, open_engine, reading
from central.ledger import views
from central.ledger.commands import BookBatch, PutItem, PutLocation
from central.ledger.service import Ledger, LedgerSettings
from sync import messages
from sync.messages import Ack, Event, Gtin


class Stream:
    """One incarnation of an agent: makes events at its next places."""

    def __init__(self, agent: str = "dock-2", site: str = "lej1") -> None:
        self.agent, self.site = agent, site
        self.incarnation = uuid.uuid4().hex
        self.last = 0

    def event(self, name: str, data: dict[str, Any], *, sequence: int | None = None, **more: Any) -> Event:
        """The event, at the next place or at that one."""
        if sequence is None:
            self.last += 1
            sequence = self.last
        fields = {
            "id": str(uuid.uuid4()),
            "source": messages.event_source(self.site, self.agent),
            "type": f"tallyman.{name}.v1",
            "time": "2026-11-20T08:15:30.123456Z",
            "incarnation": self.incarnation,
            "sequence": messages.sequence_text(sequence),
            "data": data,
        }
        return Event(**{**fields, **more})

    def batch(self, *events: Event) -> BookBatch:
        """The events as they come off the wire."""
        return BookBatch(self.agent, events, tuple(messages.encode(event) for event in events))

    def said(self, name: str, **data: Any) -> BookBatch:
        """A batch of one event."""
        return self.batch(self.event(name, data))


class Books:
    """A ledger with shortcuts."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.engine = ledger.engine

    async def do(self, command: Any) -> Any:
        """Submit it."""
        return await self.ledger.submit(command)

    async def verdict(self, batch: BookBatch) -> tuple[str, str | None]:
        """(outcome, reason) of a batch of one."""
        ack: Ack = await self.do(batch)
        return ack.verdicts[0].outcome, ack.verdicts[0].reason

    def available(self, sku: str = "SKU-1") -> dict[str, Any]:
        """Availability without what is the same everywhere."""
        with reading(self.engine) as connection:
            body = views.availability(connection, sku)
        return {key: value for key, value in body.items() if value and key in views.LEVELS}

    def verify(self) -> list[str]:
        """What does not add up."""
        with reading(self.engine) as connection:
            return views.verify(connection)

    def rows(self, query: Any) -> list[Any]:
        """The rows of a query."""
        with reading(self.engine) as connection:
            return list(connection.execute(query))

    def open_discrepancies(self) -> list[tuple[str, str]]:
        """(kind, key) of what is open."""
        from central.tables import discrepancy

        rows = self.rows(discrepancy.select().where(discrepancy.c.status == "open"))
        return sorted((row.kind, row.key) for row in rows)

    async def stock_the_shop(self) -> None:
        """SKU-1 and SKU-2 at site lej1 with a dock and two bins."""
        await self.do(PutItem("test", "SKU-1", "Mug", (Gtin(gtin="4006381333931", quantity=1),
                                                       Gtin(gtin="14006381333938", quantity=12))))  # fmt: skip
        await self.do(PutItem("test", "SKU-2", "Plate", ()))
        for name, order in (("DOCK-2", 0), ("A-01", 1), ("A-02", 2)):
            await self.do(PutLocation("test", name, "lej1", "A", order))


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Books]:
    """A running ledger on that database; afterwards its books must add up."""
    engine = open_engine(url)
    migrate(engine)
    ledger = Ledger(engine, LedgerSettings(**settings))
    await ledger.start()
    try:
        books = Books(ledger)
        yield books
        assert books.verify() == []
    finally:
        await ledger.close()
        engine.dispose()


def text(value: Any) -> bytes:
    """JSON as bytes."""
    return json.dumps(value).encode()

"""The public feeds over MQTT: every movement in central order, and the availability of what changed.

The idea: the database is the buffer. The movement feed is a cursor over movement numbers: a commit wakes it, and
after a lost connection it goes back to what the broker had acknowledged. Stock is a set of SKUs to tell of, each at
most once a second. A broker that is away costs nothing but time.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from central import tables
from central.database import current_history, reading
from central.ledger import views
from central.ledger.service import CommittedMovement, Ledger
from service import log
from sync.messages import MAX_DOWNWARD_BYTES, MOVEMENTS_TOPIC, split_batches, stock_topic
from sync.mqtt import Sent

_log = log.get("central.feed")

PAGE: Final = 500  # movements read at once
BATCH_EVENTS: Final = 100  # CloudEvents in one message
# Movements that are booked within so long are read and sent together: a question to the database for each commit
# takes the processor from those who wait for verdicts.
MOVEMENTS_EVERY_S: Final = 0.1
STOCK_EVERY_S: Final = 1.0  # contract: at most one message per SKU and second
STOCK_AT_ONCE: Final = 500  # SKUs told of in a second; the others wait their turn
RETRY_S: Final = 1.0
MOST_FLYING: Final = (
    20  # messages with movements that the broker has not acknowledged; then the feed waits for it
)
FLYING_S: Final = 0.02  # how often it looks

Publish = Callable[[str, bytes, bool], Sent | None]
"""(topic, payload, retain) → what became of it; None when it was not sent at all."""


def cloud_event(history: str, body: dict[str, Any]) -> dict[str, Any]:
    """A movement (a row of `views.movements`) as a CloudEvent; its id is unique like its number."""
    return {
        "specversion": "1.0",
        "id": f"{history}/{body['movement']}",
        "source": "/central",
        "type": f"tallyman.movement.{body['event']}.v1",
        "time": body["recorded_at"],
        **({"subject": body["sku"]} if body["sku"] is not None else {}),
        "datacontenttype": "application/json",
        "data": {"history": history, **body},
    }


class Feed:
    """Follows the ledger and publishes. `connected` says that there is a broker (again)."""

    def __init__(self, ledger: Ledger, publish: Publish) -> None:
        self._engine = ledger.engine
        self._publish = publish
        self._sent: int | None = None
        self._flying: deque[tuple[Sent, int]] = deque()
        """What the broker has not acknowledged, and the last movement before each."""
        self._movements = asyncio.Event()
        self._skus: dict[str, None] = {}  # in the order in which they changed
        self._all_skus = False
        self._stock = asyncio.Event()
        ledger.on_commit(self._committed)

    def connected(self) -> None:
        """The broker may have forgotten what was retained: tell of every SKU again. What it had not acknowledged on
        the connection before may be lost: movements go on from there.
        """
        if self._in_the_air():
            self._sent = self._flying[0][1]
            self._flying.clear()
        self._all_skus = True
        self._stock.set()
        self._movements.set()

    def _committed(self, movements: list[CommittedMovement]) -> None:
        for one in movements:
            self._skus |= {entry.sku: None for entry in one.movement.entries}
        self._movements.set()
        self._stock.set()

    async def run(self) -> None:
        """Publish for ever. Cancel to stop."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(self._movements, self._tell_movements, MOVEMENTS_EVERY_S))
            group.create_task(self._follow(self._stock, self._tell_stock, STOCK_EVERY_S))

    async def _follow(self, woken: asyncio.Event, tell: Callable[[], Any], pause_s: float) -> None:
        while True:
            try:
                done = await tell()
            except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
                _log.warning("the feed waits for the database", error=str(error))
                done = False
            if done:
                await woken.wait()
                await asyncio.sleep(pause_s)
            else:
                await asyncio.sleep(RETRY_S)
            woken.clear()

    # --- movements -------------------------------------------------------------------------------

    def _in_the_air(self) -> int:
        """How many messages with movements are not acknowledged."""
        while self._flying and self._flying[0][0].taken:
            self._flying.popleft()
        return len(self._flying)

    async def _tell_movements(self) -> bool:
        """Publish what is booked since the last; False when there is no broker."""
        while True:
            if self._in_the_air() >= MOST_FLYING:
                await asyncio.sleep(FLYING_S)
                continue
            after = self._sent
            history, rows = await asyncio.to_thread(self._read_movements, after)
            if self._sent != after:
                continue  # connected again meanwhile
            if after is None:
                self._sent = rows[0] if rows else 0
                return True
            if not self._publish_movements(history, after, rows):
                return False
            if len(rows) < PAGE:
                return True  # what is booked meanwhile wakes it again

    def _publish_movements(self, history: str, after: int, rows: list[Any]) -> bool:
        """All of these, in as few messages as they fit into."""
        texts = [msgspec.json.encode(cloud_event(history, row)) for row in rows]
        start = 0
        for count in split_batches(texts, limit_bytes=MAX_DOWNWARD_BYTES, limit_count=BATCH_EVENTS):
            payload = b"[" + b",".join(texts[start : start + count]) + b"]"
            if len(payload) > MAX_DOWNWARD_BYTES:  # one movement of thousands of lines: brokers hang up on it
                number = rows[start]["movement"]
                _log.warning("a movement is larger than a message; read it over REST", movement=number)
            elif sent := self._publish(MOVEMENTS_TOPIC, payload, False):
                self._flying.append((sent, after))
            else:
                return False
            start += count
            self._sent = after = rows[start - 1]["movement"]
        return True

    def _read_movements(self, after: int | None) -> tuple[str, list[Any]]:
        """(history, movements after that one); without one, only where the feed begins: at what comes next."""
        with reading(self._engine) as connection:
            history = current_history(connection)
            if after is None:
                return history, [views.last_movement(connection)]
            return history, views.movements(connection, after=after, limit=PAGE)

    # --- stock -----------------------------------------------------------------------------------

    async def _tell_stock(self) -> bool:
        """Publish the availability of SKUs that changed; False when some are left."""
        if self._all_skus:
            self._skus |= dict.fromkeys(await asyncio.to_thread(self._every_sku))
            self._all_skus = False
        chosen = list(self._skus)[:STOCK_AT_ONCE]
        if not chosen:
            return True
        for sku in chosen:
            del self._skus[sku]
        try:
            found = await asyncio.to_thread(self._read_stock, chosen)
        except BaseException:  # cancelled or failed: what was taken is told later
            self._skus |= dict.fromkeys(chosen)
            raise
        for sku, body in found.items():
            if not self._publish(stock_topic(sku), msgspec.json.encode(body), True):
                self._skus[sku] = None
        return not self._skus

    def _every_sku(self) -> list[str]:
        with reading(self._engine) as connection:
            return list(connection.scalars(sa.select(tables.promise.c.sku).distinct()))

    def _read_stock(self, skus: list[str]) -> dict[str, Any]:
        with reading(self._engine) as connection:
            return views.availabilities(connection, skus)

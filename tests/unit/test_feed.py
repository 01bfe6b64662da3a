"""The feeds when the database fails them: nothing that changed is forgotten."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from central import feed as feed_module
from central.feed import Feed
from tests.support.wait import eventually_async


class Sent:
    """A message that the broker has, or does not have yet."""

    def __init__(self, *, taken: bool = True) -> None:
        self.taken = taken


class NoLedger:
    """A ledger that is only listened to."""

    engine: Any = None

    def on_commit(self, heard: Any) -> None:
        """Nothing is committed here."""


@pytest.mark.parametrize(
    "failure",
    [sa.exc.TimeoutError("no connection"), sa.exc.OperationalError("SELECT", {}, Exception("away"))],
)
async def test_a_database_that_is_away_costs_the_feed_nothing_but_time(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(feed_module, "RETRY_S", 0.01)
    monkeypatch.setattr(feed_module, "STOCK_EVERY_S", 0.01)
    said: list[str] = []
    feed = Feed(NoLedger(), lambda topic, _payload, _retain: said.append(topic) or Sent())  # type: ignore[arg-type, func-returns-value, return-value]
    failing = {"_every_sku": 1, "_read_stock": 1, "_read_movements": 1}

    def flaky(name: str, answer: Any) -> None:
        def read(*_: Any) -> Any:
            if failing[name]:
                failing[name] -= 1
                raise failure
            return answer

        monkeypatch.setattr(feed, name, read)

    flaky("_every_sku", ["A"])
    flaky("_read_stock", {"A": {"sku": "A"}})
    flaky("_read_movements", ("h-1", []))
    feed.connected()
    running = asyncio.create_task(feed.run())
    try:
        await eventually_async(lambda: said == ["tallyman/v1/stock/A"])
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert not any(failing.values())


def movement(number: int, size: int = 9) -> dict[str, Any]:
    row = {"movement": number, "event": "cancelled", "sku": None, "recorded_at": "now"}
    return {**row, "entries": ["x" * size]}


class Shelf:
    """A feed over these movements, and what it published."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.booked: list[dict[str, Any]] = []
        self.said: list[int] = []
        self.sent: list[Sent] = []
        self.taken, self.online = True, True
        self.feed = Feed(NoLedger(), self.publish)  # type: ignore[arg-type]
        monkeypatch.setattr(self.feed, "_read_movements", self.read)

    def publish(self, _topic: str, payload: bytes, _retain: bool) -> Sent | None:
        if not self.online:
            return None
        self.said += [event["data"]["movement"] for event in json.loads(payload)]
        self.sent.append(Sent(taken=self.taken))
        return self.sent[-1]

    def read(self, after: int | None) -> tuple[str, list[Any]]:
        found = [0] if after is None else [row for row in self.booked if row["movement"] > after]
        return "h-1", found[: feed_module.PAGE]


async def test_a_movement_larger_than_a_message_is_left_to_rest_and_its_neighbours_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = Shelf(monkeypatch)
    shelf.booked = [movement(1), movement(2, 300_000), movement(3)]
    assert await shelf.feed._tell_movements()
    assert await shelf.feed._tell_movements()
    assert shelf.said == [1, 3]


async def test_what_a_broker_had_not_taken_when_it_went_is_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "BATCH_EVENTS", 1)
    shelf = Shelf(monkeypatch)
    await shelf.feed._tell_movements()
    shelf.booked = [movement(n) for n in (1, 2, 3)]
    assert await shelf.feed._tell_movements()
    shelf.taken = False
    shelf.booked += [movement(n) for n in (4, 5)]
    assert await shelf.feed._tell_movements()
    shelf.online, shelf.booked = False, [*shelf.booked, movement(6)]
    assert not await shelf.feed._tell_movements()
    shelf.online = shelf.taken = True
    shelf.feed.connected()
    assert await shelf.feed._tell_movements()
    assert shelf.said == [1, 2, 3, 4, 5, 4, 5, 6]


async def test_a_connection_that_is_lost_while_movements_are_read_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = Shelf(monkeypatch)
    await shelf.feed._tell_movements()
    shelf.taken, shelf.booked = False, [movement(1)]
    assert await shelf.feed._tell_movements()
    read = shelf.read

    def meanwhile(after: int | None) -> tuple[str, list[Any]]:
        monkeypatch.setattr(shelf.feed, "_read_movements", read)
        shelf.feed.connected()
        return read(after)

    monkeypatch.setattr(shelf.feed, "_read_movements", meanwhile)
    shelf.booked.append(movement(2))
    assert await shelf.feed._tell_movements()
    assert shelf.said == [1, 1, 2]


async def test_a_broker_that_takes_nothing_is_not_told_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "PAGE", 1)
    shelf = Shelf(monkeypatch)
    await shelf.feed._tell_movements()
    shelf.taken, shelf.booked = False, [movement(n) for n in range(1, 100)]
    telling = asyncio.create_task(shelf.feed._tell_movements())
    await eventually_async(lambda: len(shelf.said) == feed_module.MOST_FLYING)
    await asyncio.sleep(feed_module.FLYING_S * 3)
    assert len(shelf.said) == feed_module.MOST_FLYING
    shelf.taken = True
    for sent in shelf.sent:
        sent.taken = True
    assert await telling
    assert shelf.said == list(range(1, 100))

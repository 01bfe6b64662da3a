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
    feed = Feed(NoLedger(), lambda topic, _payload, _retain: not said.append(topic))  # type: ignore[arg-type, func-returns-value]
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


async def test_a_movement_larger_than_a_message_is_left_to_rest_and_its_neighbours_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[Any] = []

    def publish(_topic: str, payload: bytes, _retain: bool) -> bool:
        said.extend(event["data"]["movement"] for event in json.loads(payload))
        return True

    def movement(number: int, size: int) -> dict[str, Any]:
        row = {"movement": number, "event": "cancelled", "sku": None, "recorded_at": "now"}
        return {**row, "entries": ["x" * size]}

    feed = Feed(NoLedger(), publish)  # type: ignore[arg-type]
    pages = [("h-1", [0]), ("h-1", [movement(1, 9), movement(2, 300_000), movement(3, 9)]), ("h-1", [])]
    monkeypatch.setattr(feed, "_read_movements", lambda _after: pages.pop(0))
    assert await feed._tell_movements()
    assert await feed._tell_movements()
    assert said == [1, 3]

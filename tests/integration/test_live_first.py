"""While one agent brings in a backlog, others are booked first: seen by the order of commits, not by the time."""

import asyncio
import threading
from typing import Any

import pytest

from central.ledger import writer
from central.ledger.commands import Reserve
from sync.messages import Ack
from tests.support.ledger import Stream, opened

BATCHES, EVENTS = 40, 100


async def test_a_live_scan_and_a_claim_do_not_wait_for_a_backlog(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(database_url) as books:
        await books.stock_the_shop()
        old, live = Stream("dock-9"), Stream("dock-2")
        goods = {"sku": "SKU-1", "quantity": 1, "to_location": "DOCK-2"}
        await books.do(old.said("received", **goods))
        run, began, free = writer.run, threading.Event(), threading.Event()

        def held(*arguments: Any, **more: Any) -> Any:
            began.set()
            assert free.wait(60)
            return run(*arguments, **more)

        monkeypatch.setattr(writer, "run", held)
        first = asyncio.create_task(books.do(Reserve("t", "SKU-2", 1, "shop", 60, "lej1")))
        await asyncio.to_thread(began.wait, 60)
        backlog = [
            asyncio.create_task(books.do(old.batch(*(old.event("received", goods) for _ in range(EVENTS)))))
            for _ in range(BATCHES)
        ]
        scan = asyncio.create_task(books.do(live.said("received", **goods)))
        claim = asyncio.create_task(books.do(Reserve("t", "SKU-1", 1, "shop", 60, "lej1")))
        later = asyncio.create_task(books.do(old.said("received", **goods)))
        await asyncio.sleep(0)
        free.set()
        await first
        acks: list[Ack] = await asyncio.gather(*backlog)
        numbers = [verdict.movement for ack in acks for verdict in ack.verdicts]
        assert numbers == sorted(number for number in numbers if number), "its own order is kept"
        assert len(numbers) == BATCHES * EVENTS
        (mine,) = (await scan).verdicts
        assert mine.movement is not None and mine.movement < min(numbers)  # type: ignore[type-var]
        assert (await claim).created, "the scan before it is what it promises"
        last: Ack = await later
        assert last.acked == 2 + BATCHES * EVENTS
        assert last.verdicts[0].movement > max(numbers)  # type: ignore[type-var]

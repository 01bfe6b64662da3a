"""Two ledgers on one PostgreSQL: what each of them alone would do right, they do right together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from central.database import open_engine
from central.ledger.commands import Notice, OpenPurchaseOrder, PutItem, PutLocation, Refused, Reserve
from central.ledger.service import Ledger
from sync.messages import DocumentLine, Gtin
from tests.support.ledger import Books, Stream, opened

ROUNDS = 8  # each of these races was lost in nearly every round


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[tuple[Books, Books]]:
    """The same books, through two ledgers. At the end they add up."""
    async with opened(postgres_url) as first:
        await first.stock_the_shop()
        second = Ledger(open_engine(postgres_url))
        await second.start()
        try:
            yield first, Books(second)
        finally:
            await second.close()
            second.engine.dispose()


async def race(both: tuple[Books, Books], left: Any, right: Any) -> tuple[Any, Any]:
    """Both commands at once, each through its own ledger."""
    return await asyncio.gather(both[0].do(left), both[1].do(right))


async def test_the_last_unit_is_promised_once(both: tuple[Books, Books]) -> None:
    dock = Stream()
    for number in range(ROUNDS):
        await both[0].do(dock.said("received", sku="SKU-1", to_location="DOCK-2"))
        claims = [Reserve("test", "SKU-1", 1, "shop", 60), Reserve("test", "SKU-1", 1, "shop", 60, "lej1")]
        answers = await race(both, *claims)
        assert sum(isinstance(answer, Refused) for answer in answers) == 1, number
    assert both[0].available() == {"on_hand": ROUNDS, "reserved": ROUNDS}


async def test_a_gtin_is_given_to_one_item(both: tuple[Books, Books]) -> None:
    for number in range(ROUNDS):
        gtin = (Gtin(gtin=f"{number:013d}", quantity=1),)
        items = [PutItem("test", f"{side}-{number}", "Mug", gtin) for side in ("L", "R")]
        answers = await race(both, *items)
        refused = [answer.problem for answer in answers if isinstance(answer, Refused)]
        assert refused == ["already-exists"], number


async def test_a_unit_that_two_docks_scan_at_once_is_received_once(both: tuple[Books, Books]) -> None:
    docks = Stream("dock-1"), Stream("dock-2")
    for number in range(ROUNDS):
        sscc, lines = f"{number:018d}", (DocumentLine(sku="SKU-1", quantity=4),)
        notices = (Notice(sscc, None, ({"sku": "SKU-1", "quantity": 4},)),)
        await both[0].do(OpenPurchaseOrder("test", f"PO-{number}", "lej1", "ACME", lines, notices))
        scans = [dock.said("received", sscc=sscc, to_location="DOCK-2") for dock in docks]
        acks = await race(both, *scans)
        reasons = Counter(ack.verdicts[0].reason for ack in acks)
        assert reasons == {None: 1, f"unit sscc:{sscc} was received before": 1}
    assert both[0].available() == {"on_hand": 4 * ROUNDS, "available": 4 * ROUNDS}


@pytest.mark.parametrize("state", ["returned", "stock"])
async def test_lots_of_one_bin_are_judged_together(both: tuple[Books, Books], state: str) -> None:
    """Neither has a row before, so there is none that the two could wait for each other at."""
    docks = Stream("dock-1"), Stream("dock-2")
    for number in range(ROUNDS):
        for name in (f"R-{number}", f"S-{number}"):
            await both[0].do(PutLocation("test", name, "lej1", "", 0))
        if state == "returned":
            goods: dict[str, Any] = {"sku": "SKU-1", "to_location": f"R-{number}"}
            came = docks[0].said("returned", lot="L1", **goods)
            left = docks[1].said("return_rejected", lot="L2", reason="broken", **goods)
        else:  # what only moves about makes no row in the promise book
            there = {"from_location": f"R-{number}", "to_location": f"S-{number}"}
            back = {"from_location": f"S-{number}", "to_location": f"R-{number}"}
            came = docks[0].said("moved", sku="SKU-2", lot="L1", **there)
            left = docks[1].said("moved", sku="SKU-2", lot="L2", **back)
        await race(both, came, left)
        assert both[0].verify() == [], number
    assert both[0].open_discrepancies() == []

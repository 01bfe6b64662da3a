"""What an answer costs does not grow with what was booked before: no question reads a whole table that grows.

SQLite says how it would answer each question (EXPLAIN QUERY PLAN). It knows nothing of how many rows there are, so
what it says of a small database is what it does with a large one.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from central import reference, sets, tables, worklists
from central.api import lookups
from central.database import reading
from central.ledger import views
from central.ledger.commands import (
    Adjust,
    AnswerHello,
    CancelOrder,
    CommitReservation,
    ExpireReservations,
    Move,
    MoveTasks,
    Notice,
    OpenOrder,
    OpenPurchaseOrder,
    Present,
    ReleaseReservation,
    RenewLeases,
    Reserve,
)
from central.pages import overview
from sync.messages import DocumentLine, Hello, ListedIncarnation
from tests.support.ledger import Books, Stream, opened

GROW = "balance|cursor|delivery|discrepancy|discrepancy_movement|document|document_line|entry|idempotency"
GROW += "|movement|promise|reservation|set_aside|task|unit"
# Partial indexes hold what is open, however much has ended; the last one grows with the catalogue alone.
OPEN = "ix_discrepancy_open|ix_document_open|ix_reservation_active|ix_task_open|ix_promise_sku"
# All tasks that a site ever had.
EVER = r"SEARCH task USING INDEX (?!ix_task_open)\w+ \(site=\?\)"
_SCAN = re.compile(rf"SCAN ({GROW})(?! USING (?:COVERING )?INDEX (?:{OPEN}))\b.*|{EVER}")


class Asked(dict[str, list[str]]):
    """Every question since it began to listen, with the tables that it reads whole."""

    def __init__(
        self, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, whole: re.Pattern[str] = _SCAN
    ) -> None:
        self._whole = whole
        sa.event.listen(engine, "before_cursor_execute", self._explain)
        run = sets.run

        def explained(connection: sa.Connection, text: str, values: Any = ()) -> list[tuple[Any, ...]]:
            self._explain(connection, None, text, values, None, False)
            return run(connection, text, values)

        monkeypatch.setattr(sets, "run", explained)

    def _explain(
        self, connection: Any, _cursor: Any, statement: str, bound: Any, _context: Any, many: bool
    ) -> None:
        if statement.startswith(("INSERT", "PRAGMA", "BEGIN")) or statement in self:
            return
        raw = connection.connection.driver_connection
        plan = raw.execute(f"EXPLAIN QUERY PLAN {statement}", bound[0] if many else bound).fetchall()
        self[statement] = [row[3] for row in plan if self._whole.fullmatch(row[3])]

    def whole(self) -> list[str]:
        """The questions that read a whole table, and which."""
        return [f"{', '.join(found)}: {' '.join(text.split())}" for text, found in self.items() if found]


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    async with opened(f"sqlite:///{tmp_path / 'central.sqlite'}") as books:
        await books.stock_the_shop()
        yield books


def lines(*skus: str) -> tuple[DocumentLine, ...]:
    return tuple(DocumentLine(sku=sku, quantity=6) for sku in skus)


def hold(site: str | None = "lej1") -> Reserve:
    return Reserve("test", "SKU-1", 1, "shop", 600, site)


async def a_day(books: Books) -> None:
    """Each kind of command, with more than one of everything: a single row is looked up in another way."""
    dock, two = Stream(), ("SKU-1", "SKU-2")
    noticed = {"sku": "SKU-1", "quantity": 2}
    notice = Notice("012345678901234565", None, (noticed,))
    await books.do(OpenPurchaseOrder("test", "PO-1", "lej1", "ACME", lines(*two), (notice,)))
    at = {"to_location": "A-01", "document": "PO-1"}
    received = [dock.event("received", {"sku": sku, "quantity": 40, **at}) for sku in two]
    received += [dock.event("received", {"sku": f"NEW-{n}", "to_location": f"NEW-{n}"}) for n in (1, 2)]
    received += [dock.event("received", {"sscc": "012345678901234565", "to_location": "A-01"})]
    await books.do(dock.batch(*received))
    await books.do(dock.batch(*received))
    await books.do(dock.batch(*(dock.event("corrected", {"corrects": one.id}) for one in received[2:4])))
    clone = [dock.event("received", {"sku": "SKU-1", **at}, sequence=n) for n in (1, 2)]
    await books.do(dock.batch(*clone))
    first, second, third = [(await books.do(hold(site))).body["id"] for site in ("lej1", None, "lej1")]
    await books.do(CommitReservation("test", first))
    await books.do(ReleaseReservation("test", second))
    await books.do(OpenOrder("test", "O-1", "lej1", "shop", lines(*two), (third,)))
    taken = {"from_location": "A-02", "document": "O-1", "quantity": 3}
    await books.do(dock.batch(*(dock.event("picked", {"sku": sku, **taken}) for sku in two)))
    await books.do(CancelOrder("test", "O-1"))
    await books.do(ExpireReservations())
    await books.do(Adjust("test", "SKU-1", "lej1", "A-01", -1, "broken", id="adjustment-1"))
    listed = [
        ListedIncarnation(incarnation=name, first_kept=1, last_sequence=0, acked=0)
        for name in ("a" * 32, dock.incarnation)
    ]
    hello = Hello(
        agent="dock-2", site="lej1", nonce="n", history=None, reference=None, software="", incarnations=listed
    )
    await books.do(AnswerHello(hello))
    await books.do(RenewLeases((Present("dock-2", "lej1", ("pick",)), Present("dock-3", "lej1", ())), 60))
    await books.do(MoveTasks(tuple(Move("lej1", "pick", name, None, "dock-2") for name in ("O-1", "O-2"))))


async def test_booking_reads_no_whole_table(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(books.engine, monkeypatch)
    await a_day(books)
    assert asked.whole() == [] and len(asked) >= 40


async def test_what_agents_are_told_reads_no_whole_table(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(books.engine, monkeypatch)
    with reading(books.engine) as connection:
        reference.snapshot(connection)
        reference.delta(
            connection, connection.scalar(sa.select(sa.func.min(tables.reference_change.c.version)))
        )
        worklists.whole(connection, "lej1")
        worklists.changed(connection, "lej1", 10**15)
        worklists.planned(connection, "lej1")
        views.availabilities(connection, ["SKU-1", "SKU-2"])
    assert asked.whole() == []


async def test_the_dashboard_and_lists_read_no_whole_table(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(books.engine, monkeypatch)
    with reading(books.engine) as connection:
        overview.everything(connection)
        lookups.orders(connection, "", 100)
        lookups.purchase_orders(connection, "A", 100, status="open")
        lookups.discrepancies(connection, "5", 100)
        views.movements(connection, document="O-1")
    assert asked.whole() == []


async def test_a_page_of_the_movements_of_one_item_reads_no_more_than_the_page(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is put in order first is read to its end, page after page."""
    asked = Asked(books.engine, monkeypatch, re.compile("USE TEMP B-TREE .*"))
    with reading(books.engine) as connection:
        views.movements(connection, sku="SKU-1")
    assert asked.whole() == []

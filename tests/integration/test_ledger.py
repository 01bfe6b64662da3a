"""The ledger end to end on both engines: facts, claims, streams, and what must never happen."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import sqlalchemy as sa
import structlog
from msgspec.structs import replace

from central import reference, tables
from central.database import open_engine, reading, writing
from central.ledger import service
from central.ledger.commands import (
    Adjust,
    AnswerHello,
    CancelOrder,
    CommitReservation,
    Done,
    ExpireReservations,
    Key,
    Notice,
    OpenOrder,
    OpenPurchaseOrder,
    PutItem,
    PutLocation,
    PutOperator,
    Refused,
    ReleaseReservation,
    Reserve,
)
from central.ledger.service import Ledger, LedgerBusy, LedgerDown
from central.ledger.writer import weight
from central.pages import overview
from sync.messages import MAX_DOWNWARD_BYTES, DocumentLine, Gtin, Hello, ListedIncarnation
from tests.support.ledger import Books, Stream, opened
from tests.support.wait import eventually_async


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[object]]:
    """Kept, not rendered: what fails here is meant to."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened(database_url) as books:
        await books.stock_the_shop()
        yield books


def line(sku: str, quantity: int) -> DocumentLine:
    return DocumentLine(sku=sku, quantity=quantity)


async def test_the_main_job(books: Books) -> None:
    dock = Stream()
    await books.do(OpenPurchaseOrder("test", "PO-1", "lej1", "ACME", (line("SKU-1", 24),)))
    received = {
        "gtin": "14006381333938",
        "unit": "label",
        "quantity": 2,
        "to_location": "DOCK-2",
        "document": "PO-1",
    }
    ack = await books.do(dock.said("received", **received))
    assert [(v.outcome, v.reason, v.movement) for v in ack.verdicts] == [("accepted", None, 1)]
    assert (ack.acked, ack.safe, ack.window, ack.nonce) == (1, 1, 1000, None)
    move = {"sku": "SKU-1", "quantity": 24, "from_location": "DOCK-2", "to_location": "A-01"}
    assert await books.verdict(dock.said("put_away", **move)) == ("accepted", None)
    order = await books.do(OpenOrder("test", "O-1", "lej1", "shop", (line("SKU-1", 5),)))
    assert order.created and order.body["lines"][0]["quantity"] == 5
    assert books.available() == {"on_hand": 24, "available": 19, "committed": 5}
    (task,) = books.rows(tables.task.select())
    assert (task.from_location, task.quantity, task.done, task.status) == ("A-01", 5, 0, "open")
    pick = {
        "gtin": "4006381333931",
        "quantity": 5,
        "from_location": "A-01",
        "document": "O-1",
        "task": task.id,
    }
    assert await books.verdict(dock.said("picked", **pick)) == ("accepted", None)
    assert books.available() == {"on_hand": 24, "available": 19, "picked": 5}
    assert books.rows(tables.task.select())[0].status == "done"
    assert await books.verdict(dock.said("shipped", sku="SKU-1", quantity=5, document="O-1")) == (
        "accepted",
        None,
    )
    assert books.available() == {"on_hand": 19, "available": 19}
    assert books.open_discrepancies() == []


# --- claims ---------------------------------------------------------------------------------------


async def stocked(books: Books, quantity: int) -> Stream:
    dock = Stream()
    await books.do(dock.said("received", sku="SKU-1", quantity=quantity, to_location="A-01"))
    return dock


def reserve(
    quantity: int = 1, *, ttl_s: int = 600, site: str | None = None, key: Key | None = None
) -> Reserve:
    return Reserve("test", "SKU-1", quantity, "shop", ttl_s, site, key)


async def test_of_sixteen_who_claim_the_last_unit_exactly_one_gets_it(books: Books) -> None:
    await stocked(books, 1)
    answers = await asyncio.gather(*(books.do(reserve()) for _ in range(16)))
    assert sorted(type(answer).__name__ for answer in answers) == ["Done"] + ["Refused"] * 15
    assert {answer.problem for answer in answers if isinstance(answer, Refused)} == {"insufficient-stock"}
    assert books.available() == {"on_hand": 1, "reserved": 1}


async def test_two_ledgers_on_one_database_never_promise_twice(books: Books, database_url: str) -> None:
    """Two processes: on PostgreSQL rows are locked, on SQLite the file."""
    await stocked(books, 10)
    async with opened(database_url) as other:
        ways = (books, other)
        answers = await asyncio.gather(*(ways[n % 2].do(reserve()) for n in range(40)))
        streams = [Stream(f"agent-{n}") for n in range(12)]
        received = {"sku": "NEW", "quantity": 2, "to_location": "A-02"}
        await asyncio.gather(
            *(ways[n % 2].do(stream.said("received", **received)) for n, stream in enumerate(streams))
        )
    assert sum(isinstance(answer, Done) for answer in answers) == 10
    assert books.available("NEW") == {"on_hand": 24, "available": 24}
    assert books.available() == {"on_hand": 10, "reserved": 10}


async def test_a_correction_and_its_target_booked_by_two_ledgers_at_once(
    books: Books, database_url: str
) -> None:
    async with opened(database_url) as other:
        for _ in range(10):
            one, two = Stream("dock-2"), Stream("dock-3")
            fact = one.said("received", sku="SKU-2", quantity=2, to_location="A-02")
            undo = two.said("corrected", corrects=fact.events[0].id)
            await asyncio.gather(books.do(fact), other.do(undo))
    assert books.available("SKU-2") == {}
    assert books.open_discrepancies() == []


async def test_a_hold_becomes_an_order_once(books: Books) -> None:
    await stocked(books, 5)
    hold = (await books.do(reserve(3))).body
    assert hold["status"] == "active"
    assert (await books.do(CommitReservation("test", hold["id"]))).body["status"] == "committed"
    assert books.available() == {"on_hand": 5, "available": 2, "committed": 3}
    assert (await books.do(CommitReservation("test", hold["id"]))).body["order"] == hold["id"], (
        "again: the same"
    )
    refused = await books.do(ReleaseReservation("test", hold["id"]))
    assert (refused.problem, refused.detail) == ("not-active", f"reservation {hold['id']} is committed")
    await books.do(CancelOrder("test", hold["id"]))
    assert books.available() == {"on_hand": 5, "available": 5}


async def test_an_expired_hold_is_free_at_that_instant(books: Books) -> None:
    """With no sweeper running: readings and claims look at the database's clock."""
    await stocked(books, 5)
    hold = (await books.do(reserve(5, ttl_s=1))).body
    assert (await books.do(reserve())).problem == "insufficient-stock"
    await asyncio.sleep(1.05)
    assert books.available() == {"on_hand": 5, "available": 5}
    assert (await books.do(CommitReservation("test", hold["id"]))).problem == "expired"
    assert isinstance(await books.do(reserve(5)), Done)
    assert books.available() == {"on_hand": 5, "reserved": 5}


async def test_the_sweeper_writes_down_what_expired(books: Books) -> None:
    await stocked(books, 5)
    for _ in range(3):
        await books.do(reserve(1, ttl_s=1))
    await books.do(reserve(1, ttl_s=60))
    await asyncio.sleep(1.05)
    assert (await books.do(ExpireReservations())).body == {"expired": 3}
    assert (await books.do(ExpireReservations())).body == {"expired": 0}
    events = [
        row.event for row in books.rows(tables.movement.select().where(tables.movement.c.actor == "clock"))
    ]
    assert events == ["expired"] * 3


async def test_an_order_takes_its_holds_and_frees_what_they_hold_too_much(books: Books) -> None:
    await stocked(books, 5)
    hold = (await books.do(reserve(4))).body["id"]
    order = OpenOrder("test", "O-1", "lej1", "shop", (line("SKU-1", 3),), (hold,))
    assert (await books.do(order)).created
    assert books.available() == {"on_hand": 5, "available": 2, "committed": 3}
    assert not (await books.do(order)).created, "the same order again"
    other = OpenOrder("test", "O-1", "lej1", "shop", (line("SKU-1", 4),))
    assert (await books.do(other)).problem == "already-exists"
    assert (await books.do(OpenOrder("t", "O-2", "lej1", "s", (line("SKU-9", 1),)))).problem == "unknown-item"
    assert (await books.do(CancelOrder("t", "O-9"))).problem == "unknown-document"
    assert (await books.do(ReleaseReservation("t", "R-9"))).problem == "unknown-reservation"


async def test_a_key_gives_the_same_answer_for_ever(books: Books) -> None:
    await stocked(books, 1)
    key = Key("scope-1", "body-1")
    twins = await asyncio.gather(books.do(reserve(key=key)), books.do(reserve(key=key)))
    again = await books.do(reserve(key=key))
    assert twins[0].body == twins[1].body == again.body
    assert [answer.replayed for answer in (*twins, again)] == [False, True, True]
    assert (await books.do(reserve(key=Key("scope-1", "other")))).problem == "idempotency-mismatch"
    refused = Key("scope-2", "body-1")
    assert (await books.do(reserve(key=refused))).problem == "insufficient-stock"
    await stocked(books, 5)
    again = await books.do(reserve(key=refused))
    assert (again.problem, again.replayed) == ("insufficient-stock", True), "a refusal is final under its key"


async def test_old_answers_are_forgotten(books: Books) -> None:
    await books.do(reserve(key=Key("young", "body")))
    with writing(books.engine) as connection:
        connection.execute(
            tables.idempotency.insert().values(scope="old", body_hash="b", answer="{}", created_us=1)
        )
    await books.do(ExpireReservations())
    assert [row.scope for row in books.rows(tables.idempotency.select())] == ["young"]


async def test_an_adjustment_books_once_under_its_id(books: Books) -> None:
    adjust = Adjust("test", "SKU-1", "lej1", "A-01", 7, "found", id="ADJ-1")
    done = await books.do(adjust)
    assert (done.created, done.body["movement"]) == (True, 1)
    again = await books.do(adjust)
    assert (again.created, again.body) == (False, done.body)
    assert (
        await books.do(Adjust("test", "SKU-1", "lej1", "A-01", 8, "found", id="ADJ-1"))
    ).problem == "already-exists"
    assert (await books.do(Adjust("t", "SKU-1", "lej1", "X-1", 8, "found"))).problem == "unknown-location"
    assert (await books.do(Adjust("t", "SKU-1", "lej1", "A-01", 8, "\x00"))).problem == "invalid"
    await books.do(Adjust("test", "SKU-1", "lej1", "A-01", -9, "lost"))
    assert books.available() == {"on_hand": -2, "overpromised": 2, "owed": 2}
    assert [kind for kind, _ in books.open_discrepancies()] == ["overpromised", "owed"]


# --- streams --------------------------------------------------------------------------------------


async def test_an_event_is_booked_once_however_often_and_wherever_it_comes(books: Books) -> None:
    dock = Stream()
    batch = dock.said("received", sku="SKU-1", quantity=3, to_location="DOCK-2")
    first = await books.do(batch)
    again = await books.do(batch)
    assert again.verdicts[0] == replace(first.verdicts[0], duplicate=True)
    other = Stream()
    moved = other.event("received", batch.events[0].data, id=batch.events[0].id)
    assert (await books.do(other.batch(moved))).verdicts[0].duplicate
    twice = other.event("received", {"sku": "SKU-1", "to_location": "DOCK-2"})
    copy = other.event("received", twice.data, id=twice.id)
    ack = await books.do(other.batch(twice, copy))
    assert [(v.outcome, v.duplicate) for v in ack.verdicts] == [("accepted", False), ("accepted", True)]
    assert books.available() == {"on_hand": 4, "available": 4}


async def test_conflict_fork_and_gap(books: Books) -> None:
    dock = Stream()
    batch = dock.said("received", sku="SKU-1", quantity=3, to_location="DOCK-2")
    await books.do(batch)
    changed = dock.event(
        "received", {"sku": "SKU-1", "quantity": 4, "to_location": "DOCK-2"}, id=batch.events[0].id
    )
    for duplicate in (False, True):
        ack = await books.do(dock.batch(changed))
        verdict = ack.verdicts[0]
        assert (verdict.outcome, verdict.duplicate, ack.acked) == ("conflict", duplicate, 2)
    clone = dock.event("received", {"sku": "SKU-1", "quantity": 5, "to_location": "DOCK-2"}, sequence=1)
    for duplicate in (False, True):
        ack = await books.do(dock.batch(clone))
        assert (ack.problem, ack.verdicts[0].outcome, ack.verdicts[0].duplicate) == (
            "fork",
            "conflict",
            duplicate,
        )
    fresh = Stream()
    entered = fresh.event("received", clone.data, id=clone.id)
    assert (await books.do(fresh.batch(entered))).verdicts[0].outcome == "accepted"
    ack = await books.do(dock.batch(dock.event("received", {}, sequence=9)))
    assert (ack.acked, ack.verdicts) == (2, [])
    assert books.available() == {"on_hand": 8, "available": 8}
    assert [kind for kind, _ in books.open_discrepancies()] == ["conflict", "fork"]
    assert len(books.rows(tables.set_aside.select())) == 2


async def test_of_two_contents_under_one_id_the_first_is_booked(books: Books) -> None:
    """In one batch, and in the batches of two agents that share a transaction."""
    dock, other = Stream(), Stream("dock-3")
    data = {"sku": "SKU-1", "to_location": "DOCK-2"}
    first = dock.event("received", {**data, "quantity": 5})
    second = dock.event("received", {**data, "quantity": 7}, id=first.id)
    ack = await books.do(dock.batch(first, second))
    assert [verdict.outcome for verdict in ack.verdicts] == ["accepted", "conflict"]
    assert books.available() == {"on_hand": 5, "available": 5}
    one = dock.event("received", {**data, "quantity": 1})
    two = other.event("received", {**data, "quantity": 2}, id=one.id)
    acks = await asyncio.gather(books.do(dock.batch(one)), books.do(other.batch(two)))
    assert [ack.verdicts[0].outcome for ack in acks] == ["accepted", "conflict"]
    assert books.available() == {"on_hand": 6, "available": 6}


async def test_what_cannot_be_booked_is_kept_and_blocks_nothing(books: Books) -> None:
    dock = Stream()
    events = [
        dock.event("received", {"sku": "SKU-1"}),
        dock.event("received", {"sku": "SKU-1", "to_location": "DOCK-2"}, type="tallyman.eaten.v1"),
        dock.event("received", {"sku": "SKU-1", "to_location": "DOCK-2"}, source="/sites/lej1/agents/other"),
        dock.event("void", {"id": "lost-1", "original": "AAAA"}, id="lost-1"),
        dock.event("received", {"sku": "SKU-1", "to_location": "DOCK-2"}, time="\x00", id="a\x00b"),
    ]
    ack = await books.do(dock.batch(*events))
    assert [verdict.outcome for verdict in ack.verdicts] == ["rejected"] * 4 + ["accepted"]
    assert [verdict.movement for verdict in ack.verdicts] == [None] * 4 + [1]
    assert ack.verdicts[4].id == "a\x00b"
    assert (await books.do(dock.batch(*events))).verdicts[4].duplicate
    late = dock.event("received", {"sku": "SKU-1", "to_location": "DOCK-2"}, id="lost-1", sequence=4)
    ack = await books.do(dock.batch(late))
    assert (ack.verdicts[0].outcome, ack.verdicts[0].duplicate) == ("rejected", True)
    assert books.available() == {"on_hand": 1, "available": 1}
    assert all(row.original for row in books.rows(tables.movement.select()))


async def test_a_poisoned_event_is_set_aside_alone(books: Books) -> None:
    """Whatever raises while one event is booked, or when the database is told of it."""
    await books.do(PutItem("test", "SKU-1", "Mug", (Gtin(gtin="4006381333931", quantity=10**9),)))
    dock, other = Stream(), Stream("dock-3")
    poison = {"gtin": "4006381333931", "unit": "label", "quantity": 10**12, "to_location": "DOCK-2"}
    good = {"sku": "SKU-2", "quantity": 1, "to_location": "DOCK-2"}
    batch = dock.batch(*(dock.event("received", data) for data in (good, poison, good)))
    acks = await asyncio.gather(books.do(batch), books.do(other.said("received", **good)))
    assert [verdict.outcome for verdict in acks[0].verdicts] == ["accepted", "discrepant", "accepted"]
    assert acks[1].verdicts[0].outcome == "accepted"
    assert books.available("SKU-2") == {"on_hand": 3, "available": 3}
    assert [kind for kind, _ in books.open_discrepancies()] == ["failed"]


async def test_an_event_that_the_database_refuses_is_kept_without_entries(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last net: a value that gets past every check and that the column cannot hold."""
    monkeypatch.setattr("central.ledger.fold.MOST", 10**40)
    monkeypatch.setattr("central.ledger.catalogue.MOST_PACKED", 10**30)
    await books.do(PutItem("test", "SKU-2", "Plate", (Gtin(gtin="9521234543213", quantity=10**9),)))
    dock, other = Stream(), Stream("dock-3")
    poison = {"gtin": "9521234543213", "unit": "label", "quantity": 10**12, "to_location": "DOCK-2"}
    good = {"sku": "SKU-1", "quantity": 1, "to_location": "DOCK-2"}
    batch = dock.batch(*(dock.event("received", data) for data in (good, poison, good)))
    acks = await asyncio.gather(
        books.do(batch), books.do(other.said("received", **good)), books.do(reserve(1))
    )
    assert [verdict.outcome for verdict in acks[0].verdicts] == ["accepted", "discrepant", "accepted"]
    assert acks[0].verdicts[1].reason == "could not be booked: the database refused it"
    assert (acks[0].acked, acks[1].verdicts[0].outcome) == (3, "accepted")
    assert books.available()["on_hand"] == 3


async def test_the_dashboard_shows_first_what_is_below_zero(books: Books) -> None:
    dock = Stream()
    taken = {"quantity": 2, "from_location": "A-02"}
    await books.do(dock.said("received", sku="SKU-1", quantity=9, to_location="A-01"))
    await books.do(dock.said("moved", sku="SKU-2", to_location="A-01", **taken))
    with reading(books.engine) as connection:
        shown = overview.stock(connection, 10**15)
    assert [(row["sku"], row["owed"]) for row in shown["rows"]] == [("SKU-2", 2), ("SKU-1", 0)]


# --- hellos ---------------------------------------------------------------------------------------


def hello(
    *listed: tuple[str, int, int, int], history: str | None = None, agent: str = "dock-2"
) -> AnswerHello:
    rows = [
        ListedIncarnation(incarnation=name, first_kept=first, last_sequence=last, acked=acked)
        for name, first, last, acked in listed
    ]
    return AnswerHello(
        Hello(
            agent=agent,
            site="lej1",
            nonce="n-1",
            history=history,
            reference=None,
            software="",
            incarnations=rows,
        )
    )


async def test_every_listed_incarnation_is_answered(books: Books) -> None:
    old, new = Stream(), Stream()
    await books.do(old.said("received", sku="SKU-1", to_location="DOCK-2"))
    acks = await books.do(hello((old.incarnation, 1, 1, 1), (new.incarnation, 1, 0, 0)))
    assert [(ack.incarnation, ack.acked, ack.nonce) for ack in acks] == [
        (old.incarnation, 1, "n-1"),
        (new.incarnation, 0, "n-1"),
    ]


async def test_a_lost_range_is_told_and_passed_and_may_still_come(books: Books) -> None:
    dock = Stream()
    events = [dock.event("received", {"sku": "SKU-1", "to_location": "DOCK-2"}) for _ in range(5)]
    await books.do(dock.batch(*events[:1]))
    (ack,) = await books.do(hello((dock.incarnation, 4, 5, 1)))
    assert ack.acked == 3
    assert books.open_discrepancies() == [("lost_range", f"{dock.incarnation}:2-3")]
    assert (await books.do(dock.batch(*events[3:]))).acked == 5
    ack = await books.do(dock.batch(*events[1:3]))
    assert [verdict.duplicate for verdict in ack.verdicts] == [False, False]
    assert (ack.acked, books.available()["on_hand"]) == (5, 5)


async def test_a_site_that_no_database_stores_is_answered_all_the_same(books: Books) -> None:
    greeting = hello((Stream().incarnation, 4, 5, 0))
    (ack,) = await books.do(AnswerHello(replace(greeting.hello, site="lej\x001")))
    assert ack.acked == 3


async def test_a_central_that_was_rolled_back_begins_a_new_history(books: Books) -> None:
    dock = Stream()
    first = (await books.do(dock.said("received", sku="SKU-1", to_location="DOCK-2"))).history
    (ack,) = await books.do(hello((dock.incarnation, 1, 9, 9), history=first))
    assert (ack.history != first, ack.acked) == (True, 1)
    (again,) = await books.do(hello((dock.incarnation, 1, 9, 9), history=first))
    assert again.history == ack.history, "an older history is known, and begins nothing"
    (foreign,) = await books.do(hello((dock.incarnation, 1, 9, 9), history="elsewhere"))
    assert foreign.history not in (first, ack.history)
    (again,) = await books.do(hello((dock.incarnation, 1, 9, 9), history="elsewhere"))
    assert again.history == foreign.history


async def test_clones_and_rollbacks_raise_an_alarm(books: Books) -> None:
    old, left, right = Stream(), Stream(), Stream()
    for _ in range(3):
        await books.do(old.said("received", sku="SKU-1", to_location="DOCK-2"))
    for stream in (left, right):
        previous = {"incarnation": old.incarnation, "last_sequence": 3}
        await books.do(stream.said("received", sku="SKU-1", to_location="DOCK-2", previous=previous))
    assert books.open_discrepancies() == [("cloned_agent", old.incarnation)]
    await books.do(hello((old.incarnation, 1, 2, 2), (right.incarnation, 1, 1, 1)))
    assert ("agent_set_back", old.incarnation) in books.open_discrepancies()
    two = ("two_connections", "dock-2")
    for stream in (left, right):
        await books.do(hello((stream.incarnation, 1, 1, 1)))
        assert two not in books.open_discrepancies(), "it may have come late"
    await books.do(hello((left.incarnation, 1, 1, 1)))
    assert two in books.open_discrepancies()


# --- what nobody registered -----------------------------------------------------------------------


async def test_unknown_things_are_booked_under_what_was_read(books: Books) -> None:
    dock = Stream()
    cases = {
        "gtin:09521234543213": {"gtin": "9521234543213", "to_location": "DOCK-2"},
        "epc:30AB": {"epc": "30ab", "to_location": "DOCK-2"},
        "raw:?%00%0A": {"raw": "?\x00\n", "to_location": "DOCK-2"},
    }
    for sku, data in cases.items():
        assert await books.verdict(dock.said("received", **data)) == (
            "discrepant",
            f"item {sku} is not registered",
        )
        assert books.available(sku) == {"on_hand": 1, "available": 1}
    data = {"sku": "SKU-1", "to_location": "NEW-1", "document": "PO-7", "operator": "op-1"}
    outcome, reason = await books.verdict(dock.said("received", **data))
    assert outcome == "discrepant"
    assert reason == (
        "location NEW-1 is not registered; document PO-7 is not registered; operator op-1 is not registered"
    )
    await books.do(PutLocation("test", "NEW-1", "lej1", "", 0))
    await books.do(PutOperator("test", "op-1", "Ada", "b-1"))
    await books.do(OpenPurchaseOrder("test", "PO-7", "lej1", "ACME", (line("SKU-1", 1),)))
    assert {kind for kind, _ in books.open_discrepancies()} == {"unknown_item"}
    assert await books.verdict(
        dock.said("put_away", sku="SKU-1", from_location="NEW-1", to_location="A-01")
    ) == (
        "accepted",
        None,
    )


async def test_a_unit_brings_in_its_announced_contents_once(books: Books) -> None:
    dock, pallet, case = Stream(), "340123450000000017", "340123450000000024"
    unknown = dock.said("received", sscc="340123450000000031", to_location="DOCK-2")
    assert (await books.verdict(unknown))[0] == "discrepant"
    notices = (
        Notice(pallet, None, ({"sku": "SKU-1", "quantity": 4},)),
        Notice(case, pallet, ({"sku": "SKU-2", "quantity": 6, "lot": "L1"},)),
    )
    lines = (line("SKU-1", 4), line("SKU-2", 6))
    await books.do(OpenPurchaseOrder("test", "PO-1", "lej1", "ACME", lines, notices))
    scan = dock.said("received", sscc=pallet, to_location="DOCK-2")
    assert await books.verdict(scan) == ("accepted", None)
    assert books.available("SKU-2") == {"on_hand": 6, "available": 6}
    again = dock.said("received", sscc=case, to_location="DOCK-2")
    assert await books.verdict(again) == ("discrepant", f"unit sscc:{case} was received before")
    await books.do(dock.said("corrected", corrects=scan.events[0].id))
    assert (books.available("SKU-1"), books.available("SKU-2")) == ({}, {})
    assert await books.verdict(dock.said("received", sscc=case, to_location="DOCK-2")) == ("accepted", None)
    assert books.available("SKU-2") == {"on_hand": 6, "available": 6}


# --- bounds ---------------------------------------------------------------------------------------


async def test_many_claims_share_a_transaction(books: Books) -> None:
    await stocked(books, 300)
    before = books.ledger.committed_transactions
    answers = await asyncio.gather(*(books.do(reserve()) for _ in range(400)))
    assert sum(isinstance(answer, Done) for answer in answers) == 300
    assert books.ledger.committed_transactions - before < 40


async def test_a_full_queue_says_so(database_url: str) -> None:
    async with opened(database_url, queue_commands=3) as books:
        answers = await asyncio.gather(*(books.do(reserve()) for _ in range(50)), return_exceptions=True)
        assert any(isinstance(answer, LedgerBusy) for answer in answers)
        assert await books.do(ExpireReservations()) == Done({"expired": 0})


async def test_a_command_that_nobody_waits_for_any_more_is_not_begun(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gave up asks again: doing both would promise twice, and a slow database would be asked ever more."""
    from central.ledger import writer

    await stocked(books, 9)
    run, began, held = writer.run, threading.Event(), threading.Event()

    def slow(*arguments: object, **more: object) -> object:
        began.set()
        held.wait(10)
        return run(*arguments, **more)

    monkeypatch.setattr(writer, "run", slow)
    begun = asyncio.ensure_future(books.do(ExpireReservations()))
    await eventually_async(began.is_set)
    with pytest.raises(LedgerBusy, match="no answer within"):
        await books.ledger.submit(reserve(1), timeout_s=0.05)
    again = asyncio.ensure_future(books.do(reserve(1)))
    await asyncio.sleep(0)
    held.set()
    await begun
    assert isinstance(await again, Done)
    assert books.available() == {"on_hand": 9, "available": 8, "reserved": 1}


async def test_a_transaction_is_filled_by_lines_not_by_documents() -> None:
    lines = tuple(line(f"SKU-{n}", 1) for n in range(400))
    notice = Notice("012345678901234565", None, ({"sku": "SKU-1", "quantity": 1},) * 7)
    assert weight(OpenOrder("test", "O-1", "lej1", "shop", lines)) == 400
    assert weight(OpenPurchaseOrder("test", "PO-1", "lej1", "ACME", lines, (notice,))) == 407
    assert weight(reserve()) == 1


async def test_a_document_of_many_long_names_fits_into_a_message(books: Books) -> None:
    """A broker hangs up on whoever sends a larger one, again and again."""
    skus = [f"{chr(0x1F600) * 120}-{number:03d}" for number in range(600)]
    await asyncio.gather(*(books.do(PutItem("test", sku, "Mug", ())) for sku in skus))
    lines = tuple(line(sku, 1) for sku in skus)
    await books.do(OpenPurchaseOrder("test", "PO-1", "lej1", "ACME", lines))
    with reading(books.engine) as connection:
        parts = reference.snapshot(connection).payloads
    assert max(map(len, parts)) <= MAX_DOWNWARD_BYTES
    (order,) = [one for part in parts for one in json.loads(part)["documents"]]
    assert 400 < len(order["lines"]) < 600


async def test_numbers_are_given_in_commit_order_and_told_so(books: Books) -> None:
    told: list[int] = []
    books.ledger.on_commit(lambda movements: told.extend(one.number for one in movements))
    streams = [Stream(f"agent-{n}") for n in range(8)]
    for _ in range(4):
        await asyncio.gather(
            *(books.do(stream.said("received", sku="SKU-1", to_location="A-01")) for stream in streams)
        )
    assert told == list(range(1, 33))


async def test_an_event_that_raises_before_anything_is_booked_is_kept(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours while an event is resolved: it costs this event its entries, and nobody else anything."""
    from central.ledger import facts

    resolve = facts.resolve

    def fails(known: object, event: str, data: object, **more: object) -> object:
        if getattr(data, "lot", None) == "evil":
            raise ZeroDivisionError("a bug")
        return resolve(known, event, data, **more)

    monkeypatch.setattr(facts, "resolve", fails)
    dock, other = Stream(), Stream("dock-3")
    good = {"sku": "SKU-1", "quantity": 1, "to_location": "DOCK-2"}
    batch = dock.batch(*(dock.event("received", data) for data in (good, {**good, "lot": "evil"}, good)))
    acks = await asyncio.gather(books.do(batch), books.do(other.said("received", **good)))
    assert [verdict.outcome for verdict in acks[0].verdicts] == ["accepted", "discrepant", "accepted"]
    assert acks[1].verdicts[0].outcome == "accepted"
    assert [kind for kind, _ in books.open_discrepancies()] == ["failed"]


async def test_an_event_that_clashes_every_time_costs_only_itself(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is there already is another worker's as a rule; what clashes for ever is kept without entries."""
    from central.ledger import writer

    run = writer.run

    def clashes(engine: sa.Engine, commands: list[object], *more: object, broken: bool = False) -> object:
        if not broken and any(b"evil" in text for one in commands for text in getattr(one, "texts", ())):
            raise sa.exc.IntegrityError("INSERT", {}, Exception("duplicate key"))
        return run(engine, commands, *more, broken=broken)

    monkeypatch.setattr(writer, "run", clashes)
    dock, good = Stream(), {"sku": "SKU-1", "to_location": "DOCK-2"}
    ack = await books.do(dock.batch(*(dock.event("received", {**good, "lot": lot}) for lot in ("a", "evil"))))
    assert [verdict.outcome for verdict in ack.verdicts] == ["accepted", "discrepant"]
    assert books.ledger.down is None
    clone = dock.event("received", {**good, "lot": "b"}, sequence=2)
    ack = await books.do(dock.batch(clone, dock.event("received", {**good, "lot": "evil"})))
    assert [verdict.outcome for verdict in ack.verdicts] == ["conflict", "discrepant"]
    assert ack.problem == "fork", "told also when the last of them is none"


async def test_a_database_that_is_not_there_is_told_and_costs_nothing() -> None:
    ledger = Ledger(open_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    await ledger.start()
    with pytest.raises(LedgerDown, match="does not answer"):
        await ledger.submit(ExpireReservations())
    assert ledger.down
    await ledger.close()
    with pytest.raises(LedgerDown, match="not running"):
        await ledger.submit(ExpireReservations())


async def test_a_lost_connection_is_replaced(postgres_url: str) -> None:
    async with opened(postgres_url) as books:
        await books.stock_the_shop()
        await stocked(books, 3)
        admin = open_engine(postgres_url)
        with admin.connect() as connection:
            cut = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
            connection.execute(sa.text(cut))
        admin.dispose()
        assert isinstance(await books.do(reserve()), Done)


async def test_a_database_that_answers_again_is_used_again(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    from central.ledger import writer

    run, broken = writer.run, True

    def fails(*arguments: object, **more: object) -> object:
        if broken:
            raise sa.exc.OperationalError("COMMIT", {}, OSError("disk I/O error"))
        return run(*arguments, **more)

    monkeypatch.setattr(writer, "run", fails)
    with pytest.raises(LedgerDown, match="disk I/O error"):
        await books.do(reserve())
    broken = False
    assert (await books.do(reserve())).problem == "insufficient-stock"
    assert books.ledger.down is None


async def test_a_database_that_is_broken_costs_no_fact_its_entries(books: Books) -> None:
    """A table that is gone, a page that cannot be read: no event is to blame, so none is set aside for it."""
    dock = Stream()
    batch = dock.said("received", sku="SKU-1", quantity=3, to_location="A-01")
    with writing(books.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE balance RENAME TO lost")
    with pytest.raises(LedgerDown, match="balance"):
        await books.do(batch)
    with writing(books.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE lost RENAME TO balance")
    assert await books.verdict(batch) == ("accepted", None)
    assert books.available() == {"on_hand": 3, "available": 3}


@pytest.mark.parametrize(
    ("error", "to_blame"),
    [
        (
            sa.exc.DatabaseError("SELECT", {}, sqlite3.DatabaseError("database disk image is malformed")),
            False,
        ),
        (sa.exc.InternalError("SELECT", {}, psycopg.errors.IndexCorrupted()), False),
        (sa.exc.DataError("INSERT", {}, psycopg.errors.NumericValueOutOfRange()), True),
        (sa.exc.OperationalError("INSERT", {}, psycopg.errors.ProgramLimitExceeded()), True),
        (
            sa.exc.ProgrammingError("INSERT", {}, sqlite3.ProgrammingError("type 'set' is not supported")),
            True,
        ),
    ],
)
def test_what_a_command_is_to_blame_for(error: sa.exc.DBAPIError, to_blame: bool) -> None:
    assert service._is_to_blame(error) == to_blame


async def test_a_transaction_in_the_way_of_others_is_tried_again_and_not_for_ever(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    from central.ledger import writer

    run, tries = writer.run, []

    def locked(*arguments: object, **more: object) -> object:
        tries.append(1)
        if len(tries) % 10 < 4 or len(tries) > 10:
            raise sa.exc.OperationalError("BEGIN", {}, OSError("database is locked"))
        return run(*arguments, **more)

    monkeypatch.setattr(writer, "run", locked)
    assert (await books.do(reserve())).problem == "insufficient-stock"
    assert len(tries) == 4
    tries.extend([1] * 10)
    with pytest.raises(LedgerDown, match="gave up after 8 tries"):
        await books.do(reserve())
    monkeypatch.setattr(writer, "run", run)

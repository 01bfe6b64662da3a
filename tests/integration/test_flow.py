"""What central does when messages come too early, too many, or while its ledger is away: over a real broker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from central import backups, consumer, database
from central.consumer import HELLOS_AT_ONCE, Consumer
from central.database import open_engine, writing
from central.ledger.commands import AnswerHello, BookBatch
from central.ledger.service import Ledger, LedgerBusy, LedgerDown
from sync import messages
from sync.messages import Event
from sync.mqtt import Incoming, Settings
from tests.support.broker import Broker
from tests.support.ledger import Books, Stream, opened
from tests.support.mqtt import Ear
from tests.support.wait import eventually_async

LONG_S = 20  # the machine is busy with other tests


class Central:
    """A consumer on a ledger and a broker, and an ear that hears what every agent is told."""

    def __init__(self, books: Books, listens: Consumer, ear: Ear) -> None:
        self.books, self.consumer, self.ear = books, listens, ear

    def publish(self, *events: Event, agent: str = "dock-2") -> None:
        self.ear.say(f"tallyman/v1/agents/{agent}/events", batch_of(*events))

    def hello(self, stream: Stream, **more: Any) -> None:
        self.ear.say(f"tallyman/v1/agents/{stream.agent}/hello", hello_of(stream, **more))

    def acks(self, stream: Stream) -> list[Any]:
        """What was said of that incarnation."""
        return [ack for ack in self.ear.of("/acks") if ack["incarnation"] == stream.incarnation]

    async def heard(self, stream: Stream, wanted: Callable[[list[Any]], Any]) -> list[Any]:
        await eventually_async(lambda: wanted(self.acks(stream)), LONG_S, str(self.acks(stream)))
        return self.acks(stream)


def batch_of(*events: Event) -> bytes:
    return messages.join_batch([messages.encode(event) for event in events])


def hello_of(stream: Stream, *, first_kept: int = 1, **more: Any) -> dict[str, Any]:
    listed = {
        "incarnation": stream.incarnation, "first_kept": first_kept, "last_sequence": stream.last, "acked": 0,
    }  # fmt: skip
    return {
        "agent": stream.agent, "site": stream.site, "nonce": "n-1", "history": None, "reference": None,
        "software": "test", "incarnations": [listed], **more,
    }  # fmt: skip


def received(stream: Stream, count: int) -> list[Event]:
    return [stream.event("received", {"sku": "SKU-1", "to_location": "DOCK-2"}) for _ in range(count)]


def verdicts(acks: list[Any]) -> list[int]:
    return [verdict["sequence"] for ack in acks for verdict in ack["verdicts"]]


@asynccontextmanager
async def consuming(ledger: Ledger, broker: Broker) -> AsyncIterator[Consumer]:
    listens = Consumer(ledger, Settings(broker.url))
    running = asyncio.create_task(listens.run())
    try:
        await eventually_async(lambda: listens.online, LONG_S)
        yield listens
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@asynccontextmanager
async def serving(database_url: str, broker: Broker) -> AsyncIterator[Central]:
    async with opened(database_url) as books:
        await books.stock_the_shop()
        async with consuming(books.ledger, broker) as listens:
            ear = await Ear(broker.port, "tallyman/v1/agents/+/acks").ready()
            try:
                yield Central(books, listens, ear)
            finally:
                ear.close()


@pytest.fixture
async def central(database_url: str, broker: Broker) -> AsyncIterator[Central]:
    """On either engine."""
    async with serving(database_url, broker) as central:
        yield central


@pytest.fixture
async def here(tmp_path: Path, broker: Broker) -> AsyncIterator[Central]:
    """On SQLite, where it is not the database that answers."""
    async with serving(f"sqlite:///{tmp_path / 'central.db'}", broker) as central:
        yield central


# --- gaps ------------------------------------------------------------------------------------------


async def test_what_lies_above_a_gap_is_answered_at_once_and_booked_when_the_gap_closes(
    central: Central,
) -> None:
    dock = Stream()
    one, two, three, four, five = received(dock, 5)
    central.publish(three, four)
    central.publish(five)
    acks = await central.heard(dock, lambda acks: len(acks) == 2)
    assert [(ack["acked"], ack["verdicts"]) for ack in acks] == [(0, []), (0, [])]
    assert central.consumer.counts["parked"] == 2
    central.publish(one, two)
    acks = await central.heard(dock, lambda acks: acks[-1]["acked"] == 5)
    assert set(verdicts(acks)) == {1, 2, 3, 4, 5}, "nobody sent anything again"
    assert central.books.available() == {"on_hand": 5, "available": 5}


async def test_what_another_worker_closed_is_found_by_trying_again(central: Central) -> None:
    dock = Stream()
    one, two = received(dock, 2)
    central.publish(two)
    await central.heard(dock, lambda acks: len(acks) == 1)
    other = Ledger(open_engine(central.books.engine.url.render_as_string(hide_password=False)))
    await other.start()
    await other.submit(dock.batch(one))
    await other.close()
    other.engine.dispose()
    acks = await central.heard(dock, lambda acks: acks[-1]["acked"] == 2)
    assert verdicts(acks) == [2]


async def test_a_lost_range_closes_a_gap_too(central: Central) -> None:
    dock = Stream()
    events = received(dock, 5)
    central.publish(*events[3:])
    await central.heard(dock, lambda acks: len(acks) == 1)
    central.hello(dock, first_kept=4)
    acks = await central.heard(dock, lambda acks: acks[-1]["acked"] == 5)
    assert set(verdicts(acks)) == {4, 5}
    assert [kind for kind, _ in central.books.open_discrepancies()] == ["lost_range"]


async def test_a_new_history_drops_what_is_parked(here: Central) -> None:
    """It was sent to a memory that is gone; its agent will be asked for everything."""
    dock = Stream()
    one, two = received(dock, 2)
    here.publish(two)
    await here.heard(dock, lambda acks: len(acks) == 1)
    with writing(here.books.engine) as connection:
        database.new_history(connection, "promoted")
    await eventually_async(lambda: len(here.consumer._parking) == 0, LONG_S)
    here.publish(one)
    acks = await here.heard(dock, lambda acks: acks[-1]["acked"] == 1)
    assert acks[0]["history"] != acks[-1]["history"]
    here.publish(one, two)
    assert (await here.heard(dock, lambda acks: acks[-1]["acked"] == 2))[-1]["verdicts"][0]["duplicate"]


async def test_beyond_the_window_nothing_is_kept(here: Central) -> None:
    dock = Stream()
    dock.last = 5000
    here.publish(*received(dock, 1))
    await here.heard(dock, lambda acks: len(acks) == 1)
    assert (here.consumer.counts["parked"], len(here.consumer._parking)) == (0, 0)


async def test_a_parked_batch_that_fails_is_dropped_and_stops_nothing(
    here: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock, other = Stream(), Stream()
    _, two = received(dock, 2)
    here.publish(two)
    await here.heard(dock, lambda acks: len(acks) == 1)
    submit = here.books.ledger.submit

    async def fails(command: Any, **more: Any) -> Any:
        if isinstance(command, BookBatch) and command.events[0].incarnation == dock.incarnation:
            raise ValueError("a bug")
        return await submit(command, **more)

    monkeypatch.setattr(here.books.ledger, "submit", fails)
    await eventually_async(lambda: here.consumer.counts["failed"] >= 1, LONG_S)
    here.publish(*received(other, 1))
    await here.heard(other, lambda acks: acks and acks[-1]["acked"] == 1)


# --- commit, then ack, then PUBACK -------------------------------------------------------------------


class Recorder:
    """What happened, in order: hands messages to a consumer as its link would, and is told what it publishes."""

    def __init__(self, here: Central, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.consumer, ledger = here.consumer, here.books.ledger
        submit, publish = ledger.submit, self.consumer._link.publish
        self.down: Exception | None = None

        async def submitted(command: Any, **more: Any) -> Any:
            if self.down is not None:
                raise self.down
            answer = await submit(command, **more)
            if isinstance(command, BookBatch):
                self.told.append(f"commit {command.events[0].number}")
            return answer

        def published(topic: str, payload: bytes, *, retain: bool = False) -> Any:
            if topic.endswith("/acks"):
                ack = messages.decode(payload, messages.Ack)
                self.told.append("wait" if ack.window == 0 else f"ack {ack.acked}")
            return publish(topic, payload, retain=retain)

        monkeypatch.setattr(ledger, "submit", submitted)
        monkeypatch.setattr(self.consumer._link, "publish", published)

    def hand_over(self, stream: Stream, *events: Event) -> None:
        topic, number = f"tallyman/v1/agents/{stream.agent}/events", events[0].number
        self.consumer.received(
            Incoming(topic, batch_of(*events), False, lambda: self.told.append(f"puback {number}"))
        )


async def test_commit_then_ack_then_puback(here: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    record, dock = Recorder(here, monkeypatch), Stream()
    one, two, three = received(dock, 3)
    record.hand_over(dock, one, two)
    await eventually_async(lambda: len(record.told) == 3, LONG_S)
    assert record.told == ["commit 1", "ack 2", "puback 1"]
    record.told.clear()
    record.hand_over(dock, one, two, three)
    await eventually_async(lambda: len(record.told) == 3, LONG_S)
    assert record.told == ["commit 1", "ack 3", "puback 1"]


@pytest.mark.parametrize("why", [LedgerDown("the disk is full"), LedgerBusy("too much waits")])
async def test_while_the_ledger_is_down_nothing_is_taken_from_the_broker_and_then_all_in_order(
    here: Central, monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    record, dock, other = Recorder(here, monkeypatch), Stream(), Stream("dock-3")
    events = received(dock, 6)
    record.hand_over(dock, events[0])
    record.hand_over(other, *received(other, 1))
    await eventually_async(lambda: len(record.told) == 6, LONG_S)
    record.told.clear()
    record.down = why
    for event in events[1:]:
        record.hand_over(dock, event)
    record.hand_over(other, *received(other, 1))
    await asyncio.sleep(1.0)
    assert record.told == ["wait", "wait"], "each agent once"
    record.down = None
    await eventually_async(lambda: "puback 6" in record.told and len(record.told) >= 20, LONG_S)
    committed = [told for told in record.told if told.startswith("commit")]
    assert [one for one in committed if one != "commit 2"] == [f"commit {n}" for n in (3, 4, 5, 6)]
    for number in range(2, 7):
        assert record.told.index(f"commit {number}") < record.told.index(f"puback {number}")
    assert here.consumer.counts["parked"] == 0, "those that waited kept their order"
    assert not here.consumer._windows.shut


async def test_at_the_bound_a_message_is_dropped_and_sent_again_books_all_of_it(
    here: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "PENDING", 3)
    record, dock = Recorder(here, monkeypatch), Stream()
    events = received(dock, 8)
    record.down = LedgerDown("away")
    for event in events:
        record.hand_over(dock, event)
    assert here.consumer.counts["dropped"] == 5
    record.down = None
    await here.heard(dock, lambda acks: acks and acks[-1]["acked"] == 3)
    for event in events[3:]:
        await eventually_async(lambda: len(here.consumer._tasks) < 3, LONG_S)
        record.hand_over(dock, event)
    await here.heard(dock, lambda acks: acks[-1]["acked"] == 8)
    assert here.books.available() == {"on_hand": 8, "available": 8}


async def test_a_message_is_taken_from_the_broker_once_whatever_follows(
    here: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker may have given its number to another one, which is not booked yet."""
    record, dock = Recorder(here, monkeypatch), Stream()
    one, two = received(dock, 2)
    record.hand_over(dock, two)
    await eventually_async(lambda: "puback 2" in record.told, LONG_S)
    submit = here.books.ledger.submit

    async def fails(command: Any, **more: Any) -> Any:
        if isinstance(command, BookBatch) and command.events[0].number == 2:
            raise ValueError("a bug")
        return await submit(command, **more)

    monkeypatch.setattr(here.books.ledger, "submit", fails)
    record.hand_over(dock, one)
    await eventually_async(lambda: here.consumer.counts["failed"] >= 1 and not here.consumer._tasks, LONG_S)
    assert record.told.count("puback 1") == 1


# --- windows ---------------------------------------------------------------------------------------


async def test_who_was_told_to_wait_by_load_is_told_when_there_is_room(here: Central) -> None:
    docks = [Stream(f"dock-{number}") for number in range(3)]
    windows = here.consumer._windows
    windows.waiting = windows.budget
    for dock in docks:
        here.publish(*received(dock, 1), agent=dock.agent)
        assert (await here.heard(dock, bool))[-1]["window"] == 0
    windows.waiting = 0
    for dock in docks:
        ack = (await here.heard(dock, lambda acks: len(acks) == 2))[-1]
        assert (ack["acked"], ack["verdicts"], ack["nonce"]) == (1, [], None)
        assert ack["window"] == 1000
    assert not windows.shut


async def test_answers_that_nobody_remembers_end_the_waiting_all_the_same(here: Central) -> None:
    windows = here.consumer._windows
    windows.told("a-stranger", 0)
    await eventually_async(lambda: not windows.shut, LONG_S)


# --- hellos ----------------------------------------------------------------------------------------


async def test_hundreds_of_agents_say_hello_at_once(
    tmp_path: Any, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker came back: every one of them is answered, a few at a time, and events do not wait behind them."""
    async with (
        opened(f"sqlite:///{tmp_path}/central.db") as books,
        consuming(books.ledger, broker) as listens,
    ):
        central = Central(books, listens, await Ear(broker.port, "tallyman/v1/agents/+/acks").ready())
        submit, at_once, most = books.ledger.submit, 0, 0

        async def counted(command: Any, **more: Any) -> Any:
            nonlocal at_once, most
            hello = isinstance(command, AnswerHello)
            at_once += hello
            most = max(most, at_once)
            try:
                return await submit(command, **more)
            finally:
                at_once -= hello

        monkeypatch.setattr(books.ledger, "submit", counted)
        agents = [Stream(f"agent-{number}", site=f"site-{number % 20}") for number in range(300)]
        taken: list[str] = []
        for stream in agents:
            payload = messages.msgspec.json.encode(hello_of(stream))
            for _ in range(2):  # and once more, before it was answered
                listens.received(
                    Incoming(
                        f"tallyman/v1/agents/{stream.agent}/hello", payload, False, lambda: taken.append("")
                    )
                )
        assert len(taken) == 600, "none fills the broker's queue"
        busy = Stream("busy")
        central.publish(*received(busy, 1), agent="busy")
        await central.heard(busy, bool)
        assert listens._hellos, "it did not wait behind them"
        await eventually_async(lambda: len({a["incarnation"] for a in central.ear.of("/acks")}) == 301, 60)
        assert (listens.counts["hellos"], listens.counts["overtaken"]) == (300, 300)
        assert most <= HELLOS_AT_ONCE
        central.ear.close()


async def test_at_the_bound_a_hello_is_dropped(here: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "HELLOS_WAITING", 2)
    for number in range(4):
        stream = Stream(f"agent-{number}")
        payload = messages.msgspec.json.encode(hello_of(stream))
        here.consumer.received(
            Incoming(f"tallyman/v1/agents/{stream.agent}/hello", payload, False, lambda: None)
        )
    assert here.consumer.counts["dropped"] == 2
    await eventually_async(lambda: here.consumer.counts["hellos"] == 2, LONG_S)


# --- backups ---------------------------------------------------------------------------------------


async def test_agents_hear_when_another_part_is_safe(
    central: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock, other = Stream(), Stream("dock-3")
    central.publish(*received(dock, 3))
    central.publish(*received(other, 1), agent="dock-3")
    assert (await central.heard(dock, bool))[-1]["safe"] == 3
    await central.heard(other, bool)
    engine = central.books.engine
    with structlog.testing.capture_logs() as said:
        await asyncio.to_thread(backups.begin, engine, "disk", "m")
        central.publish(*received(dock, 1))
        assert (await central.heard(dock, lambda acks: len(acks) == 2))[-1]["safe"] == 4, "not finished yet"
        await asyncio.to_thread(lambda: backups.finish(engine, "m", keep=1))
        ack = (await central.heard(dock, lambda acks: len(acks) == 3))[-1]
    assert (ack["acked"], ack["safe"], ack["verdicts"], ack["nonce"]) == (4, 3, [], None)
    await asyncio.sleep(0.5)
    assert len(central.acks(other)) == 1, "of it nothing has moved"
    assert not [one for one in said if "no backup" in one["event"]]
    assert central.consumer.backup is not None
    central.publish(*received(other, 1), agent="dock-3")
    assert (await central.heard(other, lambda acks: len(acks) == 2))[-1]["safe"] == 1


async def test_an_unreadable_batch_is_answered_with_what_is_safe(central: Central) -> None:
    dock = Stream()
    central.publish(*received(dock, 2))
    await central.heard(dock, bool)
    await asyncio.to_thread(backups.begin, central.books.engine, "disk", "m")
    await asyncio.to_thread(lambda: backups.finish(central.books.engine, "m", keep=1))
    central.publish(*received(dock, 1))
    await central.heard(dock, lambda acks: acks[-1]["acked"] == 3)
    payload = b'[{"incarnation": "' + dock.incarnation.encode() + b'", "id": 5}]'
    central.ear.say("tallyman/v1/agents/dock-2/events", payload)
    ack = (await central.heard(dock, lambda acks: "problem" in acks[-1]))[-1]
    assert (ack["acked"], ack["safe"], ack["window"]) == (3, 2, 1000)


# --- several workers -------------------------------------------------------------------------------


async def test_two_programs_that_hear_everything_book_it_once(database_url: str, broker: Broker) -> None:
    """Each batch and each hello reaches both: one books, the other answers with the same verdicts."""
    async with AsyncExitStack() as stack:
        books = await stack.enter_async_context(opened(database_url))
        await books.stock_the_shop()
        engine = open_engine(database_url)
        stack.callback(engine.dispose)
        second = Ledger(engine)
        await second.start()
        stack.push_async_callback(second.close)
        both = [await stack.enter_async_context(consuming(one, broker)) for one in (books.ledger, second)]
        ear = await Ear(broker.port, "tallyman/v1/agents/+/acks").ready()
        stack.callback(ear.close)
        central = Central(books, both[0], ear)
        docks = [Stream(f"dock-{number}") for number in range(6)]
        for dock in docks:
            central.hello(dock)
            for _ in range(8):
                central.publish(*received(dock, 5), agent=dock.agent)
        for dock in docks:
            await central.heard(
                dock, lambda acks: verdicts(acks).count(40) == 2 and len(verdicts(acks)) >= 80
            )
            told: dict[int, set[Any]] = {}
            for ack in central.acks(dock):
                for verdict in ack["verdicts"]:
                    told.setdefault(verdict["sequence"], set()).add((verdict["outcome"], verdict["movement"]))
            assert sorted(told) == list(range(1, 41))
            assert all(len(said) == 1 for said in told.values()), "both say the same"
        assert books.available() == {"on_hand": 240, "available": 240}
        assert [one.counts["failed"] for one in both] == [0, 0]
        assert len({ack["history"] for ack in ear.of("/acks")}) == 1


async def test_of_two_programs_that_see_a_rollback_one_begins_the_history(database_url: str) -> None:
    async with opened(database_url) as books:
        engine = open_engine(database_url)
        second = Ledger(engine)
        await second.start()
        docks = [Stream(f"dock-{number}") for number in range(8)]
        first = (await books.do(docks[0].said("received", sku="SKU-1", to_location="DOCK-2"))).history
        hellos = []
        for number, dock in enumerate(docks):
            body = hello_of(dock, history=first)
            body["incarnations"][0] |= {"acked": 9, "last_sequence": 9}
            said = messages.decode(messages.msgspec.json.encode(body), messages.Hello)
            hellos.append((books.ledger, second)[number % 2].submit(AnswerHello(said)))
        answers = await asyncio.gather(*hellos)
        await second.close()
        engine.dispose()
        assert len({ack.history for acks in answers for ack in acks}) == 1
        assert answers[0][0].history != first

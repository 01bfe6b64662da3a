"""Central's end of the protocol: what agents publish becomes commands, what the ledger answers goes back to them.

The idea: commit, then ack, then PUBACK. No event is taken from the broker before its verdict is durable, but one that
lies above a gap: it is parked, and sent again if that comes to nothing. When the ledger is down, messages wait
unacknowledged and in order. Hellos are repeated until they are answered, so they are taken at once, and the newest of
each agent waits its turn. Bounds: the broker hands over at most RECEIVE_MAXIMUM messages (MQTT 5.0); above PENDING
messages or HELLOS_WAITING agents one is dropped, and its agent sends it again; windows shrink before that.
"""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from central import backups, tables
from central.answers import AT_ONCE, EVERY_S, Answers
from central.database import reading
from central.downlink import LEASE_S, AgentSeen, Downlink
from central.feed import Feed
from central.ledger.commands import AnswerHello, BookBatch, Command, RecordState
from central.ledger.facts import storable
from central.ledger.service import Ledger, LedgerBusy, LedgerDown
from central.parking import Parking, above_gap
from central.windows import Windows
from service import log
from sync import messages
from sync.messages import Ack, Hello, State, Unreadable, agent_topic
from sync.mqtt import Incoming, Link, Sent, Settings, Will

_log = log.get("central.consumer")

PENDING: Final = 1000  # messages being worked on
RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
HELLOS_AT_ONCE: Final = 16  # of up to 200 incarnations each: less than half of what the link queues
HELLOS_WAITING: Final = 2000  # agents whose hello waits: all of them, when a broker comes back
TAKEN_S: Final = 2.0  # how long answers may take to reach the broker before the next hello is answered
LOOK_S: Final = 0.01
BACKUPS_WATCH_S: Final = 2.0  # a backup that was recorded is told of so late
WARNED_EVERY_S: Final = 24 * 3600.0  # that there is none
GOODBYE_S: Final = 2.0  # what a question to the database may still take at the end
TRIED_AT_ONCE: Final = 100  # parked batches that are tried again together


class Consumer:
    """Listens to all agents. `run` for ever; `agents` is for the dashboard."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        lease_s: float = LEASE_S,
    ) -> None:
        kinds: tuple[messages.AgentTopic, ...] = ("hello", "events", "state")
        topics = tuple(agent_topic("+", kind) for kind in kinds)
        client_id = f"tallyman-central-{secrets.token_hex(6)}"
        self._ledger, self._clock = ledger, clock
        self._link = Link(settings, client_id, topics, self)
        self._feed = Feed(ledger, lambda topic, payload, retain: self._publish(topic, payload, retain=retain))
        self._tasks: set[asyncio.Task[None]] = set()
        self._hellos: dict[str, Hello] = {}
        """The newest hello of each agent that waits for its turn, the longest waiting first."""
        self._hello_came = asyncio.Event()
        self._parking = Parking()
        self._parked = asyncio.Event()
        self._open = asyncio.Event()
        """Set while the ledger answers; else one caller looks when it does again, and the others wait."""
        self._open.set()
        self._windows = Windows()
        self._answers = Answers(self._publish, self._windows)
        self.agents: dict[str, AgentSeen] = {}
        self._downlink = Downlink(
            ledger, publish=self._publish, when_up=self._when_up, submit=self._submit,
            agents=self.agents, clock=clock, lease_s=lease_s,
        )  # fmt: skip
        self.counts: dict[str, int] = dict.fromkeys(
            (
                "batches", "events", "hellos", "states", "unreadable", "malformed",
                "parked", "overtaken", "dropped", "failed",
            ), 0,
        )  # fmt: skip
        self.reason: str | None = "not connected yet"
        """Why the broker cannot be reached; None while it can."""
        self.backup: backups.Backup | None = None
        """The latest one that is counted on."""
        self._listeners: list[Callable[[AgentSeen], None]] = []

    @property
    def online(self) -> bool:
        """Connected to the broker."""
        return self._link.online

    def on_agent(self, callback: Callable[[AgentSeen], None]) -> None:
        """Call it on the event loop when an agent's state message came."""
        self._listeners.append(callback)

    async def run(self) -> None:
        """Listen and answer for ever. Cancel to stop; what was not acknowledged is delivered again."""
        try:
            await self._when_up(self._remember_agents)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._link.run())
                group.create_task(self._feed.run())
                group.create_task(self._downlink.run())
                group.create_task(self._try_parked())
                group.create_task(self._announce())
                group.create_task(self._watch_backups())
                for _ in range(HELLOS_AT_ONCE):
                    group.create_task(self._answer_hellos())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- sync.mqtt.Listener ------------------------------------------------------------------------

    async def will(self) -> Will | None:
        """Central has none: an agent notices its absence by the answers that do not come."""
        return None

    def connected(self) -> None:
        """The broker is there (again)."""
        self.reason = None
        _log.info("listening to agents")
        self._feed.connected()

    def disconnected(self, reason: str) -> None:
        """The broker is away."""
        if reason != self.reason:
            _log.warning("the broker is away", reason=reason)
        self.reason = reason
        self.agents.update(
            {name: replace(seen, here=False) for name, seen in self.agents.items() if seen.here}
        )

    def received(self, message: Incoming) -> None:
        """A message of an agent. Work on it starts in the order of arrival."""
        parsed = messages.parse_agent_topic(message.topic)
        if parsed is None:
            self._malformed(message, "", "this is no topic of an agent")
            return
        agent, kind = parsed
        if kind == "hello":
            self._hello_in_turn(agent, message)
            return
        if len(self._tasks) >= PENDING:
            self._drop(message)
            return
        work = {"events": self._events, "state": self._state}[kind]
        task = asyncio.get_running_loop().create_task(self._guarded(agent, message, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drop(self, message: Incoming) -> None:
        self.counts["dropped"] += 1
        message.acknowledge()

    async def _guarded(
        self, agent: str, message: Incoming, work: Callable[[str, Incoming], Coroutine[Any, Any, None]]
    ) -> None:
        """Whatever one message does to us, the next is heard."""
        with self._outlived(
            "a message could not be worked on", message.acknowledge, agent=agent, topic=message.topic
        ):
            try:
                await work(agent, message)
            except Unreadable as error:
                self._malformed(message, agent, str(error))

    @contextlib.contextmanager
    def _outlived(
        self, what: str, then: Callable[[], None] = lambda: None, **about: str | None
    ) -> Iterator[None]:
        """A bug in what is done must not stop the consumer: the agent sends again what has no verdict, and repeats a
        hello that is not answered.
        """
        try:
            yield
        except Exception:  # noqa: BLE001 (as it says above)
            self.counts["failed"] += 1
            _log.exception(what, **about)
            then()

    def _malformed(self, message: Incoming, agent: str, reason: str) -> None:
        self.counts["malformed"] += 1
        _log.warning(
            "a message is not what the contract says", agent=agent, topic=message.topic, reason=reason
        )
        message.acknowledge()

    # --- messages ----------------------------------------------------------------------------------

    async def _events(self, agent: str, message: Incoming) -> None:
        self._heard(agent)
        try:
            events = messages.decode_batch(message.payload)
        except Unreadable as error:
            await self._unreadable(agent, message, str(error))
            return
        texts = tuple(bytes(text) for text in msgspec.json.decode(message.payload, type=list[msgspec.Raw]))
        self.counts["batches"] += 1
        self.counts["events"] += len(events)
        batch = BookBatch(agent, tuple(events), texts)
        self._windows.heard(agent, self._clock())
        ack = await self._book(batch)
        if above_gap(batch, ack.acked):
            now = self._clock()
            self.counts["parked"] += self._parking.park(batch, history=ack.history, acked=ack.acked, now=now)
            self._parked.set()
        self._answers.send(agent, ack)
        message.acknowledge()
        await self._go_on(ack)

    async def _book(self, batch: BookBatch) -> Ack:
        self._windows.waiting += len(batch.events)
        try:
            ack: Ack = await self._submit(batch, lambda: self._answers.wait(batch.agent))
        finally:
            self._windows.waiting -= len(batch.events)
        return ack

    async def _go_on(self, ack: Ack) -> None:
        """Book what was parked and follows now, each batch after the one before. What fails is sent again by its
        agent, and is no matter of the message that closed the gap.
        """
        if ack.incarnation is None:
            return
        with self._outlived("a parked batch could not be booked", incarnation=ack.incarnation):
            while ready := self._parking.ready(ack.incarnation, history=ack.history, acked=ack.acked):
                for batch in ready:
                    ack = await self._book(batch)
                    self._answers.send(batch.agent, ack)

    async def _try_parked(self) -> None:
        """Another worker may have closed a gap: what is parked is tried again, until it is too old."""
        while True:
            due = self._parking.next_due()
            if due is None:
                self._parked.clear()
                await self._parked.wait()
                continue
            await asyncio.sleep(due - self._clock())
            batches = self._parking.due(self._clock())[:TRIED_AT_ONCE]
            await asyncio.gather(*(self._try(batch) for batch in batches))

    async def _try(self, batch: BookBatch) -> None:
        """It is dropped when it is too old, and its agent sends it again."""
        with self._outlived("a parked batch could not be booked", agent=batch.agent):
            ack = await self._book(batch)
            if above_gap(batch, ack.acked):
                self._parking.passed(batch.events[0].incarnation, history=ack.history, acked=ack.acked)
                return
            self._answers.send(batch.agent, ack)
            await self._go_on(ack)

    async def _unreadable(self, agent: str, message: Incoming, reason: str) -> None:
        """Name the message by its hash, so that its sender can send its events singly."""
        self.counts["unreadable"] += 1
        _log.warning("a batch is unreadable", agent=agent, reason=reason)
        incarnation = _incarnation_in(message.payload)
        names = [incarnation] if incarnation else []
        history, found = await self._when_up(partial(backups.stands, incarnations=names))
        _, acked, safe = found[0] if found else (incarnation, 0, 0)
        self._answers.send(
            agent,
            Ack(
                history=history,
                nonce=None,
                incarnation=incarnation,
                acked=acked,
                safe=safe,
                window=0,
                verdicts=[],
                problem="unreadable",
                payload=messages.payload_hash(message.payload),
            ),
        )
        message.acknowledge()

    def _hello_in_turn(self, agent: str, message: Incoming) -> None:
        """All agents say hello at once when a broker comes back: they queue, each with its newest hello alone."""
        try:
            hello = messages.decode(message.payload, Hello, limit_bytes=messages.MAX_UPWARD_BYTES)
            if hello.agent != agent:
                raise Unreadable(f"it says that it is from agent {hello.agent}")
            hello = msgspec.structs.replace(hello, site=storable(hello.site))  # it is asked for by that name
        except Unreadable as error:
            self._malformed(message, agent, str(error))
            return
        if agent in self._hellos:
            self.counts["overtaken"] += 1
        elif len(self._hellos) >= HELLOS_WAITING:
            self._drop(message)
            return
        message.acknowledge()
        self._hellos[agent] = hello
        self._hello_came.set()

    async def _answer_hellos(self) -> None:
        """One of those who answer, for ever."""
        while True:
            if not self._hellos:
                self._hello_came.clear()
                await self._hello_came.wait()
                continue
            agent = next(iter(self._hellos))
            with self._outlived("a hello could not be answered", agent=agent):
                await self._hello(agent, self._hellos.pop(agent))

    async def _hello(self, agent: str, hello: Hello) -> None:
        self.counts["hellos"] += 1
        seen = self.agents.get(agent) or AgentSeen(agent, hello.site, None, None)
        self.agents[agent] = replace(
            seen, site=hello.site, heard=self._clock(), here=True, reference=hello.reference
        )
        acks: list[Ack] = await self._submit(AnswerHello(hello))
        sent = [self._answers.send(agent, ack) for ack in acks]
        for ack in acks:  # a lost range was passed, or another worker was faster
            await self._go_on(ack)
        await self._downlink.greet(hello, acks[0].history)
        await self._until_taken(sent[-1])

    async def _until_taken(self, sent: Sent | None) -> None:
        """Answer no faster than the broker takes it: what the link does not queue any more is lost."""
        patience = round(TAKEN_S / LOOK_S)
        while sent is not None and not sent.taken and patience > 0:
            patience -= 1
            await asyncio.sleep(LOOK_S)

    async def _state(self, agent: str, message: Incoming) -> None:
        if not message.payload:  # somebody cleared what was retained
            message.acknowledge()
            return
        state = messages.decode(message.payload, State, limit_bytes=messages.MAX_UPWARD_BYTES)
        state = msgspec.structs.replace(state, site=storable(state.site))
        self.counts["states"] += 1
        answer = await self._submit(RecordState(agent, state, message.retained))
        if not answer.body["ignored"]:
            seen = self.agents.get(agent) or AgentSeen(agent, state.site, None, None)
            heard = seen.heard if message.retained else self._clock()
            # What is retained says that it was there; a will that is retained, that it is not.
            here = state.status == "online" and (seen.here or not message.retained)
            self.agents[agent] = seen = replace(seen, site=state.site, state=state, heard=heard, here=here)
            for told in self._listeners:
                told(seen)
        message.acknowledge()

    # --- the ledger ----------------------------------------------------------------------------------

    async def _submit(self, command: Command, waiting: Callable[[], None] = lambda: None) -> Any:
        """Until it is carried out. Who waits is woken in the order of arrival, so streams stay in sequence; `waiting`
        is called when it does wait.
        """
        while True:
            if not self._open.is_set():
                waiting()
                await self._open.wait()
            try:
                return await self._ledger.submit(command)
            except (LedgerBusy, LedgerDown) as error:
                _log.debug("the ledger is asked again later", reason=str(error))
            if self._open.is_set():
                self._open.clear()
                self._windows.open = False
                try:
                    waiting()
                    return await self._look_again(command)
                finally:
                    self._windows.open = True
                    self._open.set()

    async def _look_again(self, command: Command) -> Any:
        pause_s = RETRY_FIRST_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                return await self._ledger.submit(command)
            except (LedgerBusy, LedgerDown):
                pause_s = min(pause_s * 2, RETRY_MOST_S)

    async def _announce(self) -> None:
        """Who was told to wait hears when there is room again."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._answers.announce()

    async def _when_up(self, read: Callable[[sa.Connection], Any]) -> Any:
        """What `read` finds in one snapshot; waits while the database does not answer."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return await self._in_thread(read)
            except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
                _log.warning("waiting for the database", error=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MOST_S)

    async def _in_thread(self, read: Callable[[sa.Connection], Any]) -> Any:
        """Who is cancelled waits a moment for the thread: its connection goes back before the database is let go."""
        reading = asyncio.get_running_loop().run_in_executor(None, self._read, read)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait([reading], timeout=GOODBYE_S)
            raise

    def _read(self, read: Callable[[sa.Connection], Any]) -> Any:
        with reading(self._ledger.engine) as connection:
            return read(connection)

    def _remember_agents(self, connection: sa.Connection) -> None:
        for row in connection.execute(sa.select(tables.agent)):
            state = messages.decode(row.state.encode(), State) if row.state else None
            self.agents[row.id] = AgentSeen(row.id, row.site, state, None)

    # --- backups -------------------------------------------------------------------------------------

    async def _watch_backups(self) -> None:
        """What is safe follows the backups that are counted on: agents hear when it moves, operators when there are
        none.
        """
        seen, warned_at = None, -WARNED_EVERY_S
        while True:
            version, self.backup = await self._when_up(
                lambda one: (backups.version(one), backups.latest(one))
            )
            if self.backup is None and self._clock() - warned_at >= WARNED_EVERY_S:
                warned_at = self._clock()
                _log.warning("there is no backup: agents may forget what this one database holds")
            if seen is not None and version != seen:
                await self._tell_safe()
            seen = version
            await asyncio.sleep(BACKUPS_WATCH_S)

    async def _tell_safe(self) -> None:
        names = self._answers.known()
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            history, found = await self._when_up(partial(backups.stands, incarnations=some))
            for agent, ack in self._answers.moved(history, found):
                self._answers.send(agent, ack)
            await asyncio.sleep(EVERY_S)

    # --- agents --------------------------------------------------------------------------------------

    def _heard(self, agent: str) -> None:
        seen = self.agents.get(agent)
        if seen is not None:
            self.agents[agent] = replace(seen, heard=self._clock(), here=True)

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Sent | None:
        """A message that the broker does not take is lost: agents ask again, feeds follow their cursor."""
        return self._link.publish(topic, payload, retain=retain)


def _incarnation_in(payload: bytes) -> str | None:
    """The incarnation that an unreadable batch is of, if it tells."""
    try:
        events = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    first = events[0] if isinstance(events, list) and events else None
    told = first.get("incarnation") if isinstance(first, dict) else None
    return told if isinstance(told, str) and re.fullmatch("[0-9a-f]{32}", told) else None

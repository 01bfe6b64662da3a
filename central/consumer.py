"""Central's end of the protocol: what agents publish becomes commands, what the ledger answers goes back to them.

The idea: commit, then ack, then PUBACK. Nothing that an agent sent is taken from the broker before its answer is
durable; when the ledger is down, messages wait unacknowledged and in order. Bounds: the broker hands over at most
RECEIVE_MAXIMUM messages (MQTT 5.0); above PENDING a message is dropped, and its agent sends it again.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from central import tables
from central.database import current_history, reading
from central.downlink import AgentSeen, Downlink
from central.feed import Feed
from central.ledger.booking import WINDOW
from central.ledger.commands import AnswerHello, BookBatch, Command, RecordState
from central.ledger.service import Ledger, LedgerBusy, LedgerDown
from service import log
from sync import messages
from sync.messages import Ack, Hello, State, Unreadable, agent_topic
from sync.mqtt import Incoming, Link, Sent, Settings, Will

_log = log.get("central.consumer")

PENDING: Final = 1000  # messages being worked on
RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
KEPT_ACKS: Final = 10_000  # incarnations whose last answer is remembered, to close their window with


class Consumer:
    """Listens to all agents. `run` for ever; `agents` is for the dashboard."""

    def __init__(
        self, ledger: Ledger, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        kinds: tuple[messages.AgentTopic, ...] = ("hello", "events", "state")
        topics = tuple(agent_topic("+", kind) for kind in kinds)
        client_id = f"tallyman-central-{secrets.token_hex(6)}"
        self._ledger, self._clock = ledger, clock
        self._link = Link(settings, client_id, topics, self)
        self._feed = Feed(ledger, lambda topic, payload, retain: self._publish(topic, payload, retain=retain))
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_acks: dict[str, Ack] = {}
        self.agents: dict[str, AgentSeen] = {}
        self._downlink = Downlink(ledger, self._publish, self._when_up, self.agents, clock)
        self.counts: dict[str, int] = dict.fromkeys(
            ("batches", "events", "hellos", "states", "unreadable", "malformed", "dropped", "failed"), 0
        )
        self.reason: str | None = "not connected yet"
        """Why the broker cannot be reached; None while it can."""
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
            _log.warning("there are no backups yet: agents may forget what this one database holds")
            await self._when_up(self._remember_agents)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._link.run())
                group.create_task(self._feed.run())
                group.create_task(self._downlink.run())
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

    def received(self, message: Incoming) -> None:
        """A message of an agent. Work on it starts in the order of arrival."""
        parsed = messages.parse_agent_topic(message.topic)
        if parsed is None:
            self._malformed(message, "", "this is no topic of an agent")
            return
        agent, kind = parsed
        if len(self._tasks) >= PENDING:
            self.counts["dropped"] += 1
            message.acknowledge()
            return
        work: dict[str, Callable[[str, Incoming], Coroutine[Any, Any, None]]] = {
            "hello": self._hello,
            "events": self._events,
            "state": self._state,
        }
        task = asyncio.get_running_loop().create_task(self._guarded(agent, message, work[kind]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(
        self, agent: str, message: Incoming, work: Callable[[str, Incoming], Coroutine[Any, Any, None]]
    ) -> None:
        """Whatever one message does to us, the next is heard."""
        try:
            await work(agent, message)
        except Unreadable as error:
            self._malformed(message, agent, str(error))
        except Exception:  # noqa: BLE001 (a bug must not stop the consumer; the agent sends again what has no verdict)
            self.counts["failed"] += 1
            _log.exception("a message could not be worked on", agent=agent, topic=message.topic)
            message.acknowledge()

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
        first = events[0].incarnation
        ack: Ack = await self._submit(
            BookBatch(agent, tuple(events), texts), lambda: self._close(agent, first)
        )
        self._send(agent, ack)
        message.acknowledge()

    async def _unreadable(self, agent: str, message: Incoming, reason: str) -> None:
        """Name the message by its hash, so that its sender can send its events singly."""
        self.counts["unreadable"] += 1
        _log.warning("a batch is unreadable", agent=agent, reason=reason)
        incarnation = _incarnation_in(message.payload)
        history, acked = await self._when_up(lambda connection: _stand(connection, incarnation))
        self._send(
            agent,
            Ack(
                history=history,
                nonce=None,
                incarnation=incarnation,
                acked=acked,
                safe=acked,
                window=WINDOW,
                verdicts=[],
                problem="unreadable",
                payload=messages.payload_hash(message.payload),
            ),
        )
        message.acknowledge()

    async def _hello(self, agent: str, message: Incoming) -> None:
        hello = messages.decode(message.payload, Hello, limit_bytes=messages.MAX_UPWARD_BYTES)
        if hello.agent != agent:
            raise Unreadable(f"it says that it is from agent {hello.agent}")
        self.counts["hellos"] += 1
        seen = self.agents.get(agent) or AgentSeen(agent, hello.site, None, None)
        self.agents[agent] = replace(seen, site=hello.site, heard=self._clock(), reference=hello.reference)
        acks: list[Ack] = await self._submit(AnswerHello(hello))
        for ack in acks:
            self._send(agent, ack)
        await self._downlink.greet(hello, acks[0].history)
        message.acknowledge()

    async def _state(self, agent: str, message: Incoming) -> None:
        if not message.payload:  # somebody cleared what was retained
            message.acknowledge()
            return
        state = messages.decode(message.payload, State, limit_bytes=messages.MAX_UPWARD_BYTES)
        self.counts["states"] += 1
        answer = await self._submit(RecordState(agent, state))
        if not answer.body["ignored"]:
            seen = self.agents.get(agent) or AgentSeen(agent, state.site, None, None)
            heard = seen.heard if message.retained else self._clock()
            self.agents[agent] = seen = replace(seen, site=state.site, state=state, heard=heard)
            for told in self._listeners:
                told(seen)
        message.acknowledge()

    # --- the ledger ----------------------------------------------------------------------------------

    async def _submit(self, command: Command, waiting: Callable[[], None] | None = None) -> Any:
        """Until it is carried out. Who waits is woken in the order of arrival, so streams stay in sequence."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return await self._ledger.submit(command)
            except (LedgerBusy, LedgerDown) as error:
                _log.debug("the ledger is asked again later", reason=str(error))
                if waiting is not None:
                    waiting()
                    waiting = None
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MOST_S)

    async def _when_up(self, read: Callable[[sa.Connection], Any]) -> Any:
        """What `read` finds in one snapshot; waits while the database does not answer."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return await asyncio.to_thread(self._read, read)
            except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
                _log.warning("waiting for the database", error=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MOST_S)

    def _read(self, read: Callable[[sa.Connection], Any]) -> Any:
        with reading(self._ledger.engine) as connection:
            return read(connection)

    def _remember_agents(self, connection: sa.Connection) -> None:
        for row in connection.execute(sa.select(tables.agent)):
            state = messages.decode(row.state.encode(), State) if row.state else None
            self.agents[row.id] = AgentSeen(row.id, row.site, state, None)

    # --- answers -------------------------------------------------------------------------------------

    def _heard(self, agent: str) -> None:
        seen = self.agents.get(agent)
        if seen is not None:
            self.agents[agent] = replace(seen, heard=self._clock())

    def _send(self, agent: str, ack: Ack) -> None:
        if ack.incarnation is not None:
            self._last_acks.pop(ack.incarnation, None)
            if len(self._last_acks) >= KEPT_ACKS:
                self._last_acks.pop(next(iter(self._last_acks)))
            shut: dict[str, Any] = {
                "nonce": None,
                "window": 0,
                "verdicts": [],
                "problem": msgspec.UNSET,
                "payload": msgspec.UNSET,
            }
            self._last_acks[ack.incarnation] = msgspec.structs.replace(ack, **shut)
        self._publish(agent_topic(agent, "acks"), messages.encode(ack))

    def _close(self, agent: str, incarnation: str) -> None:
        """The ledger is down: ask the agent to wait. The answer to what it sent opens the window again."""
        shut = self._last_acks.get(incarnation)
        if shut is not None:
            self._publish(agent_topic(agent, "acks"), messages.encode(shut))

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Sent | None:
        """A message that the broker does not take is lost: agents ask again, feeds follow their cursor."""
        return self._link.publish(topic, payload, retain=retain)


def _stand(connection: sa.Connection, incarnation: str | None) -> tuple[str, int]:
    """(history, acked) of an incarnation."""
    c = tables.cursor.c
    acked = connection.scalar(sa.select(c.acked).where(c.incarnation == incarnation)) if incarnation else 0
    return current_history(connection), acked or 0


def _incarnation_in(payload: bytes) -> str | None:
    """The incarnation that an unreadable batch is of, if it tells."""
    try:
        events = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    first = events[0] if isinstance(events, list) and events else None
    told = first.get("incarnation") if isinstance(first, dict) else None
    return told if isinstance(told, str) and re.fullmatch("[0-9a-f]{32}", told) else None

"""Runs the engine: the journal on one side, MQTT on the other.

The engine says what to do and this does it. What is for central is said at once: a journal that is slow or refuses
makes no agent silent. The rest is done in order: reading waits for its rows; what central said is written down beside
it, in order too, so that sending does not wait for the disk.
"""

import asyncio
import os
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog
from msgspec import UNSET, UnsetType

from sync import ids, messages
from sync.engine import Action, Engine, Publish, Read, Record, Reenter, Void
from sync.journal import Journal, JournalError
from sync.journal.retention import RETENTION_S
from sync.messages import Ack, Device, Reference, ReferenceDelta, State, Tasks, Unreadable, Verdict
from sync.mqtt import Incoming, Link, Settings, Will
from sync.orders import Order, Orders

TICK_S = 0.25  # the protocol's shortest time is 1 s
STATE_S = 1.0  # `state` is published at most so often
SILENCE_S = 5.0  # a central that owes an answer for so long is away, whatever the broker says
RETRY_S = 2.0  # between attempts at what the journal could not do
KEEP_S = 60.0  # between two looks for what the journal may let go of
KEEP_MORE_S = 0.05  # … while there is more: 4,000 events a second, and most of the disk's time for scans
# Verdicts become durable so much later, together: one that is lost is only asked for again, and each write takes the
# disk from scans that somebody waits for.
GATHER_S = 0.02
MOST_UNWRITTEN = 100  # answers of central that wait for the disk; above, no more is read and sent

Result = TypeVar("Result")

log = structlog.get_logger()


class Uplink:
    """Drains one journal to central. The callbacks run on the event loop and must not block.

    Args:
        devices: what the ports say of themselves, for `state`.
        reference_version: which reference data the agent has, for `hello`.
        on_verdict: central's verdict on one of this agent's events, matched by its id.
        on_reference, on_tasks: the downlink, as it arrives.
        on_change: `online`, `reason` or the queue changed.
        takes: the types of tasks that stations work on, for `hello`; all when it is not said.
        retention_s, keep_newest: what the journal keeps of what is settled, see `Store.keep`.
    """

    def __init__(
        self,
        journal: Journal,
        settings: Settings,
        *,
        agent: str,
        site: str,
        software: str,
        devices: Callable[[], list[Device]],
        reference_version: Callable[[], int | None],
        on_verdict: Callable[[Verdict], None],
        on_reference: Callable[[Reference | ReferenceDelta], None],
        on_tasks: Callable[[Tasks], None],
        on_change: Callable[[], None],
        takes: list[messages.TaskType] | UnsetType = UNSET,
        retention_s: float = RETENTION_S,
        keep_newest: int = 0,
    ) -> None:
        self._journal, self._agent, self._site, self._software = journal, agent, site, software
        self._devices, self._reference_version = devices, reference_version
        self._on_verdict, self._on_reference, self._on_tasks = on_verdict, on_reference, on_tasks
        self._on_change, self._takes = on_change, takes
        self._retention_s, self._keep_newest = retention_s, keep_newest
        self._topics = {kind: messages.agent_topic(agent, kind) for kind in _OWN_TOPICS}
        self._link = Link(settings, agent, tuple(self._topics.values()), self)
        self._orders = Orders({"agent": agent, "site": site, "software": software})
        self._engine: Engine
        self._actions: deque[Read | Record | Void | Reenter] = deque()
        self._records: asyncio.Queue[Record] = asyncio.Queue(MOST_UNWRITTEN)
        self._wake = asyncio.Event()
        self._connection = 0
        self._state: State | None = None
        self._unanswered_since: float | None = None
        self.reason: str | None = "connecting"
        """Why the agent is offline, for people; None while it is online."""

    @property
    def online(self) -> bool:
        """Connected, and central has answered."""
        return self.reason is None

    async def run(self) -> None:
        """Drain until cancelled; then tell the broker that this agent is offline on purpose."""
        early: dict[str, int] = {}  # what becomes durable while the journal tells what it holds
        self._journal.on_append = early.__setitem__
        self._engine = Engine(
            agent=self._agent,
            site=self._site,
            software=self._software,
            history=self._journal.history,
            streams=await _insist(self._journal.streams),
            new_nonce=lambda: ids.nonce(os.urandom),
            random=random.random,
        )
        self._engine.takes = self._takes
        for incarnation, last in early.items():
            self._appended(incarnation, last)
        self._journal.on_append = self._appended
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._link.run())
                group.create_task(self._keep_time())
                group.create_task(self._act())
                group.create_task(self._write_down())
                group.create_task(self._keep_house())
                try:
                    await asyncio.Event().wait()
                finally:
                    self._publish_state(self._new_state("offline"))
        finally:
            self._journal.on_append = lambda _incarnation, _last: None

    def publish_state(self) -> None:
        """Something that `state` tells has changed."""
        self._publish_state(self._new_state("online"))

    def ask(self) -> None:
        """What central told of reference data does not fit: it is to tell anew."""
        self._engine.reference = self._reference_version()
        self._do(self._engine.ask(time.monotonic()))

    # --- the link's side -------------------------------------------------------------------------------

    async def will(self) -> Will:
        """The last will of the coming connection, which gets a number above all earlier ones."""
        self._connection = await _insist(self._journal.next_connection)
        return Will(messages.agent_topic(self._agent, "state"), messages.encode(self._new_state("offline")))

    def connected(self) -> None:
        """Say who we are."""
        self._state = None
        self.publish_state()
        self._engine.reference = self._reference_version()
        self._do(self._engine.connected(time.monotonic()))
        self._changed("connected; central has not answered yet")

    def disconnected(self, reason: str) -> None:
        """Note why."""
        self._engine.disconnected()
        self._changed(reason)

    def received(self, message: Incoming) -> None:
        """Something from central."""
        try:
            if message.topic == self._topics["acks"]:
                self._received_ack(messages.decode(message.payload, Ack))
            elif message.topic == self._topics["reference"]:
                self._on_reference(messages.decode_reference(message.payload))
            elif message.topic == self._topics["tasks"]:
                self._received_tasks(messages.decode(message.payload, Tasks))
            elif message.topic == self._topics["commands"] and not message.retained:
                self._received_order(messages.decode(message.payload, Order))
        except Unreadable as error:
            log.warning(
                "a message from central cannot be read and is ignored", topic=message.topic, error=str(error)
            )
        finally:  # the broker hands over only so many that are not acknowledged
            message.acknowledge()

    def _received_tasks(self, tasks: Tasks) -> None:
        """Tasks of another history are from before a restore, or come before the ack that tells of it: the answer to
        the hello that is said then brings them again.
        """
        if tasks.history in (UNSET, self._engine.history):
            self._on_tasks(tasks)

    def _received_order(self, order: Order) -> None:
        reply = self._orders.answer(order, self._facts(), time.monotonic())
        if reply is not None:
            log.info("central asked", command=order.command, id=order.id, ok=reply.ok)
            self._link.publish(messages.agent_topic(self._agent, "replies"), messages.encode(reply))

    def _facts(self) -> dict[str, object]:
        """What helps to find a fault."""
        journal, engine, link = self._journal, self._engine, self._link
        return {
            "incarnation": journal.incarnation,
            "history": journal.history,
            "incarnations": len(engine.streams),
            "queued": journal.queued,
            "oldest_queued_at": journal.oldest_queued_at,
            "unwritten_answers": self._records.qsize(),
            "connection": self._connection,
            "connects": link.connects,
            "network_threads_left_behind": link.left_behind,
            "reason": self.reason,
        }

    def _received_ack(self, ack: Ack) -> None:
        history = self._engine.history
        self._engine.reference = self._reference_version()
        self._do(self._engine.received_ack(ack, time.monotonic()))
        if self._engine.history != history and history is not None:
            log.warning(
                "central has another history than before: it was restored, or is another central. What it may lack is"
                " sent again",
                before=history, now=self._engine.history, queued=self._engine.queued,
            )  # fmt: skip
        if self._engine.answered:
            self._changed(self._link.contested)

    def _changed(self, reason: str | None) -> None:
        if reason != self.reason:
            self.reason = reason
            log.info("online" if reason is None else "offline", reason=reason)
        self._on_change()

    # --- the journal's side ----------------------------------------------------------------------------

    def _appended(self, incarnation: str, last: int) -> None:
        self._do(self._engine.appended(incarnation, last, time.monotonic()))
        self._on_change()

    async def _keep_time(self) -> None:
        said_at = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self._engine.reference = self._reference_version()
            self._do(self._engine.tick(now))
            self._notice_silence(now)
            if self._link.online and self._engine.answered and self.reason != self._link.contested:
                self._changed(self._link.contested)
            if now - said_at >= STATE_S and self._link.online:
                said_at = now
                await self._look_at_oldest()
                self.publish_state()

    def _notice_silence(self, now: float) -> None:
        """The broker may be there and central not."""
        if self._engine.answered or not self._link.online:
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = now
        elif now - self._unanswered_since >= SILENCE_S:
            self._changed("connected to the broker, but central does not answer")

    async def _look_at_oldest(self) -> None:
        try:
            await self._journal.look_at_oldest(self._engine.oldest)
        except JournalError as error:
            log.error("the journal cannot be read", error=str(error))

    # --- doing what the engine says ----------------------------------------------------------------------

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Publish):
                self._link.publish(messages.agent_topic(self._agent, action.kind), action.payload)
            else:
                self._actions.append(action)
                self._wake.set()

    async def _act(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._actions:
                await _insist(partial(self._perform, self._actions.popleft()))

    async def _write_down(self) -> None:
        """Whatever central said, in order; a verdict that is not in the journal would count as queued. What comes
        within a moment becomes durable together.
        """
        while True:
            records = [await self._records.get()]
            await asyncio.sleep(GATHER_S)
            while not self._records.empty():
                records.append(self._records.get_nowait())
            await _insist(partial(self._journal.record, *records))
            for _ in records:
                self._records.task_done()
            self._on_change()

    async def _keep_house(self) -> None:
        """Let go of what is settled and old, little by little, and tell the engine where the journal begins then."""
        while True:
            try:
                kept = await self._journal.keep(retention_s=self._retention_s, keep_newest=self._keep_newest)
            except JournalError as error:
                log.error("the journal cannot let go of old events now; trying again", error=str(error))
                await asyncio.sleep(KEEP_S)
                continue
            for incarnation, first_kept in kept.begins:
                self._engine.pruned(incarnation, first_kept)
            await asyncio.sleep(KEEP_MORE_S if kept.more else KEEP_S)

    async def _perform(self, action: Read | Record | Void | Reenter) -> None:
        journal, engine = self._journal, self._engine
        if isinstance(action, Read):
            batches = await journal.batches(action.incarnation, action.first, action.last)
            self._do(engine.read(action, batches))
        elif isinstance(action, Record):
            await self._records.put(action)
            for _, verdict in action.verdicts:
                self._on_verdict(verdict)
        elif isinstance(action, Void):
            await journal.void(action.incarnation, action.sequence)
            self._do(engine.voided(action.incarnation, action.sequence))
        else:
            why = (
                "it was left before, and central would wait for what is no longer in it"
                if engine.streams[action.incarnation].left
                else "another process used it: is this agent's journal a copy?"
            )
            log.warning("events are entered into another incarnation", of=action.incarnation, reason=why)
            await self._records.join()  # what is settled stays behind
            self._do(engine.reentered(await journal.reenter(action.incarnation), time.monotonic()))

    # --- state ---------------------------------------------------------------------------------------------

    def _new_state(self, status: "messages.Status") -> State:
        return State(
            status=status,
            connection=self._connection,
            incarnation=self._journal.incarnation,
            site=self._site,
            queued=self._journal.queued,
            oldest_queued_at=self._journal.oldest_queued_at,
            devices=self._devices(),
        )

    def _publish_state(self, state: State) -> None:
        if state != self._state and self._link.publish(
            messages.agent_topic(self._agent, "state"), messages.encode(state), retain=True
        ):
            self._state = state


async def _insist(ask: Callable[[], Awaitable[Result]]) -> Result:
    """Ask the journal until it does this: whatever is wrong with its disk is told to people, and mended there."""
    while True:
        try:
            return await ask()
        except JournalError as error:
            log.error("the journal cannot do this now; trying again", error=str(error))
            await asyncio.sleep(RETRY_S)


_OWN_TOPICS: tuple[messages.AgentTopic, ...] = ("acks", "reference", "tasks", "commands")

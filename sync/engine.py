"""The agent's side of the protocol, without I/O: what to say, what to send again, what a verdict changes.

The engine is told what happened (`connected`, `appended`, `received_ack`, `read`, `tick`) and answers with what to
do: publish a payload, read events from the journal, write down what central said. Time comes in as monotonic
seconds, randomness as a function; so the same code runs in the agent and in a simulation.

The idea that makes the rest obvious: for each incarnation the engine keeps two sets of sequences. `lacking` are
the events without a verdict in the present history; `todo` are those of them that are not on their way. Sending
moves a sequence out of `todo`, a verdict takes it out of both, a new hello puts all that is lacking back into
`todo`. Nothing else decides what is sent. Source of the rules: docs/contract.md, "What an agent does".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Final

from msgspec import UNSET, UnsetType

from sync import messages
from sync.messages import Ack, Batch, Hello, ListedIncarnation, Verdict
from sync.stream import Stream

HELLO_FIRST_S: Final = 1.0  # rule 1: repeat an unanswered hello after 1 s …
HELLO_MOST_S: Final = 60.0  # … doubling to 60 s
STALL_FIRST_S: Final = 5.0  # rule 2: nothing has moved for 5 s …
STALL_MOST_S: Final = 60.0  # … doubling to 60 s
PERIODIC_S: Final = 300.0  # rule 1: a new hello at least every 5 minutes
PERIODIC_JITTER: Final = 0.2  # said up to 20 % earlier, so that agents do not come in step
ASK_S: Final = 5.0  # what central told and could not be used causes at most one hello in so long
FOREIGN_S: Final = 1.0  # acks of another history cause at most one hello a second
READ_EVENTS: Final = 1000  # events read from the journal at once
# A batch that is not full waits for company while so many messages are unanswered: what comes faster than central
# answers then comes in fewer, larger messages, and costs it less.
MESSAGES_ALONE: Final = 4
MOST_IN_FLIGHT: Final = 10_000  # whatever window central grants: bounds the ids kept in memory


# --- what the engine asks for ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this payload on the agent's own topic of that kind, QoS 1."""

    kind: messages.AgentTopic
    payload: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """Read events `first … last` of an incarnation from the journal and hand them to `read`."""

    incarnation: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Record:
    """Write down what central said. In this order, in one transaction."""

    history: str | None = None
    """The new history, when it changed."""
    forget_above: tuple[tuple[str, int], ...] = ()
    """(incarnation, sequence): verdicts above it belong to a history that is gone."""
    streams: tuple[tuple[str, int, int, bool], ...] = ()
    """(incarnation, acked, safe, answered) as they are now."""
    verdicts: tuple[tuple[str, Verdict], ...] = ()


def joined(records: Sequence[Record]) -> list[Record]:
    """The same in fewer records: what follows another is one with it, unless something is to be forgotten before."""
    groups: list[list[Record]] = []
    for record in records:
        if not groups or record.history is not None or record.forget_above:
            groups.append([])
        groups[-1].append(record)
    return [
        replace(
            group[0],
            streams=tuple(chain.from_iterable(one.streams for one in group)),
            verdicts=tuple(chain.from_iterable(one.verdicts for one in group)),
        )
        for group in groups
    ]


@dataclass(frozen=True, slots=True)
class Void:
    """Central cannot read this event: put a `void` in its place, then call `voided`."""

    incarnation: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Reenter:
    """This incarnation was forked: start a new one and enter its unsettled events there. Or it was left before, and
    has holes since: what lacks a verdict in those is entered into the current one. Then call `reentered`.
    """

    incarnation: str


Action = Publish | Read | Record | Void | Reenter


class Engine:
    """One agent's conversation with central.

    Args:
        agent, site, software: who is speaking, as in hello.
        history: the history the journal's verdicts belong to; None before the first answer ever.
        streams: what the journal holds, oldest first, the current incarnation last.
        new_nonce: a fresh nonce at each call.
        random: a number in [0, 1) at each call, for jitter.
    """

    def __init__(
        self,
        *,
        agent: str,
        site: str,
        software: str,
        history: str | None,
        streams: Sequence[Stream],
        new_nonce: Callable[[], str],
        random: Callable[[], float],
    ) -> None:
        self.agent, self.site, self.software = agent, site, software
        self.history = history
        self.reference: int | None = None
        self.takes: list[messages.TaskType] | UnsetType = UNSET
        self.streams = {stream.incarnation: stream for stream in streams}
        self.current = streams[-1].incarnation
        self.window = 0
        self.online = False
        self._new_nonce, self._random = new_nonce, random
        self._nonce: str | None = None
        self._listed: tuple[str, ...] = ()
        self._batches: dict[str, tuple[str, int, int]] = {}
        self._latest: list[tuple[str, int]] = []
        """(incarnation, last sequence) of the last MESSAGES_ALONE messages, or of those that are unanswered."""
        self._reading: Read | None = None
        self._reentering = False
        self._early: dict[str, int] = {}
        self._history_changed = False
        self._hello_at = self._periodic_at = self._moved_at = self._said_at = 0.0
        self._hello_s, self._stall_s = HELLO_FIRST_S, STALL_FIRST_S

    # --- what others may ask -----------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Events that lack a verdict."""
        return sum(stream.lacking.total for stream in self.streams.values())

    @property
    def oldest(self) -> tuple[str, int] | None:
        """(incarnation, sequence) of the oldest event that lacks a verdict."""
        for stream in self.streams.values():
            if run := stream.lacking.first_run():
                return stream.incarnation, run[0]
        return None

    @property
    def answered(self) -> bool:
        """Central has answered the latest hello for every incarnation that it lists."""
        return self._nonce is not None and not self._unanswered()

    # --- what happened -----------------------------------------------------------------------------

    def connected(self, now: float) -> list[Action]:
        """The subscription to the agent's own topics is confirmed."""
        self.online, self._stall_s = True, STALL_FIRST_S
        return self._hello(now)

    def disconnected(self) -> None:
        """The connection is gone, and with it whatever was on its way."""
        self.online, self._nonce = False, None
        self._reading = None

    def appended(self, incarnation: str, last: int, now: float) -> list[Action]:
        """Events up to `last` of that incarnation are durable."""
        if incarnation not in self.streams:
            self._early[incarnation] = last  # the journal has begun it; `reentered` is still to come
            return []
        stream = self.streams[incarnation]
        if not self.queued:
            self._moved_at = now
        stream.lack(stream.last + 1, last)
        stream.last = max(stream.last, last)
        return self._send()

    def ask(self, now: float) -> list[Action]:
        """What central told beside acks cannot be used: a hello says what this agent has."""
        if not self.online:
            return []
        if now - self._said_at >= ASK_S:
            return self._hello(now, keep_sending=True)
        self._periodic_at = min(self._periodic_at, self._said_at + ASK_S)  # not dropped: a little later
        return []

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        if not self.online:
            return []
        unanswered = self._unanswered()
        # One incarnation that is never answered must not keep the others from being sent again.
        waiting = any(stream.may_send and stream.lacking for stream in self.streams.values())
        if now >= self._moved_at + self._stall_s and (waiting if unanswered else self.queued):
            self._stall_s = min(self._stall_s * 2, STALL_MOST_S)
            return self._hello(now)
        # Once its answers have changed the history, the same hello can learn of no other one.
        if unanswered and not (self._history_changed and now >= self._periodic_at):
            return self._repeat_hello(now) if now >= self._hello_at else []
        return self._hello(now, keep_sending=not unanswered) if now >= self._periodic_at else []

    def read(self, asked: Read, batches: Sequence[Batch]) -> list[Action]:
        """The journal's answer to `asked`: what it holds there, in order.

        What is missing among them is no longer held, and nobody waits for it.
        """
        if asked is not self._reading:
            return []
        self._reading = None
        stream = self.streams[asked.incarnation]
        begins = batches[0].first if batches else asked.last + 1
        if begins > asked.first and not stream.left:
            # It was let go of, and nobody has told: the next hello does.
            stream.first_kept = max(stream.first_kept, begins)
        actions: list[Action] = []
        following, narrow = asked.first, False
        for batch in batches:
            stream.settle_run(following, batch.first - 1)
            following = batch.last + 1
            if not stream.todo.covers(batch.first, batch.last):
                continue  # part of it was settled while it was read; the rest is asked for again
            narrow = narrow or batch.last - batch.first >= self._room()
            if narrow:
                continue  # central has narrowed the window meanwhile, and nothing overtakes what has to wait
            stream.sent(batch)
            self._batches[batch.name] = (stream.incarnation, batch.first, batch.last)
            self._latest = [*self._latest[1 - MESSAGES_ALONE :], (stream.incarnation, batch.last)]
            actions.append(Publish("events", batch.payload))
        stream.settle_run(following, asked.last)
        self._forget_batches()
        return actions + self._send()

    def received_ack(self, ack: Ack, now: float) -> list[Action]:
        """Central said how far it has come."""
        if self._reentering:
            return []  # the journal will tell what it held before this; the hello that follows asks for all of it
        if ack.problem == "unreadable":
            return self._unreadable(ack)
        fresh = ack.nonce is not None and ack.nonce == self._nonce
        stream = self.streams.get(ack.incarnation or "")
        if ack.history != self.history and (not fresh or stream is None or self._history_changed):
            return self._ask_for_history(now)
        if stream is None:
            return []
        changed = ack.history != self.history
        forget = self._change_history(ack, stream) if changed else ()
        before = (stream.acked, stream.safe, stream.answered)
        moved = changed or ack.acked > stream.acked
        if fresh and not stream.echoed:
            forget += self._set_acked(stream, ack.acked)
            if not stream.may_send:  # else it was asked beside the sending, and nothing moves by that
                self._moved_at = now
            stream.echoed = stream.answered = stream.may_send = True
        else:
            stream.acked = max(stream.acked, ack.acked)
        if fresh or not stream.left:  # of a left one it tells where verdicts end, until an answer says less
            stream.safe = min(ack.safe, ack.acked)  # it can only keep what it has
        self.window = ack.window
        verdicts = stream.asked_for(ack.verdicts)
        if forked := ack.problem == "fork" and not stream.left:
            # What is in conflict is entered elsewhere. Until it was, also by the next life of this agent, it lacks a
            # verdict.
            verdicts = [verdict for verdict in verdicts if verdict.outcome != "conflict"]
        stream.settle([verdict.sequence for verdict in verdicts])
        if moved or verdicts:
            self._moved_at, self._stall_s = now, STALL_FIRST_S
        actions: list[Action] = []
        if forget or verdicts or before != (stream.acked, stream.safe, stream.answered):
            actions.append(
                Record(
                    history=ack.history if changed else None,
                    forget_above=forget,
                    streams=((stream.incarnation, stream.acked, stream.safe, stream.answered),),
                    verdicts=tuple(zip(repeat(stream.incarnation), verdicts, strict=False)),
                )
            )
        holes = (stream.left and stream.lacking) or any(self.streams[name].left for name, _ in forget)
        if forked or holes:
            self._reentering = True
            left = (one.incarnation for one in self.streams.values() if one.left)
            return [*actions, Reenter(stream.incarnation if forked else next(left))]
        return actions + self._send()

    def voided(self, incarnation: str, sequence: int) -> list[Action]:
        """The event's place now holds a `void`; it is sent again."""
        stream = self.streams[incarnation]
        if stream.voiding == sequence:
            stream.voiding = None
        return self._send()

    def pruned(self, incarnation: str, first_kept: int) -> None:
        """The journal let go of what is below: settled long ago, unless central was set back meanwhile. Then the next
        hello tells it what is lost.
        """
        stream = self.streams[incarnation]
        stream.settle_run(stream.first_kept, first_kept - 1)
        stream.first_kept = max(stream.first_kept, first_kept)

    def reentered(self, streams: Sequence[Stream], now: float) -> list[Action]:
        """The journal has entered them; this is what it holds now, the current incarnation last."""
        before, self.streams = self.streams, {stream.incarnation: stream for stream in streams}
        self.current = streams[-1].incarnation
        if self.current in before:  # it stayed, and may have grown since the journal looked
            self._early[self.current] = before[self.current].last
        for incarnation, last in self._early.items():
            stream = self.streams[incarnation]
            stream.lack(stream.last + 1, last)
            stream.last = max(stream.last, last)
        self._early.clear()
        self._reentering, self._reading = False, None
        self._batches.clear()
        return self._hello(now) if self.online else []

    # --- hello ---------------------------------------------------------------------------------------

    def _unanswered(self) -> list[str]:
        return [name for name in self._listed if name in self.streams and not self.streams[name].echoed]

    def _hello(self, now: float, *, keep_sending: bool = False) -> list[Action]:
        """A hello with a fresh nonce. Unless it is the periodic one, nothing is sent until it is answered, and
        what was on its way counts as lost.
        """
        self._nonce = self._new_nonce()
        self._hello_s, self._history_changed = HELLO_FIRST_S, False
        self._periodic_at = now + PERIODIC_S * (1 - PERIODIC_JITTER * self._random())
        for stream in self.streams.values():
            stream.echoed = False
        if not keep_sending:
            for stream in self.streams.values():
                stream.may_send = False
                stream.put_back()
            self._reading, self._moved_at = None, now
        listed = self._to_list()
        self._listed = tuple(stream.incarnation for stream in listed)
        return self._repeat_hello(now)

    def _repeat_hello(self, now: float) -> list[Action]:
        assert self._nonce is not None
        self._said_at, self._hello_at = now, now + self._hello_s
        self._hello_s = min(self._hello_s * 2, HELLO_MOST_S)
        hello = Hello(
            agent=self.agent,
            site=self.site,
            nonce=self._nonce,
            history=self.history,
            reference=self.reference,
            software=self.software,
            tasks=self.takes,
            incarnations=[
                ListedIncarnation(
                    incarnation=stream.incarnation,
                    first_kept=stream.first_kept,
                    last_sequence=stream.last,
                    acked=stream.acked,
                )
                for stream in (self.streams[name] for name in self._listed if name in self.streams)
            ],
        )
        return [Publish("hello", messages.encode(hello))]

    def _to_list(self) -> list[Stream]:
        """Every incarnation that is still kept, an empty one until it was answered; when they are too many,
        those that need something come first. Oldest first, the current one last.
        """
        kept = [
            stream
            for stream in self.streams.values()
            if stream.incarnation != self.current
            and (stream.first_kept <= stream.last or not (stream.answered or stream.left))
        ]
        kept.sort(key=lambda stream: stream.answered and not stream.lacking)
        chosen = {stream.incarnation for stream in kept[: messages.MAX_INCARNATIONS - 1]}
        return [s for s in self.streams.values() if s.incarnation in chosen or s.incarnation == self.current]

    # --- what an answer changes -----------------------------------------------------------------------

    def _ask_for_history(self, now: float) -> list[Action]:
        """Only an answer to our latest hello may change the history, and only once: ask (again)."""
        if self.online and now - self._said_at >= FOREIGN_S:
            return self._hello(now)
        self._periodic_at = min(self._periodic_at, self._said_at + FOREIGN_S)  # not dropped: a little later
        return []

    def _change_history(self, ack: Ack, answered: Stream) -> tuple[tuple[str, int], ...]:
        """Rule 3: forget what the old history said above `safe`. Returns what the journal is to forget."""
        self.history, self._history_changed = ack.history, True
        forget = []
        for stream in self.streams.values():
            floor = min(stream.safe, ack.safe) if stream is answered else stream.safe
            stream.acked = 0
            stream.echoed = stream.may_send = stream.answered = False
            if not stream.left:
                stream.lack(max(floor + 1, stream.first_kept), stream.last)
            stream.put_back()
            forget.append((stream.incarnation, floor))
        self._reading = None
        return tuple(forget)

    def _set_acked(self, stream: Stream, acked: int) -> tuple[tuple[str, int], ...]:
        """An answer may lower `acked`, also below what was `safe` before a restore: central applies strictly at
        `acked + 1`, so it has nothing of what is above, whatever it once said. Returns what the journal is to forget.
        """
        lowered = acked < max(stream.acked, stream.safe)
        stream.acked = acked
        stream.ask_again(acked)
        again = lowered if stream.left else stream.lack_again(max(acked + 1, stream.first_kept), stream.last)
        return ((stream.incarnation, acked),) if again else ()

    def _unreadable(self, ack: Ack) -> list[Action]:
        """Rule 5: exactly that batch again, singly; a single event is replaced by a void."""
        if not isinstance(ack.payload, str) or ack.payload not in self._batches:
            return []
        incarnation, first, last = self._batches.pop(ack.payload)
        stream = self.streams[incarnation]
        if first == last and (first in stream.voided or first not in stream.lacking):
            return []
        # Whatever was sent after it has met a gap, and is sent again.
        stream.put_back()
        self._reading = None
        if first == last:
            stream.voided.add(first)
            stream.voiding = first
            return [Void(incarnation, first)]
        stream.single.update(n for n in range(first, last + 1) if n in stream.lacking)
        return self._send()

    def _forget_batches(self) -> None:
        """Keep the names of messages that may still be called unreadable, and a bound on them. Central has read those
        whose last event has its verdict.
        """
        if len(self._batches) > READ_EVENTS:
            self._batches = {
                payload: (incarnation, first, last)
                for payload, (incarnation, first, last) in self._batches.items()
                if last in self.streams[incarnation].lacking
            }
        while len(self._batches) > MOST_IN_FLIGHT:
            del self._batches[next(iter(self._batches))]

    # --- sending -----------------------------------------------------------------------------------------

    def _room(self) -> int:
        """How many more events may be on their way."""
        return min(self.window, MOST_IN_FLIGHT) - sum(stream.in_flight for stream in self.streams.values())

    def _messages_in_flight(self) -> int:
        """How many of the latest messages wait for an answer."""
        self._latest = [
            (name, last)
            for name, last in self._latest
            if name in self.streams and self.streams[name].is_in_flight(last)
        ]
        return len(self._latest)

    def _send(self) -> list[Action]:
        """Ask for the next events, if the window has room: oldest incarnation first, lowest sequence first."""
        room = self._room()
        if not self.online or self._reading is not None or self._reentering or room <= 0:
            return []
        for stream in self.streams.values():
            run = stream.todo.first_run()
            waits = stream.left or not stream.may_send or stream.voiding is not None
            if run is not None and not waits and not (stream.single and stream.in_flight):
                full = run[1] - run[0] + 1 >= min(messages.BATCH_EVENTS, room)
                if not full and self._messages_in_flight() >= MESSAGES_ALONE:
                    return []
                most = 1 if stream.single else min(room, READ_EVENTS)
                self._reading = Read(stream.incarnation, run[0], min(run[1], run[0] + most - 1))
                return [self._reading]
        return []

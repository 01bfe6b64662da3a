"""What central decides about an agent's stream, without I/O: which event is booked, which was known, what to answer.

The idea: a place is an (incarnation, sequence), and whoever took it first holds it. `acked` is the highest n such
that all places 1…n are held or known to be lost. An id is known once it was booked, wherever that was. From these
three (acked, holders, known ids) every answer follows. Source of the rules: docs/contract.md, "What a central does".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from sync.messages import Event, Hello, ListedIncarnation

Action = Literal["book", "known", "conflict", "fork"]


class Arrived(NamedTuple):
    """An event as it came. `identity` is what it is known by: its id, which a void shares with what it replaces."""

    sequence: int
    identity: str
    content: str
    """The hash of its content."""
    void: bool = False


class Known(NamedTuple):
    """What is booked under an id."""

    content: str
    void: bool = False


class Step(NamedTuple):
    """What to do with one event of the batch."""

    action: Action
    takes_place: bool
    """It is the first at its sequence and holds it from now on."""


class Ruling(NamedTuple):
    """What to do with a batch: one step for each event that is answered; the rest lies above a gap."""

    steps: tuple[Step, ...]
    acked: int
    forked: bool


def judge_batch(
    acked: int, holders: Mapping[int, str], known: Mapping[str, Known], events: Sequence[Arrived]
) -> Ruling:
    """Rules 1 to 3: strictly in sequence; an id is one event, a place is one id, the first of each stays."""
    holding, knowing = dict(holders), dict(known)
    steps: list[Step] = []
    for event in events:
        if event.sequence > acked + 1:
            break
        holder = holding.get(event.sequence)
        booked = knowing.get(event.identity)
        if booked is not None:
            action: Action = "known" if _same(booked, event) else "conflict"
        else:
            action = "book" if holder is None else "fork"
        steps.append(Step(action, takes_place=holder is None))
        if holder is None:
            holding[event.sequence] = event.identity
        if action == "book":
            knowing[event.identity] = Known(event.content, event.void)
        acked = max(acked, event.sequence)
    forked = any(holding[event.sequence] != event.identity for event in events[: len(steps)])
    return Ruling(tuple(steps), acked, forked)


def _same(booked: Known, event: Arrived) -> bool:
    """A void and what it replaces are one event, whatever either says."""
    return booked.void or event.void or booked.content == event.content


@dataclass(frozen=True, slots=True)
class Previous:
    """What event 1 says of the life before: `data.previous`."""

    incarnation: str
    last_sequence: int


def previous_of(event: Event) -> Previous | None:
    """The predecessor that event 1 names; None where it names none, or nothing that can be read."""
    told = event.data.get("previous")
    if event.number != 1 or not isinstance(told, dict):
        return None
    incarnation, last = told.get("incarnation"), told.get("last_sequence")
    if not isinstance(incarnation, str) or not isinstance(last, int) or isinstance(last, bool):
        return None
    return Previous(incarnation, last)


def rolled_back(last_sequence: int, acked: int) -> bool:
    """A past incarnation ends below what central has of it: its agent was set back to an earlier state."""
    return last_sequence < acked


RETURNS: Final = 2  # one may be a message that came late; two lives that take turns go on doing so


def returned(speaks: str, current: str | None, first_seen: Mapping[str, int]) -> bool:
    """An older life of an agent speaks after a younger one: two processes share its id, or its message came late.
    `first_seen` (any rising number) of the incarnations known.
    """
    if current is None or speaks not in first_seen or current not in first_seen:
        return False
    return first_seen[speaks] < first_seen[current]


def two_speak(returns: int) -> bool:
    """So many times since a new life began an older one has spoken after a younger one: nothing came late there."""
    return returns >= RETURNS


def connected_again(*, older: bool, connection: int, highest: int) -> bool:
    """Whether an older life has connected after a younger one: in one journal the number rises with every connect, so
    what merely came late has a lower one. `highest`: of the states seen so far.
    """
    return older and connection > highest


def safe_part(acked: int, backed_up: int, *, backups: bool) -> int:
    """Rule 5: what central would still have after its worst restore. Without backups all of it is called safe."""
    return min(acked, backed_up) if backups else acked


@dataclass(frozen=True, slots=True)
class Lost:
    """Places `first … last` of an incarnation that its agent no longer has and central never got."""

    incarnation: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a hello shows. Nothing in it is refused; every listed incarnation is answered."""

    new_history: Literal["rolled_back", "unknown_history"] | None
    lost: tuple[Lost, ...]
    rolled_back: tuple[ListedIncarnation, ...]
    """Past incarnations that end below central's `acked`."""
    returned: bool
    """An older life of this agent speaks after a younger one; see `two_speak`."""


def judge_hello(
    hello: Hello,
    *,
    history: str,
    histories: frozenset[str],
    acked: Mapping[str, int],
    first_seen: Mapping[str, int],
    current: str | None,
) -> Greeting:
    """Rules 3 and 4. `acked` and `first_seen` (any rising number) of the incarnations known; `current` the one
    that the agent's last hello named as its own.
    """
    own = {listed.incarnation: acked.get(listed.incarnation, 0) for listed in hello.incarnations}
    cause: Literal["rolled_back", "unknown_history"] | None = None
    if hello.history is not None and hello.history not in histories:
        cause = "unknown_history"
    elif hello.history == history and any(one.acked > own[one.incarnation] for one in hello.incarnations):
        cause = "rolled_back"
    lost = tuple(
        Lost(one.incarnation, own[one.incarnation] + 1, last)
        for one in hello.incarnations
        if (last := min(one.first_kept - 1, one.last_sequence)) > own[one.incarnation]
    )
    back = tuple(
        one for one in hello.incarnations[:-1] if rolled_back(one.last_sequence, own[one.incarnation])
    )
    again = returned(hello.incarnations[-1].incarnation, current, first_seen)
    return Greeting(cause, lost, back, again)

"""What travels between agents and central, as values: topics, payloads, limits.

Every payload of the contract is one frozen struct; decoding checks types and bounds and raises
`Unreadable` with the place and the reason. Nothing here does I/O or knows who sends what when.
Source of every field and limit: docs/contract.md, "MQTT" and "Messages".
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import msgspec

PREFIX = "tallyman/v1"
MAX_UPWARD_BYTES = 64 * 1024  # a payload from an agent
MAX_DOWNWARD_BYTES = 256 * 1024  # a payload from central
MAX_EVENT_BYTES = 16 * 1024  # one event, checked before anyone sees OK
# What an agent records: one that is entered elsewhere, as the first of an incarnation, names the one before it too.
MAX_RECORDED_BYTES = MAX_EVENT_BYTES - 128
BATCH_EVENTS = 100  # of ours in one message: more gain nothing
MAX_INCARNATIONS = 200  # in one hello
MAX_NUMBER = 2**53 - 1  # of any count or sequence: exact in every JSON reader (RFC 8259 §6)

# `$(?!\n)`: in Python `$` also matches before a last newline; so written it means the end everywhere.
AGENT_ID = r"^[a-z0-9-]{1,32}$(?!\n)"
INCARNATION_ID = r"^[0-9a-f]{32}$(?!\n)"

AgentId = Annotated[str, msgspec.Meta(pattern=AGENT_ID)]
IncarnationId = Annotated[str, msgspec.Meta(pattern=INCARNATION_ID)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Status = Literal["online", "offline"]
Outcome = Literal["accepted", "discrepant", "rejected", "conflict"]
TaskType = Literal["pick", "count", "resolve"]


class Unreadable(Exception):
    """This payload is not what the contract says; the text names the place and the reason."""


class Message(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=False):
    """A payload of the contract. Unknown members are kept out and ignored, so that it may grow."""


# --- agent → central ---------------------------------------------------------------------------


class ListedIncarnation(Message, frozen=True, kw_only=True):
    """One life of an agent process, as its journal still keeps it."""

    incarnation: IncarnationId
    first_kept: Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
    """The lowest sequence the journal still holds; `last_sequence + 1` when it holds none."""
    last_sequence: Count
    acked: Count
    """The highest acknowledgement known in the history that the hello names."""


class Hello(Message, frozen=True, kw_only=True):
    """Who the agent is and what its journal holds; central answers each listed incarnation."""

    agent: AgentId
    site: Name
    nonce: Name
    history: Name | None
    reference: int | None
    """The version of the reference data that the agent has."""
    software: str
    tasks: list[TaskType] | msgspec.UnsetType = msgspec.UNSET
    """The types of tasks that are worked on at its stations; left out: all."""
    incarnations: Annotated[list[ListedIncarnation], msgspec.Meta(min_length=1, max_length=MAX_INCARNATIONS)]


class Device(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What a port says of itself."""

    name: str
    driver: str
    port: str
    status: Literal["connecting", "online", "silent", "failed"]
    reason: str | None = None
    since: str


class State(Message, frozen=True, kw_only=True):
    """The agent's condition, retained; its last will says `offline`."""

    status: Status
    connection: Count
    """Rises with every connect; a message with a lower one is ignored."""
    incarnation: IncarnationId
    site: Name
    queued: Count
    oldest_queued_at: str | None
    devices: list[Device]


class Event(msgspec.Struct, kw_only=True, omit_defaults=False):
    """A CloudEvents 1.0 envelope: one thing that happened to stock, at its place in a stream."""

    specversion: Literal["1.0"] = "1.0"
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    datacontenttype: str = "application/json"
    incarnation: IncarnationId
    sequence: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{20}$(?!\n)")]
    # From here on in the order of the journal's `Draft`: the journal joins what its place says and what it says.
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    type: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    time: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    data: dict[str, Any]
    subject: str | None = None

    @property
    def number(self) -> int:
        """The sequence as an integer."""
        return int(self.sequence)


class Reply(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a command."""

    id: Name
    ok: bool
    result: dict[str, Any] | None = None
    error: str | None = None


# --- central → agent ---------------------------------------------------------------------------


class Verdict(Message, frozen=True, kw_only=True, omit_defaults=True, gc=False):  # it holds no containers
    """What became of one event, for ever within a history."""

    sequence: Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
    id: str
    outcome: Outcome
    duplicate: bool = False
    reason: str | None = None
    movement: Count | None = None


class Ack(Message, frozen=True, kw_only=True, omit_defaults=False):
    """How far central has come with one incarnation, and the verdicts of what was just sent."""

    history: str
    nonce: str | None
    """Echoes the hello that it answers; null otherwise."""
    incarnation: IncarnationId | None
    """Null only beside `unreadable`, when the message did not say."""
    acked: Count
    safe: Count
    window: Count
    verdicts: list[Verdict]
    problem: Literal["unreadable", "fork"] | msgspec.UnsetType = msgspec.UNSET
    payload: str | msgspec.UnsetType = msgspec.UNSET
    """SHA-256 in hex of the message that was unreadable."""


class Gtin(Message, frozen=True, kw_only=True):
    """A trade item number and how many base units one label of it stands for."""

    gtin: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{8,14}$(?!\n)")]
    quantity: Annotated[int, msgspec.Meta(ge=1)]


class Item(Message, frozen=True, kw_only=True):
    """What can be counted."""

    sku: Name
    name: str
    gtins: list[Gtin]
    tracking: Literal["none", "lot", "serial"] = "none"
    scale: Annotated[int, msgspec.Meta(ge=0, le=6)] = 0


class Location(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Where things can be."""

    id: Name
    site: Name
    zone: str = ""
    walk_order: int = 0
    gln: str | None = None


class Operator(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A person at a station."""

    id: Name
    name: str
    badge: str
    pin_hash: str | None = None
    roles: list[str] = []


class DocumentLine(Message, frozen=True, kw_only=True):
    """So many of an item."""

    sku: Name
    quantity: Annotated[int, msgspec.Meta(ge=1)]


class Document(Message, frozen=True, kw_only=True, omit_defaults=True):
    """An open purchase order, order, transfer or return, as a station needs it."""

    id: Name
    type: Literal["purchase_order", "order", "transfer", "return"]
    site: Name
    lines: list[DocumentLine]
    supplier: str | None = None
    channel: str | None = None


class Reference(Message, frozen=True, kw_only=True, tag_field="kind", tag="snapshot"):
    """One part of a full snapshot of the reference data. Parts count from 1."""

    version: Count
    as_of: Count
    """The last movement number that central had booked."""
    part: Annotated[int, msgspec.Meta(ge=1)]
    parts: Annotated[int, msgspec.Meta(ge=1)]
    items: list[Item]
    locations: list[Location]
    operators: list[Operator]
    documents: list[Document]


class Upsert(Message, frozen=True, kw_only=True, omit_defaults=True):
    """New or changed reference data."""

    items: list[Item] = []
    locations: list[Location] = []
    operators: list[Operator] = []
    documents: list[Document] = []


class Remove(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Reference data that is gone, by id."""

    items: list[Name] = []
    locations: list[Name] = []
    operators: list[Name] = []
    documents: list[Name] = []


class ReferenceDelta(Message, frozen=True, kw_only=True, tag_field="kind", tag="delta"):
    """What changed in the reference data between two versions."""

    from_: Count = msgspec.field(name="from")
    """The version that this changes; an agent with another one drops it and says a new hello."""
    version: Count
    upsert: Upsert
    remove: Remove


class Task(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Work for a person at the agent's site. `quantity` is the whole task, not what is left of it."""

    task: Name
    type: TaskType
    lease_until: str | None
    status: Literal["open", "cancelled"]
    document: str | None
    sku: str | None
    quantity: Count
    from_location: str | None
    lot: str | None = None
    text: str | None = None
    holder: str | None = None
    """The other agent that it is with: it is open, and for this agent as good as cancelled."""


class Tasks(Message, frozen=True, kw_only=True):
    """Tasks by their ids: the newer `as_of` replaces what the agent has under the same id."""

    as_of: Count
    tasks: list[Task]
    history: str | msgspec.UnsetType = msgspec.UNSET
    """The one that `as_of` counts in."""
    lease_s: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    """Seconds from now until the leases end that this message tells of: for agents whose clock is wrong."""
    part: Annotated[int, msgspec.Meta(ge=1)] | msgspec.UnsetType = msgspec.UNSET
    """Of all that is open: what none of the parts, told one after the other, mentions is over."""
    parts: Annotated[int, msgspec.Meta(ge=1)] | msgspec.UnsetType = msgspec.UNSET


class Command(Message, frozen=True, kw_only=True):
    """Something central asks of the agent's program."""

    id: Name
    command: Literal["identify", "reload", "diagnostics"]
    arguments: dict[str, Any]


# --- bytes -------------------------------------------------------------------------------------


class _Named(msgspec.Struct, gc=False):
    id: str


Decoded = TypeVar("Decoded")
_encoder = msgspec.json.Encoder()
_events = msgspec.json.Decoder(list[Event])
_reference: msgspec.json.Decoder[Reference | ReferenceDelta] = msgspec.json.Decoder(
    Reference | ReferenceDelta
)
_named = msgspec.json.Decoder(list[_Named])


def encode(message: Message | Event) -> bytes:
    """The message as JSON in UTF-8."""
    return _encoder.encode(message)


def decode(payload: bytes, as_type: type[Decoded], *, limit_bytes: int = MAX_DOWNWARD_BYTES) -> Decoded:
    """The value in `payload`.

    Raises:
        Unreadable: it is too large, no JSON, or not of that shape.
    """
    check_size(payload, limit_bytes)
    try:
        return msgspec.json.decode(payload, type=as_type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not a {as_type.__name__}: {error}") from error


def decode_reference(payload: bytes) -> Reference | ReferenceDelta:
    """A part of a snapshot, or a delta.

    Raises:
        Unreadable: it is neither.
    """
    check_size(payload, MAX_DOWNWARD_BYTES)
    try:
        return _reference.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"no reference data: {error}") from error


def decode_batch(payload: bytes) -> list[Event]:
    """The events of one batch: at least one, all of one incarnation, their sequences contiguous.

    Raises:
        Unreadable: for any of these reasons, so that the sender can send them singly.
    """
    check_size(payload, MAX_UPWARD_BYTES)
    try:
        events = _events.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not a batch of events: {error}") from error
    if not events:
        raise Unreadable("an empty batch")
    first = events[0]
    for offset, event in enumerate(events):
        if event.incarnation != first.incarnation:
            raise Unreadable("events of two incarnations in one batch")
        if event.number != first.number + offset or not 1 <= event.number <= MAX_NUMBER:
            raise Unreadable(f"sequence {event.number} does not follow within the batch")
    return events


def join_batch(texts: Iterable[bytes]) -> bytes:
    """The batch that holds these events, each already JSON."""
    return b"[" + b",".join(texts) + b"]"


@dataclass(frozen=True, slots=True)
class Batch:
    """Neighbouring events of one incarnation, as they are published together."""

    first: int
    """The sequence of the first; the others follow it."""
    ids: Sequence[str]
    payload: bytes
    name: str
    """What central calls it when it cannot read it."""

    @property
    def last(self) -> int:
        """The sequence of the last."""
        return self.first + len(self.ids) - 1


def cut_batches(rows: Sequence[tuple[int, bytes]]) -> list[Batch]:
    """The batches of these events: (sequence, event as JSON), in order, with holes or without."""
    batches: list[Batch] = []
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end][0] != rows[end - 1][0] + 1:
            texts = [text for _, text in rows[start:end]]
            for count in split_batches(texts, limit_bytes=MAX_UPWARD_BYTES, limit_count=BATCH_EVENTS):
                batches.append(
                    batch_of(rows[start][0], b",".join(text for _, text in rows[start : start + count]))
                )
                start += count
    return batches


def batch_of(first: int, joined: bytes) -> Batch:
    """The batch of neighbouring events, which stand in `joined` with a comma between two."""
    payload = b"[%b]" % joined
    return Batch(first, [one.id for one in _named.decode(payload)], payload, payload_hash(payload))


def split_batches(texts: Sequence[bytes], *, limit_bytes: int, limit_count: int) -> list[int]:
    """How many of `texts` go into each batch, in order, so that none passes either limit."""
    counts: list[int] = []
    size, count = 2, 0
    for length in map(len, texts):
        if count and (count == limit_count or size + length + 1 > limit_bytes):
            counts.append(count)
            size, count = 2, 0
        size += length + (1 if count else 0)
        count += 1
    return [*counts, count] if count else counts


def payload_hash(payload: bytes) -> str:
    """The name of a message in `problem: "unreadable"`: its SHA-256 in hex."""
    return hashlib.sha256(payload).hexdigest()


def check_size(payload: bytes, limit_bytes: int) -> None:
    """Raise `Unreadable` when the payload is larger than the contract allows."""
    if len(payload) > limit_bytes:
        raise Unreadable(f"{len(payload)} bytes, more than the {limit_bytes} that a message may have")


# --- topics ------------------------------------------------------------------------------------

AgentTopic = Literal["hello", "events", "acks", "state", "reference", "tasks", "commands", "replies"]
_AGENT_TOPIC = re.compile(
    rf"{PREFIX}/agents/([a-z0-9-]{{1,32}})/(hello|events|acks|state|reference|tasks|commands|replies)"
)


def agent_topic(agent: str, kind: AgentTopic) -> str:
    """The topic of one agent; `+` as agent subscribes to all of them."""
    return f"{PREFIX}/agents/{agent}/{kind}"


def parse_agent_topic(topic: str) -> tuple[str, str] | None:
    """(agent, kind) of a topic of ours, else None."""
    match = _AGENT_TOPIC.fullmatch(topic)
    return (match[1], match[2]) if match else None


def stock_topic(sku: str) -> str:
    """The retained availability of one SKU; what MQTT or people could misread is percent-encoded."""
    return f"{PREFIX}/stock/{quote(sku, safe='').replace('.', '%2E').replace('~', '%7E')}"


MOVEMENTS_TOPIC = f"{PREFIX}/movements"


def sequence_text(number: int) -> str:
    """A sequence as the CloudEvents extension wants it: twenty digits, so that it sorts as text."""
    return f"{number:020d}"


def event_source(site: str, agent: str) -> str:
    """The CloudEvents source of an agent's events."""
    return f"/sites/{quote(site, safe='')}/agents/{agent}"

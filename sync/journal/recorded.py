"""What goes into the journal, what comes out of it, and why it can refuse."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from sync.messages import MAX_RECORDED_BYTES

# Source, incarnation and sequence, which an event's place adds to what is said in it, need less than 384 bytes.
MAX_BODY_BYTES: Final = MAX_RECORDED_BYTES - 384

_encoder = msgspec.json.Encoder()


class JournalError(Exception):
    """The journal cannot do this; nothing that it already holds is lost. The text says what to do."""


class JournalDamaged(JournalError):
    """The file is no journal any more, or lacks what it had taken: kept as it is, until the operator says a word."""


class JournalBusy(JournalError):
    """More scans are waiting for the disk than the journal admits: nothing was recorded, scan again."""


class EventTooLarge(JournalError):
    """One event is larger than the contract allows: nothing was recorded."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event before it has a place in a stream. The id is minted at capture (`sync.ids.event_id`)."""

    id: str
    type: str
    time: str
    data: dict[str, Any]
    subject: str | None = None


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event that is durable, with central's verdict once there is one."""

    incarnation: str
    sequence: int
    event: Draft
    recorded_ms: int
    outcome: str | None = None
    reason: str | None = None
    movement: int | None = None

    @property
    def recorded_at(self) -> str:
        """When it was committed, by this machine's clock: RFC 3339, UTC."""
        return rfc3339(self.recorded_ms)


def body_of(draft: Draft) -> str:
    """The members of the event that do not depend on its place, as JSON without the first brace: they end the text of
    an `Event`.

    Raises:
        EventTooLarge: the event would be larger than the contract allows.
        JournalError: it cannot be written as JSON.
    """
    try:
        body = _encoder.encode(draft)
    except Exception as error:  # whatever is in it: it is this draft's own fault
        raise JournalError(f"this cannot be written as JSON ({error}). Nothing was recorded") from error
    if len(body) > MAX_BODY_BYTES:
        raise EventTooLarge(
            f"{draft.type} {draft.id}: {len(body)} bytes, more than the {MAX_BODY_BYTES} that can be recorded of one"
            " event. Nothing was recorded"
        )
    return body[1:].decode()


def rfc3339(unix_ms: int) -> str:
    """1763626530123 → 2025-11-20T08:15:30.123Z."""
    return (
        datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )

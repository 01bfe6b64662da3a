"""What goes into the journal, what comes out of it, and why it can refuse."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from sync.messages import Event


class JournalError(Exception):
    """The journal cannot do this; nothing that it already holds is lost. The text says what to do."""


class JournalDamaged(JournalError):
    """The file is no journal any more, or lacks what it had taken: kept as it is, until the operator says a word."""


class JournalBusy(JournalError):
    """More scans are waiting for the disk than the journal admits: nothing was recorded, scan again."""


class EventTooLarge(JournalError):
    """One event is larger than the contract allows: nothing was recorded."""


class Draft(msgspec.Struct, frozen=True):
    """An event before it has a place in a stream. The id is minted at capture (`sync.ids.event_id`)."""

    id: str
    type: str
    time: str
    data: dict[str, Any]
    subject: str | None = None


class Recorded(msgspec.Struct, frozen=True):
    """An event that is durable, with central's verdict once there is one."""

    incarnation: str
    sequence: int
    event: Event
    recorded_ms: int
    outcome: str | None = None
    reason: str | None = None
    movement: int | None = None

    @property
    def recorded_at(self) -> str:
        """When it was committed, by this machine's clock: RFC 3339, UTC."""
        return rfc3339(self.recorded_ms)


def rfc3339(unix_ms: int) -> str:
    """1763626530123 → 2025-11-20T08:15:30.123Z."""
    return (
        datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )

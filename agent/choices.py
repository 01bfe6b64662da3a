"""What was chosen at a station, kept so that a restart goes on at the exact line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agent import files
from agent.passage import Concern
from sync.messages import Document

MOST_PUT_OFF = 200  # lines put off; above, the one put off first comes back


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """One station's."""

    location: str
    """Where goods are booked, or where the picker stands."""
    operator: str | None = None
    document: Document | None = None
    """Whole, because central may close it while goods for it are still being scanned."""
    task: str | None = None
    """The line being picked: it stays until it is done, whatever else arrives."""
    later: tuple[str, ...] = ()
    """Lines put off."""
    finished: str | None = None
    """The newest event of the job before this one."""
    concerns: tuple[Concern, ...] = ()
    """What nobody has looked at yet."""

    def with_changes(self, changes: Mapping[str, Any], *, newest: str | None) -> "Choices":
        """As a workflow's action asks: its members are ours, but for `put_off` and `finished`."""
        plain: dict[str, Any] = dict(changes)
        if plain.pop("finished", False):
            plain["finished"] = newest
        put_off = plain.pop("put_off", None)
        if put_off is not None:
            later = (*(task for task in self.later if task != put_off), put_off)
            plain["later"] = later[-MOST_PUT_OFF:]
        return msgspec.structs.replace(self, **plain)


def load(path: Path, *, location: str, operator: str | None) -> Choices:
    """What the file says, else what the configuration says."""
    return files.load(path, Choices) or Choices(location=location, operator=operator)


def keep(path: Path, choices: Choices) -> None:
    """Make them durable. Raises OSError."""
    files.replace(path, msgspec.json.encode(choices))

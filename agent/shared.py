"""What all stations of one agent share, and what each of them last told a person."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.history import History
from agent.reference import ReferenceData
from agent.smoothing import Smoother
from agent.tasks import Board
from devices.driver import Outcome
from service.texts import Texts
from sync import ids
from sync.journal import Journal


@dataclass(frozen=True, slots=True)
class Shown:
    """The last thing a station told a person."""

    outcome: Outcome
    text: str
    code: str
    event_id: str | None
    at: str
    token: int
    """Rises with each outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all stations of one agent share."""

    site: str
    journal: Journal
    reference: ReferenceData
    board: Board
    history: History
    smoother: Smoother
    """Through which all tags came: it is told what became of each change."""
    texts: Texts
    directory: Path
    """Of the stations' choices."""
    boot: str
    now: Callable[[], float]
    """Unix seconds."""
    random_bytes: ids.RandomBytes
    on_change: Callable[[str, bool], None] = lambda _station, _at_once: None
    """(station, at once): its state is different now."""
    on_outcome: Callable[[str, str | None, Outcome], None] = lambda _station, _device, _outcome: None
    """(station, device, outcome): for the device's own beep, and for counting."""
    gs1_anywhere: frozenset[str] = frozenset()
    """The devices whose codes hold GS1 element strings also where no AIM id says so."""

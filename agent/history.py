"""What this agent has recorded lately, told from its journal: lists, totals, and what was scanned already.

The one idea: nothing here is kept anywhere else. After a restart it is read from the journal's newest events and is
the same as before, so that every line goes on exactly where it stood.

At the bound (KEPT events) the oldest is forgotten, with its part in totals: what a station did that many scans ago
is left to central to judge.
"""

import base64
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from sync.events import event_name
from sync.journal import Draft, Recorded
from sync.messages import Unreadable, Verdict, decode

KEPT: Final = 20_000
LISTED: Final = 200  # for each station
TOLD: Final = frozenset({"discrepant", "rejected", "conflict"})
"""Verdicts that a person should know of."""

Key = TypeVar("Key")


@dataclass(slots=True)
class Entry:
    """One recorded event, as a station shows it."""

    event_id: str
    name: str
    """`received`, `picked`, `corrected` …"""
    data: dict[str, Any]
    recorded_at: str
    before_restart: bool
    verdict: str | None = None
    reason: str | None = None
    undone: bool = False
    job: int = 0

    @property
    def station(self) -> str | None:
        """Where it was scanned."""
        value = self._capture.get("station")
        return value if isinstance(value, str) else None

    @property
    def code(self) -> str:
        """The text of the label."""
        return str(self._capture.get("text", ""))

    @property
    def tag(self) -> bytes | None:
        """The EPC of the tag that was read; None for other scans."""
        try:
            return bytes.fromhex(self._capture["epc"])
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def antenna(self) -> tuple[str, int | None]:
        """The device that read it, and which of its antennas; None: it tells none."""
        device, antenna = self._capture.get("device"), self._capture.get("antenna")
        return str(device), antenna if isinstance(antenna, int) else None

    @property
    def image(self) -> tuple[str, str] | None:
        """The image file it was seen in, and that file's version; None for other scans."""
        source, version = self._capture.get("source"), self._capture.get("version")
        return (source, version) if isinstance(source, str) and isinstance(version, str) else None

    @property
    def _capture(self) -> dict[str, Any]:
        capture = self.data.get("capture")
        return capture if isinstance(capture, dict) else {}

    @property
    def unit_key(self) -> str | None:
        """As `agent.meaning.Meaning.unit_key`."""
        data = self.data
        if "sscc" in data:
            return f"sscc {data['sscc']}"
        return f"serial {data['gtin']} {data['serial']}" if "gtin" in data and "serial" in data else None

    def public(self) -> dict[str, Any]:
        """For the page."""
        data = self.data
        return {
            "event_id": self.event_id,
            "type": self.name,
            "code": self.code,
            "sku": data.get("sku"),
            "gtin": data.get("gtin"),
            "sscc": data.get("sscc"),
            "serial": data.get("serial"),
            "lot": data.get("lot"),
            "quantity": data.get("quantity", 1),
            "unit": data.get("unit", "base"),
            "document": data.get("document"),
            "location": data.get("to_location") or data.get("from_location"),
            "outcome": "ok",
            "verdict": self.verdict,
            "reason": self.reason,
            "at": self.recorded_at,
            "undone": self.undone,
            "before_restart": self.before_restart,
        }


class _Scope(NamedTuple):
    """Within what a unit is the same one when it comes again: a station's job, or (without `job`) a document."""

    name: str
    job: int | None = None


class History:
    """The newest events of one agent. Pure; everything it holds is bounded by `kept`.

    A station's *job* lasts until it is finished; a unit that comes again in a later job is a new scan.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._entries: deque[Entry] = deque()
        self._by_id: dict[str, Entry] = {}
        self._lists: dict[str, deque[Entry]] = {}
        self._jobs: Counter[str] = Counter()
        self._received: dict[str, Counter[str]] = {}
        self._picked: Counter[str] = Counter()
        self._scans: Counter[tuple[str, int, str | None]] = Counter()
        self._units: dict[tuple[str, str], Counter[_Scope]] = {}
        self.revision = 0
        """Another number means that totals may have changed."""

    def restore(self, newest_first: Iterable[Recorded], finished: Mapping[str, str | None]) -> None:
        """Begin from what the journal holds. `finished`: by station, the newest event of its last finished job."""
        for recorded in reversed(list(newest_first)):
            entry = self.add(recorded, before_restart=True)
            if entry is not None and entry.station and finished.get(entry.station) == entry.event_id:
                self.finish(entry.station)

    def add(self, recorded: Recorded, *, before_restart: bool = False) -> Entry | None:
        """Take in an event that is durable; None for what no station shows."""
        event = _original(recorded.event)
        name = event_name(event.type)
        if name is None or event.id in self._by_id:
            return None
        entry = Entry(
            event.id,
            name,
            event.data,
            recorded.recorded_at,
            before_restart,
            recorded.outcome,
            recorded.reason,
        )
        entry.job = self._jobs[entry.station or ""]
        self.revision += 1
        self._entries.append(entry)
        self._by_id[event.id] = entry
        if name == "corrected":
            self._undo(event.data.get("corrects"))
        else:
            self._account(entry, 1)
            self._lists.setdefault(entry.station or "", deque(maxlen=LISTED)).append(entry)
        if len(self._entries) > self._kept:
            oldest = self._entries.popleft()
            del self._by_id[oldest.event_id]
            if not oldest.undone:
                self._account(oldest, -1)
        return entry

    def finish(self, station: str) -> str | None:
        """A station's job is done: its count begins anew. Gives the newest event of that job, to remember it by."""
        self._jobs[station] += 1
        newest = next(self.newest_first(station), None)
        return newest.event_id if newest is not None else None

    def _undo(self, event_id: object) -> None:
        entry = self._by_id.get(event_id) if isinstance(event_id, str) else None
        if entry is not None and not entry.undone:
            entry.undone = True
            self._account(entry, -1)

    def _account(self, entry: Entry, sign: int) -> None:
        data = entry.data
        quantity = sign * data.get("quantity", 1)
        document, sku, task = data.get("document"), data.get("sku"), data.get("task")
        if entry.name == "received" and document is not None and sku is not None:
            totals = self._received.setdefault(document, Counter())
            _add(totals, sku, quantity)
            if not totals:
                del self._received[document]
        if entry.name == "picked" and task is not None:
            _add(self._picked, task, quantity)
        if entry.name in ("received", "picked"):
            _add(self._scans, (entry.station or "", entry.job, document), sign)
        if entry.unit_key is not None:
            unit = (entry.name, entry.unit_key)
            scopes = self._units.setdefault(unit, Counter())
            for scope in _scopes(entry):
                _add(scopes, scope, sign)
            if not scopes:
                del self._units[unit]

    def verdict(self, verdict: Verdict) -> Entry | None:
        """Central's word on one of them; the entry, if it is still held and the word is new."""
        entry = self._by_id.get(verdict.id)
        if entry is None or entry.verdict == verdict.outcome:
            return None
        entry.verdict, entry.reason = verdict.outcome, verdict.reason
        return entry

    def images(self) -> Iterator[tuple[str, str]]:
        """The image files that scans were seen in, with their versions."""
        return (entry.image for entry in self._entries if entry.image is not None)

    def newest_of_all(self) -> Iterator[Entry]:
        """What was recorded, at whatever station."""
        return reversed(self._entries)

    def get(self, event_id: str) -> Entry | None:
        """The entry of this event."""
        return self._by_id.get(event_id)

    def newest_first(self, station: str) -> Iterator[Entry]:
        """What was scanned at one station; at most LISTED."""
        return reversed(self._lists.get(station, ()))

    def scans(self, station: str, document: str | None) -> int:
        """How many scans of the station's job stand, for one document or (None) without any."""
        return self._scans[station, self._jobs[station], document]

    def job_scans(self, station: str) -> int:
        """How many scans of the station's job stand, for whatever document."""
        return sum(self.job_documents(station).values())

    def job_documents(self, station: str) -> dict[str | None, int]:
        """How many scans of the station's job stand, by document; None: for none."""
        job = self._jobs[station]
        return {
            document: count
            for (name, of_job, document), count in self._scans.items()
            if (name, of_job) == (station, job)
        }

    @property
    def received(self) -> Mapping[str, Mapping[str, int]]:
        """By document, then by SKU: how many base units this agent received."""
        return self._received

    def picked(self, task: str) -> int:
        """How many base units this agent picked for a task."""
        return self._picked[task]

    def seen(self, name: str, station: str, documents: Container[str]) -> "SeenUnits":
        """The units that stand recorded under an event name, in the station's job or for one of the documents."""
        return SeenUnits(self._units, name, _Scope(station, self._jobs[station]), documents)


class SeenUnits(Container[str]):
    """A view: `key in seen`, without copying what may be thousands."""

    def __init__(
        self,
        units: Mapping[tuple[str, str], Iterable[_Scope]],
        name: str,
        job: _Scope,
        documents: Container[str],
    ) -> None:
        self._units, self._name, self._job, self._documents = units, name, job, documents

    def __contains__(self, key: object) -> bool:
        return any(
            scope == self._job or (scope.job is None and scope.name in self._documents)
            for scope in self._units.get((self._name, str(key)), ())
        )


def _scopes(entry: Entry) -> Iterator[_Scope]:
    yield _Scope(entry.station or "", entry.job)
    document = entry.data.get("document")
    if isinstance(document, str):
        yield _Scope(document)


def _add(counter: Counter[Key], key: Key, number: int) -> None:
    """Count, and keep no zeros: the counter stays as small as what it counts."""
    counter[key] += number
    if not counter[key]:
        del counter[key]


def _original(event: Draft) -> Draft:
    """What was recorded, also where a `void` stands for it by now: to a person it was a scan like any other."""
    if event_name(event.type) != "void":
        return event
    try:
        return decode(base64.b64decode(str(event.data.get("original", ""))), Draft)
    except (Unreadable, ValueError):
        return event

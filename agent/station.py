"""One station: reads become events in the order they were read, one at a time.

    read → guard → meaning → workflow → journal.append (awaited) → only then OK

The one idea: nothing is shown as OK that is not durable, and everything that was read is shown, whatever became of
it. What waits is bounded; a read that finds the queue full is rejected loudly.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import msgspec
import structlog

from agent import choices as chosen
from agent import view
from agent.capture import Capture, rfc3339
from agent.choices import Choices
from agent.config import StationSection
from agent.guard import DoubleReadGuard
from agent.history import Entry
from agent.meaning import Meaning, understand
from agent.passage import Passage, Signals
from agent.shared import Shared, Shown
from agent.smoothing import NS_PER_MS, Change
from agent.workflows import ACTIONS, WORKFLOWS, Context, Step, step
from devices.driver import Outcome
from devices.identify import identify
from devices.reads import BadFrame, Read, TagRead
from identity import Identity
from service.log import printable
from sync import events, ids
from sync.journal import Draft, JournalError
from sync.messages import Task

MOST_WAITING: Final = 100  # scans of one station; a person cannot get that far ahead of the disk
# Tags that came to one station and wait for the disk: several pallets at once. Above, they are told again.
MOST_TAGS_WAITING: Final = 5_000
TAG_RETRY_MS: Final = 2_000  # a tag in view that could not be recorded is tried again, at most so often
# A card stays away so long between two uses at the least; its reader repeats it every 65 ms while it is there.
CARD_AGAIN_MS: Final = 300
SHOWN_CHARS: Final = 80  # of a code or a name, in a sentence
REASON_CHARS: Final = 400  # of why something failed

log = structlog.get_logger()


class Busy(Exception):
    """The station has too much to do to take a button's wish; try again."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """A button on the page."""

    kind: str
    value: str | None
    done: "asyncio.Future[Shown]"


@dataclass(slots=True)
class _Source:
    """What caused a step: its code, its device, its instant, and what to write beside the event."""

    code: str
    device: str | None
    at: float
    capture: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""
    tag: TagRead | None = None
    change: Change | None = None
    """What the tag did; None for a card."""
    relation: str = ""
    """What it is to the job; empty: that could not be told."""


class Station:
    """One place where a person works. `read` is called by devices; `run` does the work, for ever."""

    def __init__(self, settings: StationSection, shared: Shared) -> None:
        self.settings, self._shared = settings, shared
        self.name = settings.name
        self._workflow = WORKFLOWS[settings.workflow]
        self._path = shared.directory / f"{settings.name}.json"
        self._capture = Capture(settings.name, shared.boot)
        self._guard = DoubleReadGuard(settings.guard_ms)
        # A card is held up on purpose, and may be held up again: it needs no longer to go than a label does.
        self._cards = DoubleReadGuard(max(settings.guard_ms, CARD_AGAIN_MS))
        self._queue: asyncio.Queue[Read | Change | _Wish] = asyncio.Queue(MOST_WAITING + MOST_TAGS_WAITING)
        self._tags_waiting = 0
        self._overrun_again_ns = 0
        self._not_recorded = ""
        """Why the newest event could not be made durable; empty: it was."""
        self.recording: str | None = None
        """The code of the scan that waits for the disk."""
        self.passage = Passage(settings.passage_s * 1000) if settings.workflow == "gate" else None
        self._signals = Signals()
        self._file = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None
        self._lines: list[Task] = []
        self._lined_up_for: tuple[object, ...] | None = None
        # Tokens rise over restarts too.
        self._token = int(shared.now() * 1000)
        self.last: Shown | None = None
        self.choices = Choices(location=settings.location, operator=settings.operator)

    def load(self) -> None:
        """Read what was chosen before the restart, once, at start; the history is restored after this."""
        self.choices = chosen.load(
            self._path, location=self.settings.location, operator=self.settings.operator
        )
        # A clock that was set back must not take what comes now for older than what stands there, and looked at.
        self._token = max(self._token, *(one.token for one in self.choices.concerns), 0)

    # --- what comes in -----------------------------------------------------------------------------------

    def read(self, read: Read) -> None:
        """A device read something; what has an EPC comes by `tag`. Never blocks; at the bound the read is rejected,
        loudly.
        """
        if isinstance(read, TagRead) and self._is_held_up_still(read):
            return
        if self._has_room():
            self._queue.put_nowait(read)
        else:
            code = "" if isinstance(read, BadFrame) else read.text or ""
            self._say("reject", "too_fast", _Source(code, read.device, read.at), {"code": code})

    def _has_room(self) -> bool:
        """For what a person does; tags have a room of their own."""
        return self._queue.qsize() - self._tags_waiting < MOST_WAITING

    def _is_held_up_still(self, card: TagRead) -> bool:
        return self._cards.is_repeat(card.device, (card.text or "").encode(), card.monotonic_ns)

    def tag(self, change: Change) -> None:
        """A tag came to a place of this station, or left it. Never blocks."""
        if not self._is_scan(change):
            self._shared.smoother.settled(change)
            return
        if self._tags_waiting < MOST_TAGS_WAITING:
            self._tags_waiting += 1
            self._queue.put_nowait(change)
            return
        # It is taken when it is told again and there is room. Said for all of them, and again while it lasts: between
        # so many OKs, nobody would see it once.
        read = change.read
        self._shared.smoother.retry(change, TAG_RETRY_MS)
        if read.monotonic_ns >= self._overrun_again_ns:
            self._overrun_again_ns = read.monotonic_ns + TAG_RETRY_MS * NS_PER_MS
            log.warning(
                "too many tags at once", station=self.name, device=read.device, waiting=self._tags_waiting
            )
            self._say(
                "reject", "too_many_tags", _Source("", read.device, read.at), {"most": MOST_TAGS_WAITING}
            )

    def _is_scan(self, change: Change) -> bool:
        """A tag is one scan when it comes to this station, wherever it goes within it; at a gate, when it passes."""
        if self.passage is not None and self.name in self._shared.smoother.gates:
            return change.direction is not None
        if change.kind == "moved":
            return change.before is not None and change.before.station != self.name
        return change.kind == "arrived"

    async def undo(self, event_id: str | None) -> Shown:
        """Take back one recorded scan, else the newest. In order with the reads. Raises Busy."""
        return await self._wish("undo", event_id)

    async def choose(self, document_id: str | None) -> Shown:
        """Work on a document, or (None) finish the job. In order with the reads. Raises Busy."""
        return await self._wish("document", document_id)

    async def looked(self, token: int) -> Shown:
        """Somebody has looked at what a gate listed, up to this outcome. In order with the reads. Raises Busy."""
        return await self._wish("looked", str(token))

    async def _wish(self, kind: str, value: str | None) -> Shown:
        if not self._has_room():
            raise Busy(f"station {self.name}: {MOST_WAITING} scans are waiting. Try again in a moment")
        wish = _Wish(kind, value, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(wish)
        return await wish.done

    async def run(self) -> None:
        """Take what comes, strictly in order; for ever."""
        self.refresh()
        while True:
            item = await self._queue.get()
            if isinstance(item, Change):
                self._tags_waiting -= 1
                await self._read(item.read, item)
                self._shared.smoother.settled(item)
            elif isinstance(item, _Wish):
                shown = await self._fulfil(item)
                if not item.done.done():
                    item.done.set_result(shown)
            else:
                await self._read(item)

    # --- a read ------------------------------------------------------------------------------------------

    async def _read(self, read: Read, change: Change | None = None) -> None:
        if isinstance(read, BadFrame):
            self._say("reject", "bad_frame", _Source("", read.device, read.at), {"reason": read.reason})
            return
        if isinstance(read, TagRead):
            code = read.epc.hex().upper() if read.epc is not None else read.text or ""
            capture = self._capture.of_tag(read, code)
            source = _Source(code, read.device, read.at, capture, read.raw, read, change)
        else:
            source = _Source(read.text, read.device, read.at, self._capture.of_read(read), read.raw)
            if self._guard.is_repeat(read.device, read.raw, read.monotonic_ns):
                self._say("duplicate", "skipped", source, {"code": read.text})
                return
        try:
            identity = identify(read, gs1_anywhere=read.device in self._shared.gs1_anywhere)
            meaning = understand(identity, self._shared.reference.now, self._shared.site)
            outward = change is not None and change.direction == "out"
            found = step(self._workflow, replace(self.context(), outward=outward), meaning)
        except Exception:
            # A label must not be able to stop a station: nothing is recorded, and it says so.
            log.exception("a read could not be understood", station=self.name, code=source.code)
            self._say("reject", "defect", source, {"code": source.code})
            return
        if change is None or self.passage is None or not self.passage.is_known(found.relation, source.code):
            await self._take(found, source)

    async def _take(self, found: Step, source: _Source) -> Shown:
        """Do what the workflow says; then, and only then, show it."""
        effect, source.relation = found.effect, found.relation
        if effect.undo:
            return await self._undo(None, source)
        if effect.draft is not None:
            return await self._record(found, source)
        if effect.changes:
            problem = await self._change(effect.changes)
            if problem is not None:
                return self._say("reject", "not_kept", source, {"reason": problem})
        return self._say(found.row.outcome, found.row.say, source, found.values)

    async def _record(self, found: Step, source: _Source) -> Shown:
        assert found.effect.draft is not None
        name, data = found.effect.draft
        subject = data.get("sku") or data.get("gtin") or data.get("sscc") or data.get("epc")
        entry, problem = await self._append(name, data, source, subject)
        if entry is None:
            self._came_to_nothing(source)
            return self._say("reject", "not_recorded", source, {**found.values, "reason": problem})
        self.refresh()
        return self._say(found.row.outcome, found.row.say, source, found.values, entry.event_id)

    def _came_to_nothing(self, source: _Source) -> None:
        """The same label, scanned again at once, is no repeat; a tag that stays in view is told again by itself."""
        if source.change is not None:
            self._shared.smoother.retry(source.change, TAG_RETRY_MS)
        elif source.tag is None:
            self._guard.forget(source.device or "", source.raw)

    async def _append(
        self, name: str, data: dict[str, Any], source: _Source, subject: str | None = None
    ) -> tuple[Entry | None, str]:
        """Make one event durable: (entry, "") or (None, why not)."""
        kind = events.event_type(name)
        data = {**data, "capture": source.capture}
        try:
            events.check(kind, data)
            event_id = ids.event_id(int(source.at * 1000), self._shared.random_bytes)
            draft = Draft(event_id, kind, rfc3339(source.at), data, subject)
            self.recording = source.code
            (recorded,) = await self._shared.journal.append([draft])
        except (JournalError, events.Malformed) as error:
            problem = str(error)
            # Tags in view are tried again and again: a full disk is not filled with that.
            if source.tag is None or problem != self._not_recorded:
                log.error("not recorded", station=self.name, code=source.code, error=problem)
            self._not_recorded = problem
            return None, problem
        finally:
            self.recording = None
        self._not_recorded = ""
        entry = self._shared.history.add(recorded)
        assert entry is not None
        return entry, ""

    async def _change(self, changes: Mapping[str, Any]) -> str | None:
        """Make choices durable, then use them; the problem if they cannot be."""
        entry = next(self._shared.history.newest_first(self.name), None)
        newest = entry.event_id if entry is not None else None
        async with self._file:
            problem = await self._keep(self.choices.with_changes(changes, newest=newest))
        if problem is None:
            # Once more, onto what they are now: a task may have come while the disk was busy.
            self.choices = self.choices.with_changes(changes, newest=newest)
            if changes.get("finished") and self.passage is not None:
                self.passage.finish()
            if changes.get("finished"):
                self._shared.history.finish(self.name)
            self.refresh()
        return problem

    async def _keep(self, choices: Choices) -> str | None:
        try:
            await asyncio.to_thread(chosen.keep, self._path, choices)
        except OSError as error:
            log.error(
                "a station's choices cannot be kept; check the disk", file=str(self._path), error=str(error)
            )
            return f"{self._path}: {error.strerror}"
        return None

    # --- buttons -----------------------------------------------------------------------------------------

    async def _fulfil(self, wish: _Wish) -> Shown:
        source = _Source("", None, self._shared.now(), self._capture.of_page())
        if wish.kind == "undo":
            return await self._undo(wish.value, source)
        if wish.kind == "looked":
            return await self._looked(int(wish.value or 0), source)
        if wish.value is None:
            return await self._finish(source)
        document = self._shared.reference.now.document(wish.value)
        if document is None:
            return self._say("reject", "document_closed", source, {"document": wish.value})
        # A button that says what the label of the document says.
        meaning = Meaning(kind="document", identity=Identity("plain", wish.value), document=document)
        return await self._take(step(self._workflow, self.context(), meaning), source)

    async def _finish(self, source: _Source) -> Shown:
        context = self.context()
        current = context.document.id if context.document is not None else ""
        say = self._workflow.left if current else "count_restarted"
        effect = ACTIONS[self._workflow.finish](context, Meaning(kind="done", identity=Identity("plain", "")))
        problem = await self._change(effect.changes)
        if problem is not None:
            return self._say("reject", "not_kept", source, {"reason": problem})
        return self._say("ok", say, source, {"current": current})

    async def _looked(self, token: int, source: _Source) -> Shown:
        left = tuple(concern for concern in self.choices.concerns if concern.token > token)
        problem = await self._change({"concerns": left})
        if problem is not None:
            return self._say("reject", "not_kept", source, {"reason": problem})
        return self._say("ok", "looked", source)

    async def _undo(self, event_id: str | None, source: _Source) -> Shown:
        history = self._shared.history
        if event_id is None:
            entry = next((entry for entry in history.newest_first(self.name) if not entry.undone), None)
        else:
            entry = history.get(event_id)
        if entry is None or entry.station != self.name or entry.name == "corrected":
            return self._say("reject", "nothing_to_undo", source)
        values = self._entry_values(entry)
        if entry.undone:
            return self._say("reject", "undone_already", source, values)
        data = {
            "corrects": entry.event_id,
            "document": entry.data.get("document"),
            "operator": self.choices.operator,
        }
        present = {name: value for name, value in data.items() if value is not None}
        correction, problem = await self._append("corrected", present, source)
        if correction is None:
            return self._say("reject", "not_undone", source, {**values, "reason": problem})
        self.refresh()
        return self._say("ok", "undone", source, values, correction.event_id)

    def _entry_values(self, entry: Entry) -> dict[str, object]:
        name = view.entry_name(entry, self._shared.reference.now)
        return {"name": name, "quantity": entry.data.get("quantity", 1), "code": entry.code}

    # --- what the station knows ----------------------------------------------------------------------------

    def context(self) -> Context:
        """What a read meets now."""
        shared, choices = self._shared, self.choices
        lookups, history = shared.reference.now, shared.history
        document = choices.document
        task = shared.board.open_task(choices.task)
        following = self._line_up()
        is_gate = self.settings.workflow == "gate"
        chosen_ids = (document.id,) if document is not None else ()
        return Context(
            location=choices.location,
            site=shared.site,
            operator=choices.operator,
            document=document,
            totals=history.received,
            orders=lookups.expecting if is_gate else {},
            task=task,
            task_item=lookups.item(task.sku) if task is not None and task.sku is not None else None,
            picked=history.picked(task.task) if task is not None else 0,
            lines_after=sum(other.task != choices.task for other in following),
            confirm_location=self.settings.confirm_location
            and task is not None
            and task.from_location is not None
            and lookups.location(task.from_location) is not None,
            seen=history.seen(
                self._workflow.event, self.name, lookups.purchase_orders if is_gate else chosen_ids
            ),
        )

    def _line_up(self) -> list[Task]:
        if self.settings.workflow != "pick":
            return []
        shared, choices = self._shared, self.choices
        # Thousands of tasks take tens of milliseconds to sort: once for each change is enough.
        basis = (shared.board.revision, shared.history.revision, shared.reference.now, choices)
        if self._lined_up_for != basis:
            self._lines = shared.board.line_up(
                self.name,
                lookups=shared.reference.now,
                picked=shared.history.picked,
                here=choices.location,
                document=choices.document.id if choices.document is not None else None,
                later=choices.later,
            )
            self._lined_up_for = basis
        return self._lines

    def refresh(self) -> None:
        """Something that this station depends on changed: the newest form of its document, and its line."""
        document = self.choices.document
        newest = self._shared.reference.now.document(document.id) if document is not None else None
        if newest is not None and newest != document:
            self.choices = msgspec.structs.replace(self.choices, document=newest)
        if self.settings.workflow == "pick":
            self._find_line()
        self._shared.on_change(self.name, False)

    def _find_line(self) -> None:
        """Stay on the line until it is done or withdrawn; then the next one in walking order."""
        lines = self._line_up()
        if not any(task.task == self.choices.task for task in lines):
            task = lines[0].task if lines else None
            if task != self.choices.task:
                self.choices = msgspec.structs.replace(self.choices, task=task)
                self._keep_soon()
        self._shared.board.take(self.name, self.choices.task)

    def _keep_soon(self) -> None:
        """Which line comes next is no promise to anybody: it need not be durable before it is shown."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.ensure_future(self._keep_newest())

    async def _keep_newest(self) -> None:
        kept = None
        async with self._file:
            while kept is not self.choices:
                kept = self.choices
                await self._keep(kept)

    # --- what the station shows ----------------------------------------------------------------------------

    def _say(
        self,
        outcome: Outcome,
        key: str,
        source: _Source,
        values: Mapping[str, object] = MappingProxyType({}),
        event_id: str | None = None,
    ) -> Shown:
        text = self._shared.texts.t(
            f"station.say.{key}", **{name: _shortened(name, value) for name, value in values.items()}
        )
        self._token += 1
        self.last = Shown(outcome, text, source.code, event_id, rfc3339(self._shared.now()), self._token)
        if source.tag is not None and self.passage is not None:
            name, now_ns = str(values.get("name", "?")), source.tag.monotonic_ns
            concerns = self.passage.take(source.relation, self.last, name, now_ns, self.choices.concerns)
            if concerns != self.choices.concerns:
                self.choices = msgspec.structs.replace(self.choices, concerns=concerns)
                self._keep_soon()
        # Tags come by the hundred in a second: what became of one may be heard and shown together with the next.
        alone = source.tag is None or self._signals.due(outcome, source.tag.monotonic_ns)
        self._shared.on_outcome(self.name, source.device if alone else None, outcome)
        self._shared.on_change(self.name, source.tag is None or (alone and outcome == "reject"))
        return self.last

    def before_restart(self) -> Entry | None:
        """The newest scan from before the restart, until the station has something newer to tell: nobody may have
        seen its OK.
        """
        if self.last is not None:
            return None
        entries = self._shared.history.newest_first(self.name)
        return next((entry for entry in entries if entry.before_restart and not entry.undone), None)

    def entries(self) -> Iterable[Entry]:
        """What was recorded here, newest first."""
        return self._shared.history.newest_first(self.name)

    def state(self, status: dict[str, Any]) -> dict[str, Any]:
        """What the page shows: see `agent.view`."""
        return view.state(self, self._shared, self._line_up(), status)


def _shortened(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    text, most = printable(value), REASON_CHARS if name == "reason" else SHOWN_CHARS
    return text if len(text) <= most else f"{text[: most - 1]}…"

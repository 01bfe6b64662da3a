"""The pick tasks kept on site, and which one comes next.

The one idea: central names tasks by id, and the newer `as_of` of a history replaces what is there; what is left of a
task is counted from the agent's own journal, never stored here. A lease is advice: one that has passed is shown and
stops nobody, and a task that another agent has is offered to whoever chooses its document.
"""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import UNSET

from agent import files
from agent.reference import Lookups
from sync.messages import Task, Tasks

MOST_OPEN: Final = (
    20_000  # above, further new tasks are refused and reported; nothing that is known is forgotten
)
MOST_CANCELLED: Final = (
    5_000  # remembered so that an older message cannot open them again; the oldest go first
)

log = structlog.get_logger()


class Known(msgspec.Struct, frozen=True):
    """A task and the movement number it was told at, in a history of central's."""

    as_of: int
    task: Task
    history: str = ""

    @property
    def pickable(self) -> bool:
        """It is a pick task and open, here or with another agent."""
        task = self.task
        return task.type == "pick" and task.sku is not None and (task.status == "open" or _elsewhere(task))


def _elsewhere(task: Task) -> bool:
    return task.status != "open" and task.holder is not None


class _List(msgspec.Struct):
    """Of the parts of a whole list: which comes next, and what they told so far."""

    history: str
    as_of: int
    parts: int
    came: int
    told: set[str]


class Board:
    """All tasks of the site. Pure but for `load`, `run`.

    Args:
        path: the file that keeps them over a boot without network.
        on_change: called on the event loop when tasks changed.
    """

    def __init__(self, path: Path, on_change: Callable[[], None] = lambda: None) -> None:
        self._path, self._on_change = path, on_change
        self._known: dict[str, Known] = {}
        self._changed = asyncio.Event()
        self._list: _List | None = None
        self._leases_end_at: float | None = None
        self._taken: dict[str, str] = {}
        self.revision = 0
        """Another number means that `line_up` may answer differently."""

    def load(self) -> None:
        """Read the file, once, at start."""
        for known in files.load(self._path, list[Known]) or ():
            self._known[known.task.task] = known

    def receive(self, tasks: Tasks, now: float = 0.0) -> None:
        """What central tells. `now`: monotonic seconds."""
        history = "" if tasks.history is UNSET else tasks.history
        if tasks.lease_s is not UNSET:
            self._leases_end_at = now + tasks.lease_s
        opened = sum(known.task.status == "open" for known in self._known.values())
        for task in tasks.tasks:
            before = self._known.get(task.task)
            if before is not None and before.history == history and before.as_of > tasks.as_of:
                continue
            was_open = before is not None and before.task.status == "open"
            if task.status == "open" and not was_open:
                if opened >= MOST_OPEN:
                    log.error("too many open tasks: this one is not taken", task=task.task, most=MOST_OPEN)
                    continue
                opened += 1
            elif was_open and task.status != "open":
                opened -= 1
            self._known[task.task] = Known(tasks.as_of, task, history)
        self._end_what_is_not_in(tasks, history)
        self._forget_cancelled()
        self.revision += 1
        self._changed.set()
        self._on_change()

    def _end_what_is_not_in(self, tasks: Tasks, history: str) -> None:
        """With the last part of a whole list, what none of them told is over. Parts that do not follow each other
        tell nothing of what they leave out.
        """
        if tasks.part is UNSET or tasks.parts is UNSET:
            return
        found = _List(history, tasks.as_of, tasks.parts, 0, set()) if tasks.part == 1 else self._list
        self._list = None
        if found is None or (found.history, found.as_of, found.parts, found.came + 1) != (
            history, tasks.as_of, tasks.parts, tasks.part,
        ):  # fmt: skip
            return
        found.came += 1
        found.told.update(task.task for task in tasks.tasks)
        if found.came < found.parts:
            self._list = found
            return
        for name, known in self._known.items():
            later = known.history == history and known.as_of > tasks.as_of
            if name not in found.told and not later and (known.task.status == "open" or known.task.holder):
                over = msgspec.structs.replace(known.task, status="cancelled", holder=None)
                self._known[name] = Known(tasks.as_of, over, history)

    def leases_passed(self, now: float) -> bool:
        """Whether tasks may be with another agent by now, as far as this one can tell: advice for people."""
        return self._leases_end_at is not None and now >= self._leases_end_at

    def _forget_cancelled(self) -> None:
        cancelled = [known for known in self._known.values() if known.task.status == "cancelled"]
        for known in sorted(cancelled, key=lambda known: known.as_of)[
            : max(0, len(cancelled) - MOST_CANCELLED)
        ]:
            del self._known[known.task.task]

    async def run(self) -> None:
        """Keep the file as the memory is; for ever. Several changes at once are one write."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            content = msgspec.json.encode(list(self._known.values()))
            try:
                await asyncio.to_thread(files.replace, self._path, content)
            except OSError as error:
                log.error("tasks cannot be kept; check the disk", file=str(self._path), error=str(error))

    def open_task(self, task_id: str | None) -> Task | None:
        """The task, if it is a pick task and still open, wherever."""
        known = self._known.get(task_id) if task_id is not None else None
        return known.task if known is not None and known.pickable else None

    def take(self, station: str, task_id: str | None) -> None:
        """Note which task a station works on now, so that no other station of this agent is given it."""
        before = next((task for task, user in self._taken.items() if user == station), None)
        if before == task_id:
            return
        if before is not None:
            del self._taken[before]
        if task_id is not None:
            self._taken[task_id] = station
        self.revision += 1
        self._on_change()  # what it let go of may be what another one waits for

    def line_up(
        self,
        station: str,
        *,
        lookups: Lookups,
        picked: Callable[[str], int],
        here: str,
        document: str | None = None,
        later: Collection[str] = (),
    ) -> list[Task]:
        """The tasks with something left to pick, nearest first: on in walking order from `here`, then round again
        from the start; those put off (`later`) at the end; of one document, if one is chosen. Then also what another
        agent has of it, after what is this one's.
        """
        start = _walk_order(lookups, here)
        tasks = [
            known.task
            for known in self._known.values()
            if known.pickable
            and (document is not None or known.task.status == "open")
            and picked(known.task.task) < known.task.quantity
            and self._taken.get(known.task.task, station) == station
            and document in (None, known.task.document)
        ]

        def order(task: Task) -> tuple[object, ...]:
            walk = _walk_order(lookups, task.from_location)
            passed = walk < start
            return (
                _elsewhere(task),
                task.task in later,
                passed,
                walk,
                task.from_location or "",
                task.document or "",
                task.task,
            )

        return sorted(tasks, key=order)


def _walk_order(lookups: Lookups, location_id: str | None) -> int:
    """Places that are not known come first: their walk order is 0, as central's default."""
    location = lookups.location(location_id) if location_id is not None else None
    return location.walk_order if location is not None else 0

"""The pick tasks kept on site, and which one comes next.

The one idea: central names tasks by id, and the newer `as_of` replaces what is there; what is left of a task is
counted from the agent's own journal, never stored here.
"""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import msgspec
import structlog

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
    """A task and the movement number it was told at."""

    as_of: int
    task: Task


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
        self._taken: dict[str, str] = {}
        self.revision = 0
        """Another number means that `line_up` may answer differently."""

    def load(self) -> None:
        """Read the file, once, at start."""
        for known in files.load(self._path, list[Known]) or ():
            self._known[known.task.task] = known

    def receive(self, tasks: Tasks) -> None:
        """What central tells."""
        opened = sum(known.task.status == "open" for known in self._known.values())
        for task in tasks.tasks:
            before = self._known.get(task.task)
            if before is not None and before.as_of > tasks.as_of:
                continue
            was_open = before is not None and before.task.status == "open"
            if task.status == "open" and not was_open:
                if opened >= MOST_OPEN:
                    log.error("too many open tasks: this one is not taken", task=task.task, most=MOST_OPEN)
                    continue
                opened += 1
            elif was_open and task.status != "open":
                opened -= 1
            self._known[task.task] = Known(tasks.as_of, task)
        self._forget_cancelled()
        self.revision += 1
        self._changed.set()
        self._on_change()

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
        """The task, if it is a pick task and still open."""
        known = self._known.get(task_id) if task_id is not None else None
        return known.task if known is not None and _to_pick(known.task) else None

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
        from the start; those put off (`later`) at the end; of one document, if one is chosen.
        """
        start = _walk_order(lookups, here)
        tasks = [
            known.task
            for known in self._known.values()
            if _to_pick(known.task)
            and picked(known.task.task) < known.task.quantity
            and self._taken.get(known.task.task, station) == station
            and document in (None, known.task.document)
        ]

        def order(task: Task) -> tuple[object, ...]:
            walk = _walk_order(lookups, task.from_location)
            passed = walk < start
            return (
                task.task in later,
                passed,
                walk,
                task.from_location or "",
                task.document or "",
                task.task,
            )

        return sorted(tasks, key=order)


def _to_pick(task: Task) -> bool:
    return task.type == "pick" and task.status == "open" and task.sku is not None


def _walk_order(lookups: Lookups, location_id: str | None) -> int:
    """Places that are not known come first: their walk order is 0, as central's default."""
    location = lookups.location(location_id) if location_id is not None else None
    return location.walk_order if location is not None else 0

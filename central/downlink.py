"""What central tells agents unasked: reference data that changed, and their tasks.

The idea: an agent says in its hello what it has and is told what it lacks; whoever was heard of lately is told of
changes as they are committed. A message that is lost is made good by the agent's next hello.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from central import reference
from central.database import now_us
from central.ledger import views
from central.ledger.service import Changed, Ledger
from sync.messages import Hello, State, agent_topic

RECENT_S: Final = 600.0  # agents heard of within are told of changes; they say hello every 5 minutes
REFERENCE_EVERY_S: Final = 1.0  # contract of this program: changes of reference data are told together
REFERENCE_WATCH_S: Final = 2.0  # what another process changed (`tallyman central operator`) is seen so late
TASKS_EVERY_S: Final = 0.1
MOST_UPDATES: Final = (
    50  # ways from a version to the present one that are kept; the oldest goes, and is made again
)
OVERLAP_US: Final = (
    10_000_000  # transactions begin before they commit; what changed just before is told again
)


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """What central knows of an agent right now."""

    agent: str
    site: str
    state: State | None
    """Its last state message."""
    heard: float | None
    """Monotonic seconds when it last sent anything; None since this start."""
    reference: int | None = None
    """The version of the reference data that it was last sent, or said that it has."""


class Downlink:
    """Tells agents what they lack. `run` for ever.

    Args:
        publish: sends a payload to a topic; what the broker does not take is lost.
        when_up: what a function finds in one snapshot of the database, once that answers.
        agents: whoever was ever heard of, by id; shared with who listens to them.
    """

    def __init__(
        self,
        ledger: Ledger,
        publish: Callable[[str, bytes], object],
        when_up: Callable[[Callable[[sa.Connection], Any]], Awaitable[Any]],
        agents: dict[str, AgentSeen],
        clock: Callable[[], float],
    ) -> None:
        self._publish, self._when_up, self._agents, self._clock = publish, when_up, agents, clock
        self._version: int | None = None
        self._updates: dict[int | None, reference.Update] = {}
        self._snapshot_bytes: int | None = None
        self._building = asyncio.Lock()
        self._reference_changed = asyncio.Event()
        self._tasks_changed = asyncio.Event()
        self._task_sites: set[str] = set()
        self._tasks_told_us: dict[str, int] = {}
        ledger.on_change(self._changed)

    async def run(self) -> None:
        """Tell of changes for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(self._reference_changed, self._tell_reference, REFERENCE_EVERY_S))
            group.create_task(self._tell(self._tasks_changed, self._tell_tasks, TASKS_EVERY_S))
            group.create_task(self._watch_reference())

    async def greet(self, hello: Hello, history: str) -> None:
        """An agent has said what it has: send what it lacks. `history`: the present one."""
        await self._bring_up_to_date(hello.agent, hello.reference if hello.history == history else None)
        for payload in await self._when_up(
            lambda connection: reference.site_tasks(connection, hello.site, now_us(connection))
        ):
            self._publish(agent_topic(hello.agent, "tasks"), payload)

    def _changed(self, changed: Changed) -> None:
        if changed.reference:
            self._reference_changed.set()
        if changed.task_sites:
            self._task_sites |= changed.task_sites
            self._tasks_changed.set()

    async def _tell(
        self, changed: asyncio.Event, tell: Callable[[], Coroutine[Any, Any, None]], every_s: float
    ) -> None:
        while True:
            await changed.wait()
            changed.clear()
            await tell()
            await asyncio.sleep(every_s)

    async def _watch_reference(self) -> None:
        """Our own commits tell of themselves; those of other processes only the database knows."""
        while True:
            await asyncio.sleep(REFERENCE_WATCH_S)
            version = await self._when_up(views.reference_version)
            if self._version is not None and self._version != version:
                self._reference_changed.set()

    async def _tell_reference(self) -> None:
        self._updates.clear()
        for agent in self._recent():
            await self._bring_up_to_date(agent, self._agents[agent].reference)

    async def _bring_up_to_date(self, agent: str, has: int | None) -> None:
        """Send what changed since the version that the agent has, or the snapshot, all its parts."""
        update = await self._update(has)
        for payload in update.payloads:
            self._publish(agent_topic(agent, "reference"), payload)
        self._agents[agent] = replace(self._agents[agent], reference=update.version)

    async def _update(self, has: int | None) -> reference.Update:
        """Made once for all agents that have the same."""
        async with self._building:
            update = self._updates.get(has)
            if update is None:
                update = await self._when_up(
                    lambda connection: reference.update(connection, has, self._snapshot_bytes)
                )
                if len(self._updates) >= MOST_UPDATES:
                    del self._updates[next(iter(self._updates))]
                self._updates[has] = update
                self._version = update.version
                if update.whole:
                    self._snapshot_bytes = update.size
            return update

    async def _tell_tasks(self) -> None:
        sites, self._task_sites = self._task_sites, set()
        for site in sorted(sites):
            since = self._tasks_told_us.get(site, 0)
            told_us, payloads = await self._when_up(partial(_tasks_since, site=site, since_us=since))
            self._tasks_told_us[site] = told_us
            for agent in self._recent():
                if self._agents[agent].site == site:
                    for payload in payloads:
                        self._publish(agent_topic(agent, "tasks"), payload)

    def _recent(self) -> list[str]:
        now = self._clock()
        return [
            name
            for name, seen in self._agents.items()
            if seen.heard is not None and now - seen.heard < RECENT_S
        ]


def _tasks_since(connection: sa.Connection, site: str, since_us: int) -> tuple[int, list[bytes]]:
    now = now_us(connection)
    if since_us == 0:
        return now, reference.site_tasks(connection, site, now)
    return now, reference.changed_tasks(connection, site, since_us - OVERLAP_US)

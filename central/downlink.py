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
from msgspec import UNSET

from central import reference, worklists
from central.database import now_us
from central.ledger import views
from central.ledger.commands import Command, Move, MoveTasks, Present, RenewLeases
from central.ledger.service import Changed, Ledger
from central.worklists import Told
from sync.messages import Hello, State, TaskType, agent_topic

RECENT_S: Final = 600.0  # agents heard of within are told of changes; they say hello every 5 minutes
REFERENCE_EVERY_S: Final = 1.0  # contract of this program: changes of reference data are told together
REFERENCE_WATCH_S: Final = 2.0  # what another process changed (`tallyman central operator`) is seen so late
TASKS_EVERY_S: Final = 0.1
MOST_UPDATES: Final = (
    50  # ways from a version to the present one that are kept; the oldest goes, and is made again
)
LEASE_S: Final = 600.0
RENEWED_WITHIN: Final = 5  # leases are renewed so many times before they would pass …
LEASES_LEAST_S: Final = 0.1
LEASES_MOST_S: Final = 15.0  # … and at least so often: a lease that has passed is noticed so late
MOST_MOVES: Final = 200  # of tasks and leases, in one command
ALL_TASKS: Final[tuple[TaskType, ...]] = ("pick", "count", "resolve")
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
    takes: tuple[TaskType, ...] | None = None
    """The types of tasks that its stations work on, as its last hello says; None since this start."""
    here: bool = False
    """It was heard of since central is connected, and its last will was not."""


class Downlink:
    """Tells agents what they lack. `run` for ever.

    Args:
        publish: sends a payload to a topic; what the broker does not take is lost.
        when_up: what a function finds in one snapshot of the database, once that answers.
        submit: carries out a command, once the ledger does.
        lease_s: how long an agent that is not heard of any more keeps its tasks.
        agents: whoever was ever heard of, by id; shared with who listens to them.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        publish: Callable[[str, bytes], object],
        when_up: Callable[[Callable[[sa.Connection], Any]], Awaitable[Any]],
        submit: Callable[[Command], Awaitable[Any]],
        agents: dict[str, AgentSeen],
        clock: Callable[[], float],
        lease_s: float,
    ) -> None:
        self._publish, self._when_up, self._submit = publish, when_up, submit
        self._agents, self._clock, self._lease_s = agents, clock, lease_s
        self._version: int | None = None
        self._updates: dict[int | None, reference.Update] = {}
        self._snapshot_bytes: int | None = None
        self._building = asyncio.Lock()
        self._planning = asyncio.Lock()
        self._asked: dict[tuple[str, str], asyncio.Future[Any]] = {}
        self._began_us: int | None = None
        self._reference_changed = asyncio.Event()
        self._tasks_changed = asyncio.Event()
        self._task_sites: set[str] = set()
        self._told_us: dict[str, int] = {}
        ledger.on_change(self._changed)

    async def run(self) -> None:
        """Tell of changes for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(self._reference_changed, self._tell_reference, REFERENCE_EVERY_S))
            group.create_task(self._tell(self._tasks_changed, self._tell_tasks, TASKS_EVERY_S))
            group.create_task(self._watch_reference())
            group.create_task(self._keep_leases())

    async def greet(self, hello: Hello, history: str) -> None:
        """An agent has said what it has: send what it lacks. `history`: the present one."""
        await self._bring_up_to_date(hello.agent, hello.reference if hello.history == history else None)
        takes = tuple(ALL_TASKS if hello.tasks is UNSET else hello.tasks)
        self._agents[hello.agent] = replace(self._agents[hello.agent], takes=takes)
        await self._submit(RenewLeases((Present(hello.agent, hello.site, takes),), self._lease_s))
        told: Told = await self._together("all", hello.site, self._all_of)
        for payload in told.messages(hello.agent, whole=True):
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
        async with self._building:  # what is being made now may be of before
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
            agents = [name for name in self._recent() if self._agents[name].site == site]
            if not agents:
                self._told_us.pop(site, None)
                continue
            await self._together("give", site, self._give_out)
            since = self._told_us.get(site, self._began_us)
            if since is None:
                since = self._began_us = await self._when_up(now_us)
            told: Told = await self._when_up(
                partial(worklists.changed, site=site, since_us=since - OVERLAP_US)
            )
            self._told_us[site] = told.now_us
            for agent in agents:
                for payload in told.messages(agent):
                    self._publish(agent_topic(agent, "tasks"), payload)

    async def _together(self, what: str, site: str, work: Callable[[str], Awaitable[Any]]) -> Any:
        """Once for all who ask until it begins: a thousand agents of one site may say hello together."""

        async def once() -> Any:
            async with self._planning:
                del self._asked[what, site]
                return await work(site)

        asked = self._asked.get((what, site))
        if asked is None:
            asked = self._asked[what, site] = asyncio.ensure_future(once())
        return await asyncio.shield(asked)

    async def _all_of(self, site: str) -> Told:
        await self._give_out(site)
        told: Told = await self._when_up(partial(worklists.whole, site=site))
        return told

    async def _give_out(self, site: str) -> None:
        """Whatever nobody holds goes to somebody who is there."""
        moves: list[Move] = await self._when_up(partial(worklists.planned, site=site))
        for start in range(0, len(moves), MOST_MOVES):
            await self._submit(MoveTasks(tuple(moves[start : start + MOST_MOVES])))

    async def _keep_leases(self) -> None:
        """Renew the leases of those who are there, and look whose have passed."""
        every_s = min(max(self._lease_s / RENEWED_WITHIN, LEASES_LEAST_S), LEASES_MOST_S)
        while True:
            await asyncio.sleep(every_s)
            here = [
                Present(name, self._agents[name].site, self._agents[name].takes)
                for name in self._recent()
                if self._agents[name].here
            ]
            for start in range(0, len(here), MOST_MOVES):
                await self._submit(RenewLeases(tuple(here[start : start + MOST_MOVES]), self._lease_s))
            self._task_sites |= {one.site for one in here}
            self._tasks_changed.set()

    def _recent(self) -> list[str]:
        now = self._clock()
        return [
            name
            for name, seen in self._agents.items()
            if seen.heard is not None and now - seen.heard < RECENT_S
        ]

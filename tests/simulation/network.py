"""The broker and the ways to it: it may lose, repeat, delay and reorder whatever it is given.

The broker knows a program by its client id, which is the agent's id: the second one with that id takes the first
one's connection. What central sends to an agent reaches whoever is connected under its name.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.centre import Worker
    from tests.simulation.machine import Process
    from tests.simulation.world import World

BRIEFLY_S = (0.001, 0.02)
MOST_KEPT = 20  # messages that a broker keeps for a subscriber that is away


class Network:
    """One broker. `blocked` are the (side, direction) pairs that nothing passes."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.up = True
        self.lives = 0
        """Restarts so far; what was on its way through an earlier life is gone."""
        self.connected: dict[str, Process] = {}
        self.blocked: set[tuple[str, str]] = set()
        self.short_queues = False
        self._in_order: dict[tuple[str, str], float] = {}
        self._kept: dict[str, list[bytes]] = {}
        self._queued: dict[str, int] = {}

    # --- connections -------------------------------------------------------------------------------

    def connect(self, process: "Process") -> bool:
        """Whether the broker takes it; whoever had its name is thrown out."""
        way = process.machine.name
        if not self.up or (way, "up") in self.blocked or (way, "down") in self.blocked:
            return False
        other = self.connected.get(process.machine.agent)
        if other is not None and other is not process:
            self.world.counts["duel"] += 1
            other.lost_connection("another program took the name")
        self.connected[process.machine.agent] = process
        process.connected()
        return True

    def hand_over(self, process: "Process") -> None:
        """What was kept for it while it was away."""
        for payload in self._kept.pop(process.machine.agent, ()):
            self._pass_on(process.machine.agent, payload)

    def disconnect(self, process: "Process") -> None:
        """It is gone."""
        if self.connected.get(process.machine.agent) is process:
            del self.connected[process.machine.agent]

    def restart(self, away_s: float) -> None:
        """The broker ends and comes back with nothing in its memory."""
        self.up, self.lives = False, self.lives + 1
        self._kept.clear()
        self._queued.clear()
        for process in list(self.connected.values()):
            process.lost_connection("the broker ended")
        self.connected.clear()
        self.world.after(away_s, self._come_back)

    def _come_back(self) -> None:
        self.up = True

    def heal(self) -> None:
        """Everything passes."""
        self.up, self.short_queues = True, False
        self.blocked.clear()

    # --- messages ----------------------------------------------------------------------------------

    def from_agent(self, process: "Process", kind: str, payload: bytes) -> None:
        """An agent publishes: every worker gets it."""
        machine = process.machine
        for worker in self.world.centre.workers:
            self._send(
                (machine.name, "up"),
                (worker.name, "down"),
                self._to_worker,
                worker,
                machine.agent,
                kind,
                payload,
            )

    def from_worker(self, worker: "Worker", agent: str, payload: bytes) -> None:
        """A worker publishes to an agent."""
        self._send((worker.name, "up"), None, self._to_agent, agent, payload)

    def _send(self, by: tuple[str, str], to: tuple[str, str] | None, deliver: Any, *what: Any) -> None:
        world = self.world
        if not self.up or by in self.blocked or (to is not None and to in self.blocked):
            return
        if world.befalls("drop"):
            world.trace("  dropped")
            return
        delays = world.dice("delays")
        delay_s = delays.uniform(*BRIEFLY_S)
        if world.befalls("delay"):
            delay_s += delays.choice((0.2, 2.0, 8.0))
        at_s = world.now + delay_s
        way = (by[0], to[0] if to is not None else what[0])
        if not world.befalls("reorder"):
            at_s = max(at_s, self._in_order.get(way, 0.0))
            self._in_order[way] = at_s
        if self.short_queues:
            if self._queued.get(way[1], 0) >= 2:
                world.counts["overflowed"] += 1
                return
            self._queued[way[1]] = self._queued.get(way[1], 0) + 1
        world.after(at_s - world.now, self._arrive, self.lives, way[1], deliver, what)
        if world.befalls("duplicate"):
            again_s = delays.choice((0.0, 1.0, 10.0, 30.0)) * delays.random()
            world.after(at_s - world.now + again_s, self._arrive, self.lives, "", deliver, what)

    def _arrive(self, life: int, to: str, deliver: Any, what: tuple[Any, ...]) -> None:
        if life != self.lives or not self.up:
            return
        if self._queued.get(to):
            self._queued[to] -= 1
        deliver(*what)

    def _to_worker(self, worker: "Worker", agent: str, kind: str, payload: bytes) -> None:
        worker.receive(agent, kind, payload)

    def _to_agent(self, agent: str, payload: bytes) -> None:
        self._pass_on(agent, payload)

    def _pass_on(self, agent: str, payload: bytes) -> None:
        process = self.connected.get(agent)
        if process is not None:
            if (process.machine.name, "down") not in self.blocked:
                process.received(payload)
        elif self.world.scenario.persistent:
            kept = self._kept.setdefault(agent, [])
            if len(kept) < MOST_KEPT:
                kept.append(payload)

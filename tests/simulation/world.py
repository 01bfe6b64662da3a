"""Time and chance of one run: what happens next, and whether it goes wrong.

The idea: everything that happens is a step on one heap, ordered by time and then by when it was planned. Nothing
reads a clock, a set's order or anybody else's randomness; so one scenario has one course of events.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog

from tests.simulation import faults
from tests.simulation.centre import Centre
from tests.simulation.machine import Machine
from tests.simulation.network import Network
from tests.simulation.promises import Promises
from tests.simulation.scenario import Scenario, stream
from tests.simulation.watch import Violation

MOST_STEPS: Final = 60_000  # some 100 times what a run takes
LOOK_EVERY_S: Final = 5.0
# By then everything has to have settled: a periodic hello (300 s) finds what nothing else does, and a few stalls of
# at most 60 s each can follow.
REST_WITHIN_S: Final = 900.0


class World:
    """One run of one scenario. `run` returns when all promises were kept, and raises Violation when one was not."""

    def __init__(self, scenario: Scenario, *, tracing: bool = False) -> None:
        self.scenario = scenario
        self.now = 0.0
        self.calm = False
        self.steps = 0
        self.counts: Counter[str] = Counter()
        self.lines: list[str] | None = [] if tracing else None
        self._heap: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._streams: dict[str, random.Random] = {}
        self._rested = False
        self.names = itertools.count(1)
        self.promises = Promises(self)
        self.network = Network(self)
        self.centre = Centre(self)
        self.machines: list[Machine] = []
        for number in range(scenario.agents):
            self.machines.append(Machine(self, f"m{number}", f"agent-{number}"))

    # --- time and chance ---------------------------------------------------------------------------

    def after(self, delay_s: float, work: Callable[..., Any], *arguments: Any) -> None:
        """Do it in so many seconds."""
        heapq.heappush(self._heap, (self.now + delay_s, next(self._order), work, arguments))

    def dice(self, name: str) -> random.Random:
        """The numbers of that name."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = stream(self.scenario.seed, name)
        return found

    def befalls(self, noise: str) -> bool:
        """Whether it strikes now; never in the calm."""
        likely = self.scenario.noise[noise]
        if likely and not self.calm and self.dice(noise).random() < likely:
            self.counts[noise] += 1
            return True
        return False

    def trace(self, *words: Any) -> None:
        """One line about what happened."""
        if self.lines is not None:
            self.lines.append(f"{self.now:9.4f} " + " ".join(map(str, words)))

    # --- the run -----------------------------------------------------------------------------------

    def run(self) -> None:
        """From the first start to the rest after the calm."""
        self.centre.start()
        for machine in self.machines:
            machine.plan_scans()
            machine.start()
        for fault in self.scenario.faults:
            self.after(fault.at_s, self._strike, fault)
        self.after(self.scenario.calm_at_s, self._heal)
        with structlog.testing.capture_logs():
            self._go()

    def _go(self) -> None:
        while not self._rested:
            self.now, _, work, arguments = heapq.heappop(self._heap)
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise Violation("it does not come to rest: more steps than any run needs")
            work(*arguments)

    def _strike(self, fault: Any) -> None:
        dice = stream(self.scenario.seed, "fault", fault.number)
        struck = faults.FAULTS[fault.kind](self, dice)
        self.trace("FAULT", fault.number, fault.kind, "" if struck else "(nothing to strike)")
        if struck:
            self.counts[fault.kind] += 1

    def _heal(self) -> None:
        """Nothing goes wrong any more; and everybody scans once more, for the agent has to be of use still."""
        self.calm = True
        self.trace("CALM")
        self.network.heal()
        self.centre.heal()
        for machine in self.machines:
            machine.heal()
        self.after(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        calm_s = self.now - self.scenario.calm_at_s
        wrong = self.promises.unsettled()
        if wrong is None:
            self._rested = True
            return
        if calm_s > REST_WITHIN_S:
            raise Violation(f"{wrong}, {REST_WITHIN_S:.0f} s after everything had healed")
        self.after(LOOK_EVERY_S if calm_s < 60 else 4 * LOOK_EVERY_S, self._look)

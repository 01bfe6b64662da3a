"""Playing one scenario: what went wrong, if anything; and the same with as little as it takes to go wrong."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tests.simulation.scenario import NOISE, Cut, cut, draw
from tests.simulation.world import World

WHOLE: Final = Cut()
MOST_TRIES: Final = 150  # runs that shrinking may take


@dataclass(frozen=True)
class Outcome:
    """How one run ended. `wrong` is empty when every promise was kept."""

    seed: int
    cut: Cut
    wrong: str
    counts: Counter[str]
    steps: int
    lines: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What plays exactly this run again, with its trace."""
        words = ["python -m tests.simulation", f"--seed {self.seed}", self.cut.options()]
        return " ".join(word for word in words if word)

    @property
    def error(self) -> str:
        """What ended it: `Violation` for a broken promise, another name for an error of the product or of the
        simulation; empty when every promise was kept.
        """
        return self.wrong.partition(":")[0]

    @property
    def kind(self) -> str:
        """What went wrong, without the names of this run."""
        return re.sub(r"\b[0-9a-f]{6,}\b|\d+|'[^']*'", "#", self.wrong.split(":")[0])[:60]


def play(seed: int, by: Cut = WHOLE, *, tracing: bool = False) -> Outcome:
    """Play the scenario of a seed, without what is cut."""
    world = World(cut(draw(seed), by), tracing=tracing)
    wrong = ""
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 (a fault of the product shows as anything at all)
        wrong = f"{type(error).__name__}: {error}"
    return Outcome(seed, by, wrong, world.counts, world.steps, tuple(world.lines or ()))


def shrink(found: Outcome, player: Callable[[int, Cut], Outcome] = play) -> Outcome:
    """The same violation with fewer faults, less noise, fewer agents, workers and scans."""
    tries = MOST_TRIES
    best = found

    def fails(by: Cut) -> bool:
        nonlocal tries, best
        if tries == 0:
            return False
        tries -= 1
        outcome = player(found.seed, by)
        if outcome.kind == found.kind:
            best = outcome
        return outcome.kind == found.kind

    scenario = draw(found.seed)
    numbers = [fault.number for fault in scenario.faults]
    _fewest(numbers, lambda kept: fails(replace(best.cut, only=frozenset(kept))))
    for noise in NOISE:
        if scenario.noise[noise]:
            fails(replace(best.cut, off=best.cut.off | {noise}))
    for name, most in (("agents", scenario.agents), ("workers", scenario.workers), ("scans", scenario.scans)):
        for fewer in range(1, most):
            if fails(replace(best.cut, **{name: fewer})):
                break
    kept = sorted(best.cut.only if best.cut.only is not None else numbers)
    _fewest(kept, lambda fewer: fails(replace(best.cut, only=frozenset(fewer))))
    return best


def _fewest(numbers: list[int], fails: Callable[[list[int]], bool]) -> None:
    """Delta debugging (Zeller, Hildebrandt 2002): leave out halves, then quarters … as long as it still fails."""
    size = max(1, len(numbers) // 2)
    while numbers:
        for start in range(0, len(numbers), size):
            fewer = numbers[:start] + numbers[start + size :]
            if fails(fewer):
                numbers = fewer
                break
        else:
            if size == 1:
                return
            size = max(1, size // 2)

"""One seed is one scenario: who takes part, how bad the network is, and which faults strike when.

Everything that is drawn has a stream of its own name, so that one fault can be switched off and the others stay as
they were. What is switched off is a `Cut`; a scenario and a cut are all it takes to play a run again.
"""

import random
from dataclasses import dataclass, field, replace
from typing import Final

NOISE: Final = ("drop", "duplicate", "delay", "reorder", "poison", "malformed", "slow_disk", "altered")
"""What may befall any message, event, commit or transaction, each with a probability."""


AGE: Final = 600  # events grow old so much faster: the journal notes their age every ten minutes


def stream(seed: int, *names: object) -> random.Random:
    """The numbers of that name; the same in every process."""
    return random.Random("/".join(map(str, (seed, *names))))


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong once. `number` names it within its scenario."""

    number: int
    at_s: float
    kind: str


@dataclass(frozen=True)
class Cut:
    """What of a scenario is left out."""

    off: frozenset[str] = frozenset()
    """Names in NOISE."""
    only: frozenset[int] | None = None
    """Numbers of the faults that strike; None: all of them."""
    agents: int | None = None
    workers: int | None = None
    scans: int | None = None
    """How many times each agent scans at most."""

    def options(self) -> str:
        """As the command line takes it."""
        words = []
        if self.off:
            words.append(f"--off {','.join(sorted(self.off))}")
        if self.only is not None:
            words.append(f"--faults {','.join(map(str, sorted(self.only))) or 'none'}")
        for name in ("agents", "workers", "scans"):
            if (value := getattr(self, name)) is not None:
                words.append(f"--{name} {value}")
        return " ".join(words)


@dataclass(frozen=True)
class Scenario:
    """What is drawn from a seed before anything happens. Times in seconds of the simulation."""

    seed: int
    agents: int
    workers: int
    calm_at_s: float
    """From here on nothing goes wrong any more."""
    scans: int
    """Of each agent."""
    noise: dict[str, float] = field(hash=False)
    retention_s: float
    """In seconds that an agent's journal counts; see AGE."""
    keep_newest: int
    """Events that stay in a journal however old they are."""
    backups: bool
    """Backups are recorded, so that `safe` follows them."""
    persistent: bool
    """The broker keeps what is sent to a subscriber that is away, and hands it over again."""
    half_readable: bool
    """What one worker cannot read, another can."""
    entering_fails: bool
    """When events are entered into another incarnation, the program often ends at that, or the commit fails and what
    it wrote may be there.
    """
    faults: tuple[Fault, ...]


# How often each kind is drawn. The kinds are carried out in faults.py.
KINDS: Final = {
    "kill": 4,  # an agent's program ends at once
    "power": 4,  # as does its machine
    "commit_crash": 4,  # … at its next commit: just before it, or just after
    "commit_fails": 3,  # the next commit fails; what it wrote may be there
    "disk_broken": 2,  # every commit fails for a while
    "disk_full": 1,
    "disk_back": 4,  # an agent's disk is set back to what it was
    "copy": 2,  # an agent's disk is copied to a second machine, and both go on
    "fork": 2,  # an agent's machine is copied while it runs, memory and all
    "freeze": 1,  # an agent's machine is set back while it runs
    "clock": 2,  # an agent's clock jumps by up to ten years
    "thief": 2,  # somebody takes an agent's name at the broker, for a moment
    "central_clock": 1,
    "central_crash": 4,
    "central_commit_crash": 4,
    "central_commit_fails": 2,
    "central_back": 4,  # central is restored from a backup, and begins a new history
    "central_back_untold": 4,  # and does not know of it
    "backup": 4,
    "broker": 3,  # it restarts, and has forgotten everything
    "cut_agent": 3,  # nothing passes between an agent and the broker, either way or one way
    "cut_central": 2,
    "overflow": 1,  # the broker drops what exceeds a queue of two
    "window": 4,  # central grants 0, 1, or a few
    "misread": 1,  # a worker cannot read a batch this once
}


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    dice = stream(seed, "scenario")
    calm_at_s = dice.choice((8.0, 15.0, 25.0))
    kinds = [kind for kind in KINDS if dice.random() < 0.5] or ["kill"]
    weights = [KINDS[kind] for kind in kinds]
    count = dice.choice((0, 2, 4, 6, 9))
    faults = tuple(
        Fault(number, round(dice.uniform(0.2, calm_at_s - 1), 3), dice.choices(kinds, weights)[0])
        for number in range(count)
    )
    noise = {
        "drop": dice.choice((0.0, 0.0, 0.05, 0.2)),
        "duplicate": dice.choice((0.0, 0.1, 0.3)),
        "delay": dice.choice((0.0, 0.0, 0.3, 1.0)),
        "reorder": dice.choice((0.0, 0.0, 0.1)),
        "poison": dice.choice((0.0, 0.0, 0.1)),
        "malformed": dice.choice((0.0, 0.1)),
        "slow_disk": dice.choice((0.0, 0.0, 0.2)),
        "altered": stream(seed, "altered").choice((0.0, 0.0, 0.1)),
    }
    return Scenario(
        seed=seed,
        agents=dice.choice((1, 1, 2, 3)),
        workers=dice.choice((1, 1, 1, 2)),
        calm_at_s=calm_at_s,
        scans=dice.choice((2, 4, 8)),
        noise=noise,
        retention_s=dice.choice((0.0, 0.0, 3000.0, 1e9)),
        keep_newest=dice.choice((0, 0, 3)),
        backups=dice.random() < 0.5,
        persistent=dice.random() < 0.3,
        half_readable=dice.random() < 0.5,
        entering_fails=dice.random() < 0.5,
        faults=tuple(sorted(faults, key=lambda fault: (fault.at_s, fault.number))),
    )


def cut(scenario: Scenario, by: Cut) -> Scenario:
    """The scenario without what is cut."""
    return replace(
        scenario,
        agents=scenario.agents if by.agents is None else min(by.agents, scenario.agents),
        workers=scenario.workers if by.workers is None else min(by.workers, scenario.workers),
        scans=scenario.scans if by.scans is None else min(by.scans, scenario.scans),
        noise={name: 0.0 if name in by.off else value for name, value in scenario.noise.items()},
        faults=tuple(one for one in scenario.faults if by.only is None or one.number in by.only),
    )

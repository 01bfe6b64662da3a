"""What a bad cable does to a frame: planned here, for any device, before a byte is sent.

The one idea: a fault is a row in a table that turns a frame into steps, and the steps say what they did to it.
Chance comes from the seed and the thing, not from the clock: the same thing meets the same fault in every run,
however often the host asked in between. A frame meets one fault at the most, with the probability `rate`. Answers
(frames that tell of no thing) never meet `unplug`, and after one was damaged the next is spared: who asks a question
twice in a row gets an answer, so that every start-up that asks again succeeds.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from simulators.hardware.device import Frame

RATE: Final = 0.1
"""How many of the frames meet a fault, unless somebody says otherwise."""

PAUSE_MOST_S: Final = 0.003
"""Between two pieces of a split frame: far below what any protocol takes for an end, but two reads for the host."""
PIECES_MOST: Final = 8
DELAY_S: Final = (0.03, 0.2)
NOISE_MOST_BYTES: Final = 12
AWAY_S: Final = (0.05, 0.3)
UNPLUG_SHARE: Final = 0.2
"""Now and then: so many of the frames that drew `unplug` meet it; the others pass. It costs all that waits behind."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes of the frame itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes that are no whole frame: noise, or what is left of one."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent for so long; the device listens on."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class End:
    """The frame is out."""

    lost: str = ""
    """Why the host cannot have it; empty if it went out untouched."""
    unsure: str = ""
    """Why the host may have it or not."""


@dataclass(frozen=True, slots=True)
class Unplug:
    """Hang up, and come back after so long. Rough: at once, whatever the host has not read yet."""

    away_s: float
    rough: bool


Step = Write | Stray | Pause | End | Unplug
Fault = Literal["split", "drop", "corrupt", "delay", "duplicate", "noise", "unplug"]


def _split(rng: random.Random, data: bytes) -> list[Step]:
    most = min(PIECES_MOST, len(data))
    cuts = sorted(rng.sample(range(1, len(data)), rng.randint(1, most - 1))) if most > 1 else []
    steps: list[Step] = []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        if start:
            steps.append(Pause(rng.uniform(0, PAUSE_MOST_S)))
        steps.append(Write(data[start:end]))
    return [*steps, End()]


def _drop(_rng: random.Random, _data: bytes) -> list[Step]:
    return [End("dropped")]


def _corrupt(rng: random.Random, data: bytes) -> list[Step]:
    spot, flip = rng.randrange(len(data)), rng.randint(1, 255)
    damaged = data[:spot] + bytes([data[spot] ^ flip]) + data[spot + 1 :]
    return [Stray(damaged), End(f"byte {spot + 1} of {len(data)} was damaged")]


def _delay(rng: random.Random, data: bytes) -> list[Step]:
    return [Pause(rng.uniform(*DELAY_S)), Write(data), End()]


def _duplicate(_rng: random.Random, data: bytes) -> list[Step]:
    return [Write(data), End(), Write(data), End()]


def _noise(rng: random.Random, data: bytes) -> list[Step]:
    def garbage() -> Stray:
        return Stray(rng.randbytes(rng.randint(1, NOISE_MOST_BYTES)))

    where = rng.choice(("before", "after", "both"))
    before: list[Step] = [garbage()] if where != "after" else []
    after: list[Step] = [garbage()] if where != "before" else []
    return [*before, Write(data), End(), *after]


def _unplug(rng: random.Random, data: bytes) -> list[Step]:
    away = Unplug(rng.uniform(*AWAY_S), rough=rng.random() < 0.5)
    sent = rng.choice((0, rng.randint(0, len(data) - 1), len(data)))
    if sent == len(data):
        return [Write(data), End(), away]
    half: list[Step] = [Stray(data[:sent])] if sent else []
    return [*half, End("unplugged in the middle of it" if sent else "unplugged before it was sent"), away]


FAULTS: Final[dict[Fault, Callable[[random.Random, bytes], list[Step]]]] = {
    "split": _split,
    "drop": _drop,
    "corrupt": _corrupt,
    "delay": _delay,
    "duplicate": _duplicate,
    "noise": _noise,
    "unplug": _unplug,
}
_DAMAGE: Final[frozenset[Fault]] = frozenset({"drop", "corrupt", "noise", "unplug"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with one frame."""

    fault: Fault | None
    """Which it met, if it met one."""
    steps: list[Step]


class Cable:
    """Plans each frame's way.

    Args:
        seed: the same seed gives the same thing the same fault.
        faults: which there are, from `FAULTS`; none: a good cable.
        rate: the probability that a frame meets one of them.
        survives: `Device.survives`.

    Raises:
        ValueError: the rate is no probability.
    """

    def __init__(
        self,
        seed: int,
        faults: Sequence[str] = (),
        rate: float = RATE,
        survives: Callable[[bytes, bytes], bool] = lambda _data, _damaged: False,
    ) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"the fault rate is a probability from 0 to 1, not {rate:g}")
        self._seed, self._rate, self._survives = seed, rate, survives
        self._faults = tuple(fault for fault in FAULTS if fault in faults)  # the order given does not matter
        self._for_answers = tuple(fault for fault in self._faults if fault != "unplug")
        self._answers = random.Random(f"{seed}/answers")  # noqa: S311 (simulation)
        self._spare = False

    def plan(self, frame: Frame, attempt: int = 0) -> Plan:
        """The steps of one frame; `attempt`: how often its things were on their way before."""
        if frame.things:
            key = f"{self._seed}/{frame.things[0].number}/{attempt}"
            plan = self._hit(random.Random(key), frame.data, self._faults)  # noqa: S311
            return Plan(plan.fault, self._doubted(plan.steps, frame.data))
        if self._spare:
            self._spare = False
            return Plan(None, [Write(frame.data), End()])
        plan = self._hit(self._answers, frame.data, self._for_answers)
        self._spare = plan.fault in _DAMAGE
        return plan

    def _hit(self, rng: random.Random, data: bytes, faults: tuple[Fault, ...]) -> Plan:
        if not faults or not data or rng.random() >= self._rate:
            return Plan(None, [Write(data), End()])
        fault = rng.choice(faults)
        if fault == "unplug" and rng.random() >= UNPLUG_SHARE:
            return Plan(None, [Write(data), End()])
        return Plan(fault, FAULTS[fault](rng, data))

    def _doubted(self, steps: list[Step], data: bytes) -> list[Step]:
        """A damaged frame that may be read all the same is neither whole nor lost."""
        for place, step in enumerate(steps[1:], 1):
            before = steps[place - 1]
            if isinstance(step, End) and isinstance(before, Stray) and self._survives(data, before.data):
                steps[place] = End(unsure=step.lost)
        return steps

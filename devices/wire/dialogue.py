"""Conversations with a device, as tables: what to ask, what answers it, how long to wait, how often to try.

The one idea: a start-up is a list of steps, and a step is over when its answer came or its time is up. A device may
be in any state when its port is opened, so most start-ups are: stop what may be running, drain, identify, configure,
start.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from devices.driver import earliest
from devices.reads import Moment, Read
from devices.wire.framing import NS_PER_MS, FramedDriver


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to say, and what is to come of it."""

    name: str
    """What it is, as in "no answer to …"."""
    send: bytes
    answer: Hashable = None
    """What `heard` is told when the answer is there; None: nothing answers, and the step takes `wait_ms`."""
    wait_ms: int = 500
    """How long to wait for the answer, each time."""
    attempts: int = 3
    optional: bool = False
    """Without an answer: go on all the same."""
    again: bytes | None = None
    """What to say from the second time on, where the protocol marks repetitions; None: the same."""


class Dialogue:
    """Goes through the steps. Every call returns what is to be sent now.

    It ends with `done`, or with `failure`: the step that was not answered.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = list(steps)
        self._attempts = 0
        self._due_ns: int | None = None
        self.done = False
        self.failure: str | None = None

    @property
    def due_ns(self) -> int | None:
        """When `tick` is to be called."""
        return self._due_ns

    @property
    def step(self) -> Step | None:
        """The step it is at."""
        return self._steps[0] if self._steps and self.failure is None else None

    def begin(self, now: Moment) -> bytes:
        """Say the first thing."""
        return self._say(now)

    def heard(self, answer: Hashable, now: Moment) -> bytes:
        """An answer came; one that is not waited for changes nothing."""
        step = self.step
        if step is None or self._due_ns is None or step.answer is None or step.answer != answer:
            return b""
        return self._next(now)

    def repeat(self, now: Moment) -> bytes:
        """The device did not understand: say it again at once, if it was not said too often."""
        step = self.step
        if step is None or step.answer is None or self._attempts >= step.attempts:
            return b""
        return self._say(now)

    def tick(self, now: Moment) -> bytes:
        """Time passed: a pause is over, or a question is asked again, or given up."""
        step = self.step
        if step is None or self._due_ns is None or now.monotonic_ns < self._due_ns:
            return b""
        if step.answer is None:
            return self._next(now)
        if self._attempts < step.attempts:
            return self._say(now)
        if step.optional:
            return self._next(now)
        self.failure = f"no answer to {step.name} within {step.attempts * step.wait_ms / 1000:g} s"
        self._due_ns = None
        return b""

    def _next(self, now: Moment) -> bytes:
        self._steps.pop(0)
        self._attempts = 0
        return self._say(now)

    def _say(self, now: Moment) -> bytes:
        step = self.step
        if step is None:
            self.done, self._due_ns = True, None
            return b""
        self._attempts += 1
        self._due_ns = now.monotonic_ns + step.wait_ms * NS_PER_MS
        return step.send if self._attempts == 1 or step.again is None else step.again


class TalkingDriver(FramedDriver):
    """A driver that holds conversations, and has alarms: named instants at which it wants to do something."""

    HINT: ClassVar[str] = "check cable, power and baud, and that it is the device that this driver is for"
    """What to look at when it does not answer."""

    def __init__(self, device: str, **_options: Any) -> None:
        super().__init__(device)
        self._dialogue: Dialogue | None = None
        self._then: Callable[[Moment], None] | None = None
        self._alarms: dict[str, int] = {}

    def open(self, now: Moment) -> None:
        """Begin anew: nothing is known of the device. The subclass begins to `converse`."""
        super().open(now)
        self.ready, self.model, self.warning, self.fault = False, None, None, None
        self._dialogue, self._then = None, None
        self._alarms.clear()

    def alarm(self, name: str, now: Moment, reads: list[Read]) -> None:
        """The time that was set with `set_alarm` has come; it is set no more."""
        raise NotImplementedError

    def converse(self, steps: Sequence[Step], now: Moment, then: Callable[[Moment], None]) -> None:
        """Begin a conversation, in place of any other; `then` is called after its last step."""
        self._dialogue, self._then = Dialogue(steps), then
        self.send(self._dialogue.begin(now))
        self._follow_up(now)

    def heard(self, answer: Hashable, now: Moment) -> None:
        """Something arrived that may answer the present step."""
        if self._dialogue is not None:
            self.send(self._dialogue.heard(answer, now))
            self._follow_up(now)

    def repeat(self, now: Moment) -> None:
        """The device asks to be told again."""
        if self._dialogue is not None:
            self.send(self._dialogue.repeat(now))

    @property
    def conversing(self) -> bool:
        """A conversation is under way."""
        return self._dialogue is not None

    def set_alarm(self, name: str, delay_ms: float, now: Moment) -> None:
        """Have `alarm` called after so long; set again, it counts from now."""
        self._alarms[name] = now.monotonic_ns + int(delay_ms * NS_PER_MS)

    def clear_alarm(self, name: str) -> None:
        """Do not call it."""
        self._alarms.pop(name, None)

    def due_ns(self) -> int | None:
        """The first of: a step's time, an alarm, an unfinished frame."""
        spoken = self._dialogue.due_ns if self._dialogue is not None else None
        return earliest(super().due_ns(), spoken, *self._alarms.values())

    def tick(self, now: Moment) -> list[Read]:
        """Go on with whatever is due."""
        reads = super().tick(now)
        if self._dialogue is not None:
            self.send(self._dialogue.tick(now))
            self._follow_up(now)
        for name in [name for name, due_ns in self._alarms.items() if due_ns <= now.monotonic_ns]:
            if self._alarms.pop(name, None) is not None:  # unless an earlier one has cleared it
                self.alarm(name, now, reads)
        return reads

    def _follow_up(self, now: Moment) -> None:
        dialogue = self._dialogue
        assert dialogue is not None
        if dialogue.failure is not None:
            self.fault, self._dialogue = f"{dialogue.failure}: {self.HINT}", None
        elif dialogue.done:
            then, self._dialogue, self._then = self._then, None, None
            if then is not None:
                then(now)

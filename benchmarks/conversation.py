"""A driver and its simulated device in one process, on a clock that is made up.

The one idea: both are pure, so an hour of their conversation takes as long as they need to think. What the device
said can then be decoded again, as fast as it goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from devices.driver import ByteDriver
from devices.reads import Moment
from simulators.hardware.device import Device, Frame, Thing

STEP_S: Final = 0.005
ROUND: Final = 50
"""How many things are in front of the device at once: no more than readers take in one round."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the device said at one moment."""

    at_s: float
    data: bytes
    told: int
    """How many things the host has learnt from it."""


def converse(host: ByteDriver, device: Device, things: Sequence[Thing], longest_s: float = 60) -> list[Said]:
    """Start the device, show it the things when it is ready, until it has told of all, or so much time has passed."""
    now_s = started_s = 1.0
    said: list[Said] = []
    shown = told = 0

    def hear(frames: list[Frame]) -> None:
        nonlocal told
        for frame in frames:
            complete = len(frame.things) if frame.part == frame.parts else 0
            told += complete
            said.append(Said(now_s - started_s, frame.data, complete))
            host.feed(frame.data, moment)

    moment = Moment(now_s, int(now_s * 1e9))
    host.open(moment)
    hear(device.opened(now_s))
    while told < len(things) and now_s - started_s < longest_s:
        moment = Moment(now_s, int(now_s * 1e9))
        if host.ready and told >= shown:
            for thing in things[shown : shown + ROUND]:
                hear(device.see(thing, now_s))
            shown = min(len(things), shown + ROUND)
        sent = host.output()
        hear(device.hear(sent, now_s) if sent else [])
        due_s, due_ns = device.due_s(), host.due_ns()
        if due_s is not None and due_s <= now_s:
            hear(device.tick(now_s))
        if due_ns is not None and due_ns <= moment.monotonic_ns:
            host.tick(moment)
        now_s += STEP_S
    return said

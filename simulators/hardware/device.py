"""What a simulated device is: bytes of the host and things of the world go in, frames come out.

The one idea: a device is pure, like the driver at the other end of its cable, and shares nothing with it. It opens
nothing, waits for nothing and reads no clock; a `Rig` brings bytes, things and the time, and carries its frames over
a cable that may be bad. Every frame says which things the host learns from it, so that what the host read can be
compared with what it could have read.
"""

import random
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

Reads = Literal["code", "epc", "card"]
"""What a device reads: printed codes, UHF tags, or cards of 125 kHz. The member of `Thing` that it needs."""

FIELD_MOST: Final = 1000
"""How many things wait in front of a polled device; above, the oldest leaves unread and the account says so."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing that a device can read, once. `simulators.hardware.things` reads it from scripts, or makes it."""

    code: str | None = None
    """What a printed code says, separators as 1D hex; the symbology id is not part of it."""
    aim: str | None = None
    """The symbology as an AIM id, such as `]C1`."""
    epc: str | None = None
    """Hex, whole words of 16 bits."""
    tid: str | None = None
    """Hex; for readers that report it."""
    antenna: int | None = None
    """From 1; None: the device's first."""
    rssi_dbm: int | None = None
    """None: the device's habit."""
    card: str | None = None
    """Ten hex digits: of 125 kHz, the version and the number's 32 bits. Other devices take what they have of it."""
    number: int = 0
    """Given by the rig in the order in which things are shown, from 1. Frames hand on the thing as it was given."""

    @property
    def epc_bytes(self) -> bytes:
        """The EPC as bytes; the rig shows a thing only to a device that reads its kind."""
        assert self.epc is not None
        return bytes.fromhex(self.epc)

    @property
    def pc(self) -> int:
        """The protocol control word: the EPC's length in words in its upper five bits (Gen2 6.3.2.1.2.2)."""
        return len(self.epc_bytes) // 2 << 11


@dataclass(frozen=True, slots=True)
class Frame:
    """What the device says in one go: the unit that faults hit."""

    data: bytes
    things: tuple[Thing, ...] = ()
    """What the host learns from it; empty for answers, keep-alives and the like."""
    part: int = 1
    parts: int = 1
    """A thing that needs several frames is whole when all of them arrived in order (a part may be sent again)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device that is a web server answers to a request."""

    status: int
    body: bytes = b""
    """JSON."""
    stream: bool = False
    """From now on, its frames go to who asked."""


class Field:
    """Things in front of a polled device until its next round. Bounded: the oldest leaves when it is full."""

    def __init__(self, most: int = FIELD_MOST) -> None:
        self._things: deque[Thing] = deque()
        self._most = most
        self.dropped: list[Thing] = []
        """What left unread; the rig takes it into the account."""

    def __len__(self) -> int:
        return len(self._things)

    def put(self, thing: Thing) -> None:
        """A thing enters the field."""
        if len(self._things) >= self._most:
            self.dropped.append(self._things.popleft())
        self._things.append(thing)

    def take(self, most: int) -> list[Thing]:
        """What the next round finds, the oldest first: each thing is found once."""
        return [self._things.popleft() for _ in range(min(most, len(self._things)))]

    @property
    def things(self) -> tuple[Thing, ...]:
        """What is there now."""
        return tuple(self._things)


class Device:
    """The base of all kinds; what a kind does not need stays as it is here.

    Args:
        rng: all chance of this device comes from here.
        options: by name, as given on the command line; ValueError for what it cannot be. The rig has refused names
            that are not in `OPTIONS` before.
    """

    OPTIONS: ClassVar[Mapping[str, str]] = {}
    """Name of an option → what it does and what it may be."""
    PORTS: ClassVar[tuple[str, ...]] = ("pty", "tcp")
    """The transports it can sit on; the first is the usual one."""
    TERMINAL_URL: ClassVar[str] = "serial://{}"
    """What the host opens where it sits on a pseudo-terminal: {} is the path."""

    def __init__(self, rng: random.Random, **options: str) -> None:
        if options:
            raise ValueError(f"no option {', '.join(options)}")
        self.rng = rng
        self.field = Field()
        """For polled devices; what is in it has not been told yet."""

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        """The host's bytes, in any pieces; the answers. Bounded: what is no command is thrown away."""
        return []

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """A code is scanned, a tag enters the field, a card is held to the coil."""
        raise NotImplementedError

    def tick(self, now_s: float) -> list[Frame]:
        """Time passes: keep-alives, rounds that go on, repetitions. Called when `due_s` says so."""
        return []

    def due_s(self) -> float | None:
        """When to call `tick`, on the clock of `now_s`; None: there is nothing to wait for."""
        return None

    def opened(self, now_s: float) -> list[Frame]:
        """The host opened the port or connected: what the device says by itself then (a serial module: nothing)."""
        return []

    def closed(self, now_s: float) -> None:
        """The host closed the port or disconnected. The device keeps its power: what runs, runs on, unless its
        protocol ties it to the connection.
        """

    def hangs_up(self) -> bool:
        """Whether it ends this connection, once all that it said is out. Its power and the port stay."""
        return False

    def refusal(self, now_s: float) -> bytes:
        """What a second client is told before it is hung up on; one at a time is served."""
        return b""

    def request(
        self, method: str, path: str, body: bytes, login: tuple[str, str] | None, now_s: float
    ) -> Answer:
        """A request over HTTP, with user and password if it came with some; for devices that are web servers."""
        return Answer(404)

    def says(self, thing: Thing) -> str:
        """What the host is to read of it, as text: the code, the EPC in hex, or what this device makes of a card."""
        return thing.code or thing.epc or thing.card or ""

    def unplugged(self) -> None:
        """Power was lost: forget mode and session. What is in the field stays in front of the device."""

    def holding(self) -> Collection[Thing]:
        """Things it may still tell, or tell again: those in the field, those that nobody acknowledged."""
        return self.field.things

    def spoils(self, stray: bytes) -> bool:
        """Whether these bytes, which are no whole frame, spoil a whole frame that follows them.

        With a start byte, a length or a checksum the host finds its feet: no. Without (text lines): yes, unless
        they end as a frame ends.
        """
        return False

    def survives(self, data: bytes, damaged: bytes) -> bool:
        """Whether a host may read a frame of these bytes rightly although they came damaged, or not all of them.

        With a checksum over everything: no. Say yes where bytes do not matter, such as the second of two ends.
        """
        return False

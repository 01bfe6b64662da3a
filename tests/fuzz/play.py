"""What a fuzzer's bytes do to a driver: open it or not, with which options, then pieces, pauses and feedback.

The one idea: an input is a transcript. `options flags`, then any number of `how length16 bytes`, where `how` says how
long the pause before the bytes is, and whether they are the body of a frame; whatever a fuzzer makes of it is some
transcript, and every promise of a driver is checked while it is played.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from devices.driver import ByteDriver, Outcome
from devices.reads import BadFrame, Read
from devices.wire.requests import WebDriver
from tests.fuzz.frames import FRAMES
from tests.support.drivers import Bench, build, held_bytes, vectors
from tests.support.noise import CLEAN, NOISE

OPENED: Final = 1
OUTCOMES: Final[tuple[Outcome, ...]] = ("ok", "duplicate", "reject")
PAUSE_S: Final = 0.04
"""What one step of a pause stands for."""
PAUSES: Final = 0x3F
FRAMED: Final = 0x40
"""What comes is the body of a frame."""
FEEDBACK: Final = 0x80
"""There is feedback after the pause."""
MOST_BYTES: Final = 20_000
"""Of one input: more shows nothing new."""
SLACK_BYTES: Final = 4096
"""What a driver may keep besides its buffer: a model's name, texts of warnings, alarms."""


def option_sets(name: str) -> list[dict[str, str]]:
    """No options, and every set of options that a vector of this driver has."""
    found: list[dict[str, str]] = [{}]
    for vector in vectors(name):
        if (options := vector.get("options", {})) not in found:
            found.append(options)
    return found


def write(
    pieces: Sequence[tuple[int, bytes]], options: int = 0, *, opened: bool = False, feedback: bool = False
) -> bytes:
    """A transcript: (pause steps and `FRAMED`, bytes) after each other."""
    data = bytearray([options, OPENED if opened else 0])
    for pause, piece in pieces:
        for start in range(0, max(1, len(piece)), 0xFFFF):
            part = piece[start : start + 0xFFFF]
            data += bytes([pause | (FEEDBACK if feedback else 0)]) + len(part).to_bytes(2, "little") + part
    return bytes(data)


def read(data: bytes) -> tuple[int, int, list[tuple[int, bytes]]]:
    """(options, flags, pieces) of any bytes."""
    data = data[:MOST_BYTES]
    options, flags = (*data[:2], 0, 0)[:2]
    pieces = []
    at = 2
    while at + 3 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "little")
        pieces.append((data[at], data[at + 3 : at + 3 + size]))
        at += 3 + size
    return options, flags, pieces


class Player:
    """Plays transcripts to one driver, and holds it to its promises."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._options = option_sets(name)

    def play(self, data: bytes) -> list[Read]:
        """What was read. Raises AssertionError where a promise is broken."""
        options, flags, pieces = read(data)
        pieces = [(how, self._said(how, piece)) for how, piece in pieces]
        driver = self._build(options)
        bench = Bench(driver)
        allowed = held_bytes(driver) + 2 * driver.MAX_FRAME + SLACK_BYTES
        if flags & OPENED:
            self._ask(driver, pieces)
            bench.open()
        for number, (how, piece) in enumerate(pieces):
            bench.wait((how & PAUSES) * PAUSE_S)
            if how & FEEDBACK:
                driver.feedback(OUTCOMES[number % 3], bench.now)
            bench.feed(piece)
            assert held_bytes(driver) <= allowed, f"{self.name} keeps {held_bytes(driver)} bytes"
        bench.wait(5)
        driver.goodbye()
        bench.close()
        if not flags & OPENED:
            self._same_in_one_piece(options, pieces, bench.reads)
        return bench.reads

    def _ask(self, driver: ByteDriver, pieces: list[tuple[int, bytes]]) -> None:
        """A device behind a web server answers what it is asked there before its stream begins."""
        if isinstance(driver, WebDriver):
            for request in (*driver.before(), *driver.after(), *driver.farewell()):
                driver.answered(request, pieces[0][1] if pieces else b"")

    def _said(self, how: int, piece: bytes) -> bytes:
        return FRAMES[self.name].around(piece) if how & FRAMED and self.name in FRAMES else piece

    def _build(self, options: int) -> ByteDriver:
        return build(self.name, self._options[options % len(self._options)])

    def _same_in_one_piece(self, options: int, pieces: list[tuple[int, bytes]], reads: list[Read]) -> None:
        """However bytes without pauses are cut, the same is read. (Noise may be told of in other pieces.)"""
        if any(how & (PAUSES | FEEDBACK) for how, _ in pieces) or not pieces:
            return
        if NOISE.get(self.name, CLEAN).looks_ahead:
            return
        whole = Bench(self._build(options))
        whole.feed(b"".join(piece for _, piece in pieces))
        whole.wait(5)
        whole.close()
        assert _codes(whole.reads) == _codes(reads), (
            f"{self.name} reads otherwise when the bytes come in one piece"
        )


def _codes(reads: list[Read]) -> list[Any]:
    return [read for read in reads if not isinstance(read, BadFrame)]


def cut(data: bytes, places: Sequence[int]) -> list[tuple[int, bytes]]:
    """The bytes in pieces, without pauses."""
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [(0, data[start:end]) for start, end in pairwise(ends)]

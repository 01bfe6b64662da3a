"""What the demo says on the terminal: one line for each thing that happened, with the time since the start."""

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_GREEN: Final = "\x1b[32m"
_RED: Final = "\x1b[31m"
_RESET: Final = "\x1b[0m"


class Show:
    """Plain lines; on a terminal with a little weight and colour, and a running count below them."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stdout
        self._clock, self._began = clock, clock()
        self._is_terminal = self._out.isatty()
        self._running = False

    def stage(self, text: str) -> None:
        """A new stage begins."""
        self._line(f"{self._time()}  {self._paint(_BOLD, text)}")

    def happened(self, text: str) -> None:
        """Something happened within a stage."""
        self._line(f"{self._time()}    {text}")

    def address(self, what: str, where: str) -> None:
        """Where a person can look."""
        self._line(f"{'':9}  {what:<18} {self._paint(_BOLD, where)}")

    def running(self, text: str) -> None:
        """The count as it runs: on a terminal only, in one line that is written over."""
        if self._is_terminal:
            self._out.write(f"\r\x1b[K{'':9}    {self._paint(_DIM, text)}")
            self._out.flush()
            self._running = True

    def result(self, good: bool, text: str) -> None:
        """The end of the proof, in one line."""
        mark = "✓" if good else "✕"
        self._line(f"{self._time()}  {self._paint(_GREEN if good else _RED, f'{mark} {text}')}")

    def plain(self, text: str = "") -> None:
        """A line without a time."""
        self._line(text)

    def _time(self) -> str:
        return self._paint(_DIM, f"{self._clock() - self._began:7.1f} s")

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._is_terminal else text

    def _line(self, text: str) -> None:
        if self._running:
            self._out.write("\r\x1b[K")
            self._running = False
        self._out.write(f"{text}\n")
        self._out.flush()

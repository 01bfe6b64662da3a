"""`serial://`: serial lines, USB-CDC, Bluetooth serial, pseudo-terminals. The one module that knows pyserial.

pyserial opens and sets the line up; reading is done on the descriptor itself. Opened exclusively: two programs that
share a scanner each get half of every code.
"""

import asyncio
import contextlib
import errno
import os
import termios
from typing import Any

import serial

from devices.driver import ByteDriver
from devices.errors import Unavailable
from devices.ports.link import UNPLUGGED, DescriptorLink
from devices.ports.url import Port

_PARITY = {"none": "N", "even": "E", "odd": "O"}


# How long a line is kept open for what was said last, such as a goodbye: 40 bytes at 9600 baud, and a USB adapter.
DRAIN_S = 0.25
_DRAIN_POLL_S = 0.005


class SerialLink(DescriptorLink):
    """A line that is let go when what was sent last has left. A device that takes nothing is not waited for long."""

    def __init__(self, line: Any, *, what: str) -> None:
        super().__init__(line.fileno(), self._drain, what=what, at_end=UNPLUGGED)
        self._line = line
        self._gone = asyncio.Event()
        self._until_s: float | None = None

    def _drain(self) -> None:
        if self._until_s is None:
            self._until_s = self._loop.time() + DRAIN_S
        if _unsent(self._line) and self._loop.time() < self._until_s:
            self._loop.call_later(_DRAIN_POLL_S, self._drain)
        else:
            _close(self._line)
            self._gone.set()

    async def closed(self) -> None:
        """Wait until the line was let go: another opening before that finds it in use."""
        await self._gone.wait()


async def open_link(port: Port, options: dict[str, Any], _driver: ByteDriver) -> SerialLink:
    """Open the line. Raises `Unavailable` with the reason. In a thread: a Bluetooth line takes seconds to open."""
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, _open, port.path, options)
    try:
        line = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_abandon)
        raise
    return SerialLink(line, what=port.path)


def _open(path: str, options: dict[str, Any]) -> Any:
    try:
        line = serial.Serial(
            path,
            baudrate=options["baud"],
            parity=_PARITY[options["parity"]],
            bytesize=options["bits"],
            stopbits=options["stop"],
            rtscts=options["rtscts"],
            timeout=0,
            exclusive=True,
        )
    except (OSError, ValueError, termios.error) as problem:
        raise Unavailable(_reason(path, problem)) from None
    try:
        _no_ambiguous_zero(line.fileno())
    except termios.error as problem:
        line.close()
        raise Unavailable(_reason(path, problem)) from None
    return line


def _no_ambiguous_zero(fd: int) -> None:
    """VMIN = 1: a read of zero bytes then means a hang-up and nothing else (termios(3), non-canonical mode)."""
    settings = termios.tcgetattr(fd)
    settings[6][termios.VMIN] = 1
    settings[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, settings)


def _unsent(line: Any) -> int:
    """How many bytes the device has not taken yet; none will be by one that is gone."""
    try:
        return int(line.out_waiting)
    except OSError:
        return 0


def _close(line: Any) -> None:
    # Else closing waits up to 30 s for bytes that a dead device will never take; one that is gone cannot be told.
    # Where nothing waits, a flush could only take back what a pseudo-terminal has still to hand over.
    if _unsent(line):
        with contextlib.suppress(termios.error):
            termios.tcflush(line.fileno(), termios.TCOFLUSH)
    line.close()


def _abandon(opening: "asyncio.Future[Any]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        _close(opening.result())


def _reason(path: str, problem: Exception) -> str:
    # pyserial wraps some errors in sentences of its own; the number is then in the error behind it.
    numbers = [each.args[0] for each in (problem, problem.__context__) if each is not None and each.args]
    code = next((number for number in numbers if isinstance(number, int)), None)
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return f"there is no {path}: is the device plugged in and switched on? See: ls -l /dev/serial/by-id"
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"{path} may not be opened by this user: add it to the group that owns the device (often dialout)"
        )
    if code in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY):
        return f"{path} is in use by another program; close that, or give each its own scanner"
    if code in (errno.ENOTTY, errno.EINVAL):
        return f"{path} is no serial line, or does not take these settings: {os.strerror(code)}"
    return f"{path} cannot be opened: {problem}"

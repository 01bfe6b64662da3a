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
from devices.ports.link import DescriptorLink
from devices.ports.url import Port

_PARITY = {"none": "N", "even": "E", "odd": "O"}


async def open_link(port: Port, options: dict[str, Any], _driver: ByteDriver) -> DescriptorLink:
    """Open the line. Raises `Unavailable` with the reason. In a thread: a Bluetooth line takes seconds to open."""
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, _open, port.path, options)
    try:
        line = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_abandon)
        raise
    return DescriptorLink(line.fileno(), lambda: _close(line), what=port.path)


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


def _close(line: Any) -> None:
    # Else closing waits up to 30 s for bytes that a dead device will never take; one that is gone cannot be told.
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

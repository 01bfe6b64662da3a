"""What an open port looks like to the reader, and the one kind of link that every file descriptor gets."""

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from devices.driver import Frame

# One read takes what the kernel has: a pseudo-terminal holds 4 KiB, a socket more. One system call, no `readline`.
CHUNK = 65536
# What waits for a device that does not take it just now. Commands are short: above, it does not listen.
MAX_WAITING = 4096
UNPLUGGED = "was unplugged or switched off"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a link ended."""

    reason: str
    finished: bool = False
    """There was an end, and it was reached: a recording was read to the last byte."""
    complete: bool = True
    """At that end, nothing is missing that should have come before it."""


class ByteLink(Protocol):
    """An open port that delivers bytes."""

    def start(self, hear: Callable[[bytes], None], ended: Callable[[Ending], None]) -> None:
        """Deliver bytes from now on, on the event loop; `ended` is called once, and nothing after it."""

    answers: bool
    """Somebody is there who can be talked to; a recording has nobody."""

    def send(self, data: bytes) -> None:
        """Hand these bytes to the device, soon and in order. Never blocks; what does not fit is dropped whole."""

    def close(self) -> None:
        """Stop and let go. May be called twice."""

    async def closed(self) -> None:
        """After `close`: wait until the device was let go, for seconds at the most. Most links need not wait."""

    @property
    def warning(self) -> str | None:
        """It works, but somebody should look at how the port is set up, or at what was lost."""


class ImageLink(Protocol):
    """An open port that delivers images. Every method may take time and runs in the reader's worker thread."""

    def next(self) -> Frame | Ending | str | None:
        """The next image, its end, why a file could not be read (text), or None when there is nothing just now."""

    def close(self) -> None:
        """Let go. May be called twice."""

    @property
    def warning(self) -> str | None:
        """It works, but somebody should look."""


class DescriptorLink:
    """A non-blocking file descriptor on the event loop: a serial line, a socket, an input device.

    End of file and every error end the link once and take the descriptor off the loop, so that a vanished device
    (readable for ever, with nothing in it) never makes it spin.
    """

    answers = True
    warning = None

    def __init__(
        self, fd: int, close: Callable[[], None], *, what: str, at_end: str = "ended the connection"
    ) -> None:
        """`at_end` is what an end of file means: a hung-up terminal has one too."""
        self._fd = fd
        self._close = close
        self._what, self._at_end = what, at_end
        self._open = True
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()

    def start(self, hear: Callable[[bytes], None], ended: Callable[[Ending], None]) -> None:
        """Watch the descriptor; read in bulk whenever there is something."""

        def readable() -> None:
            try:
                data = os.read(self._fd, CHUNK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as problem:
                self.close()
                ended(Ending(_lost(self._what, problem)))
                return
            if data:
                hear(data)
            else:
                self.close()
                ended(Ending(f"{self._what} {self._at_end}"))

        self._loop.add_reader(self._fd, readable)

    def send(self, data: bytes) -> None:
        """Write what fits now, and the rest when the device takes it. A lost device is noticed by reading."""
        if not self._open or not data:
            return
        if self._waiting:
            if len(self._waiting) + len(data) <= MAX_WAITING:
                self._waiting += data
            return
        written = self._write(data)
        if 0 < written < len(data) or (written == 0 and len(data) <= MAX_WAITING):
            self._waiting += data[written:]
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        written = self._write(bytes(self._waiting))
        del self._waiting[: len(self._waiting) if written < 0 else written]
        if not self._waiting:
            self._loop.remove_writer(self._fd)

    def _write(self, data: bytes) -> int:
        """How many bytes were taken; −1: none ever will be."""
        try:
            return os.write(self._fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return -1

    def close(self) -> None:
        """Take the descriptor off the loop and close it."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            if self._waiting:
                self._loop.remove_writer(self._fd)
                self._waiting.clear()
            self._close()

    async def closed(self) -> None:
        """A descriptor is closed at once."""


def _lost(what: str, problem: OSError) -> str:
    if problem.errno in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return f"{what} {UNPLUGGED}"
    return f"{what} was lost: {problem.strerror or problem}"

"""A text-line barcode scanner on a pseudo-terminal: real bytes, AIM ids, a terminator, split where it hurts.

The other side opens `path` like any serial port. The scanner keeps no handle on that side: when the reader closes
or dies the link is down, as with a real cable, and what is scanned meanwhile is lost, also what nobody had read yet.
Wire facts: text line protocol of RS-232 and USB-CDC scanners, `[AIM id][data][terminator]`; BEL (07) beeps.
"""

import contextlib
import os
import random
import select
import termios
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

BEL: Final = 0x07
WRITE_TIMEOUT_S: Final = 2.0
"""A reader that takes nothing for so long counts as gone; a pseudo-terminal buffers 4 KiB."""
_DRAIN_BYTES = 4096
_PIECE_MOST_BYTES = 9


class Unplugged(Exception):
    """Nobody has the port open: what was scanned is lost, as on a real scanner."""


class Scanner:
    """One scanner; use it as a context manager.

    Args:
        link: a symbolic link to the port, made now and removed when the scanner is closed (None: `path` only).
        rng: where the bytes of a scan are split.
        terminator: what follows each code.
        pause: called between the pieces of one scan with seconds to wait.
    """

    def __init__(
        self,
        link: Path | None = None,
        *,
        rng: random.Random,
        terminator: bytes = b"\r\n",
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rng, self._terminator, self._pause = rng, terminator, pause
        self._master, port = os.openpty()
        try:
            tty.setraw(port)
            self.port = Path(os.ttyname(port))
        finally:
            os.close(port)
        os.set_blocking(self._master, False)
        self._link = link
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.port)
        self._open = True
        self._handled = threading.Lock()  # one thread may scan while another looks whether the port is open
        self.beeps = 0
        """BEL characters that the reader sent back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Pull the plug: the reader sees the port hang up, and the port is gone."""
        if self._open:
            self._open = False
            os.close(self._master)
            if self._link is not None:
                self._link.unlink(missing_ok=True)

    @property
    def path(self) -> Path:
        """What the reader opens."""
        return self._link or self.port

    def connected(self) -> bool:
        """Whether a program has the port open. If not, what nobody has read is gone."""
        with self._handled:
            poll = select.poll()
            poll.register(self._master, 0)
            if not poll.poll(0):
                return True
            self._forget()
            return False

    def scan(self, code: str, aim_id: str = "") -> None:
        """Send one code as the scanner reads it: AIM id, text in UTF-8, terminator; in pieces.

        Raises:
            Unplugged: nobody has the port open, or took nothing for a while.
        """
        self.send(f"{aim_id}{code}".encode() + self._terminator)

    def scan_twice(self, code: str, aim_id: str = "") -> None:
        """A finger that slips: the same code twice within a moment, however busy this machine is.

        Raises:
            Unplugged: nobody has the port open, or took nothing for a while.
        """
        self._write((f"{aim_id}{code}".encode() + self._terminator) * 2)

    def send(self, data: bytes) -> None:
        """Send any bytes, split at random boundaries.

        Raises:
            Unplugged: nobody has the port open, or took nothing for a while.
        """
        while data:
            size = self._rng.randint(1, _PIECE_MOST_BYTES)
            self._write(data[:size])
            data = data[size:]
            if data and self._rng.random() < 0.3:  # not every boundary is visible to the reader
                self._pause(0.001)

    def _write(self, piece: bytes) -> None:
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        while piece:
            self.hear()
            if not self.connected():
                raise Unplugged(f"nobody has {self.path} open")
            try:
                with self._handled:
                    piece = piece[os.write(self._master, piece) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unplugged(f"whoever has {self.path} open reads nothing") from None
                self._pause(0.005)

    def hear(self) -> int:
        """Take what the reader sent back and count its beeps; returns how many there are by now."""
        # EIO: hung up. EAGAIN: nothing there.
        with contextlib.suppress(OSError):
            self.beeps += os.read(self._master, _DRAIN_BYTES).count(BEL)
        return self.beeps

    def _forget(self) -> None:
        """Throw away what nobody read: the kernel would keep it for the next reader, a cable does not."""
        try:
            port = os.open(self.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return  # just now a reader opened it for itself alone (TIOCEXCL), and begins anew too
        try:
            termios.tcflush(port, termios.TCIFLUSH)
        finally:
            os.close(port)

"""A text-line barcode scanner in somebody's hand: scans one code when told to, and says when nobody listens.

It is the demo's scanner. The one idea: whoever holds it must know at once whether a scan went out, so it waits until
the bytes are written; a `simulators.hardware.rig.Rig` works by itself and gives an account instead. Both sit on the
same terminal and send the same lines. The scanner keeps no handle on the reader's side: when the reader closes or
dies the link is down, and what is scanned meanwhile is lost, also what nobody had read yet.
"""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from simulators.hardware.text_line import BEL, TERMINATORS, line
from simulators.hardware.transports import Gone
from simulators.hardware.transports.pty import Pty

WRITE_TIMEOUT_S: Final = 2.0
"""A reader that takes nothing for so long counts as gone; a pseudo-terminal buffers 4 KiB."""
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
        terminator: bytes = TERMINATORS["crlf"],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rng, self._terminator, self._pause = rng, terminator, pause
        self._pty = Pty(link or "")
        self._handled = threading.Lock()  # one thread may scan while another looks whether the port is open
        self.beeps = 0
        """BEL characters that the reader sent back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Pull the plug: the reader sees the port hang up, and the port is gone."""
        with self._handled:
            self._pty.close()

    @property
    def port(self) -> Path:
        """The terminal itself."""
        return self._pty.port

    @property
    def path(self) -> Path:
        """What the reader opens."""
        return self._pty.path

    def connected(self) -> bool:
        """Whether a program has the port open. If not, what nobody has read is gone."""
        with self._handled:
            return self._pty.session() is not None

    def scan(self, code: str, aim_id: str = "") -> None:
        """Send one code as the scanner reads it: AIM id, text in UTF-8, terminator; in pieces.

        Raises:
            Unplugged: nobody has the port open, or took nothing for a while.
        """
        self.send(line(code, aim_id, self._terminator))

    def scan_twice(self, code: str, aim_id: str = "") -> None:
        """A finger that slips: the same code twice within a moment, however busy this machine is.

        Raises:
            Unplugged: nobody has the port open, or took nothing for a while.
        """
        self._write(line(code, aim_id, self._terminator) * 2)

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
        while True:
            self.hear()
            try:
                with self._handled:
                    piece = piece[self._pty.send(piece) :]
            except Gone as gone:
                raise Unplugged(str(gone)) from None
            if not piece:
                return
            if time.monotonic() > deadline:
                raise Unplugged(f"whoever has {self.path} open reads nothing")
            self._pause(0.005)

    def hear(self) -> int:
        """Take what the reader sent back and count its beeps; returns how many there are by now."""
        with self._handled:
            self.beeps += self._pty.receive().count(BEL)
        return self.beeps

"""A pair of connected sockets within this process, for drivers that read any descriptor (evdev, hidraw).

`pair` is a stream; `pair:packets` keeps each write apart, as a HID device does with its reports.
"""

import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from typing import Final

from simulators.hardware.transports import Confirmation, Gone

_READ_BYTES: Final = 65536
_KINDS: Final = {"": socket.SOCK_STREAM, "packets": socket.SOCK_SEQPACKET}


class Pair:
    """The transport `pair`. `host` is what the driver's port reads and writes; take it with `detach` or close it."""

    def __init__(self, address: str) -> None:
        self.refusal: Callable[[], bytes] = bytes
        if address not in _KINDS:
            raise ValueError(f"a pair is pair or pair:packets, not 'pair:{address}'")
        self._kind = _KINDS[address]
        self._sessions = 0
        self._outstanding = False
        self._last: Confirmation = "read"
        self._mine: socket.socket | None = None
        self.host: socket.socket
        self.come_back()

    @property
    def place(self) -> str:
        """Nowhere in the file system."""
        return "a socket pair in this process"

    @property
    def url(self) -> str:
        """Nobody else can open it."""
        return ""

    def session(self) -> int | None:
        """The pair is one session until it is hung up."""
        return self._sessions if self._mine is not None else None

    def wait_on(self) -> Sequence[int]:
        """Our end."""
        return (self._mine.fileno(),) if self._mine is not None else ()

    def receive(self) -> bytes:
        """What the host sent."""
        if self._mine is None:
            return b""
        try:
            data = self._mine.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._drop()
        return data

    def send(self, data: bytes) -> int:
        """As much as fits; a packet whole or not at all. Raises Gone."""
        if self._mine is None:
            raise Gone("the host closed its end")
        self._outstanding = True
        try:
            return self._mine.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop()
            raise Gone("the host closed its end") from None

    def confirm(self) -> Confirmation:
        """The kernel counts what the other end has not read (unix(7), SIOCOUTQ)."""
        if self._outstanding and self._mine is not None and not _unread_bytes(self._mine):
            self._outstanding, self._last = False, "read"
        return "unread" if self._outstanding else self._last

    def hang_up(self, *, rough: bool) -> None:
        """The host reads to the end of what was sent."""
        self._drop()

    def come_back(self) -> None:
        """A new pair; `host` is another socket."""
        if self._mine is None:
            if self._sessions:
                self.host.close()
            self._mine, self.host = socket.socketpair(socket.AF_UNIX, self._kind)
            self._mine.setblocking(False)
            self.host.setblocking(False)
            self._sessions += 1

    def close(self) -> None:
        """Both ends, unless the host's was detached."""
        self._drop()
        self.host.close()

    def _drop(self) -> None:
        if self._mine is not None:
            self._mine.close()
            self._mine = None
            if self._outstanding:
                self._outstanding, self._last = False, "unread"


def _unread_bytes(mine: socket.socket) -> int:
    found: int = struct.unpack("i", fcntl.ioctl(mine, termios.TIOCOUTQ, b"\0" * 4))[0]
    return found

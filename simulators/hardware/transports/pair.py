"""A pair of connected sockets within this process, for drivers that read any descriptor (evdev, hidraw).

`pair` is a stream; `pair:packets` keeps each write apart, as a HID device does with its reports.
"""

import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from typing import Final

from simulators.hardware.transports.socket_end import SocketEnd

_KINDS: Final = {"": socket.SOCK_STREAM, "packets": socket.SOCK_SEQPACKET}


class Pair(SocketEnd):
    """The transport `pair`. `host` is what the driver's port reads and writes; take it with `detach` or close it."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.refusal: Callable[[], bytes] = bytes
        if address not in _KINDS:
            raise ValueError(f"a pair is pair or pair:packets, not 'pair:{address}'")
        self._kind = _KINDS[address]
        self._sessions = 0
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
        return self._sessions if self._peer is not None else None

    def wait_on(self) -> Sequence[int]:
        """Our end."""
        return (self._peer.fileno(),) if self._peer is not None else ()

    def _all_read(self, peer: socket.socket) -> bool:
        """The kernel counts what the other end has not read (unix(7), SIOCOUTQ)."""
        unread: int = struct.unpack("i", fcntl.ioctl(peer, termios.TIOCOUTQ, b"\0" * 4))[0]
        return not unread

    def hang_up(self, *, rough: bool) -> None:
        """The host reads to the end of what was sent."""
        self._drop()

    def come_back(self) -> None:
        """A new pair; `host` is another socket."""
        if self._peer is None:
            if self._sessions:
                self.host.close()
            self._peer, self.host = socket.socketpair(socket.AF_UNIX, self._kind)
            self._peer.setblocking(False)
            self.host.setblocking(False)
            self._sessions += 1

    def close(self) -> None:
        """Both ends, unless the host's was detached."""
        self._drop()
        self.host.close()

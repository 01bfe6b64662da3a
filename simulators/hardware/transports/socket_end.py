"""Our end of a connected socket: what `tcp` and `pair` do alike once somebody is there."""

import socket
from typing import Final

from simulators.hardware.transports import Confirmation, Gone

_READ_BYTES: Final = 65536


class SocketEnd:
    """Reads, writes, and knows whether the host has read what was written. A subclass says who is there, and how to
    see what is unread.
    """

    def __init__(self) -> None:
        self._peer: socket.socket | None = None
        self._outstanding = False
        self._last: Confirmation = "read"

    def _all_read(self, peer: socket.socket) -> bool:
        """Whether the host has read everything."""
        raise NotImplementedError

    def receive(self) -> bytes:
        """What the host sent; its end or its death is noticed here."""
        if self._peer is None:
            return b""
        try:
            data = self._peer.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._drop()
        return data

    def send(self, data: bytes) -> int:
        """As much as the socket takes; a packet whole or not at all. Raises Gone."""
        if self._peer is None:
            raise Gone("nobody is connected")
        self._outstanding = True
        try:
            return self._peer.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop()
            raise Gone("the host is gone") from None

    def confirm(self) -> Confirmation:
        """Of a host that went with something unread, nothing more is learnt."""
        if self._outstanding and self._peer is not None and self._all_read(self._peer):
            self._outstanding, self._last = False, "read"
        return "unread" if self._outstanding else self._last

    def _drop(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
            if self._outstanding:
                self._outstanding, self._last = False, "unread"

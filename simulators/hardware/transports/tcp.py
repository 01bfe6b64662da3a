"""A TCP port as network readers have it: one client at a time, everybody else is hung up on.

Whether a client on this machine has read everything is seen in the kernel's own table of sockets; of a client
elsewhere, we know what its machine has taken (tcp(7), SIOCOUTQ).
"""

import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from simulators.hardware.transports import Refused
from simulators.hardware.transports.socket_end import SocketEnd

_BACKLOG: Final = 8
_ACCEPTS_AT_ONCE: Final = 16
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s: close sends RST
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class Tcp(SocketEnd):
    """The transport `tcp`: `tcp:PORT` on the loopback, or `tcp:HOST:PORT`. Port 0, or none: a free one.

    Args:
        address: `PORT` or `HOST:PORT`; brackets around an IPv6 address.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self.refusal: Callable[[], bytes] = bytes
        self._listener = listen(address, "tcp")
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._sessions, self._away = 0, False

    @property
    def place(self) -> str:
        """HOST:PORT as it was chosen."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """A TCP connection."""
        return f"tcp://{self.place}"

    def session(self) -> int | None:
        """Let the first who waits come in, turn away the others."""
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            if self._away:
                reset(client)
            elif self._peer is not None:
                with contextlib.suppress(OSError):
                    client.send(self.refusal())
                client.close()
            else:
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._peer = client
                self._sessions += 1
        return self._sessions if self._peer is not None else None

    def wait_on(self) -> Sequence[int]:
        """The listener, and the client if there is one."""
        return (
            self._listener.fileno(),
            *((self._peer.fileno(),) if self._peer is not None else ()),
        )

    def _all_read(self, peer: socket.socket) -> bool:
        return all_read(peer)

    def hang_up(self, *, rough: bool) -> None:
        """A reset, or an end in good order; the port stays ours and everybody who tries it is reset."""
        self._away = True
        if self._peer is not None and rough:
            reset(self._peer)
        self._drop()

    def come_back(self) -> None:
        """Take clients again."""
        self._away = False

    def close(self) -> None:
        """No more clients."""
        self._drop()
        self._listener.close()


def listen(address: str, word: str) -> socket.socket:
    """At `PORT` of the loopback or at `HOST:PORT`; `word` is the transport's. Raises ValueError, Refused."""
    name, _, number = (address or "0").rpartition(":")
    if not number.isascii() or not number.isdecimal() or int(number) > 65535:
        raise ValueError(
            f"a {word.upper()} port is {word}:PORT or {word}:HOST:PORT with 0 to 65535, not '{word}:{address}'"
        )
    host, port = name.strip("[]") or "127.0.0.1", int(number)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Refused(f"{host} is no address: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Refused(
            f"cannot listen on {host}:{port}: {error.strerror}; {word}:0 takes a free port"
        ) from None
    listener.setblocking(False)
    return listener


def reset(client: socket.socket) -> None:
    """Close it with a RST."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    client.close()


def all_read(client: socket.socket) -> bool:
    """Nothing is on the way, looked at first; and nothing waits at the other end, as far as we can see it."""
    try:
        under_way = struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, b"\0" * 4))[0]
        here, there = client.getsockname(), client.getpeername()
    except OSError:
        return False
    if under_way:
        return False
    return here[0] != there[0] or _unread_bytes(there[1], here[1]) == 0


def _unread_bytes(local_port: int, remote_port: int) -> int | None:
    """What waits unread in the socket with these ports (proc_net_tcp: `sl local remote st tx:rx`); None: no such."""
    for table in _TABLES:
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            _, local, remote, _, queues, *_ = row.split()
            if (int(local[-4:], 16), int(remote[-4:], 16)) == (local_port, remote_port):
                return int(queues.partition(":")[2], 16)
    return None

"""A web server as readers have it: requests that the device answers, and one answer that never ends.

The one idea: it is a transport like the others, so it never waits: every connection is looked at in turn, with or
without TLS, and who reads the stream is the host. A host that reads slowly leaves no room, and the device waits.
"""

import base64
import binascii
import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from simulators.hardware.device import Answer
from simulators.hardware.transports import Confirmation, Gone
from simulators.hardware.transports.certificate import Certificate
from simulators.hardware.transports.tcp import all_read, listen, reset

_READ_BYTES: Final = 65536
_PEERS_MOST: Final = 16
_ACCEPTS_AT_ONCE: Final = 16
_HEAD_MOST_BYTES: Final = 16384
_BODY_MOST_BYTES: Final = 65536
_REASONS: Final = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    503: "Service Unavailable",
}

Request = Callable[[str, str, bytes, tuple[str, str] | None], Answer]


class _Peer:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.inbox, self.outbox = bytearray(), bytearray()
        self.streaming = False
        self.ends = False
        """When all is out."""

    def receive(self) -> bool:
        """Take what came; False: the other side is gone."""
        try:
            while data := self.connection.recv(_READ_BYTES):
                self.inbox += data
                if len(self.inbox) > _HEAD_MOST_BYTES + _BODY_MOST_BYTES:
                    return False
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return True
        except OSError:
            return False
        return False

    def flush(self) -> bool:
        """Send what fits; False: the other side is gone, or it was the end."""
        try:
            while self.outbox:
                del self.outbox[: self.connection.send(self.outbox)]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return True
        except OSError:
            return False
        return not self.ends

    def take_request(self) -> tuple[str, str, bytes, tuple[str, str] | None] | Answer | None:
        """The next whole request; an answer to what is none; None: not yet."""
        head, blank, rest = bytes(self.inbox).partition(b"\r\n\r\n")
        if not blank:
            return Answer(413) if len(head) > _HEAD_MOST_BYTES else None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = headers.get("content-length", "0")
        if first.count(" ") != 2 or not size.isdecimal() or int(size) > _BODY_MOST_BYTES:
            return Answer(400)
        if len(rest) < int(size):
            return None
        del self.inbox[: len(head) + len(blank) + int(size)]
        method, path, _ = first.split(" ")
        return method, path, rest[: int(size)], _login(headers.get("authorization", ""))

    def answer(self, answer: Answer) -> None:
        """Put an answer into the outbox."""
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Whatever')}"]
        if answer.stream:
            lines += ["Content-Type: application/x-ndjson", "Transfer-Encoding: chunked"]
            self.streaming = True
        elif answer.status != 204:
            lines += ["Content-Type: application/json", f"Content-Length: {len(answer.body)}"]
        if answer.status == 401:
            lines.append('WWW-Authenticate: Basic realm="reader"')
        self.outbox += ("\r\n".join(lines) + "\r\n\r\n").encode()
        if not answer.stream:
            self.outbox += answer.body


class Http:
    """The transport `http`: `http:PORT` on the loopback, or `http:HOST:PORT`. Port 0: a free one."""

    SCHEME = "http"

    def __init__(self, address: str) -> None:
        self.refusal: Callable[[], bytes] = bytes
        self.request: Request = lambda *_: Answer(404)
        self._listener = listen(address, self.SCHEME)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._peers: list[_Peer] = []
        self._sessions, self._away = 0, False
        self._outstanding = False
        self._last: Confirmation = "read"

    @property
    def place(self) -> str:
        """HOST:PORT as it was chosen."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """As a web address."""
        return f"{self.SCHEME}://{self.place}"

    @property
    def _host(self) -> _Peer | None:
        return next((peer for peer in self._peers if peer.streaming), None)

    def session(self) -> int | None:
        """Whether somebody reads the stream."""
        self._let_in()
        for peer in self._peers[:]:
            if not peer.flush():
                self._drop(peer)
        return None if self._host is None else self._sessions

    def wait_on(self) -> Sequence[int]:
        """The listener and every connection."""
        return (self._listener.fileno(), *(peer.connection.fileno() for peer in self._peers))

    def receive(self) -> bytes:
        """Have requests answered; each is also told, as a line of JSON, for those who want to know."""
        asked = b""
        self._let_in()
        for peer in self._peers[:]:
            there = peer.receive()
            while not peer.streaming and (request := peer.take_request()) is not None:
                if isinstance(request, Answer):
                    peer.ends = True
                    peer.answer(request)
                    break
                method, path, body, _ = request
                told = {"method": method, "path": path, "body": body.decode("utf-8", "replace")}
                asked += json.dumps(told).encode() + b"\n"
                self._answer(peer, request)
            if not (there and peer.flush()):
                self._drop(peer)
        return asked

    def send(self, data: bytes) -> int:
        """One chunk of the stream, when the last one is out. Raises Gone."""
        host = self._host
        if host is None or not host.flush():
            raise Gone(f"nobody reads the stream of {self.place}")
        if host.outbox:
            return 0
        self._outstanding = True
        host.outbox += b"%x\r\n%b\r\n" % (len(data), data)
        host.flush()
        return len(data)

    def confirm(self) -> Confirmation:
        """Of a host that went with something unread, nothing more is learnt."""
        host = self._host
        if self._outstanding and host is not None and not host.outbox and all_read(host.connection):
            self._outstanding, self._last = False, "read"
        return "unread" if self._outstanding else self._last

    def hang_up(self, *, rough: bool) -> None:
        """A reset, or the end of the stream; the port stays ours and everybody who tries it is reset."""
        self._away = True
        for peer in self._peers[:]:
            if rough:
                reset(peer.connection)
            elif peer.streaming:
                peer.outbox += b"0\r\n\r\n"
                peer.flush()
            self._drop(peer)

    def come_back(self) -> None:
        """Take connections again."""
        self._away = False

    def close(self) -> None:
        """No more connections."""
        for peer in self._peers[:]:
            self._drop(peer)
        self._listener.close()

    def _secure(self, connection: socket.socket) -> socket.socket:
        return connection

    def _let_in(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            if self._away or len(self._peers) >= _PEERS_MOST:
                reset(connection)
                continue
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers.append(_Peer(self._secure(connection)))

    def _answer(self, peer: _Peer, request: tuple[str, str, bytes, tuple[str, str] | None]) -> None:
        answer = self.request(*request)
        if answer.stream:
            if self._host is not None:
                answer = Answer(503, b'{"message":"Somebody reads the stream already"}')
            else:
                self._sessions += 1
        peer.answer(answer)

    def _drop(self, peer: _Peer) -> None:
        if peer not in self._peers:
            return
        self._peers.remove(peer)
        with contextlib.suppress(OSError):
            peer.connection.close()
        if peer.streaming and self._outstanding:
            self._outstanding, self._last = False, "unread"


class Https(Http):
    """The transport `https`: the same, with a certificate of its own making. `certificate` is its file."""

    SCHEME = "https"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        try:
            self._certificate = Certificate()
        except BaseException:
            self._listener.close()
            raise
        self.certificate = self._certificate.file
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(self._certificate.file, self._certificate.key)

    @property
    def url(self) -> str:
        """As a web address; its certificate is not known to anybody."""
        return f"{super().url}?verify=no"

    def close(self) -> None:
        """No more connections, no more certificate."""
        super().close()
        self._certificate.close()

    def _secure(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)


def _login(header: str) -> tuple[str, str] | None:
    """User and password of basic authentication (RFC 7617)."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password

"""A network camera that speaks RTSP (RFC 2326) and sends JPEG over RTP (RFC 2435) in the same connection."""

import hashlib
import re
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import cv2

from tests.support.pictures import PAUSE_S, Image

_PAYLOAD = 26  # RFC 3551 §6: JPEG
_FRAGMENT = 1400
_SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track\r\n"
_REALM, _NONCE = "camera", "5f2c7a"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


def segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment of a JPEG; last SOS, with all that is scanned."""
    place = 2
    while True:
        marker, length = struct.unpack_from("!xBH", jpeg, place)
        content = jpeg[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == 0xDA:
            yield marker, jpeg[place:-2]
            return
        yield marker, content


def packets(image: Image, sequence: int, time_90khz: int) -> Iterator[bytes]:
    """One picture as RTP packets (RFC 2435 §3.1); its sides must be multiples of 16."""
    height, width = image.shape
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))[1].tobytes()
    found = list(segments(jpeg))
    tables = b"".join(
        table[place + 1 : place + 65]
        for marker, table in found
        if marker == 0xDB
        for place in range(0, len(table), 65)
    )
    scan = found[-1][1]
    for offset in range(0, len(scan), _FRAGMENT):
        last = offset + _FRAGMENT >= len(scan)
        head = struct.pack("!BBHII", 0x80, _PAYLOAD | (0x80 if last else 0), sequence & 0xFFFF, time_90khz, 1)
        # Type 1: 4:2:0; Q 255: the tables come with the first packet.
        head += struct.pack("!II", offset, 1 << 24 | 255 << 16 | width // 8 << 8 | height // 8)
        if offset == 0:
            head += struct.pack("!BBH", 0, 0, len(tables)) + tables
        yield head + scan[offset : offset + _FRAGMENT]
        sequence += 1


@contextmanager
def rtsp_camera(
    picture: Callable[[int], Image], login: tuple[str, str] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Its port, and what it was asked for. With `login`, it asks for a digest (RFC 2617)."""
    asked: list[str] = []
    over = threading.Event()

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while not over.is_set() and (request := self.rfile.readline().decode()):
                    self.answer(request.split(), dict(self.headers()))

        def headers(self) -> Iterator[tuple[str, str]]:
            while line := self.rfile.readline().decode().strip():
                name, _, value = line.partition(":")
                yield name.lower(), value.strip()

        def answer(self, request: list[str], headers: dict[str, str]) -> None:
            method, url, *_ = request
            asked.append(f"{method} {url}")
            if login is not None and not allowed(method, headers.get("authorization", ""), login):
                challenge = f'Digest realm="{_REALM}", nonce="{_NONCE}"'
                self.say(headers, "401 Unauthorized", **{"WWW-Authenticate": challenge})
                return
            match method:
                case "DESCRIBE":
                    self.say(headers, body=_SDP, **{"Content-Type": "application/sdp"})
                case "SETUP":
                    self.say(headers, Session="1", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
                case "PLAY":
                    self.say(headers, Session="1")
                    self.play()
                case _:
                    self.say(headers, Public="DESCRIBE, SETUP, PLAY, TEARDOWN", Session="1")

        def say(self, headers: dict[str, str], status: str = "200 OK", body: str = "", **more: str) -> None:
            lines = [
                f"RTSP/1.0 {status}",
                f"CSeq: {headers['cseq']}",
                *(f"{k}: {v}" for k, v in more.items()),
            ]
            lines += [f"Content-Length: {len(body)}", "", body]
            self.wfile.write("\r\n".join(lines).encode())

        def play(self) -> None:
            sequence = number = 0
            while not over.wait(PAUSE_S):
                for packet in packets(picture(number), sequence, int(number * PAUSE_S * 90_000)):
                    self.wfile.write(struct.pack("!cBH", b"$", 0, len(packet)) + packet)
                    sequence += 1
                number += 1

    with _Server(("127.0.0.1", 0), Connection) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            over.set()
            server.shutdown()
            thread.join()


def allowed(method: str, authorization: str, login: tuple[str, str]) -> bool:
    told: dict[str, Any] = dict(re.findall(r'(\w+)="([^"]*)"', authorization))

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    user, password = login
    expected = md5(md5(user, _REALM, password), _NONCE, md5(method, told.get("uri", "")))
    return told.get("username") == user and told.get("response") == expected

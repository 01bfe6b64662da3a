"""A TCP proxy that does to bytes what networks do: delays, cuts, repeats and spoils them, and passes one way only.

What happens to which byte comes from the seed. At most `CONNECTIONS_MOST` connections, each with `BUFFER_BYTES` in
each direction; above, whoever sends has to wait.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from tests.support.programs import free_port

BUFFER_BYTES: Final = 64 * 1024
CONNECTIONS_MOST: Final = 64
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close sends RST

Way = Literal["there", "back"]


@dataclass(slots=True)
class Weather:
    """What happens to each piece of up to `BUFFER_BYTES` that passes; all at once if so told."""

    delay_s: float = 0.0
    """Each piece waits up to so long."""
    cut: float = 0.0
    """How likely a piece is lost in its middle, and the connection with it: TCP loses no byte in silence."""
    repeat: float = 0.0
    """How likely a piece comes twice."""
    spoil: float = 0.0
    """How likely one bit of a piece is another."""
    stop: frozenset[Way] = frozenset()
    """Nothing passes this way, and nobody is told: bytes wait."""


class Proxy:
    """Listens on a port of its own and carries every connection to `host:port`, in whatever weather it is.

    `first` may answer the first bytes of a connection itself: what it returns goes back, and the connection ends.
    """

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        seed: int = 1,
        first: Callable[[bytes], bytes | None] = lambda _: None,
    ) -> None:
        self._target, self._first = (host, port), first
        self._chance = random.Random(seed)
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.weather = Weather()
        self.accepted = 0
        self.cuts = self.repeats = self.spoils = 0
        self.watch: Callable[[Way, bytes], None] = lambda _way, _data: None
        """Told of every piece before it passes; may change the weather for it."""
        self._server: asyncio.Server | None = None
        self._carried: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def start(self) -> "Proxy":
        """Begin to listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=BUFFER_BYTES)
        return self

    async def close(self) -> None:
        """End every connection and stop listening."""
        if self._server is not None:
            self._server.close()
            await self.cut()

    def becomes(self, weather: Weather) -> None:
        """From now on it is like this; what waited goes on if it may."""
        self.weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    async def cut(self) -> None:
        """Reset every connection, now."""
        tasks = list(self._carried)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        self._carried.add(task)
        try:
            if len(self._carried) <= CONNECTIONS_MOST:
                await self._carry(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # an end is gone, or the connection was cut: both ends are reset
        finally:
            self._carried.discard(task)
            _reset(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun = await reader.read(BUFFER_BYTES)
        if (answer := self._first(begun)) is not None:
            writer.write(answer)
            await writer.drain()
            await reader.read(1)  # who was refused hangs up
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target, limit=BUFFER_BYTES)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump("there", reader, far_writer, begun))
                group.create_task(self._pump("back", far_reader, writer, b""))
        except* (OSError, EOFError):
            pass
        finally:
            _reset(far_writer)

    async def _pump(
        self, way: Way, source: asyncio.StreamReader, target: asyncio.StreamWriter, data: bytes
    ) -> None:
        """Carry until an end closes: then the other is closed too, as MQTT and PostgreSQL know no half connection."""
        while True:
            data = data or await source.read(BUFFER_BYTES)
            if not data:
                raise EOFError
            self.watch(way, data)
            while way in self.weather.stop:
                await self._changed.wait()
            for piece in self._spoiled(data):
                target.write(piece)
                await target.drain()
            if self.weather.delay_s:
                await asyncio.sleep(self._chance.random() * self.weather.delay_s)
            data = b""

    def _spoiled(self, data: bytes) -> list[bytes]:
        """What becomes of a piece. Raises ConnectionError when it is lost."""
        weather, chance = self.weather, self._chance
        if chance.random() < weather.cut:
            self.cuts += 1
            raise ConnectionResetError("lost on the way")
        if chance.random() < weather.spoil:
            self.spoils += 1
            spoiled = bytearray(data)
            spoiled[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            data = bytes(spoiled)
        if chance.random() < weather.repeat:
            self.repeats += 1
            return [data, data]
        return [data]


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


def only_mqtt_311(begun: bytes) -> bytes | None:
    """Be a broker that knows no MQTT 5.0: its CONNECT is answered as MQTT 3.1.1 §3.1.2.2 says, with return code 1."""
    is_connect = begun[:1] == b"\x10" and b"\x00\x04MQTT" in begun[:12]
    if is_connect and begun[begun.index(b"MQTT") + 4] == 5:
        return bytes((0x20, 2, 0, 1))
    return None

"""A network cable between programs that can be cut and healed: a TCP proxy on the loopback.

Cut with `reset`, every connection ends with a reset and new ones are reset too. Cut with `silence`, nothing ends and
nothing passes, as when a switch loses power: bytes wait in the kernel's buffers, and go on when the cable is healed.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final, Literal

BUFFER_BYTES: Final = 64 * 1024
"""What the cable itself holds for each direction of a connection; above, the sender waits (TCP does the rest)."""
CONNECTIONS_MOST: Final = 64
"""Above, new connections are reset."""

Fault = Literal["reset", "silence"]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s: close sends RST


class Cable:
    """Listens on a port of its own and carries every connection to `host:port`. Lives on the running event loop."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self.port = host, port
        self._server: asyncio.Server | None = None
        self._carried: set[asyncio.Task[None]] = set()
        self._fault: Fault | None = None
        self._whole = asyncio.Event()
        self._whole.set()
        self.bytes_carried = 0

    async def start(self) -> int:
        """Begin to listen; returns the port to connect to."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=BUFFER_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """End every connection and stop listening."""
        if self._server is not None:
            self._server.close()
            await self._end_all()
            await self._server.wait_closed()
            self._server = None

    @property
    def connections(self) -> int:
        """How many connections it carries."""
        return len(self._carried)

    async def cut(self, fault: Fault = "reset") -> None:
        """Stop carrying until `heal`."""
        self._fault = fault
        self._whole.clear()
        if fault == "reset":
            await self._end_all()

    def heal(self) -> None:
        """Carry again."""
        self._fault = None
        self._whole.set()

    async def _end_all(self) -> None:
        for task in self._carried:
            task.cancel()
        if self._carried:
            await asyncio.wait(self._carried)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called by the server for each new connection, in a task of its own."""
        task = asyncio.current_task()
        assert task is not None
        if self._fault == "reset" or len(self._carried) >= CONNECTIONS_MOST:
            _reset(writer)
            return
        self._carried.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the far side refused, or the cable was cut: both ends are reset below
        finally:
            self._carried.discard(task)
            _reset(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        far_reader, far_writer = await asyncio.open_connection(self._host, self.port, limit=BUFFER_BYTES)
        try:
            there = asyncio.create_task(self._pump(reader, far_writer))
            back = asyncio.create_task(self._pump(far_reader, writer))
            try:
                await asyncio.gather(there, back)
            finally:
                for pump in (there, back):
                    pump.cancel()
                await asyncio.wait((there, back))
        finally:
            _reset(far_writer)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(BUFFER_BYTES):
            await self._whole.wait()
            target.write(data)
            self.bytes_carried += len(data)
            await target.drain()
        with contextlib.suppress(OSError):  # the target ended first
            target.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; unless both sides had said goodbye, the other end gets a reset."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()

"""TLS over a TCP connection, for devices that can: LLRP readers at 5085, terminal servers.

The one idea: asyncio does TLS by itself, so the link is a protocol of asyncio in front of the driver. Nothing is read
before the driver is there to hear it, and what is to be sent is bounded as on every other link.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from devices.errors import Unavailable
from devices.ports import trust
from devices.ports.link import MAX_WAITING, Ending

# The farewell of TLS has two directions; a device that does not return it is not waited for longer.
GOODBYE_S = 2.0


async def secure(connected: socket.socket, host: str, options: dict[str, Any], what: str) -> "TlsLink":
    """Agree on TLS. The socket is taken over, and closed if that fails. Raises `Unavailable`, OSError."""
    try:
        context = await trust.tls(options)
    except BaseException:
        connected.close()
        raise
    try:
        _, link = await asyncio.get_running_loop().create_connection(
            lambda: TlsLink(what, trust.warning(options)),
            sock=connected,
            ssl=context,
            server_hostname=host,
            ssl_shutdown_timeout=GOODBYE_S,
        )
    except BaseException as problem:
        # It is asyncio's by now, which closes it as soon as it hears of its end; to close it here would give its
        # number to another connection, which asyncio then mistakes for this one.
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)
        if not isinstance(problem, (ssl.SSLError, ConnectionError)):
            raise
        reason = trust.distrust(problem)
        if reason is not None:
            raise Unavailable(f"{what}: {reason}") from None
        raise Unavailable(
            f"{what} does not speak TLS ({getattr(problem, 'reason', None) or problem}): take its port for TLS, which"
            " is 5085 for LLRP, or leave tls=yes out"
        ) from None
    return link


class TlsLink(asyncio.Protocol):
    """An encrypted connection."""

    answers = True

    def __init__(self, what: str, warning: str | None) -> None:
        self._what, self.warning = what, warning
        self._hear: Callable[[bytes], None] = lambda _data: None
        self._ended: Callable[[Ending], None] = lambda _ending: None
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open = True

    # --- what asyncio tells ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is agreed on."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """The device said something."""
        if self._open:
            self._hear(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, from whichever end."""
        if not self._gone.done():
            self._gone.set_result(None)
        if self._open:
            self._open = False
            reason = f"was lost: {exc}" if exc is not None else "ended the connection"
            self._ended(Ending(f"{self._what} {reason}"))

    # --- what a reader asks ---------------------------------------------------------------------------------------

    def start(self, hear: Callable[[bytes], None], ended: Callable[[Ending], None]) -> None:
        """Deliver from now on."""
        assert self._transport is not None
        self._hear, self._ended = hear, ended
        if self._open:
            self._transport.resume_reading()
        else:
            ended(Ending(f"{self._what} ended the connection"))

    def send(self, data: bytes) -> None:
        """Encrypt and send, unless the device does not take what was sent before."""
        assert self._transport is not None
        if self._open and data and self._transport.get_write_buffer_size() + len(data) <= MAX_WAITING:
            self._transport.write(data)

    def close(self) -> None:
        """Say goodbye; may be called twice."""
        if self._open and self._transport is not None:
            self._open = False
            self._transport.close()

    async def closed(self) -> None:
        """Wait for the device's goodbye, for `GOODBYE_S` at the most."""
        await asyncio.wait((self._gone,), timeout=GOODBYE_S)
        if self._transport is not None:
            self._transport.abort()

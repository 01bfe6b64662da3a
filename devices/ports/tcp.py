"""`tcp://`: devices that listen on a port, and terminal servers in front of serial ones."""

import asyncio
import contextlib
import errno
import os
import socket
from typing import Any

from devices.driver import ByteDriver
from devices.errors import Unavailable
from devices.ports.link import DescriptorLink
from devices.ports.tls import TlsLink, secure
from devices.ports.url import Port

CONNECT_TIMEOUT_S = 10.0
# A device that lost its power says nothing. The kernel asks after 10 s of silence, every 5 s, and gives up after
# three answers that did not come (tcp(7)): a dead line is known within half a minute. It does not ask while something
# that we sent is not acknowledged, which it would repeat for a quarter of an hour, but for the last of these.
KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 10),
    (socket.TCP_KEEPINTVL, 5),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 25_000),
)


async def open_link(port: Port, options: dict[str, Any], _driver: ByteDriver) -> DescriptorLink | TlsLink:
    """Connect, and agree on TLS if the options say so. Raises `Unavailable` with the reason."""
    what = f"{port.host}:{port.number}"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            connected = await connect(port.host, port.number, CONNECT_TIMEOUT_S)
            if options["tls"]:
                return await secure(connected, port.host, options, what)
    except TimeoutError:
        raise Unavailable(
            f"{what} did not answer within {CONNECT_TIMEOUT_S:.0f} s: check address, cable and firewall"
        ) from None
    except OSError as problem:
        raise Unavailable(
            f"{what} cannot be reached: {plain(problem)}; check address, port and cable"
        ) from None
    return DescriptorLink(connected.fileno(), connected.close, what=what)


async def connect(host: str, number: int, limit_s: float) -> socket.socket:
    """To the first of the host's addresses that answers; each has its share of the time.

    Raises OSError; `plain` says it in words.
    """
    loop = asyncio.get_running_loop()
    problem = OSError(f"no address for {host}")
    addresses = await loop.getaddrinfo(host, number, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in addresses:
        with contextlib.ExitStack() as unless_connected:
            try:
                candidate = socket.socket(family, kind, protocol)
                unless_connected.callback(candidate.close)
                candidate.setblocking(False)
                async with asyncio.timeout(limit_s / len(addresses)):
                    await loop.sock_connect(candidate, address)
            except OSError as failed:
                problem = failed
                continue
            if candidate.getsockname() == candidate.getpeername():
                # Nobody listens, and the kernel gave us the very port we called (simultaneous open, RFC 9293 §3.5).
                problem = ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
                continue
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                candidate.setsockopt(socket.IPPROTO_TCP, option, value)
            unless_connected.pop_all()
            return candidate
    raise problem


def plain(problem: OSError) -> str:
    """Why there is no connection: the bare reason reads better than the sentence that asyncio wraps it into."""
    if isinstance(problem, socket.gaierror) or not problem.errno or problem.errno < 0:
        return problem.strerror or str(problem)
    return os.strerror(problem.errno).lower()

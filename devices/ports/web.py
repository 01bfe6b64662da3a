"""`https://` and `http://`: devices that are web servers and deliver what they read as one long answer.

The one idea: one answer that never ends is a stream of bytes like any other. The driver says, as data, which it is
and what must be asked before it, after it was opened, and at the end (`devices.wire.requests`); here it is asked, and
what the device refuses becomes a reason in plain words. Bytes are handed over as they come and kept nowhere: a driver
that takes its time makes the connection, and so the device, wait.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec

from devices.driver import ByteDriver
from devices.errors import Unavailable
from devices.ports import trust
from devices.ports.link import Ending
from devices.ports.tcp import KEEPALIVE
from devices.ports.url import Port
from devices.wire.json_fields import NOT_JSON
from devices.wire.requests import Request, WebDriver

# Some servers send not even the head of the stream before there is something in it. So long it is waited for before
# whatever makes the device read is asked.
HEAD_S = 2.0
# What the device is told at the end; a program that stops does not wait longer for it.
GOODBYE_S = 2.0
# Of an answer that is no stream. What devices say of themselves is much shorter.
MAX_ANSWER = 65_536
# Of what strangers say, in an error that people read.
_MAX_QUOTE = 200

# What asking and reading raise: httpx2's errors, and the system's and OpenSSL's where it lets them through.
_FAILURES = (httpx2.HTTPError, OSError)

_OK, _REDIRECTS, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, range(300, 400), 401, 403, 404


async def open_link(port: Port, options: dict[str, Any], driver: ByteDriver) -> "StreamLink":
    """Ask, open the stream, ask again. Raises `Unavailable` with the reason."""
    assert isinstance(driver, WebDriver), "a driver on HTTP says what to ask"
    session = await _connect(port, options)
    async with contextlib.AsyncExitStack() as unless_open:
        unless_open.push_async_callback(session.client.aclose)
        for request in driver.before():
            await session.ask(request, driver)
        stream = asyncio.create_task(session.stream(driver.STREAM))
        unless_open.push_async_callback(_discard, stream)
        await asyncio.wait((stream,), timeout=HEAD_S)
        if stream.done():
            stream.result()
        for request in driver.after():
            await session.ask(request, driver)
        unless_open.pop_all()
    return StreamLink(session, stream, driver, trust.warning(options))


class StreamLink:
    """A stream that is being read."""

    answers = True

    def __init__(
        self,
        session: "_Session",
        stream: "asyncio.Task[httpx2.Response]",
        driver: WebDriver,
        warning: str | None,
    ) -> None:
        self._session, self._stream, self._driver = session, stream, driver
        self.warning = warning
        self._reading: asyncio.Task[None] | None = None
        self._ended = False
        self._closing: asyncio.Task[None] | None = None

    def start(self, hear: Callable[[bytes], None], ended: Callable[[Ending], None]) -> None:
        """Read to the end."""

        async def read() -> None:
            ending = await self._read(hear)
            self._ended = True
            ended(ending)

        self._reading = asyncio.create_task(read())

    async def _read(self, hear: Callable[[bytes], None]) -> Ending:
        what = self._session.what
        try:
            response = await self._stream
            async for data in response.aiter_raw():
                hear(data)
        except Unavailable as problem:
            return Ending(str(problem))
        except httpx2.ReadTimeout:
            return Ending(f"{what} sent nothing for {self._session.idle_s} s (idle_s)")
        except _FAILURES as problem:
            return Ending(f"the stream of {what} broke off: {_plain(problem)}")
        return Ending(f"{what} ended the stream")

    def send(self, data: bytes) -> None:
        """A stream over HTTP has one direction; what is to be said is said in requests."""

    def close(self) -> None:
        """Let go; a device that is still there is told."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())

    async def closed(self) -> None:
        """Wait until it is closed: `GOODBYE_S` at the longest, and a moment."""
        if self._closing is not None:
            await self._closing

    async def _close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        try:
            if not self._ended:
                with contextlib.suppress(Unavailable, TimeoutError):
                    async with asyncio.timeout(GOODBYE_S):
                        for request in self._driver.farewell():
                            await self._session.ask(request, self._driver)
        finally:
            await _discard(self._stream)
            await self._session.client.aclose()


class _Session:
    """The requests to one device."""

    def __init__(self, client: httpx2.AsyncClient, what: str, options: dict[str, Any]) -> None:
        self.client, self.what = client, what
        self._options = options
        self._answer_s: int = options["connect_s"]
        self.idle_s: int = options["idle_s"]

    async def ask(self, request: Request, driver: WebDriver) -> None:
        """One request; the driver is told the answer. Raises `Unavailable`."""
        # Connecting, TLS and each silence have their own limit; all together take no longer than all of these.
        try:
            async with asyncio.timeout(3 * self._answer_s):
                response = await self._send(request, httpx2.Timeout(self._answer_s))
                try:
                    body = await _body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise Unavailable(
                f"{self.what} did not come to an end with its answer within {3 * self._answer_s} s: {request.name}"
            ) from None
        except _FAILURES as problem:
            raise Unavailable(self._unreachable(problem)) from None
        if body is None:
            raise Unavailable(
                f"{self.what} answers {request.name} with more than {MAX_ANSWER} bytes: is it the device that this"
                " driver is for?"
            )
        if response.is_success:
            driver.answered(request, body)
        elif not request.optional or response.status_code in (*_REDIRECTS, _UNAUTHORIZED, _FORBIDDEN):
            raise Unavailable(self._refused(request, response, body))

    async def stream(self, path: str) -> httpx2.Response:
        """The head of the stream; its body follows. Raises `Unavailable`."""
        request = Request("its stream of events", "GET", path)
        silence = httpx2.Timeout(self._answer_s, read=self.idle_s or None)
        try:
            response = await self._send(request, silence)
        except _FAILURES as problem:
            raise Unavailable(self._unreachable(problem)) from None
        try:
            if (
                response.status_code == _OK
                and response.headers.get("content-encoding", "identity") == "identity"
            ):
                return response
            async with asyncio.timeout(self._answer_s):
                body = await _body(response) or b""
        except _FAILURES:
            body = b""
        finally:
            if response.status_code != _OK:
                await response.aclose()
        if response.status_code == _OK:
            await response.aclose()
            raise Unavailable(
                f"{self.what} compresses its stream, which nobody asked for: is there a proxy between?"
            )
        raise Unavailable(self._refused(request, response, body))

    async def _send(self, request: Request, limits: httpx2.Timeout) -> httpx2.Response:
        content = None if request.body is None else msgspec.json.encode(request.body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        built = self.client.build_request(
            request.method, request.path, content=content, headers=headers, timeout=limits
        )
        return await self.client.send(built, stream=True)

    def _refused(self, request: Request, response: httpx2.Response, body: bytes) -> str:
        what, status = self.what, response.status_code
        if status == _UNAUTHORIZED:
            if self._options["user"] is None:
                return f"{what} wants a user and a password (401): add user=NAME and password_file=/path to the port"
            return (
                f"{what} does not take user {self._options['user']!r} with this password (401): check user=, and the"
                f" password in {self._options['password_file']}"
            )
        if status in _REDIRECTS:
            place = _quote(response.headers.get("location", "elsewhere"))
            return f"{what} sends us on to {place} ({status}): write the right address into the port"
        said = _message(body)
        if status == _FORBIDDEN:
            return f"{what} forbids {request.name} (403){said}: may user {self._options['user']!r} do that there?"
        if status == _NOT_FOUND:
            return (
                f"{what} has no {request.path} (404){said}: is it the device that this driver is for, is its firmware"
                " new enough, and is this interface switched on?"
            )
        return f"{what} refused {request.name} ({status}){said}"

    def _unreachable(self, problem: Exception) -> str:
        if isinstance(problem, httpx2.TimeoutException):
            return f"{self.what} did not answer within {self._answer_s} s: check address, cable and firewall"
        if (why := trust.distrust(trust.root_of(problem))) is not None:
            return f"{self.what}: {why}"
        return f"{self.what} cannot be reached: {_plain(problem)}; check address, port and cable"


async def _connect(port: Port, options: dict[str, Any]) -> _Session:
    secret = await trust.login(options)
    context = await trust.tls(options) if port.scheme == "https" else False
    host = f"[{port.host}]" if ":" in port.host else port.host
    # A dead device is noticed by the kernel, as on any TCP port. Nothing is taken from the environment: devices are
    # on site, not behind a proxy.
    keepalive = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    keepalive += [(socket.IPPROTO_TCP, option, value) for option, value in KEEPALIVE]
    client = httpx2.AsyncClient(
        base_url=f"{port.scheme}://{host}:{port.number}",
        auth=None if secret is None else httpx2.BasicAuth(*secret),
        headers={"Accept-Encoding": "identity", "User-Agent": "tallyman"},
        transport=httpx2.AsyncHTTPTransport(verify=context, trust_env=False, socket_options=keepalive),
        follow_redirects=False,
        trust_env=False,
    )
    return _Session(client, f"{host}:{port.number}", options)


async def _body(response: httpx2.Response) -> bytes | None:
    """The whole of it; None: it is too long."""
    body = bytearray()
    async for data in response.aiter_raw():
        body += data
        if len(body) > MAX_ANSWER:
            return None
    return bytes(body)


async def _discard(stream: "asyncio.Task[httpx2.Response]") -> None:
    """Give the stream up, wherever it is."""
    stream.cancel()
    await asyncio.wait((stream,))
    if not stream.cancelled() and stream.exception() is None:
        with contextlib.suppress(*_FAILURES):
            await stream.result().aclose()


def _message(body: bytes) -> str:
    """What the device says of its refusal, if it says it in JSON."""
    try:
        said = msgspec.json.decode(body)
    except NOT_JSON:
        return ""
    message = said.get("message") if isinstance(said, dict) else None
    return f", saying {_quote(message)}" if isinstance(message, str) and message else ""


def _quote(text: str) -> str:
    """A stranger's words: short, and without what would steer a terminal."""
    return ascii(text[:_MAX_QUOTE])


def _plain(problem: Exception) -> str:
    root = trust.root_of(problem)
    if isinstance(root, ssl.SSLError):
        return f"TLS failed ({(root.reason or 'no reason given').replace('_', ' ').lower()})"
    if isinstance(root, socket.gaierror):
        return root.strerror or "no such host"
    if isinstance(root, OSError) and root.errno and root.errno in errno.errorcode:
        return os.strerror(root.errno).lower()
    return _quote(str(problem)) if str(problem) else "the connection was lost"

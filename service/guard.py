"""What stands in front of every page and API: headers, the host name, the size of bodies, and failures.

The one idea: these are rules for all responses alike, also for those that no route ever sees, so they are one
pure ASGI layer around the whole application.
"""

import ipaddress
import secrets
import socket
from collections.abc import Iterable
from typing import Final

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import log
from service.problems import Problem, problem

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
BODY_MAX_BYTES: Final = 1024 * 1024
"""A request body: a purchase order of 10,000 lines fits; what is larger is answered 413."""


class HostNames:
    """Which `Host` a request may name. A page elsewhere that points its own name at us (DNS rebinding) may not.

    Allowed are every IP address (a browser that names one was not rebound), `localhost`, this machine's own
    name, and the names configured.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", *(name.lower().rstrip(".") for name in names)}

    def allows(self, host: str) -> bool:
        """`host` is the header's value, with or without port."""
        name = _without_port(host).lower().rstrip(".")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        inside, closed, _ = host[1:].partition("]")
        return inside if closed else host
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def same_origin(request: Request) -> None:
    """A dependency for every write that a cookie, or no sign-in at all, allows: refuses other sites' pages.

    Browsers name the origin of a POST; programs, which cannot be tricked by a page, name none.
    """
    fetch_site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if fetch_site is not None:
        allowed = fetch_site in ("same-origin", "none")
    else:
        allowed = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if not allowed:
        raise Problem(
            403, "forbidden", "This request comes from a page of another site. Use this program's own page."
        )


class Guard:
    """The ASGI layer around an application."""

    def __init__(self, app: ASGIApp, *, hosts: HostNames, body_max_bytes: int = BODY_MAX_BYTES) -> None:
        self.app = app
        self.hosts = hosts
        self.body_max_bytes = body_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False
        static = scope["path"].startswith("/static/")

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                # Static files are asked for again and answered 304 by their ETag; all else is never kept.
                headers.setdefault("Cache-Control", "no-cache" if static else "no-store")
            await send(message)

        refused = self._refused(Headers(scope=scope))
        if refused is not None:
            await problem(refused.status, refused.code, refused.detail)(scope, receive, guarded_send)
            return
        try:
            await self.app(scope, self._bounded(receive), guarded_send)
        except Exception:  # the boundary: a defect is logged here and the caller gets a 500
            # The same word in the log and in the answer, so that a caller can say which one it was.
            incident = secrets.token_hex(8)
            about = {"method": scope["method"], "path": scope["path"], "incident": incident}
            log.get(__name__).exception("a request failed by a defect of ours", **about)
            if started:
                raise
            detail = f"This failed by a defect of ours. The log says more beside {incident}."
            await problem(500, "internal", detail, incident=incident)(scope, receive, guarded_send)

    def _refused(self, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        if not self.hosts.allows(host):
            hint = f"If it is right, add {_without_port(host)!r} to hosts under [http] in the configuration."
            return Problem(421, "unknown-host", f"This program is not known as {host!r}. {hint}")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return Problem(400, "invalid", "Content-Length is not a number.")
        return self._too_large() if int(length) > self.body_max_bytes else None

    def _too_large(self) -> Problem:
        return Problem(
            413, "too-large", f"A request body may have {self.body_max_bytes} bytes. Send less at once."
        )

    def _bounded(self, receive: Receive) -> Receive:
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self.body_max_bytes:
                    # The framework lets only its own exception pass out of reading a body.
                    raise HTTPException(413, self._too_large().detail)
            return message

        return bounded

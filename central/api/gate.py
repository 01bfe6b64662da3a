"""The gate before /v1: who asks, and how often, is settled before a byte of the body is read.

The one idea: it is an ASGI layer, so that a stranger costs neither the parsing of a body nor a route, and learns
not even which paths exist. Roles are looked at by the routes, which know what they need.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from central.api import tokens
from central.api.problems import as_response, refuse
from central.api.rates import Rates
from central.api.tokens import Caller, Remembered
from service.problems import Problem

CALLER: Final = "tallyman.caller"
"""Where the caller stands in the ASGI scope."""

_ADVICE: Final = "Get a token with: tallyman central token --role operate --name NAME --config central.toml"


class Gate:
    """Lets requests with a known token through to /v1, at the rate that they may have."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        find: Callable[[str], Awaitable[Caller | None]],
        rates: Rates,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self._find = find
        self._rates = rates
        self._now_s = now_s
        self._remembered = Remembered()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        try:
            caller = await self._caller(Headers(scope=scope).getlist("authorization"))
        except Problem as error:
            await as_response(error)(scope, receive, send)
            return
        allowance = self._rates.take(caller.token_hash, self._now_s())
        announced = allowance.headers()

        async def announcing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(announced)
            await send(message)

        if not allowance.allowed:
            too_many = refuse(
                "rate-limited",
                f"This token may ask {allowance.limit} times a second. Send less at once.",
                headers={"Retry-After": str(max(1, allowance.retry_after_s))},
            )
            await as_response(too_many)(scope, receive, announcing)
            return
        scope[CALLER] = caller
        await self.app(scope, receive, announcing)

    async def _caller(self, headers: list[str]) -> Caller:
        if not headers:
            raise _unauthorized("A bearer token is needed. " + _ADVICE, None)
        scheme, _, token = headers[0].partition(" ")
        token = token.strip()
        if len(headers) > 1 or scheme.lower() != "bearer" or not token or len(token) > tokens.TOKEN_MAX_CHARS:
            raise _unauthorized("Send one header like: Authorization: Bearer TOKEN", "invalid_request")
        token_hash = tokens.hashed(token)
        caller = self._remembered.get(token_hash, self._now_s())
        if caller is None:
            caller = await self._find(token_hash)
            if caller is None:
                raise _unauthorized("This token is not known, or was revoked. " + _ADVICE, "invalid_token")
            self._remembered.put(caller, self._now_s())
        return caller


def _unauthorized(detail: str, error: str | None) -> Problem:
    """RFC 6750 §3: no error code when nothing was tried."""
    challenge = 'Bearer realm="tallyman"' + (f', error="{error}"' if error else "")
    return refuse("unauthorized", detail, headers={"WWW-Authenticate": challenge})

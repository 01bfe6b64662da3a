"""The door that every route goes through: the caller, the ledger for writes, a snapshot for reads.

The one idea: routes turn requests into commands or queries and nothing else. That the event loop never waits for
the database, that a busy ledger is 503 and that a refusal is a problem is settled here, once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

import anyio
import anyio.to_thread
import msgspec
import sqlalchemy as sa
from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.responses import Response

from central.api import keys
from central.api.gate import CALLER
from central.api.problems import refuse, refused, unavailable
from central.api.tokens import Caller, Role
from central.database import reading, writing
from central.ledger.commands import Command, Done, Key, Refused, Result
from central.ledger.service import LedgerBusy, LedgerDown
from service import log

READERS: Final = 6
"""Reads that run at once, each in a thread with a connection of its own; further ones wait their turn."""
SUBMIT_TIMEOUT_S: Final = 10.0

P = ParamSpec("P")
T = TypeVar("T")

_DATABASE_AWAY: Final = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)


class Writer(Protocol):
    """What the API needs of the ledger."""

    async def submit(self, command: Command, *, timeout_s: float) -> Result:
        """The durable answer."""
        ...


@dataclass
class Back:
    """What stands behind the API: one per program."""

    engine: sa.Engine
    ledger: Writer
    running: keys.Running = field(default_factory=keys.Running)
    readers: anyio.CapacityLimiter | None = None

    async def read(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The query's answer over one snapshot, from a thread."""

        def run() -> T:
            with reading(self.engine) as connection:
                return query(connection, *args, **kwargs)

        return await self._in_thread(run)

    async def write(
        self, change: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A short write that is none of the ledger's: sessions."""

        def run() -> T:
            with writing(self.engine) as connection:
                return change(connection, *args, **kwargs)

        return await self._in_thread(run)

    async def _in_thread(self, run: Callable[[], T]) -> T:
        if self.readers is None:  # a limiter belongs to an event loop, so it is made within one
            self.readers = anyio.CapacityLimiter(READERS)
        try:
            return await anyio.to_thread.run_sync(run, limiter=self.readers)
        except _DATABASE_AWAY as error:
            log.get(__name__).warning("the database does not answer", error=str(error.__cause__ or error))
            raise unavailable("The database does not answer now. Try again.") from error


class Door:
    """One request's way in, for a caller whose role was looked at."""

    def __init__(self, request: Request, caller: Caller) -> None:
        self.back: Back = request.app.state.back
        self.caller = caller
        self._request = request

    @property
    def actor(self) -> str:
        """Who does it, as movements name them."""
        return self.caller.actor

    def key(self, body: BaseModel | None = None) -> Key | None:
        """The request's idempotency key, if it has one."""
        key = keys.read_key(self._request.headers.get(keys.HEADER))
        if key is None:
            return None
        scope = self._request.scope
        return keys.key_for(
            token_hash=self.caller.token_hash, method=scope["method"], path=scope["path"], key=key, body=body
        )

    async def submit(self, command: Command, key: Key | None = None) -> Response:
        """Done: 201 for something new, else 200. Raises the problem otherwise."""
        with self.back.running.claim(key):
            try:
                answer = await self.back.ledger.submit(command, timeout_s=SUBMIT_TIMEOUT_S)
            except LedgerBusy as error:
                raise unavailable(f"{error} Try again.") from error
            except LedgerDown as error:
                raise unavailable("The database does not answer now. Try again.") from error
        if isinstance(answer, Refused):
            raise refused(answer)
        assert isinstance(answer, Done), f"{type(command).__name__} was answered {type(answer).__name__}"
        response = answered(answer.body, 201 if answer.created else 200)
        if answer.replayed:
            response.headers[keys.REPLAYED] = "true"
        return response

    async def read(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See `Back.read`."""
        return await self.back.read(query, *args, **kwargs)


def answered(body: Any, status: int = 200) -> Response:
    """The body as JSON."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _needs(role: Role) -> Callable[[Request], Awaitable[Door]]:
    async def door(request: Request) -> Door:
        caller: Caller = request.scope[CALLER]
        if not caller.may(role):
            raise refuse(
                "forbidden",
                f"This needs the role {role}; the token {caller.name!r} has the role {caller.role}.",
            )
        return Door(request, caller)

    return door


Reader = Annotated[Door, Depends(_needs("read"))]
Operator = Annotated[Door, Depends(_needs("operate"))]
Admin = Annotated[Door, Depends(_needs("admin"))]

"""/v1/events: the feed of movements as server-sent events, from any cursor, without a gap.

The one idea: a reader follows movement numbers in the database; a commit only wakes it. So it does not matter
what was missed while nobody was connected, nor how fast a reader reads: nothing is queued for anyone.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.responses import Response

from central.api import tokens
from central.api.cursors import movement_cursor
from central.api.door import Reader
from central.api.movements import gone, read_cursor
from central.api.paging import CursorText
from central.api.problems import refuse, responses, unavailable
from central.database import current_history
from central.feed import cloud_event
from central.ledger import views
from service.problems import Problem

router = APIRouter(prefix="/v1", tags=["feed"])

PAGE: Final = 200
"""Movements read at once."""
WAKE_S: Final = 10.0
"""Without a commit of this process the tables are asked this often; it also keeps proxies from closing."""
READERS_MAX: Final = 100

After = Annotated[CursorText | None, Query(description="Start after this cursor; `start` for all there is.")]


class Commits:
    """Tells waiting readers that something was booked. Closing it ends them, for good."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()
        self.closed = False
        self.readers = 0

    def wake(self) -> None:
        """Something was booked; called on the event loop."""
        for event in self._waiting:
            event.set()

    def close(self) -> None:
        """End every reader."""
        self.closed = True
        self.wake()

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        """Whether `event` was set within the time; it is cleared."""
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            event.clear()
        return True

    def join(self) -> asyncio.Event:
        """An event that every commit sets, until `leave`."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def leave(self, event: asyncio.Event) -> None:
        """No longer wanted."""
        self._waiting.discard(event)


def _page(connection: sa.Connection, token_hash: str, history: str, after: int) -> list[dict[str, Any]]:
    """The movements after a number, while token and history last."""
    if tokens.find(connection, token_hash) is None:
        raise refuse("unauthorized", "The token was revoked.")
    now = current_history(connection)
    if history != now:
        raise gone(now)
    return views.movements(connection, after=after, limit=PAGE)


def _newest(connection: sa.Connection) -> tuple[str, int]:
    return current_history(connection), views.last_movement(connection)


@router.get(
    "/events",
    response_class=Response,
    responses={
        200: {
            "description": "CloudEvents of type `tallyman.movement.{event}.v1`; each SSE id is a cursor.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **responses("cursor-gone"),
    },
)
async def follow(
    request: Request,
    door: Reader,
    after: After = None,
    last_event_id: Annotated[CursorText | None, Header(description="What a browser sends to go on.")] = None,
) -> Response:
    """Every movement after the cursor, then those to come. Without a cursor, those to come."""
    commits: Commits = request.app.state.commits
    cursor = last_event_id or after
    history, number = "", 0

    async def read(number: int) -> list[dict[str, Any]]:
        return await door.read(_page, door.caller.token_hash, history, number)

    if cursor is None:
        history, number = await door.read(_newest)
    elif cursor == "start":
        history, number = (await door.read(_newest))[0], 0
    else:
        history, number = read_cursor(cursor)
        await read(number)  # answers 410 while there is still a status to give
    if commits.closed or commits.readers >= READERS_MAX:
        raise unavailable(f"{commits.readers} readers follow the feed already. Try again.")

    return EventSourceResponse(
        _stream(commits, read, history, number),
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


async def _stream(
    commits: Commits, read: Callable[[int], Awaitable[list[dict[str, Any]]]], history: str, number: int
) -> AsyncIterator[bytes]:
    if commits.readers >= READERS_MAX:
        return  # many came in one instant: this reader comes back and is told
    event = commits.join()
    commits.readers += 1
    try:
        yield format_sse_event(id=movement_cursor(history, number), comment="from here")
        while not commits.closed:
            try:
                rows = await read(number)
            except Problem:
                return  # database away, token revoked, central restored: the reader comes back and is told
            for row in rows:
                number = row["movement"]
                text = json.dumps(cloud_event(history, row), ensure_ascii=False, separators=(",", ":"))
                yield format_sse_event(data_str=text, id=movement_cursor(history, number))
            if len(rows) < PAGE and not await commits.wait(event, WAKE_S):
                yield KEEPALIVE_COMMENT
    finally:
        commits.readers -= 1
        commits.leave(event)

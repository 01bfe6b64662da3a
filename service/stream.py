"""Server-sent events to many browsers from one source, without ever waiting for the slowest.

The one idea: an event is encoded once and put into each client's bounded queue. A client whose queue is full
is dropped; its browser reconnects by itself and starts from the present.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from service.problems import Problem

KEEP_ALIVE_S: Final = 15.0
"""A comment this often keeps proxies from closing an idle stream, and finds clients that are gone."""
RETRY_MS: Final = 1000
"""How long a browser waits before it reconnects."""

Event = tuple[str | None, Any]
"""(event name or None for "message", data to be encoded as JSON)"""


def encode(data: Any, event: str | None = None) -> bytes:
    """One event as it travels."""
    return format_sse_event(data_str=json.dumps(data, ensure_ascii=False, separators=(",", ":")), event=event)


class EventStream:
    """Fan-out of events; give it to `create_app(streams=…)`, so that it is ended when the program ends."""

    def __init__(self, *, clients_max: int = 100, queue_max: int = 64) -> None:
        self.clients_max = clients_max
        self.queue_max = queue_max
        self._clients: set[asyncio.Queue[bytes | None]] = set()
        self._closed = False
        self.dropped = 0

    @property
    def clients(self) -> int:
        """How many are listening."""
        return len(self._clients)

    def publish(self, data: Any, event: str | None = None) -> None:
        """To every client; never waits. A client that has `queue_max` events unread is dropped."""
        if not self._clients:
            return
        encoded = encode(data, event)
        for queue in list(self._clients):
            try:
                queue.put_nowait(encoded)
            except asyncio.QueueFull:
                self.dropped += 1
                self._end(queue)

    def response(self, first: Callable[[], Iterable[Event]] = tuple) -> EventSourceResponse:
        """The answer to a GET. `first` is asked once the client listens, so that nothing falls in between.

        Raises Problem 503 when `clients_max` are listening already.
        """
        if self._closed or self.clients >= self.clients_max:
            raise Problem(
                503,
                "unavailable",
                f"{self.clients} pages are listening already. Close one, then reload.",
                headers={"Retry-After": "5"},
            )
        return EventSourceResponse(self._events(first), headers={"X-Accel-Buffering": "no"})

    def close(self) -> None:
        """Ends every stream, for good."""
        self._closed = True
        for queue in list(self._clients):
            self._end(queue)

    def _end(self, queue: "asyncio.Queue[bytes | None]") -> None:
        """The end takes the place of what is unread: a dropped client starts anew anyway."""
        self._clients.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)

    async def _events(self, first: Callable[[], Iterable[Event]]) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(self.queue_max)
        if self._closed:
            return
        self._clients.add(queue)
        try:
            yield format_sse_event(retry=RETRY_MS)
            for event, data in first():
                yield encode(data, event)
            while True:
                item: bytes | None = KEEPALIVE_COMMENT
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        item = await queue.get()
                if item is None:
                    return
                yield item
        finally:
            self._clients.discard(queue)

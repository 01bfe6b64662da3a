"""Wait for a condition with a deadline, instead of sleeping and hoping.

    eventually(lambda: journal.queued == 0, 5)
    await eventually_async(lambda: agent.online, 5)

Both return the first true value that the predicate gives, and fail with its last value in the message.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.01


def eventually(predicate: Callable[[], T], deadline_s: float = 5.0, what: str = "") -> T:
    """The first true value of `predicate`; blocks the thread, so not for use on an event loop."""
    ends_at = time.monotonic() + deadline_s
    while not (value := predicate()):
        if time.monotonic() > ends_at:
            raise AssertionError(_late(predicate, value, deadline_s, what))
        time.sleep(_PAUSE_S)
    return value


async def eventually_async(
    predicate: Callable[[], T | Awaitable[T]], deadline_s: float = 5.0, what: str = ""
) -> T:
    """The first true value of `predicate` (a plain or an async function); the event loop goes on."""
    ends_at = time.monotonic() + deadline_s
    while True:
        answer = predicate()
        value: T = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > ends_at:
            raise AssertionError(_late(predicate, value, deadline_s, what))
        await asyncio.sleep(_PAUSE_S)


def _late(predicate: Callable[[], object], value: object, deadline_s: float, what: str) -> str:
    awaited = what or getattr(predicate, "__qualname__", repr(predicate))
    return f"not within {deadline_s} s: {awaited} (last value: {value!r})"

"""A station's page as a person sees it: the newest state, and a note of every OK that was ever on the screen.

It follows the page's event stream; when the agent is gone the screen is dark (`state` is None) until it is back.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import httpx2

State = dict[str, Any]

RETRY_S: Final = 0.1
_STREAM_SILENCE_S: Final = 60.0  # longer than the server's own keep-alive comments


class NoAnswer(Exception):
    """The screen did not show in time what was waited for; the text says what it showed."""


class Station:
    """Follows one station. `follow` runs for ever; everything else looks at what it saw last."""

    def __init__(self, http: httpx2.AsyncClient, base_url: str, name: str) -> None:
        self._http, self.name = http, name
        self.page = f"{base_url}/stations/{name}"
        self.state: State | None = None
        self.oks: dict[str, str] = {}
        """Every event id that was on the screen with an OK, and its code."""
        self._looked = asyncio.Condition()

    async def follow(self) -> None:
        """Watch the screen for ever; connect again whenever it goes dark."""
        timeout = httpx2.Timeout(5.0, read=_STREAM_SILENCE_S)
        while True:
            try:
                async with self._http.stream("GET", f"{self.page}/events", timeout=timeout) as answer:
                    if answer.status_code == httpx2.codes.OK:
                        async for event in httpx2.EventSource(answer):
                            # The others only show that the connection lives.
                            if event.event == "message" and event.data:
                                await self._show(json.loads(event.data))
            except (httpx2.TransportError, json.JSONDecodeError):
                pass  # the agent is away, perhaps in the middle of a word: the screen is dark until it is back
            await self._show(None)
            await asyncio.sleep(RETRY_S)

    async def _show(self, state: State | None) -> None:
        self.state = state
        last = (state or {}).get("last")
        if last and last["outcome"] == "ok" and last.get("event_id"):
            self.oks[last["event_id"]] = str(last.get("code"))
        if state is not None and state.get("workflow") == "gate":
            # Fifty OKs in a second are not shown one by one: what the list gains is what a person sees.
            new = (entry for entry in listed(state) if not entry["before_restart"])
            self.oks.update({str(entry["event_id"]): str(entry["code"]) for entry in new})
        async with self._looked:
            self._looked.notify_all()

    async def until(self, what: str, seen: Callable[[State], bool], timeout_s: float) -> State:
        """Look until the screen shows it.

        Raises:
            NoAnswer: it did not within `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s), self._looked:
                while self.state is None or not seen(self.state):
                    await self._looked.wait()
                return self.state
        except TimeoutError:
            raise NoAnswer(f"station {self.name}: {what} for {timeout_s:g} s; {self.describe()}") from None

    def describe(self) -> str:
        """What is on the screen, for a message."""
        if self.state is None:
            return "the screen is dark"
        last = self.state.get("last") or {}
        status = self.state.get("status") or {}
        shown = f"{last.get('outcome')}: {last.get('text')}" if last else "nothing"
        return f"the screen shows {shown!r}, {status.get('queued')} queued"

    async def read(self) -> State:
        """The state as it is now, asked for anew.

        Raises:
            NoAnswer: the station cannot be asked.
        """
        try:
            answer = await self._http.get(f"{self.page}/state")
        except httpx2.TransportError as error:
            raise NoAnswer(f"station {self.name} does not answer: {error}") from error
        if answer.status_code != httpx2.codes.OK:
            raise NoAnswer(f"station {self.name} answers {answer.status_code}: {answer.text[:200]}")
        state: State = answer.json()
        return state


def token(state: State) -> int:
    """Which outcome is on the screen; it rises with each."""
    return int((state.get("last") or {}).get("token") or 0)


def outcome(state: State) -> str | None:
    """ok, reject or duplicate; None when nothing was scanned yet."""
    last = state.get("last")
    return str(last["outcome"]) if last else None


def listed(state: State) -> list[State]:
    """What the station lists as recorded and not undone, newest first."""
    return [entry for entry in state["recorded"] if not entry["undone"]]

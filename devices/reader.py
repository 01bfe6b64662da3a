"""One device, kept running.

The one idea: a reader opens its port, pumps until the port ends, and opens it again, for ever, later and later
while it fails. Whatever happens in between is a status with a reason in plain words, told once per change.
"""

import asyncio
import importlib
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from devices.driver import Outcome
from devices.errors import Unavailable
from devices.ports import stills
from devices.ports.link import Ending, ImageLink
from devices.ports.seen import Seen
from devices.pump import BytePump, Ears, pump_images
from devices.reads import BadFrame, Moment, Read
from devices.registry import set_up

# The first retry comes at once, for a cable that slipped; later ones seldom, for a scanner put away at night.
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 30.0
# A device that was ready for so long, or read anything, worked: the next failure starts again at FIRST_RETRY_S.
SETTLED_S = 5.0
# How often to look whether a device that is not plugged in is there again: nobody waits half a minute for a scanner.
PLUG_POLL_S = 0.5

# The module that opens a kind of port: (scheme, whether it delivers images).
_PORTS = {
    ("serial", False): "devices.ports.serial_line",
    ("tcp", False): "devices.ports.tcp",
    ("evdev", False): "devices.ports.evdev",
    ("hidraw", False): "devices.ports.hidraw",
    ("file", False): "devices.ports.recording",
    ("file", True): "devices.ports.images",
    ("http", False): "devices.ports.web",
    ("https", False): "devices.ports.web",
    ("mqtt", False): "devices.ports.mqtt_feed",
    ("mqtts", False): "devices.ports.mqtt_feed",
    **dict.fromkeys((("camera", True), ("rtsp", True), ("mjpeg", True)), "devices.ports.capture"),
}

Status = Literal["connecting", "online", "silent", "failed"]


@dataclass(frozen=True, slots=True)
class PortStatus:
    """How a device is, since when, and why."""

    status: Status
    reason: str | None
    since: str
    """RFC 3339, UTC."""


def system_clock() -> Moment:
    """Now, by the machine's clocks."""
    return Moment(time.time(), time.monotonic_ns())


def rfc3339(unix_s: float) -> str:
    """An instant as people and JSON write it, in UTC with microseconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def retry_delay_s(failures: int, jitter: float) -> float:
    """How long to wait after this many failures in a row; `jitter` in [0, 1) takes off up to half of it.

    Doubling, so that a device that is away costs nothing; jittered, so that devices on one failed hub or switch
    do not all come back in the same instant.
    """
    return min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures, 16)) * (1 - jitter / 2)


class Reader:
    """A device with its driver and its port.

    `on_read` and `on_status` are called on the event loop and must not block; what `on_read` raises ends `run`.
    With `reopen=False` the port is opened once, and `run` ends where the source ends. `seen` is the file that says
    over restarts which images were read; who gives one tells `feedback` what became of every read.
    """

    def __init__(
        self,
        name: str,
        driver: str,
        port_url: str,
        on_read: Callable[[Read], None],
        on_status: Callable[[PortStatus], None],
        *,
        clock: Callable[[], Moment] = system_clock,
        jitter: Callable[[], float] = random.random,
        reopen: bool = True,
        seen: Path | None = None,
    ) -> None:
        """Raises `Misconfigured` for what can never work; a device that is only away is no error."""
        self._name = name
        self._setup = set_up(name, driver, port_url)
        if self._setup.options.get("once", True) is None:
            self._setup.options["once"] = not reopen
        self._on_read = on_read
        self._on_status = on_status
        self._clock = clock
        self._jitter = jitter
        self._reopen = reopen
        self._status = PortStatus("connecting", None, rfc3339(clock().unix_s))
        self._pump: BytePump | None = None
        self._bauds = self._which_bauds()
        self._speed = 0
        self._unanswered = 0
        self._seen = Seen(seen)
        self._heard_ns: int | None = None
        self._opened_ns: int | None = None
        self._warning: str | None = None
        self._ready_ns: int | None = None
        self._has_read = False
        self._speechless = False

    @property
    def status(self) -> PortStatus:
        """How the device is now."""
        return self._status

    async def run(self) -> Ending:
        """Keep the device running; cancel to stop. Returns where a source has an end (or with `reopen=False`).

        Raises `Unavailable` only with `reopen=False`.
        """
        self._on_status(self._status)
        failures = 0
        while True:
            self._opened_ns = self._heard_ns = self._ready_ns = self._warning = None
            self._has_read = more_speeds = False
            try:
                ending = await self._session()
            except Unavailable as problem:
                self._tell("failed", str(problem))
                more_speeds = self._never_answered() and self._next_speed()
                if not (self._reopen or more_speeds):
                    raise
            else:
                if ending.finished:
                    self._tell("silent" if ending.complete else "failed", ending.reason)
                    return ending
                self._tell("failed", ending.reason)
                if not self._reopen:
                    return ending
            self._speechless = self._never_answered()
            if self._worked():
                failures = 0
            if more_speeds:
                await self._wait(retry_delay_s(0, self._jitter()))
            elif await self._wait(retry_delay_s(failures, self._jitter())):
                failures = 0
            else:
                failures += 1

    def recall(self, recorded: Iterable[tuple[str, str]]) -> None:
        """Before `run`: what was read in these images (path, version) is recorded already."""
        self._seen.recall(recorded)

    def feedback(self, outcome: Outcome) -> None:
        """What became of a read. The device beeps or lights, if it can and is set to; what it does not take is
        dropped. Never blocks.
        """
        self._seen.settled()
        if self._pump is not None:
            self._pump.feedback(outcome)

    async def _session(self) -> Ending:
        """Open, pump, close. Raises `Unavailable`."""
        silence = asyncio.create_task(self._watch_silence()) if self._setup.options["silent_s"] else None
        try:
            return await (self._bytes() if self._setup.byte_driver is not None else self._images())
        finally:
            if silence is not None:
                silence.cancel()

    async def _bytes(self) -> Ending:
        setup = self._setup
        assert setup.byte_driver is not None
        port = importlib.import_module(_PORTS[setup.port.scheme, False])
        options = {**setup.options, "baud": self._bauds[self._speed]}
        link = await port.open_link(setup.port, options, setup.byte_driver)
        try:
            self._opened_ns = self._clock().monotonic_ns
            self._pump = BytePump(link, setup.byte_driver, self._ears())
            return await self._pump.run()
        finally:
            self._pump = None
            link.close()
            await link.closed()

    async def _images(self) -> Ending:
        setup = self._setup
        assert setup.image_driver is not None
        loop = asyncio.get_running_loop()
        port = importlib.import_module(_PORTS[setup.port.scheme, True])
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"{self._name}-eye")
        stop = threading.Event()
        opening = thread.submit(port.open_link, setup.port, setup.options, self._seen, stop.is_set)
        kept = stills.of_options(self._name, setup.options)
        try:
            link = await asyncio.wrap_future(opening, loop=loop)
            self._opened_ns = self._clock().monotonic_ns
            self._condition(ready=True, warning=None)
            return await pump_images(
                link, setup.image_driver, self._ears(), self._name, thread=thread, stills=kept
            )
        finally:
            # Runs after whatever the thread is at; waiting for that here would make stopping slow.
            stop.set()
            thread.submit(_let_go, opening, kept)
            thread.submit(setup.image_driver.close)
            thread.shutdown(wait=False)

    def _ears(self) -> Ears:
        return Ears(self._clock, self._hand_over, self._sign_of_life, self._condition)

    def _hand_over(self, reads: list[Read]) -> None:
        self._seen.handed_over(len(reads))
        for read in reads:
            self._has_read = self._has_read or not isinstance(read, BadFrame)
            self._on_read(read)

    def _sign_of_life(self, monotonic_ns: int) -> None:
        self._heard_ns = monotonic_ns
        if self._status.status == "silent":
            self._tell("online", self._warning)

    def _condition(self, ready: bool, warning: str | None) -> None:
        """The device became ready, or has a new complaint."""
        self._warning = warning
        if not ready:
            # A device that has never answered stays `failed`, with the reason, while it is asked again and again.
            if self._status.status != "failed" or not self._speechless:
                self._tell("connecting", "the port is open; waiting for the device to answer")
        else:
            if self._ready_ns is None:
                self._ready_ns = self._clock().monotonic_ns
            self._unanswered = 0
            self._tell("online", warning)

    async def _watch_silence(self) -> None:
        """Say `silent` when an open port has delivered nothing for `silent_s`."""
        limit_ns = self._setup.options["silent_s"] * 1_000_000_000
        while True:
            now_ns = self._clock().monotonic_ns
            last_ns = self._heard_ns or self._opened_ns or now_ns
            left_ns = last_ns + limit_ns - now_ns
            if left_ns <= 0:
                if self._status.status == "online":
                    self._tell("silent", f"nothing was heard for {self._setup.options['silent_s']} s")
                left_ns = limit_ns
            await asyncio.sleep(left_ns / 1e9)

    def _worked(self) -> bool:
        """Whether the session that ended had been of use, so that the next attempt may come at once. To answer and
        then to fail, again and again, is none.
        """
        if self._ready_ns is None:
            return False
        return self._has_read or self._clock().monotonic_ns - self._ready_ns >= SETTLED_S * 1e9

    def _next_speed(self) -> bool:
        """The device did not answer: try another speed. False: it was asked at each; the next time begins where it
        answered last.
        """
        self._unanswered += 1
        self._speed = (self._speed + 1) % len(self._bauds)
        return self._unanswered % len(self._bauds) != 0

    def _never_answered(self) -> bool:
        """Whether, in the session that ended, the port was open and the device said nothing of use."""
        return self._opened_ns is not None and self._ready_ns is None

    def _which_bauds(self) -> tuple[int | None, ...]:
        """The speeds to try, in turn, on a serial line."""
        driver, given = self._setup.byte_driver, self._setup.options.get("baud")
        if driver is None or self._setup.port.scheme != "serial":
            return (None,)
        return driver.BAUDS if given is None else (given,)

    async def _wait(self, delay_s: float) -> bool:
        """Until the next attempt, or until a device that was unplugged is there again: whether it is that."""
        was_there, left_s = self._is_there(), delay_s
        while left_s > 0:
            await asyncio.sleep(min(PLUG_POLL_S, left_s))
            left_s -= PLUG_POLL_S
            is_there = self._is_there()
            if is_there and not was_there:
                return True
            was_there = is_there
        return False

    def _is_there(self) -> bool:
        """Whether the device is plugged in; of what has no plug, nobody can say that it is not."""
        node = self._setup.port.node
        return node is None or Path(node).exists()

    def _tell(self, status: Status, reason: str | None) -> None:
        """Report a change of status: a device that is away is one message, not one per retry."""
        if (status, reason) != (self._status.status, self._status.reason):
            self._status = PortStatus(status, reason, rfc3339(self._clock().unix_s))
            self._on_status(self._status)


def _let_go(opening: Future[ImageLink], kept: stills.Stills | None) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
    if kept is not None:
        kept.close()

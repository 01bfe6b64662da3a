"""Sessions: from an open port through a driver to reads, until the port ends.

Bytes are pumped on the event loop, images in one worker thread per reader. Neither keeps a queue: bytes are
decoded in the call that delivers them, and the next image is fetched when the last one's reads were handed over.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from devices.driver import ByteDriver, Frame, ImageDriver, Outcome
from devices.errors import Unavailable
from devices.ports.link import ByteLink, Ending, ImageLink
from devices.ports.stills import Stills
from devices.reads import BadFrame, Moment, Read

# How often a source that has nothing is asked again.
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Ears:
    """Where a session reports to, on the event loop."""

    clock: Callable[[], Moment]
    reads: Callable[[list[Read]], None]
    sign_of_life: Callable[[int], None]
    """Something was heard, at this monotonic time (ns)."""
    condition: Callable[[bool, str | None], None] = lambda _ready, _warning: None
    """The device can (or cannot yet) read, and why somebody should look."""


class BytePump:
    """One session of a byte driver on an open link. The caller closes the link."""

    def __init__(self, link: ByteLink, driver: ByteDriver, ears: Ears) -> None:
        self._link, self._driver, self._ears = link, driver, ears
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ending] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._told: tuple[bool, str | None, str | None] | None = None

    async def run(self) -> Ending:
        """Feed the driver until the link ends.

        When cancelled, the device is told goodbye, and what is half read is forgotten: nobody was told of it.

        Raises:
            Unavailable: the driver cannot work with this device as it is.
        """
        driver = self._driver
        if self._link.answers:
            self._do(self._open)
        else:
            self._ears.condition(True, None)
        self._link.start(self._hear, self._end)
        try:
            ending = await self._ended
        except asyncio.CancelledError:
            if self._link.answers:
                self._link.send(driver.goodbye())
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            rest = self._close()
        self._ears.reads(rest)
        return ending

    def feedback(self, outcome: Outcome) -> None:
        """Let the device show what became of a read."""

        def show(now: Moment) -> list[Read]:
            self._driver.feedback(outcome, now)
            return []

        self._do(show)

    def _open(self, now: Moment) -> list[Read]:
        self._driver.open(now)
        return []

    def _close(self) -> list[Read]:
        try:
            return self._driver.close(self._ears.clock())
        except Exception as problem:  # noqa: BLE001 - the session ends anyhow, and for a reason of its own
            self._report(problem)
            return []
        finally:
            self._driver.output()

    def _hear(self, data: bytes) -> None:
        now = self._ears.clock()
        self._ears.sign_of_life(now.monotonic_ns)
        self._do(lambda now: self._driver.feed(data, now), now)

    def _woken(self) -> None:
        self._timer = None
        now = self._ears.clock()
        due_ns = self._driver.due_ns()
        if due_ns is not None and due_ns <= now.monotonic_ns:
            self._do(self._driver.tick, now)
        else:
            self._set_timer(due_ns, now)

    def _end(self, ending: Ending) -> None:
        if not self._ended.done():
            self._ended.set_result(ending)

    def _do(self, work: Callable[[Moment], list[Read]], now: Moment | None = None) -> None:
        """Let the driver work; hand over what it read, send what it says, and look how it is."""
        if self._ended.done():
            return
        now = now or self._ears.clock()
        driver = self._driver
        try:
            reads = work(now)
        except Exception as problem:  # noqa: BLE001 - one device must not be able to stop all the others
            self._report(problem)
            # A recording is not played again: whoever plays it gets the mistake itself.
            self._ended.set_exception(Unavailable(_defect(problem)) if self._link.answers else problem)
            return
        try:
            if reads:
                self._ears.reads(reads)
        except Exception as problem:  # noqa: BLE001 - raised again by the session, where somebody waits for it
            self._ended.set_exception(problem)
            return
        output = driver.output()
        if not self._link.answers:
            self._set_timer(driver.due_ns(), now)
            return
        if output:
            self._link.send(output)
        if driver.fault is not None:
            self._ended.set_exception(Unavailable(driver.fault))
            return
        if (driver.ready, driver.warning, self._link.warning) != self._told:
            self._told = (driver.ready, driver.warning, self._link.warning)
            self._ears.condition(driver.ready, "; ".join(filter(None, self._told[1:])) or None)
        self._set_timer(driver.due_ns(), now)

    def _report(self, problem: Exception) -> None:
        """A mistake in the driver goes to the log with its place; the status has no room for that."""
        message = f"the driver of {self._driver.device} failed"
        self._loop.call_exception_handler({"message": message, "exception": problem})

    def _set_timer(self, due_ns: int | None, now: Moment) -> None:
        """Be woken then. A timer that rings too early costs less than one that is set anew for every read."""
        if due_ns is None or (self._timer is not None and self._timer_ns <= due_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = due_ns
        self._timer = self._loop.call_later(max(0.0, (due_ns - now.monotonic_ns) / 1e9), self._woken)


def _defect(problem: Exception) -> str:
    return (
        f"the driver failed at what the device sent ({problem!r}): a mistake in it; report it, with the log"
    )


async def pump_images(
    link: ImageLink,
    driver: ImageDriver,
    ears: Ears,
    device: str,
    *,
    thread: ThreadPoolExecutor,
    stills: Stills | None = None,
) -> Ending:
    """Look at image after image, in `thread`, until the link ends. The caller closes the link."""
    loop = asyncio.get_running_loop()
    told = None

    def see(frame: Frame) -> list[Read]:
        try:
            reads = driver.see(frame, ears.clock())
        except Exception as problem:  # noqa: BLE001 - one picture must not be able to stop a program
            reason = f"{frame.source or 'a picture'} cannot be decoded: {problem!r}"
            return [BadFrame(device, reason, b"", ears.clock().unix_s)]
        return reads if stills is None or not reads else stills.keep(frame, reads)

    def step() -> list[Read] | Ending | None:
        found = link.next()
        if isinstance(found, str):
            return [BadFrame(device, found, b"", ears.clock().unix_s)]
        return see(found) if isinstance(found, Frame) else found

    while True:
        outcome = await loop.run_in_executor(thread, step)
        if isinstance(outcome, Ending):
            return outcome
        warnings = (link.warning, driver.warning, stills.warning if stills is not None else None)
        warning = "; ".join(filter(None, warnings)) or None
        if warning != told:
            told = warning
            ears.condition(True, warning)
        if outcome is None:
            await asyncio.sleep(POLL_S)
        else:
            ears.sign_of_life(ears.clock().monotonic_ns)
            ears.reads(outcome)

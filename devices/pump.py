"""Sessions: from an open port through a driver to reads, until the port ends.

Bytes are pumped on the event loop, images in one worker thread per reader. Neither keeps a queue: bytes are
decoded in the call that delivers them, and the next image is fetched when the last one's reads were handed over.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from devices.driver import ByteDriver, Frame, ImageDriver
from devices.ports.link import ByteLink, Ending, ImageLink
from devices.reads import BadFrame, Moment, Read

# How often a source that has nothing is asked again.
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Ears:
    """Where a session reports to, on the event loop."""

    clock: Callable[[], Moment]
    reads: Callable[[list[Read]], None]
    sign_of_life: Callable[[], None]


async def pump_bytes(link: ByteLink, driver: ByteDriver, ears: Ears) -> Ending:
    """Feed the driver until the link ends. The caller closes the link.

    When cancelled, what is half read is forgotten: nobody was told that it was read.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Ending] = loop.create_future()
    pause: asyncio.TimerHandle | None = None

    def guarded(work: Callable[[], list[Read]]) -> None:
        if ended.done():
            return
        try:
            ears.reads(work())
        except Exception as problem:  # noqa: BLE001 - raised again by the session, where somebody waits for it
            ended.set_exception(problem)

    def paused() -> None:
        guarded(lambda: driver.idle(ears.clock()))

    def hear(data: bytes) -> None:
        nonlocal pause
        ears.sign_of_life()
        guarded(lambda: driver.feed(data, ears.clock()))
        if driver.idle_ms is not None:
            if pause is not None:
                pause.cancel()
            pause = loop.call_later(driver.idle_ms / 1000, paused)

    def end(ending: Ending) -> None:
        if not ended.done():
            ended.set_result(ending)

    link.start(hear, end)
    rest: list[Read] = []
    try:
        ending = await ended
    finally:
        if pause is not None:
            pause.cancel()
        rest = driver.close(ears.clock())
    ears.reads(rest)
    return ending


async def pump_images(
    link: ImageLink, driver: ImageDriver, ears: Ears, device: str, thread: ThreadPoolExecutor
) -> Ending:
    """Look at image after image, in `thread`, until the link ends. The caller closes the link."""
    loop = asyncio.get_running_loop()

    def step() -> list[Read] | Ending | None:
        found = link.next()
        if isinstance(found, Frame):
            try:
                return driver.see(found, ears.clock())
            except Exception as problem:  # noqa: BLE001 - one picture must not be able to stop a program
                reason = f"{found.source or 'a picture'} cannot be decoded: {problem!r}"
                return [BadFrame(device, reason, b"", ears.clock().unix_s)]
        if isinstance(found, str):
            return [BadFrame(device, found, b"", ears.clock().unix_s)]
        return found

    while True:
        outcome = await loop.run_in_executor(thread, step)
        if isinstance(outcome, Ending):
            return outcome
        if outcome is None:
            await asyncio.sleep(POLL_S)
        else:
            ears.sign_of_life()
            ears.reads(outcome)

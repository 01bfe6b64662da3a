"""Seeds over several processes."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

from tests.simulation.play import Outcome, play

CHUNK = 10  # seeds handed to a process at once


def played(first: int, seeds: int, jobs: int) -> Iterator[list[Outcome]]:
    """What came of each seed, some at a time, in no order."""
    last = first + seeds
    chunks = iter([range(start, min(start + CHUNK, last)) for start in range(first, last, CHUNK)])
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _leave_interrupts) as pool:
        try:
            running = {pool.submit(_chunk, chunk) for _, chunk in zip(range(2 * jobs), chunks, strict=False)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    if (chunk := next(chunks, None)) is not None:
                        running.add(pool.submit(_chunk, chunk))
                    yield one.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C is the parent's: it takes no more, and prints what is known by then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _chunk(seeds: range) -> list[Outcome]:
    return [play(seed) for seed in seeds]

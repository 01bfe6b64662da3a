"""`tallyman read`: what an installer has in hand on the ladder.

One JSON object per read on stdout; everything else (statuses, frames that were no reads, the sum) on stderr.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from devices.errors import Misconfigured, Unavailable
from devices.identify import identify
from devices.reader import PortStatus, Reader, rfc3339
from devices.reads import BadFrame, BarcodeRead, Read, TagRead
from identity import read_epc

DONE, FAILED, WRONG = 0, 1, 2

# Frames that are no reads, shown in one second; of more, only the number is told. A wrong speed gives thousands.
MOST_SHOWN = 3
# Different things that are told apart for the sum; above, it says "at least".
MOST_DISTINCT = 100_000


class OutputLost(Exception):
    """What was read cannot be printed; the text says why."""


def read(
    driver: str,
    port: str,
    name: str = "device",
    *,
    keep: bool = False,
    count: int | None = None,
    seconds: float | None = None,
    gs1_anywhere: bool = False,
) -> int:
    """Print what a device reads until its source ends, `count` reads or `seconds` are over, or Ctrl-C; with `keep`,
    open it again when it comes back; with `gs1_anywhere`, codes hold GS1 element strings whatever their ids say.

    Returns the exit status: 0 done, 1 the port could not be opened or read, or nothing can be printed, 2 wrong
    driver, URL or option.
    """
    printer = _Printer(count, gs1_anywhere=gs1_anywhere)
    whole = True
    try:
        whole = asyncio.run(_read(driver, port, name, printer, keep=keep, seconds=seconds))
    except Misconfigured as problem:
        _say(str(problem))
        return WRONG
    except Unavailable:
        printer.sum_up()
        return FAILED  # its status has said why
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        print_no_more()
        return DONE
    except OutputLost as problem:
        print_no_more()
        _say(f"what was read cannot be printed: {problem}")
        return FAILED
    except KeyboardInterrupt:
        pass
    printer.sum_up()
    return DONE if whole else FAILED


def print_no_more() -> None:
    """What is in the buffer still must not be tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def describe(read: BarcodeRead | TagRead, *, gs1_anywhere: bool = False) -> dict[str, Any]:
    """A read as `tallyman read` prints it."""
    identity = identify(read, gs1_anywhere=gs1_anywhere).as_dict()
    return _tag(read, identity) if isinstance(read, TagRead) else _barcode(read, identity)


# Where a camera saw a code.
_OF_A_PICTURE = ("source", "still")
# What a reader may tell of a tag besides its EPC; what it does not tell is left out.
_OF_A_TAG = ("text", "antenna", "rssi_dbm", "rssi_raw", "frequency_khz", "phase_deg")


def _tag(read: TagRead, identity: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "at": rfc3339(read.at),
        "device": read.device,
        "kind": "tag",
        "raw": read.raw.hex(),
    }
    if read.epc is not None:
        found = read_epc(read.epc, read.pc)
        shown["epc"] = read.epc.hex().upper()
        if found.uri is not None:
            shown["epc_uri"] = found.uri
    if read.tid is not None:
        shown["tid"] = read.tid.hex().upper()
    shown |= {name: value for name in _OF_A_TAG if (value := getattr(read, name)) is not None}
    if read.count != 1:
        shown["count"] = read.count
    shown["identity"] = identity
    return shown


def _barcode(read: BarcodeRead, identity: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "at": rfc3339(read.at),
        "device": read.device,
        "kind": "barcode",
        "text": read.text,
        "raw": read.raw.hex(),
    }
    if read.symbology is not None:
        shown["symbology"] = read.symbology
    shown["identity"] = identity
    return shown | {name: value for name in _OF_A_PICTURE if (value := getattr(read, name)) is not None}


async def _read(
    driver: str, port: str, name: str, printer: "_Printer", *, keep: bool, seconds: float | None
) -> bool:
    """Whether the source held all that it should, as far as it was looked at."""
    reader = Reader(name, driver, port, printer.show, _show_status, reopen=keep)
    running = asyncio.ensure_future(reader.run())
    printer.done = running.cancel
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    if seconds is not None:
        loop.call_later(seconds, running.cancel)
    with suppress(asyncio.CancelledError):
        return (await running).complete
    return True


class _Printer:
    """Prints reads, and knows what it printed."""

    def __init__(
        self,
        most: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        gs1_anywhere: bool = False,
    ) -> None:
        self._most, self._clock = most, clock
        self._gs1_anywhere = gs1_anywhere
        self.reads = self.bad_frames = 0
        self._distinct: set[object] = set()
        self._second = 0
        self._shown = 0
        self._started_s = clock()
        self.done: Callable[[], object] = lambda: None
        """Called when `most` reads were printed."""

    def show(self, read: Read) -> None:
        """Called for everything that a device hands over."""
        if isinstance(read, BadFrame):
            self._show_bad(read)
            return
        if self.reads == self._most:
            return  # came in one piece with the last one that was asked for
        self.reads += 1
        if len(self._distinct) < MOST_DISTINCT:
            kind = read.epc if isinstance(read, TagRead) else read.symbology
            self._distinct.add((kind, read.text))
        try:
            # Escaped throughout: whatever a code contains, the terminal shows it and does not obey it.
            print(json.dumps(describe(read, gs1_anywhere=self._gs1_anywhere)), flush=True)  # noqa: T201 - this is the command's output
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise OutputLost(problem.strerror or str(problem)) from None
        if self.reads == self._most:
            self.done()

    def _show_bad(self, read: BadFrame) -> None:
        self.bad_frames += 1
        second = int(self._clock())
        if second != self._second:
            self._say_how_many_more()
            self._second, self._shown = second, 0
        self._shown += 1
        if self._shown <= MOST_SHOWN:
            sample = f" (begins with {read.sample.hex(' ')})" if read.sample else ""
            _say(f"{read.device}: not a read: {read.reason}{sample}")

    def _say_how_many_more(self) -> None:
        if self._shown > MOST_SHOWN:
            _say(f"… and {self._shown - MOST_SHOWN} more that were no reads")
            self._shown = 0

    def sum_up(self) -> None:
        """Say how it went."""
        self._say_how_many_more()
        distinct = len(self._distinct)
        least = "at least " if distinct == MOST_DISTINCT else ""
        _say(
            f"{self.reads} reads, {least}{distinct} distinct, {self.bad_frames} bad frames "
            f"in {self._clock() - self._started_s:.1f} s"
        )


def _show_status(status: PortStatus) -> None:
    _say(status.status if status.reason is None else f"{status.status}: {status.reason}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for the person at the terminal

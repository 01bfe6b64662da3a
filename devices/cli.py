"""`tallyman read`: what an installer has in hand on the ladder.

One JSON object per read on stdout; everything else (statuses, frames that were no reads) on stderr.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from devices.errors import Misconfigured, Unavailable
from devices.reader import PortStatus, Reader, rfc3339
from devices.reads import BadFrame, BarcodeRead, Read, TagRead
from identity import parse

DONE, FAILED, WRONG = 0, 1, 2


def read(driver: str, port: str, name: str = "device", *, keep: bool = False) -> int:
    """Print what a device reads until its source ends or Ctrl-C; with `keep`, open it again when it comes back.

    Returns the exit status: 0 done, 1 the port could not be opened or read, 2 wrong driver, URL or option.
    """
    try:
        return asyncio.run(_read(driver, port, name, keep=keep))
    except Misconfigured as problem:
        _say(str(problem))
        return WRONG
    except Unavailable:
        return FAILED  # its status has said why
    except KeyboardInterrupt:
        return DONE
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is to be flushed at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def describe(read: BarcodeRead | TagRead) -> dict[str, Any]:
    """A read as `tallyman read` prints it."""
    return _tag(read) if isinstance(read, TagRead) else _barcode(read)


# What a reader may tell of a tag besides its EPC; what it does not tell is left out.
_OF_A_TAG = ("text", "antenna", "rssi_dbm", "rssi_raw", "frequency_khz", "phase_deg")


def _tag(read: TagRead) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "at": rfc3339(read.at),
        "device": read.device,
        "kind": "tag",
        "raw": read.raw.hex(),
    }
    if read.epc is not None:
        shown["epc"] = read.epc.hex()
    if read.tid is not None:
        shown["tid"] = read.tid.hex()
    shown |= {name: value for name in _OF_A_TAG if (value := getattr(read, name)) is not None}
    if read.count != 1:
        shown["count"] = read.count
    return shown


def _barcode(read: BarcodeRead) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "at": rfc3339(read.at),
        "device": read.device,
        "kind": "barcode",
        "text": read.text,
        "raw": read.raw.hex(),
    }
    if read.symbology is not None:
        shown["symbology"] = read.symbology
    shown["identity"] = parse(read.text, read.symbology).as_dict()
    if read.source is not None:
        shown["source"] = read.source
    return shown


async def _read(driver: str, port: str, name: str, *, keep: bool) -> int:
    reader = Reader(name, driver, port, _show, _show_status, reopen=keep)
    running = asyncio.ensure_future(reader.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running
    return DONE


def _show(read: Read) -> None:
    if isinstance(read, BadFrame):
        sample = f" (begins with {read.sample.hex(' ')})" if read.sample else ""
        _say(f"{read.device}: not a read: {read.reason}{sample}")
    else:
        # Escaped throughout: whatever a code contains, the terminal shows it and does not obey it.
        print(json.dumps(describe(read)), flush=True)  # noqa: T201 - this is the command's output


def _show_status(status: PortStatus) -> None:
    _say(status.status if status.reason is None else f"{status.status}: {status.reason}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for the person at the terminal

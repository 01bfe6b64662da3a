"""`tallyman simulate`: a device on the command line, told about on standard error, accounted for on standard output.

Exit status: 0 done or ended by Ctrl-C or SIGTERM, 1 the port cannot be made, 2 wrong usage.
"""

import contextlib
import json
import os
import select
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Final

from simulators.hardware import KINDS
from simulators.hardware.account import Entry
from simulators.hardware.device import Reads
from simulators.hardware.faults import FAULTS, RATE
from simulators.hardware.rig import Rig, known
from simulators.hardware.things import Item, as_json, at_rate, make, read_script
from simulators.hardware.transports import IN_PROCESS, Refused

DONE, FAILED, WRONG_USE = 0, 1, 2
"""Exit statuses."""
PER_S: Final = 1.0
"""Things per second, if nobody says otherwise."""
SETTLE_S: Final = 10.0
"""How long the host may take for what is left when the last thing was shown."""
LINE_MOST_BYTES: Final = 65536
"""Of a script on standard input."""
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line, as text."""

    kind: str
    port: str
    """Empty: what is usual for the kind."""
    script: str | None = None
    """A file, or `-`."""
    per_s: float | None = None
    seed: int = 0
    count: int | None = None
    faults: str = ""
    """Names between commas."""
    fault_rate: float = RATE
    duration_s: float | None = None
    options: Sequence[str] = field(default=())
    """`NAME=VALUE` each."""


class _OutputLost(Exception):
    """Nothing can be printed any more: whoever read it has gone (no text), or why."""


def list_kinds() -> int:
    """Print the kinds, a line each, and the faults."""
    width = max(map(len, KINDS))
    lines = [f"{name:{width}}  {kind.about}" for name, kind in sorted(KINDS.items())]
    try:
        _print("\n".join(lines))
    except _OutputLost as lost:
        return _print_no_more(lost)
    _say(f"Faults: {', '.join(FAULTS)}. Begin with: tallyman simulate text-line --port pty")
    return DONE


def main(order: Order) -> int:
    """Run one device until its things are told, the time is over or somebody ends it; the exit status."""
    try:
        options = dict(_option(each) for each in order.options)
        faults = [name.strip() for name in order.faults.split(",") if name.strip()]
        kind = KINDS[known("kind of device", order.kind, KINDS)]
        stop = threading.Event()
        if order.port.partition(":")[0] == IN_PROCESS:
            raise ValueError(f"port {order.port!r} is for tests: nobody could open it; try --port pty")
        items = _items(order, kind.reads, stop)
        rig = Rig(
            order.kind,
            order.port or kind.load().PORTS[0],
            seed=order.seed,
            faults=faults,
            fault_rate=order.fault_rate,
            options=options,
            tell=_say,
        )
    except ValueError as problem:
        return _refuse(str(problem), WRONG_USE)
    except (OSError, Refused) as problem:
        return _refuse(str(problem), FAILED)
    with rig:
        try:
            return _Run(rig, order, stop).run(items)
        except _OutputLost as lost:
            return _print_no_more(lost)


class _Run:
    """The rig, the person at the terminal and the clock."""

    def __init__(self, rig: Rig, order: Order, stop: threading.Event) -> None:
        self._rig, self._order, self._stop = rig, order, stop
        self._counts: dict[str, int] = {}
        self._complaint = ""

    def run(self, items: Iterator[Item]) -> int:
        before = {number: signal.signal(number, self._ended) for number in (signal.SIGINT, signal.SIGTERM)}
        player = threading.Thread(target=self._play, args=(items,), name="script", daemon=True)
        try:
            self._announce()
            player.start()
            self._report_until(player)
        finally:
            self._stop.set()
            for number, handler in before.items():
                signal.signal(number, handler)
        self._rig.close()
        self._report()
        found = ", ".join(f"{count} {fate}" for fate, count in sorted(self._counts.items(), reverse=True))
        _say(f"{sum(self._counts.values())} things were shown{f': {found}' if found else ''}")
        return _refuse(self._complaint, WRONG_USE) if self._complaint else DONE

    def _ended(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _announce(self) -> None:
        _say(f"{self._order.kind} is at {self._rig.place}. Read it with:")
        if self._rig.url:
            _say(f"  tallyman read --driver {self._order.kind} --port {shlex.quote(self._rig.url)}")

    def _play(self, items: Iterator[Item]) -> None:
        try:
            self._rig.play(items, stop=self._stop)
        except ValueError as problem:  # a line of standard input that is no thing
            self._complaint = str(problem)

    def _report_until(self, player: threading.Thread) -> None:
        """Tell what is decided, until all is told, the time is over or somebody ended it."""
        began_s, last_s = time.monotonic(), None
        while not self._stop.wait(_LOOK_S):
            self._report()
            now_s = time.monotonic()
            if self._order.duration_s is not None and now_s > began_s + self._order.duration_s:
                return
            if not player.is_alive():
                last_s = last_s or now_s
                if self._rig.settle(0.0) or now_s > last_s + SETTLE_S:
                    return

    def _report(self) -> None:
        for entry in self._rig.take_decided():
            self._counts[entry.fate] = self._counts.get(entry.fate, 0) + 1
            _print(json.dumps(_as_json(entry)))


def _as_json(entry: Entry) -> dict[str, object]:
    why = {"why": entry.why} if entry.why else {}
    times = {"times": entry.times} if entry.times > 1 else {}
    return {"number": entry.thing.number, "fate": entry.fate, **why, **times, **as_json(entry.thing)}


def _items(order: Order, reads: Reads, stop: threading.Event) -> Iterator[Item]:
    """A file is read before anything starts, so that its mistakes are told at once; standard input as it comes."""
    for name, value in (("--rate", order.per_s), ("--duration-s", order.duration_s)):
        if value is not None and value <= 0:
            raise ValueError(f"{name} is more than 0, not {value:g}")
    if order.script is None:
        return at_rate(make(reads, order.seed), order.per_s or PER_S, order.count)
    if order.per_s is not None:
        raise ValueError("--script says what is shown and when; it does not go with --rate")
    if order.script == "-":
        return islice(read_script(_lines(sys.stdin.fileno(), stop), "standard input", reads), order.count)
    return iter(list(islice(read_script(_text(Path(order.script)), order.script, reads), order.count)))


def _lines(descriptor: int, stop: threading.Event) -> Iterator[str]:
    """Lines as they come; not by `sys.stdin`, whose lock a thread that waits in it keeps when the program ends."""
    poll, rest = select.poll(), b""
    poll.register(descriptor, select.POLLIN)
    while not stop.is_set():
        if not poll.poll(_LOOK_S * 1000):
            continue
        piece = os.read(descriptor, LINE_MOST_BYTES)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
        if len(rest) > LINE_MOST_BYTES:
            raise ValueError(f"standard input: a line of more than {LINE_MOST_BYTES} bytes")
    if rest and not stop.is_set():
        yield rest.decode(errors="replace")


def _text(path: Path) -> Iterable[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path}: no UTF-8 text at byte {problem.start}") from None
    except OSError as problem:
        raise ValueError(f"{path}: {problem.strerror}") from None


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"an option is NAME=VALUE, not {text!r}")
    return name, value


def _refuse(problem: str, status: int) -> int:
    _say(problem)
    return status


def _print(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise _OutputLost from None
    except OSError as problem:
        raise _OutputLost(problem.strerror) from None


def _print_no_more(lost: _OutputLost) -> int:
    """What is in the buffer still must not be tried again at exit; the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _refuse(f"nothing can be printed: {lost}", FAILED) if lost.args else DONE


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"tallyman simulate: {line}\n")
        sys.stderr.flush()

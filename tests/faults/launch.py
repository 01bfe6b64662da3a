"""Starts the real programs for tests that hurt them: `python -m tests.faults.launch`, and see `Nursery`.

A second of every start is Python reading its libraries. So this process reads them once, and each program is a copy
of it (fork) that goes on as `tallyman ARGUMENTS` would: its own process, its own journal, its own connections. What
else a test wants is done in the copy before the program begins: failpoints, another clock, a network of its own, and
constants that make a wait of a minute one of a second.

Reads orders from its standard input, one JSON object a line, and answers each with {"started": pid}; when a copy
ended it says {"ended": pid, "status": number}, negative for the signal that ended it.
"""

import ctypes
import importlib
import json
import os
import random
import select
import signal
import sys
import threading
import traceback
from typing import Any

from tests.faults.failpoints import Armed, Failpoints
from tests.support.networks import enter

PR_SET_PDEATHSIG = 1  # prctl(2): nothing is left of a test run that was killed


def main() -> None:
    """Serve until standard input ends."""
    for library in ("agent.build", "central.build", "tallyman"):  # what takes a second
        importlib.import_module(library)
    assert threading.active_count() == 1, "a copy would lack the other threads"
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever is told to end closes our input
        signal.signal(number, signal.SIG_IGN)
    children: set[int] = set()
    orders = b""
    _say({"ready": os.getpid()})
    while True:
        ready, _, _ = select.select([0, reading], [], [])
        if reading in ready:
            os.read(reading, 512)
            _reap(children)
        if 0 in ready:
            more = os.read(0, 65536)
            if not more:
                break
            orders += more
            while b"\n" in orders:
                line, orders = orders.split(b"\n", 1)
                children.add(_start(json.loads(line)))
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _reap(children: set[int]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(what: dict[str, int]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _start(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _say({"started": pid})
        return pid
    status = 1
    try:
        _prepare(order)
        status = run(order)
    except BaseException:  # noqa: BLE001 (this copy must never go on as the one that starts others)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _prepare(order: dict[str, Any]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.closerange(3, 256)
    random.seed()


def run(order: dict[str, Any]) -> int:
    """Be that program, with these faults; its exit status."""
    if order.get("network"):
        enter(order["network"])
    if order.get("clock"):
        ctypes.CDLL(None).tallyman_test_clock(order["clock"].encode())
    for name, value in order.get("constants", {}).items():
        module, _, attribute = name.rpartition(".")
        known = importlib.import_module(module)
        assert hasattr(known, attribute), f"{name}: there is no such constant"
        setattr(known, attribute, value)
    Failpoints(tuple(Armed.parse(text) for text in order.get("die", ()))).install()
    import tallyman

    sys.argv = ["tallyman", *order["arguments"]]
    try:
        tallyman.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    main()

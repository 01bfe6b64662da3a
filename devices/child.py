"""Part of a program in a process of its own: for libraries that may hang for ever or crash on what they are given.

The one idea: whoever asks waits no longer than it said. A thread that is stuck in a driver cannot be ended, and would
keep the device open, so that its successor finds it busy; a process can be killed, and the kernel lets go of all that
it held. A request goes in by one pipe and its answer comes out by another, each with its length in front; what a
library says on standard error is read along, because often only that says what is wrong.

Should a kill not take (a process waits inside a driver for hardware that never answers), the process is left behind.
At most `MOST_HANGING` of one thing are: then no more are started for it, and the reason says so.
"""

import importlib
import os
import queue
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path
from typing import BinaryIO

# The largest message: a picture of 8,192 × 8,192 grey levels, and what stands before it.
MAX_MESSAGE = (1 << 26) + 1024
# How long a killed process may take to go: closing a USB camera takes tenths of a second.
KILL_S = 2.0
MOST_HANGING = 3
# What is kept of standard error, and how much of it is told.
_SAID_BYTES, _TOLD_CHARACTERS = 4096, 200
# How often it is asked whether the caller still wants the answer.
_SLICE_S = 0.1
_LENGTH_BYTES = 4
# A picture of 1280×720 in one go; the kernel's bound for users without privilege is the same.
_PIPE_BYTES = 1 << 20
_ROOT = Path(__file__).parents[1]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from devices import child; child._main(sys.argv[2])"


class Lost(Exception):
    """The process is of no use any more: it ended, hangs, or cannot be started. The text says which, and why."""


class Late(Lost):
    """It has not answered in time."""


class Stopped(Exception):
    """The caller does not want the answer any more."""


class Child:
    """A process that runs `main(parent)` of a module of ours. For one thread."""

    def __init__(self, module: str, *, what: str) -> None:
        """Start it. Raises `Lost`. `what` names the thing it deals with, such as a camera."""
        self._what = what
        _bury()
        if len(_hanging.get(what, ())) >= MOST_HANGING:
            raise Lost(
                f"{MOST_HANGING} processes hang in its driver and cannot be ended: unplug it and plug it in again,"
                " or restart this machine"
            )
        try:
            # A group of its own: Ctrl-C at a terminal is for the parent alone, whose end ends the child.
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, "-P", "-c", _START, str(_ROOT), module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                process_group=0,
            )
        except OSError as problem:
            raise Lost(f"no process can be started for it: {problem.strerror or problem}") from None
        self._said = b""
        self._in, self._out, self._err = self._pipes()
        self._selector = selectors.DefaultSelector()
        for fd in (self._out, self._err):
            self._selector.register(fd, selectors.EVENT_READ)
        self._open = True

    def _pipes(self) -> tuple[int, int, int]:
        process = self._process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        for pipe in (process.stdin, process.stdout):
            _widen(pipe)
        return process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno()

    @property
    def said(self) -> str | None:
        """The last thing that was said on standard error, for people."""
        with suppress(BlockingIOError):
            while self._open and self._listen():
                pass
        lines = [_spoken(line) for line in self._said.decode("utf-8", "replace").splitlines()]
        return next((line for line in reversed(lines) if line), None)

    def ask(
        self, *request: bytes | memoryview, timeout_s: float, stopped: Callable[[], bool] = lambda: False
    ) -> memoryview:
        """The answer to a request. After any error the process is of no use: close it.

        Raises:
            Late: it has not answered within `timeout_s`.
            Lost: it has ended.
            Stopped: `stopped` became true.
        """
        until_s = time.monotonic() + timeout_s
        waiting = _Outgoing(request)
        answer = _Incoming()
        self._selector.register(self._in, selectors.EVENT_WRITE)
        try:
            while not answer.whole:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise Late(f"no answer for {timeout_s:g} s")
                if stopped():
                    raise Stopped
                for key, _ in self._selector.select(min(left_s, _SLICE_S)):
                    self._move(key.fd, waiting, answer)
        finally:
            with suppress(KeyError):
                self._selector.unregister(self._in)
        return answer.content

    def _move(self, fd: int, waiting: "_Outgoing", answer: "_Incoming") -> None:
        try:
            if fd == self._in:
                if not waiting.write(fd):
                    self._selector.unregister(fd)
            elif fd == self._err:
                self._listen()
            elif not answer.read(fd):
                raise Lost(self._how_it_ended())
        except BrokenPipeError:
            raise Lost(self._how_it_ended()) from None
        except BlockingIOError:
            pass

    def _listen(self) -> bool:
        """Take what was said; False when nothing more ever will be."""
        said = os.read(self._err, _SAID_BYTES)
        if not said:
            with suppress(KeyError):
                self._selector.unregister(self._err)
        self._said = (self._said + said)[-_SAID_BYTES:]
        return bool(said)

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)
        status = self._process.returncode
        if status is None:
            return "its process hangs"
        how = f"status {status}" if status >= 0 else _signal(-status)
        return f"its process ended ({how}){f': {self.said}' if self.said else ''}"

    def close(self) -> None:
        """Kill it and let go. Waits for `KILL_S` at the most; may be called twice."""
        if not self._open:
            return
        self._open = False
        self._selector.close()
        process = self._process
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        if process.returncode is None:
            with _lock:
                _hanging.setdefault(self._what, []).append(process)


_lock = threading.Lock()
# By thing: the processes that did not go when they were killed.
_hanging: dict[str, list["subprocess.Popen[bytes]"]] = {}


def _bury() -> None:
    """Forget those that went after all."""
    with _lock:
        for what, processes in list(_hanging.items()):
            _hanging[what] = [process for process in processes if process.poll() is None]
            if not _hanging[what]:
                del _hanging[what]


class _Outgoing:
    """A request that is being written."""

    def __init__(self, request: Sequence[bytes | memoryview]) -> None:
        size = sum(len(part) for part in request)
        assert size <= MAX_MESSAGE
        head = size.to_bytes(_LENGTH_BYTES, "big")
        self._parts = [memoryview(head), *(memoryview(part) for part in request if len(part))]

    def write(self, fd: int) -> bool:
        """Write what fits; whether something is left."""
        written = os.writev(fd, self._parts)
        while self._parts and written >= len(self._parts[0]):
            written -= len(self._parts.pop(0))
        if self._parts and written:
            self._parts[0] = self._parts[0][written:]
        return bool(self._parts)


class _Incoming:
    """An answer that is being read: its length, then as many bytes."""

    def __init__(self) -> None:
        self._head = b""
        self._body: memoryview | None = None
        self._have = 0

    @property
    def whole(self) -> bool:
        return self._body is not None and self._have == len(self._body)

    @property
    def content(self) -> memoryview:
        assert self._body is not None
        return self._body

    def read(self, fd: int) -> bool:
        """Read what there is; False at the end of the stream."""
        if self._body is None:
            data = os.read(fd, _LENGTH_BYTES - len(self._head))
            self._head += data
            if len(self._head) == _LENGTH_BYTES:
                size = int.from_bytes(self._head, "big")
                if size > MAX_MESSAGE:
                    raise Lost(f"its process answers nonsense ({size:,} bytes)")
                self._body = memoryview(bytearray(size))
            return bool(data)
        count = os.readv(fd, [self._body[self._have :]])
        self._have += count
        return bool(count)


# Places in a library are no news: `[mov,mp4 @ 0x55ced1e60640] `, `[ WARN:0@0.444] global cap.cpp:212 open `.
_PLACE = re.compile(r"^(?:\[[^\]]*\]\s*)+(?:global \S+ \S+ )?")
_LOGIN = re.compile(r"(://)[^/@\s]*@")


def _spoken(line: str) -> str:
    """What a library says, as it can be shown: without its own places, without a password, printable and short."""
    text = _LOGIN.sub(r"\1…@", _PLACE.sub("", line.strip()))
    return "".join(character for character in text if character.isprintable())[:_TOLD_CHARACTERS]


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _widen(pipe: object) -> None:
    with suppress(OSError):  # beyond what this user's pipes may hold: then it takes more turns
        fcntl(pipe.fileno(), F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[attr-defined]


# --- in the child ----------------------------------------------------------------------------------------------


class Parent:
    """Who asks, as the child sees it. Ends the child when the parent is gone, whatever the child is at."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers
        self._asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        while len(head := self._requests.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
            self._asked.put(self._requests.read(int.from_bytes(head, "big")))
        os._exit(0)

    def wait(self) -> bytes:
        """The next request."""
        return self._asked.get()

    def asked(self) -> bytes | None:
        """The next request, if there is one."""
        try:
            return self._asked.get_nowait()
        except queue.Empty:
            return None

    def answer(self, *parts: bytes | memoryview) -> None:
        """One answer to each request."""
        size = sum(len(part) for part in parts)
        self._answers.write(size.to_bytes(_LENGTH_BYTES, "big"))
        for part in parts:
            self._answers.write(part)
        self._answers.flush()


def _main(module: str) -> None:
    """The child's first step. Whatever a library prints goes to standard error: standard output is for answers."""
    answers = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    os.dup2(2, 1)
    try:
        importlib.import_module(module).main(Parent(sys.stdin.buffer, answers))
    except BaseException as problem:  # noqa: BLE001 - it is told to the parent, by its last words and its status
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)
    # Not by the interpreter's own end: that waits for the thread that listens to the parent.
    os._exit(0)

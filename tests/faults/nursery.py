"""Where tests get their agents and centrals from: started in a few hundredths of a second, and watched."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.programs import tail
from tests.support.shim import preloaded
from tests.support.wait import eventually_async

ROOT = Path(__file__).parents[2]
START_S = 60.0  # two cores that are busy with other tests


class Nursery:
    """A `tests.faults.launch` process, and what it started."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""
        self._started: list[int] = []
        self.ended: dict[int, int] = {}
        """What ended, and how: the exit status, negative for the signal."""

    def open(self) -> "Nursery":
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launch"],
            cwd=ROOT,
            env={**os.environ, **preloaded("clock_shim", "kill_shim")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        return self

    def close(self) -> None:
        """End it, and with it everything that it started."""
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(10)
            self._process.stdout.close()
            self._process = None

    def start(self, *arguments: str, log: Path, **more: Any) -> int:
        """Start `tallyman ARGUMENTS`; its process id.

        Args:
            log: where what it says is appended.
            more: `die` (failpoints), `constants` (name → value), `clock` (a file), `network` (a namespace).
        """
        assert self._process is not None and self._process.stdin is not None
        order = {"arguments": arguments, "log": str(log), **more}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        ends_at = time.monotonic() + START_S
        while not self._started:
            self._listen()
            assert self._process.poll() is None and time.monotonic() < ends_at, "the nursery does not answer"
            time.sleep(0.001)
        return self._started.pop()

    def is_alive(self, pid: int) -> bool:
        """Whether it has not ended yet."""
        self._listen()
        return pid not in self.ended

    def signal(self, pid: int, number: signal.Signals) -> None:
        """To one that was started here, if it has not ended."""
        if self.is_alive(pid):
            os.kill(pid, number)

    def _listen(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while more := self._process.stdout.read(65536):
            self._heard += more
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "started" in told:
                self._started.append(told["started"])
            elif "ended" in told:
                self.ended[told["ended"]] = told["status"]


class Ward:
    """A program that a nursery starts, kills and buries."""

    nursery: Nursery
    log: Path
    pid: int | None

    @property
    def alive(self) -> bool:
        """Whether the program runs."""
        return self.pid is not None and self.nursery.is_alive(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """To the program."""
        assert self.pid is not None
        self.nursery.signal(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Wait until the program is gone; its exit status, negative for the signal."""
        pid = self.pid
        assert pid is not None
        await eventually_async(lambda: not self.alive, START_S, f"the program ends:\n{tail(self.log)}")
        self.pid = None
        return self.nursery.ended[pid]

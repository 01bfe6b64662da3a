"""Real programs as processes: started, watched, killed, and never left behind.

Each program runs in a process group of its own, so that a Ctrl-C at the terminal reaches only us and we end the
others in order; and so that nothing a program started outlives it. What it prints goes to a file.
"""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

READY_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 12.0
"""A program has 10 s of its own to close; afterwards it is killed."""
_POLL_S: Final = 0.05
# Below the range that Linux takes for outgoing connections (from 32768): such a port is not taken by chance.
_PORTS: Final = range(15_000, 32_000)
_PORT_ATTEMPTS: Final = 100


class ProgramFailed(Exception):
    """A program did not do what it must; the text says which, and shows the end of its log."""


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now.

    Raises:
        ProgramFailed: none was found in a hundred attempts.
    """
    for _ in range(_PORT_ATTEMPTS):
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise ProgramFailed(f"no free port on 127.0.0.1 was found in {_PORT_ATTEMPTS} attempts")


def tail(path: Path, lines: int = 15) -> str:
    """The end of a log file."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


class Program:
    """One program: may be started again after it was stopped or killed."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.name, self.log = name, log
        self._command, self._environment = tuple(command), environment
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_end = False

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it; its log goes on where it was."""
        assert self.pid is None, f"{self.name} runs already"
        self._told_to_end = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (the command is ours)
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    async def ready(self, probe: Callable[[], Awaitable[bool]], timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until `probe` says yes.

        Raises:
            ProgramFailed: the program ended, or it did not get ready in time.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not await probe():
            self.check()
            if asyncio.get_running_loop().time() > deadline:
                raise self.failure(f"is not ready after {timeout_s:g} s")
            await asyncio.sleep(_POLL_S)

    def check(self) -> None:
        """Raise ProgramFailed if it ended by itself."""
        if self._process is None or self._told_to_end:
            return
        if (status := self._process.poll()) is not None:
            raise self.failure(f"ended by itself with status {status}")

    def failure(self, what: str) -> ProgramFailed:
        """What to raise about this program: with its log's place and end."""
        return ProgramFailed(f"{self.name} {what}. The end of its log ({self.log}):\n{tail(self.log)}")

    async def kill(self) -> None:
        """SIGKILL, at once, to it and all it started."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            await self._wait(STOP_TIMEOUT_S)
            self._process = None

    def kill_now(self) -> None:
        """SIGKILL without an event loop's help; waits until it is gone."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def end(self) -> None:
        """Ask it to end; `stop` waits for that."""
        if self.pid is not None:
            self._signal(signal.SIGTERM)

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM, then SIGKILL if it takes too long; nothing that it started is left."""
        self.end()
        if self._process is not None:
            await self._wait(timeout_s)
            await self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._told_to_end = True
        # The group lives as long as any member of it, also when the program itself is gone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _wait(self, timeout_s: float) -> None:
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline:
            if self._process.poll() is not None:
                return
            await asyncio.sleep(0.01)


class Programs:
    """All the programs of one run; on the way out, whatever the reason, every one is ended."""

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self._logs, self._environment = logs, environment
        self._all: list[Program] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Every one is asked at once; a second interruption meanwhile kills what is left."""
        for program in self:
            program.end()
        try:
            for program in self:
                await program.stop()
        finally:
            for program in self:
                program.kill_now()

    def __iter__(self) -> Iterator[Program]:
        """The last started first."""
        return reversed(self._all)

    def add(self, name: str, *command: str) -> Program:
        """A program that is not started yet; its log is `NAME.log`."""
        program = Program(name, command, self._logs / f"{name}.log", self._environment)
        self._all.append(program)
        return program

    def check(self) -> None:
        """Raise ProgramFailed if one of them ended by itself."""
        for program in self:
            program.check()

    async def output(self, name: str, *command: str, timeout_s: float = READY_TIMEOUT_S) -> str:
        """Run a command to its end and return what it printed; only its complaints go to a log.

        Raises:
            ProgramFailed: it ended with another status than 0, or not in time.
        """
        program = Program(name, command, self._logs / f"{name}.log", self._environment)
        with program.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(timeout_s):
                printed, _ = await process.communicate()
        except TimeoutError:
            raise program.failure(f"did not end within {timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise program.failure(f"ended with status {process.returncode}")
        return printed.decode().strip()

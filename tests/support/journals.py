"""A journal in a process of its own, that does what a test says; and small file systems to put it on."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sync.journal import Journal
from tests.support.programs import find_program

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
PATIENCE_S = 60.0  # two cores that are busy with other tests


@contextlib.asynccontextmanager
async def opening(path: Path, **usual: Any) -> AsyncIterator[Callable[..., Any]]:
    """What opens the journal at `path`, or another one, with these arguments unless told otherwise. Closes what is
    still open at the end.
    """
    journals: list[Journal] = []

    async def opened(at: Path = path, **how: Any) -> Journal:
        journals.append(await Journal.open(at, **{"agent": "dock-1", "site": "lej1", **usual, **how}))
        return journals[-1]

    try:
        yield opened
    finally:
        for journal in journals:
            if not journal._closed:
                await journal.close()


class Failing:
    """A driver connection whose named statements fail once, after or before they did their work."""

    def __init__(self, raw: sqlite3.Connection, statement: str, *, after: bool) -> None:
        self._raw, self._statement, self._after = raw, statement, after

    def execute(self, statement: str, *parameters: Any) -> Any:
        if statement.startswith(self._statement):
            self._statement = "never again"
            if self._after:
                self._raw.execute(statement, *parameters)
            raise sqlite3.OperationalError("disk I/O error")
        return self._raw.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class JournalProgram:
    """`tests/faults/journal_worker.py` on one journal. `opened` is its first answer."""

    def __init__(
        self, path: Path, *, ballast_bytes: int = MIB, environment: dict[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", "tests.faults.journal_worker", str(path), str(ballast_bytes)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.opened = self._answer()

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Its answer; `error` in it is what the journal refused with."""
        self.begin(do, **order)
        return self._answer()

    def begin(self, do: str, **order: Any) -> None:
        """Ask, and do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What it says to what was begun."""
        return self._answer()

    def append(self, *ids: str, **order: Any) -> list[str]:
        """Have these recorded, one after the other; the ids, all of which got their OK."""
        answer = self.ask("append", ids=list(ids), **order)
        assert "error" not in answer, answer
        return list(ids)

    def held(self) -> list[str]:
        """The ids of all that can be read."""
        return list(self.ask("held")["ids"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        hung = threading.Timer(PATIENCE_S, self.process.kill)
        hung.start()
        line = self.process.stdout.readline()
        hung.cancel()
        return json.loads(line) if line else {"ended": self.process.wait()}

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self._leave()

    def close(self) -> None:
        """Let it close its journal."""
        if self.process.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self.ask("close")
        self._leave()

    def _leave(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()


@contextlib.contextmanager
def running(path: Path, **how: Any) -> Iterator[JournalProgram]:
    """One that is closed in the end."""
    program = JournalProgram(path, **how)
    try:
        yield program
    finally:
        program.close()


def held_after_restart(path: Path) -> list[str]:
    """What another process, this one, finds in it."""

    async def look() -> list[str]:
        journal = await Journal.open(path, agent="dock-1", site="lej1", ballast_bytes=0)
        try:
            return [one.event.id for one in reversed(await journal.recent(1_000_000))]
        finally:
            await journal.close()

    return asyncio.run(look())


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system in memory with so much room."""
    place = folder / "small"
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run([find_program("umount", package="mount"), "-l", str(place)], check=True)


class DiskOfBlocks:
    """An ext4 file system in a file, mounted at `place`; it goes read-only at its first error."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.place, self._image = folder / "disk", folder / "image"
        self.place.mkdir()
        with self._image.open("wb") as file:
            file.truncate(size_bytes)
        make = find_program("mkfs.ext4", package="e2fsprogs")
        subprocess.run([make, "-q", "-F", "-m", "0", str(self._image)], check=True)
        self.mount()

    def mount(self) -> None:
        _mount("-o", "loop,errors=remount-ro", str(self._image), str(self.place))

    def unmount(self) -> None:
        subprocess.run([find_program("umount", package="mount"), str(self.place)], check=True)

    def break_down(self) -> None:
        """The kernel meets an error in it."""
        device = self.place.stat().st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("1")

    def repair(self) -> None:
        """What a person does then."""
        self.unmount()
        check = find_program("e2fsck", package="e2fsprogs")
        subprocess.run([check, "-fy", str(self._image)], check=False, capture_output=True)
        self.mount()


@contextlib.contextmanager
def disk_of_blocks(folder: Path, size_bytes: int) -> Iterator[DiskOfBlocks]:
    """One that is unmounted in the end."""
    disk = DiskOfBlocks(folder, size_bytes)
    try:
        yield disk
    finally:
        disk.unmount()


def remount(place: Path, how: str) -> None:
    """Mount it again: `ro` or `rw`."""
    _mount("-o", f"remount,{how}", str(place))


def _mount(*arguments: str) -> None:
    if os.getuid():
        pytest.fail(
            "This test mounts a small file system, which only root may: run it as root", pytrace=False
        )
    done = subprocess.run(
        [find_program("mount", package="mount"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def fill(place: Path, *, leave_bytes: int = 0) -> Path:
    """Take the room of this disk, but for so much; the file to delete."""
    filler = place / "filler"
    state = os.statvfs(place)
    with filler.open("wb") as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, state.f_bavail * state.f_frsize - leave_bytes))
    return filler

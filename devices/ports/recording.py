"""`file://` for drivers that decode bytes: a recording, played once, as fast as it is decoded."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from devices.driver import ByteDriver
from devices.errors import Unavailable
from devices.ports.link import CHUNK, Ending
from devices.ports.url import Port


class RecordingLink:
    """A regular file, read in a thread: files cannot be watched for readiness."""

    answers = False
    warning = None

    def __init__(self, file: BinaryIO, *, what: str) -> None:
        self._file = file
        self._what = what
        self._task: asyncio.Task[None] | None = None

    def start(self, hear: Callable[[bytes], None], ended: Callable[[Ending], None]) -> None:
        """Read it to its end."""

        async def play() -> None:
            try:
                while data := await asyncio.to_thread(self._file.read, CHUNK):
                    hear(data)
                ending = Ending(f"{self._what} was read to its end", finished=True)
            except OSError as problem:
                ending = Ending(f"{self._what} cannot be read: {problem.strerror or problem}")
            ended(ending)

        self._task = asyncio.create_task(play())

    def send(self, data: bytes) -> None:
        """A recording hears nothing."""

    def close(self) -> None:
        """Stop playing."""
        task = self._task
        if task is not None and not task.done() and task is not asyncio.current_task():
            task.cancel()
        self._file.close()

    async def closed(self) -> None:
        """A file is closed at once."""


async def open_link(port: Port, _options: dict[str, Any], _driver: ByteDriver) -> RecordingLink:
    """Open the file. Raises `Unavailable` with the reason."""
    file = await asyncio.to_thread(_open, Path(port.path))
    return RecordingLink(file, what=port.path)


def _open(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unavailable(f"{path} is no file: a recording is one file of the bytes that a device sent")
        return path.open("rb")
    except OSError as problem:
        raise Unavailable(f"{path} cannot be opened: {problem.strerror or problem}") from None

"""The durable record of every scan: one writer thread, group commit, and an answer only after the commit.

The thread owns the only connection that writes. It takes whatever is waiting, commits it with one fsync, and only
then does anybody who waits for `append` go on: an OK shown to a person survives `kill -9` and power loss at that
instant. What the file holds is `sync/store.py`'s; what is here is who waits for what.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from sync import ids
from sync.engine import Record, Stream
from sync.recorded import Draft, EventTooLarge, JournalBusy, JournalError, Recorded, rfc3339
from sync.store import ROWS_PER_STATEMENT, Reader, Store

__all__ = ["Draft", "EventTooLarge", "Journal", "JournalBusy", "JournalError", "Recorded", "rfc3339"]

ROWS_PER_COMMIT: Final = 2_000  # bounds how long the first of a group waits for the last
MOST_WAITING: Final = 20_000  # events whose commit is awaited; above, `append` refuses

Result = TypeVar("Result")


@dataclass(slots=True)
class _Request(Generic[Result]):
    """Something for the writer thread: appends are joined into one statement, the rest runs as it says."""

    future: "asyncio.Future[Result]"
    drafts: Sequence[Draft] = ()
    work: "Callable[[], Result] | None" = None
    alone: bool = False
    """Needs a transaction of its own, because a failed commit must be told from a successful one."""


class Journal:
    """The journal of one agent; use `Journal.open`. For one event loop."""

    def __init__(
        self, path: Path, *, agent: str, site: str, now_ms: Callable[[], int], random_bytes: ids.RandomBytes
    ):
        self._path, self._now_ms = path, now_ms
        self._store = Store(path, agent=agent, site=site, random_bytes=random_bytes)
        self._reader = Reader(path)
        self._loop = asyncio.get_running_loop()
        self._requests: queue.SimpleQueue[_Request[Any] | None] = queue.SimpleQueue()
        self._writer_thread = threading.Thread(
            target=self._write_for_ever, name="journal-writer", daemon=True
        )
        self._reader_thread = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")
        self._waiting = 0
        self._suspect = False
        self._closed = False
        self._told = ("", 0)
        """(incarnation, last sequence) of what is durable for certain."""
        self.queued = 0
        """Events without a verdict, as far as that is durable."""
        self.history: str | None = None
        """The history that the verdicts belong to; None before the first answer ever."""
        self._lock_file: int | None = None
        self.oldest_queued_at: str | None = None
        """When the oldest event without a verdict was recorded, as far as the uplink has looked."""
        self.on_append: Callable[[str, int], None] = lambda _incarnation, _last: None
        """Called on the event loop with (incarnation, last sequence) after each commit, before anyone goes on."""

    @property
    def incarnation(self) -> str:
        """The current incarnation."""
        return self._told[0]

    # --- opening and closing -------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        agent: str,
        site: str,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bytes: ids.RandomBytes = os.urandom,
    ) -> "Journal":
        """Open or create the journal and begin a new incarnation, durably.

        Raises:
            JournalError: another agent has it, it belongs to another agent, or the file cannot be used.
        """
        journal = cls(path, agent=agent, site=site, now_ms=now_ms, random_bytes=random_bytes)
        try:
            await asyncio.to_thread(journal._open)
        except (sqlite3.Error, OSError) as error:
            journal._release()
            raise JournalError(
                f"{path}: the journal cannot be used ({error}). Nothing was changed. If the file is damaged, move"
                " it and its -wal file to a safe place together, and start the agent again for a new journal"
            ) from error
        except JournalError:
            journal._release()
            raise
        journal._writer_thread.start()
        return journal

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(f"{self._path}: another agent is using this journal. Stop it first") from error
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror}. Make the data directory writable") from error
        self._store.open()
        self._committed()

    async def close(self) -> None:
        """Finish what was asked, checkpoint and let go of the file."""
        self._closed = True
        self._requests.put(None)
        await asyncio.to_thread(self._writer_thread.join)
        await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._reader_thread.shutdown()
        self._reader.close()
        self._store.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    # --- what the agent asks ---------------------------------------------------------------------------

    async def append(self, drafts: Sequence[Draft]) -> list[Recorded]:
        """Make these events durable, together or not at all; returns only when they are.

        Raises:
            EventTooLarge, JournalBusy, JournalError: nothing of them was recorded.
        """
        if self._waiting + len(drafts) > MOST_WAITING:
            raise JournalBusy(f"{self._waiting} scans are waiting for the disk. Wait a moment and scan again")
        request: _Request[list[Recorded]] = _Request(self._loop.create_future(), drafts)
        self._put(request)
        self._waiting += len(drafts)
        return await request.future

    async def recent(self, limit: int) -> list[Recorded]:
        """The newest events of all incarnations, newest first, with their verdicts so far."""
        return await self._read(lambda: self._reader.recent(limit))

    async def next_connection(self) -> int:
        """A number that rises with every connect, over restarts too."""
        return await self._ask(self._store.next_connection)

    # --- what the uplink asks ----------------------------------------------------------------------------

    async def streams(self) -> list[Stream]:
        """What the journal holds, oldest incarnation first, the current one last."""
        return await self._ask(self._store.streams)

    async def read(self, incarnation: str, first: int, last: int) -> list[tuple[int, str, bytes]]:
        """(sequence, id, text) of the events that are held between `first` and `last`, in order."""
        return await self._read(lambda: self._reader.texts(incarnation, first, last))

    async def record(self, record: Record) -> None:
        """Write down what central said."""
        await self._ask(lambda: self._store.record(record))

    async def void(self, incarnation: str, sequence: int) -> None:
        """Put a `void` in the place of an event that central cannot read; once."""
        await self._ask(lambda: self._store.void(incarnation, sequence))

    async def reenter(self, incarnation: str) -> list[Stream]:
        """Leave a forked incarnation for a new one, with all that is unsettled; see `Store.reenter`."""
        return await self._ask(lambda: self._store.reenter(incarnation), alone=True)

    async def look_at_oldest(self, place: tuple[str, int] | None) -> None:
        """Bring `oldest_queued_at` up to date: when the event at (incarnation, sequence) was recorded."""
        at_ms = None if place is None else await self._read(lambda: self._reader.recorded_ms(*place))
        self.oldest_queued_at = None if at_ms is None else rfc3339(at_ms)

    async def _ask(self, work: Callable[[], Result], *, alone: bool = False) -> Result:
        request: _Request[Result] = _Request(self._loop.create_future(), work=work, alone=alone)
        self._put(request)
        return await request.future

    def _put(self, request: _Request[Any]) -> None:
        if self._closed:
            raise JournalError(f"{self._path}: the journal is closed. Nothing was recorded")
        self._requests.put(request)

    async def _read(self, work: Callable[[], Result]) -> Result:
        try:
            return await self._loop.run_in_executor(self._reader_thread, work)
        except sqlite3.Error as error:
            raise JournalError(f"{self._path}: cannot be read ({error}). Check the disk") from error

    # --- the writer's thread -----------------------------------------------------------------------------

    def _write_for_ever(self) -> None:
        """Take whatever waits, commit it, tell those who wait; until None comes."""
        following: _Request[Any] | None = self._requests.get()
        while following is not None:
            group, rows = [following], len(following.drafts)
            while True:
                if group[0].alone or rows >= ROWS_PER_COMMIT or self._requests.empty():
                    self._commit(group)
                    following = self._requests.get()
                    break
                following = self._requests.get()
                if following is None or following.alone:
                    self._commit(group)
                    break
                group.append(following)
                rows += len(following.drafts)

    def _commit(self, group: Sequence[_Request[Any]]) -> None:
        store, before = self._store, self._told
        try:
            if self._suspect:
                store.recover(*self._told)
                self._suspect = False
                self._committed()
            answers = self._apply(group)
            self._committed()
        except Exception as error:  # noqa: BLE001 (whatever it is: nobody may see OK, and the thread must live)
            self._suspect = True
            failure = JournalError(f"{self._path}: not recorded ({error}). Check the disk, then scan again")
            answers = [(request, failure) for request in group]
        try:
            self._loop.call_soon_threadsafe(self._tell, answers, self._told if self._told != before else None)
        except RuntimeError:
            assert self._loop.is_closed()  # nobody is left to be told

    def _committed(self) -> None:
        """What the store says of itself is durable now; before the commit nobody may hear of it, for it can fail."""
        store = self._store
        self._told, self.queued, self.history = (store.incarnation, store.last), store.queued, store.history

    def _apply(self, group: Sequence[_Request[Any]]) -> list[tuple[_Request[Any], Any]]:
        answers: list[tuple[_Request[Any], Any]] = []
        rows: list[Any] = []
        now_ms = self._now_ms()
        for request in group:
            if request.work is None:
                try:
                    answers.append((request, self._store.place(request.drafts, now_ms, rows)))
                except EventTooLarge as error:
                    answers.append((request, error))
                except Exception as error:  # noqa: BLE001 (nothing was written yet: it is this request's own fault)
                    failure = JournalError(f"this cannot be written as JSON ({error}). Nothing was recorded")
                    answers.append((request, failure))
        work = [(request, request.work) for request in group if request.work is not None]
        if not work and len(rows) <= ROWS_PER_STATEMENT * 3:
            self._store.insert(rows)
        else:
            with self._store.transaction():
                self._store.insert(rows)
                answers += [(request, run()) for request, run in work]
        self._store.queued += len(rows) // 3
        return answers

    def _tell(self, answers: list[tuple[_Request[Any], Any]], appended: tuple[str, int] | None) -> None:
        try:
            if appended is not None and appended[1]:
                self.on_append(*appended)
        finally:  # a fault there must not take the OK from a scan that is durable: it would be scanned again
            for request, answer in answers:
                self._waiting -= len(request.drafts)
                if request.future.done():  # the waiter was cancelled; what was recorded stays recorded
                    continue
                if isinstance(answer, Exception):
                    request.future.set_exception(answer)
                else:
                    request.future.set_result(answer)

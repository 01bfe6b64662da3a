"""The durable record of every scan: one writer thread, group commit, and an answer only after the commit.

The thread owns the only connection that writes. It takes whatever is waiting, commits it with one fsync, and only
then does anybody who waits for `append` go on: an OK shown to a person survives `kill -9` and power loss at that
instant. What the file holds is `store.py`'s; what is here is who waits for what.
"""

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from sync import ids
from sync.engine import Record, joined
from sync.journal.ballast import BALLAST_BYTES
from sync.journal.committer import Answer, Committer, Request
from sync.journal.condition import Condition, cannot_open
from sync.journal.files import Files
from sync.journal.keeping import Kept
from sync.journal.reader import Reader
from sync.journal.recorded import Draft, JournalBusy, JournalError, Recorded, rfc3339
from sync.journal.store import Store
from sync.messages import Batch
from sync.stream import Stream

ROWS_PER_COMMIT: Final = 2_000  # bounds how long the first of a group waits for the last
FEW: Final = 16  # so many are never divided
# What a scan costs its caller, told and coming again, is some 5 µs of this thread. Waiting for the disk for twice as
# long, it is better to write all at once.
QUICK_S: Final = 10e-6
MEND_S: Final = 2.0  # between the journal's own attempts to bring its disk back
MOST_WAITING: Final = 20_000  # events whose commit is awaited; above, `append` refuses

Result = TypeVar("Result")
_Request = Request["asyncio.Future[Any]", Any]
_Answer = Answer["asyncio.Future[Any]"]


class Journal:
    """The journal of one agent; use `Journal.open`. For one event loop."""

    def __init__(
        self,
        path: Path,
        *,
        agent: str,
        site: str,
        now_ms: Callable[[], int],
        random_bytes: ids.RandomBytes,
        ballast_bytes: int,
    ):
        self._path = path
        self._files = Files(path, ballast_bytes=ballast_bytes)
        self._store = Store(self._files, agent=agent, site=site, random_bytes=random_bytes)
        self._committer = Committer(self._store, now_ms)
        self._reader = Reader(self._files)
        self._loop = asyncio.get_running_loop()
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._writer_thread = threading.Thread(
            target=self._write_for_ever, name="journal-writer", daemon=True
        )
        self._reader_thread = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")
        self._waiting = 0
        self._unanswered = 0
        self._is_quick = False
        """The disk takes less time than what asks it: see `_group`."""
        self._committed: tuple[list[_Answer], tuple[str, int] | None] | None = None
        """Answers that may be told, and how far the current incarnation has come by them."""
        self._closed = False
        self._mending: asyncio.TimerHandle | None = None
        self._began = time.monotonic()
        self.held = 0
        """Events in the file, as of the last step of keeping house."""
        self.pruned = 0
        """Events that were let go of since the start."""
        self.waiting_since: float | None = None
        """Monotonic seconds since when somebody waits and the disk has answered nobody; None: nobody waits."""
        self.oldest_queued_at: str | None = None
        """When the oldest event without a verdict was recorded, as far as the uplink has looked."""
        self.on_append: Callable[[str, int], None] = lambda _incarnation, _last: None
        """Called on the event loop with (incarnation, last sequence) after each commit, before anyone goes on."""

    @property
    def incarnation(self) -> str:
        """The current incarnation."""
        return self._committer.told[0]

    @property
    def queued(self) -> int:
        """Events without a verdict, as far as that is durable."""
        return self._committer.queued

    @property
    def history(self) -> str | None:
        """The history that the verdicts belong to; None before the first answer ever."""
        return self._committer.history

    @property
    def condition(self) -> Condition | None:
        """Why scans are refused, or may be soon; None: all is well."""
        return self._committer.condition

    @property
    def moved_from(self) -> str:
        """The old file, when the journal got a new one since the start; empty: it did not."""
        return self._committer.moved_from

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
        ballast_bytes: int = BALLAST_BYTES,
    ) -> "Journal":
        """Open or create the journal and begin a new incarnation, durably.

        Args:
            now_ms: the wall clock, Unix milliseconds; recorded, never trusted.
            ballast_bytes: how much room is kept for when the disk is full, see `ballast.py`.
        Raises:
            JournalDamaged: it is kept as it is; its text says what the operator can do.
            JournalError: another agent has it, it belongs to another agent or program, or the disk does not take it.
        """
        journal = cls(
            path,
            agent=agent,
            site=site,
            now_ms=now_ms,
            random_bytes=random_bytes,
            ballast_bytes=ballast_bytes,
        )
        try:
            await asyncio.to_thread(journal._open)
        except (sqlite3.Error, OSError, JournalError) as error:
            journal._release()
            raise cannot_open(path, error, journal._files.free_bytes()) from error
        journal._writer_thread.start()
        journal._mend_later()
        return journal

    def _open(self) -> None:
        self._files.lock()
        self._committer.open()

    async def close(self) -> None:
        """Finish what was asked, checkpoint and let go of the file."""
        self._closed = True
        if self._mending is not None:
            self._mending.cancel()
        self._requests.put(None)
        await asyncio.to_thread(self._writer_thread.join)
        await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._reader_thread.shutdown()
        self._reader.close()
        try:
            self._committer.close()
        finally:
            self._files.unlock()

    # --- what the agent asks ---------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft]) -> "asyncio.Future[list[Recorded]]":
        """Make these events durable, together or not at all; await it: it is done only when they are.

        Raises:
            EventTooLarge, JournalBusy, JournalError: nothing of them was recorded.
        """
        future: asyncio.Future[list[Recorded]] = self._loop.create_future()
        try:
            if self._waiting + len(drafts) > MOST_WAITING:
                raise JournalBusy(
                    f"{self._waiting} scans are waiting for the disk. Wait a moment and scan again"
                )
            self._put(Request.to_append(future, drafts))
            self._waiting += len(drafts)
        except JournalError as error:
            future.set_exception(error)
        return future

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

    async def batches(self, incarnation: str, first: int, last: int) -> list[Batch]:
        """The events that are held between `first` and `last`, as they are published."""
        return await self._read(lambda: self._reader.batches(incarnation, first, last))

    async def record(self, *records: Record) -> None:
        """Write down what central said, in this order and together."""

        def write() -> None:
            for record in joined(records):
                self._store.record(record)

        await self._ask(write)

    async def void(self, incarnation: str, sequence: int) -> None:
        """Put a `void` in the place of an event that central cannot read; once."""
        await self._ask(lambda: self._store.void(incarnation, sequence))

    async def reenter(self, incarnation: str) -> list[Stream]:
        """Leave a forked incarnation, with all that is unsettled; see `Store.reenter`."""
        return await self._ask(lambda: self._store.reenter(incarnation), alone=True)

    async def keep(self, *, retention_s: float, keep_newest: int) -> Kept:
        """One small step of keeping house, between two groups of scans; see `Store.keep`. While there is more to do,
        ask again after a moment.
        """
        ran_s = time.monotonic() - self._began
        kept = await self._ask(
            lambda: self._store.keep(ran_s, retention_s=retention_s, keep_newest=keep_newest), alone=True
        )
        self.held, self.pruned = kept.held, self.pruned + kept.events
        return kept

    async def look_at_oldest(self, place: tuple[str, int] | None) -> None:
        """Bring `oldest_queued_at` up to date: when the event at (incarnation, sequence) was recorded."""
        at_ms = None if place is None else await self._read(lambda: self._reader.recorded_ms(*place))
        self.oldest_queued_at = None if at_ms is None else rfc3339(at_ms)

    async def _ask(self, work: Callable[[], Result], *, alone: bool = False) -> Result:
        request: _Request = Request(self._loop.create_future(), work=work, alone=alone)
        self._put(request)
        result: Result = await request.who
        return result

    def _put(self, request: _Request) -> None:
        if self._closed:
            raise JournalError(f"{self._path}: the journal is closed. Nothing was recorded")
        if not self._unanswered:
            self.waiting_since = time.monotonic()
        self._unanswered += 1
        self._requests.put(request)

    def _mend_later(self) -> None:
        """What is wrong with the disk is looked at again, also while nobody scans."""
        if self._committer.condition is not None and self._mending is None and not self._closed:
            self._mending = self._loop.call_later(MEND_S, self._mend)

    def _mend(self) -> None:
        self._mending = None
        request: _Request = Request(self._loop.create_future())  # to append nothing
        request.who.add_done_callback(asyncio.Future.exception)  # the condition says it
        self._put(request)

    async def _read(self, work: Callable[[], Result]) -> Result:
        try:
            return await self._loop.run_in_executor(self._reader_thread, work)
        except (sqlite3.Error, OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise JournalError(f"{self._path}: cannot be read ({error}). Check the disk") from error

    # --- the writer's thread -----------------------------------------------------------------------------

    def _write_for_ever(self) -> None:
        """Take whatever waits, commit it, tell those who wait; until None comes."""
        rest: list[_Request | None] = []
        while (request := rest.pop() if rest else self._next()) is not None:
            group = self._group(request, rest)
            if self._committer.condition is not None:
                self._tell_committed()  # to mend takes long
            start = time.perf_counter()
            before, answers = self._committer.told, self._committer.commit(group, self._tell_committed)
            self._is_quick = time.perf_counter() - start < QUICK_S * len(group)
            self._tell_committed()  # those before, if nothing was written
            told = self._committer.told
            self._committed = (answers, told if told != before else None)
        self._tell_committed()

    def _next(self) -> _Request | None:
        if self._requests.empty():
            self._tell_committed()
        return self._requests.get()

    def _group(self, request: _Request, rest: list[_Request | None]) -> list[_Request]:
        """What is committed together with this one, of all that waits. What is taken and is not, goes to `rest`.

        On a quick disk it is at most half of those who wait: while it is written, the others are told and come again.
        """
        group, rows = [request], len(request.drafts)
        if request.alone:
            return group
        most = max(FEW, self._unanswered // 2) if self._is_quick else self._unanswered
        for _ in range(min(most - 1, self._requests.qsize())):
            if rows >= ROWS_PER_COMMIT:
                break
            following = self._requests.get()
            if following is None or following.alone:
                rest.append(following)
                break
            group.append(following)
            rows += len(following.drafts)
        return group

    def _tell_committed(self) -> None:
        """Tell those of the last commit. They are told when the next one is ready for the disk: so the loop's thread
        gets the interpreter at once, instead of waiting for it while that is made ready.
        """
        committed, self._committed = self._committed, None
        if committed is not None:
            try:
                self._loop.call_soon_threadsafe(self._tell, *committed)
            except RuntimeError:
                assert self._loop.is_closed()  # nobody is left to be told

    def _tell(self, answers: list[_Answer], appended: tuple[str, int] | None) -> None:
        self._unanswered -= len(answers)
        self.waiting_since = time.monotonic() if self._unanswered else None
        self._mend_later()
        try:
            if appended is not None and appended[1]:
                self.on_append(*appended)
        finally:  # a fault there must not take the OK from a scan that is durable: it would be scanned again
            rows = 0
            for request, answer in answers:
                rows += len(request.drafts)
                future = request.who
                if future.done():  # the waiter was cancelled; what was recorded stays recorded
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            self._waiting -= rows

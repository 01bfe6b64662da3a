"""The ledger as the rest of central meets it: submit a command, await its answer, hear what was committed.

The idea: one thread writes. It takes whatever waits, up to a few hundred events, into one transaction; that is
what makes many claims on one SKU cheap. Live work goes first, backlogs wait in a lane of their own (lanes.py).
Bounds: what waits (no room: LedgerBusy, nothing was done), the tries of a
transaction (then LedgerDown), the time a caller waits (then LedgerBusy; a command that was begun may still be carried
out, and the same key or event id gives its answer).
"""

import asyncio
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa

from central.ledger import writer
from central.ledger.books import Movement
from central.ledger.commands import BookBatch, Command, Result
from central.ledger.lanes import Lanes, Waiting
from central.ledger.scribe import Written
from central.ledger.store import Again
from central.ledger.writer import Failed
from service import log
from sync.messages import Ack

_log = log.get("central.ledger")

# PostgreSQL's codes for "try that again": serialisation_failure, deadlock_detected, lock_not_available.
# Source: PostgreSQL manual, appendix A.
_RETRY_STATES: Final = frozenset({"40001", "40P01", "55P03"})
_SQLITE_BUSY: Final = ("database is locked", "database table is locked")


class LedgerBusy(Exception):
    """Too much is waiting. Nothing was done unless the text says so; try again in a moment."""


class LedgerDown(Exception):
    """The database cannot be reached or does not answer. Try again later; what was committed is safe."""


class LedgerError(Exception):
    """Carrying out this command failed; nothing of it was booked. The log says where."""


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Bounds of the ledger."""

    queue_commands: int = 10_000
    """That wait; half of them at most of backlogs."""
    batch_events: int = 300
    """A transaction takes commands until it holds as many events and lines."""
    tries: int = 8
    retry_first_ms: float = 5.0
    """Doubles with every try, with jitter, up to 200 ms."""


@dataclass(frozen=True, slots=True)
class CommittedMovement:
    """A movement that is booked, with its number."""

    number: int
    movement: Movement
    recorded_us: int
    history: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What agents have to hear after a commit."""

    reference: bool
    task_sites: frozenset[str]


_Waiting = Waiting["asyncio.Future[Result]"]


class Ledger:
    """The one way in. Create it, `start` it, `submit` to it; `close` waits for what was taken."""

    def __init__(self, engine: sa.Engine, settings: LedgerSettings | None = None) -> None:
        self.engine = engine
        self.settings = settings or LedgerSettings()
        self._lanes: Lanes[asyncio.Future[Result]] = Lanes(
            self.settings.queue_commands, self.settings.batch_events
        )
        self._ready = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_commit: list[Callable[[list[CommittedMovement]], None]] = []
        self._on_change: list[Callable[[Changed], None]] = []
        self._jitter = random.Random()  # noqa: S311 (spreads retries; no secret)
        self.down: str | None = None
        """Why the database does not answer; None while it does."""
        self.committed_transactions = 0
        self.committed_commands = 0

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the writer."""
        assert self._thread is None, "the ledger was started already"
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_for_ever, name="ledger-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Carry out what is waiting, then stop."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._ready:
                self._stopping = True
                self._ready.notify()
            await asyncio.to_thread(thread.join)

    def on_commit(self, callback: Callable[[list[CommittedMovement]], None]) -> None:
        """Call it on the event loop with the movements of every commit, in movement order."""
        self._on_commit.append(callback)

    def on_change(self, callback: Callable[[Changed], None]) -> None:
        """Call it on the event loop when reference data or tasks changed."""
        self._on_change.append(callback)

    @property
    def waiting(self) -> int:
        """Commands that are not begun."""
        return len(self._lanes)

    # --- callers ---------------------------------------------------------------------------------

    async def submit(self, command: Command, *, timeout_s: float = 30.0) -> Any:
        """Carry out a command: its answer once it is committed.

        Raises:
            LedgerBusy: the queue is full, or the answer took longer than `timeout_s`.
            LedgerDown: the database does not answer.
            LedgerError: this command failed.
        """
        if self._thread is None or self._loop is None:
            raise LedgerDown("the ledger is not running")
        future: asyncio.Future[Result] = self._loop.create_future()
        with self._ready:
            taken = self._lanes.put(command, future)
            waiting = len(self._lanes)
            self._ready.notify()
        if not taken:
            raise LedgerBusy(f"{waiting} commands are waiting; try again in a moment")
        try:
            # Not wait_for: Python 3.11's gives the answer to who was cancelled meanwhile, and loops go on for ever.
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            detail = (
                f"no answer within {timeout_s:g} s; it may still be carried out: ask again with the same key"
            )
            raise LedgerBusy(detail) from None

    # --- the writer's thread -----------------------------------------------------------------------

    def _write_for_ever(self) -> None:
        while (batch := self._gather()) is not None:
            if batch:
                self._carry_out(batch)

    def _gather(self) -> list[_Waiting] | None:
        """What goes into the next transaction; None when all is done and there is nothing to come. What nobody waits
        for any more is not begun: who gave up asks again.
        """
        with self._ready:
            while not len(self._lanes):
                if self._stopping:
                    return None
                self._ready.wait()
            return [one for one in self._lanes.take() if not one.beside.done()]

    def _carry_out(self, batch: list[_Waiting]) -> None:
        commands = [waiting.command for waiting in batch]
        try:
            results, written = self._transact(commands)
        except LedgerDown as error:
            self._answer(batch, [error] * len(batch), [])
        except Exception as error:  # noqa: BLE001 (the writer must live; whoever caused it is found below, and told)
            _log.warning("a transaction failed; its commands are tried singly", error=str(error)[:500])
            self._one_by_one(batch)
        else:
            self._answer(batch, results, [written])

    def _one_by_one(self, batch: list[_Waiting]) -> None:
        for waiting in batch:
            written: list[Written] = []
            result: Any
            try:
                result = self._singly(waiting.command, written)
            except LedgerDown as error:
                result = error
            except Exception as error:  # noqa: BLE001 (as above: told to this caller alone)
                _log.exception("a command failed", command=type(waiting.command).__name__)
                result = Failed(error)
            self._answer([waiting], [result], written)

    def _singly(self, command: Command, written: list[Written]) -> Any:
        """One command alone; a batch of events event by event, the one that is refused kept without entries."""
        if not isinstance(command, BookBatch):
            results, wrote = self._transact([command])
            written.append(wrote)
            return results[0]
        verdicts = []
        ack: Any = None
        problem: Literal["unreadable", "fork"] | msgspec.UnsetType = msgspec.UNSET
        for event, text in zip(command.events, command.texts, strict=True):
            one = replace(command, events=(event,), texts=(text,))
            try:
                results, wrote = self._transact([one])
            except LedgerDown:
                raise
            except Exception as error:  # noqa: BLE001 (it must not hold up its stream: it is kept, without entries)
                _log.exception("an event cannot be booked", event_id=event.id, error=str(error))
                results, wrote = self._transact([one], broken=True)
            written.append(wrote)
            ack = results[0]
            if not isinstance(ack, Ack):
                return ack
            verdicts += ack.verdicts
            problem = problem or ack.problem
            if not ack.verdicts:
                break
        return msgspec.structs.replace(ack, verdicts=verdicts, problem=problem)

    def _transact(
        self, commands: Sequence[Command], *, broken: bool = False
    ) -> tuple[list[Result | Failed], Written]:
        """One transaction, tried again when others were in its way."""
        why = ""
        for attempt in range(self.settings.tries):
            if attempt:
                pause_ms = min(200.0, self.settings.retry_first_ms * 2**attempt)
                time.sleep(pause_ms * self._jitter.uniform(0.5, 1.0) / 1000)
            try:
                done = writer.run(self.engine, commands, _new_id, broken=broken)
            except Again as error:
                why = str(error)
            except sa.exc.IntegrityError as error:
                if attempt + 1 == self.settings.tries:
                    raise  # no other worker: one of these commands does it every time
                why = str(error.orig)  # another worker inserted the same row first
            except sa.exc.TimeoutError as error:
                raise self._is_down(str(error)) from error
            except sa.exc.DBAPIError as error:
                if _is_to_blame(error):
                    raise
                if not _passes_by_itself(error):
                    raise self._is_down(str(error.orig)) from error
                why = str(error.orig)
            else:
                if self.down is not None:
                    _log.info("the database answers again")
                self.down = None
                self.committed_transactions += 1
                self.committed_commands += len(commands)
                return done
        raise self._is_down(f"gave up after {self.settings.tries} tries: {why}")

    def _is_down(self, reason: str) -> LedgerDown:
        if self.down is None:
            _log.error("the database does not answer", reason=reason)
        self.down = reason
        return LedgerDown(f"the database does not answer: {reason}")

    def _answer(self, batch: list[_Waiting], results: Sequence[Any], written: list[Written]) -> None:
        """Hand the results of a transaction to the event loop, all at once."""
        loop = self._loop
        assert loop is not None

        def tell() -> None:
            for waiting, result in zip(batch, results, strict=True):
                future = waiting.beside
                if future.done():
                    continue  # its caller has given up
                if isinstance(result, LedgerDown):
                    future.set_exception(result)
                elif isinstance(result, Failed):
                    error = LedgerError(f"{type(waiting.command).__name__} failed: {result.error}")
                    error.__cause__ = result.error
                    future.set_exception(error)
                else:
                    future.set_result(result)
            for one in written:
                self._tell_listeners(one)

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            _log.warning("the event loop is closed; answers are lost, what was committed is not")

    def _tell_listeners(self, written: Written) -> None:
        committed = [
            CommittedMovement(number, movement, written.recorded_us, written.history)
            for movement in written.movements
            if (number := written.numbers[movement.event_id]) is not None
        ]
        changed = Changed(written.reference_changed, written.task_sites)
        if committed:
            for heard in self._on_commit:
                heard(committed)
        if changed.reference or changed.task_sites:
            for told in self._on_change:
                told(changed)


def _new_id() -> str:
    return uuid.uuid4().hex


def _passes_by_itself(error: sa.exc.DBAPIError) -> bool:
    """A deadlock, a lock that took too long: the same transaction may work now."""
    state = getattr(error.orig, "sqlstate", None)
    return state in _RETRY_STATES or any(text in str(error.orig) for text in _SQLITE_BUSY)


def _is_to_blame(error: sa.exc.DBAPIError) -> bool:
    """Whether a value is refused, so that a command is to blame and is set aside alone. Whatever else it is (away,
    full, corrupt, tables of another version), no fact may lose its entries for it: who waits asks again.
    """
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # SQLite has no codes, and what a driver refuses itself has none
        refused = (sa.exc.DataError, sa.exc.IntegrityError, sa.exc.ProgrammingError)
        return isinstance(error, refused) and not error.connection_invalidated
    # Classes 22 data exception, 23 integrity constraint violation, 54 program limit exceeded (a row too large …).
    return state[:2] in ("22", "23", "54")

"""What becomes durable together, and who may hear of it: the decisions of the journal's writer, without its thread.

The idea: a group is one commit, and only what was committed for certain is told. After any failure what can be read
proves nothing; before the next group the file is opened anew and has to show that it takes writes
(`mending.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from sync.journal.condition import Condition
from sync.journal.mending import Mender
from sync.journal.recorded import Draft, JournalError, Recorded, body_of
from sync.journal.store import EVENTS_PER_STATEMENT, Store

Result = TypeVar("Result")
Who = TypeVar("Who")


class Request(msgspec.Struct, Generic[Who, Result], gc=False):
    """Something to be committed: appends are joined into one statement, the rest runs as it says."""

    who: Who
    """Whatever the caller knows it by."""
    drafts: Sequence[Draft] = ()
    work: "Callable[[], Result] | None" = None
    alone: bool = False
    """Needs a transaction of its own, because a failed commit must be told from a successful one."""
    bodies: Sequence[str] = ()
    """What the drafts say, as JSON, one for each. Who asks writes them, while the writer waits for the disk."""

    @classmethod
    def to_append(cls, who: Who, drafts: Sequence[Draft]) -> "Request[Who, Any]":
        """A request to append these.

        Raises:
            EventTooLarge, JournalError: one of them cannot be recorded.
        """
        return cls(who, drafts, None, False, list(map(body_of, drafts)))


Answer = tuple[Request[Who, Any], Any]
"""A request and what came of it: its result, or the exception that its caller gets."""


class Committer:
    """Commits groups of requests to one store. Belongs to one thread at a time.

    Args:
        store: opened by `open`, closed by `close`.
        now_ms: the wall clock, Unix milliseconds; recorded, never trusted.
    """

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self.store, self._now_ms = store, now_ms
        self._mender = Mender(store)
        self.told: tuple[str, int]
        """(incarnation, last sequence) of what is durable for certain."""
        self.queued: int
        """Events without a verdict, as far as that is durable."""
        self.history: str | None
        """The history that the verdicts belong to; None before the first answer ever."""

    @property
    def condition(self) -> Condition | None:
        """Why scans are refused, or may be soon; None: all is well. `commit([])` looks again."""
        return self._mender.condition

    @property
    def moved_from(self) -> str:
        """The old file, when the journal got a new one since the start; empty: it did not."""
        return self._mender.moved_from

    def open(self) -> None:
        """Open the store, which begins a new incarnation, durably."""
        self._mender.open()
        self._committed()

    def close(self) -> None:
        """Close the store, with all that was told under the journal's name, and nothing else."""
        if self._mender.is_suspect:  # else who was refused finds it recorded at the next start
            self.commit([])
        self._mender.close()

    def commit(
        self, group: Sequence[Request[Who, Any]], meanwhile: Callable[[], None] = lambda: None
    ) -> list[Answer[Who]]:
        """Commit them together; the answers may be told when this returns. A group that fails fails whole.

        Args:
            meanwhile: called when all is ready, and only the disk is waited for. Not called when it does not come to
                that.
        """
        refused: list[Answer[Who]] = []
        try:
            if self._mender.condition is not None:
                self._mender.mend(*self.told, self._committed)
                group, refused = self._admit(group)
            answers = self._apply(group, meanwhile)
            self._committed()
        except Exception as error:  # noqa: BLE001 (whatever it is: nobody may see OK, and the writer must live)
            failure = self._mender.failed(error)
            return [*refused, *((request, failure) for request in group)]
        return [*refused, *answers]

    def _admit(
        self, group: Sequence[Request[Who, Any]]
    ) -> tuple[Sequence[Request[Who, Any]], list[Answer[Who]]]:
        """On a full disk only what makes room or settles something."""
        condition = self.condition
        if condition is None or not condition.refuses:
            return group, []
        refusal = JournalError(condition.text)
        return (
            [request for request in group if request.work is not None],
            [(request, refusal) for request in group if request.work is None],
        )

    def _committed(self) -> None:
        """What the store says of itself is durable now; before the commit nobody may hear of it, for it can fail."""
        store = self.store
        self.told, self.queued, self.history = (store.incarnation, store.last), store.queued, store.history

    def _apply(self, group: Sequence[Request[Who, Any]], meanwhile: Callable[[], None]) -> list[Answer[Who]]:
        store, now_ms = self.store, self._now_ms()
        appends = [request for request in group if request.work is None]
        work = [(request, request.work) for request in group if request.work is not None]
        drafts = [draft for request in appends for draft in request.drafts]
        first = store.last + 1
        texts = store.place([body for request in appends for body in request.bodies])
        assert len(texts) == len(drafts)
        recorded = [Recorded(store.incarnation, n, draft, now_ms) for n, draft in enumerate(drafts, first)]
        answers: list[Answer[Who]] = []
        start = 0
        for request in appends:
            answers.append((request, recorded[start : (start := start + len(request.drafts))]))
        # Taken away while this is written, it is missed at the next commit, and all of it is rescued.
        if not store.files.is_in_place():
            raise JournalError(f"{store.path}: somebody took the journal's file or its log away")
        meanwhile()
        if not work and len(texts) <= EVENTS_PER_STATEMENT:
            store.insert(texts, now_ms)
        else:
            with store.transaction():
                store.insert(texts, now_ms)
                answers += [(request, run()) for request, run in work]
        store.queued += len(texts)
        return answers

"""The store in memory and the store in a file: told the same, they answer the same and hold the same.

What the simulation shows of the one is true of the other only if this holds: also after a crash at any commit.
"""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.engine import Record
from sync.journal import files as files_module
from sync.journal.committer import Committer, Request
from sync.journal.files import Files
from sync.journal.reader import Reader
from sync.journal.recorded import Draft
from sync.journal.store import Store
from sync.messages import Verdict
from tests.simulation.disk import Disk, DiskFiles

OPERATION = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4)),
    st.tuples(st.just("verdicts"), st.integers(0, 3)),
    st.tuples(st.just("history"), st.integers(0, 5)),
    st.tuples(st.just("void"), st.integers(1, 6)),
    st.tuples(st.just("reenter"), st.integers(0, 3)),
    st.tuples(st.just("connect"), st.just(0)),
    st.tuples(st.just("keep"), st.integers(0, 3)),
    st.tuples(st.just("crash"), st.booleans()),
)


class Kept:
    """One journal, on whatever port it is given."""

    def __init__(self, files: Files) -> None:
        self.files, self.dice = files, random.Random(7)
        self.number = 0
        self._open()

    def _open(self) -> None:
        self.store = Store(self.files, agent="dock-1", site="lej1", random_bytes=self.dice.randbytes)
        self.committer = Committer(self.store, lambda: 1_790_000_000_000)
        self.committer.open()
        self.reader = Reader(self.files)

    def crash(self) -> None:
        """The program ends without closing anything, and is started again."""
        self.reader.close()
        self._open()

    def ask(self, request: Any) -> Any:
        ((_, answer),) = self.committer.commit([request])
        return answer

    def do(self, name: str, value: int) -> Any:
        """One operation and what came of it."""
        store, current = self.store, self.store.incarnation
        if name == "append":
            return self.ask(self._scans(value))
        if name == "verdicts":
            return self.ask(Request(None, (), lambda: store.record(self._verdicts(value))))
        if name == "history":
            forget = tuple((stream.incarnation, value) for stream in store.streams())
            record = Record(history=f"history-{value}", forget_above=forget)
            return self.ask(Request(None, (), lambda: store.record(record)))
        if name == "void":
            return self.ask(Request(None, (), lambda: store.void(current, value)))
        if name == "reenter":
            held = store.streams()
            which = held[-1 - value % len(held)].incarnation
            return self.ask(Request(None, (), lambda: store.reenter(which), True))
        if name == "connect":
            return self.ask(Request(None, (), store.next_connection))
        return self.ask(
            Request(None, (), lambda: store.keep(float(value), retention_s=0.0, keep_newest=value), True)
        )

    def _scans(self, count: int) -> Any:
        drafts = []
        for _ in range(count):
            self.number += 1
            drafts.append(
                Draft(f"e{self.number}", "tallyman.received.v1", "2026-11-20T08:15:30Z", {"sku": "A"})
            )
        return Request.to_append(None, drafts)

    def _verdicts(self, which: int) -> Record:
        """Central has come to the end of every incarnation, and tells every `which`th verdict anew."""
        verdicts = tuple(
            (stream.incarnation, Verdict(sequence=sequence, id=name, outcome="accepted", movement=sequence))
            for stream in self.store.streams()
            for sequence, name, _ in self.reader.texts(stream.incarnation, 1, stream.last)
            if sequence % 4 != which
        )
        streams = tuple((one.incarnation, one.last, one.last, True) for one in self.store.streams())
        return Record(streams=streams, verdicts=verdicts)

    def says(self) -> Any:
        """What it tells of itself."""
        recent = [
            (row.event.id, row.incarnation, row.sequence, row.outcome) for row in self.reader.recent(1000)
        ]
        streams = [
            (
                one.incarnation,
                one.first_kept,
                one.last,
                one.acked,
                one.safe,
                one.answered,
                one.left,
                list(one.lacking),
            )
            for one in self.store.streams()
        ]
        return self.committer.told, self.committer.queued, self.committer.history, recent, streams


def content(raw: sqlite3.Connection) -> list[str]:
    """All that stands in a database."""
    return [line for line in raw.iterdump() if not line.startswith("PRAGMA")]


def crashed_file(path: Path, folder: Path) -> list[str]:
    """What is found in the file and its log by whoever comes after a crash at this moment."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for one in (path, Path(f"{path}-wal")):
        if one.exists():
            shutil.copy(one, folder / one.name)
    with closing(sqlite3.connect(folder / path.name)) as raw:
        return content(raw)


@pytest.fixture(scope="module", autouse=True)
def _short_logs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "LOG_BYTES", 0)
        yield


@given(operations=st.lists(OPERATION, min_size=1, max_size=12))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_store_in_memory_and_a_store_in_a_file_are_the_same_at_every_commit(
    operations: list[tuple[str, Any]],
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        disk = Disk(random.Random(1))
        memory, file = Kept(DiskFiles(disk)), Kept(Files(path, ballast_bytes=0))
        for name, value in operations:
            if name == "crash":
                if value:
                    disk.cut_power()
                memory.crash()
                file.crash()
            else:
                assert str(memory.do(name, value)) == str(file.do(name, value))
            assert memory.says() == file.says()
            with closing(sqlite3.connect(":memory:")) as copy:
                copy.deserialize(disk.image())
                assert content(copy) == crashed_file(path, Path(folder) / "after")
        file.reader.close()
        file.store.close()

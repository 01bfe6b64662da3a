"""What the journal does about its disk, step by step: as in tests/faults, with the disk's answers made up."""

import asyncio
import contextlib
import errno
import gc
import math
import os
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sync import ids as minted
from sync.engine import Record
from sync.journal import (
    Draft,
    Journal,
    JournalError,
    carving,
    directory,
    files,
    inspection,
    mending,
    moving,
    salvage,
    survey,
)
from sync.journal import journal as journal_module
from sync.journal.ballast import BALLAST_BYTES, Ballast
from sync.journal.condition import cannot_open, kind_of
from sync.journal.directory import log_of
from sync.journal.files import CHECKPOINT_PAGES, Files
from sync.journal.recorded import JournalDamaged
from sync.journal.store import Store
from sync.messages import Verdict
from tests.support.journals import opening
from tests.support.wait import eventually_async

MIB = 1024 * 1024
PLENTY = 1 << 40


def draft(id_: str, size: int = 10) -> Draft:
    return Draft(id_, "tallyman.received.v1", "2026-11-20T08:15:30Z", {"sku": "x" * size})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.db"


@pytest.fixture
async def open_(path: Path) -> AsyncIterator[Callable[..., Any]]:
    async with opening(path, ballast_bytes=MIB) as opened:
        yield opened


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MEND_S", 0.01)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are made by who asks, so that they can be counted."""
    monkeypatch.setattr(journal_module, "MEND_S", 3600)


async def ids(journal: Journal) -> list[str]:
    return [one.event.id for one in reversed(await journal.recent(1000))]


async def refused(journal: Journal, id_: str = "no", *, size: int = 10) -> str:
    with pytest.raises(JournalError) as refusal:
        await journal.append([draft(id_, size)])
    return str(refusal.value)


def failing(times: int, error: Exception, then: Callable[..., Any]) -> Callable[..., Any]:
    """A function that fails so often, and then does what it should."""
    left = [times]

    def call(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return then(*args, **kwargs)

    return call


async def break_down(journal: Journal, error: Exception) -> str:
    """A commit that fails once."""
    store = journal._store
    monkey = failing(1, error, store.insert)
    store.insert = monkey  # type: ignore[method-assign]
    text = await refused(journal)
    store.insert = type(store).insert.__get__(store)  # type: ignore[method-assign]
    return text


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Somebody reads what the file held before."""
    with contextlib.closing(
        sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    ) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchall()
        yield


async def half_mended(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit failed, and the first attempt to mend it too: no connection is open."""
    await break_down(journal, OSError(errno.EIO, "Input/output error"))
    monkeypatch.setattr(files, "_settle_log", failing(1, OSError(errno.EIO, "log"), files._settle_log))
    assert "log" in await refused(journal)


# --- the ballast -----------------------------------------------------------------------------------------------


def test_the_ballast_holds_real_blocks_and_is_enough_for_the_longest_log(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "b", MIB)
    assert not ballast.is_there() and not ballast.release()
    ballast.make()
    assert (tmp_path / "b").stat().st_blocks * 512 >= MIB and ballast.is_there()
    ballast.make()
    with (tmp_path / "b").open("wb") as holes:
        holes.truncate(MIB)
    ballast = Ballast(tmp_path / "b", MIB)
    assert not ballast.is_there(), "a file of holes holds nothing"
    ballast.make()
    assert ballast.is_there() and ballast.release() and not ballast.is_there()
    assert Ballast(tmp_path / "none", 0).is_there()
    assert BALLAST_BYTES >= CHECKPOINT_PAGES * 4096


def test_a_ballast_that_cannot_be_made_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(1, OSError(errno.ENOSPC, "full"), os.posix_fallocate))
    with pytest.raises(OSError, match="full"):
        Ballast(tmp_path / "b", MIB).make()
    assert list(tmp_path.iterdir()) == []


# --- a full disk -----------------------------------------------------------------------------------------------


async def test_a_full_disk_gives_up_the_ballast_refuses_scans_alone_and_makes_it_again(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    journal, free = await open_(ballast_bytes=4_000_000), [PLENTY]
    monkeypatch.setattr(Files, "free_bytes", lambda self: free[0])
    await journal.append([draft("a")])
    assert journal.condition is None and journal._files.ballast.is_there()
    free[0] = 0
    said = await break_down(journal, OSError(errno.ENOSPC, "No space left on device"))
    assert "(No space left on device). Make room" in said, "its number is not for people"
    assert not journal._files.ballast.is_there()
    await eventually_async(lambda: "are kept for what central says" in journal.condition.text)
    assert journal.condition.kind == "full" and journal.condition.refuses
    assert re.search(r"full: \d+ MB are left, and 5 MB are kept for what central", journal.condition.text)
    assert "is full" in await refused(journal) and await journal.next_connection() == 1
    every = "PRAGMA wal_autocheckpoint"
    assert await journal._ask(lambda: journal._store._one(every)) == mending.FULL_CHECKPOINT_PAGES
    free[0] = PLENTY
    await eventually_async(lambda: journal.condition is None)
    assert await journal._ask(lambda: journal._store._one(every)) == CHECKPOINT_PAGES
    await journal.append([draft("b")])
    assert await ids(journal) == ["a", "b"] and journal._files.ballast.is_there()


async def test_the_log_names_what_is_wrong_once_until_it_is_something_else(open_: Any, never: None) -> None:
    mender = (await open_())._committer._mender
    with capture_logs() as logs:
        for number in (errno.EIO, errno.EIO, errno.EROFS, errno.EROFS, errno.EIO):
            mender.failed(OSError(number, "no"))
    assert [entry["kind"] for entry in logs] == ["failing", "read-only", "failing"]


async def test_the_journals_own_attempts_complain_to_nobody(open_: Any, at_once: None) -> None:
    journal, complaints = await open_(), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    refusals = failing(3, JournalError("not yet"), journal._store.recover)
    journal._store.recover = refusals
    await break_down(journal, JournalError("for a moment"))
    await eventually_async(lambda: journal.condition is None)
    gc.collect()
    assert complaints == []


async def test_a_full_disk_without_a_ballast_is_said_and_mended_too(open_: Any, never: None) -> None:
    journal = await open_(ballast_bytes=0)
    assert "Make room" in await break_down(journal, OSError(errno.ENOSPC, "No space left on device"))
    await journal.append([draft("a")])
    assert await ids(journal) == ["a"] and journal.condition is None


async def test_room_inside_the_file_is_room_too(
    open_: Any, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    monkeypatch.setattr(Files, "free_bytes", lambda self: 0)
    journal = await open_()
    assert journal.condition.refuses and "is full" in await refused(journal)
    # Nothing is in doubt, so nothing is opened anew.
    monkeypatch.setattr(journal._store, "recover", failing(1, AssertionError("in doubt"), lambda *_: None))
    needed = journal._files.ballast.needed_bytes
    monkeypatch.setattr(journal._store, "unused_bytes", lambda: needed)
    await eventually_async(lambda: not journal.condition.refuses)
    await journal.append([draft("a")])
    assert journal.condition.kind == "full" and await ids(journal) == ["a"]


async def test_a_ballast_that_just_fits_is_made(open_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Files, "free_bytes", lambda self: self.ballast.needed_bytes)
    journal = await open_(ballast_bytes=MIB)
    assert journal.condition is None and journal._files.ballast.is_there()


async def test_closed_again_a_store_lets_go_of_nothing(open_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name may belong to another by then."""
    journal = await open_()
    await journal.close()
    monkeypatch.setattr(journal._files, "let_go", failing(1, AssertionError("let go twice"), lambda: None))
    journal._store.close()


async def test_a_ballast_that_fits_no_more_is_a_full_disk_and_another_error_is_itself(
    open_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ballast, "make", failing(1, OSError(errno.ENOSPC, "full"), Ballast.make))
    journal = await open_()
    assert journal.condition.kind == "full"
    await journal.close()
    (journal._path.parent / "journal.db.ballast").unlink(missing_ok=True)
    monkeypatch.setattr(Ballast, "make", failing(1, OSError(errno.EIO, "Input/output error"), Ballast.make))
    with pytest.raises(JournalError, match="Input/output error"):
        await open_()


async def test_a_start_on_a_full_disk_uses_the_room_of_the_ballast(
    open_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_()).close()
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Files, "connect", failing(1, full, Files.connect))
    with capture_logs() as said:
        journal = await open_()
    assert [one["event"] for one in said] == ["the disk is full; the ballast is given up"]
    assert journal.condition is None and journal._files.ballast.is_there(), "there was room after all"
    await journal.close()
    (journal._path.parent / "journal.db.ballast").unlink()
    monkeypatch.setattr(Files, "connect", failing(1, full, Files.connect))
    with pytest.raises(JournalError, match="Make room on this disk, and start the agent again"):
        await open_()


async def test_a_ballast_that_cannot_be_given_up_changes_nothing_of_the_refusal(
    open_: Any, monkeypatch: pytest.MonkeyPatch, never: None
) -> None:
    journal = await open_()
    monkeypatch.setattr(Ballast, "release", failing(1, OSError(errno.EROFS, "Read-only"), Ballast.release))
    assert "Make room" in await break_down(journal, OSError(errno.ENOSPC, "full"))
    await journal.append([draft("a")])
    assert journal.condition is None


# --- a disk that fails -----------------------------------------------------------------------------------------


async def test_a_journal_mends_itself_while_nobody_asks(open_: Any, at_once: None) -> None:
    journal = await open_()
    with capture_logs() as said:
        assert "Check the disk" in await break_down(journal, sqlite3.OperationalError("disk I/O error"))
        await eventually_async(lambda: journal.condition is None)
    assert said[-1]["event"] == "the journal takes writes again"
    await journal.append([draft("a")])
    assert await ids(journal) == ["a"] and journal.moved_from == ""


async def test_a_file_that_fails_again_and_again_is_left_and_readers_follow(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch, never: None
) -> None:
    journal = await open_()
    await journal.append([draft("a"), draft("b")])
    assert await ids(journal) == ["a", "b"]
    old = path.stat().st_ino
    fault = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(Files, "connect", failing(mending.FIRST_MOVE, fault, Files.connect))
    await break_down(journal, fault)
    for _ in range(mending.FIRST_MOVE - 1):
        assert "Input/output error" in await refused(journal)
    await journal.append([draft("c")])
    assert journal.moved_from == f"{path}.old-1" and path.stat().st_ino != old
    assert await ids(journal) == ["a", "b", "c"]
    assert moving.kept_aside(path) == [Path(f"{path}.old-1")]


async def test_after_it_came_back_a_file_has_all_its_attempts_again_and_is_closed_as_ever(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch, never: None
) -> None:
    journal, connect = await open_(), Files.connect
    fault = OSError(errno.EIO, "Input/output error")
    for id_ in ("a", "b"):
        monkeypatch.setattr(Files, "connect", failing(mending.FIRST_MOVE - 1, fault, connect))
        await break_down(journal, fault)
        for _ in range(mending.FIRST_MOVE - 1):
            assert "Input/output error" in await refused(journal)
        await journal.append([draft(id_)])
    assert await ids(journal) == ["a", "b"] and journal.moved_from == ""
    await journal.close()
    assert not files.log_of(path).exists()
    with contextlib.closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT value FROM meta WHERE name = 'recovered'").fetchall() == [("2",)]


async def test_a_copy_that_cannot_be_made_is_tried_again_much_later(
    open_: Any, monkeypatch: pytest.MonkeyPatch, never: None
) -> None:
    journal, attempts, moves = await open_(), 0, list[int]()
    fault = OSError(errno.EIO, "Input/output error")

    def move(*_: Any) -> Path:
        moves.append(attempts)
        raise fault

    monkeypatch.setattr(mending, "MOVE_EVERY", 4)
    monkeypatch.setattr(Files, "connect", failing(12, fault, Files.connect))
    monkeypatch.setattr(Files, "move", move)
    await break_down(journal, fault)
    while attempts < 12:
        attempts += 1
        await refused(journal)
    assert moves == [3, 7, 11]
    await journal.append([draft("a")])


async def test_a_copy_that_differs_is_thrown_away_and_the_old_file_stays(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch, never: None
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    fault = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(Files, "connect", failing(mending.FIRST_MOVE, fault, Files.connect))
    same = [moving._totals]
    monkeypatch.setattr(moving, "_totals", lambda raw: [*same[0](raw), id(raw)])
    await break_down(journal, fault)
    texts = [await refused(journal) for _ in range(mending.FIRST_MOVE)]
    assert "the copy differs" in texts[-1] and not path.with_name("journal.db.moving").exists()
    await journal.append([draft("b")])
    assert await ids(journal) == ["a", "b"] and journal.moved_from == ""


@pytest.mark.parametrize(
    ("lost", "left"),
    [
        ("DELETE FROM event WHERE key = (SELECT max(key) FROM event)", 1),
        ("DELETE FROM event", 0),
        ("DELETE FROM incarnation", 0),
    ],
)
async def test_a_file_that_lacks_what_was_told_is_refused_as_long_as_it_does(
    open_: Any, path: Path, never: None, lost: str, left: int
) -> None:
    journal = await open_()
    await journal.append([draft("a"), draft("b")])
    await journal._ask(lambda: journal._store._raw.execute(lost), alone=True)
    await break_down(journal, sqlite3.OperationalError("disk I/O error"))
    said = f"has lost what it had taken: 2 scans were recorded since the start, and {left} are there"
    for _ in range(2):
        assert said in await refused(journal)
    assert journal.condition.kind == "damaged" and "tallyman journal replace" in journal.condition.text


@pytest.mark.parametrize("gone", [("journal.db-wal",), ("journal.db",), ("journal.db", "journal.db-wal")])
async def test_what_lost_its_name_gets_it_back_before_it_is_let_go(
    open_: Any, path: Path, gone: tuple[str, ...], never: None
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    for name in gone:
        path.with_name(name).unlink()
    assert "took the journal's file or its log away" in await refused(journal)
    await journal.append([draft("b")])
    assert await ids(journal) == ["a", "b"]
    await journal.close()
    assert await ids(await open_()) == ["a", "b"]


async def test_a_directory_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "dock #1?mode=ro 100%41" / "journal.db"
    for _ in range(2):
        journal = await Journal.open(path, agent="dock-1", site="lej1", ballast_bytes=0)
        await journal.append([draft("a")])
        path.unlink()
        await journal.close()
    with survey.Survey(path) as look:
        assert len(look.newest(9)) == 2
    assert [one.name for one in tmp_path.iterdir()] == [path.parent.name]


async def test_what_lost_its_name_gets_it_back_when_the_journal_is_closed(open_: Any, path: Path) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    path.unlink()
    await journal.close()
    assert await ids(await open_()) == ["a"]


async def test_what_lost_its_name_for_good_does_not_keep_the_journal_from_closing(
    open_: Any, path: Path
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    path.parent.rename(path.parent.with_name("gone"))
    with capture_logs() as said:
        await journal.close()
    assert "cannot get its name again" in said[-1]["event"] and journal._files._lock is None
    path.parent.with_name("gone").rename(path.parent)
    assert await ids(await open_()) == ["a"]


async def test_a_log_that_lost_its_name_is_kept_as_long_as_a_reader_keeps_it_from_being_carried_over(
    open_: Any, path: Path, never: None
) -> None:
    journal = await open_()
    journal._store._raw.execute("PRAGMA busy_timeout=0")
    await journal.append([draft("a")])
    with reading(path):
        await journal.append([draft("b")])
        path.with_name("journal.db-wal").unlink()
        assert "took the journal's file or its log away" in await refused(journal)
        for _ in range(4):
            assert "carried into the file. End it (tallyman journal …)." in await refused(journal)
    await journal.append([draft("c")])
    assert await ids(journal) == ["a", "b", "c"]


async def test_a_log_that_lost_its_name_beside_a_reader_is_copied_when_the_journal_is_closed(
    open_: Any, path: Path
) -> None:
    journal = await open_()
    journal._store._raw.execute("PRAGMA busy_timeout=0")
    await journal.append([draft("a")])
    with reading(path):
        await journal.append([draft("b")])
        log_of(path).unlink()
        await journal.close()
    assert await ids(await open_()) == ["a", "b"] and journal.moved_from == f"{path}.old-1"


async def test_a_log_that_lost_its_name_for_good_is_missed_at_the_next_start(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    journal._store._raw.execute("PRAGMA busy_timeout=0")
    await journal.append([draft("a")])
    with reading(path):
        await journal.append([draft("b")])
        log_of(path).unlink()
        full = failing(1, sqlite3.OperationalError("database or disk is full"), moving.copy)
        monkeypatch.setattr(moving, "copy", full)
        with capture_logs() as said:
            await journal.close()
    assert "cannot get its name again" in said[-1]["event"]
    with pytest.raises(JournalDamaged, match=r"its log journal\.db-wal is gone"):
        await open_()


async def test_a_log_that_lost_its_name_and_was_carried_over_is_not_missed(
    open_: Any, path: Path, never: None
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    log_of(path).unlink()
    await refused(journal)
    await journal.append([draft("b")])
    log_of(path).unlink()
    await journal.close()
    assert await ids(await open_()) == ["a", "b"]


async def test_who_reads_does_not_go_on_in_a_log_that_lost_its_name(
    open_: Any, path: Path, never: None
) -> None:
    journal = await open_()
    for number in range(20):
        await journal.append([draft(f"a{number}", 300)])
    assert len(await journal.recent(1000)) == 20
    path.with_name("journal.db-wal").unlink()
    await refused(journal)
    await journal.append([draft(f"b{number}", 300) for number in range(100)])
    assert sum(len(batch.ids) for batch in await journal.batches(journal.incarnation, 1, 1000)) == 120
    assert len(await journal.recent(1000)) == 120


@pytest.mark.parametrize("error", [None, sqlite3.OperationalError("of a log that was left")])
async def test_what_is_read_while_the_file_is_opened_anew_is_asked_again(
    open_: Any, error: sqlite3.Error | None
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    connected = journal._files.connect_reader

    class Left:
        """A connection beside which the file is opened anew."""

        def execute(self, *_: Any) -> Any:
            journal._files.openings += 1
            journal._files.connect_reader = connected
            if error is not None:
                raise error
            return self

        def fetchall(self) -> list[Any]:
            return []

        def close(self) -> None:
            pass

    journal._files.connect_reader = Left
    assert await ids(journal) == ["a"]


async def test_a_new_file_that_could_not_take_the_name_is_made_again_from_what_is_still_reached(
    open_: Any, path: Path, never: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    path.unlink()
    await refused(journal)
    monkeypatch.setattr(moving, "announce", failing(2, OSError(errno.EIO, "names"), moving.announce))
    for _ in range(2):
        assert "names" in await refused(journal)
    await journal.append([draft("b")])
    assert await ids(journal) == ["a", "b"]


async def test_no_empty_file_takes_the_place_of_one_that_went_while_it_was_not_open(
    open_: Any, path: Path, never: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    await half_mended(journal, monkeypatch)
    elsewhere = path.parent.with_name("elsewhere")
    path.parent.rename(elsewhere)
    path.parent.mkdir()
    await refused(journal)
    assert journal.condition.kind == "missing" and not path.exists()
    path.parent.rmdir()
    elsewhere.rename(path.parent)
    await journal.append([draft("b")])
    assert await ids(journal) == ["a", "b"]


@pytest.mark.parametrize("exchanged", [False, True])
async def test_what_loses_its_name_while_it_is_half_mended_gets_it_back(
    open_: Any, path: Path, never: None, monkeypatch: pytest.MonkeyPatch, exchanged: bool
) -> None:
    """The file is open again, and the disk has not shown yet that it takes writes."""
    journal = await open_()
    await journal.append([draft("a")])
    fault = sqlite3.OperationalError("disk I/O error")
    await break_down(journal, fault)
    monkeypatch.setattr(Store, "checkpoint", failing(1, fault, Store.checkpoint))
    assert "disk I/O error" in await refused(journal)
    path.unlink()
    if exchanged:
        path.write_bytes(b"of somebody else")
    await journal.append([draft("b")])
    assert await ids(journal) == ["a", "b"]
    await journal.close()
    assert await ids(await open_()) == ["a", "b"]


async def test_what_loses_its_name_while_an_attempt_takes_long_gets_it_back(
    open_: Any, path: Path, never: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    fault = sqlite3.OperationalError("disk I/O error")
    await break_down(journal, fault)
    monkeypatch.setattr(mending, "FIRST_MOVE", 1)
    checkpoint = Store.checkpoint

    def takes_long(*_: Any) -> None:
        path.unlink()
        monkeypatch.setattr(Store, "checkpoint", checkpoint)
        raise fault

    monkeypatch.setattr(Store, "checkpoint", takes_long)
    await journal.append([draft("b")])
    assert await ids(journal) == ["a", "b"]


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
async def test_what_loses_its_name_while_it_is_opened_is_not_written_to(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch, never: None, name: str
) -> None:
    await (await open_()).close()
    grow = files._grow

    def gone(log: Path, size_bytes: int) -> None:
        path.with_name(name).unlink()
        grow(log, size_bytes)

    monkeypatch.setattr(files, "_grow", gone)
    with pytest.raises(JournalError, match=r"took the journal's file away|No such file"):
        await open_()
    monkeypatch.undo()
    if name == "journal.db-wal":
        await (await open_()).append([draft("a")])


async def test_a_new_journal_does_not_begin_in_silence_when_one_that_was_used_is_gone(
    open_: Any, path: Path, never: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    await half_mended(journal, monkeypatch)
    path.unlink()
    path.touch()
    assert "Bring its directory back" in await refused(journal)
    await journal.close()
    with pytest.raises(JournalDamaged, match="is gone or empty, and an agent was using it"):
        await open_()
    done = salvage.replace(path, agent="dock-1", site="lej1", random_bytes=os.urandom)
    assert done.entered == 0 and done.aside == Path(f"{path}.damaged-1")
    assert await ids(await open_()) == []


async def test_a_journal_that_was_closed_may_be_taken_away_if_the_disk_took_the_note_of_it(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_()).close()
    path.unlink()
    journal = await open_()
    monkeypatch.setattr(Files, "_note", failing(2, OSError(errno.EIO, "note"), Files._note))
    with capture_logs() as said:
        await journal.close()
    assert (said[-1]["event"], said[-1]["error"]) == (
        "the note of a stop is not taken",
        "[Errno 5] note",
    )
    path.unlink()
    with pytest.raises(JournalDamaged, match="is gone"):
        await open_()


@pytest.mark.parametrize("log", [True, False])
async def test_of_a_file_that_is_gone_its_log_still_gives_what_it_has(
    open_: Any, path: Path, tmp_path: Path, log: bool
) -> None:
    journal = await open_()
    await journal.append([draft("a"), draft("b")])
    killed = tmp_path / "killed" / "journal.db"
    killed.parent.mkdir()
    for name in ("journal.db.lock", "journal.db-wal")[: 1 + log]:
        shutil.copy(path.with_name(name), killed.parent)
    with pytest.raises(JournalDamaged, match="tallyman journal replace"):
        await Journal.open(killed, agent="dock-1", site="lej1")
    done = salvage.replace(killed, agent="dock-1", site="lej1", random_bytes=os.urandom)
    assert done.entered == (2 if log else 0)
    assert done.aside == (Path(f"{killed}.damaged-1-wal") if log else None)
    again = await Journal.open(killed, agent="dock-1", site="lej1", ballast_bytes=0)
    assert await ids(again) == (["a", "b"] if log else [])
    await again.close()


async def test_who_may_not_use_the_directory_is_told_first_who_may(
    open_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", failing(1, PermissionError(errno.EACCES, "Permission denied"), os.open))
    with pytest.raises(
        JournalError, match=r"Permission denied\. Run it as the agent's user, or make the data"
    ):
        await open_()


async def test_a_start_that_failed_is_not_taken_for_a_log_that_somebody_took_away(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    killed = path.parent.with_name("killed")
    shutil.copytree(path.parent, killed)
    monkeypatch.setattr(files, "_PRAGMAS", ("journal_mode=WAL", "nothing that (it knows"))
    with pytest.raises(JournalError, match="cannot be used"):
        await Journal.open(killed / "journal.db", agent="dock-1", site="lej1")
    monkeypatch.undo()
    again = await Journal.open(killed / "journal.db", agent="dock-1", site="lej1", ballast_bytes=0)
    assert await ids(again) == ["a"]
    await again.close()


async def test_the_directories_that_a_journal_makes_are_durable_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(directory, "sync_directory", synced.append)
    directory.make_directory(tmp_path / "a" / "b")
    directory.make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir() and synced == [tmp_path / "a", tmp_path]


async def test_a_text_that_cannot_be_read_is_an_error_of_the_journal(open_: Any) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    journal._store._raw.execute("UPDATE event SET text = x'7bff'")
    with pytest.raises(JournalError, match="cannot be read"):
        await journal.recent(1)


async def test_a_disk_that_says_nothing_of_the_file_is_an_error_of_the_journal(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads tries again; anything else would end the program."""
    journal = await open_()
    await journal.append([draft("a")])
    broken = failing(1, OSError(errno.EIO, "stat"), inspection.refuse_remains)
    monkeypatch.setattr(inspection, "refuse_remains", broken)
    with pytest.raises(JournalError, match="cannot be read"):
        await journal.recent(1)
    assert [one.event.id for one in await journal.recent(1)] == ["a"]


async def test_a_file_that_was_exchanged_is_put_aside(open_: Any, path: Path, never: None) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    path.with_name("new").write_bytes(b"of somebody else")
    path.with_name("new").replace(path)
    await refused(journal)
    await journal.append([draft("b")])
    assert await ids(journal) == ["a", "b"] and Path(journal.moved_from).read_bytes() == b"of somebody else"


def test_room_that_cannot_be_told_is_none(tmp_path: Path) -> None:
    assert (
        Files(tmp_path / "gone" / "journal.db").free_bytes()
        == 0
        < Files(tmp_path / "journal.db").free_bytes()
    )


async def test_a_reader_that_finds_no_journal_leaves_nothing_open(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"nothing of a journal " * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Files(path).connect_reader()


# --- a new file in the place of the old one --------------------------------------------------------------------


@pytest.fixture
def names(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Write files, finish a move, and say what has which content."""
    called = {"db": "j", "log": "j-wal", "index": "j-shm", "moved": "j.moved"}

    def finish(**content: str) -> dict[str, str]:
        for name, text in content.items():
            (tmp_path / called[name]).write_text(text)
        moving.finish(tmp_path / "j")
        return {file.name: file.read_text() for file in tmp_path.iterdir()}

    return finish


def test_a_move_that_was_interrupted_before_the_old_file_went_is_finished(names: Any) -> None:
    """What has the name may be somebody else's, and the copy all that is left."""
    assert names(db="old", log="log", moved="new") == {"j": "new", "j.old-1": "old", "j.old-1-wal": "log"}


def test_a_move_that_was_interrupted_after_that_is_finished_and_the_log_goes_with_its_file(
    names: Any, tmp_path: Path
) -> None:
    (tmp_path / "j.old-1").write_text("old")
    found = names(log="log", index="x", moved="new")
    assert found == {"j": "new", "j.old-1": "old", "j.old-1-wal": "log"}


def test_a_log_whose_file_is_gone_takes_no_other_log_s_place(names: Any, tmp_path: Path) -> None:
    for name in ("j.old-1", "j.old-1-wal"):
        (tmp_path / name).write_text("before")
    found = names(log="log", moved="new")
    assert found == {"j": "new", "j.old-1": "before", "j.old-1-wal": "before", "j.old-2-wal": "log"}


def test_a_file_that_is_put_aside_gets_no_name_with_another_s_log(names: Any, tmp_path: Path) -> None:
    """Of an earlier one only its log was left to keep."""
    (tmp_path / "j.old-1-wal").write_text("before")
    (tmp_path / "j.old-2-shm").write_text("before")
    found = names(db="old", log="log", moved="new")
    others = {"j.old-1-wal": "before", "j.old-2-shm": "before"}
    assert found == others | {"j": "new", "j.old-3": "old", "j.old-3-wal": "log"}


def test_a_log_that_is_all_that_is_left_gets_no_name_with_another_s_file(tmp_path: Path) -> None:
    files_ = Files(tmp_path / "j", ballast_bytes=0)
    for name in ("j.damaged-1", "j-wal", "copy"):
        (tmp_path / name).write_text(name)
    assert files_.take(tmp_path / "copy", "damaged") == tmp_path / "j.damaged-2"
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"j.damaged-1": "j.damaged-1", "j.damaged-2-wal": "j-wal", "j": "copy"}


def test_a_move_without_a_log_is_finished_too(names: Any) -> None:
    assert names(moved="new") == {"j": "new"} and names() == {"j": "new"}


def test_a_copy_takes_the_name_also_when_there_is_no_old_file(tmp_path: Path) -> None:
    (tmp_path / "j.moving").write_text("new")
    moving.announce(tmp_path / "j.moving", tmp_path / "j")
    moving.finish(tmp_path / "j", "damaged")
    assert (tmp_path / "j").read_text() == "new"
    assert moving.kept_aside(tmp_path / "j") == []


# --- whether a file is a journal, and sound --------------------------------------------------------------------


async def test_a_check_that_takes_too_long_ends_and_says_so(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    for _ in range(8):
        await journal.append([draft(f"e{n}", 8_000) for n in range(500)])
    await journal.close()
    monkeypatch.setattr(inspection, "PROGRESS_S", 0.002)
    monkeypatch.setattr(inspection, "AGAIN_S", 0.001)
    raw = sqlite3.connect(path, check_same_thread=False)
    with contextlib.ExitStack() as held, contextlib.closing(raw), capture_logs() as said:
        assert not inspection.inspect(raw, path, held, limit_s=0.0)
        assert inspection.inspect(raw, path, held, limit_s=600.0)
    events = [one["event"] for one in said]
    assert {"the journal is too large to be checked whole", "checking the journal"} == set(events)


class Watched:
    """A connection whose check fails in itself."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def execute(self, statement: str, *parameters: Any) -> Any:
        if "quick_check" in statement:
            raise sqlite3.OperationalError("disk I/O error")
        return self._raw.execute(statement, *parameters)


async def test_a_check_that_fails_in_itself_says_why(open_: Any, path: Path) -> None:
    await (await open_()).close()
    with (
        contextlib.ExitStack() as held,
        contextlib.closing(sqlite3.connect(path)) as raw,
        pytest.raises(sqlite3.OperationalError, match="I/O"),
    ):
        inspection.inspect(Watched(raw), path, held)  # type: ignore[arg-type]


NOT_NULL = (
    "PRAGMA writable_schema=ON; UPDATE sqlite_master SET"
    " sql = replace(sql, 'reason TEXT', 'reason TEXT NOT NULL') WHERE name = 'event'"
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE event SET text = x'7b22'", "event 1 cannot be read"),
        ("UPDATE event SET text = replace(text, '0001\"', '0002\"')", "event 1 cannot be read"),
        ("UPDATE event SET text = 7", "event 1 cannot be read"),
        (NOT_NULL, "NULL value in event.reason"),
    ],
    ids=["cut", "elsewhere", "number", "structure"],
)
async def test_what_a_check_finds_is_refused_and_said(
    open_: Any, path: Path, change: str, words: str
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    await journal.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.executescript(change)
    with pytest.raises(JournalDamaged, match=f"{words}.*tallyman journal replace"):
        await open_()


async def test_a_last_commit_that_is_not_whole_is_left_out_and_said(
    open_: Any, path: Path, tmp_path: Path
) -> None:
    """As a power loss leaves one; so does damage to the one before."""
    journal = await open_()
    for n in range(10):
        await journal.append([draft(f"e{n}")])
    damaged = tmp_path / "damaged" / "journal.db"
    shutil.copytree(path.parent, damaged.parent)
    frame = 24 + 4096
    used = len(log_of(damaged).read_bytes().rstrip(b"\0"))
    last = -(-(used - 32) // frame) - 1
    with log_of(damaged).open("r+b") as log:
        log.seek(32 + (last - 1) * frame)
        log.write(bytes(512))
    for expected in (1, 0):
        with capture_logs() as said:
            again = await open_(damaged)
        assert await ids(again) == [f"e{n}" for n in range(8)]
        assert sum("is not whole and is left out" in one["event"] for one in said) == expected
        await again.close()


def test_a_log_without_its_index_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "j-wal").write_bytes(b"log")
    with contextlib.ExitStack() as held:
        assert list(inspection.frames_behind(tmp_path / "j", held)) == []


# --- what an error means ---------------------------------------------------------------------------------------


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite_error(sqlite3.SQLITE_FULL), "full"),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), "failing"),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), "read-only"),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN), "missing"),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), "damaged"),
        (sqlite_error(sqlite3.SQLITE_NOTADB), "damaged"),
        (sqlite_error(sqlite3.SQLITE_BUSY), "defect"),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), "failing"),
        (OSError(errno.EDQUOT, ""), "full"),
        (OSError(errno.EROFS, ""), "read-only"),
        (OSError(errno.ENOENT, ""), "missing"),
        (OSError(errno.EIO, ""), "failing"),
        (JournalDamaged("lost"), "damaged"),
        (JournalError("busy"), "defect"),
        (ValueError(), "defect"),
    ],
)
def test_every_error_is_of_one_kind_and_can_be_said(error: Exception, kind: str) -> None:
    assert kind_of(error, PLENTY) == kind
    assert kind_of(error, 0) == ("full" if kind == "failing" else kind), "whatever SQLite calls it"
    said = cannot_open(Path("/data/journal.db"), error, PLENTY)
    assert isinstance(said, JournalDamaged) == (kind == "damaged")


# --- the operator's word ---------------------------------------------------------------------------------------


def replaced(path: Path) -> salvage.Replaced:
    return salvage.replace(path, agent="dock-1", site="lej1", random_bytes=os.urandom)


async def test_only_a_damaged_journal_that_nobody_uses_is_replaced(
    open_: Any, path: Path, tmp_path: Path
) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        replaced(tmp_path / "nothing" / "journal.db")
    journal = await open_()
    with pytest.raises(JournalError, match="another agent is using this journal"):
        replaced(path)
    await journal.close()
    with pytest.raises(JournalError, match="is sound"):
        replaced(path)
    (other := tmp_path / "directory" / "journal.db").mkdir(parents=True)
    with pytest.raises(sqlite3.OperationalError, match=r"disk I/O error|unable to open"):
        replaced(other)
    assert other.is_dir()


async def test_damage_that_a_check_at_the_start_has_no_time_to_meet_is_met_by_the_operator_s_word(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(inspection._Watch):
        """A check that has a limit reaches it at once, as with a file of many gigabytes."""

        def __enter__(self) -> Any:
            self.ended = self._limit_s < math.inf
            self._raw.set_progress_handler(lambda: self.ended, 1)
            return self

        def __exit__(self, *_: object) -> None:
            self._raw.set_progress_handler(None, 1)

    monkeypatch.setattr(inspection, "_Watch", Impatient)
    journal = await open_()
    await journal.append([draft("a")])
    await journal.close()
    with pytest.raises(JournalError, match="is sound"):
        replaced(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.executescript(NOT_NULL)
    with capture_logs() as said:
        await (await open_()).close()
    assert "the journal is too large to be checked whole" in [one["event"] for one in said]
    assert replaced(path).entered == 1


async def test_a_new_journal_takes_what_is_unsettled_under_its_own_ids_and_counts_connections_on(
    open_: Any, path: Path
) -> None:
    journal = await open_()
    old = journal.incarnation
    await journal.append([draft(name) for name in "abcdef"])
    outcomes = {1: "accepted", 2: "conflict", 3: "accepted"}
    verdicts = tuple((old, Verdict(sequence=n, id="abc"[n - 1], outcome=o)) for n, o in outcomes.items())  # type: ignore[arg-type]
    await journal.record(Record(streams=((old, 3, 2, True),), verdicts=verdicts))
    connections = [await journal.next_connection() for _ in range(3)]
    await journal.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("UPDATE event SET text = 'cut' WHERE key & 255 = 5")
    done = replaced(path)
    assert (done.entered, done.settled, done.unreadable) == (4, 1, 1)
    assert done.aside == Path(f"{path}.damaged-1")
    journal = await open_()
    assert await ids(journal) == ["b", "c", "d", "f"] and journal.queued == 4
    assert await journal.next_connection() > max(connections)


async def test_where_it_cannot_be_told_what_central_has_for_certain_all_is_unsettled(
    open_: Any, path: Path
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    verdict = Verdict(sequence=1, id="a", outcome="accepted")
    await journal.record(
        Record(streams=((journal.incarnation, 1, 1, True),), verdicts=((journal.incarnation, verdict),))
    )
    await journal.close()
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.executescript(NOT_NULL)
        raw.execute("UPDATE incarnation SET safe = 'garbage'")
        raw.commit()
    assert replaced(path).entered == 1


def test_a_search_behind_damage_ends_whatever_is_lost(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"nothing of a journal " * 100)
    old = salvage._Old(tmp_path / "journal.db")
    try:
        assert list(old.unsettled()) == [] and old.unreadable == 1 and old.connections() == 0
    finally:
        old.close()


async def test_what_stands_behind_a_hole_in_the_log_is_found_page_by_page(
    open_: Any, path: Path, tmp_path: Path
) -> None:
    journal = await open_()
    await journal.append([draft("before")])
    hole = 32 + 24 + 200
    for n in range(12):
        await journal.append([draft(f"e{n}", 400), draft(f"long{n}", 6_000)])
    verdict = Verdict(sequence=2, id="e0", outcome="accepted")
    await journal.record(Record(verdicts=((journal.incarnation, verdict),)))
    copy = tmp_path / "copy" / "journal.db"
    copy.parent.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        content = bytearray(path.with_name(name).read_bytes())
        if name.endswith("-wal"):
            content[hole : hole + 4] = b"torn"
        copy.with_name(name).write_bytes(content)
    done = replaced(copy)
    again = await Journal.open(copy, agent="dock-1", site="lej1", ballast_bytes=0)
    found = await ids(again)
    await again.close()
    assert found == ["before", *(f"e{n}" for n in range(12))], "what goes on on other pages is not looked for"
    assert done.entered == 13


def test_what_only_looks_like_an_event_is_none() -> None:
    def page(cell: bytes) -> bytes:
        return bytes([13, 0, 0, 0, 1, 0, 0, 0, 0, 100]).ljust(100, b"\0") + cell.ljust(3996, b"\0")

    def found(cell: bytes) -> list[Any]:
        return list(carving._events_of(page(cell)))

    event = b'{"specversion":"1.0","id":"x","source":"s","type":"t","time":"t","datacontenttype":"application/json",'
    event += b'"incarnation":"%s","sequence":"00000000000000000005","data":{}}' % (b"0" * 32)
    types = bytes([8, 0, 0x80 | (12 + 2 * len(event)) >> 7, 12 + 2 * len(event) & 0x7F, 1, 9, 0, 0])
    size = len(types) + len(event) + 1
    cell = bytes([0x80 | size >> 7, size & 0x7F, 5]) + types + event + b"\x07"
    assert found(cell) == [(5, event, 7, 1)]
    nine = bytes([0x80 | size >> 7, size & 0x7F]) + b"\x80" * 8 + b"\x05"
    assert found(nine + types + event + b"\x07") == [(5, event, 7, 1)], "a key of nine bytes"
    assert found(cell.replace(b"005", b"006")) == [], "its place is another"
    assert found(cell.replace(b'"id"', b'"no"')) == []
    assert found(bytes([size, 5, 2, 0])) == [], "another table"
    assert found(bytes([0x81, 0, 5, 7, 0, 13, 1, 8, 0, 0])) == [], "a text is no blob"
    assert found(cell.replace(bytes([1, 9, 0, 0]), bytes([0, 9, 0, 0]))) == [], "no time"
    assert list(carving._events_of(bytes([13, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFF]).ljust(4096, b"\xff"))) == []
    assert list(carving._events_of(bytes(4096))) == []


def test_ids_are_unique_whatever_the_clock_says() -> None:
    times = [0, -1, 1_763_626_530_000, 1_763_626_530_000 + 10 * 365 * 86_400_000, (1 << 48) + 5]
    made = [minted.event_id(at, os.urandom) for at in times for _ in range(2_000)]
    assert len(set(made)) == len(made) and all(len(one) == 36 and one[14] == "7" for one in made)


async def test_clocks_that_jump_decide_nothing(open_: Any, path: Path) -> None:
    """Ten years forward, twenty back: places and ids are what they would be, only the times recorded differ."""
    year_ms, clock = 365 * 86_400_000, [1_763_626_530_000]
    journal = await open_(now_ms=lambda: clock[0])
    for n, jump in enumerate((0, 10, -20, 10)):
        clock[0] += jump * year_ms
        [recorded] = await journal.append([draft(f"e{n}")])
        assert (recorded.sequence, recorded.recorded_ms) == (n + 1, clock[0])
    assert await ids(journal) == ["e0", "e1", "e2", "e3"]

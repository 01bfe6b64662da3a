"""Who may use the journal's file, under which names, and what is noted of it: on real files and real locks."""

import contextlib
import errno
import fcntl
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sync.journal import Draft, Journal, JournalError, files, inspection, moving, salvage, survey
from sync.journal.ballast import Ballast
from sync.journal.directory import index_of, log_of
from sync.journal.files import Files
from sync.journal.recorded import JournalDamaged
from sync.journal.store import Store
from sync.journal.survey import Survey
from tests.support.journals import Failing, opening

MIB = 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.db"


@pytest.fixture
async def open_(path: Path) -> AsyncIterator[Callable[..., Any]]:
    async with opening(path, ballast_bytes=MIB) as opened:
        yield opened


def draft(id_: str) -> Draft:
    return Draft(id_, "tallyman.received.v1", "2026-11-20T08:15:30Z", {"sku": "A"})


async def ids(journal: Journal) -> list[str]:
    return [one.event.id for one in reversed(await journal.recent(1000))]


def noted(path: Path) -> str:
    text = path.with_name("journal.db.lock").read_text().strip()
    return str(int(text)) if text else ""


def damage(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("UPDATE event SET text = 'cut' WHERE key & 255 = 1")


# --- locks -----------------------------------------------------------------------------------------------------


def locks_on(file: Path) -> list[str]:
    """What this process has locked of it, as the system tells (proc_locks(5))."""
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [
        " ".join(words[5:])
        for words in lines
        if words[1] == "POSIX"
        and words[4] == str(os.getpid())
        and words[5].endswith(f":{file.stat().st_ino}")
    ]


async def test_who_looks_at_a_journal_keeps_the_locks_that_tell_others_so(open_: Any, path: Path) -> None:
    """Without them whoever opens it next begins its index anew, under the one who reads it."""
    await (await open_()).append([draft("a")])
    copy = path.parent.parent / "copy" / "journal.db"
    copy.parent.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(path.with_name(name), copy.with_name(name))
    with (
        contextlib.ExitStack() as held,
        contextlib.closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as raw,
    ):
        raw.execute("SELECT count(*) FROM event").fetchall()
        before = locks_on(index_of(copy))
        assert inspection.inspect(raw, copy, held)
        assert before and locks_on(index_of(copy)) == before
    with Survey(copy) as looks:
        before = locks_on(index_of(copy))
        assert looks.lost() is None
        assert before and locks_on(index_of(copy)) == before


async def test_without_the_lock_s_file_the_directory_is_still_locked(open_: Any, path: Path) -> None:
    journal = await open_()
    path.with_name("journal.db.lock").unlink()
    with pytest.raises(JournalError, match="another agent is using this journal"):
        await open_()
    await journal.append([draft("a")])
    with Survey(path) as looks:
        assert looks.status().in_use_by == os.getpid()


async def test_where_directories_cannot_be_locked_the_lock_s_file_is(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock

    def no_directories(descriptor: int, how: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 (a descriptor is no path)
            raise OSError(errno.EBADF, "Bad file descriptor")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", no_directories)
    journal = await open_()
    with pytest.raises(JournalError, match="another agent is using this journal"):
        await open_()
    await journal.append([draft("a")])


async def test_a_full_disk_is_not_called_a_matter_of_rights(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "make_directory", full)
    with pytest.raises(JournalError, match=r"No space left on device\. Make room on this disk"):
        await open_()


async def test_under_another_name_it_is_the_same_journal(open_: Any, path: Path, tmp_path: Path) -> None:
    journal = await open_()
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(JournalError, match="another agent is using this journal"):
        await open_(tmp_path / "link.db")
    await journal.append([draft("a")])
    await journal.close()
    assert await ids(await open_(tmp_path / "link.db")) == ["a"]


@pytest.mark.parametrize("name", ["loop", "loop/journal.db"])
async def test_a_name_that_leads_back_to_itself_is_refused_in_words(
    open_: Any, tmp_path: Path, name: str
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for use in (Survey, replaced):
        with pytest.raises(JournalError, match=r"loop.*: Too many levels of symbolic links"):
            use(tmp_path / name)  # type: ignore[operator]
    with pytest.raises(JournalError, match=r"loop.*: Too many levels of symbolic links"):
        await open_(tmp_path / name)


async def test_a_file_with_a_second_name_is_refused_and_left_as_it_is(
    open_: Any, path: Path, tmp_path: Path
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    await journal.close()
    (tmp_path / "other").mkdir()
    os.link(path, tmp_path / "other" / "journal.db")
    content = path.read_bytes()
    for name in (path, tmp_path / "other" / "journal.db"):
        with pytest.raises(JournalError, match="has a second name"):
            await open_(name)
    assert path.read_bytes() == content
    path.unlink()
    assert await ids(await open_(tmp_path / "other" / "journal.db")) == ["a"]


async def test_a_second_name_that_comes_while_it_is_used_stops_no_scan(
    open_: Any, path: Path, tmp_path: Path
) -> None:
    """Somebody made a copy of hard links (`cp -al`), and then the disk failed for a moment."""
    journal = await open_()
    await journal.append([draft("a")])
    os.link(path, tmp_path / "other.db")
    journal._store._raw = Failing(journal._store._raw, "INSERT INTO event", after=False)
    with pytest.raises(JournalError, match="Then scan again"):
        await journal.append([draft("b")])
    with capture_logs() as said:
        await journal.append([draft("c")])
    assert "has a second name" in said[-1]["event"] and said[-1]["log_level"] == "warning"
    await journal.close()
    with pytest.raises(JournalError, match="has a second name"):
        await open_()
    (tmp_path / "other.db").unlink()
    assert await ids(await open_()) == ["a", "c"]


async def test_who_uses_it_is_found_where_file_systems_lie_upon_each_other(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system then tells a lock with the device of the file system below."""
    await open_()
    monkeypatch.setattr(os, "major", lambda _device: 0xFFF)
    lock = path.with_name("journal.db.lock")
    assert survey._holder(lock) == os.getpid()
    assert not survey._has_open(os.getpid(), path.parent.parent.stat()), "another file"
    assert not survey._has_open(1 << 30, lock.stat()), "a process that is gone"


# --- what is left of a file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 511])
async def test_who_only_looks_takes_no_log_away(open_: Any, path: Path, tmp_path: Path, left: int) -> None:
    """SQLite deletes the log beside an empty file, and takes a file of one byte for empty."""
    journal = await open_()
    await journal.append([draft("a"), draft("b")])
    killed = tmp_path / "killed" / "journal.db"
    shutil.copytree(path.parent, killed.parent)
    os.truncate(killed, left)
    log = log_of(killed).read_bytes()
    with pytest.raises(JournalError, match=rf"only {left} bytes of it are left\. It is damaged"):
        Survey(killed)
    with pytest.raises(JournalDamaged, match="bytes of it are left"):
        Files(killed).connect_reader()
    assert log_of(killed).read_bytes() == log
    done = replaced(killed)
    assert done.entered == 2 and done.aside is not None and done.aside.stat().st_size == left
    assert log_of(done.aside).read_bytes() == log
    assert await ids(await open_(killed)) == ["a", "b"]


# --- what is noted ---------------------------------------------------------------------------------------------


async def test_a_log_that_is_still_there_after_the_end_is_missed_when_it_goes(open_: Any, path: Path) -> None:
    """Somebody reads, so the log cannot be carried over: what was told stands there alone."""
    journal = await open_()
    with Survey(path) as looks:
        await journal.append([draft("a")])
        looks._raw.execute("BEGIN").execute("SELECT count(*) FROM event").fetchall()
        await journal.append([draft("b")])
        await journal.close()
        assert int(noted(path)) == log_of(path).stat().st_size > 0
        looks._raw.execute("COMMIT")
    log_of(path).rename(path.with_name("away"))
    with pytest.raises(JournalDamaged, match=r"its log journal\.db-wal is gone"):
        await open_()
    path.with_name("away").rename(log_of(path))
    again = await open_()
    assert await ids(again) == ["a", "b"]
    await again.close()
    assert noted(path) == "" and not log_of(path).exists()


async def test_a_note_that_cannot_be_written_leaves_the_one_before(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is needed on, as somebody reads, and the disk is full when the agent stops."""
    journal = await open_()
    await journal.append([draft("a")])
    before = noted(path)
    with Survey(path) as looks:
        looks._raw.execute("BEGIN").execute("SELECT count(*) FROM event").fetchall()
        await journal.append([draft("b")])

        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as fault, capture_logs() as said:
            fault.setattr(os, "pwrite", full)
            await journal.close()
    assert said[-1]["event"] == "the note of a stop is not taken"
    assert noted(path) == before == str(files.LOG_BYTES) and log_of(path).exists()
    log_of(path).rename(path.with_name("away"))
    with pytest.raises(JournalDamaged, match=r"its log journal\.db-wal is gone"):
        await open_()
    path.with_name("away").rename(log_of(path))
    assert await ids(await open_()) == ["a", "b"]


async def test_a_note_of_an_older_program_is_understood(open_: Any, path: Path) -> None:
    await (await open_()).close()
    path.with_name("journal.db.lock").write_text("4152")
    with pytest.raises(JournalDamaged, match=r"its log journal\.db-wal is gone"):
        await open_()
    path.with_name("journal.db.lock").write_text("")
    assert await ids(await open_()) == []


async def test_a_start_that_fails_leaves_nothing_open_that_takes_the_log_away_later(
    open_: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    killed = tmp_path / "killed" / "journal.db"
    shutil.copytree(path.parent, killed.parent)
    with monkeypatch.context() as fault:
        fault.setattr(files, "_PRAGMAS", ("journal_mode=WAL", "nothing that (it knows"))
        with pytest.raises(JournalError, match="cannot be used") as kept:
            await open_(killed)
    assert kept.tb is not None, "what it stands for is held as long as it is"
    assert noted(killed) == "" and not log_of(killed).exists()
    assert await ids(await open_(killed)) == ["a"]


async def test_who_was_refused_does_not_find_it_recorded_after_a_stop(open_: Any) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    journal._store._raw = Failing(journal._store._raw, "INSERT INTO event", after=True)
    with pytest.raises(JournalError, match="Then scan again"):
        await journal.append([draft("b")])
    await journal.close()
    assert await ids(await open_()) == ["a"]


async def test_a_disk_that_cannot_be_mended_does_not_keep_it_from_closing(
    open_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    await journal.append([draft("a")])
    journal._store._raw = Failing(journal._store._raw, "INSERT INTO event", after=True)
    with pytest.raises(JournalError):
        await journal.append([draft("b")])

    def broken(_path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as fault:
        fault.setattr(files, "_settle_log", broken)
        await journal.close()
    assert "a" in await ids(await open_())


# --- a new file ------------------------------------------------------------------------------------------------


async def test_a_disk_without_room_for_a_new_journal_keeps_the_old_one_and_nothing_half_made(
    open_: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_()
    await journal.append([draft("a"), draft("b")])
    await journal.close()
    damage(path)

    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as fault:
        fault.setattr(Store, "checkpoint", full)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            replaced(path)
    assert not [file.name for file in path.parent.iterdir() if ".mov" in file.name]
    assert not moving.kept_aside(path)
    done = replaced(path)
    assert (done.entered, done.unreadable) == (1, 1)
    assert await ids(await open_()) == ["b"]


def replaced(path: Path) -> salvage.Replaced:
    return salvage.replace(path, agent="dock-1", site="lej1", random_bytes=os.urandom)


class Killed(BaseException):
    """As `kill -9` would: nothing that follows is done."""


@pytest.mark.parametrize("step", ["announce", "finish"])
async def test_a_replacing_that_is_killed_is_done_whole_or_not_at_all(
    open_: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A log that is missed stays missed until there is another file that counts."""
    journal = await open_()
    await journal.append([draft("a"), draft("b")])
    killed = tmp_path / "killed" / "journal.db"
    shutil.copytree(path.parent, killed.parent)
    log_of(killed).unlink()

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as fault:
        fault.setattr(moving, step, kill)
        with pytest.raises(Killed):
            replaced(killed)
    if step == "announce":
        with pytest.raises(JournalDamaged, match=r"its log journal\.db-wal is gone"):
            await open_(killed)
        replaced(killed)
    again = await open_(killed)
    assert again.queued == 0 and len(moving.kept_aside(killed)) == 1


# --- the ballast -----------------------------------------------------------------------------------------------


def test_a_file_system_that_sets_no_blocks_aside_is_believed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the disk would be called full for ever, and the ballast made anew with every scan."""
    monkeypatch.setattr(
        os, "posix_fallocate", lambda descriptor, _start, size: os.ftruncate(descriptor, size)
    )
    ballast = Ballast(tmp_path / "b", MIB)
    ballast.make()
    assert (tmp_path / "b").stat().st_blocks == 0 and ballast.is_there()
    assert ballast.release() and not ballast.is_there()
    ballast.make()
    assert not Ballast(tmp_path / "b", MIB).is_there(), "another process makes it itself"

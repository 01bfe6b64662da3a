"""Input and output errors, and a disk that does not answer. The promise: nobody sees OK until the journal was
opened anew and a full checkpoint with its fsync succeeded; whatever got its OK is kept; a file that keeps failing is
left for a new one that holds all of it, or the journal refuses.
"""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disk import ALLOCATE, NAMES, OPEN, READ, SYNC, TRUNCATE, WRITE, FailingDisk
from tests.support.journals import JournalProgram, held_after_restart, running
from tests.support.wait import eventually


@pytest.fixture
def disk(tmp_path: Path) -> FailingDisk:
    return FailingDisk(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.db"


@pytest.fixture
def program(path: Path, disk: FailingDisk) -> Iterator[JournalProgram]:
    with running(path, environment=disk.environment) as program:
        yield program


def mended(program: JournalProgram) -> bool:
    return program.ask("state")["kind"] is None


@pytest.mark.parametrize(
    ("calls", "match"),
    [(SYNC, "journal.db-wal"), (SYNC, "journal.db"), (WRITE, "journal.db-wal"), (WRITE | SYNC, "journal.db")],
    ids=["fsync-log", "fsync", "write-log", "both"],
)
def test_a_commit_that_failed_is_refused_and_nothing_is_ok_while_the_disk_fails(
    program: JournalProgram, disk: FailingDisk, path: Path, calls: int, match: str
) -> None:
    kept = program.append("a", "b", "c")
    disk.order(calls, errno.EIO, match=match)
    for n in range(4):
        answer = program.ask("append", ids=[f"no{n}"])
        assert "disk I/O error" in answer.get("error", "") or "Input/output" in answer.get("error", "")
    assert disk.hits and program.ask("state")["refuses"]
    disk.heal()
    kept += program.append("d")
    assert program.held() == kept and mended(program)
    program.kill()
    assert held_after_restart(path) == kept


def test_one_failed_sync_leaves_no_trace_of_the_scan_that_it_refused(
    program: JournalProgram, disk: FailingDisk, path: Path
) -> None:
    """It was in the file to be read, and may never have reached the disk: it is scanned again under another id."""
    kept = program.append("a")
    disk.order(SYNC, errno.EIO, match="-wal", times=1)
    assert "error" in program.ask("append", ids=["no"])
    eventually(lambda: mended(program), 20, "it mends itself, with nobody scanning")
    assert program.held() == kept
    kept += program.append("b")
    assert program.held() == kept
    program.kill()
    assert held_after_restart(path) == kept


def test_a_file_that_keeps_failing_is_left_for_a_new_one_with_everything_in_it(
    program: JournalProgram, disk: FailingDisk, path: Path
) -> None:
    kept = program.append(*(f"s{n}" for n in range(50)))
    old = path.stat().st_ino
    # The log takes scans until it has to be carried into the file; an error in it brings that about now.
    disk.order(SYNC, errno.EIO, match="journal.db")
    assert "error" in program.ask("append", ids=["no"])
    disk.order(SYNC | WRITE, errno.EIO, inode=old)
    refused = 0
    while "error" in program.ask("append", ids=[f"after{refused}"]):
        refused += 1
        assert refused < 10, program.ask("state")
    kept.append(f"after{refused}")
    aside = Path(program.ask("state")["moved_from"])
    assert aside.name == "journal.db.old-1" and aside.stat().st_ino == old != path.stat().st_ino
    assert refused >= 2 and disk.hits, "not before it failed several times"
    assert program.held() == kept
    kept += program.append("more")
    program.kill()
    assert held_after_restart(path) == kept


def test_a_file_that_somebody_deletes_while_the_disk_fails_gets_its_name_again(
    program: JournalProgram, disk: FailingDisk, path: Path
) -> None:
    """It is open, and does not count yet: the disk has not shown that it takes writes."""
    kept = program.append(*(f"s{n}" for n in range(50)))
    disk.order(SYNC, errno.EIO, match="journal.db")
    assert "error" in program.ask("append", ids=["no"])
    disk.order(SYNC, errno.EIO, inode=path.stat().st_ino)
    assert "disk I/O error" in program.ask("append", ids=["no"])["error"] and disk.hits
    path.unlink()
    disk.heal()
    kept += program.append("after")
    assert program.held() == kept
    program.kill()
    assert held_after_restart(path) == kept


def test_a_file_that_cannot_be_read_whole_is_not_left(
    program: JournalProgram, disk: FailingDisk, path: Path
) -> None:
    """What cannot be copied whole stays in use, and the journal refuses: nothing that got its OK is given up."""
    kept = program.append(*(f"s{n}" for n in range(20)))
    disk.order(SYNC | READ, errno.EIO, match="journal.db")
    assert all("error" in program.ask("append", ids=["no"]) for _ in range(6))
    assert not program.ask("state")["moved_from"]
    disk.heal()
    kept += program.append("b")
    program.kill()
    assert held_after_restart(path) == kept


@pytest.mark.parametrize(
    ("calls", "match"),
    [(SYNC, "journal.db.moving"), (NAMES, "journal.db.moved"), (WRITE, "journal.db.moving"), (SYNC, "/data")],
    ids=["copy", "name", "write", "directory"],
)
def test_a_move_that_is_interrupted_is_finished_or_undone(
    disk: FailingDisk, path: Path, calls: int, match: str
) -> None:
    with running(path, environment=disk.environment) as program:
        kept = program.append("a", "b")
        path.rename(path.with_name("gone"))  # all of it is still reached, and wants a new file
        disk.order(calls, errno.EIO, match=match)
        assert all("error" in program.ask("append", ids=["no"]) for _ in range(4))
        program.kill()
    disk.heal()
    with running(path) as program:
        refused = "error" in program.opened
        assert not refused or "only 0 bytes of it are left" in program.opened["error"], (
            "nothing begins in its place"
        )
    if refused:
        path.with_name("gone").rename(path)
    # What was refused may be there after a kill: the page shows it first then, so that nobody scans it again.
    assert [name for name in held_after_restart(path) if name != "no"] == kept


def test_a_disk_that_takes_no_files_at_the_start_is_refused_in_words(disk: FailingDisk, path: Path) -> None:
    for calls, error in (
        (OPEN, errno.EACCES),
        (OPEN, errno.EIO),
        (ALLOCATE, errno.EIO),
        (TRUNCATE | SYNC, errno.EIO),
    ):
        disk.order(calls, error, match="journal.db")
        with running(path, environment=disk.environment) as program:
            assert str(path) in program.opened["error"] and not program.opened["damaged"], program.opened
    disk.heal()
    with running(path) as program:
        program.append("a")


def test_a_scan_waits_for_a_slow_disk_and_counts_once(
    program: JournalProgram, disk: FailingDisk, path: Path
) -> None:
    kept = program.append("a")
    disk.order(SYNC, match="-wal", delay_ms=3_000, times=1)
    program.begin("append", ids=["b"])
    assert program.answer() == {"sequence": 2}
    assert disk.hits == 1
    kept.append("b")
    assert program.held() == kept
    program.kill()
    assert held_after_restart(path) == kept


def test_a_program_that_is_killed_while_the_disk_does_not_answer_keeps_every_ok(
    program: JournalProgram, disk: FailingDisk, path: Path
) -> None:
    kept = program.append("a", "b")
    disk.order(SYNC, match="-wal", delay_ms=60_000)
    program.begin("append", ids=["c"])
    eventually(lambda: disk.hits, 20, "the sync has begun")
    program.kill()
    disk.heal()
    assert held_after_restart(path)[: len(kept)] == kept

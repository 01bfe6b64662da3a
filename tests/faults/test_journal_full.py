"""A disk that is full, read-only or gone. The promise: whatever got its OK is kept, whatever does not is refused with
words that help, nothing is deleted to make room, and it goes on by itself when the disk is well again.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.journals import (
    MIB,
    JournalProgram,
    disk_of_blocks,
    fill,
    held_after_restart,
    remount,
    running,
    small_disk,
)
from tests.support.wait import eventually


def until_refused(program: JournalProgram, *, size: int = 8_000) -> tuple[list[str], str]:
    """Scan until it refuses: what got its OK, and what the refusal says."""
    kept: list[str] = []
    while True:
        name = f"s{len(kept)}"
        answer = program.ask("append", ids=[name], size=size)
        if "error" in answer:
            return kept, answer["error"]
        kept.append(name)


def well(program: JournalProgram) -> Callable[[], bool]:
    return lambda: program.ask("state")["kind"] is None


def test_a_disk_that_fills_up_refuses_keeps_every_ok_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path, 56 * MIB) as disk,
        running(disk / "journal.db", ballast_bytes=4 * MIB) as program,
    ):
        filler = fill(disk, leave_bytes=2 * MIB)
        kept, text = until_refused(program)
        assert kept and "full" in text and "Make room" in text
        refused = [program.ask("append", ids=[f"no{n}"]) for n in range(3)]
        assert all("error" in answer for answer in refused), "and goes on refusing"
        assert filler.exists() and program.held() == kept
        state = program.ask("state")
        assert (state["kind"], state["refuses"], state["queued"]) == ("full", True, len(kept))
        filler.unlink()
        eventually(well(program), 20, "it mends itself, with nobody scanning")
        kept += program.append("after")
        assert program.held() == kept
        assert (disk / "journal.db.ballast").stat().st_blocks * 512 >= 4 * MIB, "the ballast is there again"
        program.kill()
        assert held_after_restart(disk / "journal.db") == kept


def test_on_a_full_disk_central_s_verdicts_are_still_written_down(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path, 80 * MIB) as disk,
        running(disk / "journal.db", ballast_bytes=32 * MIB) as program,
    ):
        fill(disk, leave_bytes=2 * MIB)
        kept, _ = until_refused(program)
        assert not (disk / "journal.db.ballast").exists(), "given up"
        verdicts = {name: sequence for sequence, name in enumerate(kept, 1)}
        eventually(lambda: "error" not in program.ask("settle", ids=verdicts), 20, "verdicts are written")
        assert program.ask("state")["queued"] == 0
        assert "error" in program.ask("append", ids=["no"]), "that room is not for scans"
        assert program.held() == kept
        program.kill()
        with running(disk / "journal.db", ballast_bytes=32 * MIB) as again:
            assert (again.ask("state")["queued"], again.held()) == (0, kept)


def test_an_agent_that_starts_on_a_full_disk_runs_in_the_room_of_its_ballast(tmp_path: Path) -> None:
    with small_disk(tmp_path, 80 * MIB) as disk:
        path = disk / "journal.db"
        with running(path, ballast_bytes=32 * MIB) as program:
            kept = program.append("a", "b")
        filler = fill(disk)
        with running(path, ballast_bytes=32 * MIB) as program:
            state = program.ask("state")
            assert (state["kind"], state["refuses"]) == ("full", True)
            assert program.held() == kept and "error" in program.ask("append", ids=["no"])
            assert "error" not in program.ask("settle", ids={})
            filler.unlink()
            eventually(well(program), 20, "it mends itself")
            kept += program.append("after")
        assert held_after_restart(path) == kept


def test_a_read_only_disk_is_refused_in_words_at_the_start_and_used_once_it_is_writable(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path, 80 * MIB) as disk:
        with running(disk / "journal.db") as program:
            kept = program.append("a")
        remount(disk, "ro")
        with running(disk / "journal.db") as program:
            assert "Read-only" in program.opened["error"] and "writable" in program.opened["error"]
            assert not program.opened["damaged"]
        remount(disk, "rw")
        assert held_after_restart(disk / "journal.db") == kept


def test_a_file_system_that_the_kernel_makes_read_only_is_refused_and_keeps_every_ok(tmp_path: Path) -> None:
    """As it does after an error: under open files, at any moment."""
    with disk_of_blocks(tmp_path, 64 * MIB) as disk:
        with running(disk.place / "journal.db") as program:
            kept = program.append("a", "b")
            disk.break_down()
            assert "error" in program.ask("append", ids=["no"])
            eventually(lambda: program.ask("state")["kind"] == "read-only", 20, "it knows why")
            assert "writable" in program.ask("append", ids=["no"])["error"]
            assert program.held() == kept
            program.kill()
        disk.repair()
        assert held_after_restart(disk.place / "journal.db") == kept


def test_a_data_directory_that_is_away_for_a_while_is_missed_and_used_again(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    with running(place / "journal.db") as program:
        kept = program.append("a", "b")
        place.rename(elsewhere)
        assert "error" in program.ask("append", ids=["no"])
        eventually(lambda: program.ask("state")["kind"] == "missing", 20, "it knows why")
        assert "Bring its directory back" in program.ask("append", ids=["no"])["error"]
        elsewhere.rename(place)
        eventually(well(program), 20, "it mends itself")
        kept += program.append("after")
        assert program.held() == kept
    assert held_after_restart(place / "journal.db") == kept


@pytest.mark.parametrize("gone", ["journal.db-wal", "journal.db", "both"])
def test_files_that_somebody_deletes_under_the_agent_get_their_names_again(tmp_path: Path, gone: str) -> None:
    path = tmp_path / "journal.db"
    with running(path) as program:
        kept = program.append("a", "b")
        for name in ("journal.db", "journal.db-wal") if gone == "both" else (gone,):
            (tmp_path / name).unlink()
        answer = program.ask("append", ids=["no"])
        assert "took the journal's file or its log away" in answer["error"]
        eventually(well(program), 20, "it mends itself")
        kept += program.append("after")
        assert program.held() == kept
        program.kill()
    assert held_after_restart(path) == kept


def test_a_journal_that_is_exchanged_under_the_agent_is_put_back_and_the_other_one_kept(
    tmp_path: Path,
) -> None:
    path, other = tmp_path / "journal.db", tmp_path / "other" / "journal.db"
    with running(other) as program:
        others = program.append("o")
    with running(path) as program:
        kept = program.append("a")
        other.replace(path)
        assert "error" in program.ask("append", ids=["no"])
        eventually(well(program), 20, "it mends itself")
        kept += program.append("after")
        aside = Path(program.ask("state")["moved_from"])
        assert program.held() == kept
    assert held_after_restart(path) == kept
    shutil.copy(aside, other)
    assert held_after_restart(other) == others


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with running(path) as first:
        kept = first.append("a")
        with running(path) as second:
            assert "another agent is using this journal" in second.opened["error"]
        kept += first.append("b")
        first.kill()
    assert held_after_restart(path) == kept, "the lock ends with its process"

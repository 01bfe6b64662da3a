"""The power goes at any moment, also after the disk failed. The promise: every scan that got its OK is there.

What the program really did to the disk is recorded, and the disk is built as it is at a moment: with nothing
of what was not synced, or with some sectors of it. After a failed sync the system takes what it had for
written, and it never was.
"""

import errno
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.journal import Journal
from tests.support.disk import SYNC, FailingDisk, Recording
from tests.support.journals import JournalProgram

MOMENTS = 30  # of some hundred; which ones is decided by the seed


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is possible: a log of 16 MB is written for each moment."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


async def all_ok_are_there(recording: Recording, folder: Path, seed: int) -> int:
    dice, moments, checked = random.Random(seed), len(list(recording.moments())), 0
    chosen = {*dice.sample(range(1, moments + 1), min(MOMENTS, moments)), moments}
    for moment in recording.moments():
        if moment.step not in chosen:
            continue
        for fate in (None, dice):
            place = folder / "after"
            place.mkdir()
            moment.lay_out(place, fate)
            journal = await Journal.open(place / "journal.db", agent="dock-1", site="lej1", ballast_bytes=0)
            held = {one.event.id for one in await journal.recent(10_000)}
            told = set(moment.text("told").split())
            await journal.close()
            assert told <= held, (
                f"seed {seed}, {moment.step}: {moment.what}: {sorted(told - held)} had their OK"
            )
            shutil.rmtree(place)
            checked += 1
    return checked


async def test_after_a_power_loss_at_any_moment_every_ok_is_there(folder: Path) -> None:
    watched = folder / "data"
    recording = Recording(folder, watched)
    program = JournalProgram(watched / "journal.db", ballast_bytes=0, environment=recording.environment)
    program.append(*(f"a{n}" for n in range(30)), size=300)
    program.append(*(f"b{n}" for n in range(40)), size=4_000, at_once=True)
    program.ask("settle", ids={f"a{n}": n + 1 for n in range(30)})
    program.append("c")
    program.kill()
    program = JournalProgram(watched / "journal.db", ballast_bytes=0, environment=recording.environment)
    program.append(*(f"d{n}" for n in range(10)))
    program.close()
    assert await all_ok_are_there(recording, folder, 1) > MOMENTS


@pytest.mark.parametrize("killed", [False, True], ids=["goes-on", "killed"])
async def test_after_a_failed_sync_and_a_power_loss_every_ok_is_there(folder: Path, killed: bool) -> None:
    """The next sync succeeds, and writes nothing of what the failed one had: what is appended to that must not count
    on it, neither in this process nor in the next.
    """
    watched, disk = folder / "data", FailingDisk(folder)
    recording = Recording(folder, watched, disk)
    program = JournalProgram(watched / "journal.db", ballast_bytes=0, environment=recording.environment)
    program.append(*(f"a{n}" for n in range(5)), size=300)
    disk.order(SYNC, errno.EIO, match="journal.db", times=1 if killed else 3)
    assert "error" in program.ask("append", ids=["no"], size=300)
    if killed:
        program.kill()
        program = JournalProgram(watched / "journal.db", ballast_bytes=0, environment=recording.environment)
    else:
        disk.heal()
    program.append(*(f"b{n}" for n in range(10)), size=300)
    program.kill()
    assert await all_ok_are_there(recording, folder, 2) > 0

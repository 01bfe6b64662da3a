"""A journal's file or log that is torn, cut, gone, or not a journal. The promise: every scan that got its OK can be
read, or the journal refuses and leaves everything as it is; a new one begins on the operator's word alone, with what
can be read.

One thing cannot be told from a power loss: damage at the end of the log with no more than its last commit behind it.
"""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sync.journal import Journal, JournalError, salvage
from sync.journal.files import LOG_BYTES
from sync.journal.recorded import JournalDamaged
from tests.support.journals import ROOT, JournalProgram

FRAME = 24 + 4096
NAMES = ("journal.db", "journal.db-wal", "journal.db.lock")


@dataclass
class Killed:
    """A journal whose program was killed, and what got its OK in it."""

    folder: Path
    in_file: list[str]
    in_log: list[str]

    @property
    def path(self) -> Path:
        return self.folder / "journal.db"

    @property
    def log(self) -> Path:
        return self.folder / "journal.db-wal"

    def contents(self) -> dict[str, bytes]:
        found = {name: self.folder / name for name in NAMES}
        return {
            name: file.read_bytes() for name, file in found.items() if file.exists() and file.stat().st_size
        }

    async def held(self) -> list[str]:
        journal = await Journal.open(self.path, agent="dock-1", site="lej1", ballast_bytes=0)
        try:
            return [one.event.id for one in reversed(await journal.recent(10_000))]
        finally:
            await journal.close()

    async def refuses(self) -> str:
        """Its words; nothing of the journal has changed."""
        before = self.contents()
        with pytest.raises(JournalDamaged) as refusal:
            await self.held()
        assert self.contents() == before and "tallyman journal replace" in str(refusal.value)
        return str(refusal.value)

    def replace(self) -> salvage.Replaced:
        return salvage.replace(self.path, agent="dock-1", site="lej1", random_bytes=os.urandom)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    program = JournalProgram(folder / "journal.db", ballast_bytes=0)
    in_file = program.append(*(f"f{n}" for n in range(600)), size=400, at_once=True)
    program.close()
    program = JournalProgram(folder / "journal.db", ballast_bytes=0)
    in_log = program.append(*(f"l{n}" for n in range(20)), size=400)
    program.kill()
    return Killed(folder, in_file, in_log)


@pytest.fixture
def killed(original: Killed, tmp_path: Path) -> Killed:
    for name in NAMES:
        shutil.copy(original.folder / name, tmp_path / name)
    return Killed(tmp_path, original.in_file, original.in_log)


async def test_what_a_killed_program_left_is_all_there(killed: Killed) -> None:
    assert await killed.held() == killed.in_file + killed.in_log


async def test_a_torn_log_is_refused_or_all_there(original: Killed, killed: Killed) -> None:
    dice, log = random.Random(1), original.log.read_bytes()
    used = len(log.rstrip(b"\0"))
    last = used - used % FRAME  # the last commit is one or two frames
    refused = 0
    for offset in (0, 9, 17, 25, 33, *sorted(dice.sample(range(used), 15))):
        torn = bytearray(log)
        torn[offset : offset + 8] = bytes(byte ^ 0xA5 for byte in torn[offset : offset + 8])
        killed.log.write_bytes(torn)
        try:
            held = await killed.held()
        except JournalDamaged:
            refused += 1
            assert killed.log.read_bytes() == torn
        else:
            lost = len(killed.in_log) - len(set(held) & set(killed.in_log))
            assert set(killed.in_file) <= set(held) and lost <= (offset > last - 2 * FRAME), (
                f"at {offset} of {used}"
            )
        for name in NAMES:
            shutil.copy(original.folder / name, killed.folder / name)
    assert refused > 12
    assert await killed.held() == killed.in_file + killed.in_log


async def test_a_log_that_was_cut_short_or_deleted_is_missed_and_welcome_back(
    original: Killed, killed: Killed
) -> None:
    for length in (LOG_BYTES - 1, 1_000_000, 40 * FRAME, FRAME + 32, 32, 1, 0):
        with killed.log.open("r+b") as file:
            file.truncate(length)
        text = await killed.refuses()
        assert "is cut short to" in text or "is gone" in text
    killed.log.unlink()
    assert "journal.db-wal is gone" in await killed.refuses()
    shutil.copy(original.log, killed.log)
    assert await killed.held() == killed.in_file + killed.in_log


async def test_a_new_journal_without_its_log_begins_with_what_the_file_has(killed: Killed) -> None:
    killed.log.unlink()
    done = killed.replace()
    assert (done.entered, done.unreadable) == (len(killed.in_file), 0)
    assert await killed.held() == killed.in_file


async def test_a_new_journal_after_a_torn_log_begins_with_what_lies_on_both_sides_of_the_hole(
    killed: Killed,
) -> None:
    with killed.log.open("r+b") as file:
        file.seek(32 + 12 * FRAME + 100)
        file.write(b"torn")
    assert "has a hole in it" in await killed.refuses()
    killed.replace()
    held = await killed.held()
    assert set(killed.in_file) <= set(held) and "l0" in held and "l19" in held
    assert len(held) >= len(killed.in_file) + len(killed.in_log) - 5, "a page holds some events"


async def test_a_file_that_was_cut_short_is_refused_and_gives_what_is_left(
    original: Killed, killed: Killed
) -> None:
    whole = original.path.read_bytes()
    for length in (len(whole) - 4096, len(whole) // 2, 40_000, 4096 * 5 + 7, 600, 100):
        killed.path.write_bytes(whole[:length])
        killed.log.unlink(missing_ok=True)
        killed.path.with_name("journal.db.lock").write_bytes(b"")
        await killed.refuses()
        done = killed.replace()
        held = await killed.held()
        assert set(held) <= set(killed.in_file) and len(held) == done.entered
        # Four events a page; what is left of a small part of the file may lack the way to its pages.
        assert done.entered >= (length - 16_384) // 4096 * 4 or length < len(whole) // 3
        assert done.aside.read_bytes() == whole[:length]


async def test_a_file_that_was_emptied_is_refused_and_its_log_survives_who_looks_and_gives_what_it_has(
    original: Killed, killed: Killed
) -> None:
    command = [sys.executable, "-m", "tallyman", "journal", "status", "--data-dir", str(killed.folder)]
    for length in (0, 1):
        for name in NAMES:
            shutil.copy(original.folder / name, killed.folder / name)
        os.truncate(killed.path, length)
        look = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert look.returncode == 1 and f"only {length} bytes of it are left. It is damaged" in look.stderr
        assert f"only {length} bytes of it are left" in await killed.refuses()
        done = killed.replace()
        held = await killed.held()
        assert len(held) == done.entered and set(held) >= set(killed.in_log)
        assert Path(f"{done.aside}-wal").stat().st_size == LOG_BYTES, "its log is kept with it"


async def test_garbage_in_the_file_is_refused_and_all_around_it_is_found(
    original: Killed, killed: Killed
) -> None:
    whole, dice = original.path.read_bytes(), random.Random(2)
    for page in (8, 9, 30, 60, len(whole) // 4096 - 1):
        spoiled = bytearray(whole)
        spoiled[page * 4096 : (page + 1) * 4096] = dice.randbytes(4096)
        killed.path.write_bytes(spoiled)
        killed.log.unlink(missing_ok=True)
        killed.path.with_name("journal.db.lock").write_bytes(b"")
        await killed.refuses()
        done = killed.replace()
        held = await killed.held()
        assert len(held) == done.entered >= len(killed.in_file) - 20, "a page holds some events"
        assert set(held) <= set(killed.in_file)


async def test_a_file_that_is_nothing_but_garbage_is_kept_and_its_log_still_gives_what_it_has(
    killed: Killed,
) -> None:
    killed.path.write_bytes(b"nothing of a journal " * 1000)
    await killed.refuses()
    done = killed.replace()
    assert done.aside.read_bytes() == b"nothing of a journal " * 1000
    assert Path(f"{done.aside}-wal").stat().st_size == LOG_BYTES, "its log is kept with it"
    held = await killed.held()
    assert len(held) == done.entered and set(held) >= set(killed.in_log)


async def test_the_database_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE invoices (number INTEGER PRIMARY KEY)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="of another program, with the tables invoices"):
        await Journal.open(path, agent="dock-1", site="lej1")
    assert path.read_bytes() == before


async def test_the_operator_s_word_is_a_command_that_says_what_it_did(killed: Killed) -> None:
    def command() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tallyman", "journal", "replace", "--config", str(config)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    config = killed.folder / "agent.toml"
    config.write_text(
        f'[agent]\nid = "dock-1"\nsite = "lej1"\ndata_dir = "{killed.folder}"\n'
        '[mqtt]\nurl = "mqtt://127.0.0.1:1"\n[http]\nlisten = "127.0.0.1:0"\n'
        '[[stations]]\nname = "dock"\ndevices = []\nworkflow = "receive"\nlocation = "DOCK-1"\n'
    )
    sound = command()
    assert sound.returncode == 1 and "this journal is sound. Nothing was changed" in sound.stderr
    assert await killed.held() == killed.in_file + killed.in_log
    with killed.path.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"x" * 4096)
    await killed.refuses()
    done = command()
    assert done.returncode == 0, done.stderr
    assert (
        "is kept:" in done.stderr
        and "journal.db.damaged-1" in done.stderr
        and "could not be read: " in done.stderr
    )
    held = await killed.held()
    assert len(held) >= len(killed.in_file) + len(killed.in_log) - 20
    missing = killed.folder / "missing"
    config.write_text(config.read_text().replace(str(killed.folder), str(missing)))
    assert "there is no journal" in command().stderr

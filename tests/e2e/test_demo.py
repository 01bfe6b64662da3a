"""The demo proves itself, its proof can fail, and it leaves nothing behind."""

import asyncio
import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulators.demo import main, stage, warehouse
from simulators.demo.show import Show
from simulators.demo.stage import Stage
from simulators.demo.story import Story

ROOT = Path(__file__).parents[2]
MOMENT = re.compile(r"^ *([0-9.]+) s  +(.*)$", re.MULTILINE)
PROOF = re.compile(r"✓ scanned = OK'd = recorded, 0 lost, 0 twice \((\d+) = (\d+) = (\d+)\)")


def programs_with(mark: Path) -> list[int]:
    """Running processes in whose environment or command line this path stands."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        if int(place.name) == os.getpid():
            continue
        try:
            if str(mark).encode() in (place / "environ").read_bytes() + (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def assert_nothing_is_left(mark: Path) -> None:
    deadline = time.monotonic() + 5
    while programs_with(mark):
        assert time.monotonic() < deadline, programs_with(mark)
        time.sleep(0.05)


def pseudo_terminals() -> set[str]:
    """Those that this process holds open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith(("/dev/ptmx", "/dev/pts/")):
            found.add(f"{link.name} {target}")
    return found


@pytest.fixture
def clean(tmp_path):
    """A folder; afterwards no program that knows it runs, and no pseudo-terminal of the demo is open."""
    before = pseudo_terminals()
    yield tmp_path
    assert_nothing_is_left(tmp_path)
    assert pseudo_terminals() == before


@pytest.fixture
def marked(tmp_path, monkeypatch):
    """Every program that is started has this folder in its environment."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_the_whole_demo_proves_itself(clean, marked):
    ran = subprocess.run(
        [sys.executable, "-m", "tallyman", "demo", "--exit"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    proof = PROOF.search(ran.stdout)
    assert proof is not None, ran.stdout
    assert proof.groups() == ("114", "114", "114")
    assert (
        "received at gate-1: 50 scanned, 50 OK'd, 50 recorded (600 units handled, 600 in the books)"
        in ran.stdout
    )
    for way, tally in (("out", "outward"), ("in", "duplicate")):
        told = re.search(rf"{way} again, the screen says: .*?(\d+) {tally}", ran.stdout)
        assert told is not None, ran.stdout
        assert int(told[1]) >= 40, "a busy machine misses some"
    for said in ("is cut", "SIGKILL", "is whole again", "without its memory", "dashboard", "sign in with"):
        assert said in ran.stdout
    assert "\x1b" not in ran.stdout
    moments = {what: float(when) for when, what in MOMENT.findall(ran.stdout)}
    assert moments[proof[0]] - moments["they are up:"] < 60
    assert list(marked.iterdir()) == []


def quick(folder: Path, before_proof, *, exit_when_proven: bool = True, show=Show) -> tuple[int, str]:
    """A short demo: (status, what it said)."""
    said = io.StringIO()
    status = main(
        exit_when_proven,
        folder=folder / "demo",
        plan=warehouse.short_plan(),
        before_proof=before_proof,
        show=show(said),
    )
    return status, said.getvalue()


class InterruptedWhenServing(Show):
    """Presses Ctrl-C when the demo says that it keeps running."""

    def plain(self, text: str = "") -> None:
        super().plain(text)
        if text.startswith("Everything keeps running"):
            signal.raise_signal(signal.SIGINT)


def test_movements_that_vanish_from_the_ledger_are_named_one_of_the_dock_and_one_of_the_gate(clean, marked):
    """And without --exit it serves on, until Ctrl-C."""
    victims: dict[str, str] = {}

    async def delete_movements(stage: Stage, story: Story) -> None:
        passed = next(one for one in story.handled if one.station == "gate-1")
        for one in (story.dock.handled[1], passed):
            victims[one.event_id] = one.goods.label.text
            async with asyncio.timeout(20):
                while not _deleted_from_ledger(stage.database, one.event_id):
                    await asyncio.sleep(0.1)

    status, said = quick(clean, delete_movements, exit_when_proven=False, show=InterruptedWhenServing)
    assert status == 1, said
    assert "2 lost, 0 twice" in said
    for event, code in victims.items():
        assert f"lost: event {event}, code {code}" in said
    assert said.count("not in central's movements") == 2
    assert "Ending all programs" in said


def _deleted_from_ledger(database: Path, event_id: str) -> bool:
    with sqlite3.connect(database, timeout=10) as ledger:
        row = ledger.execute("SELECT number FROM movement WHERE event_id = ?", (event_id,)).fetchone()
        if row is not None:
            ledger.execute("DELETE FROM entry WHERE movement = ?", row)
            ledger.execute("DELETE FROM movement WHERE number = ?", row)
    ledger.close()
    return row is not None


def test_a_scan_that_vanishes_from_the_journal_is_named(clean, marked):
    """Its OK was shown; before it could be sent, somebody deletes it from the disk."""
    victim: dict[str, str] = {}

    async def delete_a_scan(stage: Stage, story: Story) -> None:
        await stage.cable.cut()
        one = await story.dock.handle(warehouse.piece(warehouse.IN_PIECES[0]))
        victim.update(event=one.event_id, code=one.goods.label.text)
        # While its agent has it open: who closes a journal last takes its log along, and that would be noticed.
        with sqlite3.connect(stage.dock.journal, timeout=10) as journal:
            newest = "key = (SELECT max(key) FROM event)"
            (text,) = journal.execute(f"SELECT text FROM event WHERE {newest}").fetchone()
            assert one.event_id.encode() in bytes(text)
            journal.execute(f"DELETE FROM event WHERE {newest}")
        journal.close()
        await stage.dock.program.kill()
        stage.dock.program.start()
        await stage.ready(stage.dock)
        stage.cable.heal()

    status, said = quick(clean, delete_a_scan)
    assert status == 1, said
    assert "1 lost, 0 twice" in said
    assert f"lost: event {victim['event']}, code {victim['code']}" in said
    assert "not in central's movements nor in the station's list" in said
    assert (clean / "demo" / "logs" / "central.log").exists()


def test_without_mosquitto_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(stage, "MOSQUITTO_PLACES", str(tmp_path))
    assert main(True, folder=tmp_path / "demo") == 1
    assert capsys.readouterr().err == (
        "tallyman demo: mosquitto is not installed. Install it with: sudo apt install mosquitto\n"
    )
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_is_in_use_is_refused(tmp_path, capsys):
    (tmp_path / "journal.db").write_text("precious")
    assert main(True, folder=tmp_path) == 2
    assert "name a directory that is new or empty" in capsys.readouterr().err

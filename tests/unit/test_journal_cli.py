"""What `tallyman journal` says of a journal: whole, empty, at work, damaged, and not there."""

import asyncio
import itertools
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent import journal_cli
from service.config import ConfigError
from service.process import Failure
from sync.engine import Record
from sync.journal import Draft, Journal, proof, survey
from sync.journal.layout import SEQUENCE_BITS
from sync.journal.survey import Room
from sync.messages import Verdict

Say = Callable[..., str]
numbers = itertools.count(1)


def draft(id_: str | None = None, **data: Any) -> Draft:
    return Draft(
        id_ or f"e{next(numbers)}",
        "tallyman.received.v1",
        "2026-11-20T08:15:30Z",
        {"sku": "SKU-1", "quantity": 12, "to_location": "DOCK-2", "document": "PO-1", **data},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    now_ms = itertools.count(1_763_626_530_123, 1000)
    opened = await Journal.open(path, agent="dock-2", site="lej1", now_ms=lambda: next(now_ms))
    yield opened
    if not opened._closed:
        await opened.close()


async def accept(journal: Journal, first: int, last: int, *, safe: int | None = None) -> None:
    held = await journal.read(journal.incarnation, first, last)
    verdicts = tuple(
        (journal.incarnation, Verdict(sequence=n, id=id_, outcome="accepted", movement=n))
        for n, id_, _ in held
    )
    streams = ((journal.incarnation, last, last if safe is None else safe, True),)
    await journal.record(Record(history="H1", streams=streams, verdicts=verdicts))


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def told(capsys: pytest.CaptureFixture[str], wanted: int, answer: int) -> tuple[str, str]:
    assert answer == wanted
    out, err = capsys.readouterr()
    return out, err


# --- which journal ---------------------------------------------------------------------------------------


def test_it_is_named_by_a_configuration_or_a_directory_and_by_one_of_them(tmp_path: Path) -> None:
    assert journal_cli.journal_of(None, tmp_path) == tmp_path / "journal.db"
    for both in ((None, None), (tmp_path, tmp_path)):
        with pytest.raises(journal_cli.WrongUse, match=r"--config agent.toml, or --data-dir"):
            journal_cli.journal_of(*both)
    with pytest.raises(ConfigError):
        journal_cli.journal_of(tmp_path / "no.toml", None)


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (None, "there is no journal. An agent makes it"),
        (["CREATE TABLE other (x)"], "another program's database"),
        (
            ["UPDATE meta SET value = '1' WHERE name = 'format'"],
            "format 1, .* brought up when this program's agent",
        ),
        (["UPDATE meta SET value = '9' WHERE name = 'format'"], "format 9, .* Use the program that wrote it"),
        (["DELETE FROM meta"], "has format ,"),
    ],
)
async def test_what_is_no_journal_of_this_format_is_said_so(
    path: Path, journal: Journal, statements: list[str] | None, text: str
) -> None:
    await journal.close()
    if statements is None or statements[0].startswith("CREATE"):
        path.unlink()
    change(path, *statements) if statements else None
    with pytest.raises(Failure, match=text):
        journal_cli.status(path, as_json=False)


def test_what_is_no_database_is_said_so(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(
        Failure, match=r"cannot be read .file is not a database.*It is damaged. Copy its directory"
    ):
        journal_cli.tail(path, number=1, follow=False, as_json=False)
    path.unlink()
    path.mkdir()
    with pytest.raises(Failure, match=r"cannot be read .*Check the disk"):
        journal_cli.tail(path, number=1, follow=False, as_json=False)
    with pytest.raises(Failure, match=r"cannot be looked at .*Run this as the user that the agent runs as"):
        journal_cli.tail(path.with_name("x" * 300), number=1, follow=False, as_json=False)
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    assert f"user that the agent runs as (this is uid {os.geteuid()})" in str(survey.unreadable(path, error))


# --- status ------------------------------------------------------------------------------------------------


async def test_status_of_a_new_journal(
    journal: Journal, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = told(capsys, 0, journal_cli.status(path, as_json=False))
    assert f"agent    dock-2; in use by process {os.getpid()}" in out
    assert "central  has not answered yet" in out
    assert "0 kept\n" in out and "last one recorded" not in out
    assert "600 bytes each, assumed); the hours can be told when it has recorded for a while" in out
    assert "none of 0" in out and out.rstrip().endswith("current")


async def test_status_of_a_journal_at_work(
    journal: Journal, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(150):
        await journal.append([draft()])
    await accept(journal, 1, 148, safe=100)
    out, _ = told(capsys, 0, journal_cli.status(path, as_json=False))
    assert "central  history H1" in out
    assert "150 kept since 2025-11-20T08:15:" in out
    assert "queued   2 without a verdict, the oldest since 2025-11-20T08:" in out
    assert "of scanning at the usual 3,624 events an hour" in out, "150 in 149 seconds, by their times"
    told_json = json.loads(told(capsys, 0, journal_cli.status(path, as_json=True))[0])
    assert (told_json["events"], told_json["queued"], told_json["agent"]) == (150, 2, "dock-2")
    assert told_json["incarnations"] == [
        {
            "incarnation": journal.incarnation,
            "current": True,
            "first_kept": 1,
            "last_sequence": 150,
            "events": 150,
            "queued": 2,
            "acked": 148,
            "safe": 100,
            "answered": True,
            "left": False,
        }
    ]
    room = told_json["room"]
    assert room["measured"] and 300 < room["bytes_per_event"] < 1500
    assert room["hours"] == pytest.approx(room["usable_bytes"] / room["bytes_per_event"] / 3624, rel=0.01)
    assert told_json["ballast"] == "held" and told_json["in_use_by"] == os.getpid()


async def test_hours_follow_from_the_time_the_agent_ran_and_its_busiest_stretch(
    journal: Journal, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = journal._store.keep
    for at, count in ((0, 0), (3600, 100), (7200, 500), (10800, 0)):
        await journal.append([draft() for _ in range(count)])
        await journal._ask(lambda at=at: keep(at, retention_s=86_400, keep_newest=0), alone=True)
    room = json.loads(told(capsys, 0, journal_cli.status(path, as_json=True))[0])["room"]
    assert (room["events_per_hour"], room["busiest_per_hour"]) == (200.0, 500.0)
    assert room["hours"] == pytest.approx(2.5 * room["busiest_hours"], rel=0.01)
    out, _ = told(capsys, 0, journal_cli.status(path, as_json=False))
    assert "at the usual 200 events an hour" in out and "at the busiest, 500 an hour" in out


async def test_status_lists_the_newest_incarnations_and_what_is_kept_aside(
    journal: Journal, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await journal.append([draft(), draft()])
    await accept(journal, 1, 1, safe=0)
    left = journal.incarnation
    await journal.reenter(left)
    await journal.close()
    (path.parent / "journal.db.ballast").unlink()
    (path.parent / "journal.db.damaged-1").touch()
    change(path, "DELETE FROM meta WHERE name = 'agent'")
    out, _ = told(capsys, 0, journal_cli.status(path, as_json=False))
    assert "agent    ?; not in use by an agent" in out and "ballast given up: is the disk full?" in out
    assert f"aside    {path}.damaged-1 is kept" in out
    assert [line.split()[-1] for line in out.splitlines()[-2:]] == ["left", "current"]
    change(path, *(f"INSERT INTO incarnation (number, id) VALUES ({n}, 'x{n}')" for n in range(3, 30)))
    out, _ = told(capsys, 0, journal_cli.status(path, as_json=False))
    assert "and 9 older incarnations; --json lists them all" in out
    change(path, "DELETE FROM incarnation")
    assert "no agent has used it yet" in told(capsys, 0, journal_cli.status(path, as_json=False))[0]


def test_hours_are_told_with_sense() -> None:
    assert [journal_cli._hours(hours) for hours in (3.14, 1234.5, 5e6)] == [
        "3.1 hours",
        "1,234 hours",
        "more than 100,000 hours",
    ]
    assert [journal_cli._size(size) for size in (0, 28_672, 2_500_000, 3_210_000_000)] == [
        "0 bytes",
        "28.7 kB",
        "2.5 MB",
        "3.2 GB",
    ]
    assert Room(600, 600, True, None, None).hours(None) is None


def test_a_lock_that_nobody_may_see_is_no_lock(tmp_path: Path) -> None:
    assert survey._holder(tmp_path / "no.lock") is None
    (tmp_path / "free.lock").touch()
    assert survey._holder(tmp_path / "free.lock") is None


async def test_a_table_that_is_not_there_is_said_so(journal: Journal, path: Path) -> None:
    await journal.close()
    change(path, "DROP TABLE mark")
    with pytest.raises(Failure, match=r"cannot be read .no such table: mark.*Check the disk"):
        journal_cli.status(path, as_json=False)


# --- tail --------------------------------------------------------------------------------------------------


async def test_tail_shows_what_when_where_and_what_central_said(
    journal: Journal, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = told(capsys, 0, journal_cli.tail(path, number=10, follow=False, as_json=False))
    assert (out, err) == ("", f"tallyman: {path}: no events are kept\n")
    await journal.append([draft("a"), draft("b", sku=None, quantity=1, gtin="095\x1b[2J"), draft("c")])
    conflict = Verdict(sequence=1, id="a", outcome="discrepant", reason="unknown item", movement=7)
    await journal.record(Record(verdicts=((journal.incarnation, conflict),)))
    out, _ = told(capsys, 0, journal_cli.tail(path, number=2, follow=False, as_json=False))
    i = journal.incarnation[:8]
    lines = out.splitlines()
    assert len(lines) == 2 and "\x1b" not in out, "a label is no command to the terminal"
    assert lines[1].endswith(f"Z  {i}/3      received    SKU-1 × 12  DOCK-2 PO-1  waits for central")
    out, _ = told(capsys, 0, journal_cli.tail(path, number=3, follow=False, as_json=False))
    assert out.splitlines()[0].endswith("discrepant (unknown item)")
    change(path, f"UPDATE event SET text = x'ff' WHERE key = {(1 << SEQUENCE_BITS) + 3}")
    out, _ = told(capsys, 0, journal_cli.tail(path, number=1, follow=False, as_json=False))
    assert f"{i}/3      cannot be read; tallyman journal verify says more" in out
    first, _, third = (
        json.loads(line)
        for line in told(capsys, 0, journal_cli.tail(path, number=3, follow=False, as_json=True))[
            0
        ].splitlines()
    )
    assert (first["sequence"], first["outcome"], first["movement"], first["event"]["id"]) == (
        1,
        "discrepant",
        7,
        "a",
    )
    assert (third["event"], third["unreadable"]) == (None, "/w==")
    assert told(capsys, 0, journal_cli.tail(path, number=0, follow=False, as_json=False)) == ("", "")


async def test_tail_follows_what_comes_until_it_is_interrupted(
    journal: Journal, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await journal.append([draft("a"), draft("b")])
    loop, naps = asyncio.get_running_loop(), itertools.count()

    async def scan() -> None:
        await journal.append([draft()])

    def nap(_: float) -> None:
        if next(naps) == 3:
            raise KeyboardInterrupt
        asyncio.run_coroutine_threadsafe(scan(), loop).result(30)

    monkeypatch.setattr(journal_cli.time, "sleep", nap)
    wishes = {"number": 0, "follow": True, "as_json": True}
    out, err = told(capsys, 0, await asyncio.to_thread(journal_cli.tail, path, **wishes))
    assert [json.loads(line)["sequence"] for line in out.splitlines()] == [3, 4, 5] and err == ""


async def test_tail_says_when_the_journal_goes_on_in_another_file(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await journal.close()
    monkeypatch.setattr(
        journal_cli.time, "sleep", lambda _: path.rename(path.with_name("journal.db.failing-1"))
    )
    with pytest.raises(Failure, match=r"has got another file. Start this again"):
        journal_cli.tail(path, number=1, follow=True, as_json=False)


# --- verify ------------------------------------------------------------------------------------------------


@pytest.fixture
async def used(journal: Journal, path: Path) -> Path:
    """Two incarnations: one left with missing places and holes, one at work; closed."""
    await journal.append([draft() for _ in range(8)])
    old = journal.incarnation
    await accept(journal, 1, 6, safe=4)
    await journal.reenter(old)
    await journal.append([draft() for _ in range(5)])
    await accept(journal, 2, 3)
    await journal.close()
    return path


def key(number: int, sequence: int) -> int:
    return (number << SEQUENCE_BITS) + sequence


async def test_a_sound_journal_is_said_to_be_sound(used: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(capsys, 0, journal_cli.verify(used, as_json=False))
    assert (out, err) == (f"{used}: sound, 13 events\n", "")
    found = json.loads(told(capsys, 0, journal_cli.verify(used, as_json=True))[0])
    assert found == {"journal": str(used), "sound": True, "events": 13, "wrong": 0, "found": []}


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        (f"DELETE FROM event WHERE key = {key(2, 4)}", "events are missing: 4"),
        (f"DELETE FROM event WHERE key IN ({key(2, 4)}, {key(2, 5)})", "events are missing: 4 to 5"),
        (
            f"DELETE FROM event WHERE key = {key(2, 9)}; UPDATE incarnation SET last = 9 WHERE number = 2",
            "events are missing: 9 to 9, the last",
        ),
        (f"DELETE FROM event WHERE key = {key(1, 3)}", "places hold no event, and"),
        (f"UPDATE event SET text = '{{}}' WHERE key = {key(2, 4)}", "its text cannot be read"),
        (
            f"UPDATE event SET text = (SELECT text FROM event WHERE key = {key(2, 5)}) WHERE key = {key(2, 4)}",
            "00000000000000000005",
        ),
        (f"UPDATE event SET outcome = 7 WHERE key = {key(2, 2)}", "outcome 7 is none"),
        (f"UPDATE event SET outcome = 3 WHERE key = {key(2, 2)}", "in conflict, and not counted so"),
        (f"UPDATE event SET outcome = NULL WHERE key = {key(2, 2)}", "have a verdict and lacks it"),
        (f"UPDATE event SET outcome = 0 WHERE key = {key(2, 1)}", "lack a verdict and has one"),
        ("DELETE FROM hole", "lack"),
        ("UPDATE incarnation SET safe = 3, acked = 2 WHERE number = 2", "safe 3 is above acked 2"),
        ("UPDATE incarnation SET judged = 99 WHERE number = 2", "a verdict at 99 is above its last event"),
        ("UPDATE incarnation SET missing = -1 WHERE number = 2", "-1 places are missing"),
        ("UPDATE incarnation SET missing = 99 WHERE number = 2", "it holds -90 events"),
        (f"INSERT INTO hole VALUES ({key(2, 7)}, {key(2, 8)})", "are not below"),
        ("DELETE FROM incarnation WHERE number = 1", "rows of an incarnation that is not known"),
        (f"INSERT INTO voided VALUES ({key(7, 1)}, 'x')", "table voided has rows of an incarnation"),
        ("the same id twice", "/8 too"),
        (
            f"UPDATE event SET text = CAST(text AS BLOB) || CAST('{' ' * 20_000}' AS BLOB) WHERE key = {key(2, 4)}",
            "more than the 16384 allowed",
        ),
    ],
)
async def test_each_thing_that_is_wrong_is_found_and_named(
    used: Path, capsys: pytest.CaptureFixture[str], statement: str, wanted: str
) -> None:
    if statement == "the same id twice":
        connection = sqlite3.connect(used)
        [(text,)] = connection.execute("SELECT text FROM event WHERE key = ?", (key(2, 5),)).fetchall()
        [(other,)] = connection.execute("SELECT text FROM event WHERE key = ?", (key(2, 8),)).fetchall()
        event, twin = json.loads(text), json.loads(other)
        event["id"] = twin["id"]
        connection.execute("UPDATE event SET text = ? WHERE key = ?", (json.dumps(event).encode(), key(2, 5)))
        connection.commit()
        connection.close()
    else:
        change(used, *statement.split(";"))
    out, err = told(capsys, 1, journal_cli.verify(used, as_json=False))
    assert wanted in out
    assert "Copy the whole data directory to a safe place before anything else" in err
    assert wanted in json.dumps(
        json.loads(told(capsys, 1, journal_cli.verify(used, as_json=True))[0])["found"]
    )


async def test_a_damaged_page_is_found(used: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(used)
    roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    connection.close()
    content = bytearray(used.read_bytes())
    at = (roots["incarnation"] - 1) * size + 8  # its two rows, the wrong way round
    content[at : at + 4] = content[at + 2 : at + 4] + content[at : at + 2]
    used.write_bytes(content)
    out, _ = told(capsys, 1, journal_cli.verify(used, as_json=False))
    assert "file: the file is damaged: " in out and "out of order" in out
    at = (roots["event"] - 1) * size
    content[at : at + 12] = bytes(12)
    used.write_bytes(content)
    out, _ = told(capsys, 1, journal_cli.verify(used, as_json=False))
    assert "file: it cannot be read any further: database disk image is malformed\n" in out


async def test_of_many_faults_the_first_are_shown(
    used: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_cli, "MOST_FOUND", 2)
    monkeypatch.setattr(journal_cli, "PROGRESS_S", 0.0)
    change(used, "UPDATE event SET text = 'x'")
    out, err = told(capsys, 1, journal_cli.verify(used, as_json=False))
    assert len(out.splitlines()) == 2
    assert "13 things are wrong, of which 2 are shown" in err
    assert "… 0 events looked at" in err and "… comparing ids" not in out


async def test_events_that_come_while_it_looks_are_no_fault(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "CHUNK", 3)
    await journal.append([draft() for _ in range(10)])
    await accept(journal, 1, 10)
    looks, loop = itertools.count(), asyncio.get_running_loop()

    async def go_on(look: int) -> None:
        await journal.append([draft()])
        await journal._ask(lambda: journal._store.keep(0, retention_s=0, keep_newest=0, most=2), alone=True)
        if look == 2:
            await journal.record(Record(forget_above=((journal.incarnation, 8),)))
        if look == 3:  # what was looked at stands elsewhere from now on
            await journal.record(Record(streams=((journal.incarnation, 10, 0, True),)))
            await journal.reenter(journal.incarnation)

    def meanwhile(_: str) -> None:
        if (look := next(looks)) < 4:  # between two looks the agent prunes what is next, and records more
            asyncio.run_coroutine_threadsafe(go_on(look), loop).result(30)

    def look_through() -> list[proof.Fault]:
        with survey.Survey(path) as opened:
            looking = proof.Proof(opened.connection(), meanwhile)
            try:
                return list(looking.faults())
            finally:
                looking.close()

    assert await asyncio.to_thread(look_through) == []
    assert next(looks) > 4


# --- export ------------------------------------------------------------------------------------------------


async def test_export_writes_a_whole_file_and_replaces_none(
    used: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wishes: dict[str, Any] = {"since": None, "incarnation": "", "unsettled": False}
    target = tmp_path / "events.jsonl"
    _, err = told(capsys, 0, journal_cli.export(used, output=target, form="jsonl", **wishes))
    assert err == f"tallyman: 13 events written to {target}\n"
    records = [json.loads(line) for line in target.read_text().splitlines()]
    assert [record["sequence"] for record in records] == [1, 2, 3, 4, *range(1, 10)]
    assert records[0]["event"]["sequence"] == "00000000000000000001" and records[0]["outcome"] == "accepted"
    with pytest.raises(Failure, match=r"there is such a file already.*nothing is overwritten"):
        journal_cli.export(used, output=target, form="jsonl", **wishes)
    batch = tmp_path / "batch.json"
    wishes["unsettled"] = True
    told(capsys, 0, journal_cli.export(used, output=batch, form="cloudevents", **wishes))
    assert [event["sequence"][-2:] for event in json.loads(batch.read_text())] == [
        "01",
        *[f"0{n}" for n in range(4, 10)],
    ]
    assert (
        sorted(file.name for file in tmp_path.iterdir() if "export" in file.name or file.name.startswith("."))
        == []
    )


async def test_export_chooses_by_time_and_incarnation(
    used: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    def lines(**wishes: Any) -> list[Any]:
        wishes = {"since": None, "incarnation": "", "unsettled": False, **wishes}
        assert journal_cli.export(used, output=None, form="jsonl", **wishes) == 0
        return [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]

    first = lines()[0]
    of_first = lines(incarnation=first["incarnation"][:6])
    assert [one["sequence"] for one in of_first] == [1, 2, 3, 4]
    later = lines()[-1]["recorded_at"]
    assert [one["sequence"] for one in lines(since=later)] == [5, 6, 7, 8, 9]
    assert lines(since="2999-01-01") == []
    with pytest.raises(Failure, match="no incarnation begins with zz"):
        lines(incarnation="zz")
    with pytest.raises(journal_cli.WrongUse, match="--since is a day or a time"):
        lines(since="yesterday")
    with pytest.raises(journal_cli.WrongUse, match="--format is jsonl or cloudevents"):
        journal_cli.export(used, output=None, form="csv", since=None, incarnation="", unsettled=False)


async def test_a_text_that_cannot_be_read_spoils_no_batch(
    used: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wishes: dict[str, Any] = {"since": None, "incarnation": "", "unsettled": False}
    change(used, f"UPDATE event SET text = x'7bff' WHERE key = {key(1, 1)}")
    journal_cli.export(used, output=tmp_path / "a", form="cloudevents", **wishes)
    assert len(json.loads((tmp_path / "a").read_text())) == 12
    assert "/1 cannot be read and is left out" in capsys.readouterr().err
    change(used, "DELETE FROM event")
    journal_cli.export(used, output=tmp_path / "b", form="cloudevents", **wishes)
    assert json.loads((tmp_path / "b").read_text()) == []


async def test_what_cannot_be_written_leaves_nothing_behind(
    used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: dict[str, Any] = {"form": "jsonl", "since": None, "incarnation": "", "unsettled": False}
    before = {file.suffix for file in tmp_path.iterdir()}
    with pytest.raises(Failure, match=r"cannot be written .No such file or directory"):
        journal_cli.export(used, output=tmp_path / "no" / "x", **wishes)

    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    def appears(made: Path, output: Path) -> None:
        output.touch()
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", appears)
    with pytest.raises(Failure, match="somebody has just made it"):
        journal_cli.export(used, output=tmp_path / "x", **wishes)
    (tmp_path / "x").unlink()
    assert {file.suffix for file in tmp_path.iterdir()} - before <= {".db-wal", ".db-shm"}
    monkeypatch.setattr(os, "link", refuse)  # as FAT does
    assert journal_cli.export(used, output=tmp_path / "x", **wishes) == 0
    assert len((tmp_path / "x").read_text().splitlines()) == 13


async def test_a_hole_in_the_log_and_a_log_that_is_gone_are_seen_beside_what_can_be_read(
    journal: Journal, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite shows what lies before a hole as if it were all there is."""
    for _ in range(6):
        await journal.append([draft()])
    copy = tmp_path / "copy" / path.name
    copy.parent.mkdir()
    for end in ("", "-wal", "-shm", ".lock"):  # as whoever was killed leaves them
        copy.with_name(path.name + end).write_bytes(path.with_name(path.name + end).read_bytes())
    assert "sound, 6 events" in told(capsys, 0, journal_cli.verify(copy, as_json=False))[0]
    log = copy.with_name(f"{path.name}-wal")
    whole = log.read_bytes()
    frame = 4096 + 24
    hole = 32 + (len(whole.rstrip(b"\0")) // frame - 4) * frame  # some commits before the last one
    log.write_bytes(whole[:hole] + b"\x55" * frame + whole[hole + frame :])
    out, err = told(capsys, 1, journal_cli.verify(copy, as_json=False))
    assert "has a hole in it" in out and "wrong" in err
    out, err = told(capsys, 0, journal_cli.status(copy, as_json=False))
    assert "kept" in out and "the journal is damaged: its log journal.db-wal has a hole in it" in err
    log.unlink()
    with pytest.raises(Failure, match=r"nothing is in it: its log journal.db-wal is gone or has a hole"):
        journal_cli.tail(copy, number=1, follow=False, as_json=False)
    await journal.close()
    path.with_name(f"{path.name}.lock").write_text("4152")
    assert "is gone or cut short" in told(capsys, 1, journal_cli.verify(path, as_json=False))[0]
    path.with_name(f"{path.name}.lock").write_text("")
    assert "sound, 6 events" in told(capsys, 0, journal_cli.verify(path, as_json=False))[0]

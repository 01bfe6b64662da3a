"""Backups and restores as an operator does them, on both engines, and what they mean for agents."""

import asyncio
import os
import secrets
import signal
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from central import backups, cli, copies, database, presence, tables
from central.database import open_engine, reading, writing
from central.ledger.commands import AnswerHello, PutItem
from sync.messages import Ack, Hello, ListedIncarnation
from tests.support.ledger import Books, Stream, opened


def config_of(folder: Path, url: str) -> Path:
    path = folder / "central.toml"
    path.write_text(f'[database]\nurl = "{url}"\n[mqtt]\nurl = "mqtt://127.0.0.1:1"\n')
    return path


def hello(*listed: tuple[str, int, int, int], history: str | None = None) -> AnswerHello:
    rows = [ListedIncarnation(incarnation=i, first_kept=f, last_sequence=n, acked=a) for i, f, n, a in listed]
    return AnswerHello(
        Hello(agent="dock-2", site="lej1", nonce="n", history=history, reference=None, software="",
              incarnations=rows)
    )  # fmt: skip


async def receive(books: Books, stream: Stream, count: int) -> Ack:
    """So many events, one after the other; the last answer."""
    for _ in range(count):
        ack: Ack = await books.do(stream.said("received", sku="SKU-1", to_location="DOCK-2"))
    return ack


async def back_up(config: Path, file: Path, keep: int = 7) -> int:
    return await asyncio.to_thread(cli.back_up, config, file, keep)


async def restore(config: Path, file: Path, *, replace: bool = False) -> int:
    return await asyncio.to_thread(lambda: cli.restore(config, file, replace=replace))


# --- what is safe ----------------------------------------------------------------------------------


async def test_without_backups_all_that_is_acked_is_called_safe(database_url: str) -> None:
    async with opened(database_url) as books:
        ack = await receive(books, Stream(), 2)
        assert (ack.acked, ack.safe) == (2, 2)


async def test_safe_is_what_every_backup_that_counts_holds(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, dock = config_of(tmp_path, database_url), Stream()

    def without_a_copy(name: str) -> None:
        begun = backups.begin(books.engine, str(tmp_path / name), secrets.token_hex(8))
        backups.finish(books.engine, begun.mark, keep=2)

    async with opened(database_url) as books:
        await receive(books, dock, 3)
        without_a_copy("one")
        ack = await receive(books, dock, 2)
        assert (ack.acked, ack.safe) == (5, 3)
        assert (await receive(books, Stream("dock-3"), 1)).safe == 0, "a life that began after it"
        without_a_copy("two")
        assert (await receive(books, dock, 1)).safe == 3, "the worst restore is the older one"
        capsys.readouterr()
        assert await back_up(config, tmp_path / "three", keep=2) == 0
        told = capsys.readouterr().err
        assert "2 backups are counted on" in told and f"no longer needed: {tmp_path / 'one'}" in told
        (ack,) = await books.do(hello((dock.incarnation, 1, 6, 6)))
        assert (ack.acked, ack.safe) == (6, 5)
        without_a_copy("three")  # at the same place: instead of it
        (ack,) = await books.do(hello((dock.incarnation, 1, 6, 6)))
        assert ack.safe == 5
        assert len(books.rows(sa.select(tables.backup))) == 2
        assert {row.backup for row in books.rows(sa.select(tables.backup_cursor))} == {
            row.ordinal for row in books.rows(sa.select(tables.backup))
        }


async def test_a_backup_of_many_streams_is_written_beside_all_of_them(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "AT_ONCE", 3)
    async with opened(database_url) as books:
        streams = [Stream(f"dock-{number}") for number in range(8)]
        for stream in streams:
            await receive(books, stream, 2)
        backups.begin(books.engine, "disk", "m")
        assert backups.finish(books.engine, "m", keep=1) == backups.Finished(1, ())
        rows = books.rows(sa.select(tables.cursor.c.backed_up))
        assert [row.backed_up for row in rows] == [2] * 8


async def test_a_copy_by_other_means_counts_with_what_was_there_when_it_was_begun(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, dock = config_of(tmp_path, database_url), Stream()
    async with opened(database_url) as books:
        await receive(books, dock, 2)
        assert await asyncio.to_thread(cli.begin_backup, config, "disk snapshot") == 0
        mark = capsys.readouterr().out.strip()
        ack = await receive(books, dock, 2)
        assert ack.safe == 4, "begun is not finished"
        assert await asyncio.to_thread(cli.finish_backup, config, mark, 7) == 0
        assert (await receive(books, dock, 1)).safe == 2
        for unknown in (mark, "nonsense"):
            assert await asyncio.to_thread(cli.finish_backup, config, unknown, 7) == 1
            assert "finished already" in capsys.readouterr().err


@pytest.mark.parametrize("keep", [1, 7])
async def test_one_that_was_overtaken_brings_nothing_back_and_takes_nothing_back_that_was_promised(
    database_url: str, keep: int
) -> None:
    """What lies between the two was called safe, so agents may have forgotten it, also where both would count."""
    async with opened(database_url) as books:
        dock = Stream()
        await receive(books, dock, 1)
        backups.begin(books.engine, "slow", "slow")
        await receive(books, dock, 1)
        backups.begin(books.engine, "fast", "fast")
        backups.finish(books.engine, "fast", keep=keep)
        assert (await receive(books, dock, 1)).safe == 2
        assert backups.finish(books.engine, "slow", keep=keep) == backups.Finished(1, ("slow",))
        assert (await receive(books, dock, 1)).safe == 2


async def test_the_file_that_was_restored_is_not_called_unneeded(database_url: str) -> None:
    """Its database knows of an older one at the same place, which it has replaced."""
    async with opened(database_url) as books:
        dock = Stream()
        await receive(books, dock, 1)
        backups.begin(books.engine, "nightly", "one")
        backups.finish(books.engine, "one", keep=2)
        await receive(books, dock, 1)
        backups.begin(books.engine, "nightly", "two")  # the copy is made now, and brought back
        backups.restored(books.engine, "nightly", "back")
        assert (await receive(books, dock, 1)).safe == 2
        backups.begin(books.engine, "other", "three")
        assert backups.finish(books.engine, "three", keep=2) == backups.Finished(2, ())


async def test_marks_that_are_never_finished_are_forgotten(database_url: str) -> None:
    async with opened(database_url) as books:
        for number in range(backups.BEGUN_MOST + 3):
            backups.begin(books.engine, "x", f"m-{number}")
        assert len(books.rows(sa.select(tables.backup))) == backups.BEGUN_MOST
        with pytest.raises(backups.UnknownMark):
            backups.finish(books.engine, "m-2", keep=1)
        backups.give_up(books.engine, "m-3")
        with pytest.raises(backups.UnknownMark):
            backups.finish(books.engine, "m-3", keep=1)


# --- copies ----------------------------------------------------------------------------------------


async def test_a_copy_that_is_made_while_central_works_is_whole(database_url: str, tmp_path: Path) -> None:
    """It holds at least what was counted, and its books add up."""
    file, config = tmp_path / "backup", config_of(tmp_path, database_url)
    async with opened(database_url) as books:
        await books.stock_the_shop()
        docks = [Stream(f"dock-{number}") for number in range(4)]
        working = asyncio.gather(*(receive(books, dock, 15) for dock in docks))
        assert await back_up(config, file) == 0
        await working
        counted = {row.incarnation: row.acked for row in books.rows(sa.select(tables.backup_cursor))}
    other = config_of(tmp_path, await _empty(database_url, tmp_path))
    assert await restore(other, file, replace=True) == 0
    async with opened(_url_in(other)) as books:
        held = {row.incarnation: row.acked for row in books.rows(sa.select(tables.cursor))}
        assert all(held[name] >= acked for name, acked in counted.items())
        assert books.available() == {"on_hand": sum(held.values()), "available": sum(held.values())}


async def _empty(database_url: str, tmp_path: Path) -> str:
    """Another SQLite file; on PostgreSQL the same database."""
    return f"sqlite:///{tmp_path / 'other.db'}" if database_url.startswith("sqlite") else database_url


def _url_in(config: Path) -> str:
    return config.read_text().split('"')[1]


async def test_a_backup_that_takes_long_gives_signs_of_life(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "PROGRESS_S", 0.01)
    url, file = f"sqlite:///{tmp_path / 'central.db'}", tmp_path / "backup"
    prove = copies._prove

    def slowly(part: Path, mark: str) -> None:
        time.sleep(0.3)
        prove(part, mark)

    monkeypatch.setattr(copies, "_prove", slowly)
    async with opened(url):
        assert await back_up(config_of(tmp_path, url), file) == 0
    told = capsys.readouterr()
    assert f"tallyman: writing and proving {file}, " in told.err and " MB so far" in told.err
    assert told.out == f"{file}\n"


def test_a_copy_by_other_means_has_to_be_called_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(tmp_path, f"sqlite:///{tmp_path / 'central.db'}")
    assert cli.begin_backup(config, " ") == 2
    told = capsys.readouterr()
    assert "Say where the copy will be" in told.err and told.out == ""


async def test_a_failed_copy_leaves_the_one_before_and_counts_for_nothing(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, config, dock = tmp_path / "backup", config_of(tmp_path, database_url), Stream()
    async with opened(database_url) as books:
        await receive(books, dock, 1)
        assert await back_up(config, file) == 0
        before = file.read_bytes()
        await receive(books, dock, 1)
        prove = copies._prove  # as if another database had been copied
        monkeypatch.setattr(copies, "_prove", lambda part, _mark: prove(part, "another"))
        assert await back_up(config, file) == 1
        assert "Is it of another database?" in capsys.readouterr().err
        assert await back_up(config, tmp_path / "no" / "where") == 1
        assert "cannot be written" in capsys.readouterr().err
        assert (await receive(books, dock, 1)).safe == 1
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("backup*")) == ["backup"]


async def test_only_an_earlier_backup_is_replaced(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the database itself, whatever it is called, nor anything else that stands there."""
    config, dock = config_of(tmp_path, database_url), Stream()
    pictures, folder, journal = tmp_path / "pictures", tmp_path / "folder", tmp_path / "journal.db"
    pictures.write_bytes(b"holiday pictures")
    folder.mkdir()
    with sqlite3.connect(journal) as connection:
        connection.execute("CREATE TABLE event (sequence INTEGER)")
    connection.close()
    in_the_way = {pictures: "no backup of central's", folder: "is a directory", journal: "no backup"}
    async with opened(database_url) as books:
        await receive(books, dock, 2)
        if (source := presence.sqlite_file(database_url)) is not None:
            (tmp_path / "link").symlink_to(source)
            (tmp_path / "another.db").write_bytes(source.read_bytes())
            (tmp_path / "another.db-wal").touch()
            in_the_way |= {
                source: "is the database itself",
                tmp_path / "link": "is the database itself",
                tmp_path / "another.db": "no backup",
            }
        before = {file: file.read_bytes() for file in in_the_way if file.is_file()}
        for file, said in in_the_way.items():
            assert await back_up(config, file) == 1, file
            assert said in capsys.readouterr().err, file
        for file, text in before.items():
            assert file.read_bytes() == text, file
        assert (await receive(books, dock, 1)).acked == 3
    assert not list(tmp_path.glob("*.part"))


def test_a_backup_of_a_database_that_was_replaced_meanwhile_is_not_counted_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'central.db'}"
    config, engine = config_of(tmp_path, url), open_engine(url)
    database.migrate(engine)
    make = copies.make

    def made_and_replaced(url: str, file: Path, mark: str) -> None:
        make(url, file, mark)
        backups.give_up(engine, mark)

    monkeypatch.setattr(copies, "make", made_and_replaced)
    assert cli.back_up(config, tmp_path / "backup", 7) == 1
    assert "was replaced meanwhile" in capsys.readouterr().err
    engine.dispose()


def test_what_is_no_backup_is_refused(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(tmp_path, database_url)
    strange = tmp_path / "strange"
    assert cli.restore(config, strange, replace=True) == 1
    assert "cannot be read" in capsys.readouterr().err
    strange.write_bytes(b"holiday pictures")
    assert cli.restore(config, strange, replace=True) == 1
    assert "is no backup" in capsys.readouterr().err
    with sqlite3.connect(strange.with_name("empty")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.close()
    assert cli.restore(config, strange.with_name("empty"), replace=True) == 1
    assert "does not know (none)" in capsys.readouterr().err


def test_nothing_to_back_up_is_said_and_makes_no_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(tmp_path, f"sqlite:///{tmp_path / 'none.db'}")
    assert cli.back_up(config, tmp_path / "backup", 7) == 1
    assert "There is no database" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
    config = config_of(tmp_path, f"sqlite:///{tmp_path / ('x' * 300)}")
    assert cli.back_up(config, tmp_path / "backup", 7) == 1
    assert "cannot be looked at" in capsys.readouterr().err


async def test_a_damaged_backup_is_refused_and_changes_nothing(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, config, dock = tmp_path / "backup", config_of(tmp_path, database_url), Stream()
    async with opened(database_url) as books:
        data = {"sku": "SKU-1", "to_location": "DOCK-2"}
        await books.do(dock.batch(*(dock.event("received", data) for _ in range(200))))
        assert await back_up(config, file) == 0
    whole = file.read_bytes()
    for spoilt in (whole[: len(whole) * 2 // 3], whole[: len(whole) // 10]):
        file.write_bytes(spoilt)
        assert await restore(config, file, replace=True) == 1, len(spoilt)
    file.write_bytes(whole[:4096] + b"\x55" * 4096 + whole[8192:])
    assert await restore(config, file, replace=True) == 1
    async with opened(database_url) as books:
        assert books.rows(sa.select(tables.cursor.c.acked)) == [(200,)]


def test_two_backups_to_one_file_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    with copies._part(file), pytest.raises(copies.CopyError, match="Another backup"), copies._part(file):
        raise AssertionError
    (tmp_path / "backup.part").write_bytes(b"of one that was cut short")
    with copies._part(tmp_path / "backup") as (part, _):
        assert part.read_bytes() == b""
    assert not part.exists()


def test_a_backup_that_is_whole_is_not_touched_by_the_next_one_to_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one opens the part a moment before the first gives it its name, or begins a moment later."""
    file, flock = tmp_path / "backup", copies.fcntl.flock

    def locked_late(number: int, how: int) -> None:
        (tmp_path / "backup.part").replace(file)
        flock(number, how)

    (tmp_path / "backup.part").write_bytes(b"whole")
    monkeypatch.setattr(copies.fcntl, "flock", locked_late)
    with pytest.raises(copies.CopyError, match="was just written"), copies._part(file):
        raise AssertionError
    assert file.read_bytes() == b"whole"
    monkeypatch.setattr(copies.fcntl, "flock", flock)
    with copies._part(file) as (part, _):
        part.replace(file)
        part.write_bytes(b"of the next one")
    assert part.read_bytes() == b"of the next one"


def test_only_its_owner_reads_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds hashes of tokens and PINs. What somebody else put in its place beforehand is not used."""
    file, part = tmp_path / "backup", tmp_path / "backup.part"
    part.touch()
    part.chmod(0o666)
    with copies._part(file):
        assert part.stat().st_mode & 0o777 == 0o600
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(copies.CopyError, match="cannot be written"), copies._part(file):
        raise AssertionError
    part.unlink()
    part.write_bytes(b"theirs")
    monkeypatch.setattr(copies.os, "geteuid", lambda: 4711)
    with pytest.raises(copies.CopyError, match="made by somebody else"), copies._part(file):
        raise AssertionError
    assert part.read_bytes() == b"theirs"


def test_a_program_that_outlives_us_keeps_others_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed alone, we leave pg_dump writing: the next backup must not share its file with it."""
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\nsleep 60 >/dev/null 2>&1 &\necho $!\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with copies._part(tmp_path / "backup") as (part, lock):
        writes_on = int(copies._run("pg_dump", None, holding=lock))
        (tmp_path / "left").hardlink_to(part)
    try:
        (tmp_path / "left").rename(part)  # as after a SIGKILL
        with pytest.raises(copies.CopyError, match="Another backup"), copies._part(tmp_path / "backup"):
            raise AssertionError
    finally:
        os.kill(writes_on, signal.SIGKILL)


def test_a_backup_is_never_put_where_the_database_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Central would go on in a file that has no name any more."""
    path = tmp_path / "central.db"
    engine = open_engine(f"sqlite:///{path}")
    database.migrate(engine)
    config, inode = config_of(tmp_path, f"sqlite:///{path}"), path.stat().st_ino
    (tmp_path / "folder").symlink_to(tmp_path)
    for file in (path, tmp_path / "folder" / "central.db", path.with_name("central.db-wal")):
        assert cli.back_up(config, file, 7) == 1
        assert "is the database itself" in capsys.readouterr().err
    assert path.stat().st_ino == inode
    with reading(engine) as connection:
        assert backups.latest(connection) is None
    engine.dispose()
    path.rename(tmp_path / "x.part")
    config = config_of(tmp_path, f"sqlite:///{tmp_path / 'x.part'}")
    assert cli.back_up(config, tmp_path / "x", 7) == 1, "it would be written at x.part first"
    assert (tmp_path / "x.part").stat().st_size > 0


def test_the_programs_of_postgresql_are_found_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for version in ("9.6", "15", "17", "odd"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "pg_dump").touch()
    monkeypatch.setattr(copies, "_TOOLS", tmp_path)
    assert copies._tool("pg_dump") == str(tmp_path / "17" / "bin" / "pg_dump")
    with pytest.raises(copies.CopyError, match="apt-get install"):
        copies._tool("pg_restore")


def test_a_password_is_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments are for everybody on the machine to see."""
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "$PGPASSWORD $@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    printed = copies._run("pg_dump", "postgresql+psycopg://me:hunter2@db/central?sslmode=require", "-x")
    assert printed.split() == ["hunter2", "--dbname=postgresql://me@db/central?sslmode=require", "-x"]


# --- restores --------------------------------------------------------------------------------------


async def test_a_restore_begins_a_new_history_and_agents_bring_back_the_rest(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise 9: every fact once; of the API's writes it is said from which moment they are lost."""
    file, config, dock = tmp_path / "backup", config_of(tmp_path, database_url), Stream()
    batches = [dock.said("received", sku="SKU-1", to_location="DOCK-2") for _ in range(5)]
    async with opened(database_url) as books:
        await books.stock_the_shop()
        for batch in batches[:3]:
            first: Ack = await books.do(batch)
        assert await back_up(config, file) == 0
        for batch in batches[3:]:
            await books.do(batch)
        await books.do(PutItem("test", "SKU-9", "Registered too late", ()))
        begun_us = books.rows(sa.select(tables.backup.c.begun_us))[0][0]
    assert await restore(config, file) == 1
    assert "add --replace" in capsys.readouterr().err
    assert await restore(config, file, replace=True) == 0
    out, told = capsys.readouterr()
    assert out.strip() == database_time(begun_us)
    assert "is lost, and is to be entered again" in told
    async with opened(database_url) as books:
        (ack,) = await books.do(hello((dock.incarnation, 1, 5, 5), history=first.history))
        assert (ack.history != first.history, ack.acked, ack.safe) == (True, 3, 3)
        for batch in batches:
            ack = await books.do(batch)
        assert ack.acked == 5 and ack.safe == 3, "it was restored from a backup: that still counts"
        assert books.available() == {"on_hand": 5, "available": 5}
        assert books.rows(sa.select(tables.item).where(tables.item.c.sku == "SKU-9")) == []
        causes = [
            row.cause for row in books.rows(sa.select(tables.history).order_by(tables.history.c.ordinal))
        ]
        assert causes == ["first", "restored"]


def database_time(time_us: int) -> str:
    from central.ledger.bodies import rfc3339

    return rfc3339(time_us)


async def test_a_restore_into_an_empty_database_needs_no_word(database_url: str, tmp_path: Path) -> None:
    """Also into one that a central was started on once."""
    file, config = tmp_path / "backup", config_of(tmp_path, database_url)
    engine = open_engine(database_url)
    database.migrate(engine)
    with writing(engine) as connection:
        connection.execute(sa.insert(tables.operator), {"id": "op-7"})
    assert await back_up(config, file) == 0
    with writing(engine) as connection:
        for table in (tables.operator, tables.backup):
            connection.execute(sa.delete(table))
        connection.exec_driver_sql("CREATE TABLE webhook_of_a_later_version (id INTEGER)")
    engine.dispose()
    assert await restore(config, file) == 0
    with reading(engine) as connection:
        assert connection.execute(sa.select(tables.operator.c.id)).all() == [("op-7",)]
    engine.dispose()


async def test_a_backup_of_an_older_version_is_brought_up_to_date(database_url: str, tmp_path: Path) -> None:
    """The database it goes into may have tables that the backup does not know."""
    from alembic import command

    file, config = tmp_path / "backup", config_of(tmp_path, database_url)
    engine = open_engine(database_url)
    with writing(engine) as connection:
        alembic = database._alembic()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "0002")
        connection.execute(sa.insert(tables.operator), {"id": "op-7"})
    if database_url.startswith("sqlite"):
        copies._copy_sqlite(Path(str(engine.url.database)), file)
        copies._to_one_file(file)
    else:
        copies._run("pg_dump", database_url, "--format=custom", f"--file={file}")
    database.migrate(engine)
    engine.dispose()
    assert await restore(config, file, replace=True) == 0
    with reading(engine) as connection:
        assert connection.execute(sa.select(tables.operator.c.id)).all() == [("op-7",)]
        assert backups.latest(connection) is not None
    engine.dispose()


async def test_nothing_is_restored_under_a_running_central(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, config = tmp_path / "backup", config_of(tmp_path, database_url)
    async with opened(database_url) as books:
        await receive(books, Stream(), 1)
        assert await back_up(config, file) == 0
        with presence.running(database_url):
            assert await restore(config, file, replace=True) == 1
        assert "Stop" in capsys.readouterr().err
        if not database_url.startswith("sqlite"):
            other = open_engine(database_url)
            with pytest.raises(database.DatabaseError, match="tallyman"):
                presence.nobody_connected(other)
            other.dispose()
    url = f"sqlite:///{tmp_path / 'x.db'}"
    restored = pytest.raises(database.DatabaseError, match="is being restored")
    with presence.alone(url), restored, presence.running(url):
        raise AssertionError


async def test_what_was_replaced_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On SQLite: even a database that cannot be read any more."""
    url, file = f"sqlite:///{tmp_path / 'central.db'}", tmp_path / "backup"
    config, dock = config_of(tmp_path, url), Stream()
    async with opened(url) as books:
        await receive(books, dock, 1)
        assert await back_up(config, file) == 0
        await receive(books, dock, 1)
    (tmp_path / "central.db").chmod(0o640)
    assert await restore(config, file, replace=True) == 0
    assert "is kept as" in capsys.readouterr().err
    (kept,) = tmp_path.glob("central.db.replaced-*")
    with sqlite3.connect(kept) as connection:
        assert connection.execute("SELECT acked FROM cursor").fetchall() == [(2,)]
    connection.close()
    assert (tmp_path / "central.db").stat().st_mode & 0o777 == 0o640
    kept.rename(tmp_path / "before")
    (tmp_path / "central.db").write_bytes(b"\x00" * 5000)
    assert await restore(config, file) == 1, "it may be all that is left"
    assert await restore(config, file, replace=True) == 0
    (kept,) = tmp_path.glob("central.db.replaced-*")
    assert kept.read_bytes() == b"\x00" * 5000


async def test_a_restore_that_is_cut_short_leaves_the_database_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A central that found nothing there would begin an empty one."""
    path, file = tmp_path / "central.db", tmp_path / "backup"
    config = config_of(tmp_path, f"sqlite:///{path}")
    async with opened(f"sqlite:///{path}") as books:
        await receive(books, Stream(), 3)
        assert await back_up(config, file) == 0

    def cut_short(_self: Path, _target: Path) -> None:
        raise OSError("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut_short)
        assert await restore(config, file, replace=True) == 1
        assert path.exists()

    def not_here(_self: Path, _target: Path) -> None:
        raise PermissionError("no such links")

    monkeypatch.setattr(Path, "hardlink_to", not_here)
    monkeypatch.setattr(cli, "datetime", Later)
    assert await restore(config, file, replace=True) == 0
    async with opened(f"sqlite:///{path}") as books:
        assert books.rows(sa.select(tables.cursor.c.acked)) == [(3,)]


class Later(datetime):
    """Two restores within a second keep two databases, under names of their own."""

    @classmethod
    def now(cls, tz: Any = None) -> "Later":
        return cls(2030, 1, 1, tzinfo=tz)


async def test_a_backup_goes_back_to_its_own_kind_of_database(
    tmp_path: Path, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sqlite_url = f"sqlite:///{tmp_path / 'central.db'}"
    async with opened(sqlite_url):
        assert await back_up(config_of(tmp_path, sqlite_url), tmp_path / "lite") == 0
        assert await restore(config_of(tmp_path, sqlite_url), tmp_path / "central.db", replace=True) == 1
    capsys.readouterr()
    assert await restore(config_of(tmp_path, postgres_url), tmp_path / "lite") == 1
    assert "is of SQLite" in capsys.readouterr().err
    assert await back_up(config_of(tmp_path, postgres_url), tmp_path / "post") == 0
    assert await restore(config_of(tmp_path, sqlite_url), tmp_path / "post", replace=True) == 1
    assert "is of PostgreSQL" in capsys.readouterr().err


async def test_a_promoted_replica_gets_a_new_history(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(database_url) as books:
        before = (await receive(books, Stream(), 1)).history
        assert await asyncio.to_thread(cli.new_history, config_of(tmp_path, database_url)) == 0
        now: Any = (await receive(books, Stream(), 1)).history
        assert capsys.readouterr().out.strip() == now != before


def test_a_database_that_is_away_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is changed."""
    file = tmp_path / "backup"
    url = f"sqlite:///{tmp_path / 'central.db'}"
    engine = open_engine(url)
    database.migrate(engine)
    engine.dispose()
    assert cli.back_up(config_of(tmp_path, url), file, 7) == 0
    config = config_of(tmp_path, f"sqlite:///{tmp_path / 'no' / 'where.db'}")
    assert cli.restore(config, file, replace=False) == 1
    assert capsys.readouterr().err


def test_a_database_that_others_keep_locked_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'central.db'}")
    database.migrate(engine)
    config = config_of(tmp_path, f"sqlite:///{tmp_path / 'central.db'}")
    finish = backups.finish

    def while_it_is_locked(other: sa.Engine, mark: str, *, keep: int) -> backups.Finished:
        with writing(engine):
            return finish(other, mark, keep=keep)

    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    monkeypatch.setattr(backups, "finish", while_it_is_locked)
    assert cli.back_up(config, tmp_path / "backup", 7) == 1
    assert "does not answer: database is locked" in capsys.readouterr().err
    engine.dispose()

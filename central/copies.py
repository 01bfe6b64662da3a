"""Copies of the whole database in one file, made and brought back by each engine's own means.

The idea: a copy becomes visible under its name only when it is whole, proved and on disk. Proved means: all of it can
be read, and it holds the mark that was written into the database just before it was begun.
"""

import fcntl
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine.url import make_url

from central import tables
from central.presence import sqlite_file

_TOOLS: Final = Path("/usr/lib/postgresql")  # where Debian puts the programs of each version
_TABLE: Final = re.compile(r"^\d+; \d+ \d+ TABLE \S+ (\S+) ", re.MULTILINE)  # a line of pg_restore --list
_SQLITE: Final = b"SQLite format 3\x00"  # https://www.sqlite.org/fileformat2.html, 1.3
_DUMP: Final = b"PGDMP"
_BUSY_S: Final = 10.0
_KEPT_UNREAD: Final = frozenset({"history", "counter", "reference_change"})
"""Tables in which even a database that was never used has rows."""


class CopyError(Exception):
    """A copy could not be made, is none, or could not be brought back; the text says what and what to do."""


def make(url: str, file: Path, mark: str) -> None:
    """A proved copy of the database at `file`, which is replaced at once and whole.

    Raises:
        CopyError: nothing came of it; what was at `file` is still there.
    """
    source = sqlite_file(url)
    if source is not None and clash(file, source):
        raise CopyError(f"{file} is the database itself, or belongs to it: put the backup somewhere else.")
    _see_that_it_may_go(file)
    with _part(file) as (part, lock):
        try:
            if source is None:
                dump = ("--format=custom", "--no-owner", "--no-privileges", f"--file={part}")
                _run("pg_dump", url, *dump, holding=lock)
            else:
                _copy_sqlite(source, part)
                _to_one_file(part)
            _prove(part, mark)
            _to_disk(part)
            part.replace(file)
        except (OSError, sqlite3.Error) as error:
            raise CopyError(f"The backup {file} could not be written: {_words(error)}") from error
        _to_disk(file.absolute().parent)


def _see_that_it_may_go(file: Path) -> None:
    """Only an earlier backup is replaced: a slip of the operator's must cost nothing.

    Raises:
        CopyError: something else stands at `file`.
    """
    try:
        if not file.exists():
            return
        if file.is_dir():
            raise CopyError(
                f"{file} is a directory. Give the name of a file in it, for example {file / 'central-monday'}"
            )
    except OSError as error:
        raise CopyError(f"The backup {file} cannot be written: {error.strerror}") from error
    if not _is_backup(file):
        raise CopyError(
            f"{file} is there already, and is no backup of central's. Only an earlier backup is replaced: "
            "give another name."
        )


def _is_backup(file: Path) -> bool:
    """Whether it is one by its looks: a dump, or one whole SQLite file, with nothing beside it, with our tables."""
    try:
        if is_dump(file):
            return True
        if any(path.exists() for path in _beside(file)):
            return False
        with closing(_open(file, "ro")) as connection:
            query = "SELECT count(*) FROM sqlite_schema WHERE name IN ('backup', 'backup_cursor')"
            return bool(connection.execute(query).fetchone()[0] == 2)
    except (CopyError, sqlite3.Error):
        return False


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@contextmanager
def _part(file: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside it, which only we write and only its owner reads, and the lock that says so; afterwards it is
    gone. Whatever may go on writing after we were killed inherits the lock.
    """
    part = part_of(file)
    try:
        lock = os.open(part, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CopyError(
            f"The backup {file} cannot be written: {error.strerror}. Give a name in a directory that is there and "
            "that this user may write to."
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CopyError(f"Another backup is being written to {file}") from None
        if not _is_at(
            lock, part
        ):  # whoever had the lock has just given the file its name: it is no longer a part
            raise CopyError(f"Another backup was just written to {file}")
        if os.fstat(lock).st_uid != os.geteuid():
            raise CopyError(f"{part} was made by somebody else, who could read the backup. Remove it first.")
        try:
            os.fchmod(lock, 0o600)
            os.ftruncate(lock, 0)
            yield part, lock
        finally:
            if _is_at(lock, part):  # else it has its name, and the next one's part may be there by now
                for name in (part, *_beside(part)):
                    name.unlink(missing_ok=True)
    finally:
        os.close(lock)


def part_of(file: Path) -> Path:
    """Where a copy grows until it gets its name."""
    return file.with_name(file.name + ".part")


def _is_at(opened: int, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(opened), path.lstat())
    except FileNotFoundError:
        return False


def clash(file: Path, database: Path) -> bool:
    """Whether a backup at `file` and a SQLite database would overwrite each other, or what is written beside them."""

    def taken(path: Path) -> set[Path]:
        path = path.resolve()
        return {path, part_of(path), path.with_name(path.name + ".lock"), *_beside(path)}

    return file.resolve() in taken(database) or database.resolve() in taken(file)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]


def _to_disk(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# --- what a copy is --------------------------------------------------------------------------------


def is_dump(file: Path) -> bool:
    """Whether it is a copy of a PostgreSQL database; else it is one of SQLite.

    Raises:
        CopyError: it is neither, or cannot be read.
    """
    try:
        with file.open("rb") as opened:
            begin = opened.read(len(_SQLITE))
    except OSError as error:
        raise CopyError(f"The backup {file} cannot be read: {error.strerror}") from error
    if begin != _SQLITE and not begin.startswith(_DUMP):
        raise CopyError(f"{file} is no backup of central's: `tallyman central backup` makes one.")
    return begin.startswith(_DUMP)


def check(file: Path, revisions: frozenset[str]) -> None:
    """See that all of a copy can be read, and that this version understands it.

    Raises:
        CopyError: not so.
    """
    if is_dump(file):
        _run("pg_restore", None, "--file=/dev/null", str(file))
        found = _rows_of_dump(file, "alembic_version")
    else:
        try:
            with closing(_open(file, "ro")) as connection:
                _integrity(file, connection)
                found = {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")}
        except sqlite3.Error as error:
            raise CopyError(f"The backup {file} cannot be used: {error}") from error
    if not found or not found <= revisions:
        what = ", ".join(sorted(found)) or "none"
        raise CopyError(
            f"{file} has tables of a version that this program does not know ({what}): update it."
        )


def _prove(part: Path, mark: str) -> None:
    if is_dump(part):
        _run("pg_restore", None, "--file=/dev/null", str(part))
        held = mark in _run("pg_restore", None, "--data-only", "--table=backup", "--file=-", str(part))
    else:
        with closing(_open(part, "ro")) as connection:
            _integrity(part, connection)
            query = "SELECT count(*) FROM backup WHERE mark = ?"
            held = connection.execute(query, (mark,)).fetchone()[0] == 1
    if not held:
        raise CopyError(
            "The backup does not hold what was written just before it. Is it of another database?"
        )


def _rows_of_dump(file: Path, table: str) -> set[str]:
    """The first column of a table in a dump."""
    text = _run("pg_restore", None, "--data-only", f"--table={table}", "--file=-", str(file))
    rows, inside = set(), False
    for line in text.splitlines():
        inside = (inside or line.startswith("COPY ")) and line != "\\."
        if inside and not line.startswith("COPY "):
            rows.add(line.split("\t")[0])
    return rows


# --- SQLite ----------------------------------------------------------------------------------------


def _open(file: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(file))}?mode={mode}", uri=True, timeout=_BUSY_S, isolation_level=None
    )


def _integrity(file: Path, connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA integrity_check(3)").fetchall()
    if found != [("ok",)]:
        raise CopyError(f"{file} is damaged: {'; '.join(str(row[0]) for row in found)}")


def _copy_sqlite(source: Path, target: Path) -> None:
    """All of one database into another file, as of one instant; writers go on meanwhile."""
    with closing(_open(source, "rw")) as old, closing(_open(target, "rwc")) as new:
        new.execute("PRAGMA synchronous=OFF")  # it is brought to disk when it is whole
        new.execute("PRAGMA journal_mode=OFF")
        old.backup(new)


def _to_one_file(part: Path) -> None:
    """Without a log beside it: what is copied to another place then is one file."""
    with closing(_open(part, "rw")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def used_sqlite(file: Path) -> bool:
    """Whether there is a database that somebody has used, or anything else that must not be lost."""
    if not file.exists() or file.stat().st_size == 0:
        return False
    try:
        with closing(_open(file, "rw")) as connection:
            names = [
                row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            ]
            ours = [name for name in names if name in tables.metadata.tables and name not in _KEPT_UNREAD]
            return any(connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in ours)  # noqa: S608 (names of our own)
    except sqlite3.Error:
        return True  # damaged, perhaps: all the more is it kept


@contextmanager
def beside_sqlite(file: Path, target: Path, aside: Path) -> Iterator[Path]:
    """The database of a copy, beside the place that it is for; put there at the end, when nothing was raised. What is
    there now is kept as `aside`.

    Raises:
        CopyError: it could not be brought back; what was at `target` is still there, or only at `aside` on a file
            system without hard links.
    """
    with _part(target) as (part, _):
        try:
            _copy_sqlite(file, part)
            yield part
            _to_one_file(part)
            _belongs_as(part, target)
            _to_disk(part)
            _put_aside(target, aside)
            part.replace(target)
            _to_disk(target.parent)
        except (OSError, sqlite3.Error) as error:
            raise CopyError(f"{file} could not be brought back to {target}: {_words(error)}") from error


def _belongs_as(part: Path, target: Path) -> None:
    """To the one who has the database now, or its folder: an administrator restores it for the service."""
    there = target.exists()
    like = target.stat() if there else target.parent.stat()
    if os.geteuid() == 0:
        os.chown(part, like.st_uid, like.st_gid)
    if there:
        part.chmod(like.st_mode & 0o777)


def _put_aside(target: Path, aside: Path) -> None:
    """Keep a database under another name too, with its log if that cannot be worked in. It has its own name as well
    until another takes it: a central that starts in between must find no empty place and begin a new one.
    """
    if not target.exists():
        return
    with suppress(sqlite3.Error), closing(_open(target, "rw")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in _beside(target):  # first: a log must never meet another database
        if path.exists():
            path.rename(aside.with_name(aside.name + path.name.removeprefix(target.name)))
    try:
        aside.hardlink_to(target)
    except FileExistsError:
        raise
    except OSError:  # a file system without such links
        target.rename(aside)


# --- PostgreSQL ------------------------------------------------------------------------------------


def used_postgres(engine: sa.Engine) -> bool:
    """Whether somebody has used this database."""
    with engine.connect() as connection:
        there = set(sa.inspect(connection).get_table_names())
        ours = [table for name, table in tables.metadata.tables.items() if name in there - _KEPT_UNREAD]
        return any(
            connection.execute(sa.select(sa.literal(1)).select_from(one).limit(1)).first() for one in ours
        )


def into_postgres(file: Path, url: str, engine: sa.Engine) -> None:
    """Bring a dump back, in one transaction: what was there is replaced, or all of it stays.

    Raises:
        CopyError: it could not be brought back.
    """
    _run(
        "pg_restore", url, "--clean", "--if-exists", "--single-transaction", "--exit-on-error", "--no-owner",
        "--no-privileges", str(file),
    )  # fmt: skip
    held = set(_TABLE.findall(_run("pg_restore", None, "--list", str(file))))
    with (
        engine.begin() as connection
    ):  # tables that are younger than the dump come again when it is brought up to date
        there = set(sa.inspect(connection).get_table_names())
        for name in sorted((there & tables.metadata.tables.keys()) - held):
            connection.execute(sa.schema.DropTable(tables.metadata.tables[name]))


def _run(tool: str, url: str | None, *arguments: str, holding: int | None = None) -> str:
    """What one of PostgreSQL's programs prints. The password goes through its environment, unseen. `holding`: an open
    file that stays open as long as the program runs, whatever becomes of us.
    """
    environment, database = dict(os.environ), []
    if url is not None:
        parsed = make_url(url)
        if parsed.password is not None:
            environment["PGPASSWORD"] = str(parsed.password)
        plain = sa.URL.create(
            "postgresql", parsed.username, None, parsed.host, parsed.port, parsed.database, parsed.query
        )
        database = [f"--dbname={plain.render_as_string(hide_password=False)}"]
    done = subprocess.run(  # noqa: S603 (a program of PostgreSQL's, without a shell)
        [_tool(tool), *database, *arguments],
        env=environment, capture_output=True, text=True, errors="replace", check=False,
        stdin=subprocess.DEVNULL, pass_fds=() if holding is None else (holding,),
    )  # fmt: skip
    if done.returncode != 0:
        raise CopyError(f"{tool} failed: {' '.join(done.stderr.split())[:2000] or done.returncode}")
    return done.stdout


def _tool(name: str) -> str:
    """Where PostgreSQL's program is: in the path, else that of the newest version."""
    if found := shutil.which(name):
        return found
    for place in sorted(
        _TOOLS.glob(f"*/bin/{name}"), key=lambda one: _version(one.parent.parent.name), reverse=True
    ):
        return str(place)
    raise CopyError(
        f"{name} is not on this machine: apt-get install --no-install-recommends postgresql-client"
    )


def _version(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0

"""What an operator does at central's command line. All but a restore may run while central does."""

import asyncio
import json
import secrets
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError

from central import backups, copies, database, presence
from central import config as configuration
from central.api import tokens
from central.api.models import Name, Text
from central.api.tokens import ROLES, Role
from central.database import DatabaseError, open_engine, writing
from central.ledger.bodies import rfc3339
from central.ledger.commands import PutOperator, Refused
from central.ledger.service import Ledger
from central.opening import prepare
from central.presence import sqlite_file
from service import log, process

PROGRESS_S = 2.0  # between two signs of life of a long work, and before the first


class _TokenIn(BaseModel):
    model_config = ConfigDict(strict=True)
    role: Role
    name: Name


class _OperatorIn(BaseModel):
    model_config = ConfigDict(strict=True)
    id: Name
    name: Text
    badge: Text
    roles: tuple[Name, ...] = ()


def create_token(config: Path, role: str, name: str) -> int:
    """Print a new access token, once; the database keeps its hash alone."""
    try:
        asked = _TokenIn.model_validate({"role": role, "name": name})
    except ValidationError as error:
        return _wrong(error, f"Roles are: {', '.join(ROLES)}.")

    def create(engine: sa.Engine) -> int:
        with writing(engine) as connection:
            token = tokens.create(connection, name=asked.name, role=asked.role)
        sys.stdout.write(token + "\n")
        process.say(f"This is the only time that the token {asked.name!r} is shown. Keep it safe.")
        return process.DONE

    return _with_database(config, create)


def put_operator(config: Path, operator_id: str, name: str, badge: str, roles: Sequence[str] = ()) -> int:
    """Register a person who works at stations, or change who it is; prints what is known now."""
    given = {"id": operator_id, "name": name, "badge": badge, "roles": tuple(roles)}
    try:
        asked = _OperatorIn.model_validate(given)
    except ValidationError as error:
        return _wrong(error, "Give --id and --name, each at most 200 characters.")
    command = PutOperator("cli", asked.id, asked.name, asked.badge, asked.roles)

    async def submit(engine: sa.Engine) -> Any:
        ledger = Ledger(engine)
        await ledger.start()
        try:
            return await ledger.submit(command)
        finally:
            await ledger.close()

    def put(engine: sa.Engine) -> int:
        answer = asyncio.run(submit(engine))
        if isinstance(answer, Refused):
            process.say(answer.detail)
            return process.FAILED
        sys.stdout.write(json.dumps(answer.body, ensure_ascii=False) + "\n")
        return process.DONE

    return _with_database(config, put)


def new_history(config: Path) -> int:
    """Begin a new history: agents send again what this database may lack."""

    def begin(engine: sa.Engine) -> int:
        with writing(engine) as connection:
            name = database.new_history(connection, "promoted")
        sys.stdout.write(name + "\n")
        process.say(
            "A new history begins. Agents that hear of it send again whatever this database may lack."
        )
        return process.DONE

    return _with_database(config, begin)


# --- backups ---------------------------------------------------------------------------------------


def back_up(config: Path, file: Path, keep: int) -> int:
    """A proved copy of the whole database, which is counted on from then on."""
    url = configuration.load(config).database.full_url
    path = sqlite_file(url)
    try:
        there = path is None or path.exists()
    except OSError as error:
        process.say(
            f"The database {path} cannot be looked at: {error.strerror}. Run this as the user that central runs as."
        )
        return process.FAILED
    if not there:
        process.say(f"There is no database {path} to back up. Correct [database] url in {config}.")
        return process.FAILED

    def copy(engine: sa.Engine) -> int:
        begun = backups.begin(engine, str(file.absolute()), secrets.token_hex(8))
        try:
            with _signs_of_life(f"writing and proving {file}", copies.part_of(file)):
                copies.make(url, file, begun.mark)
        except BaseException:
            backups.give_up(engine, begun.mark)
            raise
        try:
            done = backups.finish(engine, begun.mark, keep=keep)
        except backups.UnknownMark:
            process.say(
                f"The database was replaced meanwhile: {file} is of the one before, and is not counted on."
            )
            return process.FAILED
        sys.stdout.write(f"{file}\n")
        process.say(f"It holds everything up to {rfc3339(begun.begun_us)}. {_counted_on(done)}")
        return process.DONE

    return _with_database(config, copy)


@contextmanager
def _signs_of_life(what: str, growing: Path | None = None) -> Iterator[None]:
    """Say now and then what is going on while it takes long, and how far a file has grown."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(PROGRESS_S):
            try:
                size = f", {growing.stat().st_size / 1e6:,.0f} MB so far" if growing is not None else ""
            except OSError:  # it has its name by now, or cannot be looked at
                size = ""
            process.say(f"{what}{size}")

    teller = threading.Thread(target=tell, name="signs-of-life", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def begin_backup(config: Path, place: str) -> int:
    """For copies by other means: print the mark under which it is finished."""
    if not place.strip():
        process.say('Say where the copy will be, in words of yours: --begin "disk snapshot"')
        return process.WRONG_USE

    def begin(engine: sa.Engine) -> int:
        begun = backups.begin(engine, place, secrets.token_hex(8))
        sys.stdout.write(begun.mark + "\n")
        process.say(
            "Make the copy now. When it is whole and proved, say so: "
            f"tallyman central backup --finish {begun.mark} --config {config}"
        )
        return process.DONE

    return _with_database(config, begin)


def finish_backup(config: Path, mark: str, keep: int) -> int:
    """The copy that was made since its mark was printed is counted on."""

    def finish(engine: sa.Engine) -> int:
        try:
            done = backups.finish(engine, mark, keep=keep)
        except backups.UnknownMark:
            process.say(f"No backup was begun under {mark}, or it is finished already.")
            return process.FAILED
        process.say(_counted_on(done))
        return process.DONE

    return _with_database(config, finish)


def _counted_on(done: backups.Finished) -> str:
    kept = "1 backup is" if done.kept == 1 else f"{done.kept} backups are"
    told = f"{kept} counted on now: agents may forget what every one of them holds."
    if done.forgotten:
        told += f" Not counted on any more, and no longer needed: {', '.join(done.forgotten)}"
    return told


def restore(config: Path, file: Path, *, replace: bool) -> int:
    """Bring a backup back, and begin a new history, so that agents send again what is younger."""
    settings = configuration.load(config)
    url = settings.database.full_url
    log.configure(level="error")
    try:
        target = sqlite_file(url)
        with presence.alone(url), _signs_of_life(f"bringing back {file}"):
            if target is not None:
                since_us = _restore_sqlite(file, target, replace=replace)
            else:
                since_us = _restore_postgres(file, url, replace=replace)
    except (DatabaseError, copies.CopyError) as error:
        process.say(str(error))
        return process.FAILED
    except sa.exc.OperationalError as error:
        return _away(settings.database.url, error)
    at = rfc3339(since_us)
    sys.stdout.write(at + "\n")
    process.say(
        f"Restored as of {at}, under a new history. Start central: agents send again what they have recorded "
        "since. What was written over the API after that moment (orders, reservations, adjustments, items, tokens) "
        "is lost, and is to be entered again."
    )
    return process.DONE


def _restore_sqlite(file: Path, target: Path, *, replace: bool) -> int:
    copies.check(file, database.revisions())
    if copies.is_dump(file):
        raise copies.CopyError(f"{file} is of PostgreSQL, and [database] url names a SQLite file.")
    if copies.clash(file, target):
        raise copies.CopyError(
            f"{file} is the database itself, or would be overwritten. Rename the backup first."
        )
    if copies.used_sqlite(target) and not replace:
        raise copies.CopyError(
            f"The database {target} is not empty. To put the backup in its place, add --replace; "
            "what is there now is kept beside it under another name."
        )
    aside = target.with_name(f"{target.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    with copies.beside_sqlite(file, target, aside) as part:
        since_us = _made_current(f"sqlite:///{part}", file)
    if aside.exists():
        process.say(f"The database that was there is kept as {aside}")
    return since_us


def _restore_postgres(file: Path, url: str, *, replace: bool) -> int:
    copies.check(file, database.revisions())
    if not copies.is_dump(file):
        raise copies.CopyError(f"{file} is of SQLite, and [database] url names a PostgreSQL database.")
    engine = open_engine(url)
    try:
        presence.nobody_connected(engine)
        if copies.used_postgres(engine) and not replace:
            raise copies.CopyError(
                "The database is not empty. To put the backup in its place, add --replace; what is there now is "
                "then gone: back it up first if it may be of use."
            )
        engine.dispose()  # our own connections would be in the way
        copies.into_postgres(file, url, engine)
    finally:
        engine.dispose()
    return _made_current(url, file)


def _made_current(url: str, file: Path) -> int:
    """Bring what was restored up to this version and begin its history; since when it lacks what was written."""
    engine = open_engine(url)
    try:
        database.migrate(engine)
        return backups.restored(engine, str(file.absolute()), secrets.token_hex(8))
    finally:
        engine.dispose()


# --- what all of them do -----------------------------------------------------------------------------


def _with_database(config: Path, work: Any) -> int:
    settings = configuration.load(config)
    log.configure(level="error")
    engine = None
    try:
        engine = open_engine(settings.database.full_url)
        asyncio.run(prepare(engine, settings.database.url))
        return int(work(engine))
    except (DatabaseError, copies.CopyError) as error:
        process.say(str(error))
        return process.FAILED
    except sa.exc.OperationalError as error:
        return _away(settings.database.url, error)
    finally:
        if engine is not None:
            engine.dispose()


def _away(url: str, error: sa.exc.OperationalError) -> int:
    process.say(f"The database {url} does not answer: {error.orig}")
    return process.FAILED


def _wrong(error: ValidationError, advice: str) -> int:
    found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    process.say(f"{found}. {advice}")
    return process.WRONG_USE

"""Whether a central runs on a database: it may be read and written beside one, but not replaced under it.

The idea: who runs on a SQLite file shares a lock beside it for as long as it lives, and the kernel lets go of the
lock however it ends. PostgreSQL knows who is connected.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine.url import make_url

from central.database import DatabaseError


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for a server."""
    parsed = make_url(url)
    return Path(parsed.database).absolute() if parsed.drivername == "sqlite" and parsed.database else None


@contextmanager
def running(url: str) -> Iterator[None]:
    """While a central runs on it.

    Raises:
        DatabaseError: it is being restored.
    """
    with _locked(url, fcntl.LOCK_SH, "it is being restored. Start central when that is done."):
        yield


@contextmanager
def alone(url: str) -> Iterator[None]:
    """While nobody else may run on it.

    Raises:
        DatabaseError: somebody does.
    """
    with _locked(url, fcntl.LOCK_EX, "a central is running on it. Stop it first."):
        yield


@contextmanager
def _locked(url: str, how: int, otherwise: str) -> Iterator[None]:
    path = sqlite_file(url)
    if path is None or not path.parent.is_dir():
        yield
        return
    try:
        # To be read is enough for this lock: whoever made the file, the service and an administrator share it.
        lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DatabaseError(
            f"{path}.lock cannot be opened: {error.strerror}. Run this as the user that the database belongs to."
        ) from error
    try:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseError(f"The database {path} is in use: {otherwise}") from None
        yield
    finally:
        os.close(lock)


def nobody_connected(engine: sa.Engine) -> None:
    """See that nobody else is connected to this PostgreSQL database.

    Raises:
        DatabaseError: somebody is; it says who.
    """
    # Workers of the server itself have no name.
    query = (
        "SELECT DISTINCT coalesce(nullif(application_name, ''), usename::text) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL"
    )
    with engine.connect() as connection:
        others = sorted(str(name) for name in connection.exec_driver_sql(query).scalars())
    if others:
        who = ", ".join(others)
        raise DatabaseError(
            f"Somebody is connected to the database: {who}. Stop central and everybody else first."
        )

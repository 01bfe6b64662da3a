"""A real PostgreSQL for tests: one cluster per test run, one fresh database per test.

`fsync` is off: tests kill clients, not this server, and it would only make them slow. Nothing here
proves durability on PostgreSQL; what it proves is that the same SQL gives the same answers.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.programs import answers, find_program, free_port, stop_process, tail
from tests.support.wait import eventually

_START_S = 30.0
_PACKAGE = "postgresql"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "100",
    "shared_buffers": "64MB",
}


class Postgres:
    """One cluster on loopback, owned by the system's `postgres` user when root runs the tests."""

    def __init__(self, **settings: str) -> None:
        self._settings = {**_SETTINGS, **settings}
        self.host = "127.0.0.1"
        self.port = free_port()
        self._numbers = count(1)
        self._as_user = _unprivileged()
        self._directory = Path(tempfile.mkdtemp(prefix="tallyman-postgres-", dir="/tmp"))
        if self._as_user:
            os.chown(self._directory, self._as_user["user"], self._as_user["group"])
        self._log = self._directory / "server.log"
        self._data = self._directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: psycopg.Connection[tuple[Any, ...]] | None = None

    def start(self) -> None:
        """Make the cluster, if there is none yet, and return when it answers."""
        bin_directories = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
        places = tuple(str(directory) for directory in bin_directories)
        initdb = find_program("initdb", package=_PACKAGE, places=places)
        server = find_program("postgres", package=_PACKAGE, places=places)
        if not self._data.exists():
            self._make_cluster(initdb)
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [server, "-D", str(self._data), "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                **self._as_user,
            )
        eventually(self._accepts_or_ended, _START_S, "PostgreSQL accepts connections")
        assert self._process.poll() is None, f"PostgreSQL ended at once:\n{tail(self._log)}"
        self._admin = self._connect()

    def create_database(self) -> str:
        """A new empty database; returns its name."""
        name = f"test_{next(self._numbers)}"
        self._run("CREATE DATABASE {}", name)
        return name

    def drop_database(self, name: str) -> None:
        """Drop it, whoever is still connected."""
        self._run("DROP DATABASE {} WITH (FORCE)", name)

    def url(self, database: str) -> str:
        """Its address as SQLAlchemy takes it."""
        return f"postgresql+psycopg://postgres@{self.host}:{self.port}/{database}"

    def close(self) -> None:
        """Stop the server and leave nothing behind."""
        if self._admin is not None:
            self._admin.close()
        if self._process is not None:
            stop_process(self._process, signal.SIGINT)  # "fast shutdown" in PostgreSQL's words
        shutil.rmtree(self._directory)

    def restart(self, how: signal.Signals) -> None:
        """End the server so (SIGINT: "fast", SIGQUIT: "immediate", as in a crash) and start it again."""
        assert self._process is not None and self._admin is not None
        self._admin.close()
        stop_process(self._process, how, patience_s=30)
        self.start()

    def _make_cluster(self, initdb: str) -> None:
        options = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(
            [initdb, "-D", str(self._data), *options],
            capture_output=True,
            text=True,
            cwd=self._directory,
            check=False,
            **self._as_user,
        )
        assert made.returncode == 0, f"initdb failed:\n{made.stdout}\n{made.stderr}"

    def _connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        def attempt() -> "psycopg.Connection[tuple[Any, ...]] | None":
            try:
                return psycopg.connect(
                    host=self.host, port=self.port, user="postgres", dbname="postgres", autocommit=True
                )
            except psycopg.OperationalError:
                return None  # it listens a moment before it is ready

        connection = eventually(attempt, _START_S, "PostgreSQL is ready")
        assert connection is not None
        return connection

    def _run(self, statement: str, database: str) -> None:
        assert self._admin is not None
        self._admin.execute(sql.SQL(statement).format(sql.Identifier(database)))

    def _accepts_or_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or answers(self.host, self.port)


def _unprivileged() -> dict[str, Any]:
    """What makes a subprocess run as `postgres`: its programs refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.fail(
            "Tests run as root start PostgreSQL as the user `postgres`, and there is none on this machine: "
            f"apt-get install --no-install-recommends {_PACKAGE}",
            pytrace=False,
        )
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _version(directory: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in directory.parent.name.split(".") if part.isdigit())

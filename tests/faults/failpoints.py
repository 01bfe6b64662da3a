"""Where a program can be made to die: before, in the middle of, and after each commit, publish and acknowledgement.

Nothing of this is in the product. A program that is started by `tests.faults.launch` has the methods named here
wrapped before it begins; whoever passes an armed point for the n-th time is gone by SIGKILL, or stands still.

    scan.commit:torn:3        the third commit of a scan is half written
    events.publish:before:1   the first batch is never said
    loop:hang:50              paho's thread stands still in its fiftieth turn
"""

import contextlib
import ctypes
import functools
import os
import re
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BEFORE, TORN, SYNC, AT, AFTER, HANG, FAIL = "before", "torn", "sync", "at", "after", "hang", "fail"
COMMIT: Final = (BEFORE, TORN, SYNC, AFTER)
"""before its statement; half of a write to the log; all written and not synced; done, and nobody told."""
PUBLISH: Final = (BEFORE, AT, AFTER)
"""before it is said; half of it is on the wire; handed over to the connection."""
ACKNOWLEDGE: Final = (BEFORE, AFTER)

AGENT: Final = {
    "open.commit": COMMIT,  # a new incarnation
    "connection.commit": COMMIT,  # the number of the coming connection
    "scan.commit": COMMIT,
    "verdict.commit": COMMIT,
    "keep.commit": COMMIT,  # old events are let go of
    "hello.publish": PUBLISH,
    "events.publish": PUBLISH,
    "state.publish": PUBLISH,
    "acks.puback": ACKNOWLEDGE,
    "reference.puback": ACKNOWLEDGE,
    "reference.json": ACKNOWLEDGE,  # the file is put in its place
}
"""Points of an agent and the moments of each, all of which are tested."""

CENTRAL: Final = {
    "batch.commit": COMMIT,
    "hello.commit": COMMIT,
    "state.commit": COMMIT,
    "acks.publish": PUBLISH,
    "reference.publish": PUBLISH,
    "movements.publish": PUBLISH,
    "stock.publish": PUBLISH,
    "events.puback": ACKNOWLEDGE,
    "hello.puback": ACKNOWLEDGE,
    "state.puback": ACKNOWLEDGE,
}
"""Points of central on SQLite."""

ONCE: Final = {
    "open.commit", "connection.commit", "hello.publish", "reference.puback", "reference.json",
    "keep.commit", "hello.commit", "hello.puback", "reference.publish", "stock.publish",
}  # fmt: skip
"""What happens once in the life of a process that has nothing to mend; the first time is the one to die at."""
DIED: Final = -signal.SIGKILL


def each_moment(table: dict[str, tuple[str, ...]]) -> list[str]:
    """Every moment of every point of a table, and at which pass of it: the first, or where many come the third."""
    return [
        f"{point}:{moment}:{1 if point in ONCE else 3}"
        for point, moments in table.items()
        for moment in moments
    ]


CHECKPOINT: Final = "checkpoint"
"""The log of a journal that is there already is carried into its file: the first write to that file, or its sync."""
_SHIM_MODES: Final = {TORN: 1, SYNC: 2}


@dataclass(frozen=True, slots=True)
class Armed:
    """At the n-th pass of a point, at that moment."""

    point: str
    moment: str
    number: int

    @classmethod
    def parse(cls, text: str) -> "Armed":
        """`point:moment:number`."""
        point, moment, number = text.split(":")
        return cls(point, moment, int(number))


class Failpoints:
    """What is armed in this process, and how often each point was passed."""

    def __init__(self, armed: tuple[Armed, ...]) -> None:
        self.armed = armed
        self.passed: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._half: bytes | None = None
        """The next packet with this in it is cut in half."""

    def install(self) -> None:
        """Wrap what is named in the tables; once, before the program begins."""
        if not self.armed:
            return
        for moment, mode in _SHIM_MODES.items():
            if Armed(CHECKPOINT, moment, 1) in self.armed:
                ctypes.CDLL(None).tallyman_test_die(mode, b"/journal.db")
        self._wrap_sqlite()
        self._wrap_connection()
        self._wrap_ledger()
        self._wrap_files()

    # --- what happens at a point -------------------------------------------------------------------------

    def pass_by(self, point: str, moment: str) -> bool:
        """Whether this is the pass that was armed."""
        with self._lock:
            self.passed[point, moment] += 1
            return Armed(point, moment, self.passed[point, moment]) in self.armed

    def meet(self, point: str, moment: str) -> None:
        """Die here, if this is the pass that was armed."""
        if self.pass_by(point, moment):
            die()

    @contextlib.contextmanager
    def commit(self, point: str, log_ends_with: str) -> Iterator[None]:
        """Around something that commits to a file whose log ends so."""
        self.meet(point, BEFORE)
        for moment, mode in _SHIM_MODES.items():
            if self.pass_by(point, moment):
                ctypes.CDLL(None).tallyman_test_die(mode, log_ends_with.encode())
        yield
        self.meet(point, AFTER)

    # --- the agent's journal ------------------------------------------------------------------------------

    def _wrap_sqlite(self) -> None:
        points = self

        class Connection(sqlite3.Connection):
            """Knows what its transaction is about, and when it commits."""

            about = ""

            def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
                self._look(statement)
                commits = statement == "COMMIT" or (
                    not self.in_transaction and statement.startswith("INSERT INTO event")
                )
                if not commits:
                    return super().execute(statement, *parameters)
                about, self.about = self.about, ""
                with points.commit(about or "other.commit", ".db-wal"):
                    return super().execute(statement, *parameters)

            def executemany(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
                self._look(statement)
                return super().executemany(statement, *parameters)

            def _look(self, statement: str) -> None:
                for words, point in _ABOUT:
                    if words.search(statement):
                        self.about = point

        real = sqlite3.connect

        @functools.wraps(real)
        def connect(*arguments: Any, **more: Any) -> sqlite3.Connection:
            if "/journal" in str(arguments[0]):
                more["factory"] = Connection
            return real(*arguments, **more)

        sqlite3.connect = connect

    def _wrap_files(self) -> None:
        real = Path.replace

        def replace(path: Path, target: Any) -> Path:
            name = Path(target).name
            self.meet(name, BEFORE)
            done = real(path, target)
            self.meet(name, AFTER)
            return done

        Path.replace = replace  # type: ignore[method-assign]

    # --- the connection to the broker -----------------------------------------------------------------------

    def _wrap_connection(self) -> None:
        import paho.mqtt.client as paho

        from sync import mqtt

        self._wrap_publish(mqtt.Link)
        self._wrap_sending(paho.Client)
        self._wrap_turns(paho.Client)
        for listener in _listeners():
            self._wrap_received(listener)

    def _wrap_publish(self, link: Any) -> None:
        real = link.publish

        def publish(own: Any, topic: str, payload: bytes, **more: Any) -> Any:
            point = f"{_kind(topic)}.publish"
            self.meet(point, BEFORE)
            if self.pass_by(point, AT):
                self._half = topic.encode()
            done = real(own, topic, payload, **more)
            self.meet(point, AFTER)
            return done

        link.publish = publish

    def _wrap_sending(self, client: Any) -> None:
        real = client._sock_send

        def send(own: Any, data: bytes) -> int:
            if self._half is not None and self._half in bytes(data):
                own._sock.send(bytes(data)[: len(data) // 2])
                die()
            return int(real(own, data))

        client._sock_send = send

    def _wrap_turns(self, client: Any) -> None:
        real = client.loop_misc  # once in each turn of the thread that moves its bytes

        def turn(own: Any) -> Any:
            if self.pass_by("loop", HANG):
                time.sleep(3600)
            if self.pass_by("loop", FAIL):
                raise RuntimeError("the thread was told to die")
            return real(own)

        client.loop_misc = turn

    def _wrap_received(self, listener: Any) -> None:
        from sync.mqtt import Incoming

        real = listener.received

        def received(own: Any, message: Incoming) -> None:
            point = f"{_kind(message.topic)}.puback"

            def acknowledge() -> None:
                self.meet(point, BEFORE)
                message.acknowledge()
                self.meet(point, AFTER)

            real(own, Incoming(message.topic, message.payload, message.retained, acknowledge))

        listener.received = received

    # --- central's ledger ---------------------------------------------------------------------------------

    def _wrap_ledger(self) -> None:
        from sqlalchemy.engine.default import DefaultDialect

        from central.ledger import writer
        from central.ledger.commands import AnswerHello, BookBatch, RecordState

        names = {BookBatch: "batch.commit", AnswerHello: "hello.commit", RecordState: "state.commit"}
        about = threading.local()
        run, do_commit = writer.run, DefaultDialect.do_commit

        def named_run(engine: Any, commands: Any, *arguments: Any, **more: Any) -> Any:
            about.points = {names[type(command)] for command in commands if type(command) in names}
            try:
                return run(engine, commands, *arguments, **more)
            finally:
                about.points = set()

        def commit(own: Any, connection: Any) -> None:
            with contextlib.ExitStack() as around:
                for point in sorted(getattr(about, "points", ())):
                    around.enter_context(self.commit(point, ".db-wal"))
                do_commit(own, connection)

        writer.run = named_run
        DefaultDialect.do_commit = commit  # type: ignore[method-assign]


# What a transaction of the journal is about, by words of its statements; of several, the last one decides.
_ABOUT: Final = (
    (re.compile("INSERT INTO event"), "scan.commit"),
    (re.compile("INSERT INTO incarnation"), "open.commit"),
    (re.compile("'connection'"), "connection.commit"),
    (re.compile("DELETE FROM event WHERE key BETWEEN"), "keep.commit"),
    (re.compile("UPDATE event SET outcome = (?!NULL)"), "verdict.commit"),
)


def die() -> None:
    """Be gone, now."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:  # the signal takes the other threads with it, and this one must not go on before
        time.sleep(1)


def _kind(topic: str) -> str:
    """`hello`, `events`, `acks` … of an agent's topic; `movements`; `stock`."""
    parts = topic.split("/")
    return parts[2] if parts[2] in ("movements", "stock") else parts[-1]


def _listeners() -> list[Callable[..., Any]]:
    from central.consumer import Consumer
    from sync.uplink import Uplink

    return [Uplink, Consumer]

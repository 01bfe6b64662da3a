"""Central: one database, and the workers that answer agents from it.

The real ledger core, in one transaction for whatever waits, on SQLite in memory; the real parking. What is written
here is what stands around them in the real program (central/consumer.py, central/ledger/service.py): who waits for
the ledger, and what is sent when. A worker may end before its commit, after it, and before each of its answers.
"""

import base64
import itertools
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import msgspec
import sqlalchemy as sa

from central import backups, database, tables
from central.consumer import _incarnation_in
from central.ledger import writer
from central.ledger.commands import AnswerHello, BookBatch, Command
from central.parking import Parking, above_gap
from central.windows import WINDOW
from sync import messages
from sync.messages import Ack, Hello, Unreadable
from tests.simulation.disk import Crash
from tests.simulation.fast import FastEngine
from tests.simulation.watch import VOID

if TYPE_CHECKING:
    from tests.simulation.watch import Timeline
    from tests.simulation.world import World

EVENTS_AT_ONCE: Final = 300  # in one transaction, as in the ledger's settings
MOST_INBOX: Final = 50
RETRY_S: Final = 0.5
KEPT_BACKUPS: Final = 2
START_DAY: Final = 2_461_365.5  # 2026-11-21 as a Julian day: the database's clock when a run begins
PAGE_BYTES: Final = 1024  # small, for a backup copies all of them
SKUS: Final = ("SKU-1", "SKU-2")
PLACES: Final = ("DOCK", "BIN-1", "BIN-2")


@cache
def template() -> bytes:
    """An empty database with a catalogue, on small pages: it is copied for every seed."""
    with tempfile.TemporaryDirectory() as folder:
        engine = database.open_engine(f"sqlite:///{folder}/wide.db")
        database.migrate(engine)
        with database.writing(engine) as connection:
            connection.execute(sa.update(tables.history).values(id="history-0", created_us=0))
            connection.execute(sa.insert(tables.item), [{"sku": sku, "name": sku} for sku in SKUS])
            connection.execute(
                sa.insert(tables.location), [{"id": place, "site": "lej1"} for place in PLACES]
            )
        engine.dispose()
        narrow = Path(folder) / "narrow.db"
        raw = sqlite3.connect(f"{folder}/wide.db", isolation_level=None)
        raw.execute(f"PRAGMA page_size={PAGE_BYTES}")
        raw.execute("VACUUM INTO ?", (str(narrow),))
        raw.close()
        return narrow.read_bytes()


class _Connection(sqlite3.Connection):
    """The one connection of this process, whose commits can be made to fail. Its clock is the simulation's."""

    armed: str | None = None
    """What happens when the ledger commits next."""
    is_ledger = False
    day: float = START_DAY

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if statement != "COMMIT" or self.armed is None or not self.is_ledger:
            return super().execute(statement, parameters)
        armed, self.armed = self.armed, None
        if armed in ("before", "fails"):
            super().execute("ROLLBACK")
        else:
            super().execute(statement)
        if armed in ("before", "after"):
            raise Crash
        raise sa.exc.OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    def commit(self) -> None:
        """As SQLAlchemy asks for it."""
        if self.in_transaction:
            self.execute("COMMIT")

    def close(self) -> None:
        """SQLAlchemy lets go of a connection whose commit was cut; the database stays in memory."""
        if self.in_transaction:
            self.rollback()


def connection() -> _Connection:
    """A new one."""
    raw = sqlite3.connect(":memory:", isolation_level=None, factory=_Connection)
    raw.create_function("julianday", 1, lambda _when: raw.day)
    raw.execute(f"PRAGMA page_size={PAGE_BYTES}")
    return raw


def load(raw: sqlite3.Connection, image: bytes) -> None:
    """Put that database in the place of what the connection holds. (`deserialize` in the midst of a connection's life
    crashes SQLite 3.40.1 later.)
    """
    with closing(sqlite3.connect(":memory:")) as copy:
        copy.deserialize(image)
        copy.backup(raw)


@cache
def _engine() -> FastEngine:
    return FastEngine(connection())


@dataclass
class Backup:
    """What central's database was at some moment."""

    image: bytes
    timeline: "Timeline"
    mark: str = ""
    """Under which central counts on it; empty: nobody has told it."""


class Centre:
    """The database, its backups, and its workers."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.engine = _engine()
        self.raw: Any = self.engine.raw
        self.workers = [Worker(self, f"w{number}") for number in range(world.scenario.workers)]
        self.backups: list[Backup] = []
        self.window: int | None = None
        """What is granted when it is not what central says itself."""
        self.clock_s = 0.0
        self._names = world.dice("central/names")
        self._marks = itertools.count(1)

    def start(self) -> None:
        """Take over this process's database."""
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")
        self.raw.armed = None
        load(self.raw, template())
        if not self.world.scenario.backups or self.world.dice("backups").random() < 0.5:
            self.backup()

    def new_id(self) -> str:
        return self._names.randbytes(16).hex()

    def transact(self, work: Callable[[], Any]) -> Any:
        """Work on the database at this moment of the simulation."""
        self.raw.day = START_DAY + (self.world.now + self.clock_s) / 86400
        return work()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """What stands in the database, past everything that is tested."""
        return self.raw.execute(query, values).fetchall()

    @property
    def history(self) -> str:
        return str(self.rows("SELECT id FROM history ORDER BY ordinal DESC LIMIT 1")[0][0])

    def acked(self, incarnation: str | None) -> int:
        found = self.rows("SELECT acked FROM cursor WHERE incarnation = ?", incarnation)
        return int(found[0][0]) if found else 0

    # --- backups -----------------------------------------------------------------------------------

    def backup(self, *, tells: bool = False) -> None:
        """Begin one. It is finished later, and what comes meanwhile is not in it. The first one is finished at once:
        as long as central counts on none, agents forget what no copy has.
        """
        if not self.world.scenario.backups:
            self.backups = [*self.backups[-2:], Backup(self.raw.serialize(), self.world.promises.time.copy())]
            return
        mark = self._new_mark()
        self.transact(lambda: backups.begin(self.engine, mark, mark))  # type: ignore[arg-type]
        self.world.promises.backup_begun(mark)
        taken = Backup(self.raw.serialize(), self.world.promises.time.copy(), mark)
        if self.world.promises.time.counted:
            self.world.after(self.world.dice("backups").uniform(0.1, 4.0), self._finish, taken, tells)
        else:
            self._finish(taken, tells)

    def _new_mark(self) -> str:
        return f"mark-{next(self._marks):04d}"

    def _finish(self, taken: Backup, tells: bool) -> None:
        """The copy is proved, and central counts on it, unless it went back to before it was begun."""
        is_known = True
        try:
            self.transact(lambda: backups.finish(self.engine, taken.mark, keep=KEPT_BACKUPS))  # type: ignore[arg-type]
        except backups.UnknownMark:
            is_known = False
        self.world.promises.backup_finished(taken.mark, is_known=is_known)
        self.backups.append(taken)
        self._keep_what_counts()
        if tells:
            self.tell_all()

    def _keep_what_counts(self) -> None:
        if self.world.scenario.backups:
            self.backups = [one for one in self.backups if one.mark in self.world.promises.time.counted]

    def restore(self, backup: Backup, *, told: bool) -> None:
        """Every worker ends, the database is what it was, and they come back; `told` begins a new history."""
        for worker in self.workers:
            worker.end()
        self.raw.armed = None
        load(self.raw, backup.image)
        self.backups = self.backups[: self.backups.index(backup) + 1]
        self.world.promises.restored(backup, told=told)
        if told:
            with mock.patch("central.database.uuid.uuid4", lambda: mock.Mock(hex=self.new_id())):
                self.transact(lambda: self._tell_of_restore(backup))
            self.world.promises.look()
        self.world.promises.check_backups()
        self._keep_what_counts()

    def _tell_of_restore(self, backup: Backup) -> None:
        if backup.mark:
            backup.mark = self._new_mark()
            backups.restored(self.engine, backup.mark, backup.mark)  # type: ignore[arg-type]
            self.world.promises.backup_restored(backup.mark)
        else:
            with database.writing(self.engine) as connection:  # type: ignore[arg-type]
                database.new_history(connection, "restored")

    # --- rest --------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Windows open, commits work, workers stand."""
        self.window, self.raw.armed = None, None
        self.tell_all()

    def tell_all(self) -> None:
        """What changed unasked: a window, or what is safe."""
        for incarnation, agent in self.rows("SELECT incarnation, agent FROM cursor ORDER BY incarnation"):
            worker = self.workers[0]
            if worker.up:
                worker.send(agent, worker.stand(incarnation))


@dataclass
class _Waiting:
    agent: str
    command: Command


class Worker:
    """One process of central."""

    def __init__(self, centre: Centre, name: str) -> None:
        self.centre, self.world, self.name = centre, centre.world, name
        self.dice = self.world.dice(f"worker/{name}")
        self.up = True
        self.life = 0
        self.misreads = 0
        self.inbox: deque[tuple[str, str, bytes]] = deque()
        self.waiting: deque[_Waiting] = deque()
        self.parking = Parking()
        self._planned = False

    # --- its life ----------------------------------------------------------------------------------

    def end(self) -> None:
        """It ends without a word and comes back soon; what it had not acknowledged may be handed over again."""
        left = list(self.inbox) if self.world.scenario.persistent else []
        self.world.trace(self.name, "ends")
        self.up, self.life, self._planned, self.misreads = False, self.life + 1, False, 0
        self.inbox.clear()
        self.waiting.clear()
        self.parking = Parking()
        self.world.after(self.dice.uniform(0.2, 4.0), self._come_back, left)

    def _come_back(self, left: list[tuple[str, str, bytes]]) -> None:
        self.up = True
        for message in left:
            self.receive(*message)

    def _in(self, delay_s: float, work: Callable[..., Any], *arguments: Any) -> None:
        self.world.after(delay_s, self._alive, self.life, work, arguments)

    def _alive(self, life: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if life == self.life and self.up:
            work(*arguments)

    # --- messages ----------------------------------------------------------------------------------

    def receive(self, agent: str, kind: str, payload: bytes) -> None:
        """A message of an agent."""
        if not self.up or len(self.inbox) >= MOST_INBOX:
            return
        self.inbox.append((agent, kind, payload))
        self._plan(self.dice.uniform(0.001, 0.02))

    def _plan(self, delay_s: float) -> None:
        if not self._planned:
            self._planned = True
            self._in(delay_s, self._work)

    def _work(self) -> None:
        """Whatever waits, as far as it goes into one transaction."""
        self._planned = False
        while self.inbox:
            agent, kind, payload = self.inbox.popleft()
            if kind == "hello":
                hello = messages.decode(payload, Hello, limit_bytes=messages.MAX_UPWARD_BYTES)
                self.waiting.append(_Waiting(agent, AnswerHello(hello)))
            else:
                self._events(agent, payload)
        batch, events = [], 0
        while self.waiting and events < EVENTS_AT_ONCE:
            if batch and not writer.may_join(batch[0].command, self.waiting[0].command):
                break
            batch.append(self.waiting.popleft())
            events += writer.weight(batch[-1].command)
        if batch:
            self._carry_out(batch)

    def _events(self, agent: str, payload: bytes) -> None:
        try:
            events = messages.decode_batch(payload)
            self._refuse_odd(payload)
        except Unreadable:
            ack = self.stand(_incarnation_in(payload))
            self.send(
                agent,
                msgspec.structs.replace(ack, problem="unreadable", payload=messages.payload_hash(payload)),
            )
            return
        texts = tuple(bytes(text) for text in msgspec.json.decode(payload, type=list[msgspec.Raw]))
        self.waiting.append(_Waiting(agent, BookBatch(agent, tuple(events), texts)))

    def _refuse_odd(self, payload: bytes) -> None:
        """An agent of a newer version may say what central cannot read yet; and two workers need not be of one."""
        if b'"unreadable":true' in payload:
            raise Unreadable("no worker can read it")
        if self.misreads:
            self.misreads -= 1
            self.world.promises.misread(payload)
            raise Unreadable("this worker cannot read it this time")
        if self.world.scenario.half_readable and self.name == "w0" and b'"odd":true' in payload:
            raise Unreadable("this worker cannot read it")

    # --- the ledger --------------------------------------------------------------------------------

    def _carry_out(self, batch: list[_Waiting]) -> None:
        centre = self.centre
        commands = [one.command for one in batch]
        if centre.raw.armed is None and self.world.befalls("altered"):
            commands += self._altered()
        crashed = failed = False
        stays = centre.raw.armed in ("after", "half")
        results: list[Any] = []
        centre.raw.is_ledger = True
        try:
            results, _ = centre.transact(lambda: writer.run(centre.engine, commands, centre.new_id))  # type: ignore[arg-type]
        except Crash:
            crashed = True
        except sa.exc.OperationalError:
            failed = True
        finally:
            centre.raw.is_ledger = False
        self.world.promises.committed(commands, results, stands=stays or not (crashed or failed))
        if crashed:
            self.end()
        elif failed:  # the same once more: it may have been committed after all
            self.waiting.extendleft(reversed(batch))
            self._plan(RETRY_S)
        else:
            self._in(self.dice.uniform(0.0, 0.003), self._answer, batch, results[: len(batch)])
            if self.waiting:
                self._plan(0.0)

    def _altered(self) -> list[Command]:
        """Something that is booked comes once more, and says something else, or that it stands for another event. The
        answer to that gets lost.
        """
        booked = self.centre.rows("SELECT original FROM movement ORDER BY event_id")
        if not booked:
            return []
        dice = self.world.dice("altered")
        event = msgspec.json.decode(dice.choice(booked)[0])
        if event["type"] == VOID:
            replaced = msgspec.json.decode(base64.b64decode(event["data"]["original"]))
            event = {**event, "type": replaced["type"], "data": replaced["data"]}
        event["data"]["quantity"] = 7
        if dice.random() < 0.3:
            event = {**event, "type": VOID, "data": {"id": "e0", "original": "e30="}}
        text = msgspec.json.encode(event)
        agent = event["source"].rpartition("/")[2]
        return [BookBatch(agent, tuple(messages.decode_batch(b"[" + text + b"]")), (text,))]

    def _answer(self, batch: list[_Waiting], results: list[Any]) -> None:
        for one, result in zip(batch, results, strict=True):
            if isinstance(one.command, AnswerHello):
                for ack in result:
                    self.send(one.agent, ack)
                continue
            assert isinstance(one.command, BookBatch) and isinstance(result, Ack), result
            now, place = self.world.now, {"history": result.history, "acked": result.acked}
            if above_gap(one.command, result.acked) and self.parking.park(one.command, now=now, **place):
                self.world.counts["parked"] += 1
            self.send(one.agent, result)
            for ready in self.parking.ready(result.incarnation or "", **place):
                self.world.counts["unparked"] += 1
                self.waiting.append(_Waiting(one.agent, ready))
        if self.waiting:
            self._plan(0.0)
        if (due := self.parking.next_due()) is not None:
            self._in(max(0.0, due - self.world.now), self._try_parked)

    def _try_parked(self) -> None:
        for batch in self.parking.due(self.world.now):
            self.waiting.append(_Waiting(batch.agent, batch))
            self._plan(0.0)

    def stand(self, incarnation: str | None) -> Ack:
        """How far central is with an incarnation, unasked."""
        with database.reading(self.centre.engine) as connection:  # type: ignore[arg-type]
            history, found = backups.stands(connection, [incarnation] if incarnation else [])
        _, acked, safe = found[0] if found else ("", 0, 0)
        return Ack(
            history=history,
            nonce=None,
            incarnation=incarnation,
            acked=acked,
            safe=safe,
            window=WINDOW,
            verdicts=[],
        )

    def send(self, agent: str, ack: Ack) -> None:
        """An answer, with the window that is granted just now."""
        if self.centre.window is not None:
            ack = msgspec.structs.replace(ack, window=self.centre.window)
        self.world.promises.answered(agent, ack)
        self.world.network.from_worker(self, agent, messages.encode(ack))

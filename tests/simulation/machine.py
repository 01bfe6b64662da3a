"""An agent: a machine with its disk, and the program that runs on it.

The program is the real engine, the real committer and the real store. What is written here is what stands between
them and has threads in the real program (journal.py, uplink.py): a writer that takes what waits, a reader,
and a loop that does what the engine says. Each of their steps is a step of the world, and between any two of them
the program may end.
"""

import copy
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sync import engine, ids, messages
from sync.engine import Action, Engine, Publish, Read, Record, Reenter, Void
from sync.journal.committer import Committer, Request
from sync.journal.reader import Reader
from sync.journal.recorded import Draft, JournalError
from sync.journal.store import Store
from sync.messages import Ack
from tests.simulation.disk import Crash, Disk, DiskFiles, Handle
from tests.simulation.scenario import AGE
from tests.simulation.watch import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

SITE: Final = "lej1"
TICK_S: Final = 0.5
CALM_TICK_S: Final = 1.0
RETRY_S: Final = 2.0  # as in the uplink
RECONNECT_FIRST_S, RECONNECT_MOST_S, STEADY_S = 0.2, 10.0, 5.0  # as in the link
KEEP_EVERY_S: Final = 3.0
KEEP_ROWS: Final = 3
START_MS: Final = 1_790_000_000_000  # the wall clock when a run begins


class Machine:
    """One machine of an agent. It remembers what people were told, which the disk has to keep."""

    def __init__(self, world: "World", name: str, agent: str, image: bytes | None = None) -> None:
        self.world, self.name, self.agent = world, name, agent
        self.dice = world.dice(f"machine/{name}")
        self.disk = Disk(self.dice, image)
        self.told: dict[str, None] = {}
        """Ids of events for which somebody saw an OK, and which the disk has to hold …"""
        self.pruned: dict[str, None] = {}
        """… except for these."""
        self.known: set[str] = set()
        """Ids of the events that its journal is known to hold."""
        self.may_have_pruned = False
        """It was about to forget something, and has not said so yet."""
        self.process: Process | None = None
        self.clock_ms = 0
        self.starting = False
        self.is_of_use = False
        """It has taken a scan since everything healed."""

    def memory(self) -> tuple[dict[str, None], dict[str, None], set[str], bool]:
        """What it remembers now of its disk, for a copy of both."""
        return dict(self.told), dict(self.pruned), set(self.known), self.may_have_pruned

    def remember(self, memory: tuple[dict[str, None], dict[str, None], set[str], bool]) -> None:
        """Its disk is that of then."""
        told, pruned, known, self.may_have_pruned = memory
        self.told, self.pruned, self.known = dict(told), dict(pruned), set(known)

    def plan_scans(self) -> None:
        """Scans at moments of its own."""
        dice = self.world.dice(f"scans/{self.name}")
        for _ in range(self.world.scenario.scans):
            self.world.after(dice.uniform(0.1, self.world.scenario.calm_at_s), self._scan)

    def _scan(self) -> None:
        if self.process is not None:
            self.process.scan()
        elif self.world.calm:
            self.world.after(1.0, self._scan)

    def start(self) -> None:
        """Start the program, unless it runs."""
        self.starting = False
        if self.process is None:
            process, refusals = Process(self), self.disk.refusals
            try:
                process.open()
            except Crash:
                self.disk.kill()
                self.start_again()
            except (sqlite3.Error, JournalError) as error:  # it says what is wrong with its disk, and ends
                if self.disk.refusals == refusals:
                    raise Violation(f"{self.name} cannot start on a sound disk: {error}") from error
                self.world.trace(self.name, "cannot start:", error)
                self.disk.kill()
                self.start_again()

    def start_again(self) -> None:
        """As its supervisor does."""
        if not self.starting:
            self.starting = True
            self.world.after(self.dice.uniform(0.5, 4.0), self.start)

    def stop(self, *, power: bool = False) -> None:
        """The program ends without a word; or the whole machine does."""
        if self.process is not None:
            self.process.alive = False
            self.world.network.disconnect(self.process)
            self.process = None
        if power:
            self.disk.cut_power()
        else:
            self.disk.kill()

    def end(self, *, power: bool = False) -> None:
        """It ends, and will be started again."""
        self.world.trace(self.name, "power cut" if power else "killed")
        self.stop(power=power)
        self.start_again()

    def heal(self) -> None:
        """Disk and clock are all right from now on."""
        self.disk.broken = self.disk.armed = None
        self.world.after(self.dice.uniform(5.0, 10.0), self._scan)

    def now_ms(self) -> int:
        """This machine's wall clock."""
        return START_MS + self.clock_ms + int(self.world.now * 1000)


class Process:
    """The program: from its start to its end."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.world, self.dice = machine, machine.world, machine.dice
        self.alive = True
        self.was_copied = False
        """It goes on where another program was, memory and all."""
        self.started_s = self.world.now
        self.store = Store(
            DiskFiles(machine.disk), agent=machine.agent, site=SITE, random_bytes=self.dice.randbytes
        )
        self.committer = Committer(self.store, machine.now_ms)
        self.reader = Reader(DiskFiles(machine.disk))
        self.engine: Engine
        self.requests: deque[Request[Callable[[Any], None], Any]] = deque()
        self.records: deque[Record] = deque()
        self.actions: deque[Read | Record | Void | Reenter] = deque()
        self.online = False
        self._writing = self._recording = self._acting = False
        self._busy = False
        self._keep_failed = False
        """What it wrote may be there all the same."""
        self._joining: Reenter | None = None
        self._retry_s = RECONNECT_FIRST_S
        self._online_s = 0.0
        self.sent: dict[tuple[str, int], str] = {}
        """What this program and what it was copied from has published in which place."""

    # --- its life ----------------------------------------------------------------------------------

    def open(self) -> None:
        """What the program does until it is up."""
        self.committer.open()
        machine, world = self.machine, self.world
        machine.process = self
        world.promises.started(self)
        self.engine = Engine(
            agent=machine.agent,
            site=SITE,
            software="simulated",
            history=self.committer.history,
            streams=self.store.streams(),
            new_nonce=lambda: ids.nonce(self.dice.randbytes),
            random=self.dice.random,
        )
        world.trace(machine.name, "up", self.committer.told[0][:6])
        self._go_on()

    def _go_on(self) -> None:
        self.world.after(self.dice.uniform(0.05, 0.5), self._connect)
        self.world.after(self.dice.uniform(0.1, TICK_S), self._tick)
        self._in(self.dice.uniform(0.5, KEEP_EVERY_S), self._keep)

    def quiet(self) -> bool:
        """Nothing waits inside it."""
        return not (
            self.requests or self.records or self.actions or self._busy or self._writing or self._recording
        )

    @property
    def writes_down(self) -> bool:
        """What central said is not all written down yet."""
        return bool(self.records) or self._recording

    def copy_to(self, machine: Machine) -> "Process":
        """The same program in the same state on another machine, whose disk holds the same. Not connected."""
        twin = Process(machine)
        files = DiskFiles(machine.disk)
        same: dict[int, Any] = {
            id(self.store.files): files,
            id(self.store._raw): Handle(machine.disk),
            id(self.machine): machine,
            id(self.dice): twin.dice,
        }
        twin.committer = copy.deepcopy(self.committer, same)
        twin.store = twin.committer.store
        twin.engine = copy.deepcopy(self.engine)
        twin.engine.disconnected()
        twin.sent, twin.was_copied = dict(self.sent), True
        return twin

    def thaw(self) -> None:
        """Go on after having been copied."""
        self.world.promises.started(self)
        self.machine.process = self
        self._go_on()

    def _in(self, delay_s: float, work: Callable[..., Any], *arguments: Any) -> None:
        """Later, if it still lives."""
        self.world.after(delay_s, self._alive, work, arguments)

    def _alive(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if self.alive:
            work(*arguments)

    # --- people ------------------------------------------------------------------------------------

    def scan(self) -> None:
        """Somebody scans one thing, or several."""
        drafts = [self.world.promises.draft(self) for _ in range(self.dice.choice((1, 1, 2, 5)))]
        self._ask(lambda answer: self._scanned(drafts, answer), drafts=drafts)

    def _scanned(self, drafts: list[Draft], answer: Any) -> None:
        if isinstance(answer, Exception):
            self.world.counts["refused"] += 1
            self.world.trace(self.machine.name, "refused:", answer)
        else:
            self.world.counts["scans"] += 1
            self.world.trace(self.machine.name, "OK", [draft.id for draft in drafts])
            self.machine.told.update((draft.id, None) for draft in drafts)
            self.world.promises.told_at.update((draft.id, self.world.now) for draft in drafts)
            self.machine.known.update(draft.id for draft in drafts)
            self.machine.is_of_use = self.machine.is_of_use or self.world.calm

    # --- the writer thread -------------------------------------------------------------------------

    def _ask(
        self,
        then: Callable[[Any], None],
        *,
        drafts: Any = (),
        work: Callable[[], Any] | None = None,
        alone: bool = False,
    ) -> None:
        self.requests.append(Request.to_append(then, drafts) if drafts else Request(then, (), work, alone))
        if not self._writing:
            self._writing = True
            self._in(self._disk_s(), self._write)

    def _disk_s(self) -> float:
        return self.dice.uniform(0.0005, 0.005) + (1.0 if self.world.befalls("slow_disk") else 0.0)

    def _write(self) -> None:
        """Take what waits, commit it, and tell those who wait a moment later."""
        group = [self.requests.popleft()]
        while self.requests and not group[0].alone and not self.requests[0].alone:
            group.append(self.requests.popleft())
        before, refusals = self.committer.told, self.machine.disk.refusals
        try:
            answers = self.committer.commit(group)
        except Crash:
            self.world.trace(self.machine.name, "ends at a commit")
            self.machine.end(power=self.dice.random() < 0.5)
            return
        for _, answer in answers:
            self.world.promises.written(self, answer, refused=self.machine.disk.refusals > refusals)
        told = self.committer.told
        self._in(self.dice.uniform(0.0, 0.003), self._tell, answers, told if told != before else None)

    def _tell(self, answers: Any, appended: tuple[str, int] | None) -> None:
        if appended is not None and appended[1]:
            self._do(self.engine.appended(*appended, self.world.now))
        for request, answer in answers:
            request.who(answer)
        self._writing = bool(self.requests)
        if self._writing:
            self._in(self._disk_s(), self._write)

    # --- the connection ----------------------------------------------------------------------------

    def _connect(self) -> None:
        if self.alive and not self.online:
            self._ask(self._numbered, work=self.store.next_connection)

    def _numbered(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            self._in(RETRY_S, self._connect)
        elif not self.online and self.world.network.connect(self):
            self._do(self.engine.connected(self.world.now))
            self.world.network.hand_over(self)
        elif not self.online:
            self._reconnect()

    def connected(self) -> None:
        """The broker has taken it."""
        self.online, self._online_s = True, self.world.now
        self.world.promises.connected(self)

    def _reconnect(self) -> None:
        self._in(self._retry_s * (0.5 + self.dice.random()), self._connect)
        self._retry_s = min(self._retry_s * 2, RECONNECT_MOST_S)

    def lost_connection(self, reason: str) -> None:
        """The connection ended."""
        if self.online:
            self.world.trace(self.machine.name, "offline:", reason)
            self.online = False
            self.world.network.disconnect(self)
            self.engine.disconnected()
            if self.world.now - self._online_s >= STEADY_S:
                self._retry_s = RECONNECT_FIRST_S
            self._reconnect()

    def received(self, payload: bytes) -> None:
        """A message from central."""
        ack = messages.decode(payload, Ack)
        self.world.promises.heard(self, ack)
        self._do(self.engine.received_ack(ack, self.world.now))

    def _tick(self) -> None:
        if self.alive:
            self._do(self.engine.tick(self.world.now))
            self.world.after(CALM_TICK_S if self.world.calm else TICK_S, self._tick)

    # --- keeping house -----------------------------------------------------------------------------

    def _keep(self) -> None:
        """Forget what is settled, safe and old, little by little."""
        limits = self.world.scenario

        def keep() -> Any:
            self.machine.may_have_pruned = True
            ran_s = AGE * (self.world.now - self.started_s)
            return self.store.keep(
                ran_s, retention_s=limits.retention_s, keep_newest=limits.keep_newest, most=KEEP_ROWS
            )

        self._ask(self._kept, work=keep, alone=True)

    def _kept(self, answer: Any) -> None:
        self._keep_failed = self._keep_failed or isinstance(answer, Exception)
        self.machine.may_have_pruned = self._keep_failed
        failed = isinstance(answer, Exception)
        for incarnation, first_kept in () if failed else answer.begins:
            if answer.events:
                self.world.trace(self.machine.name, "forgets below", incarnation[:6], first_kept)
            self.engine.pruned(incarnation, first_kept)
        if failed or answer.events:  # a commit that failed may stand
            self.world.promises.pruned(self)
        self._in(KEEP_EVERY_S, self._keep)

    # --- doing what the engine says ----------------------------------------------------------------

    def _do(self, actions: list[Action]) -> None:
        """What is for central is said at once, the rest is done in order: as `Uplink` does."""
        for action in actions:
            if isinstance(action, Publish):
                self._publish(action)
            else:
                self.actions.append(action)
        if self.actions and not self._acting and not self._busy:
            self._acting = True
            self._in(self.dice.uniform(0.0, 0.002), self._act)

    def _act(self) -> None:
        self._acting = False
        while self.actions and not self._busy:
            self._perform(self.actions.popleft())

    def _publish(self, action: Publish) -> None:
        if self.online:
            self.world.promises.published(self, action)
            self.world.network.from_agent(self, action.kind, action.payload)

    def _perform(self, action: Read | Record | Void | Reenter) -> None:
        if isinstance(action, Record):
            self.records.append(action)
            self._write_down()
        elif isinstance(action, Read):
            self._busy = True
            self._in(self._disk_s(), self._fetch, action)
        elif isinstance(action, Void):
            self._busy = True
            self.world.promises.voids(self, action.incarnation, action.sequence)
            self._ask(
                lambda answer: self._done(
                    action, answer, lambda: self.engine.voided(action.incarnation, action.sequence)
                ),
                work=lambda: self.store.void(action.incarnation, action.sequence),
            )
        else:
            assert isinstance(action, Reenter)
            self._busy, self._joining = True, action
            self._reenter()

    def _fetch(self, action: Read) -> None:
        if self.machine.disk.broken:
            self._done(action, JournalError("cannot be read"), list)
            return
        batches = self.reader.batches(action.incarnation, action.first, action.last)
        self._done(action, None, lambda: self.engine.read(action, batches))

    def _reenter(self) -> None:
        """What is settled stays behind, so it is written down first."""
        action = self._joining
        if action is None or self.records:
            return
        self._joining = None
        if self.world.scenario.entering_fails and not self.world.calm and self.dice.random() < 0.8:
            # The next life has to do it then, and enters them into the one it is in.
            stays = action.incarnation != self.engine.current
            self.machine.disk.armed = "half" if stays else self.dice.choice(("before", "before", "half"))
        self._ask(
            lambda answer: self._done(action, answer, lambda: self.engine.reentered(answer, self.world.now)),
            work=lambda: self.store.reenter(action.incarnation),
            alone=True,
        )

    def _done(self, action: Action, answer: Any, then: Callable[[], list[Action]]) -> None:
        """Go on with what follows; what failed is tried again later."""
        if isinstance(answer, Exception):
            self.actions.appendleft(action)
            self._in(RETRY_S, self._free)
        else:
            self._busy = False
            if isinstance(action, Reenter):
                self.world.promises.looks_back(self)
            self._do(then())

    def _free(self) -> None:
        self._busy = False
        self._do([])

    def _write_down(self) -> None:
        """What came while the disk was busy becomes durable together."""
        if self.records and not self._recording:
            self._recording = True
            together = list(self.records)
            self._ask(lambda answer: self._wrote_down(together, answer), work=lambda: self._record(together))

    def _record(self, together: list[Record]) -> None:
        for record in engine.joined(together):
            self.store.record(record)

    def _wrote_down(self, together: list[Record], answer: Any) -> None:
        if isinstance(answer, Exception):
            self._in(RETRY_S, self._record_again)
            return
        for record in together:
            self.records.popleft()
            self.world.promises.recorded(self, record)
        self._record_again()
        self._reenter()

    def _record_again(self) -> None:
        self._recording = False
        self._write_down()

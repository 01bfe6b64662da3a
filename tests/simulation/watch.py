"""What has to be true of central after each of its transactions, and of each of its answers.

The idea: this module keeps its own account of what central wrote, read from its tables directly, and shares no code
with what it watches. When central's database goes back, so does the account. What is true of the books stands in
shelves.py.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from central.ledger.commands import AnswerHello, BookBatch
from sync.messages import Ack, Hello, Verdict
from tests.simulation import shelves

if TYPE_CHECKING:
    from tests.simulation.centre import Backup
    from tests.simulation.world import World

Place = tuple[str, int]
"""Incarnation and sequence."""
Bin = tuple[str, str]
"""SKU and location."""
Said = tuple[str, str, bytes]
"""What an event says: type, time and data. Its place is no part of it, nor is what it says of the life before."""

_MOVEMENTS: Final = (
    "SELECT rowid, event_id, outcome, number, incarnation, sequence, event, reason, occurred_at, sku, quantity,"
    " original FROM movement"
)
_DELIVERIES: Final = "SELECT rowid, incarnation, sequence, event_id FROM delivery"
_ASIDE: Final = "SELECT id, event_id, incarnation, sequence, original, problem FROM set_aside"
VOID: Final = "tallyman.void.v1"
# `two_connections` is no proof: a hello of an earlier life that is delivered late raises it too.
CLONE_ALARMS: Final = ("fork", "cloned_agent", "agent_set_back")
OTHERWISE_LOOKED_AT: Final = (*CLONE_ALARMS, "two_connections", "lost_range", "owed")

_json = msgspec.json.Decoder()


class Violation(Exception):
    """A promise was broken; the text says how."""


@dataclass
class Timeline:
    """What central's database holds, as told by its rows; it goes back when the database does."""

    acked: dict[str, int] = field(default_factory=dict)
    places: dict[Place, str] = field(default_factory=dict)
    """Which id came first in each place."""
    lost: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    movements: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    """Outcome and number of each id."""
    stock: dict[Bin, int] = field(default_factory=dict)
    """What all that is booked makes together."""
    voids: set[str] = field(default_factory=set)
    """The ids under which a void is booked."""
    aside: dict[str, set[tuple[Place, Said]]] = field(default_factory=dict)
    """The places in which each id was set aside, and what it said there."""
    due: set[tuple[str, str]] = field(default_factory=set)
    """Kind and key of the discrepancies that have to be open for what was booked or set aside."""
    alarms: set[tuple[str, str]] = field(default_factory=set)
    """Kind and key of the discrepancies that are open."""
    predecessors: dict[str, str] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=dict)
    """When central heard first of each incarnation, as it says itself."""
    speakers: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Which incarnation of each agent said hello last, and how often since the newest one began an older one has."""
    duels: set[str] = field(default_factory=set)
    """The agents of which two programs speak."""
    begun: tuple[str, ...] = ()
    """The marks of backups that were begun, and are not finished …"""
    counted: tuple[str, ...] = ()
    """… and of those that are counted on, in the order in which they were begun."""
    histories: tuple[str, ...] = ("history-0",)
    seen: tuple[int, ...] = (0, 0, 0)
    """The last rows of movement, delivery and set_aside that were looked at."""

    def copy(self) -> "Timeline":
        return Timeline(
            dict(self.acked), dict(self.places), {key: list(value) for key, value in self.lost.items()},
            dict(self.movements), dict(self.stock), set(self.voids),
            {key: set(value) for key, value in self.aside.items()}, set(self.due), set(self.alarms),
            dict(self.predecessors), dict(self.ages), dict(self.speakers), set(self.duels), self.begun,
            self.counted, self.histories, self.seen,
        )  # fmt: skip

    def has(self, name: str) -> bool:
        """Whether central keeps this event, booked or set aside."""
        return name in self.movements or name in self.aside

    def covered(self, incarnation: str, sequence: int) -> bool:
        """Whether central knows what became of this place."""
        return (incarnation, sequence) in self.places or self.is_lost(incarnation, sequence)

    def is_lost(self, incarnation: str, sequence: int) -> bool:
        """Whether it is written down that nobody has it any more."""
        return any(first <= sequence <= last for first, last in self.lost.get(incarnation, ()))


@dataclass
class Meant:
    """What an event says, and what it has to do to the books."""

    said: Said = ("", "", b"")
    sku: str = ""
    quantity: int = 0
    moves: dict[Bin, int] = field(default_factory=dict)
    """By how much the stock grows in each bin when it is booked; empty: it cannot be."""
    is_unknown: bool = False
    """It is about something that nobody has registered."""
    is_readable: bool = True
    """Some worker can read it. Otherwise only a void of it is booked."""
    is_odd: bool = False
    """Not every worker can read it, so that a void may take its place."""


class Watch:
    """Central's side of one run."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.meant: dict[str, Meant] = {}
        self.time = Timeline()
        self.cloned = False
        """Two programs may have claimed one place, or one was set back: alarms and conflicts are due."""
        self.forked: set[str] = set()
        """Incarnations in which one place was used for two events."""
        self.follows: dict[str, dict[str, Any] | None] = {}
        """What the first event of each incarnation has to say of the one before it."""
        self.excused: set[str] = set()
        """Pruned when nobody had recorded a backup, and lost with central's disk."""
        self.lossy = False
        """Central was restored from a copy that nobody had recorded."""
        self.restored_once = False
        self.doubtful: set[str] = set()
        """Histories that central went back in without noticing: what they said is not held against each other."""
        self.nothing_above: set[Place] = set()
        """Ends of past incarnations above which central had nothing when a hello told of them. What was sent before
        the agent was set back may come later still: it is booked once, and nobody hears of the set-back.
        """
        self.said: dict[str, set[tuple[str, int | None, str | None]]] = {}
        """Every outcome, number and reason that central ever told of an id, in whatever history."""
        self._misread: set[str] = set()
        self._given: dict[tuple[str, str, int, str], tuple[str, int | None]] = {}

    def misread(self, payload: bytes) -> None:
        """A worker could not read this, as any other time it could: what came alone may become a void."""
        if len(events := msgspec.json.decode(payload)) == 1:
            self._misread.add(events[0]["id"])

    def restored(self, backup: "Backup", *, told: bool) -> None:
        """Central is what it was. Of what agents have forgotten, a recorded backup must lack nothing."""
        self.time, self.restored_once = backup.timeline.copy(), True
        self.lossy = self.lossy or not backup.mark
        if not told:
            self.doubtful.add(self.time.histories[-1])
        self.world.trace("central is restored", "told" if told else "untold", "to", self.time.histories[-1])
        for machine in self.world.machines:
            for name in machine.pruned:
                if not self.time.has(name):
                    if backup.mark:
                        raise Violation(
                            f"{machine.name} forgot {name}, and the restored central does not have it"
                        )
                    self.excused.add(name)

    # --- backups -------------------------------------------------------------------------------------------

    def backup_begun(self, mark: str) -> None:
        """What is written from now on is not in it."""
        self.time.begun = (*self.time.begun, mark)
        self.check_backups()

    def backup_finished(self, mark: str, *, is_known: bool) -> None:
        """It counts, and with it one more at most; but not after one that was begun later."""
        time = self.time
        if is_known != (mark in time.begun):
            raise Violation(f"central knows of the backup {mark}: {is_known}; begun are {time.begun}")
        if is_known:
            time.begun = tuple(one for one in time.begun if one != mark)
            is_late = any(one > mark for one in time.counted)
            time.counted = (time.counted if is_late else (*time.counted, mark))[-2:]
        self.check_backups()

    def backup_restored(self, mark: str) -> None:
        """What central was restored from is a backup, and what was begun before is none."""
        self.time.begun, self.time.counted = (), (*self.time.counted, mark)

    def check_backups(self) -> None:
        """Central counts on the backups that it should."""
        time = self.time
        rows = self.world.centre.rows("SELECT mark, finished_us FROM backup ORDER BY ordinal")
        begun = tuple(mark for mark, finished_us in rows if finished_us is None)
        counted = tuple(mark for mark, finished_us in rows if finished_us is not None)
        if (begun, counted) != (time.begun, time.counted):
            raise Violation(f"central counts on {counted}, begun {begun}; due {time.counted}, {time.begun}")

    # --- its transactions -----------------------------------------------------------------------------------

    def committed(self, commands: Sequence[Any], results: Sequence[Any], *, stands: bool) -> None:
        """Look at what a transaction left, if it `stands`. Without results nobody was told of it."""
        before, time = self.time.copy(), self.time
        self.look()
        if stands:
            self._listen(commands)
        self._check_causes()
        self._check_cursors(before.acked)
        self._check_lost(before, commands)
        self._check_set_back(before, commands)
        for command, result in zip(commands, results, strict=False):
            if isinstance(command, BookBatch):
                self._check_batch(command, result, before)
            elif isinstance(command, AnswerHello):
                self._check_hello(command.hello, result, before)
        if len(time.histories) > 1 and not self.restored_once:
            raise Violation("central began a new history, and nothing had happened to it")
        alarms = [] if self.cloned else [alarm for alarm in time.alarms if alarm[0] in CLONE_ALARMS]
        if alarms:
            raise Violation(f"a false alarm: {alarms}")
        if time.lost and not (self.lossy or self.cloned):
            raise Violation(f"a lost range, and nothing was lost: {time.lost}")

    def look(self) -> None:
        """Read what central has written since."""
        time, rows, seen = self.time, self.world.centre.rows, self.time.seen
        fresh = rows(f"{_MOVEMENTS} WHERE rowid > ? ORDER BY rowid", seen[0])
        for row in sorted(fresh, key=_in_order):
            _, name, outcome, number, incarnation, sequence, event, reason, *written, original = row
            self._check_verdict(name, outcome, is_void=event == "void")
            self._check_row(name, tuple(written), number)
            self._check_original(name, original, (incarnation, sequence))
            if (reason is None) != (outcome == "accepted") or (number is None) != (outcome == "rejected"):
                raise Violation(f"{name} is {outcome} under the number {number}, and the reason is {reason}")
            time.movements[name] = (outcome, number)
            self._hold((incarnation, sequence), name)
        delivered = rows(f"{_DELIVERIES} WHERE rowid > ? ORDER BY rowid", seen[1])
        for _, incarnation, sequence, name in delivered:
            self._hold((incarnation, sequence), name)
        aside = rows(f"{_ASIDE} WHERE id > ? ORDER BY id", seen[2])
        for _, name, incarnation, sequence, original, problem in aside:
            self._check_original(name, original, (incarnation, sequence), is_altered=problem == "conflict")
            time.aside.setdefault(name, set()).add(((incarnation, sequence), said_by(_json.decode(original))))
            if problem == "conflict":
                time.due.add(("conflict", name))
        self._look_at_alarms()
        self._look_at_histories()
        if fresh:
            for wrong in shelves.wrong(rows, self.meant, time.stock, seen[0]):
                raise Violation(wrong)
        found = (fresh, delivered, aside)
        time.seen = tuple(rows[-1][0] if rows else last for rows, last in zip(found, seen, strict=True))

    def _check_verdict(self, name: str, outcome: str, *, is_void: bool) -> None:
        """There is one verdict that is right."""
        if name not in self.meant:
            raise Violation(f"central booked {name}, which nobody recorded")
        meant = self.meant[name]
        if is_void and not (meant.is_odd or name in self._misread):
            raise Violation(f"a void took the place of {name}, which central can read")
        if not (is_void or meant.is_readable):
            raise Violation(f"central booked {name}, which no worker can read")
        if is_void:
            self.time.voids.add(name)
            self.time.due.add(("unreadable", name))
        due = "rejected" if is_void or not meant.moves else self._booked_as(meant)
        if outcome != due:
            raise Violation(f"central's verdict on {name} is {outcome}: {due} was due")

    def _booked_as(self, meant: Meant) -> str:
        """What becomes of it in the books of now, which is in them afterwards."""
        stock, is_owed = self.time.stock, False
        if meant.is_unknown:
            self.time.due.add(("unknown_item", meant.sku))
        for where, grown in meant.moves.items():
            was = stock.get(where, 0)
            stock[where] = was + grown
            is_owed = is_owed or stock[where] < min(was, 0)
        return "discrepant" if is_owed or meant.is_unknown else "accepted"

    def _check_row(self, name: str, written: tuple[str, str | None, int | None], number: int | None) -> None:
        """The books say what the event says."""
        meant = self.meant[name]
        due = (
            (meant.said[1], meant.sku, meant.quantity) if number is not None else (meant.said[1], None, None)
        )
        if written != due:
            raise Violation(f"the books say {written} of {name}, and it says {due}")

    def _check_original(self, name: str, original: str, place: Place, *, is_altered: bool = False) -> None:
        """What is kept of an event is what it said, in its place; of a void, what it stands for."""
        if name not in self.meant:
            raise Violation(f"central keeps {name}, which nobody recorded")
        try:
            kept = event = _json.decode(original)
            if is_void(name, event["type"], event["data"]):
                kept = _json.decode(base64.b64decode(event["data"]["original"]))
        except msgspec.DecodeError as error:
            raise Violation(f"what is kept of {name} cannot be read: {original}") from error
        same = said_by(kept) == self.meant[name].said
        if (
            (event["incarnation"], int(event["sequence"])) != place
            or kept["id"] != name
            or same == is_altered
        ):
            raise Violation(f"what is kept of {name} in the place {place} is not what came: {original}")

    def _look_at_alarms(self) -> None:
        """An alarm is raised as long as it is open: whoever opens the pages has to see it."""
        time = self.time
        time.lost = {}
        noted = self.world.centre.rows("SELECT kind, key FROM discrepancy WHERE status = 'open' ORDER BY id")
        time.alarms = {(kind, key) for kind, key in noted}
        others = {alarm for alarm in time.alarms if alarm[0] not in OTHERWISE_LOOKED_AT}
        if others != time.due:
            raise Violation(f"discrepancies are open: {sorted(others)}; due: {sorted(time.due)}")
        for kind, key in noted:
            if kind == "lost_range":
                incarnation, _, span = key.partition(":")
                first, last = map(int, span.split("-"))
                time.lost.setdefault(incarnation, []).append((first, last))

    def _look_at_histories(self) -> None:
        time = self.time
        histories = self.world.centre.rows("SELECT id, cause FROM history ORDER BY ordinal")
        for place, (_, cause) in enumerate(histories[len(time.histories) :], len(time.histories)):
            if cause == "rolled_back" and not any(name in self.doubtful for name, _ in histories[:place]):
                raise Violation("central began a new history, for it had gone back; and it had not")
        time.histories = tuple(name for name, _ in histories)

    def _hold(self, place: Place, name: str) -> None:
        holder = self.time.places.setdefault(place, name)
        if holder != name:
            raise Violation(f"the place {place} was {holder}'s, and central gave it to {name}")

    def check_nothing_vanished(self) -> None:
        """What central wrote it still has, as it was: read as a whole."""
        self.check_backups()
        time, rows = self.time, self.world.centre.rows
        movements = {row[1]: (row[2], row[3]) for row in rows(_MOVEMENTS)}
        if movements != time.movements:
            raise Violation(f"central had booked {time.movements}, and has {movements}")
        places = {(row[4], row[5]): row[1] for row in rows(_MOVEMENTS)}
        places |= {(row[1], row[2]): row[3] for row in rows(_DELIVERIES)}
        if places != time.places:
            raise Violation(f"the places were held by {time.places}, and are by {places}")
        aside = {(row[1], ((row[2], row[3]), said_by(_json.decode(row[4])))) for row in rows(_ASIDE)}
        if aside != {(name, one) for name, several in time.aside.items() for one in several}:
            raise Violation(f"central had set aside {time.aside}, and has {aside}")

    def _check_cursors(self, before: dict[str, int]) -> None:
        """Promise 6. Within the database as it is, `acked` only rises, and never over a hole."""
        time = self.time
        now = dict(self.world.centre.rows("SELECT incarnation, acked FROM cursor ORDER BY incarnation"))
        for incarnation, acked in before.items():
            if now.get(incarnation, 0) < acked:
                raise Violation(
                    f"acked of {incarnation[:6]} went back from {acked} to {now.get(incarnation)}"
                )
        for incarnation, acked in now.items():
            for sequence in range(before.get(incarnation, 0) + 1, acked + 1):
                if not time.covered(incarnation, sequence):
                    raise Violation(f"acked of {incarnation[:6]} is {acked}, and central has no {sequence}")
        time.acked = now

    def _check_lost(self, before: Timeline, commands: Sequence[Any]) -> None:
        """A place is lost only when a hello of this transaction says that its agent no longer holds it, and when
        central has nothing in it.
        """
        let_go: dict[str, int] = {}
        for command in commands:
            for listed in command.hello.incarnations if isinstance(command, AnswerHello) else ():
                last = min(listed.first_kept - 1, listed.last_sequence)
                let_go[listed.incarnation] = max(last, let_go.get(listed.incarnation, 0))
        for incarnation, spans in self.time.lost.items():
            for first, last in spans:
                if (first, last) in before.lost.get(incarnation, ()):
                    continue
                name = incarnation[:6]
                if last > let_go.get(incarnation, 0):
                    raise Violation(f"{first} to {last} of {name} are called lost, and its agent holds some")
                if any(before.covered(incarnation, sequence) for sequence in range(first, last + 1)):
                    raise Violation(f"{first} to {last} of {name} are called lost, and central has some")

    def _listen(self, commands: Sequence[Any]) -> None:
        """What is said of the life before, and who speaks: an older incarnation that does so twice since the newest
        one began is a second program.
        """
        time, known = self.time, set(self.time.ages)
        time.ages = dict(self.world.centre.rows("SELECT incarnation, first_seen_us FROM cursor"))
        for command in commands:
            if isinstance(command, BookBatch):
                first = command.events[0]
                known.add(first.incarnation)
                told = first.data.get("previous")
                if first.number == 1 and told is not None:
                    time.predecessors[first.incarnation] = told["incarnation"]
                continue
            agent, speaks = command.hello.agent, command.hello.incarnations[-1].incarnation
            current, returns = time.speakers.get(agent, ("", 0))
            again = current in known and speaks in known and time.ages[speaks] < time.ages[current]
            returns = (returns if speaks in known else 0) + again
            time.speakers[agent] = (speaks, returns)
            if again and returns >= 2:
                time.duels.add(agent)
            known.update(one.incarnation for one in command.hello.incarnations)

    def _check_causes(self) -> None:
        """Two programs are told of exactly when two speak, and a copy only where there is one."""
        told = {key for kind, key in self.time.alarms if kind == "two_connections"}
        if told != self.time.duels:
            raise Violation(f"told of two programs: {told}; two speak: {self.time.duels}")
        for kind, key in self.time.alarms:
            followed = sum(one is not None and one["incarnation"] == key for one in self.follows.values())
            if (kind == "fork" and key not in self.forked) or (kind == "cloned_agent" and followed < 2):
                raise Violation(f"a false alarm: {kind} {key[:6]}")

    def _check_set_back(self, before: Timeline, commands: Sequence[Any]) -> None:
        """It is only told if a hello, or the first event of an incarnation, says that one before it has ended below
        what central has of it.
        """
        ends: dict[str, int] = {}
        """The lowest that was said."""
        for command in commands:
            if isinstance(command, AnswerHello):
                said = [(one.incarnation, one.last_sequence) for one in command.hello.incarnations[:-1]]
            else:
                told = [one.data.get("previous") for one in command.events]
                said = [(one["incarnation"], one["last_sequence"]) for one in told if one is not None]
            for incarnation, last in said:
                ends[incarnation] = min(last, ends.get(incarnation, last))
        for kind, incarnation in self.time.alarms - before.alarms:
            known = self.time.acked.get(incarnation, 0)
            if kind == "agent_set_back" and ends.get(incarnation, known) >= known:
                raise Violation(f"a false alarm: nobody was set back in {incarnation[:6]}")

    def _check_batch(self, batch: BookBatch, ack: Any, so_far: Timeline) -> None:
        """Each event answered has its place, its verdict stands in the tables, and a fork is told. `so_far` is what
        central had before this batch, and has it in it afterwards.
        """
        time, forked, acked = self.time, False, so_far.acked
        assert isinstance(ack, Ack), ack
        for event, verdict in zip(batch.events, ack.verdicts, strict=False):
            place = (event.incarnation, event.number)
            if (verdict.sequence, verdict.id) != (event.number, event.id):
                raise Violation(f"the verdict on {event.id} stands under {verdict.id}")
            if event.number > ack.acked:
                raise Violation(f"a verdict on {event.id}, and acked is below it")
            forked = forked or time.places.get(place) != event.id
            came = (place, said(event.type, event.time, event.data))
            self._check_answer(verdict, came, so_far, as_void=is_void(event.id, event.type, event.data))
            told = event.data.get("previous")
            if event.number == 1 and isinstance(told, dict):
                is_first = event.incarnation not in so_far.predecessors
                so_far.predecessors[event.incarnation] = told["incarnation"]
                self._check_siblings(told["incarnation"])
                is_back = told["last_sequence"] < acked.get(told["incarnation"], 0)
                if is_first and is_back and ("agent_set_back", told["incarnation"]) not in time.alarms:
                    name = told["incarnation"][:6]
                    raise Violation(f"the first event says that {name} was set back, and there is no alarm")
        if forked != (ack.problem == "fork"):
            raise Violation(f"a fork of {batch.events[0].incarnation[:6]}: {forked}, and told: {not forked}")
        if forked and ("fork", batch.events[0].incarnation) not in time.alarms:
            raise Violation(f"a fork of {batch.events[0].incarnation[:6]}, and nobody was told")

    def _check_answer(
        self, verdict: Verdict, came: tuple[Place, Said], so_far: Timeline, *, as_void: bool
    ) -> None:
        """An event is in conflict exactly if it was not booked when it came, and its place was another's; or if it
        was, and said something else. A void and what it replaces say the same.
        """
        name, place, time = verdict.id, came[0], self.time
        known = name in so_far.movements
        altered = known and not as_void and name not in so_far.voids and came[1] != self.meant[name].said
        contradicted = altered or (not known and so_far.places.get(place, name) != name)
        if (verdict.outcome == "conflict") != contradicted:
            holder = so_far.places.get(place)
            raise Violation(
                f"{name} is {verdict.outcome}; booked before: {known}, its place held by {holder}"
            )
        caused = altered or place[0] in self.forked
        if contradicted and not (caused and came in time.aside.get(name, ())):
            raise Violation(f"a conflict about {name}, which nobody contradicts or which is not kept")
        if not contradicted and time.movements.get(name) != (verdict.outcome, verdict.movement):
            raise Violation(f"the verdict on {name} is not what is booked: {verdict}")
        if verdict.duplicate != (came in so_far.aside.get(name, ()) if contradicted else known):
            raise Violation(f"{name} had a verdict before, or had none: duplicate is {verdict.duplicate}")
        so_far.places.setdefault(place, name)
        if contradicted:
            so_far.aside.setdefault(name, set()).add(came)
        else:
            so_far.movements[name] = (verdict.outcome, verdict.movement)
            if as_void and not known:
                so_far.voids.add(name)

    def _check_siblings(self, predecessor: str) -> None:
        named = [one for one, other in self.time.predecessors.items() if other == predecessor]
        if len(named) > 1 and ("cloned_agent", predecessor) not in self.time.alarms:
            raise Violation(f"{len(named)} incarnations follow {predecessor[:6]}, and there is no alarm")

    def _check_hello(self, hello: Hello, acks: Any, before: Timeline) -> None:
        """Every listed incarnation is answered; what the hello proves is noticed."""
        time = self.time
        if [(ack.incarnation, ack.nonce) for ack in acks] != [
            (one.incarnation, hello.nonce) for one in hello.incarnations
        ]:
            raise Violation("a hello was not answered for each incarnation that it lists")
        for listed in hello.incarnations[:-1]:
            is_back = listed.last_sequence < before.acked.get(listed.incarnation, 0)
            if is_back and ("agent_set_back", listed.incarnation) not in time.alarms:
                name = listed.incarnation[:6]
                raise Violation(f"{hello.agent} was set back in {name}, and there is no alarm")
            if not is_back:
                self.nothing_above.add((listed.incarnation, listed.last_sequence))
        known = (None, *before.histories)
        if hello.history not in known and acks[0].history in (*known, hello.history):
            raise Violation(f"{hello.agent} names a history that central never had, and no other begins")
        if acks[0].history == hello.history:
            for listed in hello.incarnations:
                if listed.acked > time.acked.get(listed.incarnation, 0):
                    raise Violation("an agent knows more than central, and the history goes on")

    def answered(self, agent: str, ack: Ack) -> None:
        """What leaves central is in its tables, and was never said otherwise."""
        time, history = self.time, ack.history
        self.world.trace("  ack", agent, _ack_line(ack))
        if history == time.histories[-1] and ack.acked > self.world.centre.acked(ack.incarnation):
            raise Violation(f"{agent} is told acked {ack.acked}, which is not durable")
        if ack.safe > ack.acked:
            raise Violation(f"{agent} is told that {ack.safe} are safe and {ack.acked} are known")
        for backup in self.world.centre.backups:
            kept = backup.timeline.acked.get(ack.incarnation or "", 0)
            if backup.mark and history == time.histories[-1] and ack.safe > kept:
                raise Violation(f"{agent} is told that {ack.safe} are safe, and a backup has {kept}")
        for verdict in ack.verdicts:
            self.said.setdefault(verdict.id, set()).add((verdict.outcome, verdict.movement, verdict.reason))
        if history in self.doubtful:
            return
        for verdict in ack.verdicts:
            name = (history, ack.incarnation or "", verdict.sequence, verdict.id)
            given = self._given.setdefault(name, (verdict.outcome, verdict.movement))
            if given == ("conflict", None) and verdict.id in time.movements:
                continue  # it was entered in a place of its own since, and has the verdict that it got there
            if given != (verdict.outcome, verdict.movement):
                raise Violation(f"the verdict on {verdict.id} was {given} and is {verdict}")


def said(type_: str, time: str, data: dict[str, Any]) -> Said:
    """What an event says that has these."""
    told = {name: value for name, value in data.items() if name != "previous" and value is not None}
    return type_, time, msgspec.json.encode(told, order="sorted")


def is_void(name: str, type_: str, data: dict[str, Any]) -> bool:
    """Whether it stands for the event of that id, which is its own; no other one is a void."""
    return type_ == VOID and data["id"] == name


def said_by(event: dict[str, Any]) -> Said:
    """What an event says."""
    return said(event["type"], event["time"], event["data"])


def _in_order(movement: Any) -> int:
    """Of a row of _MOVEMENTS: the order in which they were booked."""
    return movement[3] or 0


def _ack_line(ack: Ack) -> str:
    verdicts = " ".join(f"{one.sequence}:{one.id}:{one.outcome}:{one.movement}" for one in ack.verdicts)
    problem = "" if ack.problem is msgspec.UNSET else f" {ack.problem}"
    return (
        f"{ack.history[:9]} {(ack.nonce or '-')[:6]} {(ack.incarnation or '-')[:6]} acked {ack.acked} safe {ack.safe}"
        f" window {ack.window}{problem} {verdicts}"
    )

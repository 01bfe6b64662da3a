"""What has to be true after every step, and what has to come true once everything has healed.

The idea: this module keeps its own account, of what people were told and of what was sent; and it shares no code
with what it watches. What central has to keep is in watch.py. The numbers are those of the promises in
ARCHITECTURE.md.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from sync.engine import Publish, Record
from sync.journal.recorded import Draft, JournalError, rfc3339
from sync.messages import Ack
from tests.simulation.scenario import AGE
from tests.simulation.watch import CLONE_ALARMS, Meant, Violation, Watch, said

if TYPE_CHECKING:
    from tests.simulation.machine import Machine, Process
    from tests.simulation.world import World

_json = msgspec.json.Decoder()


@dataclass
class Speaking:
    """What one connection of one program has sent."""

    granted: int = 0
    nonce: str | None = None
    changed: bool = False
    """An answer to the latest hello has changed the history."""
    unanswered: set[tuple[str, int]] = field(default_factory=set)


class Promises(Watch):
    """Keeps the account of one run."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.lives: set[str] = set()
        """Incarnations that began."""
        self._used: dict[tuple[str, int], str] = {}
        """Which event was sent first in each place, by whomever."""
        self.told_at: dict[str, float] = {}
        """When somebody saw an OK for each event."""
        self._forks_told: list[tuple[Process, str]] = []
        self._speaking: dict[Process, Speaking] = {}
        self._set_back: list[tuple[Machine, dict[str, int]]] = []

    # --- agents ------------------------------------------------------------------------------------

    def draft(self, process: "Process") -> Draft:
        """Something to scan."""
        world, dice = self.world, process.dice
        name = f"e{next(world.names)}"
        kind, quantity = "received", dice.choice((1, 2, 5))
        data: dict[str, Any] = {
            "sku": dice.choice(("SKU-1", "SKU-2")),
            "quantity": quantity,
            "to_location": "DOCK",
        }
        meant = Meant()
        if world.befalls("malformed"):
            del data["to_location"]
        elif world.befalls("poison"):
            data["unreadable"] = True  # to this version of central
            meant = Meant(is_readable=False, is_odd=True)
        elif dice.random() < 0.1:
            data["odd"] = True
            meant = Meant(is_odd=world.scenario.half_readable)
        elif dice.random() < 0.1:
            data["sku"] = "UNKNOWN"
            meant = Meant(is_unknown=True)
        elif dice.random() < 0.2:
            kind, places = "moved", ["BIN-1", "DOCK"]
            data["from_location"], data["to_location"] = places if dice.random() < 0.5 else places[::-1]
            meant.moves[data["sku"], data["from_location"]] = -quantity
        if "to_location" in data and meant.is_readable:
            meant.moves[data["sku"], data["to_location"]] = quantity
        draft = Draft(name, f"tallyman.{kind}.v1", rfc3339(process.machine.now_ms()), data)
        meant.said, meant.sku, meant.quantity = said(draft.type, draft.time, data), data["sku"], quantity
        self.meant[name] = meant
        return draft

    def started(self, process: "Process") -> None:
        """Promise 1: what somebody saw an OK for is on the disk of which they saw it."""
        machine = process.machine
        self._begins(process)
        held = {row.event.id for row in process.reader.recent(100_000)}
        if machine.may_have_pruned:
            self._may_forget(machine, held)
            machine.may_have_pruned = False
        missing = [name for name in machine.told if name not in held and name not in machine.pruned]
        if missing:
            raise Violation(f"{machine.name} told OK for {missing}, and its journal does not hold them")
        machine.known = held

    def written(self, process: "Process", answer: Any, *, refused: bool) -> None:
        """Whoever is not told OK has a disk that refused, and hears that.

        Args:
            refused: the disk has, at this attempt.
        """
        if isinstance(answer, Exception) and not (refused and isinstance(answer, JournalError)):
            raise Violation(
                f"{process.machine.name} refuses on a sound disk, or with no word of it: {answer!r}"
            )

    def _begins(self, process: "Process") -> None:
        if not process.was_copied:
            incarnation = process.committer.told[0]
            if incarnation in self.lives:
                raise Violation(f"{process.machine.name} started, and goes on in {incarnation[:6]}")
            self.lives.add(incarnation)
        self.looks_back(process)

    def looks_back(self, process: "Process") -> None:
        """An incarnation follows the one that was the newest when it began, which is over."""
        before = None
        for stream in process.store.streams():
            self.follows.setdefault(stream.incarnation, before)
            before = {"incarnation": stream.incarnation, "last_sequence": stream.last}

    def connected(self, process: "Process") -> None:
        self._speaking[process] = Speaking()

    def heard(self, process: "Process", ack: Ack) -> None:
        """What the program may know of its window from now on."""
        speaking, engine = self._speaking[process], process.engine
        fresh = ack.nonce is not None and ack.nonce == speaking.nonce
        if ack.problem == "unreadable":  # what was sent of it counts as lost
            speaking.unanswered = {place for place in speaking.unanswered if place[0] != ack.incarnation}
        if ack.problem == "unreadable" or ack.incarnation not in engine.streams:
            return
        if ack.history != engine.history and fresh:
            if (
                speaking.changed
            ):  # a hello's answers may change the history once: this one is only asked about
                return
            speaking.changed = True
        if ack.history == engine.history or fresh:
            told = engine.streams[ack.incarnation]
            if ack.problem == "fork" and not told.left:
                self._forks_told.append((process, told.incarnation))
            speaking.granted = ack.window
            for verdict in ack.verdicts:
                speaking.unanswered.discard((ack.incarnation, verdict.sequence))

    def published(self, process: "Process", action: Publish) -> None:
        """Only durable events, each in its place, within the window."""
        speaking, machine = self._speaking[process], process.machine
        body = _json.decode(action.payload)
        if action.kind == "hello":
            if body["nonce"] != speaking.nonce:
                speaking.unanswered.clear()
                speaking.changed = False
            speaking.nonce = body["nonce"]
            self.world.trace(machine.name, "hello", _hello_line(body))
            return
        incarnation = body[0]["incarnation"]
        first, last = int(body[0]["sequence"]), int(body[-1]["sequence"])
        self.world.trace(machine.name, "events", incarnation[:6], first, last)
        if len(body) != last - first + 1:
            raise Violation(f"{machine.name} sent a batch with holes")
        durable = {sequence: name for sequence, name, _ in process.reader.texts(incarnation, first, last)}
        for event in body:
            place = (incarnation, int(event["sequence"]))
            # What was called safe and lost with an unrecorded copy may be let go of while it is sent again.
            let_go = self.lossy and (event["id"] in machine.pruned or machine.may_have_pruned)
            if durable.get(place[1]) != event["id"] and not let_go:
                raise Violation(
                    f"{machine.name} sent {event['id']}, which is not durable in its place {place}"
                )
            if process.sent.setdefault(place, event["id"]) != event["id"]:
                raise Violation(f"{machine.name} used the place {place} for two events")
            speaking.unanswered.add(place)
            if self._used.setdefault(place, event["id"]) != event["id"]:
                self.forked.add(incarnation)
            said, due = event["data"].get("previous"), self.follows[incarnation]
            if said != (due if place[1] == 1 else None):
                raise Violation(f"{machine.name} says {said} of the life before {incarnation[:6]}, not {due}")
        if len(speaking.unanswered) > speaking.granted:
            sent = len(speaking.unanswered)
            raise Violation(
                f"{machine.name} has {sent} events on their way, and {speaking.granted} were granted"
            )

    def recorded(self, process: "Process", record: Record) -> None:
        """The journal has written down what central said."""
        for _, verdict in record.verdicts:
            self.world.trace(process.machine.name, "verdict", verdict.id, verdict.outcome, verdict.movement)

    def pruned(self, process: "Process") -> None:
        """Promise 5: what is forgotten, central has in all that it could go back to."""
        machine = process.machine
        held = {row.event.id for row in process.reader.recent(100_000)}
        self._may_forget(machine, held, process.store.history)
        machine.known = held

    def _may_forget(self, machine: "Machine", held: set[str], history: str | None = None) -> None:
        """What nobody saw an OK for may stand in a copied file, and is gone when its commit has failed for good.

        Args:
            held: what its journal holds now.
            history: the one that its journal knew then; None: that is not known any more. What central had called
                safe, and lost with an unrecorded copy, may be let go of until the agent hears of another history.
        """
        knows = history == self.time.histories[-1] and history not in self.doubtful
        gone, limits = machine.known - held, self.world.scenario
        if gone & machine.told.keys() and len(held) < limits.keep_newest:
            raise Violation(f"{machine.name} forgot {sorted(gone)}, and holds only {len(held)}")
        for name in sorted(gone & machine.told.keys()):
            if self.world.now - self.told_at[name] < limits.retention_s / AGE:
                raise Violation(f"{machine.name} forgot {name}, which it was told at {self.told_at[name]}")
            machine.pruned[name] = None
            self.world.counts["pruned"] += 1
            if not self.time.has(name):
                if not self.lossy or (knows and not self.cloned):
                    raise Violation(f"{machine.name} forgot {name}, which central does not have")
                self.excused.add(name)
            for backup in self.world.centre.backups:
                if backup.mark and not backup.timeline.has(name):
                    raise Violation(f"{machine.name} forgot {name}, which a recorded backup does not have")

    def voids(self, process: "Process", incarnation: str, sequence: int) -> None:
        """A void stands in for what has no verdict."""
        if process.writes_down:
            return
        for row in process.reader.recent(100_000):
            if (row.incarnation, row.sequence) == (incarnation, sequence) and row.outcome is not None:
                raise Violation(f"{process.machine.name} voids {row.event.id}, which is {row.outcome}")

    # --- copies and old states ---------------------------------------------------------------------

    def lives_on(self, machine: "Machine") -> dict[str, int]:
        """The last sequence of each incarnation in its journal."""
        if machine.process is None:
            return {}
        return {stream.incarnation: stream.last for stream in machine.process.store.streams()}

    def set_back(self, machine: "Machine", lives: dict[str, int]) -> None:
        self.cloned = True
        self._set_back = [one for one in self._set_back if one[0] is not machine]  # to what it is now
        self._set_back.append((machine, lives))

    def copied(self, machine: "Machine", twin: "Machine") -> None:
        self.cloned = True

    def goes_on(self, machine: "Machine") -> None:
        """It runs on from a state of before: in an incarnation that is not over, so that nothing was set back."""
        self.cloned = True
        self._set_back = [one for one in self._set_back if one[0] is not machine]

    # --- the end -----------------------------------------------------------------------------------

    def unsettled(self) -> str | None:
        """What is still to come, once everything has healed; None: all of it has come."""
        centre = self.world.centre
        for machine in self.world.machines:
            if machine.process is None or not machine.process.quiet():
                return f"{machine.name} is not at rest"
            if not machine.is_of_use:
                return f"{machine.name} has taken no scan since"
            if machine.process.engine.queued:
                return f"{machine.name} still has {machine.process.engine.queued} events without a verdict"
            if (wrong := self._unsettled_at(machine, machine.process)) is not None:
                return wrong
        for process, incarnation in self._forks_told:
            stream = process.engine.streams.get(incarnation)
            if process.alive and stream is not None and not stream.left:
                return f"{process.machine.name} was told of a fork, and did not leave {incarnation[:6]}"
        for machine, lives in self._set_back:
            for incarnation, last in lives.items():
                noticed = any((kind, incarnation) in self.time.alarms for kind in CLONE_ALARMS)
                noticed = noticed or ("two_connections", machine.agent) in self.time.alarms
                came_late = (incarnation, last) in self.nothing_above
                if centre.acked(incarnation) > last and not noticed and not came_late:
                    return f"{machine.name} was set back in {incarnation[:6]} to {last}, and nobody noticed"
        self.check_nothing_vanished()
        return None

    def _unsettled_at(self, machine: "Machine", process: "Process") -> str | None:
        """Promises 3, 9 and 10 for one journal."""
        time = self.time
        rows = process.reader.recent(100_000)
        if rows and process.engine.history != time.histories[-1]:
            return f"{machine.name} is in another history than central"
        for stream in process.store.streams():
            knows = process.engine.streams[stream.incarnation]
            written = (stream.acked, stream.safe, stream.answered)
            if written != (knows.acked, knows.safe, knows.answered):
                return (
                    f"{machine.name} has written {written} of {stream.incarnation[:6]}, and heard otherwise"
                )
        held = {row.event.id for row in rows}
        if machine.may_have_pruned:  # the commit had failed, and stands
            self._may_forget(machine, held)
            machine.known = held
        for name in machine.told:
            if name not in held and name not in machine.pruned:
                return f"{machine.name} no longer has {name}"
        for name in machine.pruned:
            if not time.has(name) and name not in self.excused:
                return f"{machine.name} forgot {name}, and central does not have it"
        for row in rows:
            name = row.event.id
            if row.outcome is None:
                return f"{machine.name} has no verdict on {name}"
            if (row.outcome, row.movement, row.reason) not in self.said.get(name, ()):
                told = (row.outcome, row.movement, row.reason)
                return f"{name} is {told} at {machine.name}, which central never said"
            if row.outcome == "conflict":
                # No agent changes what it says, so only its place was taken, and it was to be entered elsewhere.
                if name not in time.movements and not (self.lossy and name in time.aside):
                    return f"{name} is in conflict, and was not booked in any other place"
            elif name not in time.movements:
                # A copy of this agent took its place, or had let go of it. Central has written that down, unless it
                # had called safe what it lost, and the copy was first: then this one is never sent again.
                place = (row.incarnation, row.sequence)
                taken = time.places.get(place, name) != name
                if self.lossy and self.cloned and (taken or name in time.aside or time.is_lost(*place)):
                    continue
                return f"{name} was {row.outcome}, and central does not have it"
            elif time.movements[name] != (row.outcome, row.movement) and not self._may_differ():
                return f"{name} is {time.movements[name]} at central, {(row.outcome, row.movement)} at {machine.name}"
        return None

    def _may_differ(self) -> bool:
        """Whether a verdict may be one of a central that is gone: it went back unnoticed at first, or to a copy that
        nobody had recorded, and had called safe what it lost. The event is booked once all the same.
        """
        return self.lossy or bool(self.doubtful)


def _hello_line(body: dict[str, Any]) -> str:
    lives = [
        f"{one['incarnation'][:6]}:{one['first_kept']}-{one['last_sequence']}/{one['acked']}"
        for one in body["incarnations"]
    ]
    return f"{body['nonce'][:6]} {(body['history'] or '-')[:9]} {' '.join(lives)}"

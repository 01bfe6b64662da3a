"""Mistakes that could be made in the product, each planted by changing the real code at one point.

A simulation that finds nothing has shown nothing until it is shown to bite: each of these is caught within 2,000
seeds. `from_seed` is where looking for it begins in CI, near a seed that catches it; `test_mistakes.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import msgspec
import sqlalchemy as sa

from central import backups, database, streams, tables
from central.ledger import booking, fold, kinds, transitions, writer
from central.ledger.books import Books, Close, Open
from central.ledger.commands import AnswerHello
from central.ledger.scribe import Scribe
from sync import engine, ranges, stream, voids
from sync.engine import Engine, Reenter
from sync.journal import lives, retention, store
from sync.journal.committer import Committer
from sync.journal.mending import Mender
from sync.journal.recorded import JournalError
from sync.journal.store import Store
from sync.messages import Ack

Planted = Callable[[], Any]


@dataclass(frozen=True)
class Mistake:
    """What is wrong, and how to make it so: something that is entered and left."""

    what: str
    plant: Planted
    from_seed: int = 0
    shows_as: str = "Violation"
    """The error that it ends in: a promise is seen to be broken, unless the product itself stops before."""


MISTAKES: dict[str, Mistake] = {}


def mistake(what: str, from_seed: int = 0, shows_as: str = "Violation") -> Callable[[Planted], Planted]:
    """Put it into the table under the function's name."""

    def put(plant: Planted) -> Planted:
        MISTAKES[plant.__name__] = Mistake(what, plant, from_seed, shows_as)
        return plant

    return put


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """With that mistake in the product, or with none."""
    with MISTAKES[name].plant() if name else nullcontext():
        yield


def _around(owner: Any, name: str, change: Callable[..., Any]) -> Any:
    """`change(original, *arguments)` in the place of `original(*arguments)`."""
    original = getattr(owner, name)
    return mock.patch.object(owner, name, lambda *args, **named: change(original, *args, **named))


# --- the journal -----------------------------------------------------------------------------------


@mistake("a failed commit is told as OK")
def ok_after_failure() -> Any:
    def commit(original: Any, self: Any, group: Any, *more: Any) -> Any:
        answers = original(self, group, *more)
        return [(one, [] if one.drafts and isinstance(said, JournalError) else said) for one, said in answers]

    return _around(Committer, "commit", commit)


@mistake("after a failed commit the file is used on as if nothing had been", from_seed=26)
def failed_fsync_believed() -> Any:
    def failed(original: Any, self: Any, error: Exception) -> Any:
        said = original(self, error)
        self.is_suspect, self.condition = False, None
        return said

    return _around(Mender, "failed", failed)


@mistake("what is about to be committed is told already", from_seed=32)
def told_before_commit() -> Any:
    def apply(original: Any, self: Any, group: Any, *more: Any) -> Any:
        placed = sum(len(one.drafts) for one in group)
        if placed:
            self.told = (self.store.incarnation, self.store.last + placed)
        return original(self, group, *more)

    return _around(Committer, "_apply", apply)


@mistake("after a failed commit scans are refused for good")
def refused_for_good() -> Any:
    def mend(original: Any, self: Any, *more: Any) -> None:
        condition = self.condition
        original(self, *more)
        self.condition = condition

    return _around(Mender, "mend", mend)


@mistake("two scans in one are not taken")
def two_refused() -> Any:
    def place(original: Any, self: Any, bodies: Any) -> Any:
        if len(bodies) == 2:
            raise TypeError("two")
        return original(self, bodies)

    return _around(Store, "place", place)


@mistake("every other start fails", shows_as="KeyError")
def starts_fail() -> Any:
    def begin(original: Any, self: Any) -> Any:
        if self._random_bytes(1)[0] < 128:
            raise KeyError("lives")
        return original(self)

    return _around(Store, "_begin_incarnation", begin)


@mistake("a start goes on in the incarnation of before")
def old_incarnation() -> Any:
    def begin(original: Any, self: Any) -> Any:
        if not self._lives:
            return original(self)
        return self._adopt()

    return _around(Store, "_begin_incarnation", begin)


@mistake("mending takes out an event that somebody was told of, and its sequence is used again")
def sequence_reused() -> Any:
    return _around(
        Store, "recover", lambda original, self, name, last: original(self, name, max(0, last - 1))
    )


@mistake("what failed keeps its place, so that there is a gap", from_seed=30)
def failed_place_kept() -> Any:
    def recover(original: Any, self: Any, name: str, last: int) -> Any:
        before = self.last
        original(self, name, last)
        self.last = max(before, last)

    return _around(Store, "recover", recover)


@mistake("events are let go of before they are acknowledged")
def pruned_before_ack() -> Any:
    return mock.patch.object(retention, "_releasable", lambda life, old: life.last)


@mistake("events are let go of above `safe`", from_seed=10)
def pruned_above_safe() -> Any:
    def releasable(original: Any, life: Any, old: Any) -> Any:
        with mock.patch.object(life, "safe", life.acked):
            return original(life, old)

    return _around(retention, "_releasable", releasable)


@mistake("events are entered elsewhere under new ids", from_seed=9)
def reentered_under_new_ids() -> Any:
    def entered(original: Any, self: Any, text: bytes, *more: Any) -> Any:
        return original(self, text.replace(b'"id":"e', b'"id":"again-e', 1), *more)

    return _around(Store, "_entered", entered)


@mistake("of a forked incarnation only what contradicts is entered elsewhere", from_seed=9)
def reentered_in_part() -> Any:
    return _around(
        Store, "_move", lambda original, self, life, above, which: original(self, life, above, "outcome = 3")
    )


@mistake("what was entered where things go on is taken back after a failed commit", from_seed=610)
def entered_taken_back() -> Any:
    return mock.patch.object(lives, "stored_last", lambda _raw, _life: 0)


@mistake("events are let go of whatever their age")
def pruned_at_any_age() -> Any:
    def keep(original: Any, self: Any, ran_s: float, **named: Any) -> Any:
        return original(self, ran_s, **{**named, "retention_s": 0.0})

    return _around(Store, "keep", keep)


@mistake("the newest events do not stay", from_seed=7)
def newest_pruned() -> Any:
    return mock.patch.object(retention, "_unprotected", lambda life, protected: life.last)


@mistake("the first event says of the life before that it was longer")
def previous_too_long() -> Any:
    def adopt(original: Any, self: Any) -> Any:
        original(self)
        if self._previous:
            self._previous["last_sequence"] = 10**9

    return _around(Store, "_adopt", adopt)


@mistake("what is entered elsewhere as the first event names no life before", from_seed=9)
def entered_without_previous() -> Any:
    def entered(original: Any, self: Any, *more: Any) -> Any:
        with mock.patch.object(self, "_previous", None):
            return original(self, *more)

    return _around(Store, "_entered", entered)


@mistake("a void has an id of its own")
def void_under_new_id() -> Any:
    def void(original: Any, self: Any, incarnation: str, sequence: int) -> Any:
        original(self, incarnation, sequence)
        for key, text in self._raw.execute("SELECT key, text FROM event").fetchall():
            if b".void.v1" in bytes(text):
                changed = bytes(text).replace(b'"id":"e', b'"id":"v')
                self._raw.execute("UPDATE event SET text = ? WHERE key = ?", (changed, key))

    return _around(Store, "void", void)


# --- the engine ------------------------------------------------------------------------------------


@mistake("a hello calls gone what may be let go of", from_seed=14)
def hello_says_safe_is_let_go() -> Any:
    def repeat(original: Any, self: Any, now: float) -> Any:
        streams = {
            name: replace(one, first_kept=max(one.first_kept, one.safe + 1))
            for name, one in self.streams.items()
        }
        with mock.patch.object(self, "streams", streams):
            return original(self, now)

    return _around(Engine, "_repeat_hello", repeat)


@mistake("of what was heard while the disk was busy only the first is written down", from_seed=12)
def joined_in_part() -> Any:
    return _around(engine, "joined", lambda original, records: original(records[:1]))


@mistake("the window is not looked at")
def window_ignored() -> Any:
    return mock.patch.object(Engine, "_room", lambda self: 1000)


@mistake("that another part is safe is not written down", from_seed=110)
def safe_not_recorded() -> Any:
    def heard(original: Any, self: Any, ack: Ack, now: float) -> Any:
        one = self.streams.get(ack.incarnation or "")
        before = one and (one.acked, one.answered)
        said = original(self, ack, now)
        if one and before == (one.acked, one.answered):
            said = [
                act for act in said if not isinstance(act, engine.Record) or act.forget_above or act.verdicts
            ]
        return said

    return _around(Engine, "received_ack", heard)


@mistake("any ack counts as the answer to the latest hello", from_seed=9)
def nonce_not_checked() -> Any:
    def heard(original: Any, self: Any, ack: Ack, now: float) -> Any:
        return original(self, msgspec.structs.replace(ack, nonce=self._nonce), now)

    return _around(Engine, "received_ack", heard)


@mistake("what is said in another history is taken for this one", from_seed=22)
def history_change_ignored() -> Any:
    def heard(original: Any, self: Any, ack: Ack, now: float) -> Any:
        return original(self, msgspec.structs.replace(ack, history=self.history or ack.history), now)

    return _around(Engine, "received_ack", heard)


@mistake("verdicts of a history that is gone are kept", from_seed=14)
@contextmanager
def verdicts_not_forgotten() -> Iterator[None]:
    def change(original: Any, self: Any, ack: Ack, answered: Any) -> Any:
        with mock.patch.object(stream.Stream, "lack", lambda *_: None):
            original(self, ack, answered)
        return ()

    with (
        _around(Engine, "_change_history", change),
        mock.patch.object(stream.Stream, "lack_again", lambda *_: False),
    ):
        yield


@mistake("what was acked of other incarnations is not forgotten with the history", from_seed=1500)
def acked_not_forgotten() -> Any:
    def changed(original: Any, self: Any, ack: Ack, answered: Any) -> Any:
        before = [(one, one.acked) for one in self.streams.values() if one is not answered]
        forget = original(self, ack, answered)
        for one, acked in before:
            one.acked = acked
        return forget

    return _around(Engine, "_change_history", changed)


@mistake("what came of events on their way is never asked again")
def no_stall() -> Any:
    return mock.patch.object(engine, "STALL_FIRST_S", 1e9)


@mistake("a fork of the current incarnation is ignored by its agent", from_seed=9)
def fork_ignored_by_agent() -> Any:
    def heard(original: Any, self: Any, ack: Ack, now: float) -> Any:
        said = original(
            self, msgspec.structs.replace(ack, problem=msgspec.UNSET) if ack.problem == "fork" else ack, now
        )
        return [one for one in said if not isinstance(one, Reenter)]

    return _around(Engine, "received_ack", heard)


@mistake("whatever is called unreadable, the first event on its way is voided")
def wrong_event_voided() -> Any:
    def unreadable(original: Any, self: Any, ack: Ack) -> Any:
        stream = self.streams.get(ack.incarnation or "")
        if stream is None or stream.lacking.first_run() is None:
            return []
        first = stream.lacking.first_run()[0]
        stream.voiding = first
        return [engine.Void(stream.incarnation, first)]

    return _around(Engine, "_unreadable", unreadable)


@mistake("when the history changes twice within one hello, the hello is only repeated", from_seed=2390)
def second_change_not_asked_about() -> Any:
    def tick(original: Any, self: Any, now: float) -> Any:
        periodic_at, never = self._periodic_at, 1e9
        if self._unanswered():
            self._periodic_at = never
        said = original(self, now)
        if self._periodic_at == never:
            self._periodic_at = periodic_at
        return said

    return _around(Engine, "tick", tick)


# --- central ---------------------------------------------------------------------------------------


@mistake("an answer is given although its commit failed", from_seed=29)
def answered_before_commit() -> Any:
    original = database.writing

    @contextmanager
    def writing(opened: Any) -> Iterator[Any]:
        try:
            with original(opened) as connection:
                yield connection
        except sa.exc.OperationalError:
            pass

    return mock.patch.object(database, "writing", writing)


def _not_noted(kind: str) -> Any:
    """Discrepancies of that kind are not."""

    def note(original: Any, self: Any, change: Any, movement: Any) -> None:
        if change.kind != kind:
            original(self, change, movement)

    return _around(Books, "note", note)


def _judged(change: Callable[..., Any]) -> Any:
    return _around(streams, "judge_batch", change)


@mistake("what is known already is in conflict where another event holds the place", from_seed=17)
def known_in_a_taken_place_is_conflict() -> Any:
    def judge(original: Any, acked: int, holders: Any, known: Any, events: Any) -> Any:
        ruling = original(acked, holders, known, events)
        steps = [
            step._replace(action="fork")
            if holders.get(event.sequence, event.identity) != event.identity
            else step
            for event, step in zip(events, ruling.steps, strict=False)
        ]
        return ruling._replace(steps=tuple(steps))

    return _judged(judge)


@mistake("central goes on behind a gap")
def gap_skipped() -> Any:
    return _judged(
        lambda original, acked, holders, known, events: original(
            max(acked, events[0].sequence - 1), holders, known, events
        )
    )


@mistake("a fork is not told", from_seed=9)
def fork_not_told() -> Any:
    return _judged(lambda original, *args: original(*args)._replace(forked=False))


# The database holds this promise too: each place is unique, so the transaction fails before anybody could see it.
@mistake("who holds a place is not looked at", from_seed=9, shows_as="IntegrityError")
def holders_ignored() -> Any:
    return _judged(lambda original, acked, holders, known, events: original(acked, {}, known, events))


@mistake("an event is booked once for each incarnation that it is sent in")
def booked_per_incarnation() -> Any:
    def prepare(original: Any, agent: str, event: Any, *more: Any) -> Any:
        one = original(agent, event, *more)
        return one._replace(identity=f"{one.identity}/{event.incarnation}")

    return _around(booking, "_prepare", prepare)


@mistake("what is known already is in conflict when it comes in another incarnation", from_seed=17)
def known_elsewhere_is_conflict() -> Any:
    def prepare(original: Any, agent: str, event: Any, *more: Any) -> Any:
        one = original(agent, event, *more)
        return one._replace(content=f"{one.content}/{event.incarnation}")

    return _around(booking, "_prepare", prepare)


@mistake("it is not said that a verdict was given before")
def duplicate_not_said() -> Any:
    return _around(
        booking,
        "_verdict",
        lambda original, *args: msgspec.structs.replace(original(*args), duplicate=False),
    )


@mistake("a verdict on what was known already is another one")
def verdict_changed() -> Any:
    def verdict(original: Any, books: Any, numbers: Any, one: Any, action: str, duplicate: bool) -> Any:
        said = original(books, numbers, one, action, duplicate)
        return msgspec.structs.replace(said, outcome="discrepant") if duplicate else said

    return _around(booking, "_verdict", verdict)


@mistake("what comes again is the same, whatever it says", from_seed=7)
def content_ignored() -> Any:
    return mock.patch.object(streams, "_same", lambda booked, event: True)


@mistake("what a discrepant or rejected event said is not kept")
def original_not_kept() -> Any:
    return _booked(lambda row: row if row.outcome == "accepted" else row._replace(original=""))


@mistake("what was set aside is not kept", from_seed=7)
def aside_not_kept() -> Any:
    def write(original: Any, self: Any) -> Any:
        self.books.set_aside[:] = [one._replace(original="") for one in self.books.set_aside]
        return original(self)

    return _around(Scribe, "write", write)


@mistake("a void holds nothing of what it stands for")
def void_is_empty() -> Any:
    def void_of(original: Any, event: Any, text: bytes) -> Any:
        return original(event, b"")

    return _around(voids, "void_of", void_of)


@mistake("the books say another time than the event")
def another_time() -> Any:
    return _booked(lambda row: row._replace(occurred_at="never"))


@mistake("the books say another quantity than the event")
def another_quantity() -> Any:
    return _booked(lambda row: row._replace(quantity=7) if row.quantity else row)


@mistake("verdicts of a run are written down with the first one's reason")
def first_reason_for_all() -> Any:
    def runs(original: Any, verdicts: Any) -> Any:
        first = verdicts[0][1].reason
        return original(
            [(name, msgspec.structs.replace(one, reason=one.reason and first)) for name, one in verdicts]
        )

    return _around(store, "_runs", runs)


@mistake("what has its verdict is voided", from_seed=13)
def settled_is_voided() -> Any:
    def unreadable(original: Any, self: Any, ack: Ack) -> Any:
        stream = self.streams.get(ack.incarnation or "")
        if stream is None:
            return original(self, ack)
        with mock.patch.object(stream, "lacking", ranges.Ranges([(1, stream.last)])):
            return original(self, ack)

    return _around(Engine, "_unreadable", unreadable)


@mistake("that central could not read something is not noted")
def unreadable_not_noted() -> Any:
    return _not_noted("unreadable")


@mistake("that something is unknown is not noted")
def unknown_not_noted() -> Any:
    return _not_noted("unknown_item")


@mistake("that an event came with another content is not noted", from_seed=7)
def conflict_not_noted() -> Any:
    return _not_noted("conflict")


@mistake("a void stands for whatever event it names", from_seed=7)
def void_of_another() -> Any:
    def prepare(original: Any, agent: str, event: Any, *more: Any) -> Any:
        one = original(agent, event, *more)
        return one._replace(identity=event.data["id"], void=True) if event.type == voids.TYPE else one

    return _around(booking, "_prepare", prepare)


@mistake("a void and the event that it replaces are two", from_seed=13)
def void_counted_apart() -> Any:
    return mock.patch.object(streams, "_same", lambda booked, event: booked.content == event.content)


@mistake("a lost range is passed and not written down", from_seed=14)
def lost_range_not_recorded() -> Any:
    return _not_noted("lost_range")


@mistake("one place more is called lost than its agent has let go of", from_seed=14)
def lost_one_too_many() -> Any:
    def judge(original: Any, hello: Any, **named: Any) -> Any:
        said = original(hello, **named)
        ends = {one.incarnation: one.last_sequence for one in hello.incarnations}
        lost = (replace(one, last=min(one.last + 1, ends[one.incarnation])) for one in said.lost)
        return replace(said, lost=tuple(lost))

    return _around(streams, "judge_hello", judge)


@mistake("what is lost is said to begin with the first event", from_seed=300)
def lost_from_the_first() -> Any:
    def judge(original: Any, hello: Any, **named: Any) -> Any:
        said = original(hello, **named)
        return replace(said, lost=tuple(replace(one, first=1) for one in said.lost))

    return _around(streams, "judge_hello", judge)


@mistake("a lost range is waited for", from_seed=14)
def lost_range_not_passed() -> Any:
    return _around(
        streams, "judge_hello", lambda original, *args, **named: replace(original(*args, **named), lost=())
    )


@mistake("central does not notice that it went back", from_seed=22)
def rollback_unnoticed() -> Any:
    return _around(
        streams,
        "judge_hello",
        lambda original, *args, **named: replace(original(*args, **named), new_history=None),
    )


@mistake("a history that central never had is taken for one that it had", from_seed=14)
def unknown_history_unnoticed() -> Any:
    def judge(original: Any, hello: Any, *, histories: Any, **named: Any) -> Any:
        return original(hello, histories=histories | {hello.history}, **named)

    return _around(streams, "judge_hello", judge)


@mistake("what was set aside is forgotten with the next hello", from_seed=9)
def aside_forgotten() -> Any:
    def write(original: Any, self: Any) -> Any:
        if list(self.books.agents.changed()):
            self.store.connection.execute(sa.delete(tables.set_aside))
        return original(self)

    return _around(Scribe, "write", write)


@mistake("an agent that was set back is not noticed", from_seed=25)
def set_back_unnoticed() -> Any:
    return mock.patch.object(streams, "rolled_back", lambda last_sequence, acked: False)


@mistake("an older life that speaks once more is called a second program", from_seed=3)
def one_return_is_two() -> Any:
    return mock.patch.object(streams, "two_speak", lambda returns: True)


@mistake("that two programs speak is told at every hello")
def two_at_every_hello() -> Any:
    def answer(original: Any, books: Any, command: Any) -> Any:
        booking._alarm_two(books, command.hello.agent, "lej1")
        return original(books, command)

    return mock.patch.dict(writer.HANDLERS, {AnswerHello: lambda *args: answer(booking.answer_hello, *args)})


@mistake("an older life that speaks again is not noticed", from_seed=9)
def return_unnoticed() -> Any:
    return mock.patch.object(streams, "returned", lambda *args: False)


@mistake("any two events of one batch are a fork")
def false_fork() -> Any:
    def judge(original: Any, *args: Any) -> Any:
        ruling = original(*args)
        return ruling._replace(forked=ruling.forked or len(ruling.steps) > 1)

    return _judged(judge)


@mistake("whatever the first event says of the life before is a set-back", from_seed=3)
def false_set_back() -> Any:
    return mock.patch.object(streams, "rolled_back", lambda last_sequence, acked: last_sequence <= acked)


@mistake("what the first event says of the life before is not compared", from_seed=9)
def previous_not_compared() -> Any:
    def look(original: Any, *args: Any) -> Any:
        with mock.patch.object(streams, "rolled_back", lambda last_sequence, acked: False):
            return original(*args)

    return _around(booking, "_look_back", look)


@mistake("two incarnations that follow the same one are not noticed", from_seed=53)
def clone_unnoticed() -> Any:
    return _not_noted("cloned_agent")


@mistake("all that is known is called safe, whatever the backups hold", from_seed=10)
def safe_without_backup() -> Any:
    return mock.patch.object(streams, "safe_part", lambda acked, backed_up, *, backups: acked)


@mistake("a backup counts with what there was when it was finished", from_seed=575)
def backup_counts_what_came_later() -> Any:
    def finish(original: Any, engine: Any, mark: str, **more: Any) -> Any:
        held, cursor = tables.backup_cursor, tables.cursor
        with database.writing(engine) as connection:
            found = sa.select(tables.backup.c.ordinal).where(tables.backup.c.mark == mark)
            ordinal = connection.execute(found).scalar()
            if ordinal is not None:
                connection.execute(sa.delete(held).where(held.c.backup == ordinal))
                now = sa.select(sa.literal(ordinal), cursor.c.incarnation, cursor.c.acked)
                connection.execute(sa.insert(held).from_select(["backup", "incarnation", "acked"], now))
        return original(engine, mark, **more)

    return _around(backups, "finish", finish)


@mistake("only the newest backup counts", from_seed=17)
def older_backups_dropped() -> Any:
    return _around(backups, "finish", lambda original, engine, mark, *, keep: original(engine, mark, keep=1))


@mistake("what central was restored from is not counted on", from_seed=15)
def restored_not_counted() -> Any:
    def insert(original: Any, connection: Any, row: Any) -> None:
        if "finished_us" not in row:
            original(connection, row)

    return _around(backups, "_insert", insert)


@mistake("an alarm is closed as soon as it is raised", from_seed=3)
def alarms_closed_at_once() -> Any:
    def note(original: Any, self: Any, change: Any, movement: Any) -> None:
        original(self, change, movement)
        if isinstance(change, Open) and change.kind in ("fork", "cloned_agent", "agent_set_back"):
            original(self, Close(change.kind, change.key), movement)

    return _around(Books, "note", note)


@mistake("a balance below zero opens no discrepancy")
def below_zero_not_noted() -> Any:
    return _around(fold, "book", lambda original, *args: replace(original(*args), judged=()))


@mistake("the promise book is not kept")
def promise_book_not_kept() -> Any:
    def save(original: Any, self: Any, kind: Any) -> None:
        if kind is not kinds.PROMISES:
            original(self, kind)

    return _around(Scribe, "_save", save)


def _booked(change: Callable[[Any], Any]) -> Any:
    """What is booked of each event, changed."""

    def movement(original: Any, *args: Any, **more: Any) -> Any:
        return change(original(*args, **more))

    return _around(booking, "_movement", movement)


@mistake("a discrepancy is opened, and the agent is not told")
def always_accepted() -> Any:
    return _booked(
        lambda row: row._replace(outcome="accepted", reason=None) if row.outcome == "discrepant" else row
    )


@mistake("whatever is booked is called discrepant")
def always_discrepant() -> Any:
    return _booked(
        lambda row: row._replace(outcome="discrepant", reason="?") if row.outcome == "accepted" else row
    )


@mistake("what is moved cannot be booked")
def moves_fail() -> Any:
    def contributed(original: Any, resolved: Any, fact: Any) -> Any:
        if fact.event == "moved":
            raise ValueError("moved")
        return original(resolved, fact)

    return _around(booking, "_contributed", contributed)


@mistake("what is moved goes from where it comes to")
def moved_the_other_way() -> Any:
    row = transitions.TABLE["moved"]
    turned = row._replace(posts=tuple(post._replace(sign=-post.sign) for post in row.posts))
    return mock.patch.dict(transitions.TABLE, {"moved": turned})

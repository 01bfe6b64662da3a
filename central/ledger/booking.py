"""Booking what agents send: one batch in, one acknowledgement out, over rows in memory.

The idea: every event is a command of its own. What one does is rolled back when it fails, and it is set aside
alone; its neighbours never notice. Verdicts are judged per event, and numbered when the transaction commits.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from central import streams
from central.ledger import corrections, facts, fold, leases
from central.ledger.books import AgentRow, Books, Close, Cursor, Movement, Open, SetAside
from central.ledger.commands import AnswerHello, BookBatch, Done, RecordState
from central.ledger.facts import Resolved
from central.ledger.fold import Change
from central.ledger.transitions import NOT_BOOKED, Contributions, Fact, contributions, progress
from central.windows import WINDOW
from sync import events
from sync.content import content_hash
from sync.events import Data, Malformed, Void
from sync.messages import Ack, Event, Verdict, encode

Numbers = Mapping[str, int | None]
Finish = Callable[[Numbers], Any]
"""Makes a command's answer once the movements of its transaction are numbered."""

MOST_REASON = 500  # characters: 260 verdicts have to fit into one ack
_SOURCE = re.compile(r"/sites/([^/]{1,200})/agents/([a-z0-9-]{1,32})")


class Prepared(NamedTuple):
    """An event of a batch with everything that follows from the event alone."""

    event: Event
    identity: str
    content: str
    void: bool
    original: str
    site: str = ""
    name: str = ""
    data: Data | None = None
    malformed: str | None = None
    broken: bool = False
    """The database refused it before: keep it, book nothing."""
    resolved: Resolved | None = None
    """In the books' terms; None while it is not to be booked. It stands here and not under the id: two events of one
    transaction may share an id, and what is booked is what the first of them says.
    """


def prepare(batch: BookBatch, *, broken: bool = False) -> tuple[Prepared, ...]:
    """Check and hash the events of a batch."""
    return tuple(
        _prepare(batch.agent, event, text, broken)
        for event, text in zip(batch.events, batch.texts, strict=True)
    )


def _prepare(agent: str, event: Event, text: bytes, broken: bool) -> Prepared:
    name = events.event_name(event.type) or event.type
    original = facts.storable(text.decode("utf-8", "replace"))
    identity, data, malformed = facts.storable(event.id), None, None
    content = hashlib.sha256(text).hexdigest()
    try:
        content = content_hash(type=event.type, time=event.time, data=event.data)
        data = events.check(event.type, event.data)
    except RecursionError:
        malformed = "its data is nested too deep"
    except Malformed as error:
        malformed = facts.storable(str(error))[:MOST_REASON]
    site, speaker = _spoken_by(event.source)
    if malformed is None and speaker != agent:
        malformed = f"its source {facts.printable(event.source)} is not agent {agent} of a site"
    if malformed is None and isinstance(data, Void) and data.id != event.id:
        malformed = "void: it has another id than the event that it stands for"
    void = malformed is None and isinstance(data, Void)
    if void:
        malformed = "central could not read it; its bytes are kept"
    elif name == "void":  # whoever finds it booked takes it for none: it is kept under its whole type
        name = event.type
    return Prepared(
        event, identity, content, void, original, site, facts.storable(name), data, malformed, broken
    )


@lru_cache(maxsize=1024)
def _spoken_by(source: str) -> tuple[str, str]:
    """The site and the agent that a CloudEvents source names; empty where it names none."""
    found = _SOURCE.fullmatch(source)
    return (facts.printable(unquote(found[1])), found[2]) if found else ("", "")


def resolve(books: Books, prepared: tuple[Prepared, ...]) -> tuple[Prepared, ...]:
    """The same events; those that may have to be booked with what they mean in the books."""
    return tuple(
        one
        if one.malformed is not None or one.data is None or one.broken or books.movements.get(one.identity)
        else one._replace(resolved=facts.resolve(books, one.name, one.data, agent_site=one.site))
        for one in prepared
    )


# --- batches --------------------------------------------------------------------------------------


def book_batch(books: Books, agent: str, prepared: tuple[Prepared, ...]) -> Finish:
    """Book what is new, answer what is known, keep aside what contradicts; the result makes the Ack."""
    first = prepared[0].event
    incarnation = first.incarnation
    cursor = books.cursors.get(incarnation) or Cursor(agent, first_seen_us=books.now_us)
    holders = {
        one.event.number: holder
        for one in prepared
        if (holder := books.occupants.get((incarnation, one.event.number))) is not None
    }
    known = {
        one.identity: streams.Known(row.content_hash, row.event == "void")
        for one in prepared
        if (row := books.movements.get(one.identity)) is not None
    }
    arrived = [streams.Arrived(one.event.number, one.identity, one.content, one.void) for one in prepared]
    ruling = streams.judge_batch(cursor.acked, holders, known, arrived)
    books.cursors.put(incarnation, cursor._replace(acked=ruling.acked))
    drafts = []
    for one, step in zip(prepared, ruling.steps, strict=False):
        duplicate = _carry_out(books, agent, one, step)
        drafts.append((one, step.action, duplicate))
    if ruling.forked:
        detail = f"agent {agent}: two events claim one place in incarnation {incarnation}; is it cloned?"
        books.note(Open("fork", incarnation, detail, site=prepared[0].site), None)
    _look_back(books, agent, prepared[0], incarnation)

    def finish(numbers: Numbers) -> Ack:
        verdicts = [_verdict(books, numbers, *draft) for draft in drafts]
        ack = ack_of(books, incarnation, None, verdicts)
        if not ruling.forked:
            return ack
        return Ack(
            history=ack.history, nonce=None, incarnation=incarnation, acked=ack.acked, safe=ack.safe,
            window=ack.window, verdicts=verdicts, problem="fork",
        )  # fmt: skip

    return finish


def _carry_out(books: Books, agent: str, one: Prepared, step: streams.Step) -> bool:
    """Do what was ruled for one event; returns whether its verdict was given before."""
    place = (one.event.incarnation, one.event.number)
    if step.action == "book":
        _book_alone(books, agent, one)
    if step.takes_place:
        books.occupants.put(place, one.identity)
    if step.action in ("book", "known"):
        return step.action == "known"
    mark = (one.identity, one.content, *place)
    if mark in books.aside:
        return True
    books.aside.add(mark)
    books.set_aside.append(SetAside(*mark, problem=step.action, original=one.original))
    if step.action == "conflict":
        detail = f"agent {agent} sent event {one.identity} again with another content; both are kept"
        books.note(Open("conflict", one.identity, detail, site=one.site or None), one.identity)
    return False


def _verdict(books: Books, numbers: Numbers, one: Prepared, action: str, duplicate: bool) -> Verdict:
    place: dict[str, Any] = {"sequence": one.event.number, "id": one.event.id, "duplicate": duplicate}
    if action == "conflict":
        return Verdict(outcome="conflict", reason="this id is known with another content", **place)
    if action == "fork":
        return Verdict(outcome="conflict", reason="another event holds this place", **place)
    row = books.movements[one.identity]
    number = numbers.get(row.event_id, row.number)
    return Verdict(outcome=row.outcome, reason=row.reason, movement=number, **place)  # type: ignore[arg-type]


def ack_of(books: Books, incarnation: str, nonce: str | None, verdicts: list[Verdict]) -> Ack:
    """How far central has come with an incarnation. Whoever sends it grants a window by what there is to do."""
    cursor = books.cursors[incarnation]
    return Ack(
        history=books.history, nonce=nonce, incarnation=incarnation, acked=cursor.acked,
        safe=streams.safe_part(cursor.acked, cursor.backed_up, backups=books.backups),
        window=WINDOW, verdicts=verdicts,
    )  # fmt: skip


def _look_back(books: Books, agent: str, one: Prepared, incarnation: str) -> None:
    """What event 1 says of the life before its own: was the agent cloned, or set back?"""
    previous = streams.previous_of(one.event)
    cursor = books.cursors[incarnation]
    if previous is None or cursor.predecessor is not None:
        return
    before = facts.storable(previous.incarnation)
    books.cursors.put(incarnation, cursor._replace(predecessor=before))
    siblings = set(books.rivals.get(before, ()))
    siblings |= {name for name, row in books.cursors.items() if row.predecessor == before}
    if siblings - {incarnation}:
        detail = f"agent {agent}: two incarnations follow {before}; is it cloned?"
        books.note(Open("cloned_agent", before, detail, site=one.site or None), one.identity)
    past = books.cursors.get(before)
    if past is not None and streams.rolled_back(previous.last_sequence, past.acked):
        _alarm_set_back(books, agent, before, previous.last_sequence, past.acked)


def _alarm_set_back(books: Books, agent: str, incarnation: str, last: int, acked: int) -> None:
    detail = (
        f"agent {agent} was set back: its incarnation {incarnation} ends at {last}, {acked} were received"
    )
    books.note(Open("agent_set_back", incarnation, detail, expected=acked, actual=last), None)


# --- one event ------------------------------------------------------------------------------------


def _book_alone(books: Books, agent: str, one: Prepared) -> None:
    savepoint = books.savepoint()
    try:
        if one.broken:
            raise fold.Unbookable("the database refused it")
        _book_event(books, agent, one)
    except Exception as error:  # noqa: BLE001 (whatever it is, it must not cost its neighbours; it is kept and shown)
        books.rollback(savepoint)
        reason = f"could not be booked: {facts.storable(str(error))[:MOST_REASON] or type(error).__name__}"
        books.book(_movement(agent, one, outcome="discrepant", reason=reason))
        books.note(Open("failed", one.identity, reason, site=one.site or None), one.identity)


def _movement(agent: str, one: Prepared, **more: Any) -> Movement:
    event = one.event
    operator = one.data.operator if one.data is not None and one.malformed is None else None
    return Movement(
        event_id=one.identity,
        event=one.name[:100],
        content_hash=one.content,
        actor=f"agent:{agent}" + (f"/{operator}" if operator else ""),
        occurred_at=facts.storable(event.time),
        incarnation=event.incarnation,
        sequence=event.number,
        original=one.original,
        **{"site": one.site or None, **more},
    )


def _book_event(books: Books, agent: str, one: Prepared) -> None:
    if one.malformed is not None:
        books.book(_movement(agent, one, outcome="rejected", reason=one.malformed, numbered=False))
        if one.void:
            detail = (
                f"agent {agent} recorded event {one.identity} that cannot be read: {_where_it_is(one.data)}"
            )
            books.note(Open("unreadable", one.identity, detail, site=one.site or None), one.identity)
        return
    resolved = one.resolved
    assert resolved is not None, f"event {one.identity} was not resolved"
    if resolved.corrects is not None and _in_a_circle(books, one.identity, resolved.corrects):
        reason = "it corrects itself, or what corrects it"
        books.book(_movement(agent, one, outcome="rejected", reason=reason, numbered=False))
        return
    problems: list[Open] = facts.still_unknown(books, resolved)
    facts.make_known(books, resolved, agent_site=one.site)
    fact = facts.with_task(books, resolved.fact, resolved.task)
    fact = _with_unit(books, one, resolved, fact, problems)
    if fact.event in NOT_BOOKED:
        detail = f"{fact.event} is kept and changes no balance; settle it with an adjustment"
        problems.append(Open("not_booked", one.identity, detail, resolved.sku, fact.site))
    leases.take_up(books, agent, fact)
    change = _settle(books, one.identity, _contributed(resolved, fact), resolved, problems)
    booked = fold.book(books, change)
    problems += [judged for judged in booked.judged if isinstance(judged, Open)]
    target = books.movements.get(resolved.corrects) if resolved.corrects else None
    quantity = sum(goods.quantity for goods in fact.goods) if resolved.sku else None
    books.book(
        _movement(
            agent,
            one,
            outcome="discrepant" if problems else "accepted",
            reason="; ".join(dict.fromkeys(problem.detail for problem in problems))[:MOST_REASON] or None,
            sku=target.sku if target else resolved.sku,
            quantity=target.quantity if target else quantity,
            document=target.document if target else fact.document or None,
            corrects=resolved.corrects,
            fact=fact,
            entries=booked.entries,
        )
    )
    for problem in problems:
        books.note(problem, one.identity)
    for judged in booked.judged:
        if isinstance(judged, Close):
            books.note(judged, one.identity)


def _where_it_is(void: Data | None) -> str:
    assert isinstance(void, Void)
    if void.length is None:
        return "look at its bytes"
    return f"the beginning is here, all {void.length} bytes in the agent's journal"


def _with_unit(books: Books, one: Prepared, resolved: Resolved, fact: Fact, problems: list[Open]) -> Fact:
    """A logistic unit is received once, with its announced contents."""
    if resolved.awaits is not None:
        detail = f"nobody announced what unit {resolved.awaits} holds"
        problems.append(Open("unit_without_contents", resolved.awaits, detail, site=one.site))
    if fact.event != "received" or not resolved.leaves:
        return fact
    goods = facts.fresh_goods(books, resolved, lambda event_id: standing(books, event_id))
    if not goods:
        detail = f"unit {fact.unit} was received before"
        problems.append(Open("received_twice", str(fact.unit), detail, site=one.site))
    for leaf in resolved.leaves:
        row = books.units[leaf]
        if row.first_event is None or not standing(books, row.first_event):
            place = fact.target.location if fact.target else None
            books.units.put(leaf, row._replace(site=one.site, location=place, first_event=one.identity))
    return facts.with_goods(fact, goods)


# --- corrections ----------------------------------------------------------------------------------


def standing(books: Books, event_id: str) -> bool:
    """Whether a movement stands."""
    return corrections.stands(event_id, lambda one: books.corrections.get(one) or ())


def _chain(books: Books, corrects: str | None) -> list[str]:
    """What a correction names, what that names in turn, and so on."""
    chain: list[str] = []
    while corrects is not None and (row := books.movements.get(corrects)) is not None:
        chain.append(corrects)
        corrects = row.corrects
    return chain if corrects is None else [*chain, corrects]


def _in_a_circle(books: Books, identity: str, corrects: str) -> bool:
    return identity in _chain(books, corrects)


def _contributed(resolved: Resolved, fact: Fact) -> Contributions:
    """What the fact adds to the books; looked at its task, it is another one that moves the same goods."""
    if fact.goods == resolved.fact.goods:
        return resolved.contributions._replace(done=progress(fact))
    return contributions(fact)


def _settle(
    books: Books, identity: str, contributed: Contributions, resolved: Resolved, problems: list[Open]
) -> Change:
    """What this event does, and what it makes fall or stand again, as one change."""
    change, corrects = Change(), resolved.corrects

    def now(one: str) -> frozenset[str]:
        return books.corrections.get(one) or frozenset()

    if not now(identity) and corrects is None:
        change.add(contributed, +1)
        return change

    def then(one: str) -> frozenset[str]:
        return now(one) | {identity} if one == corrects else now(one)

    if corrections.stands(identity, then):
        change.add(contributed, +1)
    chain = [one for one in _chain(books, corrects) if books.movements.get(one) is not None]
    for one, sign in corrections.flips(chain, now, then):
        named = books.movements[one].fact
        if named is not None:
            change.add(contributions(named), sign)
    if now(identity):
        books.note(Close("waiting_correction", identity), identity)
    if corrects is None:
        return change
    books.corrections.put(corrects, then(corrects))
    target = books.movements.get(corrects)
    if target is None:
        detail = f"it corrects {corrects}, which has not arrived"
        problems.append(Open("waiting_correction", corrects, detail, site=resolved.fact.site))
    elif target.fact is None and target.outcome != "rejected":
        detail = f"it corrects {corrects}, which booked nothing that can be reversed"
        problems.append(Open("not_reversible", corrects, detail, site=resolved.fact.site))
    return change


# --- hellos ---------------------------------------------------------------------------------------


def answer_hello(books: Books, command: AnswerHello) -> Finish:
    """Greet an agent: note what is lost or looks wrong, begin a history where one was; → list[Ack]."""
    hello = command.hello
    site, software = facts.storable(hello.site), facts.storable(hello.software)
    known = dict(books.cursors.items())
    agent = books.agents.get(hello.agent)
    greeting = streams.judge_hello(
        hello,
        history=books.history,
        histories=books.histories,
        acked={name: row.acked for name, row in known.items()},
        first_seen={name: row.first_seen_us for name, row in known.items()},
        current=agent.incarnation if agent else None,
    )
    for place, listed in enumerate(hello.incarnations):  # oldest first: also those of one hello have an order
        if books.cursors.get(listed.incarnation) is None:
            books.cursors.put(listed.incarnation, Cursor(hello.agent, first_seen_us=books.now_us + place))
    for lost in greeting.lost:
        detail = f"agent {hello.agent} no longer has events {lost.first} to {lost.last} of {lost.incarnation}"
        key = f"{lost.incarnation}:{lost.first}-{lost.last}"
        books.note(Open("lost_range", key, detail, site=site), None)
        cursor = books.cursors[lost.incarnation]
        books.cursors.put(lost.incarnation, cursor._replace(acked=max(cursor.acked, lost.last)))
    for listed in greeting.rolled_back:
        acked = known[listed.incarnation].acked
        _alarm_set_back(books, hello.agent, listed.incarnation, listed.last_sequence, acked)
    speaks = hello.incarnations[-1].incarnation
    row = agent or AgentRow(site)
    returns = (row.returns if speaks in known else 0) + greeting.returned
    row = row._replace(
        site=site, software=software, incarnation=speaks, hello_us=books.now_us, returns=returns
    )
    if greeting.returned and streams.two_speak(returns):
        _alarm_two(books, hello.agent, site)
    if hello.history is None:  # a new journal counts its connections anew
        row = row._replace(connection=0)
    books.agents.put(hello.agent, row)
    if greeting.new_history is not None:
        foreign = facts.storable(hello.history or "") if greeting.new_history == "unknown_history" else None
        books.begin_history(greeting.new_history, foreign)

    def finish(_numbers: Numbers) -> list[Ack]:
        return [ack_of(books, one.incarnation, hello.nonce, []) for one in hello.incarnations]

    return finish


def _alarm_two(books: Books, agent: str, site: str) -> None:
    detail = f"an older life of agent {agent} speaks again: two processes share its id, or it was set back"
    books.note(Open("two_connections", agent, detail, site=site), None)


def record_state(books: Books, command: RecordState) -> Finish:
    """Keep what an agent says of its condition; a lower connection is an old one that is still being delivered."""
    state, site = command.state, facts.storable(command.state.site)
    row = books.agents.get(command.agent) or AgentRow(site)
    first_seen = {name: cursor.first_seen_us for name, cursor in books.cursors.items()}
    older = streams.returned(state.incarnation, row.incarnation, first_seen)
    # A new journal counts its connections anew: the last will of the life before it may have a higher number.
    ignored = state.connection < row.connection or (older and state.status == "offline")
    if not ignored:
        text = facts.storable(encode(state).decode())
        books.agents.put(
            command.agent, row._replace(connection=state.connection, state=text, state_us=books.now_us)
        )
        again = streams.connected_again(older=older, connection=state.connection, highest=row.connection)
        if again and not command.retained:
            _alarm_two(books, command.agent, site)
    return lambda _numbers: Done({"ignored": ignored})

"""The journal keeps house on a real file: what goes, what stays, and what it knows afterwards without its events."""

import asyncio
import itertools
import json
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from central.streams import Greeting, judge_hello
from sync import messages
from sync.engine import Engine, Publish, Record
from sync.journal import Draft, Journal, JournalError, keeping, layout, lives
from sync.journal.committer import Committer, Request
from sync.journal.files import Files
from sync.journal.keeping import NOTE_S
from sync.journal.layout import SEQUENCE_BITS
from sync.journal.proof import Proof
from sync.journal.retention import MARK_S, MOST_UNANSWERED_KEPT
from sync.journal.store import Store
from sync.messages import Event, Hello, Verdict
from sync.ranges import Ranges
from sync.stream import Stream
from tests.support.journals import Failing
from tests.support.wait import eventually_async

numbers = itertools.count(1)
DAY_S = 86_400.0

Opened = Callable[[], Any]


def draft(id_: str | None = None) -> Draft:
    return Draft(id_ or f"e{next(numbers)}", "tallyman.received.v1", "2026-11-20T08:15:30Z", {"sku": "A"})


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    journals: list[Journal] = []

    async def open_() -> Journal:
        if journals and not journals[-1]._closed:
            await journals[-1].close()
        journals.append(await Journal.open(tmp_path / "journal.db", agent="dock-1", site="lej1"))
        return journals[-1]

    yield open_
    if not journals[-1]._closed:
        await journals[-1].close()


def rows(tmp_path: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(tmp_path / "journal.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


async def settle(
    journal: Journal, first: int, last: int, *, acked: int | None = None, safe: int | None = None
) -> None:
    """Central accepts these of the current incarnation."""
    held = await journal.read(journal.incarnation, first, last)
    given = tuple(
        (journal.incarnation, Verdict(sequence=sequence, id=id_, outcome="accepted", movement=sequence))
        for sequence, id_, _ in held
    )
    acked = last if acked is None else acked
    safe = acked if safe is None else safe
    await journal.record(Record(streams=((journal.incarnation, acked, safe, True),), verdicts=given))


async def ran(
    journal: Journal, seconds: float, *, retention_s: float = DAY_S, newest: int = 0, most: int = 200
) -> Any:
    """Keep house as after so many seconds."""
    store = journal._store
    return await journal._ask(
        lambda: store.keep(seconds, retention_s=retention_s, keep_newest=newest, most=most), alone=True
    )


async def test_what_is_settled_and_old_goes_and_the_next_hello_says_where_the_journal_begins(
    opened: Opened,
) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(10)])
    await settle(journal, 1, 8, safe=6)
    assert (await ran(journal, 60)).events == 0
    assert (await ran(journal, 60 + DAY_S - 1)).events == 0, "not old yet"
    kept = await ran(journal, 60 + DAY_S)
    assert (kept.begins, kept.events, kept.more, kept.held) == (((journal.incarnation, 7),), 6, False, 4)
    last = await ran(journal, 60 + DAY_S)
    assert (last.begins, last.events, last.more, last.held) == (kept.begins, 0, False, 4)
    [stream] = await journal.streams()
    assert stream == Stream(
        journal.incarnation, first_kept=7, last=10, acked=8, safe=6, answered=True, lacking=Ranges([(9, 10)])
    )
    assert [sequence for sequence, _, _ in await journal.read(journal.incarnation, 1, 10)] == [7, 8, 9, 10]


async def test_what_the_file_lets_go_of_makes_room_for_what_comes(opened: Opened, tmp_path: Path) -> None:
    journal = await opened()

    async def pages() -> int:
        return int(rows(tmp_path, "PRAGMA page_count")[0][0])

    for _ in range(4):
        await journal.append([draft() for _ in range(1000)])
        await settle(journal, 1, journal._store.last)
        while (await ran(journal, 0, retention_s=0)).more:
            pass
        journal._store.checkpoint()
    after_four = await pages()
    for _ in range(4):
        await journal.append([draft() for _ in range(1000)])
        await settle(journal, 1, journal._store.last)
        while (await ran(journal, 0, retention_s=0)).more:
            pass
        journal._store.checkpoint()
    assert await pages() <= after_four + 10


async def test_a_wall_clock_that_jumps_makes_nothing_old(tmp_path: Path) -> None:
    now_ms = [1_763_626_530_123]
    journal = await Journal.open(tmp_path / "j.db", agent="a", site="s", now_ms=lambda: now_ms[0])
    await journal.append([draft() for _ in range(3)])
    await settle(journal, 1, 3)
    now_ms[0] += 10 * 365 * 86_400_000
    assert (await ran(journal, 3600)).events == 0
    await journal.close()


async def test_time_that_the_agent_ran_counts_over_restarts_and_time_between_does_not(opened: Opened) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(3)])
    await settle(journal, 1, 3)
    first = journal.incarnation
    await ran(journal, 60)
    await ran(journal, DAY_S / 2)
    journal = await opened()
    assert (await ran(journal, DAY_S / 2)).events == 0
    assert (await ran(journal, DAY_S / 2 + 60)).begins == ((first, 4),)


async def test_a_disk_that_failed_in_between_makes_nothing_older(opened: Opened) -> None:
    journal = await opened()
    await ran(journal, DAY_S / 2)
    await journal.append([draft() for _ in range(3)])
    await settle(journal, 1, 3)
    await ran(journal, DAY_S / 2 + 60)

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(JournalError):
        await journal._ask(fail)
    await journal.append([draft()])
    assert (await ran(journal, DAY_S / 2 + DAY_S)).events == 0


async def test_marks_are_bounded(opened: Opened, tmp_path: Path) -> None:
    journal = await opened()
    for hour in range(60):
        await ran(journal, hour * 3600, retention_s=10 * 3600)
        await ran(journal, hour * 3600 + MARK_S - 1, retention_s=10 * 3600)
    marks = rows(tmp_path, "SELECT ran_s FROM mark ORDER BY 1")
    assert len(marks) == 11, "one that is old enough, and those that are not"


async def test_the_last_sequence_survives_its_events_so_that_nobody_thinks_the_agent_was_set_back(
    opened: Opened, tmp_path: Path
) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(7)])
    await settle(journal, 1, 7)
    first = journal.incarnation
    assert (await ran(journal, 0, retention_s=0)).begins == ((first, 8),)
    journal = await opened()
    old, new = await journal.streams()
    assert (old.incarnation, old.first_kept, old.last, old.acked) == (first, 8, 7, 7)
    await journal.append([draft("x")])
    [(_, _, text)] = await journal.read(new.incarnation, 1, 1)
    assert messages.decode(text, Event).data["previous"] == {"incarnation": first, "last_sequence": 7}


async def test_while_it_goes_on_in_an_emptied_incarnation_its_sequences_go_on(opened: Opened) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(2)])
    await settle(journal, 1, 2)
    await ran(journal, 0, retention_s=0)
    [third] = await journal.append([draft()])
    assert third.sequence == 3
    [stream] = await journal.streams()
    assert (stream.first_kept, stream.last, list(stream.lacking)) == (3, 3, [(3, 3)])


async def test_a_step_whose_commit_failed_and_stands_is_told_with_the_next(opened: Opened) -> None:
    """Else the next hello would say that events are held which are gone, and they would be waited for."""
    journal = await opened()
    await journal.append([draft() for _ in range(3)])
    await settle(journal, 1, 2)
    journal._store._raw = Failing(journal._store._raw, "COMMIT", after=True)
    with pytest.raises(JournalError):
        await ran(journal, 0, retention_s=0)
    kept = await ran(journal, 0, retention_s=0)
    assert (kept.begins, kept.events) == (((journal.incarnation, 3),), 0)


async def test_many_short_incarnations_go_a_few_at_a_time(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_LIVES", 3)
    for _ in range(6):
        journal = await opened()
        await journal.append([draft(), draft()])
        await settle(journal, 1, 2)
    kept = await ran(journal, 0, retention_s=0, newest=2)
    assert (len(kept.begins), kept.events, kept.more, kept.held) == (3, 6, True, 6)
    kept = await ran(journal, 0, retention_s=0, newest=2, most=3)
    assert (len(kept.begins), kept.events, kept.more, kept.held) == (5, 3, True, 3)


async def test_a_thousand_starts_without_a_scan_leave_a_few_incarnations(
    opened: Opened, tmp_path: Path
) -> None:
    journal = await opened()
    await journal.append([draft()])
    await journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.executemany(
            "INSERT INTO incarnation (number, id) VALUES (?, ?)", [(n, f"{n:032x}") for n in range(2, 1000)]
        )
    connection.close()
    journal = await opened()
    streams = await journal.streams()
    assert len(streams) == 1 + MOST_UNANSWERED_KEPT + 2
    answered = tuple((stream.incarnation, 0, 0, True) for stream in streams[1:-1])
    await journal.record(Record(streams=answered))
    journal = await opened()
    assert len(await journal.streams()) == 3, "the one with an event, the one before, and the current one"
    assert max(rows(tmp_path, "SELECT max(number) FROM incarnation")[0]) == 1001, "no number is used again"


async def test_an_incarnation_that_ended_is_to_be_answered_once_more(opened: Opened) -> None:
    journal = await opened()
    await journal.record(Record(streams=((journal.incarnation, 0, 0, True),)))
    assert (await journal.streams())[-1].answered
    journal = await opened()
    assert [stream.answered for stream in await journal.streams()] == [False, False]


def hello_of(journal: Journal, streams: list[Stream]) -> Hello:
    """What the agent says at its next connect."""
    engine = Engine(
        agent="dock-1",
        site="lej1",
        software="test",
        history=journal.history,
        streams=streams,
        new_nonce=lambda: "n",
        random=lambda: 0.5,
    )
    [action] = engine.connected(0.0)
    assert isinstance(action, Publish)
    return messages.decode(action.payload, Hello)


def judged(hello: Hello, acked: dict[str, int]) -> Greeting:
    return judge_hello(
        hello, history="H1", histories=frozenset({"H1"}), acked=acked, first_seen={}, current=None
    )


async def test_central_takes_a_pruned_journal_for_neither_set_back_nor_lossy(opened: Opened) -> None:
    journal = await opened()
    await journal.record(Record(history="H1"))
    acked = {}
    for count in (5, 3):
        await journal.append([draft() for _ in range(count)])
        await settle(journal, 1, count)
        acked[journal.incarnation] = count
        assert (await ran(journal, 0, retention_s=0)).events == count
        journal = await opened()
    hello = hello_of(journal, await journal.streams())
    assert [(one.first_kept, one.last_sequence, one.acked) for one in hello.incarnations] == [
        (6, 5, 5),
        (4, 3, 3),
        (1, 0, 0),
    ]
    greeting = judged(hello, acked)
    assert (greeting.lost, greeting.rolled_back, greeting.new_history) == ((), (), None)
    await journal.record(Record(history="H2"))  # central lost its memory: now every one has to be told again
    lossy = hello_of(journal, await journal.streams())
    assert [(lost.incarnation, lost.first, lost.last) for lost in judged(lossy, {}).lost] == [
        (name, 1, count) for name, count in acked.items()
    ]


async def test_an_agent_set_back_to_an_empty_incarnation_is_noticed_however_often_it_crashes_then(
    opened: Opened, tmp_path: Path
) -> None:
    journal = await opened()
    await journal.record(Record(history="H1", streams=((journal.incarnation, 0, 0, True),)))
    then = journal.incarnation
    await journal.close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("UPDATE incarnation SET answered = 1")  # the copy was made while it was at work
    connection.commit()
    connection.close()
    for _ in range(5):  # the copy is started, and crashes before it says a word
        journal = await opened()
    hello = hello_of(journal, await journal.streams())
    [back] = judged(hello, {then: 50}).rolled_back
    assert back.incarnation == then


async def test_stations_tell_the_same_before_and_after_keeping_house(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await opened()
    for count in (30, 30):
        await journal.append([draft() for _ in range(count)])
        await settle(journal, 1, count)
        journal = await opened()
    before = await journal.recent(40)
    kept = await ran(journal, 0, retention_s=0, newest=40)
    assert (kept.events, kept.held) == (20, 40)
    assert await journal.recent(40) == before


async def test_verdicts_that_came_out_of_order_are_known_again_after_a_restart(
    opened: Opened, tmp_path: Path
) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(12)])
    for first, last in ((3, 4), (9, 9), (7, 7), (4, 5)):
        await settle(journal, first, last, acked=9)
    lacking = Ranges([(1, 2), (6, 6), (8, 8), (10, 12)])
    assert ((await journal.streams())[-1].lacking, journal.queued) == (lacking, 7)
    assert rows(tmp_path, "SELECT count(*) FROM hole") == [(3,)]
    journal = await opened()
    assert ((await journal.streams())[0].lacking, journal.queued) == (lacking, 7)
    kept = await ran(journal, 0, retention_s=0)
    assert kept.events == 0, "the oldest has no verdict"
    old = (await journal.streams())[0].incarnation
    await journal.record(Record(forget_above=((old, 4),)))
    assert (list((await journal.streams())[0].lacking), journal.queued) == ([(1, 2), (5, 12)], 10)
    assert rows(tmp_path, "SELECT count(*) FROM hole") == [(1,)]


async def test_a_new_history_forgets_verdicts_above_safe_and_what_was_pruned_stays_gone(
    opened: Opened,
) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(9)])
    await settle(journal, 1, 7, safe=5)
    await ran(journal, 0, retention_s=0, most=3)
    await journal.record(Record(history="H2", forget_above=((journal.incarnation, 1),)))
    [stream] = await journal.streams()
    assert (stream.first_kept, stream.acked, list(stream.lacking), journal.queued) == (4, 0, [(4, 9)], 6)
    assert (await ran(journal, 0, retention_s=0)).events == 0
    assert not rows(journal._path.parent, "SELECT 1 FROM event WHERE outcome IS NOT NULL")


async def test_what_was_conflict_in_a_history_that_is_gone_is_none_in_the_next(opened: Opened) -> None:
    journal = await opened()
    await journal.append([draft("a"), draft("b")])
    conflict = Verdict(sequence=2, id="b", outcome="conflict", reason="taken")
    await journal.record(Record(verdicts=((journal.incarnation, conflict),)))
    assert journal._store._life.conflict_from == 2
    await journal.record(Record(history="H2", forget_above=((journal.incarnation, 0),)))
    assert journal._store._life.conflict_from == 0


async def test_a_left_incarnation_is_pruned_over_its_missing_places(opened: Opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.append([draft(f"f{n}") for n in range(1, 11)])
    old = journal.incarnation
    await settle(journal, 1, 10, safe=10)
    conflict = Verdict(sequence=3, id="f3", outcome="conflict", reason="taken")
    await journal.append([draft("late")])
    await journal.record(Record(forget_above=((old, 2),), streams=((old, 10, 9, True),)))
    given = [conflict] + [Verdict(sequence=n, id=f"f{n}", outcome="accepted") for n in (4, 5, 6, 7, 9, 10)]
    await journal.record(Record(verdicts=tuple((old, verdict) for verdict in given)))
    left, new = await journal.reenter(old)
    assert left.left and not left.lacking and (left.first_kept, left.last) == (1, 11)
    assert (new.last, journal.queued) == (4, 4), "3 in conflict, 8 and 11 without a verdict, 10 above safe"
    assert (await ran(journal, 0, retention_s=0, newest=8)).held == 11
    kept = await ran(journal, 0, retention_s=0, most=4, newest=4)
    assert (kept.begins[0], kept.events, kept.held) == ((old, 5), 3, 8)
    journal = await opened()
    assert journal._store._lives[old].held == 4
    kept = await ran(journal, 0, retention_s=0)
    assert (kept.begins[0], kept.events, kept.held) == ((old, 12), 4, 4)


async def test_what_lacks_a_verdict_below_safe_is_entered_elsewhere_too(opened: Opened) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(6)])
    old = journal.incarnation
    await settle(journal, 1, 1)
    await settle(journal, 3, 6)
    left, new = await journal.reenter(old)
    assert (left.first_kept, left.last, new.last, journal.queued) == (1, 6, 1, 1)


async def test_what_comes_to_be_in_conflict_in_a_left_incarnation_stays_there_and_is_known(
    opened: Opened,
) -> None:
    journal = await opened()
    await journal.append([draft("a"), draft("b")])
    old = journal.incarnation
    await settle(journal, 1, 2)
    await journal.reenter(old)
    await journal.record(Record(history="H2", forget_above=((old, 0),)))
    conflict = Verdict(sequence=1, id="a", outcome="conflict", reason="taken")
    await journal.record(Record(verdicts=((old, conflict),)))
    left, new = await journal.reenter(old)
    assert (left.first_kept, left.last, new.last) == (1, 2, 1)
    assert journal._store._lives[old].conflict_from == 1


async def test_the_original_beside_a_void_goes_with_it(opened: Opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(2)])
    raw = journal._store._raw
    key = journal._store._life.base
    await journal._ask(
        lambda: raw.executemany("INSERT INTO voided VALUES (?, 'original')", [(key + 1,), (key + 2,)])
    )
    await settle(journal, 1, 1)
    await ran(journal, 0, retention_s=0)
    assert rows(tmp_path, "SELECT key FROM voided") == [(key + 2,)]


async def test_keeping_house_goes_on_beside_scans_and_counts(opened: Opened) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(1200)])
    await settle(journal, 1, 1200)
    steps = 0
    while True:
        kept, _ = await asyncio.gather(
            journal.keep(retention_s=0, keep_newest=100), journal.append([draft()])
        )
        if not kept.more:
            break
        steps += 1
    assert steps == 5 and journal.pruned in (1105, 1106)
    assert journal.held in (100, 101), "with the last one that came"


async def test_how_long_the_agent_has_run_is_noted_each_minute(opened: Opened, tmp_path: Path) -> None:
    journal = await opened()
    for seconds, noted in ((0, "0"), (NOTE_S - 1, "0"), (NOTE_S, "60"), (2 * NOTE_S - 1, "60")):
        await ran(journal, seconds)
        assert rows(tmp_path, "SELECT value FROM meta WHERE name = 'ran_s'") == [(noted,)]


async def test_how_far_the_journal_has_come_is_noted_every_ten_minutes(
    opened: Opened, tmp_path: Path
) -> None:
    journal = await opened()
    for seconds in (0, MARK_S / 2, MARK_S, MARK_S * 3 / 2):
        await ran(journal, seconds)
    assert rows(tmp_path, "SELECT ran_s FROM mark ORDER BY ran_s") == [(0,), (MARK_S,)]


async def test_what_is_to_be_kept_a_second_is_kept_so_long(opened: Opened) -> None:
    journal = await opened()
    await journal.append([draft()])
    await settle(journal, 1, 1)
    assert (await ran(journal, 0, retention_s=1)).events == 0
    assert (await ran(journal, 0, retention_s=0)).events == 1


async def test_only_while_a_journal_is_open_its_events_grow_old(opened: Opened) -> None:
    for _ in range(2):
        journal = await opened()
        await journal.append([draft() for _ in range(2)])
        await settle(journal, 1, 2)
        kept = await journal.keep(retention_s=60, keep_newest=0)
        assert kept.events == 0, "this computer has run for longer than a minute, and the journal has not"
    assert (await journal.keep(retention_s=0, keep_newest=0)).events == 4


async def test_who_asks_at_the_same_time_shares_a_commit_and_keeping_house_has_one_of_its_own(
    opened: Opened,
) -> None:
    journal, groups = await opened(), []
    commit = journal._committer.commit

    def watched(group: Any, meanwhile: Any) -> Any:
        groups.append(len(group))
        return commit(group, meanwhile)

    journal._committer.commit = watched  # type: ignore[method-assign]
    free = threading.Event()
    slow = asyncio.ensure_future(journal._ask(free.wait))
    await eventually_async(lambda: groups == [1])
    house = asyncio.ensure_future(journal.keep(retention_s=0, keep_newest=0))
    others = [asyncio.ensure_future(one) for one in (journal.next_connection(), journal.streams())]
    await asyncio.sleep(0)
    scans = [journal.append([draft()]) for _ in range(2)]
    free.set()
    await asyncio.gather(slow, house, *others, *scans)
    assert groups == [1, 1, 4], "the one before, then the house, then all the others"


# --- a file of the format before --------------------------------------------------------------------------

FORMAT_1 = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE incarnation (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, last INTEGER NOT NULL DEFAULT 0,
        acked INTEGER NOT NULL DEFAULT 0, safe INTEGER NOT NULL DEFAULT 0, answered INTEGER NOT NULL DEFAULT 0,
        forked INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE event (
        key INTEGER PRIMARY KEY, text BLOB NOT NULL, recorded_ms INTEGER NOT NULL,
        outcome INTEGER, reason TEXT, movement INTEGER)""",
    "INSERT INTO meta VALUES ('format', '1'), ('agent', 'dock-1'), ('history', 'H1'), ('connection', '7')",
    "PRAGMA journal_mode=WAL",
)


def of_format_1(path: Path, lives_: dict[int, tuple[int, dict[int, int | None]]]) -> None:
    """number → (forked, {sequence: outcome})"""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in FORMAT_1:
        connection.execute(statement)
    for number, (forked, events) in lives_.items():
        stored = max(events, default=0) if forked else 0
        connection.execute(
            "INSERT INTO incarnation VALUES (?, ?, ?, 2, 1, 1, ?)", (number, f"{number:032x}", stored, forked)
        )
        for sequence, outcome in events.items():
            event = Event(
                id=f"{number}-{sequence}",
                source="/sites/lej1/agents/dock-1",
                type="tallyman.received.v1",
                time="2026-11-20T08:15:30Z",
                incarnation=f"{number:032x}",
                sequence=messages.sequence_text(sequence),
                data={"sku": "A"},
            )
            connection.execute(
                "INSERT INTO event VALUES (?, ?, 0, ?, NULL, NULL)",
                ((number << SEQUENCE_BITS) + sequence, messages.encode(event), outcome),
            )
    connection.close()


async def test_a_journal_of_format_1_becomes_one_of_format_2_in_its_place(
    opened: Opened, tmp_path: Path
) -> None:
    of_format_1(
        tmp_path / "journal.db",
        {
            1: (0, dict.fromkeys(range(1, 6), 0)),
            2: (0, {1: 0, 2: None, 3: 3, 4: None, 5: 0, 6: None, 7: None}),
            3: (1, {1: 0, 2: 0, 6: None}),
            4: (0, {}),
            5: (0, {1: None}),
        },
    )
    journal = await opened()
    assert rows(tmp_path, "SELECT value FROM meta WHERE name = 'format'") == [("2",)]
    one, two, three, five, _ = await journal.streams()
    assert (one.first_kept, one.last, list(one.lacking)) == (1, 5, [])
    assert (two.last, list(two.lacking)) == (7, [(2, 2), (4, 4), (6, 7)])
    assert (three.left, three.last, list(three.lacking)) == (True, 6, [(6, 6)])
    assert (five.last, list(five.lacking), five.answered) == (1, [(1, 1)], False)
    assert [one.acked, one.safe, one.answered, journal.history] == [2, 1, True, "H1"]
    assert journal.queued == 6
    known = {life.number: life for life in journal._store._lives.values()}
    assert (known[2].conflict_from, known[3].missing, known[3].held) == (3, 3, 3)
    assert (await ran(journal, 60)).events == 0, "what was there before counts as recorded at the upgrade"
    assert (await ran(journal, 60 + DAY_S)).begins[0] == (one.incarnation, 2)


async def test_a_recount_takes_an_incarnation_that_lost_events_for_one_that_was_left(
    opened: Opened, tmp_path: Path
) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(8)])
    await settle(journal, 1, 2)
    await journal.close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("DELETE FROM event WHERE key & 255 = 4")
    layout.recount(connection)
    connection.commit()
    [life] = lives.load(connection)
    connection.close()
    assert (life.left, life.missing, life.held, list(life.lacking())) == (True, 1, 7, [(3, 3), (5, 8)])
    journal = await opened()
    left, new = await journal.reenter(life.incarnation)
    assert (left.lacking, new.last, journal.queued) == (Ranges(), 5, 5)


async def test_opening_reads_no_events(opened: Opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.append([draft() for _ in range(500)])
    await settle(journal, 1, 400)
    await journal.close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    steps = []
    connection.set_progress_handler(lambda: steps.append(1), 100)
    [life] = lives.load(connection)
    assert (life.first, life.last, life.queued) == (1, 500, 100)
    assert len(steps) < 5, "a few hundred instructions, however many events there are"
    plan = connection.execute("EXPLAIN QUERY PLAN " + lives._LOAD).fetchall()
    connection.close()
    assert not [detail for *_, detail in plan if "SCAN event" in detail]


# --- what is known without the events, held against them ----------------------------------------------------


class Model:
    """A journal, and a careless central, driven by one seed on a real file."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.random = path, random.Random(seed)
        self.open()

    def open(self) -> None:
        files = Files(self.path, ballast_bytes=0)
        bytes_ = self.random.randbytes
        self.committer = Committer(Store(files, agent="dock-1", site="lej1", random_bytes=bytes_), lambda: 0)
        self.committer.open()
        self.store = self.committer.store

    def do(self, work: Callable[[], Any]) -> Any:
        [(_, answer)] = self.committer.commit([Request(None, work=work, alone=True)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def append(self) -> None:
        drafts = [draft() for _ in range(self.random.randint(1, 6))]
        [(_, answer)] = self.committer.commit([Request.to_append(None, drafts)])
        assert not isinstance(answer, Exception)

    def settle(self) -> None:
        """Some verdicts for some of what lacks one; `acked` and `safe` wherever they may be."""
        stream = self.random.choice(self.store.streams())
        lacking = [n for first, last in stream.lacking for n in range(first, last + 1)]
        chosen = self.random.sample(lacking, self.random.randint(0, len(lacking)))
        kinds = self.random.choices(layout.OUTCOMES, k=len(chosen))
        verdicts = tuple(
            (stream.incarnation, Verdict(sequence=n, id="", outcome=kind, movement=n))  # type: ignore[arg-type]
            for n, kind in zip(chosen, kinds, strict=True)
        )
        acked = self.random.randint(0, stream.last)
        place = (stream.incarnation, acked, self.random.randint(0, acked), True)
        self.do(lambda: self.store.record(Record(streams=(place,), verdicts=verdicts)))

    def settle_all(self) -> None:
        for stream in self.store.streams():
            verdicts = tuple(
                (stream.incarnation, Verdict(sequence=n, id="", outcome="accepted"))
                for first, last in stream.lacking
                for n in range(first, last + 1)
            )
            place = (stream.incarnation, stream.last, stream.last, True)
            record = Record(streams=(place,), verdicts=verdicts)
            self.do(lambda record=record: self.store.record(record))

    def forget(self) -> None:
        floors = tuple(
            (stream.incarnation, self.random.randint(0, stream.last)) for stream in self.store.streams()
        )
        self.do(lambda: self.store.record(Record(history=f"H{self.random.random()}", forget_above=floors)))

    def keep(self) -> None:
        most = self.random.randint(1, 9)
        self.do(lambda: self.store.keep(0, retention_s=0, keep_newest=self.random.randint(0, 4), most=most))

    def reenter(self) -> None:
        """Any incarnation; often its commit fails, and stands or not, and it is asked for again."""
        streams = self.store.streams()
        left = [stream for stream in streams if stream.left and stream.lacking]
        chosen = left or [streams[-1], self.random.choice(streams)]
        which, before = self.random.choice(chosen).incarnation, self._ids()
        if self.random.random() < 0.5:
            self.store._raw = Failing(self.store._raw, "COMMIT", after=self.random.random() < 0.5)  # type: ignore[assignment]
            with pytest.raises(JournalError):
                self.do(lambda: self.store.reenter(which))
        self.do(lambda: self.store.reenter(which))
        assert self._ids() == before

    def _ids(self) -> list[str]:
        return sorted(json.loads(text)["id"] for (text,) in self.store._raw.execute("SELECT text FROM event"))

    def fail(self) -> None:
        """A group whose commit fails after it was written."""

        def broken() -> None:
            self.store.record(Record(streams=((self.store.incarnation, 1, 1, True),)))
            raise OSError("no")

        [(_, answer)] = self.committer.commit([Request(None, work=broken, alone=True)])
        assert isinstance(answer, JournalError)
        self.append()

    def restart(self) -> None:
        before = self.store.streams()
        self.store.close()
        self.open()
        after = {stream.incarnation: stream for stream in self.store.streams()}
        for stream in before[:-1]:
            assert after.get(stream.incarnation, stream) == stream
        ended = after[before[-1].incarnation]
        assert (ended.first_kept, ended.last, ended.lacking) == (
            before[-1].first_kept,
            before[-1].last,
            before[-1].lacking,
        )

    def check(self) -> None:
        """What is known is what the events say."""
        raw = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None)
        looking = Proof(raw, lambda _: None)
        assert list(looking.faults()) == []
        held, queued = raw.execute("SELECT count(*), count(*) - count(outcome) FROM event").fetchone()
        assert (sum(life.held for life in lives.load(raw)), self.committer.queued) == (held, queued)
        looking.close()
        raw.close()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_what_is_known_of_the_events_is_what_they_say(tmp_path: Path, seed: int) -> None:
    model = Model(tmp_path / "journal.db", seed)
    steps = (
        [model.append] * 6
        + [model.settle] * 6
        + [model.keep] * 4
        + [model.forget, model.forget, model.reenter]
    )
    steps += [model.fail, model.restart, model.settle_all]
    for number in range(60):
        model.random.choice(steps)()
        if number % 3 == 2:
            model.check()
    model.store.close()

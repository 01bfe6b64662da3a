"""The journal on a real file: what an OK means, and what happens when the disk says no."""

import asyncio
import base64
import itertools
import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sync.engine import Record
from sync.journal import Draft, EventTooLarge, Journal, JournalBusy, JournalError
from sync.journal import files as files_module
from sync.journal import journal as journal_module
from sync.journal.condition import Condition
from sync.journal.recorded import JournalDamaged
from sync.journal.store import EVENTS_PER_STATEMENT, _insert_statement, _places, _runs
from sync.messages import BATCH_EVENTS, MAX_UPWARD_BYTES, Verdict, cut_batches
from sync.ranges import Ranges
from sync.stream import Stream
from tests.support.journals import Failing, opening
from tests.support.wait import eventually_async

numbers = itertools.count(1)


def draft(id_: str | None = None, **data: Any) -> Draft:
    return Draft(
        id_ or f"e{next(numbers)}", "tallyman.received.v1", "2026-11-20T08:15:30Z", {"sku": "A", **data}
    )


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Callable[[], Any]]:
    async with opening(tmp_path / "journal.db", now_ms=lambda: 1_763_626_530_123) as open_:
        yield open_


async def reopened(opened: Callable[[], Any], journal: Journal) -> Journal:
    await journal.close()
    again: Journal = await opened()
    return again


def texts(path: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT text FROM event ORDER BY key").fetchall()
    connection.close()
    return [json.loads(text) for (text,) in rows]


async def test_append_gives_each_event_its_place_and_answers_when_it_is_in_the_file(
    opened, tmp_path: Path
) -> None:
    journal = await opened()
    told: list[tuple[str, int]] = []
    journal.on_append = lambda incarnation, last: told.append((incarnation, last))
    [first, second] = await journal.append([draft("x"), draft("y", quantity=2)])
    assert [e["id"] for e in texts(tmp_path / "journal.db")] == ["x", "y"]
    assert (first.sequence, second.sequence, second.incarnation) == (1, 2, journal.incarnation)
    assert first.recorded_at == "2025-11-20T08:15:30.123Z"
    assert told == [(journal.incarnation, 2)]
    assert texts(tmp_path / "journal.db")[1] == {
        "specversion": "1.0",
        "id": "y",
        "source": "/sites/lej1/agents/dock-1",
        "type": "tallyman.received.v1",
        "time": "2026-11-20T08:15:30Z",
        "subject": None,
        "datacontenttype": "application/json",
        "incarnation": journal.incarnation,
        "sequence": "00000000000000000002",
        "data": {"sku": "A", "quantity": 2},
    }
    assert (journal.queued, await journal.append([])) == (2, [])


async def test_each_start_is_an_incarnation_whose_first_event_names_the_one_before(
    opened, tmp_path: Path
) -> None:
    first = await opened()
    await first.append([draft()])
    empty = await reopened(opened, first)
    third = await reopened(opened, empty)
    await third.append([draft()])
    await third.append([draft()])
    previous = [event["data"].get("previous", "absent") for event in texts(tmp_path / "journal.db")]
    assert previous == [None, {"incarnation": empty.incarnation, "last_sequence": 0}, "absent"]
    assert [s.incarnation for s in await third.streams()] == [
        first.incarnation,
        empty.incarnation,
        third.incarnation,
    ]
    assert third.queued == 3


async def test_a_thousand_callers_share_commits_and_none_is_lost(opened) -> None:
    journal = await opened()
    results = await asyncio.gather(*(journal.append([draft(), draft(), draft()]) for _ in range(1000)))
    places = [r.sequence for recorded in results for r in recorded]
    assert sorted(places) == list(range(1, 3001))
    assert all(b - a == 1 for r in results for a, b in itertools.pairwise([x.sequence for x in r])), (
        "together"
    )
    [stream] = await journal.streams()
    assert stream == Stream(journal.incarnation, last=3000, lacking=Ranges([(1, 3000)]))


@pytest.mark.parametrize("together", [1, 2, 9, 200, 201])
async def test_however_many_are_entered_together_each_has_its_row(
    opened, tmp_path: Path, together: int
) -> None:
    _insert_statement.cache_clear()  # another test had it built, perhaps where nothing was measured
    journal = await opened()
    await journal.append([draft(f"e{n}") for n in range(together)])
    assert [event["id"] for event in texts(tmp_path / "journal.db")] == [f"e{n}" for n in range(together)]


async def test_kill_nine_right_after_ok_loses_nothing(opened, tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from sync.journal import Draft, Journal
        async def main():
            journal = await Journal.open(Path(sys.argv[1]), agent="dock-1", site="lej1")
            for n in range(10**6):
                [r] = await journal.append([Draft(f"k{n}", "tallyman.received.v1", "t", {"sku": "A"})])
                print("OK", r.event.id, flush=True)
        asyncio.run(main())
    """)
    path = tmp_path / "journal.db"
    process = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    oks = [process.stdout.readline().split()[1] for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    oks += [line.split()[1] for line in process.stdout.read().splitlines() if line.count(" ") == 1]
    process.wait()
    process.stdout.close()
    journal = await opened()
    kept = {recorded.event.id for recorded in await journal.recent(10**6)}
    assert len(oks) >= 50 and set(oks) <= kept


async def test_batches_are_cut_from_the_texts_that_are_held(opened) -> None:
    journal = await opened()
    await journal.append([draft(f"e{n}", note="ä,") for n in range(1, 8)])
    held = [(sequence, text) for sequence, _, text in await journal.read(journal.incarnation, 2, 6)]
    assert [sequence for sequence, _ in held] == [2, 3, 4, 5, 6]
    found = await journal.batches(journal.incarnation, 2, 6)
    assert found == cut_batches(held) and [batch.first for batch in found] == [2]
    assert await journal.batches(journal.incarnation, 8, 9) == []
    assert await journal.batches("0" * 32, 1, 9) == []


async def test_batches_hold_what_there_is_of_what_was_asked_for(opened) -> None:
    journal = await opened()

    async def found(first: int, last: int) -> list[tuple[int, int]]:
        return [(one.first, one.last) for one in await journal.batches(journal.incarnation, first, last)]

    await journal.append([draft() for _ in range(5)])
    assert await found(3, 3) == [(3, 3)]
    assert await found(2, 6) == [(2, 5)], "as many as were asked for are there, but others"
    await journal.append([draft() for _ in range(BATCH_EVENTS - 4)])
    assert await found(1, BATCH_EVENTS + 1) == [(1, BATCH_EVENTS), (BATCH_EVENTS + 1, BATCH_EVENTS + 1)]


@pytest.mark.parametrize(("beyond", "batches"), [(0, [(3, 7)]), (1, [(3, 6), (7, 7)]), (4, [(3, 6), (7, 7)])])
async def test_a_batch_is_as_long_as_a_message_may_be_and_no_longer(
    opened, beyond: int, batches: list[tuple[int, int]]
) -> None:
    journal = await opened()
    await journal.append([draft("e1"), draft("e2", fill="")])
    [(_, _, text)] = await journal.read(journal.incarnation, 2, 2)
    fill = MAX_UPWARD_BYTES + beyond - 5 * len(text) - len("[,,,,]")
    lengths = [fill // 5] * 4 + [fill - fill // 5 * 4]
    await journal.append([draft(f"e{n}", fill="x" * length) for n, length in enumerate(lengths, 3)])
    found = await journal.batches(journal.incarnation, 3, 7)
    assert [(one.first, one.last) for one in found] == batches
    assert max(len(one.payload) for one in found) <= MAX_UPWARD_BYTES


async def test_recent_is_newest_first_over_restarts_with_verdicts(opened) -> None:
    journal = await opened()
    await journal.append([draft("a"), draft("b")])
    verdicts = (
        Verdict(sequence=1, id="a", outcome="accepted", movement=7),
        Verdict(sequence=2, id="b", outcome="discrepant", reason="unknown item"),
    )
    await journal.record(Record(verdicts=tuple((journal.incarnation, verdict) for verdict in verdicts)))
    assert journal.queued == 0
    journal = await reopened(opened, journal)
    await journal.append([draft("c")])
    seen = [(r.event.id, r.outcome, r.reason, r.movement) for r in await journal.recent(10)]
    assert seen == [
        ("c", None, None, None),
        ("b", "discrepant", "unknown item", None),
        ("a", "accepted", None, 7),
    ]
    recorded = await journal.append([draft("d", quantity=2)])
    assert await journal.recent(1) == recorded


OUTCOMES = [("accepted", None), ("discrepant", "unknown item"), ("discrepant", "no such place")]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 2), *[st.integers(0, 2)] * 2), min_size=1))
def test_neighbours_that_say_the_same_are_written_in_one_step_and_no_others(steps: list[Any]) -> None:
    """At each step the incarnation, the place, what is said, and the movement: none, the next, or another."""
    given_, sequence, movement = [], 0, 0
    for name, further, outcome, moved in steps:
        sequence, movement = sequence + further, movement + moved
        said, reason = OUTCOMES[outcome]
        verdict = Verdict(
            sequence=sequence, id="e", outcome=said, reason=reason, movement=movement if moved else None
        )
        given_.append((name, verdict))
    runs = list(_runs(given_))
    told = [
        (
            name,
            structs.replace(
                first, sequence=n, movement=first.movement and first.movement + n - first.sequence
            ),
        )
        for name, first, last in runs
        for n in range(first.sequence, last + 1)
    ]
    assert told == given_
    for (name, _, last), (following, first, _) in itertools.pairwise(runs):
        before = next(one for who, one in given_ if (who, one.sequence) == (name, last))
        movement = before.movement and before.movement + 1
        assert (following, first.sequence, first.outcome, first.reason, first.movement) != (
            name, last + 1, before.outcome, before.reason, movement,
        )  # fmt: skip


async def test_what_was_said_of_one_incarnation_and_of_another_is_written_down_together(opened) -> None:
    journal = await opened()
    old = journal.incarnation
    await journal.append([draft("a")])
    journal = await reopened(opened, journal)
    await journal.append([draft("b")])
    verdict = Verdict(sequence=1, id="b", outcome="accepted", movement=1)
    await journal.record(Record(streams=((old, 1, 1, True),), verdicts=((journal.incarnation, verdict),)))
    journal = await reopened(opened, journal)
    first, second, _ = await journal.streams()
    assert (first.acked, first.safe, list(first.lacking), list(second.lacking)) == (1, 1, [(1, 1)], [])


async def test_one_question_after_the_other_is_answered_beside_the_scans(opened) -> None:
    journal, busy, together = await opened(), threading.Lock(), []

    def recent(_limit: int) -> list[Any]:
        together.append(not busy.acquire(blocking=False))
        time.sleep(0.01)
        if not together[-1]:
            busy.release()
        return []

    journal._reader.recent = recent
    await asyncio.gather(*(journal.recent(1) for _ in range(3)))
    assert together == [False, False, False], "one connection answers them all"


async def test_what_central_said_is_written_down(opened) -> None:
    journal = await opened()
    await journal.append([draft("a"), draft("b"), draft("c")])
    i = journal.incarnation
    accepted = Verdict(sequence=2, id="b", outcome="accepted", movement=1)
    await journal.record(Record(history="H1", forget_above=((i, 0),), streams=((i, 2, 1, True),)))
    await journal.record(Record(verdicts=((i, accepted),)))
    await journal.record(Record(verdicts=((i, accepted),)))
    assert journal.queued == 2, "a verdict that is told twice counts once"
    journal = await reopened(opened, journal)
    assert journal.history == "H1" and journal.queued == 2
    old = (await journal.streams())[0]
    assert old == Stream(
        i, last=3, acked=2, safe=1, lacking=Ranges([(1, 1), (3, 3)])
    )  # to be answered as a past one
    await journal.record(Record(history="H2", forget_above=((i, 1),), streams=((i, 3, 1, True),)))
    assert journal.queued == 3 and journal.history == "H2"
    assert (await journal.streams())[0].lacking == Ranges([(1, 3)])


async def test_read_gives_what_is_held_between_two_sequences(opened) -> None:
    journal = await opened()
    await journal.append([draft("a"), draft("b"), draft("c")])
    rows = await journal.read(journal.incarnation, 2, 9)
    assert [(sequence, id_, json.loads(text)["id"]) for sequence, id_, text in rows] == [
        (2, "b", "b"),
        (3, "c", "c"),
    ]
    assert await journal.read("0" * 32, 1, 9) == []


async def test_the_oldest_queued_event_tells_since_when(opened) -> None:
    journal = await opened()
    await journal.append([draft("a")])
    await journal.look_at_oldest((journal.incarnation, 1))
    assert journal.oldest_queued_at == "2025-11-20T08:15:30.123Z"
    await journal.look_at_oldest((journal.incarnation, 2))
    assert journal.oldest_queued_at is None
    await journal.look_at_oldest(None)
    assert journal.oldest_queued_at is None


async def test_connection_numbers_rise_over_restarts(opened) -> None:
    journal = await opened()
    assert [await journal.next_connection(), await journal.next_connection()] == [1, 2]
    journal = await reopened(opened, journal)
    assert await journal.next_connection() == 3


async def test_a_void_keeps_the_place_the_id_and_the_original(opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.append([draft("a"), draft("b")])
    before = texts(tmp_path / "journal.db")
    for sequence in (1, 2, 2):
        await journal.void(journal.incarnation, sequence)
    for old, new in zip(before, texts(tmp_path / "journal.db"), strict=True):
        assert (new["id"], new["sequence"], new["type"]) == (old["id"], old["sequence"], "tallyman.void.v1")
        assert json.loads(base64.b64decode(new["data"]["original"])) == old and new["data"]["id"] == old["id"]
    assert "previous" in texts(tmp_path / "journal.db")[0]["data"]


async def test_reentering_moves_what_is_unsettled_under_its_own_ids(opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.append([draft(id_) for id_ in "abcdef"])
    old = journal.incarnation
    outcomes = {1: "accepted", 2: "accepted", 3: "conflict", 4: "accepted"}
    verdicts = tuple(
        (old, Verdict(sequence=n, id="abcdef"[n - 1], outcome=outcome))  # type: ignore[arg-type]
        for n, outcome in outcomes.items()
    )
    await journal.record(Record(streams=((old, 4, 3, True),), verdicts=verdicts))
    streams = await journal.reenter(old)
    assert [s.incarnation for s in streams] == [old, journal.incarnation]
    assert streams[0] == Stream(old, last=6, acked=4, safe=3, answered=True, left=True)
    assert streams[1].lacking == Ranges([(1, 4)]) and journal.queued == 4
    events = [(e["incarnation"], e["id"], int(e["sequence"])) for e in texts(tmp_path / "journal.db")]
    new = journal.incarnation
    assert events == [
        (old, "a", 1),
        (old, "b", 2),
        (new, "c", 1),
        (new, "d", 2),
        (new, "e", 3),
        (new, "f", 4),
    ]
    assert texts(tmp_path / "journal.db")[2]["data"]["previous"] == {"incarnation": old, "last_sequence": 6}
    assert [s.incarnation for s in await journal.reenter(old)] == [old, new], "asked again, nothing changes"
    [recorded] = await journal.append([draft("g")])
    assert (recorded.incarnation, recorded.sequence) == (new, 5)


async def test_a_past_incarnation_is_left_for_the_current_one(opened, tmp_path: Path) -> None:
    journal = await opened()
    old = journal.incarnation
    await journal.append([draft(id_) for id_ in "abc"])
    await journal.record(
        Record(
            streams=((old, 1, 1, True),), verdicts=((old, Verdict(sequence=1, id="a", outcome="accepted")),)
        )
    )
    await journal.close()
    journal = await opened()
    await journal.append([draft("d")])
    new = journal.incarnation
    for _ in range(2):  # asked again, nothing changes
        streams = await journal.reenter(old)
        assert [(one.incarnation, one.left, list(one.lacking)) for one in streams] == [
            (old, True, []),
            (new, False, [(1, 3)]),
        ]
        assert [(e["incarnation"], e["id"], int(e["sequence"])) for e in texts(tmp_path / "journal.db")] == [
            (old, "a", 1),
            (new, "d", 1),
            (new, "b", 2),
            (new, "c", 3),
        ]


async def test_what_lacks_a_verdict_again_in_a_left_incarnation_is_entered_too(
    opened, tmp_path: Path
) -> None:
    journal = await opened()
    old = journal.incarnation
    await journal.append([draft(n) for n in "abcd"])
    said = [
        Verdict(sequence=n, id=i, outcome=o)
        for n, i, o in ((1, "a", "accepted"), (2, "b", "conflict"), (3, "c", "accepted"))
    ]
    await journal.record(Record(streams=((old, 3, 3, True),), verdicts=tuple((old, one) for one in said)))
    await journal.reenter(old)
    assert [(e["id"], int(e["sequence"])) for e in texts(tmp_path / "journal.db")] == [
        ("a", 1),
        ("c", 3),
        ("b", 1),
        ("d", 2),
    ]
    await journal.record(Record(forget_above=((old, 1),)))
    streams = await journal.reenter(old)
    assert [(e["id"], int(e["sequence"])) for e in texts(tmp_path / "journal.db")] == [
        ("a", 1),
        ("b", 1),
        ("d", 2),
        ("c", 3),
    ]
    assert [(s.last, s.left, list(s.lacking)) for s in streams] == [(4, True, []), (3, False, [(1, 3)])]
    assert journal.queued == 3 and [r.sequence for r in await journal.append([draft("e")])] == [4]


async def test_a_conflict_that_is_not_forgotten_is_entered_elsewhere(opened, tmp_path: Path) -> None:
    journal = await opened()
    old = journal.incarnation
    await journal.append([draft(n) for n in "abc"])
    said = [
        Verdict(sequence=n, id=i, outcome=o)
        for n, i, o in ((1, "a", "accepted"), (2, "b", "conflict"), (3, "c", "accepted"))
    ]
    await journal.record(Record(streams=((old, 3, 3, True),), verdicts=tuple((old, one) for one in said)))
    await journal.record(Record(forget_above=((old, 2),)))
    await journal.reenter(old)
    assert [(e["id"], int(e["sequence"])) for e in texts(tmp_path / "journal.db")] == [
        ("a", 1),
        ("b", 1),
        ("c", 2),
    ]


async def test_reentering_holds_only_a_few_events_in_memory_at_a_time(opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.append([draft(f"{n}", text="x" * 4000) for n in range(2_000)])
    tracemalloc.start()
    streams = await journal.reenter(journal.incarnation)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert streams[1].last == 2_000 and most < 2_000 * 4_000 / 2
    events = texts(tmp_path / "journal.db")
    assert [event["id"] for event in events] == [str(n) for n in range(2_000)]
    assert [int(event["sequence"]) for event in events] == list(range(1, 2_001))


async def test_the_first_event_of_a_forked_incarnation_can_move_too(opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.append([draft("a")])
    await journal.reenter(journal.incarnation)
    [event] = texts(tmp_path / "journal.db")
    assert event["data"]["previous"]["last_sequence"] == 1


async def test_a_first_event_that_moves_behind_others_names_no_incarnation_before(
    opened, tmp_path: Path
) -> None:
    journal = await opened()
    old = journal.incarnation
    await journal.append([draft("a")])
    journal = await reopened(opened, journal)
    await journal.append([draft("b")])
    await journal.reenter(old)
    first, second = texts(tmp_path / "journal.db")
    assert first["id"] == "b" and first["data"]["previous"]["incarnation"] == old
    assert second["id"] == "a" and "previous" not in second["data"]


async def test_what_is_entered_from_another_journal_lacks_a_verdict(opened, tmp_path: Path) -> None:
    other, journal = await opened(tmp_path / "other" / "journal.db"), await opened()
    await other.append([draft("a"), draft("b")])
    rows = [(text, 1_700_000_000_000) for _, _, text in await other.read(other.incarnation, 1, 2)]
    await journal.append([draft("c")])
    await journal._ask(lambda: journal._store.enter(rows))
    assert journal.queued == 3 and [one.event.id for one in await journal.recent(9)] == ["b", "a", "c"]


# --- what it refuses -------------------------------------------------------------------------------------------


async def test_a_second_agent_on_the_same_journal_refuses_to_start(opened) -> None:
    await opened()
    with pytest.raises(JournalError, match="another agent is using this journal"):
        await opened()


async def test_a_journal_of_another_agent_is_refused(opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        [owner] = connection.execute("SELECT value FROM meta WHERE name = 'agent'").fetchall()
    connection.close()
    assert owner == ("dock-1",), "so that other versions find it"
    with pytest.raises(JournalError, match="belongs to agent 'dock-1'"):
        await opened(agent="dock-2")


async def test_a_journal_of_another_format_is_refused_by_that_name(opened, tmp_path: Path) -> None:
    await (await opened()).close()
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("UPDATE meta SET value = '3' WHERE name = 'format'")
    connection.close()
    with pytest.raises(
        JournalError, match=r"knows format 2\. Start the program that wrote it, or a newer one$"
    ) as no:
        await opened()
    assert "has format 3, and" in str(no.value)


async def test_a_file_that_is_no_journal_is_refused_and_kept(opened, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(JournalDamaged, match=r"file is not a database.*tallyman journal replace"):
        await opened(path)
    assert path.read_bytes() == b"this is not a database" * 100


@pytest.mark.parametrize(("left", "log"), [(1, 0), (0, 1), (511, 4096)])
async def test_what_is_left_of_a_journal_is_not_taken_for_a_new_one(
    opened, tmp_path: Path, left: int, log: int
) -> None:
    path, log_path = tmp_path / "cut.db", tmp_path / "cut.db-wal"
    path.write_bytes(b"S" * left)
    log_path.write_bytes(b"w" * log)
    with pytest.raises(JournalError, match=f"only {left} bytes of it are left"):
        await opened(path)
    assert (path.stat().st_size, log_path.stat().st_size) == (left, log)


async def test_an_empty_file_without_a_log_is_a_new_journal(opened, tmp_path: Path) -> None:
    (tmp_path / "new.db").touch()
    assert (await opened(tmp_path / "new.db")).queued == 0


async def test_a_directory_in_the_journals_place_is_refused_in_words(opened, tmp_path: Path) -> None:
    (tmp_path / "dir.db").mkdir()
    with pytest.raises(JournalError, match=r"dir\.db: the journal cannot be used"):
        await opened(tmp_path / "dir.db")


async def test_a_directory_that_cannot_be_made_is_refused(opened, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="Make the data directory writable"):
        await opened(tmp_path / "file" / "journal.db")


async def test_an_event_that_is_too_large_is_refused_with_its_call_and_takes_no_place(opened) -> None:
    journal = await opened()
    good, bad = await asyncio.gather(
        journal.append([draft("a")]),
        journal.append([draft("b"), draft("c", raw="x" * 17_000)]),
        return_exceptions=True,
    )
    assert isinstance(bad, EventTooLarge) and "Nothing was recorded" in str(bad)
    [after] = await journal.append([draft("d")])
    assert isinstance(good, list) and (good[0].sequence, after.sequence, journal.queued) == (1, 2, 2)


async def test_more_scans_than_the_bound_are_refused_loudly(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await opened()
    monkeypatch.setattr(journal_module, "MOST_WAITING", 2)
    waiting = [asyncio.ensure_future(journal.append([draft()])) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(JournalBusy, match="scan again"):
        await journal.append([draft()])
    await asyncio.gather(*waiting)
    assert len(await journal.append([draft(), draft()])) == 2


async def test_a_waiter_that_gives_up_changes_nothing(opened) -> None:
    journal = await opened()
    impatient = asyncio.ensure_future(journal.append([draft("a")]))
    await asyncio.sleep(0)
    impatient.cancel()
    [second] = await journal.append([draft("b")])
    assert second.sequence == 2 and [r.event.id for r in await journal.recent(9)] == ["b", "a"]


async def test_a_fault_of_who_listens_takes_no_ok_from_a_durable_scan(opened) -> None:
    """Who gets no OK scans again, under another id: that would count twice."""
    journal, faults = await opened(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def fails(_incarnation: str, _last: int) -> None:
        raise RuntimeError("of the listener")

    journal.on_append = fails
    async with asyncio.timeout(5):
        [recorded] = await journal.append([draft("a")])
    assert recorded.sequence == 1 and [str(fault) for fault in faults] == ["of the listener"]
    journal.on_append = lambda _incarnation, _last: None
    assert [r.sequence for r in await journal.append([draft("b")])] == [2]


async def test_nobody_hears_of_a_verdict_before_it_is_committed(opened) -> None:
    journal = await opened()
    await journal.append([draft("a")])
    seen: list[Any] = []
    record = journal._store.record

    def watched(what: Record) -> None:
        record(what)
        seen.append((journal.queued, journal.history))

    journal._store.record = watched
    verdict = Verdict(sequence=1, id="a", outcome="accepted")
    await journal.record(Record(history="H1", verdicts=((journal.incarnation, verdict),)))
    assert seen == [(1, None)] and (journal.queued, journal.history) == (0, "H1")


async def test_it_tells_since_when_somebody_waits_for_the_disk(opened) -> None:
    journal, before, answer = await opened(), time.monotonic(), threading.Event()
    assert journal.waiting_since is None
    slow = asyncio.ensure_future(journal._ask(answer.wait, alone=True))
    await asyncio.sleep(0)
    since = journal.waiting_since
    behind = asyncio.ensure_future(journal.append([draft()]))
    await asyncio.sleep(0)
    assert before <= since == journal.waiting_since
    answer.set()
    await slow
    assert journal.waiting_since is None or journal.waiting_since > since, "the disk has answered somebody"
    await behind
    assert journal.waiting_since is None


async def test_group_bounds_and_order(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "ROWS_PER_COMMIT", 3)
    journal = await opened()
    old = journal.incarnation
    tasks = [asyncio.ensure_future(journal.append([draft()])) for _ in range(7)]
    tasks.append(asyncio.ensure_future(journal.reenter(old)))
    await asyncio.sleep(0)
    tasks += [asyncio.ensure_future(journal.append([draft()])) for _ in range(2)]
    closing = asyncio.ensure_future(journal.close())
    await asyncio.gather(*tasks)
    await closing
    journal = await opened()
    streams = await journal.streams()
    assert [s.last for s in streams] == [7, 9, 0]


async def test_a_full_disk_refuses_loudly_keeps_what_it_has_and_goes_on_when_there_is_room(opened) -> None:
    journal = await opened()
    await journal.append([draft("a")])
    # A database that may not grow answers as a full disk does: SQLITE_FULL.
    pages = await journal._ask(lambda: journal._store._one("PRAGMA page_count"))
    await journal._ask(lambda: journal._store._one(f"PRAGMA max_page_count = {pages}"), alone=True)
    with pytest.raises(JournalError, match=r"not recorded .*full.*scan again"):
        for _ in range(100):
            await journal.append([draft(raw="x" * 8000)])
    kept = journal.queued
    [after] = await journal.append([draft("after")])
    assert after.sequence == kept + 1
    assert [r.sequence for r in await journal.recent(999)] == list(range(kept + 1, 0, -1))


@pytest.mark.parametrize("after", [False, True])
async def test_after_a_failed_commit_nobody_sees_ok_and_the_place_is_used_again(opened, after: bool) -> None:
    journal = await opened()
    await journal.append([draft("a")])
    journal._store._raw = Failing(journal._store._raw, "INSERT INTO event", after=after)
    with pytest.raises(JournalError, match=r"not recorded \(disk I/O error\)"):
        await journal.append([draft("b")])
    [again] = await journal.append([draft("c")])
    assert again.sequence == 2 and journal.queued == 2
    assert not journal._committer._mender.is_suspect
    assert [r.event.id for r in await journal.recent(9)] == ["c", "a"]


@pytest.mark.parametrize("after", [False, True])
async def test_a_reentering_whose_commit_failed_can_be_asked_for_again(opened, after: bool) -> None:
    journal = await opened()
    old = journal.incarnation
    await journal.append([draft("a"), draft("b")])
    journal._store._raw = Failing(journal._store._raw, "COMMIT", after=after)
    with pytest.raises(JournalError):
        await journal.reenter(old)
    streams = await journal.reenter(old)
    assert [(s.incarnation, s.lacking.total) for s in streams] == [(old, 0), (journal.incarnation, 2)]
    [recorded] = await journal.append([draft("c")])
    assert recorded.sequence == 3 and journal.queued == 3


@pytest.mark.parametrize("after", [False, True])
async def test_a_reentering_whose_commit_failed_leaves_no_gap_and_no_name_behind(opened, after: bool) -> None:
    """Only some events move, so the new incarnation is shorter than the old one was."""
    journal = await opened()
    old, told = journal.incarnation, []
    await journal.append([draft("a"), draft("b"), draft("c")])
    verdicts = tuple(
        (old, Verdict(sequence=n, id=id_, outcome="accepted")) for n, id_ in ((1, "a"), (2, "b"))
    )
    await journal.record(Record(history="H1", streams=((old, 2, 2, True),), verdicts=verdicts))
    journal.on_append = lambda incarnation, last: told.append((incarnation, last))
    journal._store._raw = Failing(journal._store._raw, "COMMIT", after=after)
    with pytest.raises(JournalError):
        await journal.reenter(old)
    assert told == [] and journal.incarnation == old
    await journal.reenter(old)
    [recorded] = await journal.append([draft("d")])
    assert (recorded.incarnation, recorded.sequence) == (journal.incarnation, 2)
    assert {incarnation for incarnation, _ in told} == {journal.incarnation}
    assert [r.event.id for r in await journal.recent(9)] == ["d", "c", "b", "a"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("why", ["a past one is left", "one that was left lacks verdicts again"])
async def test_what_was_entered_into_an_incarnation_that_goes_on_survives_a_failed_commit(
    opened, why: str, after: bool
) -> None:
    """It stands nowhere else, and was told long ago: it is not what a failed commit may take back."""
    journal = await opened()
    old = journal.incarnation
    await journal.append([draft("a"), draft("b")])
    if why == "a past one is left":
        await journal.close()
        journal = await opened()
    else:
        verdicts = tuple(
            (old, Verdict(sequence=n, id=id_, outcome="accepted")) for n, id_ in ((1, "a"), (2, "b"))
        )
        await journal.record(Record(history="H1", streams=((old, 2, 2, True),), verdicts=verdicts))
        await journal.reenter(old)
        await journal.record(Record(forget_above=((old, 0),)))
    await journal.append([draft("c")])
    journal._store._raw = Failing(journal._store._raw, "COMMIT", after=after)
    with pytest.raises(JournalError):
        await journal.reenter(old)
    streams = await journal.reenter(old)
    assert [(s.incarnation, s.lacking.total) for s in streams] == [(old, 0), (journal.incarnation, 3)]
    [recorded] = await journal.append([draft("d")])
    assert recorded.sequence == 4 and journal.queued == 4
    assert sorted(r.event.id for r in await journal.recent(9)) == ["a", "b", "c", "d"]


async def test_an_event_that_was_entered_elsewhere_needs_no_void(opened) -> None:
    journal = await opened()
    old = journal.incarnation
    await journal.append([draft("a")])
    await journal.reenter(old)
    _, [recorded] = await asyncio.gather(journal.void(old, 1), journal.append([draft("b")]))
    assert recorded.sequence == 2


async def test_what_cannot_be_written_as_json_is_refused_alone(opened) -> None:
    journal = await opened()
    drafts = ("a", {}), ("b", {"raw": "\ud800"}), ("c", {"raw": object()}), ("d", {})
    calls = (journal.append([draft(id_, **data)]) for id_, data in drafts)
    a, b, c, d = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(b, JournalError) and isinstance(c, JournalError)
    assert (a[0].sequence, d[0].sequence) == (1, 2)


async def test_a_closed_journal_says_so(opened) -> None:
    journal = await opened()
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.append([draft()])
    with pytest.raises(JournalError, match="closed"):
        await journal.streams()


async def test_a_disk_that_is_full_at_the_start_is_an_error_that_says_so(
    opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module, "_grow", full)
    with pytest.raises(JournalError, match="No space left"):
        await opened()
    monkeypatch.undo()
    assert (await opened()).queued == 0


async def test_while_the_log_cannot_be_checkpointed_nobody_sees_ok(
    opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "_PRAGMAS", (*files_module._PRAGMAS, "busy_timeout=50"))
    journal = await opened()
    await journal.append([draft("a")])
    reader = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM event").fetchall()
    journal._store._raw = Failing(journal._store._raw, "INSERT INTO event", after=True)
    for _ in range(2):
        with pytest.raises(JournalError):
            await journal.append([draft("b")])
    reader.close()
    [recorded] = await journal.append([draft("c")])
    assert recorded.sequence == 2


async def test_reading_a_file_that_is_gone_is_an_error_that_says_so(opened, tmp_path: Path) -> None:
    journal = await opened()
    await journal.append([draft()])
    (tmp_path / "journal.db").rename(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="cannot be read"):
        await journal.recent(1)
    (tmp_path / "elsewhere").rename(tmp_path / "journal.db")
    assert len(await journal.recent(1)) == 1


async def test_a_reading_connection_that_failed_is_replaced(opened) -> None:
    journal = await opened()
    await journal.append([draft()])
    assert len(await journal.recent(1)) == 1
    journal._reader._raw.close()
    with pytest.raises(JournalError, match="cannot be read"):
        await journal.recent(1)
    assert len(await journal.recent(1)) == 1


async def test_the_log_has_its_length_in_advance_and_keeps_it(opened, tmp_path: Path) -> None:
    journal = await opened()
    log = tmp_path / "journal.db-wal"
    size = log.stat().st_size
    assert size == files_module.LOG_BYTES
    await journal.append([draft() for _ in range(500)])
    assert log.stat().st_size == size
    files_module._grow(log, size - 1)
    assert log.stat().st_size == size


def test_a_loop_that_is_gone_is_not_told(tmp_path: Path) -> None:
    async def start() -> Journal:
        journal = await Journal.open(tmp_path / "journal.db", agent="dock-1", site="lej1")
        journal._requests.put(
            journal_module._Request(journal._loop.create_future(), work=lambda: time.sleep(0.2))
        )
        await asyncio.sleep(0.05)
        return journal

    journal = asyncio.run(start())
    journal._requests.put(None)
    journal._writer_thread.join(5)
    assert not journal._writer_thread.is_alive()
    journal._release()


async def test_who_still_waits_when_others_were_told_is_known(opened) -> None:
    journal, free, began = await opened(), threading.Event(), time.monotonic()
    first = asyncio.ensure_future(journal._ask(lambda: None, alone=True))
    second = asyncio.ensure_future(journal._ask(free.wait, alone=True))
    await first
    since = journal.waiting_since
    free.set()
    await second
    assert since is not None and since >= began and journal.waiting_since is None


async def test_so_many_may_wait_however_many_were_told_before(
    opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MOST_WAITING", 3)
    journal = await opened()
    for _ in range(4):
        await journal.append([draft() for _ in range(3)])
    with pytest.raises(JournalBusy):
        await journal.append([draft() for _ in range(4)])


@pytest.mark.parametrize(("quick_s", "together"), [(10.0, 50), (0.0, 100)], ids=["quick", "slow"])
async def test_on_a_quick_disk_half_of_those_who_wait_are_written_while_the_others_are_told(
    opened, monkeypatch: pytest.MonkeyPatch, quick_s: float, together: int
) -> None:
    monkeypatch.setattr(journal_module, "QUICK_S", quick_s)
    journal, groups = await opened(), []
    commit = journal._committer.commit

    def watched(group: Any, meanwhile: Any) -> Any:
        groups.append(len(group))
        return commit(group, meanwhile)

    await journal.append([draft()])
    journal._committer.commit = watched
    free = threading.Event()
    slow = asyncio.ensure_future(journal._ask(free.wait))
    await eventually_async(lambda: groups == [1])
    waiting = [journal.append([draft()]) for _ in range(100)]
    free.set()
    recorded = await asyncio.gather(*waiting, slow)
    assert groups[:2] == [1, together] and max(groups) == together
    assert sorted(one.sequence for [one] in recorded[:-1]) == list(range(2, 102))


@pytest.mark.parametrize(("takes_s", "quick"), [(0.4375, True), (0.5, False)])
async def test_a_disk_is_quick_that_takes_less_time_than_those_who_ask_it(
    opened, monkeypatch: pytest.MonkeyPatch, takes_s: float, quick: bool
) -> None:
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now, monotonic=time.monotonic)
    monkeypatch.setattr(journal_module, "QUICK_S", 0.125)
    monkeypatch.setattr(journal_module, "time", clock)
    journal, groups, free = await opened(), list[int](), threading.Event()
    commit = journal._committer.commit

    def watched(group: Any, meanwhile: Any) -> Any:
        groups.append(len(group))
        clock.now += takes_s if len(group) == 4 else 0.0
        return commit(group, meanwhile)

    journal._committer.commit = watched
    slow = asyncio.ensure_future(journal._ask(free.wait))
    await eventually_async(lambda: groups == [1])
    waiting = [journal.append([draft()]) for _ in range(4)]
    free.set()
    await asyncio.gather(slow, *waiting)
    assert groups == [1, 4] and journal._is_quick is quick


async def test_nothing_is_looked_at_again_while_all_is_well(opened) -> None:
    journal = await opened()
    assert journal.held == 0, "nobody has counted"
    assert journal.oldest_queued_at is None and journal.on_append(journal.incarnation, 1) is None
    await journal.append([draft()])
    assert journal._mending is None and not journal._committer._mender.is_suspect


async def test_one_thread_writes_and_one_reads(opened) -> None:
    before = set(threading.enumerate())
    journal = await opened()
    await asyncio.gather(*(journal.recent(1) for _ in range(8)))
    mine = {(one.name, one.daemon) for one in set(threading.enumerate()) - before}
    assert mine >= {("journal-writer", True), ("journal-reader_0", False)}
    assert sum(name.startswith("journal-reader") for name, _ in mine) == 1


def test_few_statements_do_for_any_number_of_rows() -> None:
    places = [(rows, _places(rows)) for rows in range(1, EVENTS_PER_STATEMENT + 1)]
    assert all(rows <= filled <= rows * 5 / 4 for rows, filled in places)
    assert len({filled for _, filled in places}) <= 32


async def test_so_many_rows_make_a_commit_and_who_asks_for_more_waits_for_the_next(
    opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ROWS_PER_COMMIT", 4)
    journal, groups, free = await opened(), list[int](), threading.Event()
    commit = journal._committer.commit

    def watched(group: Any, meanwhile: Any) -> Any:
        groups.append(len(group))
        return commit(group, meanwhile)

    journal._committer.commit = watched
    slow = asyncio.ensure_future(journal._ask(free.wait))
    await eventually_async(lambda: groups == [1])
    waiting = [journal.append([draft(), draft()]) for _ in range(5)]
    free.set()
    await asyncio.gather(*waiting, slow)
    assert groups == [1, 2, 2, 1]


async def test_who_no_longer_waits_keeps_no_answer_from_the_others(opened) -> None:
    journal, free = await opened(), threading.Event()
    slow = asyncio.ensure_future(journal._ask(free.wait))
    await asyncio.sleep(0)
    gone, waits = journal.append([draft("a")]), journal.append([draft("b")])
    gone.cancel()
    free.set()
    await asyncio.gather(slow, journal.append([draft("c")]))
    assert waits.done() and [one.event.id for one in await journal.recent(9)] == ["c", "b", "a"]


async def test_who_was_committed_is_told_also_when_the_next_commit_fails(
    opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers wait until the next group is ready for the disk; here it never comes to that."""
    monkeypatch.setattr(journal_module, "ROWS_PER_COMMIT", 1)
    journal = await opened()
    place, placed = journal._store.place, itertools.count()

    def fails(*arguments: Any) -> Any:
        if next(placed) == 1:
            raise OSError("of this group")
        return place(*arguments)

    journal._store.place = fails
    first, second = await asyncio.gather(
        journal.append([draft("a")]), journal.append([draft("b")]), return_exceptions=True
    )
    assert first[0].sequence == 1 and isinstance(second, JournalError)
    [third] = await journal.append([draft("c")])
    assert third.sequence == 2 and [r.event.id for r in await journal.recent(9)] == ["c", "a"]


async def test_who_was_committed_does_not_wait_until_the_disk_is_mended(
    opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ROWS_PER_COMMIT", 1)
    journal = await opened()
    mender, told = journal._committer._mender, asyncio.Event()
    loop = asyncio.get_running_loop()
    mend, release = mender.mend, threading.Event()

    def patient(*arguments: Any) -> None:
        if told.is_set():
            mend(*arguments)
            return
        loop.call_soon_threadsafe(told.set)
        assert release.wait(30)
        mend(*arguments)

    mender.mend = patient
    place = journal._store.place

    def doubted(*arguments: Any) -> Any:
        texts = place(*arguments)
        mender.condition = Condition("failing", "somebody doubts the disk")
        return texts

    journal._store.place = doubted
    first, second = (journal.append([draft(id_)]) for id_ in "ab")
    await told.wait()
    async with asyncio.timeout(30):
        [recorded] = await first
    assert recorded.sequence == 1 and not second.done()
    release.set()
    journal._store.place = place
    await asyncio.wait([second])


async def test_drafts_are_recorded_as_they_were_when_they_were_handed_over(opened) -> None:
    journal, data = await opened(), {"sku": "A"}
    appended = journal.append([Draft("a", "tallyman.received.v1", "t", data)])
    data["sku"] = "B"
    await appended
    [recorded] = await journal.recent(1)
    assert recorded.event.data["sku"] == "A"

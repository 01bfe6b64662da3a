"""Events as they are published together."""

import hashlib
import json
from pathlib import Path

import pytest

from sync.journal import Draft, Journal
from sync.messages import BATCH_EVENTS, MAX_UPWARD_BYTES, cut_batches


def rows(sequences: list[int], size: int = 0) -> list[tuple[int, bytes]]:
    return [(n, json.dumps({"id": f"é{n}", "fill": "x" * size}).encode()) for n in sequences]


@pytest.mark.parametrize(
    ("sequences", "size", "firsts_and_counts"),
    [
        ([], 0, []),
        ([7], 0, [(7, 1)]),
        ([1, 2, 3], 0, [(1, 3)]),
        ([1, 2, 4, 5, 9], 0, [(1, 2), (4, 2), (9, 1)]),
        ([*range(1, 251)], 0, [(1, 100), (101, 100), (201, 50)]),
        ([*range(1, 9)], 16_000, [(1, 4), (5, 4)]),
        ([1, 2, 3], 60_000, [(1, 1), (2, 1), (3, 1)]),
    ],
)
def test_a_batch_has_no_hole_and_passes_no_limit(
    sequences: list[int], size: int, firsts_and_counts: list[tuple[int, int]]
) -> None:
    given = rows(sequences, size)
    batches = cut_batches(given)
    assert [(batch.first, len(batch.ids)) for batch in batches] == firsts_and_counts
    told = [text for batch in batches for text in json.loads(batch.payload)]
    assert told == [json.loads(text) for _, text in given]
    for batch in batches:
        assert batch.ids == [f"é{n}" for n in range(batch.first, batch.last + 1)]
        assert batch.name == hashlib.sha256(batch.payload).hexdigest()
        assert len(batch.ids) <= BATCH_EVENTS and len(batch.payload) <= MAX_UPWARD_BYTES


async def test_a_journal_gives_what_it_holds_and_nothing_for_nothing(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "journal.db", agent="dock-1", site="lej1")
    await journal.append([Draft(f"e{n}", "tallyman.sighted.v1", "t", {"location": "D"}) for n in (1, 2, 3)])
    [batch] = await journal.batches(journal.incarnation, 2, 9)
    assert (batch.first, list(batch.ids)) == (2, ["e2", "e3"])
    assert await journal.batches(journal.incarnation, 4, 9) == []
    assert await journal.batches(journal.incarnation, 2, 250) == [batch]
    assert await journal.batches("0" * 32, 1, 9) == []
    await journal.close()

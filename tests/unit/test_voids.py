"""What stands in for an event that central cannot read."""

import base64
import contextlib
import hashlib
import sqlite3
from pathlib import Path

import msgspec
import pytest

from sync import messages
from sync.events import Void, check
from sync.journal import Draft, Journal
from sync.messages import Event
from sync.voids import void_of

INCARNATION = "a" * 32
PREVIOUS = {"incarnation": "b" * 32, "last_sequence": messages.MAX_NUMBER}


def event_of(size: int, sequence: int = 2) -> tuple[Event, bytes]:
    """An event whose JSON has so many bytes."""
    data = {"raw": "", "location": "D", **({"previous": PREVIOUS} if sequence == 1 else {})}
    event = Event(
        id="i" * 128, source="/sites/s/agents/a", type="tallyman.sighted.v1", time="t", subject="SKU",
        incarnation=INCARNATION, sequence=messages.sequence_text(sequence), data=data,
    )  # fmt: skip
    event.data["raw"] = "x" * (size - len(messages.encode(event)))
    text = messages.encode(event)
    assert len(text) == size
    return event, text


@pytest.mark.parametrize("sequence", [1, 2])
@pytest.mark.parametrize("size", [800, 11_000, 12_000, 13_000, 16_000, messages.MAX_RECORDED_BYTES])
def test_a_void_fits_where_every_event_fits_also_when_it_is_entered_elsewhere(
    size: int, sequence: int
) -> None:
    event, text = event_of(size, sequence)
    encoded, whole = void_of(event, text)
    void = msgspec.json.decode(encoded, type=Event)
    assert (void.id, void.incarnation, void.sequence) == (event.id, INCARNATION, event.sequence)
    assert void.data.get("previous") == event.data.get("previous")
    elsewhere = msgspec.structs.replace(void, data={**void.data, "previous": PREVIOUS})
    assert len(messages.encode(elsewhere)) <= messages.MAX_EVENT_BYTES
    data = check(void.type, void.data)
    assert isinstance(data, Void)
    held = base64.b64decode(data.original, validate=True)
    if whole:
        assert held == text and data.length is None and data.sha256 is None
    else:
        assert text.startswith(held) and len(held) > 11_000
        assert (data.length, data.sha256) == (size, hashlib.sha256(text).hexdigest())
    assert whole == (size <= 11_000)


def test_a_void_has_no_subject_and_may_be_exactly_as_long_as_an_event() -> None:
    event, text = event_of(800)
    assert msgspec.json.decode(void_of(event, text)[0])["subject"] is None
    lengths = set()
    for name in ("a", "ab", "abc", "abcd"):  # base64 grows by four
        event.source = f"/sites/s/agents/{name}"
        wholes = [
            len(void)
            for size in range(11_780, 11_820)
            for void, whole in [void_of(event, b"x" * size)]
            if whole
        ]
        lengths.add(max(wholes))
    assert max(lengths) == messages.MAX_RECORDED_BYTES


async def test_what_a_void_cannot_hold_stays_in_the_journal_also_when_it_is_entered_elsewhere(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    journal = await Journal.open(path, agent="dock-1", site="lej1")
    data = {"raw": "x" * 8000, "location": "D", "note": "y" * 7000}
    drafts = [Draft(f"e{n}", "tallyman.sighted.v1", "t", data) for n in (1, 2)]
    await journal.append([*drafts, Draft("small", "tallyman.sighted.v1", "t", {"raw": "z", "location": "D"})])
    old = journal.incarnation
    texts = {sequence: text for sequence, _, text in await journal.read(old, 1, 3)}
    for sequence in (2, 3, 3):
        await journal.void(old, sequence)

    def kept() -> list[bytes]:
        with contextlib.closing(sqlite3.connect(path)) as raw:
            joined = "SELECT voided.original FROM voided JOIN event ON event.key = voided.key"
            return [bytes(original) for (original,) in raw.execute(joined)]

    assert kept() == [texts[2]], "the small one is whole in its void"
    await journal.reenter(old)
    assert kept() == [texts[2]]
    moved = await journal.read(journal.incarnation, 2, 2)
    assert moved[0][1] == "e2" and len(moved[0][2]) <= messages.MAX_EVENT_BYTES
    await journal.close()

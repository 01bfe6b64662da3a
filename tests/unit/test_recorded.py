"""The text of an event in the journal is joined from what its place says and what was scanned, and is exact."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import messages
from sync.journal.lives import Life
from sync.journal.recorded import MAX_BODY_BYTES, Draft, EventTooLarge, JournalError, body_of
from sync.journal.store import Store
from sync.messages import Event

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DRAFT = st.builds(
    Draft,
    id=TEXT,
    type=TEXT,
    time=TEXT,
    data=st.dictionaries(TEXT, VALUE, max_size=5),
    subject=st.none() | TEXT,
)


class NoFiles:
    """For a store that only places events."""

    path = Path("none")


def store(site: str, last: int, previous: Any, incarnation: str = "ab" * 16) -> Store:
    made = Store(NoFiles(), agent="dock-1", site=site, random_bytes=bytes)  # type: ignore[arg-type]
    made._life, made.incarnation = Life(1, incarnation), incarnation
    made._begin_text()
    made.last, made._previous = last, previous
    return made


@given(
    incarnation=st.sampled_from(["ab" * 16, "0" * 32]),
    drafts=st.lists(DRAFT, max_size=4),
    last=st.integers(0, 2**40) | st.sampled_from([0, 8, 9, 98, 10**6 - 2]),
    site=TEXT,
    previous=st.none() | st.just({"incarnation": "cd" * 16, "last_sequence": 7}),
)
def test_the_text_of_a_placed_event_is_the_encoding_of_that_event(
    incarnation: str, drafts: list[Draft], last: int, site: str, previous: Any
) -> None:
    texts = store(site, last, previous, incarnation).place([body_of(draft) for draft in drafts])
    expected = [
        Event(
            source=messages.event_source(site, "dock-1"),
            incarnation=incarnation,
            sequence=f"{sequence:020d}",
            id=draft.id,
            type=draft.type,
            time=draft.time,
            data={**draft.data, "previous": previous} if sequence == 1 else draft.data,
            subject=draft.subject,
        )
        for sequence, draft in enumerate(drafts, last + 1)
    ]
    assert [text.encode() for text in texts] == [messages.encode(event) for event in expected]


@pytest.mark.parametrize("last", [0, 1])
def test_the_largest_event_that_is_taken_is_one_that_the_contract_allows(last: int) -> None:
    def sized(length: int) -> Draft:
        return Draft("x" * 36, "tallyman.received.v1", "2026-11-20T08:15:30.123456Z", {"raw": "x" * length})

    most = MAX_BODY_BYTES - len(body_of(sized(0))) - 1
    with pytest.raises(EventTooLarge, match="more than the 15872 that can be recorded"):
        body_of(sized(most + 1))
    widest = store("ö" * 30, last, {"incarnation": "cd" * 16, "last_sequence": messages.MAX_NUMBER})
    [text] = widest.place([body_of(sized(most))])
    assert len(text.encode()) <= (messages.MAX_RECORDED_BYTES if last else messages.MAX_EVENT_BYTES)


@pytest.mark.parametrize("value", ["\ud800", object()])
def test_what_cannot_be_written_as_json_is_refused(value: Any) -> None:
    with pytest.raises(JournalError, match="cannot be written as JSON"):
        body_of(Draft("a", "t", "t", {"raw": value}))

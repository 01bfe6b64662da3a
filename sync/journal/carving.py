"""Events that stand in the log behind a hole, where SQLite does not read: page by page, as they were written.

The one idea: a page in the log is whole, whatever came before it. Of each page the newest image counts, up to the
last commit. Only leaves of the table of events are read, and of them only what is an event at its own place:
whatever else has the same form is none. Bytes and their meaning: https://www.sqlite.org/fileformat2.html#record_format
"""

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from sync.journal import inspection
from sync.journal.layout import SEQUENCE_BITS
from sync.messages import Event, sequence_text

Row = tuple[int, bytes, int, int | None]
"""(key, text, recorded_ms, outcome), as in the table."""

_LEAF: Final = 13
_COLUMNS: Final = 6
_KEPT_ELSEWHERE: Final = 35  # a row that leaves less of its page than this goes on on other pages
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_CONSTANTS: Final = {8: 0, 9: 1}
_FIRST_BLOB: Final = 12

_event = msgspec.json.Decoder(Event)


def events_behind_hole(path: Path, held: ExitStack) -> dict[int, Row]:
    """What the log of this journal has behind the place where SQLite stops reading it, by key. Somebody must have
    read it just before. `held`: closed after that, see `inspection.frames_behind`.
    """
    pages: dict[int, bytes] = {}
    uncommitted: dict[int, bytes] = {}
    for number, is_commit, page in inspection.frames_behind(path, held):
        uncommitted[number] = page
        if is_commit:
            pages |= uncommitted
            uncommitted = {}
    return {row[0]: row for page in pages.values() for row in _events_of(page)}


def _events_of(page: bytes) -> Iterator[Row]:
    kind, cells = struct.unpack_from(">B2xH", page)
    for number in range(cells if kind == _LEAF else 0):
        try:
            row = _row(page, struct.unpack_from(">H", page, 8 + 2 * number)[0])
        except (IndexError, struct.error):
            continue  # a page that only looks like a leaf
        if row is not None and _is_event(row):
            yield row


def _row(page: bytes, at: int) -> Row | None:
    """The row of a cell, when it is one of the table of events."""
    size, at = _varint(page, at)
    key, start = _varint(page, at)
    if size > len(page) - _KEPT_ELSEWHERE:
        return None
    header_size, at = _varint(page, start)
    types = []
    while at < start + header_size:
        kind, at = _varint(page, at)
        types.append(kind)
    if len(types) != _COLUMNS or types[1] < _FIRST_BLOB or types[1] % 2:
        return None
    end = at + (types[1] - _FIRST_BLOB) // 2
    recorded_ms = _integer(page, end, types[2])
    outcome = _integer(page, end + _INTEGER_BYTES.get(types[2], 0), types[3])
    return None if recorded_ms is None else (key, page[at:end], recorded_ms, outcome)


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends): seven bits a byte, most significant first, eight in the ninth."""
    value = 0
    for place in range(8):
        byte = page[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value << 8 | page[at + 8], at + 9


def _integer(page: bytes, at: int, kind: int) -> int | None:
    size = _INTEGER_BYTES.get(kind)
    return _CONSTANTS.get(kind) if size is None else int.from_bytes(page[at : at + size], "big", signed=True)


def _is_event(row: Row) -> bool:
    try:
        return _event.decode(row[1]).sequence == sequence_text(row[0] & (1 << SEQUENCE_BITS) - 1)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False

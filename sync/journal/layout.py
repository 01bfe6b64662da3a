"""The tables of the journal's file, what their columns mean, and how an older file becomes one of this format.

The idea: whatever must be known of millions of events is kept beside them in a few numbers, so that a journal opens
without looking at its events. An event lacks a verdict if it lies in a `hole`, or above `judged`; all others have
one. Both are written in the same transaction as the verdicts themselves, and `tallyman journal verify` compares them.

    meta          format, agent, history, connection, ran_s
    incarnation   one row for each start of the agent's process that is still needed (see `retention.py`)
    hole          runs of events at or below `judged` that lack a verdict: nearly always none
    event         key = incarnation number × 2^40 + sequence; without an outcome it is queued
    voided        the original of an event in whose place a `void` stands that could not hold all of it
    mark          how far the journal had come when the agent had run so long: by this the age of events is judged

Columns of `incarnation` that do not speak for themselves:

    last            the highest sequence ever given; of the current one only as of the last pruning, or as of the last
                    time that events were entered into it
    answered        central has answered a hello that listed it, in this history and since it ended
    forked          it was left, and its unsettled events were entered into another
    judged          the highest sequence that ever got a verdict of this history; of a left one its last
    missing         places between its first and last event that hold none, because it was left
    conflict_from   no event below it is `conflict`; 0: none is
"""

import sqlite3
from typing import Final

FORMAT: Final = "2"
SEQUENCE_BITS: Final = 40  # 2^40 events in one incarnation, 2^23 incarnations in SQLite's 63-bit keys
OUTCOMES: Final = ("accepted", "discrepant", "rejected", "conflict")
CONFLICT: Final = OUTCOMES.index("conflict")

SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS incarnation (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, last INTEGER NOT NULL DEFAULT 0,
        acked INTEGER NOT NULL DEFAULT 0, safe INTEGER NOT NULL DEFAULT 0, answered INTEGER NOT NULL DEFAULT 0,
        forked INTEGER NOT NULL DEFAULT 0, judged INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0,
        conflict_from INTEGER NOT NULL DEFAULT 0)""",
    "CREATE TABLE IF NOT EXISTS hole (first INTEGER PRIMARY KEY, last INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS event (
        key INTEGER PRIMARY KEY, text BLOB NOT NULL, recorded_ms INTEGER NOT NULL,
        outcome INTEGER, reason TEXT, movement INTEGER)""",
    "CREATE TABLE IF NOT EXISTS voided (key INTEGER PRIMARY KEY, original BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS mark (ran_s INTEGER PRIMARY KEY, key INTEGER NOT NULL)",
)

# Format 1 derived these from the events at each start.
_COLUMNS_SINCE_1: Final = ("judged", "missing", "conflict_from")
_HELD: Final = (
    "SELECT count(*), min(key), max(key), min(CASE WHEN outcome = ? THEN key END) FROM event"
    " WHERE key > ? AND key < ?"
)
# Runs of neighbouring keys share the difference between the key and its rank.
_LACKING: Final = (
    "SELECT min(key), max(key) FROM (SELECT key, key - row_number() OVER (ORDER BY key) AS run FROM event"
    " WHERE key > ? AND key < ? AND outcome IS NULL) GROUP BY run ORDER BY 1"
)


def lacking_runs(raw: sqlite3.Connection, above: int, below: int) -> list[tuple[int, int]]:
    """(first key, last key) of each run of events between two keys that have no outcome. Reads all of them."""
    return raw.execute(_LACKING, (above, below)).fetchall()


def upgrade(raw: sqlite3.Connection, written: str) -> bool:
    """Bring a file that an older program wrote to this format, inside the caller's transaction; the tables that are
    new are there already. False: the format is unknown. From format 1 it reads all events, once.
    """
    if written == FORMAT:
        return True
    if written != "1":
        return False
    for column in _COLUMNS_SINCE_1:
        raw.execute(f"ALTER TABLE incarnation ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    recount(raw)
    raw.execute("UPDATE meta SET value = ? WHERE name = 'format'", (FORMAT,))
    return True


def recount(raw: sqlite3.Connection) -> None:
    """Find out from the events what is known of each incarnation, inside the caller's transaction. One that has lost
    events from its midst is one that was left: central would wait for them for ever, so what lacks a verdict is to be
    entered into another.
    """
    raw.execute("DELETE FROM hole")
    for number, stored, forked in raw.execute("SELECT number, last, forked FROM incarnation").fetchall():
        base, end = number << SEQUENCE_BITS, number + 1 << SEQUENCE_BITS
        held, first, top, conflict = raw.execute(_HELD, (CONFLICT, base, end)).fetchone()
        last = max(stored, top - base) if held else stored
        missing = base + last - first + 1 - held if held else 0
        left = forked or missing > 0
        holes = lacking_runs(raw, base, end)
        judged = last
        if not left and holes and holes[-1][1] == base + last:
            judged = holes.pop()[0] - base - 1
        raw.executemany("INSERT INTO hole VALUES (?, ?)", holes)
        raw.execute(
            "UPDATE incarnation SET last = ?, forked = ?, judged = ?, missing = ?, conflict_from = ?"
            " WHERE number = ?",
            (last, left, judged, missing, conflict - base if conflict else 0, number),
        )

"""Cursors: where a reader of a list or of the feed has come to. Opaque to the reader, without state here.

The one idea: a cursor over movements carries the history it was made in, so that after a restore nobody follows
numbers that now mean something else.
"""

import base64
import binascii
from typing import Final

CURSOR_MAX_CHARS: Final = 1000  # a document id of 200 characters, in UTF-8 and base64


class BadCursor(ValueError):
    """This is no cursor that central gave."""


def encode(*parts: str) -> str:
    """The parts as one opaque word for a URL."""
    return base64.urlsafe_b64encode("\x1f".join(parts).encode()).decode().rstrip("=")


def decode(cursor: str, parts: int) -> list[str]:
    """The parts of a cursor.

    Raises:
        BadCursor: it was not made by `encode` with so many parts.
    """
    if len(cursor) > CURSOR_MAX_CHARS:
        raise BadCursor("it is too long")
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise BadCursor("it cannot be decoded") from error
    if "\x00" in text:  # no name holds it, and PostgreSQL takes none
        raise BadCursor("it cannot be decoded")
    found = text.split("\x1f")
    if len(found) != parts:
        raise BadCursor("it belongs to another list")
    return found


def movement_cursor(history: str, number: int) -> str:
    """After this movement, in this history."""
    return encode(history, str(number))


def parse_movement_cursor(cursor: str) -> tuple[str, int]:
    """(history, movement number).

    Raises:
        BadCursor: it is none of these.
    """
    history, number = decode(cursor, 2)
    return history, parse_number(number)


def parse_number(text: str) -> int:
    """A number that a column of ours can hold.

    Raises:
        BadCursor: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadCursor("it names no row")
    return int(text)

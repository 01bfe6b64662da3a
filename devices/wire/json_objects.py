"""JSON objects in a stream of bytes, with nothing, white space or commas between them.

The one idea: where an object ends is told by its brackets alone, and what cannot stand inside an object says at once
that it was none: a control character in a string, a bracket where no value begins, a letter outside of strings. Then
its first byte is dropped and the next `{` is tried, as with any frame. While all is well, every byte is looked at
once; else `MAX_TRIES` times more at the most, however the bytes arrive and whoever sends them.
"""

import re
from dataclasses import dataclass

from devices.reads import MAX_SAMPLE

MAX_DEPTH = 16
"""Readers nest objects and arrays three deep; deeper is no event, and no work for a decoder that recurses."""
MAX_TRIES = 8
"""How many beginnings inside one broken object are tried, before all of it is given up."""
# Garbage is told in one piece, and what does not end in pieces of so many bytes.
_MAX_SKIPPED = 65_536

_CONTENT = rb'(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+'
_PLAIN = rb"[\t\n\r 0-9+\-.eEtrufalsn:,]*+"
# Inside of an object: everything up to a bracket, or to a string that does not end here.
_UP_TO_BRACKET = re.compile(_PLAIN + rb'(?:"' + _CONTENT + rb'"' + _PLAIN + rb")*+")
_REST_OF_STRING = re.compile(_CONTENT)
# Between objects: also the brackets and commas of an array that has events in it.
_BETWEEN = re.compile(rb"[\t\n\r ,\[\]]*+")
_SPACES = b"\t\n\r "
_OPENS, _CLOSES = b"{[", {ord("}"): ord("{"), ord("]"): ord("[")}
# What stands before a bracket that begins a value, by what the value is in.
_BEFORE = {ord("{"): b":", ord("["): b"[,"}


@dataclass(frozen=True, slots=True)
class Skipped:
    """Bytes that belong to no object."""

    count: int
    sample: bytes
    """The first of them, at most `MAX_SAMPLE`."""


class ObjectScanner:
    """Cuts a stream into objects of at most `most` bytes. It holds one unfinished object."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()
        self._at = 0  # what is before it was looked at
        self._start = 0  # where the unfinished object begins
        self._open = bytearray()  # its open brackets
        self._in_string = False
        self._broken_to = 0
        self._tries = 0
        self._skipped = 0
        self._sample = b""

    @property
    def waits(self) -> bool:
        """Something is unfinished, or not told yet."""
        return bool(self._open) or self._skipped > 0

    def feed(self, data: bytes) -> list[bytes | Skipped]:
        """What these bytes complete, in order. An object is whole by its brackets; it may still be no JSON."""
        self._buffer += data
        found: list[bytes | Skipped] = []
        self._scan(found)
        self._drop()
        return found

    def end(self) -> list[bytes | Skipped]:
        """Nothing more will come of what is unfinished: it was none, but what stands inside it may be one."""
        found: list[bytes | Skipped] = []
        while self._open:
            self._broken()
            self._scan(found)
        self._tell(found)
        self._drop()
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._buffer.clear()
        self._open.clear()
        self._at = self._start = self._broken_to = self._tries = self._skipped = 0
        self._in_string, self._sample = False, b""

    def _scan(self, found: list[bytes | Skipped]) -> None:
        while self._inside(found) if self._open else self._between(found):
            pass

    def _between(self, found: list[bytes | Skipped]) -> bool:
        """Go to the next `{`; False: there is none yet."""
        buffer = self._buffer
        at = _past(_BETWEEN, buffer, self._at)
        if at < len(buffer) and buffer[at] != _OPENS[0]:
            next_ = buffer.find(b"{", at)
            end = len(buffer) if next_ < 0 else next_
            self._skip(at, end, found)
            at = end
        if at == len(buffer):
            self._at = self._start = at
            return False
        self._start, self._at = at, at + 1
        self._open.append(buffer[at])
        return True

    def _inside(self, found: list[bytes | Skipped]) -> bool:
        """Go to the next bracket; False: it has not come yet."""
        buffer = self._buffer
        inside = _REST_OF_STRING if self._in_string else _UP_TO_BRACKET
        at = self._at = _past(inside, buffer, self._at)
        half_escape = self._in_string and at + 1 == len(buffer) and buffer[at] == ord("\\")
        if at - self._start >= self._most:
            self._broken()
        elif at == len(buffer) or half_escape:
            return False
        elif buffer[at] == ord('"'):
            self._in_string = not self._in_string
            self._at = at + 1
        elif self._in_string or not self._bracket(at):
            self._broken()
        elif not self._open:
            self._tell(found)
            found.append(bytes(buffer[self._start : at + 1]))
            self._start = self._at
        return True

    def _bracket(self, at: int) -> bool:
        """Take a bracket; False: it is none, or cannot stand here."""
        buffer, byte, innermost = self._buffer, self._buffer[at], self._open[-1]
        if byte in _OPENS:
            before = at - 1
            while buffer[before] in _SPACES:
                before -= 1
            if buffer[before] not in _BEFORE[innermost] or len(self._open) == MAX_DEPTH:
                return False
            self._open.append(byte)
        elif _CLOSES.get(byte) == innermost:
            self._open.pop()
        else:
            return False
        self._at = at + 1
        return True

    def _broken(self) -> None:
        """What began at `_start` is no object, as is seen at `_at`. Try the next beginning, or give up up to here."""
        self._tries = self._tries + 1 if self._start < self._broken_to else 1
        self._broken_to = max(self._broken_to, self._at)
        after = self._start + 1 if self._tries <= MAX_TRIES else self._broken_to
        self._open.clear()
        self._in_string = False
        self._count(self._start, after)
        self._at = self._start = after

    def _skip(self, start: int, end: int, found: list[bytes | Skipped]) -> None:
        self._count(start, end)
        if self._skipped >= _MAX_SKIPPED:
            self._tell(found)

    def _count(self, start: int, end: int) -> None:
        if len(self._sample) < MAX_SAMPLE:
            self._sample += bytes(self._buffer[start : min(end, start + MAX_SAMPLE - len(self._sample))])
        self._skipped += end - start

    def _tell(self, found: list[bytes | Skipped]) -> None:
        if self._skipped:
            found.append(Skipped(self._skipped, self._sample))
            self._skipped, self._sample = 0, b""

    def _drop(self) -> None:
        """Keep the unfinished object alone."""
        gone = self._start
        if gone:
            del self._buffer[:gone]
            self._start, self._at = 0, self._at - gone
            self._broken_to = max(0, self._broken_to - gone)


def _past(pattern: re.Pattern[bytes], buffer: bytearray, at: int) -> int:
    """Where what a pattern takes from here ends; all of ours take nothing too."""
    match = pattern.match(buffer, at)
    assert match is not None
    return match.end()

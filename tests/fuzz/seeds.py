"""Where fuzzing begins: every vector, and the conversation of every driver with its simulated device."""

import random
from collections.abc import Iterator
from itertools import islice
from math import ceil

from benchmarks.conversation import converse
from simulators.hardware import KINDS
from simulators.hardware.things import make
from tests.fuzz.frames import FRAMES
from tests.fuzz.play import FRAMED, MOST_BYTES, PAUSE_S, PAUSES, cut, option_sets, write
from tests.support.drivers import build, vectors

THINGS = 6
CONVERSATION_S = 20
SILENCES = 20
"""Pauses after which a device that answered before is given up."""
MOST_CUTS = 100
KIND_BYTES = 3
"""Bodies that begin alike are of the same kind, and one of each kind is also given too short and too long."""
LONGEST_CUT = 64


def seeds(name: str) -> Iterator[bytes]:
    """Transcripts, the same on every call."""
    sets = option_sets(name)
    for vector in vectors(name):
        options = sets.index(vector.get("options", {}))
        setup, data = bytes.fromhex(vector.get("setup", "")), bytes.fromhex(vector["bytes"])
        yield write([(0, setup + data)], options)
        yield write([(0, setup), *cut(data, (1, len(data) // 2))], options)
        yield write([(0, setup), *cut(data, range(min(len(data), MOST_CUTS)))], options)
        yield write([(0, setup), (20, data)], options, opened=True, feedback=True)
    for options in range(len(sets)):
        pieces = conversation(name, options)
        yield write(pieces, options, opened=True)
        yield write(pieces, options, opened=True, feedback=True)
        yield write([*pieces, *[(PAUSES, b"")] * SILENCES], options, opened=True)
        if (frames := FRAMES.get(name)) is not None:
            bodies = [(pause | FRAMED, frames.body(data)) for pause, data in pieces]
            yield write(bodies, options, opened=True)
            kinds = {body[:KIND_BYTES]: body for _, body in bodies}
            for body in kinds.values():
                yield from (
                    write([(FRAMED, body[:size])], options) for size in range(min(len(body), LONGEST_CUT))
                )
                yield write([(FRAMED, body + body)], options)
        # More than any frame holds, of what no header is made of.
        yield write([(0, b"9" * min(MOST_BYTES - 100, 2 * build(name).MAX_FRAME)), (1, b"\r\n")], options)


def conversation(name: str, options: int) -> list[tuple[int, bytes]]:
    """What a driver hears while it starts its device and reads a few things, and how long after the one before."""
    kind = KINDS[name]
    device = kind.load()(random.Random(options))
    things = list(islice(make(kind.reads, seed=options), THINGS))
    said = converse(build(name, option_sets(name)[options]), device, things, CONVERSATION_S)
    pieces, passed_s = [], 0.0
    for each in said:
        # A driver that hears an answer too early has not asked yet.
        pause = max(0, min(PAUSES, ceil((each.at_s - passed_s) / PAUSE_S)))
        pieces.append((pause, each.data))
        passed_s += pause * PAUSE_S
    return pieces

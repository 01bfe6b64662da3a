"""Where fuzzing begins: every vector, and the conversation of every driver with its simulated device."""

import random
from collections.abc import Iterator
from itertools import islice

from benchmarks.conversation import converse
from simulators.hardware import KINDS
from simulators.hardware.things import make
from tests.fuzz.play import MOST_BYTES, PAUSE_S, cut, option_sets, write
from tests.support.drivers import build, vectors

THINGS = 6
CONVERSATION_S = 20


def seeds(name: str) -> Iterator[bytes]:
    """Transcripts, the same on every call."""
    sets = option_sets(name)
    for vector in vectors(name):
        options = sets.index(vector.get("options", {}))
        setup, data = bytes.fromhex(vector.get("setup", "")), bytes.fromhex(vector["bytes"])
        yield write([(0, setup + data)], options)
        yield write([(0, setup), *cut(data, (1, len(data) // 2))], options)
        yield write([(0, setup), (20, data)], options, opened=True, feedback=True)
    for options in range(len(sets)):
        yield conversation(name, options)
        # More than any frame holds, of what no header is made of.
        yield write([(0, b"9" * min(MOST_BYTES // 2, 2 * build(name).MAX_FRAME)), (1, b"\r")], options)


def conversation(name: str, options: int) -> bytes:
    """What a driver hears while it starts its device and reads a few things: as a transcript."""
    kind = KINDS[name]
    device = kind.load()(random.Random(options))
    things = list(islice(make(kind.reads, seed=options), THINGS))
    said = converse(build(name, option_sets(name)[options]), device, things, CONVERSATION_S)
    pieces, before_s = [], 0.0
    for each in said:
        pieces.append((min(0x7F, int((each.at_s - before_s) / PAUSE_S)), each.data))
        before_s = each.at_s
    return write(pieces, options, opened=True)

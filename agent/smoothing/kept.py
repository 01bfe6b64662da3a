"""What is in view, over a restart: a place for each tag.

The one idea: no clock decides. A file says where each tag was and how long it had stayed, not when; whatever it names
may be in view still, and departs like any other if nobody hears it.
"""

from collections.abc import Iterable

import msgspec

from agent.smoothing.smoother import Smoother
from agent.smoothing.tracks import Tag
from agent.smoothing.values import NS_PER_S, Direction


class Kept(msgspec.Struct, frozen=True):
    """The content of the file."""

    newest: str | None
    """The newest event that was recorded when it was written: what came later is told by the journal."""
    tags: list[tuple[str, str, int, Direction | None]]
    """EPC, place, the seconds that it had stayed, and the direction that its departure tells."""


def keep(tags: Iterable[Tag], newest: str | None) -> Kept:
    """What is worth keeping of these: a tag of which nothing has come yet comes again after a restart."""
    return Kept(
        newest,
        [
            (
                tag.epc.hex(),
                tag.settled.name,
                tag.stayed_ns // NS_PER_S,
                tag.through,
            )
            for tag in tags
            if tag.settled is not None
        ],
    )


def restore(smoother: Smoother, kept: Kept, now_ns: int) -> set[bytes]:
    """Begin with what was kept; the tags whose place there is no more, as the configuration was changed."""
    lost: set[bytes] = set()
    for text, name, stayed_s, through in kept.tags:
        try:
            epc = bytes.fromhex(text)
        except ValueError:
            continue
        place = smoother.place(name)
        if place is None:
            lost.add(epc)
        else:
            smoother.recall(epc, place, now_ns, max(0, stayed_s) * NS_PER_S, through)
    return lost

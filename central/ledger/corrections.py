"""Which movements stand. A movement stands while no standing correction names it.

The idea: `standing` is derived from the corrections that are known, never stored; so a correction that comes
before what it corrects, or a correction of a correction, needs no rule of its own. A new correction changes the
standing of what it names, that of what that names in turn, and so on: a chain, followed here.
"""

from collections.abc import Callable, Iterable

Corrections = Callable[[str], Iterable[str]]
"""The ids of the corrections that name an id."""


def stands(event_id: str, corrections: Corrections) -> bool:
    """Whether nothing that stands corrects this. Without recursion: a chain may be as long as people are stubborn."""
    known: dict[str, bool] = {}
    pending = [event_id]
    while pending:
        current = pending[-1]
        naming = list(corrections(current))
        unknown = [correction for correction in naming if correction not in known]
        if unknown:
            pending += unknown
            continue
        known[current] = not any(known[correction] for correction in naming)
        pending.pop()
    return known[event_id]


def flips(chain: Iterable[str], before: Corrections, after: Corrections) -> list[tuple[str, int]]:
    """Which of the chain come to stand (+1) or to fall (−1) when `before` becomes `after`."""
    changes = [(one, stands(one, after) - stands(one, before)) for one in chain]
    return [(one, sign) for one, sign in changes if sign]

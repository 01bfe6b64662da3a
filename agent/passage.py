"""What passes a gate, told so that people can read it: fifty tags in a second are one message.

The one idea: a passage is counted, not told tag by tag; and what was not plainly OK stays listed, like with like,
until somebody says that they have looked at it. Pure: time comes in.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from agent.shared import Shown
from devices.driver import Outcome

Tally = Literal["ok", "sighted", "duplicate", "over", "not_ordered", "not_known", "outward", "rejected"]
SHOWN_AS: Final[Mapping[Tally, Outcome]] = {
    "ok": "ok",
    "sighted": "ok",
    "duplicate": "duplicate",
    "over": "duplicate",
    "not_ordered": "duplicate",
    "not_known": "duplicate",
    "outward": "reject",
    "rejected": "reject",
}
"""What a person needs to look at most stands last; a passage is shown as the last of what is in it."""
# What a read was to the job (a key of the workflow's table) → what it is counted as. Others are no goods.
_TALLIES: Final[Mapping[str, Tally]] = {
    "expected": "ok",
    "unit": "ok",
    "asset": "sighted",
    "seen": "duplicate",
    "over": "over",
    "item": "not_ordered",
    "unknown_item": "not_known",
    "outward": "outward",
}
MOST_CONCERNS: Final = 200
"""Tags of one station that wait for somebody to look at them; above, the oldest makes room."""
MOST_STRANGERS: Final = 1_000
"""Tags that nobody knows and that were rejected in this job; above, the one that passed first is told again."""
MOST_REJECTED: Final = 5_000
"""Tags of one passage that may be recorded after all; above, the one rejected first stays counted as rejected."""
CODES_SHOWN: Final = 3  # of each group, the newest
SIGNAL_AGAIN_NS: Final = 1_000_000_000
"""Of tags, a reader beeps the same outcome at most so often: fifty beeps in a second say nothing."""


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """One tag that somebody should look at."""

    tally: Tally
    code: str
    what: str
    """The goods; the code where nobody knows them."""
    text: str
    at: str
    token: int
    """Of the outcome that was shown."""


def tally_of(relation: str, outcome: Outcome) -> Tally | None:
    """What a tag counts as; None: it is no goods."""
    if outcome == "reject" and relation != "outward":
        return "rejected"
    return _TALLIES.get(relation)


def noted(concerns: tuple[Concern, ...], new: Concern) -> tuple[Concern, ...]:
    """With one more; a tag is listed once for each way in which it was not OK."""
    others = (one for one in concerns if (one.tally, one.code) != (new.tally, new.code))
    return (*others, new)[-MOST_CONCERNS:]


def settled(concerns: tuple[Concern, ...], code: str) -> tuple[Concern, ...]:
    """Without the rejection of a tag that was recorded after all."""
    return tuple(one for one in concerns if (one.tally, one.code) != ("rejected", code))


def grouped(concerns: Iterable[Concern]) -> list[dict[str, Any]]:
    """For the page: like with like, the newest first."""
    groups: dict[tuple[str, str], list[Concern]] = {}
    for one in sorted(concerns, key=lambda one: one.token, reverse=True):
        groups.setdefault((one.tally, one.what), []).append(one)
    return [
        {
            "tally": members[0].tally,
            "outcome": SHOWN_AS[members[0].tally],
            "what": members[0].what,
            "text": members[0].text,
            "at": members[0].at,
            "count": len(members),
            "token": members[0].token,
            "codes": [one.code for one in members[:CODES_SHOWN]],
        }
        for members in groups.values()
    ]


class Passage:
    """Counts what passes without a pause of `quiet_ms`; after one, the next passage begins.

    A tag that was rejected and is recorded after all, when the disk took it again, counts once, as recorded. Its
    memory is the codes of these, and of strangers.
    """

    def __init__(self, quiet_ms: int) -> None:
        self._quiet_ns = quiet_ms * 1_000_000
        self._counts: Counter[Tally] = Counter()
        self._rejected: dict[str, None] = {}
        self._last_ns: int | None = None
        self._began_at = ""
        self._number = 0
        self._strangers: dict[str, None] = {}
        self._token = 0

    def is_known(self, relation: str, code: str) -> bool:
        """Whether nobody knows this tag, and that was said in this job: somebody's jacket passes all day."""
        if relation != "unknown":
            return False
        if code in self._strangers:
            return True
        self._strangers[code] = None
        if len(self._strangers) > MOST_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        return False

    def finish(self) -> None:
        """The job is done: what passes next is a new passage, and strangers are told of again."""
        self._last_ns = None
        self._strangers.clear()

    def take(
        self, relation: str, shown: Shown, name: str, now_ns: int, concerns: tuple[Concern, ...]
    ) -> tuple[Concern, ...]:
        """Something was said of a tag; gives the concerns with it.

        Args:
            relation: what it was to the job.
            shown: what was said.
            name: how its goods are called; `?`: nobody knows.
            now_ns: when it was read, monotonic.
            concerns: what nobody has looked at yet.
        """
        tally = tally_of(relation, shown.outcome)
        if tally is None:
            return concerns
        self._token = shown.token
        if self._last_ns is None or now_ns - self._last_ns > self._quiet_ns:
            self._counts.clear()
            self._rejected.clear()
            self._began_at, self._number = shown.at, shown.token
        self._last_ns = now_ns
        self._add(tally, shown.code)
        if tally in ("ok", "sighted"):
            return settled(concerns, shown.code)
        what = name if name != "?" else shown.code
        new = Concern(
            tally=tally, code=shown.code, what=what, text=shown.text, at=shown.at, token=shown.token
        )
        return noted(concerns, new)

    def _add(self, tally: Tally, code: str) -> None:
        if code in self._rejected:
            del self._rejected[code]
            self._counts["rejected"] -= 1
        if tally == "rejected":
            self._rejected[code] = None
            if len(self._rejected) > MOST_REJECTED:
                del self._rejected[next(iter(self._rejected))]
        self._counts[tally] += 1

    def public(self) -> dict[str, Any] | None:
        """For the page; None: nothing has passed yet."""
        if self._last_ns is None:
            return None
        found = {tally: self._counts[tally] for tally in SHOWN_AS if self._counts[tally]}
        return {
            "number": self._number,  # rises
            "began_at": self._began_at,
            "outcome": SHOWN_AS[list(found)[-1]],
            "counts": found,
            "tags": sum(found.values()),
            "token": self._token,
        }


class Signals:
    """Which outcomes of tags the reader itself shows: each at most once in SIGNAL_AGAIN_NS."""

    def __init__(self) -> None:
        self._shown_ns: dict[Outcome, int] = {}

    def due(self, outcome: Outcome, now_ns: int) -> bool:
        """Whether this one is shown."""
        before_ns = self._shown_ns.get(outcome)
        if before_ns is not None and now_ns - before_ns < SIGNAL_AGAIN_NS:
            return False
        self._shown_ns[outcome] = now_ns
        return True

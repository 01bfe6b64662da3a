"""How often one token may ask: a token bucket per access token, announced in every answer.

The one idea: a bucket is a level and a time, brought up to date when somebody asks; nothing runs in between.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from typing import Final

BUCKETS_MAX: Final = 10_000
"""Tokens that are remembered; the one that asked longest ago is forgotten first, and starts with a full bucket."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What became of one request."""

    allowed: bool
    remaining: int
    limit: int
    retry_after_s: int

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 writes it: the policy, and what is left of it."""
        return {
            "RateLimit-Policy": f'"token";q={self.limit};w=1',
            "RateLimit": f'"token";r={self.remaining};t={self.retry_after_s}',
        }


class Rates:
    """The buckets. Each holds one second's worth of requests and fills at the same rate."""

    def __init__(self, per_s: int) -> None:
        self.per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str, now_s: float) -> Allowance:
        """One request by `who` at a monotonic time."""
        level, at_s = self._buckets.pop(who, (float(self.per_s), now_s))
        level = min(float(self.per_s), level + max(0.0, now_s - at_s) * self.per_s)
        allowed = level >= 1.0
        level -= 1.0 if allowed else 0.0
        self._buckets[who] = (level, now_s)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        wait_s = 0 if level >= 1.0 else ceil((1.0 - level) / self.per_s)
        return Allowance(allowed, int(level), self.per_s, wait_s)

"""What a benchmark says: one figure, the limit measured beside it in the same run, and their ratio.

A ratio of 1 means: as fast as the limit. Times are better when smaller, rates when larger; `ratio` is always
written so that larger is better. Times are measured in interleaved pairs, one of ours and one of the limit, so that a
noisy neighbour slows both.
"""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value with its limit. Of `ms` and `%` less is better, of `…/s` more."""

    name: str
    value: float
    unit: str
    limit: float
    limit_is: str
    """What the limit is, for people."""

    @property
    def ratio(self) -> float:
        """How near to the limit: value / limit for rates, limit / value for times and for what is used up."""
        return self.value / self.limit if self.unit.endswith("/s") else self.limit / self.value

    def as_json(self) -> str:
        """The line that `--json` prints."""
        return json.dumps(
            {
                "name": self.name,
                "value": _rounded(self.value),
                "unit": self.unit,
                "limit": _rounded(self.limit),
                "ratio": _rounded(self.ratio),
            }
        )

    def as_text(self) -> str:
        """The line that people read."""
        value, limit = (f"{_rounded(number):,} {self.unit}" for number in (self.value, self.limit))
        return f"{self.name:<40} {value:>18}   ratio {self.ratio:5.2f}   limit {limit} ({self.limit_is})"


@dataclass(frozen=True, slots=True)
class Tally:
    """What several ways made of the same things: readers of pictures, filters of sightings."""

    name: str
    number: int
    by: dict[str, dict[str, float]]
    """By reader or filter: the values, by name."""
    of: str = "images"
    """Of what there are so many."""

    def as_json(self) -> str:
        """The line that `--json` prints."""
        by = {
            reader: {
                name: value if isinstance(value, int) else _rounded(value) for name, value in values.items()
            }
            for reader, values in self.by.items()
        }
        return json.dumps({"name": self.name, self.of: self.number, **by})

    def as_text(self) -> str:
        """The line that people read."""
        by = (
            f"{reader}: " + ", ".join(f"{_rounded(value):g} {name}" for name, value in values.items())
            for reader, values in self.by.items()
        )
        return f"{self.name:<24} {self.number:>4} {self.of}   " + "   ".join(by)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the samples lie."""
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * percent / 100))]


def median(samples: Sequence[float]) -> float:
    """The middle sample."""
    return statistics.median(samples)


def middle(rounds: Sequence[Figure]) -> Figure:
    """Of the same figure, measured several times: the one with the middle ratio."""
    return sorted(rounds, key=lambda figure: figure.ratio)[len(rounds) // 2]


def machine() -> str:
    """Where it was measured, in a line."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


class Disk:
    """The physical limit of a durable scan: one 4 KiB write and one fdatasync in a file that has its length."""

    BLOCK = b"\x55" * 4096
    BLOCKS = 4096  # 16 MiB, as long as the journal's log

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / "limit", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(self._file, bytes(len(self.BLOCK) * self.BLOCKS))
        os.fsync(self._file)
        self._next = 0

    def write(self) -> None:
        """One durable write."""
        os.pwrite(self._file, self.BLOCK, self._next * len(self.BLOCK))
        os.fdatasync(self._file)
        self._next = (self._next + 1) % self.BLOCKS

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")

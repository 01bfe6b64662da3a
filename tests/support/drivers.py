"""Drivers under test: built with their options, fed with a clock that goes on, and what they read as plain values."""

import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from devices.driver import ByteDriver
from devices.reads import BadFrame, BarcodeRead, Moment, Read
from devices.registry import DRIVERS, set_up

VECTORS = Path(__file__).parents[1] / "vectors"
BYTE_DRIVERS = tuple(name for name, entry in DRIVERS.items() if not entry.images)
NS_PER_S = 1_000_000_000


def build(name: str, options: Mapping[str, str] | None = None) -> ByteDriver:
    """A driver as an agent builds it, on a recording."""
    query = "&".join(f"{key}={value}" for key, value in (options or {}).items())
    built = set_up("device-1", name, "file:///recording" + (f"?{query}" if query else "")).byte_driver
    assert built is not None
    return built


def away_s(name: str) -> float:
    """How long a thing must be away to be new, where a driver says it once however often its device does."""
    module, _, cls = DRIVERS[name].target.partition(":")
    options = getattr(importlib.import_module(module), cls).OPTIONS
    return max((option.default / 1000 for option in options if option.name == "again_ms"), default=0.0)


def vectors(name: str) -> list[dict[str, Any]]:
    path = VECTORS / f"{name.replace('-', '_')}.json"
    assert path.exists(), f"driver {name} has no vectors: {path}"
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return found


class Bench:
    """A driver and a clock that goes on only when told to."""

    def __init__(self, driver: ByteDriver) -> None:
        self.driver = driver
        self.ns = NS_PER_S
        self.reads: list[Read] = []
        self.sent = bytearray()

    @property
    def now(self) -> Moment:
        return Moment(1_790_000_000 + self.ns / NS_PER_S, self.ns)

    def open(self) -> "Bench":
        self.driver.open(self.now)
        self._take([])
        return self

    def feed(self, *pieces: bytes) -> list[Read]:
        return [read for piece in pieces for read in self._take(self.driver.feed(piece, self.now))]

    def wait(self, seconds: float) -> list[Read]:
        """Let time pass, waking the driver whenever it wants to be."""
        reads: list[Read] = []
        end = self.ns + int(seconds * NS_PER_S)
        while (due := self.driver.due_ns()) is not None and due <= end:
            self.ns = max(self.ns, due)
            reads += self.driver.tick(self.now)
            self._take([])
        self.ns = end
        return self._take(reads)

    def close(self) -> list[Read]:
        return self._take(self.driver.close(self.now))

    def take_sent(self) -> bytes:
        """What the driver sent since the last time."""
        sent = bytes(self.sent)
        self.sent.clear()
        return sent

    def _take(self, reads: list[Read]) -> list[Read]:
        self.reads += reads
        self.sent += self.driver.output()
        return reads


def shown(read: Read) -> dict[str, Any]:
    """A read as vectors write it."""
    if isinstance(read, BadFrame):
        return {"bad": read.reason}
    if isinstance(read, BarcodeRead):
        return {"symbology": read.symbology, "text": read.text, "raw": read.raw.hex()}
    return {
        "epc": read.epc.hex() if read.epc is not None else None,
        "tid": read.tid.hex() if read.tid is not None else None,
        "pc": f"{read.pc:04x}" if read.pc is not None else None,
        **{
            name: getattr(read, name)
            for name in (
                "text",
                "antenna",
                "rssi_dbm",
                "rssi_raw",
                "frequency_khz",
                "phase_deg",
                "count",
                "seen_at",
            )
        },
    }


def matches(read: Read, expected: Mapping[str, Any]) -> bool:
    """Whether a read is what a vector says; only what the vector names is compared."""
    have = shown(read)
    if "bad" in expected or "bad" in have:
        return str(expected.get("bad", "\0")) in str(have.get("bad", ""))
    return all(name in have and have[name] == value for name, value in expected.items())


def assert_reads(reads: Iterable[Read], expected: list[dict[str, Any]]) -> None:
    """The reads are these, in this order."""
    have = list(reads)
    for read, wanted in zip(have, expected, strict=False):
        assert matches(read, wanted), f"{shown(read)} is not {wanted}"
    assert len(have) == len(expected), f"{[shown(read) for read in have]} are not {expected}"


def held_bytes(thing: object, depth: int = 4) -> int:
    """How many bytes of content an object keeps, in its own buffers and in those of its parts."""
    if isinstance(thing, bytes | bytearray | str | memoryview):
        return len(thing)
    if depth == 0 or isinstance(thing, type):
        return 0
    if isinstance(thing, Mapping):
        parts: Iterable[object] = [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        parts = thing
    else:
        parts = list(getattr(thing, "__dict__", {}).values())
    return sum(held_bytes(part, depth - 1) for part in parts)

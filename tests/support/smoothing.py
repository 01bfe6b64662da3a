"""A smoother with a clock that goes on when told to, for its tests."""

from typing import Any

from agent.smoothing import Change, Parameters, Place, Smoother
from devices.reads import TagRead

MS, S = 1_000_000, 1_000_000_000
TAG = bytes.fromhex("3034257BF7194E4000001A85")


def place(name: str, *antennas: int | None, device: str = "r", **told: Any) -> Place:
    side, station = told.pop("side", None), told.pop("station", "dock")
    ears = tuple((device, antenna) for antenna in antennas or (None,))
    return Place(name, station, ears, side, Parameters(**told))


class Bench:
    """A smoother with a clock that goes on when told to."""

    def __init__(self, *places: Place, most: int = 100) -> None:
        self.smoother = Smoother(places, most)
        self.now_ns = 10 * S
        self.told: list[Change] = []

    def wait(self, ms: float) -> "Bench":
        self.now_ns += int(ms * MS)
        self.told += self.smoother.tick(self.now_ns)
        return self

    def see(
        self,
        antenna: int | None,
        dbm: float | None = -60.0,
        times: int = 1,
        every_ms: float = 200,
        epc: bytes = TAG,
        device: str = "r",
        **told: Any,
    ) -> "Bench":
        for _ in range(times):
            self.wait(every_ms)
            read = TagRead(device, b"", epc, 0.0, self.now_ns, antenna, dbm, **told)
            self.told += self.smoother.feed([read])
        return self

    def said(self) -> list[str]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return [" ".join(filter(None, (change.kind, change.place.name, change.direction))) for change in told]


def gate(**told: Any) -> Bench:
    return Bench(place("out", 1, side="outside", **told), place("in", 2, side="inside", **told))

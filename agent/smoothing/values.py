"""What the smoothing is told, and what it tells."""

from dataclasses import dataclass, field
from typing import Literal

from agent.smoothing.parameters import Parameters
from devices.reads import TagRead

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

Side = Literal["outside", "inside"]
Kind = Literal["arrived", "moved", "departed"]
Direction = Literal["in", "out"]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a tag can be: what one or more antennas hear. Two places are one only if they are the same object."""

    name: str
    station: str
    """Whose scans its tags are."""
    antennas: tuple[tuple[str, int | None], ...]
    """(device, antenna); None: every antenna of the device that is in no other place."""
    side: Side | None = None
    """Of the station's gate."""
    parameters: Parameters = field(default_factory=lambda: Parameters.model_validate({}))

    def is_opposite(self, other: "Place") -> bool:
        """Whether the two are the sides of one gate."""
        return self.station == other.station and {self.side, other.side} == {"outside", "inside"}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of many sightings."""

    kind: Kind
    place: Place
    """Where the tag is now; where it was, if it departed."""
    before: Place | None
    """Where it was, if it moved."""
    read: TagRead
    """The newest one of the tag at `place`."""
    direction: Direction | None = None
    """Through the gate whose sides the station's places are.

    A move across it says so. A tag that arrives inside came in, if it was first seen outside or if nothing of the
    station looks outside. Another one that arrives inside may be on its way out: it came in only if it goes on from
    there without having been seen outside, and then its departure says so.
    """

    @property
    def epc(self) -> bytes:
        """The tag."""
        assert self.read.epc is not None
        return self.read.epc

"""The closer looks, as a table: what each does to the pixels, when it is worth its time, and what it costs.

They are tried from top to bottom, at the strongest region first. Every row has earned its place twice: on drawn
labels that were spoiled in the way that its reason names (tests/integration/test_vision.py has one for each), and on
photographs, where leaving it out loses something that no other row reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from devices.vision import pixels
from devices.vision.pixels import Image


@dataclass(frozen=True, slots=True)
class Pass:
    """One row."""

    name: str
    change: Callable[[Image], Image]
    ms_per_megapixel: float
    """Of the region before the change, decoding included, where there is a lot to see; on one core of a 2020 server.
    The decoder learns how much slower or faster this machine is."""
    library: Literal["zxing", "zbar"] = "zxing"
    which: Literal["all", "linear", "matrix"] = "all"
    scale: float = 1.0
    """How much larger the changed pixels are."""
    faithful: bool = False
    """The levels stay what they were, relative to each other: what is wrong in the picture is not made sharper."""
    only_other: bool = False
    """Only where the region is not a part of the frame as the fast pass saw it: turned, or seen smaller."""


PASSES: tuple[Pass, ...] = (
    Pass("upright", pixels.untouched, 60, faithful=True, only_other=True),
    Pass("sharpened", pixels.sharpened, 250, scale=2),
    Pass("contrasted", pixels.contrasted, 90),
    Pass("levelled", pixels.levelled, 90),
    Pass("levelled large", pixels.levelled_large, 300, scale=2),
    Pass("zbar", pixels.untouched, 200, library="zbar", which="linear", faithful=True),
    Pass("enlarged", pixels.enlarged, 160, scale=2, faithful=True),
    Pass("along bars", pixels.along_bars, 60, which="linear"),
    Pass("inverted", pixels.inverted, 40, which="linear", faithful=True),
    Pass("joined", pixels.joined, 60, which="matrix"),
    Pass("smoothed", pixels.smoothed, 20, scale=0.5, faithful=True),
    Pass("zbar sharpened", pixels.sharpened, 500, library="zbar", which="linear", scale=2),
)

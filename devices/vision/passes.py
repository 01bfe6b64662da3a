"""The closer looks, as a table: what each does to the pixels, when it is worth its time, and what it costs.

They are tried from top to bottom, at the strongest region first: what is cheap for what it reads stands above. Every
row reads labels that no other row does, spoiled in the way that its reason names (tests/integration/test_vision.py
has one for each). Left out because they read nothing more: half the size, levelling at twice the size, ZBar at
sharpened pixels, other binarizers, and unsharp masks of other widths.
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
    Pass("upright", pixels.untouched, 40, faithful=True, only_other=True),
    Pass("inverted", pixels.inverted, 20, which="linear", faithful=True),
    Pass("zbar", pixels.untouched, 100, library="zbar", which="linear", faithful=True),
    Pass("contrasted", pixels.contrasted, 80),
    Pass("along bars", pixels.along_bars, 40, which="linear"),
    Pass("joined", pixels.joined, 25, which="matrix"),
    Pass("levelled", pixels.levelled, 80),
    Pass("enlarged", pixels.enlarged, 110, scale=2, faithful=True),
    Pass("sharpened", pixels.sharpened, 230, scale=2),
)

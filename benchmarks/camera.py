"""Photographs: how many are read correctly and wrongly, by ours and by the two libraries alone, and how fast.

All three get the same grey levels. zxing-cpp has every format and `try_rotate`, `try_downscale` and `try_invert` on,
pyzbar its defaults; ours is the driver `camera` as a port without options has it. Each photograph is looked at as one
that somebody took, not as a frame of a moving picture, and each in one look.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure, Tally, median
from benchmarks.photographs import Photograph, photographs
from benchmarks.zbar import Zbar
from devices.driver import Frame
from devices.drivers.camera import Camera
from devices.reads import BarcodeRead, Moment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Look = Callable[["NDArray[Any]"], tuple[list[bytes], float]]
"""Pixels to (contents, ms)."""

WIDTH, HEIGHT = 1280, 720
BLANK_LOOKS = 60
# What one frame may take: the fast look, the budget, and one look that is slower than it was expected to be.
WORST_MS = 250
ROUNDS = 3


def run(directory: Path, images: Path | None) -> Iterator[Figure | Tally]:
    """Every figure of the camera; without photographs only what frames without codes cost."""
    del directory
    camera = Camera("bench")
    zbar = Zbar()
    looks: dict[str, Look] = {"ours": _ours(camera), "zxing-cpp": _zxing(), "pyzbar": zbar.look}
    try:
        for look in looks.values():
            look(_text_page(random.Random(1)))  # what is loaded at the first look is no part of any other
        found = list(photographs(images)) if images is not None else []
        if found:
            yield from _tallies(found, looks)
        yield _blank(looks)
        yield _worst(looks["ours"], [photograph.pixels for photograph in found])
    finally:
        camera.close()
        zbar.close()


def _ours(camera: Camera) -> Look:
    def look(pixels: "NDArray[Any]") -> tuple[list[bytes], float]:
        began_s = time.perf_counter()
        reads = camera.see(Frame(pixels, None), Moment(0.0, 0))
        ms = 1000 * (time.perf_counter() - began_s)
        return [read.raw for read in reads if isinstance(read, BarcodeRead)], ms

    return look


def _zxing() -> Look:
    import zxingcpp  # noqa: PLC0415 - only sites with cameras have it installed

    def look(pixels: "NDArray[Any]") -> tuple[list[bytes], float]:
        began_s = time.perf_counter()
        found = zxingcpp.read_barcodes(pixels, try_rotate=True, try_downscale=True, try_invert=True)
        ms = 1000 * (time.perf_counter() - began_s)
        return [code.bytes for code in found if code.valid], ms

    return look


# --- photographs ---------------------------------------------------------------------------------------------


@dataclass
class _Count:
    read: int = 0
    wrong: int = 0
    ms: list[float] = field(default_factory=list)

    def take(self, photograph: Photograph, contents: list[bytes], ms: float) -> None:
        right = [photograph.shows(content) for content in contents]
        self.read += any(right)
        self.wrong += any(
            not (is_right or photograph.shows_too(content))
            for is_right, content in zip(right, contents, strict=True)
        )
        self.ms.append(ms)

    def told(self) -> dict[str, float]:
        return {"read": self.read, "wrong": self.wrong, "median_ms": median(self.ms)}


def _tallies(found: list[Photograph], looks: dict[str, Look]) -> Iterator[Tally]:
    totals = {name: _Count() for name in looks}
    for folder in dict.fromkeys(photograph.folder for photograph in found):
        counts = {name: _Count() for name in looks}
        mine = [photograph for photograph in found if photograph.folder == folder]
        for photograph in mine:
            for name, look in looks.items():
                contents, ms = look(photograph.pixels)
                counts[name].take(photograph, contents, ms)
                totals[name].take(photograph, contents, ms)
        yield Tally(f"camera.{folder}", len(mine), {name: count.told() for name, count in counts.items()})
    yield Tally("camera.all", len(found), {name: count.told() for name, count in totals.items()})


# --- time ----------------------------------------------------------------------------------------------------


def _blank(looks: dict[str, Look]) -> Figure:
    """A wall, with the noise of a sensor."""
    import numpy as np  # noqa: PLC0415 - see above

    noise = np.random.default_rng(1).normal(0, 2, (HEIGHT, WIDTH))
    wall = (200 + noise).clip(0, 255).astype(np.uint8)
    pairs = [(looks["ours"](wall)[1], looks["zxing-cpp"](wall)[1]) for _ in range(BLANK_LOOKS)]
    return Figure(
        "camera.blank",
        median([ours for ours, _ in pairs]),
        "ms",
        median([bare for _, bare in pairs]),
        f"zxing-cpp at the same {WIDTH}×{HEIGHT} frame without anything in it; medians",
    )


def _worst(look: Look, frames: list["NDArray[Any]"]) -> Figure:
    """Of the photographs, and of frames that are full and have nothing to read."""
    worst = 0.0
    for pixels in [*frames, *_unreadable()]:
        worst = max(worst, median([look(pixels)[1] for _ in range(ROUNDS)]))
    what = f"what a frame may take; {len(frames)} photographs, noise, print and stripes, the median of {ROUNDS} looks"
    return Figure("camera.worst", worst, "ms", WORST_MS, what)


def _unreadable() -> "list[NDArray[np.uint8]]":
    import numpy as np  # noqa: PLC0415 - see above

    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    widths = rng.integers(1, 5, WIDTH)
    bars = np.repeat(np.arange(WIDTH) % 2 * 255, widths)[:WIDTH].astype(np.uint8)
    return [noise, np.repeat(bars[None], HEIGHT, 0), _text_page(random.Random(2))]


def _text_page(rng: random.Random) -> "NDArray[np.uint8]":
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    page = np.full((HEIGHT, WIDTH), 235, np.uint8)
    for y in range(20, HEIGHT, 20):
        line = "".join(chr(rng.randrange(33, 127)) for _ in range(120))
        cv2.putText(page, line, (10, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 20, 1, cv2.LINE_AA)
    return page

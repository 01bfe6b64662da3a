"""Where in a frame something is: the measure that decides whether a closer look is worth its time, and at what.

The one idea: bars, modules and print are edges close together. The mean gradient in cells of 16 × 16 pixels, taken at
half size so that a sensor's noise averages out, costs under a millisecond for 1280×720 and tells them from a wall.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devices.vision.pixels import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CELL_PX = 16
# A cell holds something where its mean gradient (|∂x| + |∂y| by Sobel) is above so many times that
# of the quietest fifth of the frame, which is noise, within these bounds. A sensor's noise of σ 4 … 12 grey levels
# gives 11 … 33 in every cell and at most 1.5 times the mean in any; codes of 12 levels of contrast give
# 12 … 36, those on labels in fair light 100 … 250.
NOISE_TIMES, LEAST, MOST = 1.6, 12.0, 64.0
# A code is at least two cells in size, and has a quiet zone around it.
MIN_CELLS, MARGIN_CELLS = 2, 2
MOST_REGIONS = 3
# Bars within so many degrees of upright are read as they are.
UPRIGHT_DEGREES = 10
# So much of the edges must lie within 7° for there to be a direction; without one, 4 % do.
DIRECTED_PART = 0.12
# A region that is more of the frame than this is the frame.
WHOLE_PART = 0.7


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the frame with something in it."""

    x: int
    y: int
    width: int
    height: int
    turn: float
    """By how many degrees, counter-clockwise, its bars are off upright; 0 for upright or level ones."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What there is to see in a frame."""

    cells: "NDArray[np.uint8]"
    """The mean gradients, a small picture of the frame: of two frames of a still scene they are nearly the same."""
    regions: tuple[Region, ...]
    """The strongest first; empty: nothing is there."""

    def resembles(self, other: "Structure", *, levels: float) -> bool:
        """Whether nothing moved between the two frames, however small."""
        import cv2  # noqa: PLC0415 - only sites with cameras have it installed

        return self.cells.shape == other.cells.shape and (
            cv2.norm(self.cells, other.cells, cv2.NORM_INF) <= levels
        )


def measure(frame: Image) -> Structure:
    """Find what is in the frame."""
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    height, width = frame.shape
    half = cv2.resize(frame, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    across, down = cv2.Sobel(half, cv2.CV_16S, 1, 0), cv2.Sobel(half, cv2.CV_16S, 0, 1)
    edges = cv2.add(cv2.convertScaleAbs(across, alpha=1), cv2.convertScaleAbs(down, alpha=1))
    size = (math.ceil(width / CELL_PX), math.ceil(height / CELL_PX))
    cells = cv2.resize(edges, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    quiet = float(np.percentile(cells, 20))
    full = cells > min(MOST, max(LEAST, NOISE_TIMES * quiet))
    # What is near belongs together: the gaps between words and between the bars of a large code.
    joined = cv2.dilate(full.astype(np.uint8), np.ones((2 * MARGIN_CELLS + 1,) * 2, np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    found = []
    for number in range(1, count):
        x, y, columns, rows = (int(value) for value in stats[number][:4])
        inside = (labels[y : y + rows, x : x + columns] == number) & full[y : y + rows, x : x + columns]
        if inside.sum() >= MIN_CELLS:
            strength = float(cells[y : y + rows, x : x + columns][inside].sum())
            found.append((strength, x, y, columns, rows))
    found.sort(reverse=True)
    regions = []
    for _, x, y, columns, rows in found[:MOST_REGIONS]:
        left, top = x * CELL_PX, y * CELL_PX
        right, bottom = min(width, (x + columns) * CELL_PX), min(height, (y + rows) * CELL_PX)
        if (right - left) * (bottom - top) >= WHOLE_PART * width * height:
            left, top, right, bottom = 0, 0, width, height
        part = (
            slice(top // 2, max(top // 2 + 1, bottom // 2)),
            slice(left // 2, max(left // 2 + 1, right // 2)),
        )
        regions.append(Region(left, top, right - left, bottom - top, _turn(across[part], down[part])))
    return Structure(cells, tuple(regions))


def _turn(across: "NDArray[Any]", down: "NDArray[Any]") -> float:
    """How far the bars are off upright, by the direction that most of the edges have."""
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    if not across.size:
        return 0.0
    x, y = across.astype(np.float32), down.astype(np.float32)
    strength, angle = cv2.cartToPolar(x, y, angleInDegrees=True)
    strong = strength > float(np.percentile(strength, 70))
    if not strong.any():
        return 0.0
    # The two edges of a bar point both ways: that is one direction.
    counts = np.bincount(angle[strong].astype(int) % 180, weights=strength[strong], minlength=180)
    smooth = np.convolve(np.concatenate((counts[-3:], counts, counts[:3])), np.ones(7), "valid")
    if smooth.max() < DIRECTED_PART * counts.sum():
        return 0.0
    best = float(smooth.argmax())
    off = best if best < 90 else best - 180
    return 0.0 if abs(off) <= UPRIGHT_DEGREES or abs(off) >= 90 - UPRIGHT_DEGREES else off

"""From a frame to the codes in it, within a time.

The one idea: every frame gets the fast look, and that settles nearly all. Where something is there and was not read,
closer looks follow, the promising ones first, each begun only if it is expected to end within the budget. In a moving
picture the next frame goes on where the last one stopped, so that all of them get their turn however small the budget
is, and a scene in which all of them failed is left alone until something moves.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from devices.vision.passes import PASSES, Pass
from devices.vision.pixels import Image
from devices.vision.second_opinion import SecondOpinion
from devices.vision.sighting import Belief, Key, Point, Sighting
from devices.vision.structure import Region, Structure, measure
from devices.vision.zxing import Zxing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The time for one frame. Two frames of three of a camera at 10 pictures a second are not waited for.
BUDGET_MS = 150
WHOLE = (0, 0, 100, 100)
# Larger frames are looked at smaller first: of a frame full of fine print, the fast look takes up to 150 ms per
# megapixel. 1280×720 is below. What is too small there is seen in a closer look: in the regions, which are cut from
# the frame itself, and at 1920×1080 in the whole frame.
MOST_FRAME_PX, MOST_WHOLE_PX = 1_000_000, 2_100_000
# zxing-cpp takes no more in a row or a column than 65,535, and one look doubles the size.
MOST_SIDE_PX = 32_000
# A region is looked at in at most so many pixels: the dearest row takes twice this size in each direction.
MOST_REGION_PX = 350_000
# A frame without structure is looked at this much smaller: for what is too large and too soft to have edges.
EMPTY_SCALE = 4
# A doubtful reading beside a believed one is worth so many closer looks: a real one needs one or two.
DOUBT_LOOKS = 3
# In a scene where nothing moves, the looks that failed are not repeated for this long.
REST_NS = 2_000_000_000
# Two frames of a still scene: nowhere does a cell's mean gradient differ by more. Noise of σ 12 makes 21 in print and
# on a wall; a label of the size of a stamp that comes into view, 200.
STILL_LEVELS = 24
# What a machine's speed may do to the expected costs. Where not one look would fit, they are expected to be cheaper
# the next time: what held a machine up may be over, and only another look can tell.
LEAST_PACE, MOST_PACE, HOPE = 0.25, 16.0, 0.8
# How long a process that hangs may hold a frame.
MOST_WAIT_S, LEAST_WAIT_S = 0.2, 0.02


@dataclass(frozen=True, slots=True)
class View:
    """A picture cut from the frame: its pixels, and how to get from them back to the frame."""

    image: Image
    matrix: "NDArray[np.float64]"
    """2×3: from pixels of this picture to pixels of the frame."""
    other: bool
    """It shows more than the fast look saw: it is turned, or was seen smaller."""
    whole: bool = False
    """It is all of a frame that was seen smaller."""

    def in_frame(self, sightings: Iterable[Sighting], scale: float) -> list[Sighting]:
        """The sightings that are whole, where they are in the frame. `scale`: how much larger the pixels were that
        they were seen in.
        """
        height, width = self.image.shape
        return [
            self._moved(sighting, scale)
            for sighting in sightings
            if sighting.is_whole(int(width * scale), int(height * scale))
        ]

    def _moved(self, sighting: Sighting, scale: float) -> Sighting:
        moved: list[Point] = []
        for x, y in sighting.quad:
            a, b, c = self.matrix[0]
            d, e, f = self.matrix[1]
            moved.append((float(a * x + b * y) / scale + float(c), float(d * x + e * y) / scale + float(f)))
        resolution = 1 / math.hypot(self.matrix[0][0], self.matrix[1][0])
        return replace(
            sighting, quad=(moved[0], moved[1], moved[2], moved[3]), resolution=min(1.0, resolution)
        )


Step = tuple[Pass, View]


class Decoder:
    """For one camera: it remembers which looks are of use there."""

    def __init__(
        self,
        wanted: Sequence[str],
        *,
        budget_ms: int = BUDGET_MS,
        roi: tuple[int, int, int, int] = WHOLE,
        second_opinion: SecondOpinion,
        clock_ns: Callable[[], int],
        passes: Sequence[Pass] = PASSES,
    ) -> None:
        self._zxing = Zxing(wanted)
        self._second_opinion = second_opinion
        self._budget_ns = budget_ms * 1_000_000
        self._roi = roi
        self._clock_ns = clock_ns
        self._passes = passes
        self._pace = 1.0
        self._useful: list[str] = []
        self._useful_first = True
        self._turn = 0
        self._failed_at: Structure | None = None
        self._failed = 0
        self._rest_until_ns = 0

    def look(self, frame: Image, *, live: bool, known: frozenset[Key] = frozenset()) -> list[Sighting]:
        """The codes in this frame, from top to bottom, in its pixels. `known`: believed to be in view already."""
        began_ns = self._clock_ns()
        left, top, image = self._interesting(frame)
        if not image.size:
            return []
        seen = shrunk(image, MOST_FRAME_PX)
        structure = measure(seen)
        belief = Belief(known)
        self._fast_look(image, seen, structure, belief)
        if structure.regions and (not belief.believed or belief.doubtful):
            self._closer_looks(image, seen, structure, belief, began_ns + self._budget_ns, live=live)
        return [_moved(sighting, left, top) for sighting in belief.believed]

    @property
    def warning(self) -> str | None:
        """It works, but not as well as it could: why."""
        return self._second_opinion.warning

    def close(self) -> None:
        """Let go of the second opinion's process. It is started again when it is needed."""
        self._second_opinion.close()

    def _interesting(self, frame: Image) -> tuple[int, int, Image]:
        """The part of the frame that is looked at, and where it begins."""
        height, width = frame.shape
        x, y, w, h = self._roi
        left, top = width * x // 100, height * y // 100
        return (
            left,
            top,
            frame[top : math.ceil(height * (y + h) / 100), left : math.ceil(width * (x + w) / 100)],
        )

    def _fast_look(self, image: Image, seen: Image, structure: Structure, belief: Belief) -> None:
        if not structure.regions:
            seen = shrunk(seen, seen.size // EMPTY_SCALE**2)
        scale = seen.shape[1] / image.shape[1]
        view = View(seen, _scaling(1 / scale), other=False)
        belief.add("fast", view.in_frame(self._zxing.look(seen), 1), faithful=True)

    # --- closer looks ----------------------------------------------------------------------------------------

    def _closer_looks(
        self, image: Image, seen: Image, structure: Structure, belief: Belief, until_ns: int, *, live: bool
    ) -> None:
        if live and not belief.expects and self._rests(structure):
            return
        self._second_opinion.start()
        views = [cut(image, seen, region) for region in structure.regions]
        if seen is not image:
            views.append(_whole(image))
        first, turns = self._plan(views, live=live)
        done = doubtful = 0
        put_off = None
        for place, (row, view) in enumerate((*first, *turns), -len(first)):
            if belief.believed and doubtful >= DOUBT_LOOKS:
                break
            expected_ns = row.ms_per_megapixel * view.image.size * self._pace
            if self._clock_ns() + expected_ns > until_ns:
                if place > 0:
                    put_off = put_off or place
                continue
            before = len(belief.believed)
            self._look_at(view, row, belief, until_ns, patient=not live)
            done += 1
            doubtful += bool(before)
            if len(belief.believed) > before:
                self._useful = [row.name, *(name for name in self._useful if name != row.name)][:2]
            if belief.believed and not belief.doubtful:
                break
        if not done:
            self._pace = max(LEAST_PACE, HOPE * self._pace)
        if belief.believed:
            self._failed_at = None
            self._useful_first = True
            return
        self._failed += done
        self._useful_first = not self._useful_first
        if not first:
            # The first of the turns had all the time there is; the next frame begins with what was put off then.
            self._turn += put_off or 1

    def _look_at(self, view: View, row: Pass, belief: Belief, until_ns: int, *, patient: bool) -> None:
        began_ns = self._clock_ns()
        pixels = row.change(view.image)
        if row.library == "zxing":
            found = self._zxing.look(pixels, row.which, scale=row.scale)
            spent_ns = self._clock_ns() - began_ns
            pace = spent_ns / max(1.0, row.ms_per_megapixel * view.image.size)
            self._pace = min(MOST_PACE, max(LEAST_PACE, 0.8 * self._pace + 0.2 * pace))
        else:
            left_s = (until_ns - self._clock_ns()) / 1e9
            timeout_s = min(MOST_WAIT_S, max(LEAST_WAIT_S, left_s))
            found = self._second_opinion.look(pixels, timeout_s=timeout_s, patient=patient)
        belief.add(row.name, view.in_frame(found, row.scale), faithful=row.faithful)

    def _plan(self, views: Sequence[View], *, live: bool) -> tuple[list[Step], list[Step]]:
        """Every look at every region: what was of use before, and the rest, in turn. In a moving picture, frames in
        which nothing was read are begun with what was of use and without it by turns, as it may take all the time.
        """
        useful = [row for name in self._useful for row in self._passes if row.name == name]
        if live and not self._useful_first:
            useful = []
        first = [(row, view) for row in useful for view in views if _suits(row, view)]
        turns = [
            (row, view) for row in self._passes if row not in useful for view in views if _suits(row, view)
        ]
        start = self._turn % len(turns) if live and turns and not first else 0
        return first, turns[start:] + turns[:start]

    def _rests(self, structure: Structure) -> bool:
        """Whether all looks have failed at this very scene a moment ago."""
        now_ns = self._clock_ns()
        if self._failed_at is None or not structure.resembles(self._failed_at, levels=STILL_LEVELS):
            self._failed_at, self._failed, self._rest_until_ns = structure, 0, 0
            return False
        if self._rest_until_ns > now_ns:
            return True
        if self._failed >= len(self._passes) * len(structure.regions):
            self._failed, self._rest_until_ns = 0, now_ns + REST_NS
            return True
        return False


def shrunk(image: Image, most_px: int) -> Image:
    """The picture, in at most so many pixels."""
    import cv2  # noqa: PLC0415 - only sites with cameras have it installed

    scale = min(math.sqrt(max(1, most_px) / image.size), MOST_SIDE_PX / max(image.shape))
    if scale >= 1:
        return image
    size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype("uint8", copy=False)


def _suits(row: Pass, view: View) -> bool:
    return view.other if row.only_other else not view.whole


def _whole(image: Image) -> View:
    pixels = shrunk(image, MOST_WHOLE_PX)
    return View(pixels, _scaling(image.shape[1] / pixels.shape[1]), other=True, whole=True)


def cut(image: Image, seen: Image, region: Region) -> View:
    """The region, out of the full picture, with its bars upright. `seen`: the picture that it was found in."""
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    # By each side for itself: a narrow picture cannot be shrunk by the same in both.
    down, across = image.shape[0] / seen.shape[0], image.shape[1] / seen.shape[1]
    left, top = int(region.x * across), int(region.y * down)
    part = image[top : top + math.ceil(region.height * down), left : left + math.ceil(region.width * across)]
    cos, sin = abs(math.cos(math.radians(region.turn))), abs(math.sin(math.radians(region.turn)))
    height, width = part.shape
    grows = (height * sin + width * cos) * (height * cos + width * sin) / part.size
    small = shrunk(part, int(MOST_REGION_PX / grows))
    scale = small.shape[1] / part.shape[1]
    other = scale * across > 1 or bool(region.turn)
    to_frame = np.array([[1 / scale, 0, left], [0, 1 / scale, top]], np.float64)
    if not region.turn:
        return View(small, to_frame, other)
    height, width = small.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), region.turn, 1.0)
    new_width, new_height = int(height * sin + width * cos), int(height * cos + width * sin)
    turn[0, 2] += (new_width - width) / 2
    turn[1, 2] += (new_height - height) / 2
    turned = cv2.warpAffine(
        small,
        turn,
        (new_width, new_height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype("uint8", copy=False)
    back = np.vstack((cv2.invertAffineTransform(turn), (0, 0, 1)))
    return View(turned, to_frame @ back, other)


def _scaling(scale: float) -> "NDArray[np.float64]":
    import numpy as np  # noqa: PLC0415 - see above

    return np.array([[scale, 0, 0], [0, scale, 0]], np.float64)


def _moved(sighting: Sighting, left: int, top: int) -> Sighting:
    first, second, third, fourth = ((x + left, y + top) for x, y in sighting.quad)
    return replace(sighting, quad=(first, second, third, fourth))

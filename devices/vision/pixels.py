"""What the slower passes do to the pixels. Every one of them is a function from grey levels to grey levels."""

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image: TypeAlias = NDArray[np.uint8]
else:
    Image = object


def enlarged(image: Image) -> Image:
    """Twice the size. zxing-cpp finds bars and modules from two pixels on reliably, narrower ones by luck."""
    import cv2  # noqa: PLC0415 - only sites with cameras have it installed

    return cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).astype("uint8", copy=False)


def sharpened(image: Image) -> Image:
    """Against a lens out of focus: an unsharp mask of σ 3 at twice the size."""
    import cv2  # noqa: PLC0415 - see above

    large = enlarged(image)
    return cv2.addWeighted(large, 3, cv2.GaussianBlur(large, (0, 0), 3), -2, 0).astype("uint8", copy=False)


def contrasted(image: Image) -> Image:
    """Against faint print and shadow: contrast-limited adaptive histogram equalisation (CLAHE), 4 × 4 tiles."""
    import cv2  # noqa: PLC0415 - see above

    return cv2.createCLAHE(4.0, (4, 4)).apply(image).astype("uint8", copy=False)


def levelled(image: Image) -> Image:
    """Against uneven light and glare: every pixel by the mean and the spread of its surroundings."""
    import numpy as np  # noqa: PLC0415 - see above

    return _levelled(image.astype(np.float32), (_NEIGHBOURS_PX, _NEIGHBOURS_PX))


# Some modules of a code on each side, whatever its size: codes that are read are 1.5 to 8 pixels per module.
_NEIGHBOURS_PX = 51
_BESIDE_PX = 31


def _levelled(levels: "NDArray[Any]", size: tuple[int, int]) -> Image:
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    mean = cv2.blur(levels, size)
    spread = cv2.sqrt(np.maximum(cv2.blur(levels * levels, size) - mean * mean, 1))
    even: Image = np.clip(128 + 50 * (levels - mean) / (spread + 4), 0, 255).astype(np.uint8)
    return even


def along_bars(image: Image) -> Image:
    """Against grain, and light that changes over the bars: the mean of 9 rows, because bars stand upright here, each
    row levelled by itself."""
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    return _levelled(cv2.blur(image.astype(np.float32), (1, 9)), (_BESIDE_PX, 1))


def inverted(image: Image) -> Image:
    """Light bars on dark ground. zxing-cpp tries that for matrix symbols only."""
    import cv2  # noqa: PLC0415 - see above

    return cv2.bitwise_not(image).astype("uint8", copy=False)


def joined(image: Image) -> Image:
    """Dots that were peened or printed by ink jet, run together: a median over 5 × 5 pixels."""
    import cv2  # noqa: PLC0415 - see above

    return cv2.medianBlur(image, 5).astype("uint8", copy=False)


def untouched(image: Image) -> Image:
    """As it is: a part of the frame, upright and at full size, where the frame itself was seen smaller or askew."""
    return image

"""OpenCV, brought in once and kept quiet: it talks to stderr about every camera that is not there."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# 8,192 × 8,192: twice what industrial cameras deliver. A picture of a few KiB can unpack into gigabytes.
MAX_PIXELS = 1 << 26


def load() -> None:
    """Import OpenCV with its limits set; they are read while it loads."""
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    import cv2  # noqa: PLC0415 - imported where images are opened, and nowhere else

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(data: bytes) -> "NDArray[np.uint8] | None":
    """The grey levels of an image file's bytes, or None if they are no image. What is transparent is white paper; of
    more than 8 bits, the highest that are used are taken.
    """
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            return None
        if image.dtype == np.uint16:
            # Sensors of 10 and 12 bits are written as they are.
            extra = max(0, int(image.max()).bit_length() - 8)
            return grey((image.astype(np.uint16, copy=False) >> extra).astype(np.uint8))
        return grey(image.astype(np.uint8, copy=False)) if image.dtype == np.uint8 else None
    except cv2.error:
        return None  # empty, more than MAX_PIXELS, or channels that are no picture's


def encode_jpeg(pixels: "NDArray[np.uint8]", quality: int) -> bytes:
    """Grey levels as a JPEG file. Raises `ValueError` for what JPEG cannot hold: more than 65,535 in a row."""
    import cv2  # noqa: PLC0415 - see above

    try:
        encoded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as problem:
        raise ValueError(f"a picture cannot be a JPEG: {problem.err}") from None
    if not encoded:
        raise ValueError("a picture cannot be a JPEG")
    return data.tobytes()


def grey(image: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Grey levels of an image in OpenCV's order: one channel, BGR, or BGR with alpha."""
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    if image.ndim == 2:
        return image
    if image.shape[2] == 4:
        alpha = image[:, :, 3].astype(np.uint16)
        levels = cv2.cvtColor(image, cv2.COLOR_BGRA2GRAY).astype(np.uint16)
        return ((levels * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)

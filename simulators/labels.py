"""Labels as a camera sees them: a symbol, its text, a little perspective, blur and noise. The same for the same seed.

A label is drawn straight, then laid into the picture by one perspective transform, so that every picture is
different and each can be drawn again.
"""

import random
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

from simulators.symbols import FNC1, QUIET_MODULES, code_128, ean_13

Image = npt.NDArray[np.uint8]
Symbology = Literal["code-128", "gs1-128", "ean-13"]

MODULE_PX: Final = 3
BAR_HEIGHT_PX: Final = 110
TEXT_HEIGHT_PX: Final = 40
MARGIN_PX: Final = 60
"""Cardboard around the label, so that it may turn without leaving the picture."""

_CARDBOARD, _PAPER, _INK = 150, 245, 25
_TURN_MOST_DEGREES = 4.0
_CORNER_MOST_PX = 7.0
_NOISE_MOST = 6.0


def element_string(*fields: tuple[str, str]) -> str:
    """GS1 application identifiers and their data as GS1-128 writes them: FNC1 first, and after open lengths.

    Only the identifiers that these labels use: 00, 01 and 17 have a fixed length, the others are open.
    """
    text = FNC1
    for place, (identifier, data) in enumerate(fields):
        is_open = identifier not in ("00", "01", "17")
        text += identifier + data + (FNC1 if is_open and place < len(fields) - 1 else "")
    return text


def human_readable(text: str, fields: tuple[tuple[str, str], ...] = ()) -> str:
    """What is printed below the bars: `(01)…(21)…`, or the text itself."""
    return "".join(f"({identifier}){data}" for identifier, data in fields) or text.replace(FNC1, "")


def render(symbology: Symbology, text: str, *, caption: str | None = None, seed: int = 0) -> bytes:
    """A PNG picture of one label.

    Args:
        symbology: what to draw.
        text: what it says; for `gs1-128` an element string (see `element_string`).
        caption: what is printed below; the text itself if None.
        seed: decides turn, perspective, light, blur and noise.

    Raises:
        ValueError: the symbology cannot write this text.
    """
    modules = ean_13(text) if symbology == "ean-13" else code_128(text)
    drawn = _draw(modules, human_readable(text) if caption is None else caption)
    return _png(_photograph(drawn, random.Random(seed)))  # noqa: S311 — pictures, not secrets


def _draw(modules: list[bool], caption: str) -> Image:
    """The label itself: straight, sharp, black on white."""
    quiet = [False] * QUIET_MODULES
    row = np.repeat(np.where([*quiet, *modules, *quiet], _INK, _PAPER).astype(np.uint8), MODULE_PX)
    label = np.full((BAR_HEIGHT_PX + 2 * MODULE_PX + TEXT_HEIGHT_PX, row.size), _PAPER, np.uint8)
    label[3 * MODULE_PX : BAR_HEIGHT_PX] = row
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.7
    (width, _), _ = cv2.getTextSize(caption, font, scale, 1)
    scale = min(scale, scale * (row.size - 20) / max(width, 1))
    (width, height), _ = cv2.getTextSize(caption, font, scale, 1)
    place = ((row.size - width) // 2, BAR_HEIGHT_PX + 14 + height)
    cv2.putText(label, caption, place, font, scale, (_INK,), 1, cv2.LINE_AA)
    return label


def _photograph(label: Image, rng: random.Random) -> Image:
    """The label on cardboard, turned and tilted a little, with uneven light, blur and noise."""
    height, width = label.shape
    size = (width + 2 * MARGIN_PX, height + 2 * MARGIN_PX)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    turn = np.deg2rad(rng.uniform(-_TURN_MOST_DEGREES, _TURN_MOST_DEGREES))
    around = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))], np.float32)
    middle = np.array((width / 2, height / 2), np.float32)
    tilt = np.array(
        [[rng.uniform(-_CORNER_MOST_PX, _CORNER_MOST_PX) for _ in "xy"] for _ in corners], np.float32
    )
    seen = (corners - middle) @ around.T + middle + MARGIN_PX + tilt
    transform = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
    picture = np.asarray(
        cv2.warpPerspective(
            label, transform, size, flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=(_CARDBOARD,),
        ),
        np.float32,
    )  # fmt: skip
    light = np.linspace(rng.uniform(0.85, 1.0), rng.uniform(0.85, 1.0), size[0], dtype=np.float32)
    grain = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(1, _NOISE_MOST), picture.shape)
    blurred = cv2.GaussianBlur(picture * light, (3, 3), rng.uniform(0.3, 0.8))
    return np.clip(blurred + grain, 0, 255).astype(np.uint8)


def _png(picture: Image) -> bytes:
    ok, encoded = cv2.imencode(".png", picture)
    if not ok:
        raise ValueError("OpenCV cannot write PNG here: install opencv-python-headless with its codecs")
    return bytes(encoded)

"""Symbols drawn for a test, and what goes wrong with their pictures. The same for the same seed."""

from collections.abc import Callable

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

Image = NDArray[np.uint8]
PAPER, INK = 200, 40


def symbol(text: str, format_: str, *, module_px: float = 3.0, gs1: bool = False) -> Image:
    """Black on white, with its quiet zone; linear ones at least a third as tall as they are long."""
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat[format_], gs1=gs1)
    drawn = np.array(code.to_image(scale=4, add_quiet_zones=True)).astype(np.uint8)
    factor = module_px / 4
    mode = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    drawn = cv2.resize(drawn, None, fx=factor, fy=factor, interpolation=mode).astype(np.uint8)
    height, width = drawn.shape
    if height < width / 3:
        drawn = cv2.resize(drawn, (width, width // 3), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    return drawn


def placed(drawn: Image, *, width: int = 640, height: int = 480, x: int = 60, y: int = 60) -> Image:
    """On a sheet of paper, as a camera sees ink: neither white nor black."""
    sheet = np.full((height, width), PAPER, np.uint8)
    ink = drawn.astype(np.float32) / 255 * (PAPER - INK) + INK
    sheet[y : y + drawn.shape[0], x : x + drawn.shape[1]] = ink.astype(np.uint8)
    return sheet


def grainy(image: Image, sigma: float, seed: int) -> Image:
    """A sensor's noise."""
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def soft(image: Image, sigma: float) -> Image:
    """Out of focus."""
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8)


def turned(image: Image, degrees: float) -> Image:
    """Askew."""
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), borderValue=PAPER).astype(np.uint8)


def faint(image: Image, contrast: float) -> Image:
    """Poor ink."""
    return (image * contrast + 150).astype(np.uint8)


def shaded(image: Image, seed: int) -> Image:
    """Light that falls off from one side to the other, down to an eighth."""
    height, width = image.shape
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    slope = ((x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle)) * 1.6
    return (image * np.clip(0.55 + slope, 0.12, 1.6)).clip(0, 255).astype(np.uint8)


def dotted(drawn: Image, pitch: int) -> Image:
    """Modules as dots that do not touch, as a needle peens them."""
    height, width = drawn.shape
    dot = np.zeros((pitch, pitch), np.uint8)
    cv2.circle(dot, (pitch // 2, pitch // 2), pitch // 3, 1, -1)
    dots = np.tile(dot, (height // pitch + 1, width // pitch + 1))[:height, :width]
    return np.where((drawn < 128) & (dots > 0), 0, 255).astype(np.uint8)


def label(text: str, format_: str, module_px: float) -> Image:
    """One symbol on its sheet."""
    return placed(symbol(text, format_, module_px=module_px))


# By the row of `devices.vision.passes.PASSES`: a picture that is not read without it, and what it says.
ONLY: dict[str, tuple[str, Callable[[], Image]]] = {
    "inverted": (
        "4006381333931",
        lambda: grainy(soft(255 - label("4006381333931", "EAN13", 2.5), 0.8), 3, 1),
    ),
    "zbar": ("15400141288763", lambda: grainy(soft(shaded(label("15400141288763", "ITF", 3), 1), 0.8), 2, 1)),
    "contrasted": ("LOC-8", lambda: grainy(soft(label("LOC-8", "Code39", 2.5), 1.6), 2, 1)),
    "along bars": ("PLT-4711", lambda: grainy(soft(faint(label("PLT-4711", "Code128", 2), 0.06), 0.8), 1, 2)),
    "joined": (
        "SN 48151623",
        lambda: grainy(soft(placed(dotted(symbol("SN 48151623", "DataMatrix", module_px=6), 5)), 1), 3, 1),
    ),
    "levelled": (
        "4006381333931",
        lambda: grainy(soft(faint(label("4006381333931", "EAN13", 1.6), 0.09), 0.8), 1, 2),
    ),
    "enlarged": ("PLT-4711", lambda: grainy(soft(label("PLT-4711", "Code128", 2.5), 0.7), 25, 2)),
    "sharpened": (
        "SN 48151623",
        lambda: grainy(soft(faint(label("SN 48151623", "DataMatrix", 2.5), 0.06), 0.8), 1, 2),
    ),
}

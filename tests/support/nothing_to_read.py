"""Pictures without a code in them that look like codes to a machine: noise, print, bricks, grids, stripes, rulers."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
WIDTH, HEIGHT = 480, 360


def pictures(seed: int) -> Iterator[tuple[str, Image]]:
    """(what it is, the picture), other ones for each seed."""
    rng = np.random.default_rng(seed)
    yield "noise", rng.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    yield "random bars", np.repeat(_runs(rng, WIDTH)[None], HEIGHT, 0)
    yield "random modules", _modules(rng, 6)
    yield "rows of bars", _rows_of_bars(rng)
    yield "print", _print(rng)
    yield "bricks", _bricks()
    yield "a grid", _grid(int(rng.integers(4, 14)))
    yield "a ruler", _ruler()
    for degrees in (0, 20, 45):
        yield f"stripes at {degrees}°", _stripes(degrees, rng.uniform(5, 16), rng.uniform(-0.5, 0.5))
    yield "cardboard", _cardboard(rng)


def _runs(rng: np.random.Generator, length: int) -> Image:
    widths = rng.integers(1, 5, length)
    runs: Image = np.repeat(np.arange(length) % 2 * 255, widths)[:length].astype(np.uint8)
    return runs


def _modules(rng: np.random.Generator, size: int) -> Image:
    modules = (rng.random((HEIGHT // size, WIDTH // size)) > 0.5).astype(np.uint8) * 255
    return cv2.resize(modules, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def _rows_of_bars(rng: np.random.Generator) -> Image:
    sheet = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for top in range(10, HEIGHT - 50, 60):
        sheet[top : top + 45, 20 : WIDTH - 20] = np.repeat(_runs(rng, WIDTH), 2)[: WIDTH - 40]
    return sheet


def _print(rng: np.random.Generator) -> Image:
    page = np.full((HEIGHT, WIDTH), 230, np.uint8)
    for y in range(20, HEIGHT, 18):
        line = "".join(chr(rng.integers(33, 127)) for _ in range(50))
        cv2.putText(page, line, (10, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 20, 1, cv2.LINE_AA)
    return page


def _bricks() -> Image:
    wall = np.full((HEIGHT, WIDTH), 200, np.uint8)
    for course, y in enumerate(range(0, HEIGHT, 24)):
        cv2.line(wall, (0, y), (WIDTH, y), 60, 3)
        for x in range(course % 2 * 30, WIDTH, 60):
            cv2.line(wall, (x, y), (x, y + 24), 60, 3)
    return wall


def _grid(pitch: int) -> Image:
    fence = np.full((HEIGHT, WIDTH), 220, np.uint8)
    fence[:, ::pitch] = fence[::pitch] = 30
    return fence


def _ruler() -> Image:
    wood = np.full((HEIGHT, WIDTH), 240, np.uint8)
    for x in range(0, WIDTH, 5):
        length = 30 + 25 * (x % 25 == 0) + 20 * (x % 50 == 0)
        cv2.line(wood, (x, 100), (x, 100 + length), 20, 1 + (x % 3 == 0))
    return wood


def _stripes(degrees: float, pitch: float, share: float) -> Image:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    across = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))
    stripes: Image = (20 + 200 * (np.sin(across * 2 * np.pi / pitch) > share)).astype(np.uint8)
    return stripes


def _cardboard(rng: np.random.Generator) -> Image:
    waves = 150 + 60 * np.sin(np.arange(WIDTH) * 0.7)[None] + rng.normal(0, 20, (HEIGHT, WIDTH))
    board: Image = waves.clip(0, 255).astype(np.uint8)
    return board

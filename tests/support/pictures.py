"""Symbols drawn for a test, as pictures and films, and a camera that reads them."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from devices import BarcodeRead, PortStatus, Read, Reader
from tests.support.readers import at_work

Image = NDArray[np.uint8]


def symbol(text: str, format_: str = "QRCode", *, gs1: bool = False) -> Image:
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat[format_], gs1=gs1)
    drawn = np.array(code.to_image(scale=4))
    return cv2.copyMakeBorder(drawn, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=255).astype(np.uint8)


def scene(text: str | None, width: int = 320, height: int = 320, *, shade: int = 255) -> Image:
    """A picture of this size with one symbol in its middle, or none."""
    image = np.full((height, width), shade, np.uint8)
    if text is not None:
        side = min(width, height) - 20
        top, left = (height - side) // 2, (width - side) // 2
        image[top : top + side, left : left + side] = cv2.resize(
            symbol(text), (side, side), interpolation=cv2.INTER_NEAREST
        )
    return image


def png(image: Image) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image: Image) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


# What a test's camera takes for a picture.
PAUSE_S = 0.04


def noisy(image: Image, number: int) -> Image:
    """As a sensor delivers it: no two pictures of the same thing are alike."""
    picture = image.copy()
    picture[0, number % picture.shape[1]] ^= 0x3F
    return picture


def pour(pipe: Path, pictures: int, image: Image) -> None:
    """A program that writes Motion JPEG into a pipe, and ends; begun anew if nobody listens any more, while there
    is the pipe.
    """
    for _ in range(3):
        with suppress(BrokenPipeError, FileNotFoundError), pipe.open("wb", buffering=0) as file:
            for number in range(pictures):
                file.write(jpeg(noisy(image, number)))
                time.sleep(PAUSE_S)
            return


# How each container is written here; OpenCV's own writer knows no raw stream.
CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "mp4v", ".mov": "mp4v"}


def film(path: Path, scenes: Iterable[Image], fps: int = 10) -> Path:
    """A film of these pictures."""
    pictures = list(scenes)
    if path.suffix not in CODECS:
        path.write_bytes(b"".join(map(jpeg, pictures)))
        return path
    height, width = pictures[0].shape
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODECS[path.suffix]), fps, (width, height)
    )
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def rows(reads: list[Read]) -> list[tuple[str | None, str]]:
    return [(read.symbology, read.text) for read in reads if isinstance(read, BarcodeRead)]


class Bench:
    """A camera reader and everything it said."""

    def __init__(self, url: str, *, reopen: bool = True) -> None:
        self.reads: list[Read] = []
        self.statuses: list[PortStatus] = []
        self.reader = Reader(
            "eye-1", "camera", url, self.reads.append, self.statuses.append, reopen=reopen, jitter=lambda: 0.0
        )

    @property
    def texts(self) -> list[str]:
        return [text for _, text in rows(self.reads)]

    @property
    def said(self) -> list[tuple[str, str | None]]:
        return [(status.status, status.reason) for status in self.statuses]

    def has_said(self, status: str, reason: str) -> bool:
        return any(status == state and reason in (why or "") for state, why in self.said)


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Bench]:
    bench = Bench(url)
    async with at_work(bench.reader):
        yield bench

"""A decoder to look with, and time that passes only when it is told to."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from devices.vision.decoder import WHOLE, Decoder
from devices.vision.passes import PASSES, Pass
from devices.vision.second_opinion import SecondOpinion
from devices.vision.sighting import Sighting
from devices.vision.symbologies import DEFAULT
from tests.support.spoiled import Image

UNLIMITED_MS = 60_000


@dataclass
class FakeClock:
    """Time that passes only when a look takes it."""

    now_ns: int = 0

    def __call__(self) -> int:
        return self.now_ns


@contextmanager
def decoding(
    passes: Sequence[Pass] = PASSES,
    *,
    wanted: Sequence[str] = DEFAULT,
    budget_ms: int = UNLIMITED_MS,
    clock: FakeClock | None = None,
    roi: tuple[int, int, int, int] = WHOLE,
    module: str = "devices.vision.second_opinion",
) -> Iterator[Decoder]:
    clock_ns = clock or time.monotonic_ns
    decoder = Decoder(
        wanted,
        budget_ms=budget_ms,
        roi=roi,
        second_opinion=SecondOpinion(wanted, clock_ns=clock_ns, module=module),
        clock_ns=clock_ns,
        passes=passes,
    )
    try:
        yield decoder
    finally:
        decoder.close()


def texts(decoder: Decoder, image: Image) -> list[str]:
    return [code.text for code in decoder.look(image, live=False)]


def sighting(text: str, *, y: float = 100, height: float = 60, certain: bool = False) -> Sighting:
    quad = ((100.0, y), (300.0, y), (300.0, y + height), (100.0, y + height))
    return Sighting("QR Code" if certain else "EAN/UPC", certain, text.encode(), text, "]E0", quad)

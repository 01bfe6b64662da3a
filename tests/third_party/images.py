"""images/: photographs of codes, SYMBOLOGY/NAME.png beside NAME.txt (text) or NAME.bin (bytes).

One that is not read is a row of its own kind: a miss costs a second look by somebody, a misreading a wrong count.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.photographs import photographs
from devices.driver import Frame
from devices.drivers.camera import Camera
from devices.reads import BarcodeRead, Moment
from tests.third_party.rows import Row


def check(folder: Path) -> Iterator[Row]:
    """Every photograph through the camera's driver, as a file is."""
    if not (folder / "images").is_dir():
        return
    camera = Camera("eye")
    try:
        for photograph in photographs(folder / "images"):
            reads = [
                read
                for read in camera.see(Frame(photograph.pixels, photograph.name), Moment(0.0, 0))
                if isinstance(read, BarcodeRead)
            ]
            right = any(photograph.shows(read.raw) for read in reads)
            others = [
                read
                for read in reads
                if not photograph.shows(read.raw) and not photograph.shows_too(read.raw)
            ]
            reason = (
                "" if right or others else "not read" if not reads else "only the book's other code is read"
            )
            stated = photograph.stated.decode("utf-8", "backslashreplace")
            found = ", ".join(f"{read.symbology} {read.text!r}" for read in reads)
            yield Row(photograph.name, repr(stated), found, right and not others, reason)
    finally:
        camera.close()

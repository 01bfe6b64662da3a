"""A folder of photographs with what they say: DIR/SYMBOLOGY/NAME.png beside NAME.txt (text) or NAME.bin (bytes).

The one idea: a reading is judged by what it says, not by how a library writes it. UPC-A is an EAN-13 with a 0 in
front; element strings stand with brackets here and with separators there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from devices.ports import opencv

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A Japanese book has two EAN-13: its ISBN, and below it one that begins with 191 or 192 and holds subject and price
# (Japan Book Publishers' Association). Photographs of such books show both, and one of them is what is stated.
_SECOND_OF_BOOKS = {"9784872348880", "1920081045006"}


@dataclass(frozen=True)
class Photograph:
    """One of them."""

    path: Path
    stated: bytes

    @property
    def folder(self) -> str:
        """Its symbology, as whoever collected them named it."""
        return self.path.parent.name

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.folder}/{self.path.stem}"

    @cached_property
    def pixels(self) -> "NDArray[np.uint8]":
        """Grey levels, as the camera's driver gets them."""
        found = opencv.decode(self.path.read_bytes())
        assert found is not None, f"{self.path} is no image"
        return found

    def shows(self, content: bytes) -> bool:
        """Whether this content is what is stated."""
        if content == self.stated:
            return True
        stated, text = self._text(self.stated), self._text(content)
        if stated.startswith("("):
            return _without(stated, "()") == _without(text, "()\x1d")
        return stated == text or (_is_upc(stated) and text == f"0{stated}")

    def shows_too(self, content: bytes) -> bool:
        """Whether the photograph is known to show this as well."""
        return {self._text(self.stated), self._text(content)} <= _SECOND_OF_BOOKS

    @staticmethod
    def _text(content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content.decode("latin-1")


def photographs(directory: Path) -> Iterator[Photograph]:
    """All of them, by folder and name. Raises `ValueError` if there are none."""
    found = False
    for path in sorted(directory.glob("*/*.png")):
        for suffix in (".txt", ".bin"):
            if path.with_suffix(suffix).exists():
                found = True
                yield Photograph(path, path.with_suffix(suffix).read_bytes())
                break
    if not found:
        raise ValueError(
            f"there are no photographs in {directory}: SYMBOLOGY/NAME.png and NAME.txt are needed"
        )


def _without(text: str, characters: str) -> str:
    return text.translate(dict.fromkeys(map(ord, characters)))


def _is_upc(text: str) -> bool:
    return len(text) == 12 and text.isascii() and text.isdigit()

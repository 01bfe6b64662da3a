"""Looking with zxing-cpp."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from devices.reads import as_text
from devices.vision.pixels import Image
from devices.vision.sighting import Sighting
from devices.vision.symbologies import SYMBOLOGIES

if TYPE_CHECKING:
    import zxingcpp

# zxing-cpp's families whose error correction leaves no room for doubt.
_CERTAIN = frozenset({"Data Matrix", "QR Code", "Aztec", "MaxiCode"})
# PDF417 may be printed with so little of it that what is left of a blurred one is corrected into another: that was
# seen at one pixel per module. From this length on, a symbol of ten columns (256 modules) has one and a half.
PDF417_CERTAIN_PX = 400.0


class Zxing:
    """The library, set to the symbologies that are wanted."""

    def __init__(self, wanted: Iterable[str]) -> None:
        import zxingcpp  # noqa: PLC0415 - only sites with cameras have it installed

        self._zxing = zxingcpp
        rows = [SYMBOLOGIES[name] for name in wanted]
        self._formats = {
            "all": self._choose(row.zxing for row in rows),
            "linear": self._choose(row.zxing for row in rows if row.linear),
            "matrix": self._choose(row.zxing for row in rows if not row.linear),
        }

    def _choose(self, names: Iterable[str]) -> Any:
        found = [self._zxing.BarcodeFormat[name] for name in names]
        return self._zxing.BarcodeFormats(found) if found else None

    def look(self, image: Image, which: str = "all", *, scale: float = 1.0) -> list[Sighting]:
        """What it finds, in pixels of this image. `which`: all, linear or matrix. `scale`: how much this image was
        enlarged, which adds pixels and nothing to see.
        """
        formats = self._formats[which]
        if formats is None:
            return []
        found = self._zxing.read_barcodes(image, formats=formats, text_mode=self._zxing.TextMode.Plain)
        return [self._sighting(code, scale) for code in found if code.valid]

    def _sighting(self, code: "zxingcpp.Barcode", scale: float) -> Sighting:
        # Element strings as they are, with 1D hex between them; other text as the symbol's character set says.
        gs1 = code.content_type == self._zxing.ContentType.GS1
        family = str(code.symbology)
        where = code.position
        corners = (where.top_left, where.top_right, where.bottom_right, where.bottom_left)
        first, second, third, fourth = ((float(corner.x), float(corner.y)) for corner in corners)
        length_px = math.dist(first, second) / scale
        return Sighting(
            family,
            family in _CERTAIN or (family == "PDF417" and length_px >= PDF417_CERTAIN_PX),
            code.bytes,
            as_text(code.bytes) if gs1 else code.text,
            code.symbology_identifier or None,
            (first, second, third, fourth),
        )

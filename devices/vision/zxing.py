"""Looking with zxing-cpp."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from devices.reads import as_text
from devices.vision.pixels import Image
from devices.vision.sighting import Sighting
from devices.vision.symbologies import SYMBOLOGIES

if TYPE_CHECKING:
    import zxingcpp

# What zxing-cpp says of a symbol, by its family: those of its families that have error correction.
_MATRIX = frozenset({"Data Matrix", "QR Code", "PDF417", "Aztec", "MaxiCode"})


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

    def look(self, image: Image, which: str = "all") -> list[Sighting]:
        """What it finds, in pixels of this image. `which`: all, linear or matrix."""
        formats = self._formats[which]
        if formats is None:
            return []
        found = self._zxing.read_barcodes(image, formats=formats, text_mode=self._zxing.TextMode.Plain)
        return [self._sighting(code) for code in found if code.valid]

    def _sighting(self, code: "zxingcpp.Barcode") -> Sighting:
        # Element strings as they are, with 1D hex between them; other text as the symbol's character set says.
        gs1 = code.content_type == self._zxing.ContentType.GS1
        family = str(code.symbology)
        where = code.position
        corners = (where.top_left, where.top_right, where.bottom_right, where.bottom_left)
        first, second, third, fourth = ((float(corner.x), float(corner.y)) for corner in corners)
        return Sighting(
            family,
            family not in _MATRIX,
            code.bytes,
            as_text(code.bytes) if gs1 else code.text,
            code.symbology_identifier or None,
            (first, second, third, fourth),
        )

"""Codes in pictures, by zxing-cpp.

The one idea: one picture reports each code in it once; in a moving picture, a code is reported when it comes into
view and again only after it was out of view for `again_ms`. zxing-cpp gives the content's bytes and the AIM id, so a
camera's read is the same as a scanner's.
"""

from typing import TYPE_CHECKING, ClassVar

from devices.driver import Frame
from devices.options import Option, number
from devices.reads import BadFrame, BarcodeRead, Moment, Read, as_text

if TYPE_CHECKING:
    import zxingcpp

# What is printed on goods and shelves. Every format more costs time in each frame and adds false readings.
FORMATS = ("EANUPC", "Code128", "DataMatrix", "QRCode", "ITF", "Code39", "DataBar")
# How many codes in view are remembered; a frame has room for fewer.
MAX_IN_VIEW = 1024


class Camera:
    """The driver `camera`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("again_ms", number(0, 3_600_000), 1000, "out of view for so long, a code counts as new"),
    )

    def __init__(self, device: str, *, again_ms: int = 1000) -> None:
        import zxingcpp  # noqa: PLC0415 - only sites with cameras have it installed

        self._device = device
        self._again_ns = again_ms * 1_000_000
        self._zxing = zxingcpp
        self._formats = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat[name] for name in FORMATS])
        self._in_view: dict[tuple[str, bytes], int] = {}

    def see(self, frame: Frame, now: Moment) -> list[Read]:
        """The codes in this image, each once, from top to bottom.

        An image that somebody took, with no code in it, is a `BadFrame`; of a moving picture most frames are.
        """
        found = self._zxing.read_barcodes(
            frame.pixels, formats=self._formats, text_mode=self._zxing.TextMode.Plain
        )
        codes = {
            (code.symbology_identifier, code.bytes): code for code in sorted(found, key=_height) if code.valid
        }
        if not codes and not frame.live:
            reason = f"no code was found in {frame.source or 'the image'}"
            return [BadFrame(self._device, reason, b"", now.unix_s)]
        at_ns = now.monotonic_ns if frame.at_ns is None else frame.at_ns
        fresh = self._coming_into_view(set(codes), at_ns) if frame.live else set(codes)
        return [self._read(code, frame, now) for key, code in codes.items() if key in fresh]

    def _coming_into_view(self, seen: set[tuple[str, bytes]], at_ns: int) -> set[tuple[str, bytes]]:
        gone = at_ns - self._again_ns
        self._in_view = {key: last for key, last in self._in_view.items() if last >= gone}
        fresh = seen - self._in_view.keys()
        for key in seen:
            self._in_view[key] = at_ns
        while len(self._in_view) > MAX_IN_VIEW:
            del self._in_view[min(self._in_view, key=self._in_view.__getitem__)]
        return fresh

    def _read(self, code: "zxingcpp.Barcode", frame: Frame, now: Moment) -> Read:
        # Element strings as they are, with 1D hex between them; other text as the symbol's character set says.
        gs1 = code.content_type == self._zxing.ContentType.GS1
        text = as_text(code.bytes) if gs1 else code.text
        symbology = code.symbology_identifier or None
        at, ns = now
        return BarcodeRead(self._device, code.bytes, text, symbology, at, ns, frame.source, frame.version)


def _height(code: "zxingcpp.Barcode") -> tuple[int, int]:
    return code.position.top_left.y, code.position.top_left.x

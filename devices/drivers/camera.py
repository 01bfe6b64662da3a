"""Codes in pictures.

The one idea: one picture reports each code in it once; in a moving picture, a code is reported when it comes into
view and again only after it was out of view for `again_ms`. How codes are found is `devices.vision`; what is reported
has the content's bytes and the AIM id, so a camera's read is the same as a scanner's.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from devices import vision
from devices.driver import Frame
from devices.options import Option, number
from devices.reads import BadFrame, BarcodeRead, Moment, Read
from devices.vision.decoder import BUDGET_MS, WHOLE, Decoder
from devices.vision.sighting import Key, Sighting
from devices.vision.symbologies import DEFAULT, names, percents

# How many codes in view are remembered; a frame has room for fewer.
MAX_IN_VIEW = 1024


class Camera:
    """The driver `camera`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("again_ms", number(0, 3_600_000), 1000, "out of view for so long, a code counts as new"),
        Option("symbologies", names, DEFAULT, "what is read; all else is passed over"),
        Option("roi", percents, WHOLE, "the part of the picture that is looked at: x, y, width, height"),
        Option(
            "budget_ms",
            number(10, 60_000),
            BUDGET_MS,
            "the time for one picture: no closer look is begun that would end later; the first look is always taken",
        ),
    )

    def __init__(
        self,
        device: str,
        *,
        again_ms: int = 1000,
        symbologies: Sequence[str] = DEFAULT,
        roi: tuple[int, int, int, int] = WHOLE,
        budget_ms: int = BUDGET_MS,
        decoder: Decoder | None = None,
    ) -> None:
        self._device = device
        self._again_ns = again_ms * 1_000_000
        self._decoder = decoder or vision.build_decoder(symbologies, roi=roi, budget_ms=budget_ms)
        self._in_view: dict[Key, int] = {}

    @property
    def warning(self) -> str | None:
        """It works, but somebody should look: why."""
        return self._decoder.warning

    def see(self, frame: Frame, now: Moment) -> list[Read]:
        """The codes in this image, each once, from top to bottom.

        An image that somebody took, with no code in it, is a `BadFrame`; of a moving picture most frames are.
        """
        at_ns = now.monotonic_ns if frame.at_ns is None else frame.at_ns
        known = self._still_in_view(at_ns) if frame.live else frozenset()
        codes = {code.key: code for code in self._decoder.look(frame.pixels, live=frame.live, known=known)}
        if not codes and not frame.live:
            reason = f"no code was found in {frame.source or 'the image'}"
            return [BadFrame(self._device, reason, b"", now.unix_s)]
        if frame.live:
            self._note(codes, at_ns)
        return [self._read(code, frame, now) for key, code in codes.items() if key not in known]

    def close(self) -> None:
        """Let go of what helps it; it goes on when it is given another image."""
        self._decoder.close()

    def _still_in_view(self, at_ns: int) -> frozenset[Key]:
        gone = at_ns - self._again_ns
        self._in_view = {key: last for key, last in self._in_view.items() if last >= gone}
        return frozenset(self._in_view)

    def _note(self, seen: Iterable[Key], at_ns: int) -> None:
        for key in seen:
            self._in_view[key] = at_ns
        while len(self._in_view) > MAX_IN_VIEW:
            del self._in_view[min(self._in_view, key=self._in_view.__getitem__)]

    def _read(self, code: Sighting, frame: Frame, now: Moment) -> Read:
        at, ns = now
        return BarcodeRead(
            self._device, code.content, code.text, code.aim, at, ns, frame.source, frame.version
        )

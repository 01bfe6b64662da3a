"""Scanners in HID POS mode: reports of fixed length, with the symbology beside the data.

The one idea: where things stand in a report is asked of the device, not guessed. Usages of the page "Bar Code
Scanner" (HID Point of Sale Usage Tables 1.02, page 8C) say which bytes are symbology id, data and "more follows"; a
code that does not fit one report goes on in the next. Only where nobody can be asked, as in a recording, the usual
layout counts, and then strictly, since nothing else tells a report from noise.
"""

from typing import Any, ClassVar, Final

from devices.driver import earliest
from devices.options import Option, number
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read
from devices.wire.codes import MAX_CODE, Codes
from devices.wire.framing import NS_PER_MS, FramedDriver
from devices.wire.pos_reports import USUAL_BYTES, Layout, layout_from_hex, layout_or_reason, usual_layout
from devices.wire.symbologies import AIM_ID

# The reports of one code follow each other within milliseconds; nobody pulls a trigger so fast.
_JOIN_MS: Final = 250


class HidPos(FramedDriver):
    """The driver `hid-pos`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option(
            "report_bytes",
            number(16, 1024),
            USUAL_BYTES,
            "how long a report is, where the device does not say so itself",
        ),
        Option(
            "descriptor",
            layout_from_hex,
            None,
            "the device's report descriptor in hex, for recordings; a device is asked for it",
        ),
        *Codes.OPTIONS,
    )
    MAX_FRAME: ClassVar[int] = MAX_CODE

    def __init__(
        self, device: str, *, report_bytes: int = USUAL_BYTES, descriptor: Layout | None = None, **codes: Any
    ) -> None:
        super().__init__(device)
        self._as_set = self._layout = descriptor or usual_layout(report_bytes)
        self._wrong: str | None = None
        self._codes = Codes(device, **codes)
        self._code = bytearray()
        self._symbology = b""
        self._more = self._over = False
        """More reports of this code follow; it is too long, and told so."""
        self._join_ns: int | None = None

    def describe(self, description: bytes) -> None:
        """Take the layout from the device's report descriptor; empty: as set, or the usual one."""
        self._layout, self._wrong = layout_or_reason(description, self._as_set)

    def open(self, now: Moment) -> None:
        """Forget what came before; what the device said of itself stays until it is described anew."""
        super().open(now)
        self._codes.forget()
        self._drop_code()
        self.warning, self.fault = None, self._wrong

    # --- reports -----------------------------------------------------------------------------------------------

    def measure(self, data: bytes, at: int) -> int:
        """A report of the layout or of another kind, as far as its bytes can be one."""
        layout, left = self._layout, len(data) - at
        if layout.report is not None and data[at] != layout.report:
            if (other := layout.others.get(data[at])) is not None:
                return other if left >= other else 0
            found = data.find(layout.report, at + 1) if not layout.others else at + 1
            return at - (found if found > 0 else len(data))
        report = data[at : at + layout.size]
        if not self._can_be(report):
            return -1
        return layout.size if left >= layout.size else 0

    def _can_be(self, report: bytes) -> bool:
        """Whether a report, or the beginning of one, can be one."""
        layout, whole = self._layout, len(report) == self._layout.size
        if layout.length is None:
            return True
        if len(report) <= layout.length:
            return True
        length = report[layout.length]
        if length > layout.data_most:
            return False
        if not layout.strict:
            return True
        symbology = report[2:5]
        return (
            (length > 0 or self._more)
            and (len(symbology) < 3 or symbology == b"\0\0\0" or AIM_ID.fullmatch(symbology) is not None)
            and not report[layout.data + length : layout.data + layout.data_most].strip(b"\0")
            and not (whole and (report[-2] or report[-1] > 1))
        )

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """One report: a code, the beginning of one, or what follows."""
        layout = self._layout
        if layout.report is not None and frame[0] != layout.report:
            return
        symbology = bytes(frame[place] for place in layout.ids)[:3]
        content = frame[layout.data : layout.data + layout.data_most]
        content = content.rstrip(b"\0") if layout.length is None else content[: frame[layout.length]]
        if self._more and symbology != self._symbology:
            self._interrupted("another code came in the middle of it", now, reads)
        self._symbology = symbology
        if not self._over:
            self._code += content
        if len(self._code) > MAX_CODE:
            reason = f"a code of more than {MAX_CODE} bytes"
            reads.append(BadFrame(self.device, reason, bytes(self._code[:MAX_SAMPLE]), now.unix_s))
            self._code.clear()
            self._over = True
        self._more = layout.continued is not None and bool(
            frame[layout.continued[0]] >> layout.continued[1] & 1
        )
        if self._more:
            self._join_ns = now.monotonic_ns + _JOIN_MS * NS_PER_MS
            return
        if self._code:
            self._read(symbology, bytes(self._code), now, reads)
        self._drop_code()

    def _read(self, symbology: bytes, content: bytes, now: Moment, reads: list[Read]) -> None:
        if AIM_ID.fullmatch(symbology):
            reads.append(self._codes.code(symbology + content, symbology.decode("ascii"), content, now))
        else:
            reads.extend(self._codes.scan(content, now))
        self.warning = self._codes.warning

    # --- codes of several reports ------------------------------------------------------------------------------

    def due_ns(self) -> int | None:
        """When the rest of a report, or of a code, is not coming any more."""
        return earliest(super().due_ns(), self._join_ns)

    def tick(self, now: Moment) -> list[Read]:
        """Give up what does not go on."""
        reads = super().tick(now)
        if self._join_ns is not None and now.monotonic_ns >= self._join_ns:
            self._interrupted("the rest of it did not come", now, reads)
        return reads

    def close(self, now: Moment) -> list[Read]:
        """The stream ended: a code that should go on is none."""
        reads = super().close(now)
        if self._more:
            self._interrupted("the scanner went in the middle of it", now, reads)
        return reads

    def _interrupted(self, why: str, now: Moment, reads: list[Read]) -> None:
        if not self._over:
            reason = f"a code of several reports is not whole: {why}; scan it again"
            reads.append(BadFrame(self.device, reason, bytes(self._code[:MAX_SAMPLE]), now.unix_s))
        self._drop_code()

    def _drop_code(self) -> None:
        self._code.clear()
        self._more = self._over = False
        self._join_ns = None

    def _skip(self, data: bytes, now: Moment, reads: list[Read]) -> None:
        super()._skip(data, now, reads)
        if self._more:
            self._interrupted("bytes that are no report came in the middle of it", now, reads)

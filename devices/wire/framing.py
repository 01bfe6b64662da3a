"""Frames in a stream of bytes: header → length → checksum, and the way back after garbage.

The one idea: nothing but a frame's own length and checksum says where it ends. Header and trailer bytes also occur
inside tags, and a pause proves nothing behind a USB adapter. Where no frame begins, one byte is dropped and the next
is tried, so that a frame is found whatever stood before it. A frame that was begun and is not finished within
`STALL_MS` was none: it is dropped byte by byte too, so that one stray header never holds up what follows.
"""

from abc import abstractmethod
from typing import Any, ClassVar

from devices.driver import ByteDriver
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read

NS_PER_MS = 1_000_000
# Garbage is reported in one piece for each run of it, and a run that does not end in pieces of so many bytes.
MAX_SKIPPED = 4096


class FramedDriver(ByteDriver):
    """A driver whose protocol has frames. It holds one unfinished frame; `measure` accepts none over `MAX_FRAME`."""

    STALL_MS: ClassVar[int] = 200
    """A frame that was begun must go on within this time. USB adapters deliver in steps of 16 ms, networks worse."""

    def __init__(self, device: str, **_options: Any) -> None:
        super().__init__(device)
        self._rest = b""
        self._stalled_ns: int | None = None
        self._skipped = 0
        self._sample = b""

    @abstractmethod
    def measure(self, data: bytes, at: int) -> int:
        """What stands at this place: n > 0, a whole and valid frame of n bytes; 0, the beginning of what may become
        one; n < 0, no frame begins in the next −n bytes.
        """

    @abstractmethod
    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """Take one valid frame; put what was read into `reads`."""

    def garbage(self, sample: bytes, size: int) -> str:
        """What to say of so many bytes that are no frame, of which these are the first."""
        return f"{size} bytes that are no frame: a loose cable, or another device's answer"

    def open(self, now: Moment) -> None:
        """Forget what came before the port was opened."""
        self._forget()

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """Find the frames that these bytes complete."""
        reads: list[Read] = []
        rest = self._scan(self._rest + data if self._rest else data, now, reads)
        assert len(rest) <= self.MAX_FRAME, "measure waits for more than a frame"
        self._rest = rest
        # Garbage waits too: its next byte is as much the same garbage as if it had come in the same piece.
        waits = rest or self._skipped
        self._stalled_ns = now.monotonic_ns + self.STALL_MS * NS_PER_MS if waits else None
        return reads

    def due_ns(self) -> int | None:
        """When an unfinished frame counts as none, and garbage as ended."""
        return self._stalled_ns

    def tick(self, now: Moment) -> list[Read]:
        """Give an unfinished frame up if its time is over."""
        reads: list[Read] = []
        if self._stalled_ns is not None and now.monotonic_ns >= self._stalled_ns:
            self._give_up(now, reads)
        return reads

    def close(self, now: Moment) -> list[Read]:
        """The stream ended: an unfinished frame was none, but what stands behind its first byte may be one."""
        reads: list[Read] = []
        self._give_up(now, reads)
        return reads

    def _scan(self, data: bytes, now: Moment, reads: list[Read]) -> bytes:
        """Take every whole frame; returns the unfinished rest."""
        at, end = 0, len(data)
        measure, take = self.measure, self.frame
        while at < end:
            size = measure(data, at)
            if size > 0:
                if self._skipped:
                    self._report_skipped(now, reads)
                take(data[at : at + size], now, reads)
                at += size
            elif size:
                self._skip(data[at : at - size], now, reads)
                at -= size
            else:
                break
        return data[at:]

    def _give_up(self, now: Moment, reads: list[Read]) -> None:
        rest = self._rest
        while rest:
            self._skip(rest[:1], now, reads)
            rest = self._scan(rest[1:], now, reads)
        if self._skipped:
            self._report_skipped(now, reads)
        self._rest, self._stalled_ns = b"", None

    def _skip(self, data: bytes, now: Moment, reads: list[Read]) -> None:
        if len(self._sample) < MAX_SAMPLE:
            self._sample += data[: MAX_SAMPLE - len(self._sample)]
        self._skipped += len(data)
        if self._skipped >= MAX_SKIPPED:
            self._report_skipped(now, reads)

    def _report_skipped(self, now: Moment, reads: list[Read]) -> None:
        # Before the device has answered, garbage is what a wrong speed or another device's start looks like:
        # the fault that follows says so once.
        if self.ready:
            reason = self.garbage(self._sample, self._skipped)
            reads.append(BadFrame(self.device, reason, self._sample, now.unix_s))
        self._skipped, self._sample = 0, b""

    def _forget(self) -> None:
        self._rest, self._stalled_ns = b"", None
        self._skipped, self._sample = 0, b""

"""Frames on their way to the host: planned by the cable, sent as fast as the host reads, entered in the ledger.

The one idea: frames become steps in a queue, and a step that cannot go on yet (a pause, a full buffer) stays where it
is; nothing waits, so that the device is never deaf. A frame counts as delivered when the host has read it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from simulators.hardware.account import Delivery, Ledger, Status
from simulators.hardware.device import Frame
from simulators.hardware.faults import Cable, End, Pause, Step, Stray, Unplug, Write
from simulators.hardware.transports import Gone, Transport

WRITE_TIMEOUT_S: Final = 2.0
"""A host that reads nothing for so long loses what waits to be sent."""
QUEUE_MOST: Final = 20_000
"""Steps that wait to be sent; above, frames are lost."""
WINDOW_BYTES: Final = 2048
"""So much may be unread before the next piece waits: a terminal holds 4095, and a loss must not go unseen."""
FAREWELL_S: Final = 0.2
"""A device that goes in good order gives the host so long to read what was sent."""
THROWN_AWAY: Final = "the host threw away what it had not read, or reads where nobody can see it"
_STRAY_MOST_BYTES: Final = 256


@dataclass(slots=True)
class _Queued:
    step: Step
    delivery: Delivery | None = None
    """What the step decides, if it is an end."""
    begins: bool = False
    """It is the first of its frame."""
    offset: int = 0
    since_s: float | None = None
    """When it came to the head of the queue, or moved on last."""


class Line:
    """From a device to the host.

    Args:
        spoils: `Device.spoils`.
    """

    def __init__(
        self, transport: Transport, cable: Cable, ledger: Ledger, spoils: Callable[[bytes], bool]
    ) -> None:
        self._transport, self._cable, self._ledger, self._spoils = transport, cable, ledger, spoils
        self.is_open = False
        """Set by the rig: whether somebody has the port open."""
        self._queue: deque[_Queued] = deque()
        self._unread: list[Delivery] = []
        self._unread_bytes = self._telling = 0
        self._begun = self._stray = b""
        self._spoiled = self._torn = False

    @property
    def waits(self) -> bool:
        """Something is to be sent, or to be read by the host."""
        return bool(self._queue or self._unread_bytes)

    @property
    def sends(self) -> bool:
        """Something is to be sent."""
        return bool(self._queue)

    @property
    def tells(self) -> bool:
        """Some thing is under way to the host."""
        return self._telling > 0

    def put(self, frames: Iterable[Frame]) -> None:
        """Send these frames, after what is in the queue."""
        for frame in frames:
            if not self.is_open:
                self._ledger.under_way(frame).end("lost", "nobody had the port open")
            elif len(self._queue) >= QUEUE_MOST:
                self._ledger.under_way(frame).end("lost", "too much waited to be sent")
            else:
                self._plan(frame)

    def advance(self, now_s: float) -> Unplug | None:
        """Go on as far as the host and the pauses let it; the step at which the plug is to be pulled, if it came."""
        while self._queue:
            head = self._queue[0]
            if head.since_s is None:
                head.since_s = now_s
            match head.step:
                case Write(data) | Stray(data):
                    if not self._written(head, data, now_s):
                        break
                case Pause(wait_s):
                    if now_s < head.since_s + wait_s:
                        break
                case End():
                    assert head.delivery is not None
                    self._end(head.delivery, head.step)
                case Unplug(rough=rough):
                    self._confirm()
                    if not rough and self._unread_bytes and now_s < head.since_s + FAREWELL_S:
                        break
                    self._queue.popleft()
                    return head.step
            self._queue.popleft()
        self._confirm()
        return None

    def end(self, why: str) -> None:
        """The session is over: what was not sent is lost, and of what was not read nobody knows."""
        self._confirm()
        self._decide_all("uncertain", why)
        self._lose(why)
        self._begun = self._stray = b""

    # --- one frame ---------------------------------------------------------------------------------------------

    def _plan(self, frame: Frame) -> None:
        steps = self._cable.plan(frame, self._ledger.attempt(frame)).steps
        begins = True
        for step in steps:
            if isinstance(step, End):
                self._queue.append(_Queued(step, self._ledger.under_way(frame)))
                self._telling += bool(frame.things)
                begins = True
            else:
                self._queue.append(_Queued(step, begins=begins and isinstance(step, Write)))
                begins = begins and not isinstance(step, Write)

    def _written(self, head: _Queued, data: bytes, now_s: float) -> bool:
        """Write what fits; True when all of it is out."""
        assert head.since_s is not None
        if not head.offset and self._unread_bytes >= WINDOW_BYTES:
            self._confirm()
        taken = 0
        if head.offset or self._unread_bytes < WINDOW_BYTES:
            if head.begins and not head.offset:
                self._torn = False
                self._spoiled = bool(self._stray) and self._spoils(self._stray)
            try:
                taken = self._transport.send(data[head.offset :])
            except Gone:
                return False  # the rig will notice who went
        if taken:
            self._begun = (self._begun + data[head.offset : head.offset + taken])[-_STRAY_MOST_BYTES:]
            self._unread_bytes += taken
            head.offset, head.since_s = head.offset + taken, now_s
        elif now_s > head.since_s + WRITE_TIMEOUT_S:
            self._stray = self._begun
            self._lose("the host read nothing for a while")
            return False
        if head.offset < len(data):
            return False
        if isinstance(head.step, Stray):
            self._stray, self._begun = (self._stray + self._begun)[-_STRAY_MOST_BYTES:], b""
        return True

    def _end(self, delivery: Delivery, end: End) -> None:
        if end.lost:
            self._decide(delivery, "lost", end.lost)
        elif end.unsure:
            self._decide(delivery, "uncertain", end.unsure)
        else:
            self._begun = self._stray = b""
            if self._spoiled:
                self._decide(delivery, "lost", "what was sent before it had no end")
            elif self._torn:
                self._decide(delivery, "uncertain", THROWN_AWAY)
            else:
                self._unread.append(delivery)

    # --- what became of it -------------------------------------------------------------------------------------

    def _confirm(self) -> None:
        if not self._unread_bytes:
            return
        found = self._transport.confirm()
        if found == "read":
            self._decide_all("whole")
        elif found == "unknown":
            self._torn = bool(self._begun)
            self._decide_all("uncertain", THROWN_AWAY)

    def _decide_all(self, status: Status, why: str = "") -> None:
        """About everything that went out and was not read yet."""
        for delivery in self._unread:
            self._decide(delivery, status, why)
        self._unread.clear()
        self._unread_bytes = 0

    def _lose(self, why: str) -> None:
        """Whatever waits to be sent."""
        for queued in self._queue:
            if queued.delivery is not None:
                self._decide(queued.delivery, "lost", why)
        self._queue.clear()
        self._begun = b""

    def _decide(self, delivery: Delivery, status: Status, why: str) -> None:
        delivery.end(status, why)
        self._telling -= delivery.tells

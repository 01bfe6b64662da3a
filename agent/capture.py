"""What stands beside every event: which device, what it read, and how far this machine's clock can be believed."""

import base64
import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from devices.reads import BarcodeRead, TagRead

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
# adjtimex(2): with modes = 0 it only reads, and returns TIME_ERROR while the clock is not synchronised.
_TIME_ERROR: Final = 5
_TIMEX_BYTES: Final = 512  # struct timex has 208 bytes on 64-bit Linux
_CLOCK_AGE_NS: Final = 10_000_000_000  # asked again after so long: it changes rarely


def boot_id() -> str:
    """Which boot of this machine: monotonic times of one boot can be compared."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


def kernel_clock() -> str:
    """`synchronised`, `unsynchronised`, or `unknown` where the kernel does not tell."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return "unknown"
    answer = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if answer < 0:
        return "unknown"
    return "unsynchronised" if answer == _TIME_ERROR else "synchronised"


@dataclass(slots=True)
class Capture:
    """Makes the `capture` member of events, for one station."""

    station: str
    boot: str
    clock: Callable[[], str] = kernel_clock
    _clock_state: str = ""
    _asked_ns: int = 0

    def of_read(self, read: BarcodeRead) -> dict[str, Any]:
        """For an event that a scan caused."""
        members = {
            "symbology": read.symbology,
            "text": read.text,
            "source": read.source,
            "version": read.version,
            "still": read.still,
        }
        return self._of(read, members)

    def of_tag(self, read: TagRead, text: str) -> dict[str, Any]:
        """For an event that a tag caused; `text` is what it is shown as."""
        members = {
            "text": text,
            "epc": read.epc.hex().upper() if read.epc is not None else None,
            "tid": read.tid.hex().upper() if read.tid is not None else None,
            "antenna": read.antenna,
            "rssi_dbm": read.rssi_dbm,
            "rssi_raw": read.rssi_raw,
        }
        return self._of(read, members)

    def _of(self, read: BarcodeRead | TagRead, members: dict[str, Any]) -> dict[str, Any]:
        if not self._clock_state or read.monotonic_ns - self._asked_ns > _CLOCK_AGE_NS:
            self._clock_state, self._asked_ns = self.clock(), read.monotonic_ns
        capture = {
            "station": self.station,
            "device": read.device,
            "raw": base64.b64encode(read.raw).decode(),
            **members,
            "monotonic_ns": read.monotonic_ns,
            "boot": self.boot,
            "clock": self._clock_state,
        }
        return {name: value for name, value in capture.items() if value is not None}

    def of_page(self) -> dict[str, Any]:
        """For an event that a button on the page caused."""
        return {"station": self.station, "device": "page", "boot": self.boot}


def rfc3339(unix_s: float) -> str:
    """1763626530.123456 → 2025-11-20T08:15:30.123456Z."""
    moment = datetime.fromtimestamp(unix_s, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

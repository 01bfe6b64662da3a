"""Impinj R700 and other readers with the Impinj IoT device interface: events as JSON, one a line.

The one idea: over HTTP the reader is stopped, its stream is opened, and only then is its inventory started, so that
nothing it reads is missed. Of an event nothing is needed but the EPC, in hex or base64: what else an event tells is
a setting of the reader. A line over the bound is reported once and skipped up to the next one.

Source: Impinj IoT device interface, versions 1.x (a reader shows its own at /api/v1/openapi.json).
"""

from typing import Any, ClassVar

import msgspec

from devices.options import Option, choice, number, numbers, yes_or_no
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read, TagRead
from devices.wire.json_fields import (
    MAX_EPC,
    MAX_TID,
    NOT_JSON,
    base64_bytes,
    decimal,
    epc,
    hex_bytes,
    instant,
    text,
    whole,
)
from devices.wire.requests import Request, WebDriver

# An event has some 500 bytes; with all that a reader can be set to add, a few thousand.
MAX_LINE = 16_384

_STOP = Request("stopping the running profile", "POST", "/api/v1/profiles/stop")
_STOP_IF_ANY = Request(_STOP.name, _STOP.method, _STOP.path, optional=True)
_SYSTEM = Request("the question what it is", "GET", "/api/v1/system", optional=True)
_SEARCH_MODES = (
    "single-target",
    "dual-target",
    "reader-selected",
    "single-target-with-tagfocus",
    "single-target-b-to-a",
    "dual-target-with-b-to-a-select",
)


class _Tag(msgspec.Struct):
    """What is used of a tagInventoryEvent; a member of another type counts as absent."""

    epcHex: Any = None  # noqa: N815 - the device's names
    epc: Any = None
    tidHex: Any = None  # noqa: N815
    tid: Any = None
    pc: Any = None
    antennaPort: Any = None  # noqa: N815
    peakRssiCdbm: Any = None  # noqa: N815
    frequency: Any = None
    phaseAngle: Any = None  # noqa: N815
    lastSeenTime: Any = None  # noqa: N815


class _Event(msgspec.Struct):
    eventType: Any = None  # noqa: N815
    timestamp: Any = None
    tagInventoryEvent: _Tag | None = None  # noqa: N815


_decode = msgspec.json.Decoder(_Event).decode


class ImpinjR700(WebDriver):
    """The driver `impinj-r700`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("start", yes_or_no, True, "no: only listen; somebody else starts the reader's inventory"),
        Option("antennas", numbers(1, 32), (1,), "which antenna ports are used, such as 1,2"),
        Option("power_dbm", number(10, 33), 30, "transmit power at each antenna port"),
        Option("rf_mode", number(0, 9999), 4, "the reader's number for speed and coding of the radio"),
        Option("session", number(0, 3), 1, "the Gen2 session: how long a tag is silent once it was read"),
        Option("search_mode", choice(*_SEARCH_MODES), _SEARCH_MODES[0], "which tags answer, and when again"),
        Option("population", number(1, 65_535), 16, "about how many tags are in the field at once"),
    )
    MAX_FRAME: ClassVar[int] = MAX_LINE
    STREAM: ClassVar[str] = "/api/v1/data/stream"

    def __init__(
        self,
        device: str,
        *,
        start: bool = True,
        antennas: tuple[int, ...] = (1,),
        power_dbm: int = 30,
        rf_mode: int = 4,
        session: int = 1,
        search_mode: str = _SEARCH_MODES[0],
        population: int = 16,
    ) -> None:
        super().__init__(device)
        self._start = start
        antenna = {
            "transmitPowerCdbm": power_dbm * 100,
            "rfMode": rf_mode,
            "inventorySession": session,
            "inventorySearchMode": search_mode,
            "estimatedTagPopulation": population,
        }
        body = {"antennaConfigs": [{"antennaPort": port, **antenna} for port in antennas]}
        self._inventory = Request("starting the inventory", "POST", "/api/v1/profiles/inventory/start", body)
        self._buffer = bytearray()
        self._skipping = False

    # --- the requests around the stream -----------------------------------------------------------------------

    def before(self) -> tuple[Request, ...]:
        """Who it is, and stop what may be running: an inventory is started only where none is."""
        return (_SYSTEM, _STOP_IF_ANY) if self._start else (_SYSTEM,)

    def after(self) -> tuple[Request, ...]:
        """Start, as the options say."""
        return (self._inventory,) if self._start else ()

    def farewell(self) -> tuple[Request, ...]:
        """A reader that nobody listens to need not transmit."""
        return (_STOP,) if self._start else ()

    def answered(self, request: Request, body: bytes) -> None:
        """What it is."""
        if request is not _SYSTEM:
            return
        try:
            system = msgspec.json.decode(body)
        except NOT_JSON:
            return
        if isinstance(system, dict):
            names = (text(system.get(name), 100) for name in ("productModel", "productDescription"))
            self.model = next((name for name in names if name and name.isprintable()), self.model)

    # --- the stream -------------------------------------------------------------------------------------------

    def open(self, now: Moment) -> None:
        """Forget a half line; what the reader is, it said just before."""
        self._forget()

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """The events that these bytes complete."""
        buffer, reads = self._buffer, list[Read]()
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            lines[0] = bytes(buffer + lines[0])
            buffer.clear()
            if self._skipping:
                self._skipping = False
                del lines[0]
            for line in lines:
                # Empty lines keep the connection alive.
                if line and (bare := line.strip()):
                    self._line(bare, now, reads)
        if not self._skipping:
            buffer += rest
            if len(buffer) > MAX_LINE:
                self._too_long(bytes(buffer[:MAX_SAMPLE]), now, reads)
                self._skipping = True
                buffer.clear()
        return reads

    def close(self, now: Moment) -> list[Read]:
        """A half line at the end of the stream is reported; at the end of a recording it may be a whole one."""
        line, reads = bytes(self._buffer).strip(), list[Read]()
        self._forget()
        if line:
            if line.endswith(b"}"):
                self._line(line, now, reads)
            else:
                reads.append(self._bad("the stream ended in the middle of an event", line, now))
        return reads

    def _forget(self) -> None:
        self._buffer.clear()
        self._skipping = False

    def _line(self, line: bytes, now: Moment, reads: list[Read]) -> None:
        if len(line) > MAX_LINE:
            self._too_long(line, now, reads)
            return
        try:
            event = _decode(line)
        except NOT_JSON:
            reads.append(self._bad("a line that is no event in JSON", line, now))
            return
        tag = event.tagInventoryEvent
        if tag is not None:
            reads.append(self._tag(tag, event.timestamp, line, now))
        elif event.eventType == "tagInventory":
            reads.append(self._bad("a tagInventory event without a tag", line, now))

    def _tag(self, tag: _Tag, timestamp: object, line: bytes, now: Moment) -> Read:
        code = epc(hex_bytes(tag.epcHex, MAX_EPC) or base64_bytes(tag.epc, MAX_EPC))
        if code is None:
            reason = "a tag without an EPC: let the reader report epcHex or epc (eventConfig of its profile)"
            return self._bad(reason, line, now)
        pc = base64_bytes(tag.pc, 2)
        rssi = decimal(tag.peakRssiCdbm, -20_000, 5_000)
        seen_at = instant(tag.lastSeenTime)
        return TagRead(
            self.device,
            line,
            code,
            now.unix_s,
            now.monotonic_ns,
            antenna=whole(tag.antennaPort, 1, 255),
            rssi_dbm=None if rssi is None else rssi / 100,
            pc=int.from_bytes(pc, "big") if pc is not None and len(pc) == 2 else None,
            tid=hex_bytes(tag.tidHex, MAX_TID) or base64_bytes(tag.tid, MAX_TID),
            frequency_khz=whole(tag.frequency, 1, 10_000_000),
            phase_deg=decimal(tag.phaseAngle, -360, 360),
            seen_at=instant(timestamp) if seen_at is None else seen_at,
        )

    def _too_long(self, line: bytes, now: Moment, reads: list[Read]) -> None:
        reads.append(self._bad(f"a line of more than {MAX_LINE} bytes, which is no event", line, now))

    def _bad(self, reason: str, line: bytes, now: Moment) -> BadFrame:
        return BadFrame(self.device, reason, line[:MAX_SAMPLE], now.unix_s)

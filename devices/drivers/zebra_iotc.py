"""Zebra fixed readers (FX7500, FX9600, ATR7000) and RFID sleds (RFD40, RFD90) with the IoT Connector: events as JSON.

The one idea: `idHex` is all that is needed of a tag, and `eventNum` of an event: the reader counts its events, so one
that comes twice is read once, and one that never came is missed aloud. Events follow each other with nothing between
them, however the bytes are cut (`devices.wire.json_objects`). A sled puts many tags, and barcodes, into one event.

Sources: Zebra IoT Connector, "Tag data events"; Zebra RFD40/RFD90 MQTT API reference, dataEVT.
"""

from collections import deque
from typing import Any, ClassVar

import msgspec

from devices.driver import ByteDriver, earliest
from devices.options import Option, choice
from devices.reads import MAX_SAMPLE, BadFrame, BarcodeRead, Moment, Read, TagRead
from devices.wire.json_fields import MAX_EPC, MAX_TID, NOT_JSON, decimal, epc, hex_bytes, instant, text, whole
from devices.wire.json_objects import ObjectScanner, Skipped
from devices.wire.symbologies import AIM_ID

NS_PER_S = 1_000_000_000
# A reader's event has some 300 bytes; a sled puts all that it read since the last one into one.
MAX_EVENT = 262_144
# An event arrives whole within milliseconds; what is unfinished after so long was broken off.
STALL_S = 1
# So many events are remembered to know them again: a reader that reconnects may send its last ones once more.
REMEMBERED = 1024
# A topic with wildcards may bring several readers, each with its own count.
MAX_READERS = 64
# How long it is said that events are missing.
MISSING_S = 300
_MAX_COUNT = 1 << 63


class _Data(msgspec.Struct):
    """What is used of a tag's record; a member of another type counts as absent."""

    idHex: Any = None  # noqa: N815 - the device's names
    eventNum: Any = None  # noqa: N815
    MAC: Any = None
    antenna: Any = None
    peakRssi: Any = None  # noqa: N815
    reads: Any = None
    PC: Any = None
    TID: Any = None
    phase: Any = None
    channel: Any = None
    decodedBarcode: Any = None  # noqa: N815
    symbology: Any = None


class _Batch(_Data):
    tagData: list[msgspec.Raw] | None = None  # noqa: N815
    barcodeData: list[msgspec.Raw] | None = None  # noqa: N815


class _Event(msgspec.Struct):
    timestamp: Any = None
    data: _Batch | None = None


_event = msgspec.json.Decoder(_Event).decode
_record = msgspec.json.Decoder(_Data).decode


class ZebraIotc(ByteDriver):
    """The driver `zebra-iotc`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option(
            "duplicates",
            choice("drop", "keep"),
            "drop",
            "drop: an event that comes a second time is not read",
        ),
    )
    MAX_FRAME: ClassVar[int] = MAX_EVENT

    def __init__(self, device: str, *, duplicates: str = "drop") -> None:
        super().__init__(device)
        self._drop = duplicates == "drop"
        self._scanner = ObjectScanner(MAX_EVENT)
        self._stalled_ns: int | None = None
        self._missing_ns: int | None = None
        self._counts: dict[str, int] = {}
        self._order: deque[int] = deque()
        self._known: set[int] = set()

    def open(self, now: Moment) -> None:
        """Forget half an event. What was read is remembered: a reader counts on while nobody listens."""
        self._scanner.clear()
        self._stalled_ns = None

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """The events that these bytes complete."""
        reads: list[Read] = []
        for item in self._scanner.feed(data):
            self._take(item, now, reads)
        self._stalled_ns = now.monotonic_ns + STALL_S * NS_PER_S if self._scanner.waits else None
        return reads

    def due_ns(self) -> int | None:
        """When an unfinished event counts as none, or when missing events are old news."""
        return earliest(self._stalled_ns, self._missing_ns)

    def tick(self, now: Moment) -> list[Read]:
        """Give up what is unfinished; forget what was missing."""
        if self._missing_ns is not None and now.monotonic_ns >= self._missing_ns:
            self._missing_ns = self.warning = None
        if self._stalled_ns is not None and now.monotonic_ns >= self._stalled_ns:
            return self.close(now)
        return []

    def close(self, now: Moment) -> list[Read]:
        """Nothing more will come of an unfinished event; what stands behind its first byte may be one."""
        reads: list[Read] = []
        for item in self._scanner.end():
            self._take(item, now, reads)
        self._stalled_ns = None
        return reads

    def _take(self, item: bytes | Skipped, now: Moment, reads: list[Read]) -> None:
        if isinstance(item, Skipped):
            reason = f"{item.count} bytes that are no event: a broken one, or another program's data"
            reads.append(BadFrame(self.device, reason, item.sample, now.unix_s))
            return
        try:
            event = _event(item)
        except NOT_JSON:
            reads.append(self._bad("an object that is no event in JSON", item, now))
            return
        data = event.data
        if data is None:
            if event.timestamp is None:  # else an event of the reader about itself
                reads.append(self._bad("an object that is no event", item, now))
            return
        if data.idHex is not None:
            self._tag(data, event.timestamp, item, now, reads)
        for raw in (*(data.tagData or ()), *(data.barcodeData or ())):
            self._one_of_many(bytes(raw), event.timestamp, now, reads)

    def _one_of_many(self, raw: bytes, timestamp: object, now: Moment, reads: list[Read]) -> None:
        try:
            record = _record(raw)
        except NOT_JSON:
            reads.append(self._bad("a tag or barcode that is no object", raw, now))
            return
        if record.decodedBarcode is not None:
            self._barcode(record, raw, now, reads)
        else:
            self._tag(record, timestamp, raw, now, reads)

    def _tag(self, data: _Data, timestamp: object, raw: bytes, now: Moment, reads: list[Read]) -> None:
        code = epc(hex_bytes(data.idHex, MAX_EPC))
        if code is None:
            reads.append(self._bad("a record without an EPC in idHex or a barcode", raw, now))
            return
        number = whole(data.eventNum, 0, _MAX_COUNT)
        if number is not None and self._is_known(data, number, timestamp, now):
            return
        pc = hex_bytes(data.PC, 2)
        channel_mhz = decimal(data.channel, 100, 10_000)
        reads.append(
            TagRead(
                self.device,
                raw,
                code,
                now.unix_s,
                now.monotonic_ns,
                antenna=whole(data.antenna, 1, 255),
                rssi_dbm=decimal(data.peakRssi, -200, 50),
                pc=int.from_bytes(pc, "big") if pc is not None and len(pc) == 2 else None,
                tid=hex_bytes(data.TID, MAX_TID),
                frequency_khz=None if channel_mhz is None else round(channel_mhz * 1000),
                phase_deg=decimal(data.phase, -360, 360),
                count=whole(data.reads, 1, 1_000_000_000) or 1,
                seen_at=instant(timestamp),
            )
        )

    def _barcode(self, data: _Data, raw: bytes, now: Moment, reads: list[Read]) -> None:
        code = text(data.decodedBarcode, MAX_EVENT)
        if code is None:
            reads.append(self._bad("a barcode without text", raw, now))
            return
        # The names of symbologies are the maker's; only an AIM id says what everybody knows.
        named = text(data.symbology, 3)
        symbology = named if named is not None and AIM_ID.fullmatch(named.encode()) else None
        reads.append(BarcodeRead(self.device, code.encode(), code, symbology, now.unix_s, now.monotonic_ns))

    # --- the reader's count -----------------------------------------------------------------------------------

    def _is_known(self, data: _Data, number: int, timestamp: object, now: Moment) -> bool:
        """Whether this very event was read before. A reader that was restarted counts anew, at another time."""
        reader = text(data.MAC, 64) or ""
        key = hash((reader, number, data.idHex, timestamp if isinstance(timestamp, str) else None))
        if key in self._known:
            return self._drop
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > REMEMBERED:
            self._known.discard(self._order.popleft())
        last = self._counts.pop(reader, None)
        self._counts[reader] = number
        if len(self._counts) > MAX_READERS:
            del self._counts[next(iter(self._counts))]
        if last is not None and number > last + 1:
            self._missed(last, number, now)
        return False

    def _missed(self, last: int, number: int, now: Moment) -> None:
        # The first gap is told, and how long it has been since the latest: not every one anew.
        if self.warning is None:
            self.warning = (
                f"events of the reader are missing: its count went from {last} to {number};"
                " check the network, and how long the reader keeps what it cannot send"
            )
        self._missing_ns = now.monotonic_ns + MISSING_S * NS_PER_S

    def _bad(self, reason: str, raw: bytes, now: Moment) -> BadFrame:
        return BadFrame(self.device, reason, raw[:MAX_SAMPLE], now.unix_s)

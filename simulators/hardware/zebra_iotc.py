"""A Zebra FX9600 with the IoT Connector, or with `model=sled` an RFD40: JSON, one object after another.

Facts: Zebra's IoT Connector and RFD40/RFD90 API references. Events have no delimiter; their number counts up from 1
at power-up; the offset of a time has no colon. A sled puts its tags into a list.
"""

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

from simulators.hardware.device import Device, Frame, Thing

_MAC: Final = "C4:7D:CC:00:00:01"
_USUAL_RSSI_DBM: Final = -60
_POWER_ON: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock that nobody has set."""


class ZebraIotc(Device):
    """The kind `zebra-iotc`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {"model": "fixed or sled (usually fixed)"}
    PORTS: ClassVar[tuple[str, ...]] = ("tcp", "mqtt")

    def __init__(self, rng: random.Random, *, model: str = "fixed") -> None:
        super().__init__(rng)
        if model not in ("fixed", "sled"):
            raise ValueError(f"model is fixed or sled, not {model!r}")
        self._sled = model == "sled"
        self._number = 0

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """Each tag is an event."""
        self._number += 1
        tag: dict[str, object] = {
            "MAC": _MAC,
            "antenna": thing.antenna or 1,
            "eventNum": self._number,
            "format": "epc",
            "idHex": thing.epc_bytes.hex().upper(),
            "peakRssi": _USUAL_RSSI_DBM if thing.rssi_dbm is None else thing.rssi_dbm,
            "reads": 1,
        }
        if thing.tid is not None:
            tag["TID"] = thing.tid.upper()
        at = (_POWER_ON + timedelta(seconds=now_s)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
        whole = {
            "type": "INVENTORY" if self._sled else "SIMPLE",
            "timestamp": at,
            "data": {"tagData": [tag]} if self._sled else tag,
        }
        return [Frame(json.dumps(whole, separators=(",", ":")).encode(), (thing,))]

    def unplugged(self) -> None:
        """It counts anew."""
        self._number = 0

    def survives(self, data: bytes, damaged: bytes) -> bool:
        """There is no checksum: what is JSON with the same EPC is read, whatever else became of it."""
        return bool(_ids(damaged) & _ids(data))


def _ids(event: bytes) -> set[str]:
    try:
        data = json.loads(event.decode(errors="replace"), strict=False)["data"]
        return {str(tag["idHex"]).upper() for tag in data.get("tagData", [data])}
    except (ValueError, TypeError, KeyError, AttributeError):
        return set()

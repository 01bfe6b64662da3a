"""An Impinj R700 with its IoT device interface: a web server, and one long answer with an event in each line.

Facts: the interface's own description (a reader shows it at /api/v1/openapi.json). Profiles are stopped and started
with POST and answered 204; the stream is lines of JSON, and an empty line now and then while nothing is read; EPC
and TID come in base64 with the URL's alphabet, and in hex where the reader is set to.
"""

import base64
import contextlib
import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from simulators.hardware.device import Answer, Device, Frame, Thing

STREAM: Final = "/api/v1/data/stream"
_EMPTY_LINE_S: Final = 5.0
_USUAL_RSSI_DBM: Final = -60
_POWER_ON: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock that nobody has set."""
_NEEDED: Final = frozenset(
    {
        "antennaPort",
        "transmitPowerCdbm",
        "rfMode",
        "inventorySession",
        "inventorySearchMode",
        "estimatedTagPopulation",
    }
)
"""What the inventory of an antenna must say."""


def event(epc: bytes, *, epc_hex: bool, at: str, **more: object) -> bytes:
    """One tag as a line."""
    tag: dict[str, object] = {"epc": base64.urlsafe_b64encode(epc).decode()}
    if epc_hex:
        tag["epcHex"] = epc.hex().upper()
    whole = {"timestamp": at, "hostname": "impinj-00-00-01", "eventType": "tagInventory"}
    return (
        json.dumps({**whole, "tagInventoryEvent": {**tag, **more}}, separators=(",", ":")).encode() + b"\r\n"
    )


class ImpinjR700(Device):
    """The kind `impinj-r700`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "epc": "how it says EPCs: hex (and base64), or base64 alone (usually hex)",
        "power_up": "running or stopped: whether its inventory runs when it gets power (usually running)",
        "user": "who may ask; empty: everybody (usually empty)",
        "password": "of that user",
    }
    PORTS: ClassVar[tuple[str, ...]] = ("https", "http", "tcp")

    def __init__(
        self,
        rng: random.Random,
        *,
        epc: str = "hex",
        power_up: str = "running",
        user: str = "",
        password: str = "",
    ) -> None:
        super().__init__(rng)
        if epc not in ("hex", "base64"):
            raise ValueError(f"epc is hex or base64, not {epc!r}")
        if power_up not in ("running", "stopped"):
            raise ValueError(f"power_up is running or stopped, not {power_up!r}")
        self._hex, self._power_up = epc == "hex", power_up == "running"
        self._login = (user, password) if user else None
        self.running = self._power_up
        self.inventory: Any = None
        """What it was started with last."""
        self._read_by: float | None = None

    # --- the web server ----------------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: bytes, login: tuple[str, str] | None, now_s: float
    ) -> Answer:
        """Profiles, the stream and the system; nothing else."""
        if self._login is not None and login != self._login:
            return Answer(401, b'{"message":"Unauthorized"}')
        match method, path:
            case "GET", "/api/v1/data/stream":
                return Answer(200, stream=True)
            case "GET", "/api/v1/system":
                return Answer(200, b'{"productModel":"R700","serialNumber":"370-00-00-0001"}')
            case "POST", "/api/v1/profiles/stop":
                self.running = False
                return Answer(204)
            case "POST", "/api/v1/profiles/inventory/start":
                return self._start(body)
        return Answer(404, b'{"message":"Not found"}')

    def _start(self, body: bytes) -> Answer:
        if self.running:
            return Answer(409, b'{"message":"A profile is running"}')
        try:
            inventory = json.loads(body)
            antennas = inventory["antennaConfigs"]
            complete = all(set(antenna) >= _NEEDED for antenna in antennas)
        except (ValueError, TypeError, KeyError):
            complete = False
        if not complete:
            return Answer(400, b'{"message":"Invalid inventory"}')
        self.running, self.inventory = True, inventory
        return Answer(204)

    # --- the stream --------------------------------------------------------------------------------------------

    def opened(self, now_s: float) -> list[Frame]:
        """Somebody reads the stream."""
        self._read_by = now_s
        return []

    def closed(self, now_s: float) -> None:
        """Nobody does; an inventory runs on."""
        self._read_by = None

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """A tag is told at once while an inventory runs, and found by the next one otherwise."""
        if not self.running:
            self.field.put(thing)
            return []
        return [self._tag(thing, now_s)]

    def due_s(self) -> float | None:
        """At once when an inventory began with tags in the field, else for the next empty line."""
        if self.running and self.field.things:
            return 0.0
        return None if self._read_by is None else self._read_by + _EMPTY_LINE_S

    def tick(self, now_s: float) -> list[Frame]:
        """What is in the field; or an empty line, that nobody thinks it is dead."""
        frames = (
            [self._tag(thing, now_s) for thing in self.field.take(len(self.field))] if self.running else []
        )
        if self._read_by is not None and now_s >= self._read_by + _EMPTY_LINE_S:
            self._read_by = now_s
            frames.append(Frame(b"\r\n"))
        return frames

    def unplugged(self) -> None:
        """It starts anew."""
        self.running, self.inventory, self._read_by = self._power_up, None, None

    def spoils(self, stray: bytes) -> bool:
        """What has no end belongs to the next line; white space in front of an object is nothing."""
        return bool(stray.rpartition(b"\n")[2].strip())

    def survives(self, data: bytes, damaged: bytes) -> bool:
        """There is no checksum: a line that is JSON with the same EPC is read, whatever else became of it."""
        return any(_epcs(line) & _epcs(data) for line in damaged.split(b"\n"))

    def _tag(self, thing: Thing, now_s: float) -> Frame:
        at = (_POWER_ON + timedelta(seconds=now_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rssi_dbm = _USUAL_RSSI_DBM if thing.rssi_dbm is None else thing.rssi_dbm
        more: dict[str, object] = {} if thing.tid is None else {"tidHex": thing.tid.upper()}
        more |= {
            "pc": base64.b64encode(thing.pc.to_bytes(2, "big")).decode(),
            "antennaPort": thing.antenna or 1,
            "peakRssiCdbm": rssi_dbm * 100,
            "frequency": 866300,
            "lastSeenTime": at,
        }
        return Frame(event(thing.epc_bytes, epc_hex=self._hex, at=at, **more), (thing,))


def _epcs(line: bytes) -> set[str]:
    """The EPCs that somebody who is not strict could read in this line, in hex."""
    found = set[str]()
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        tag = json.loads(line.decode(errors="replace"), strict=False)["tagInventoryEvent"]
        found.add(str(tag.get("epcHex")).upper())
        found.add(base64.urlsafe_b64decode(str(tag["epc"])).hex().upper())
    return found

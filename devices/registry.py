"""Which drivers there are: one line each, imported when asked for.

A new driver is one file and one line here.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from devices.driver import ByteDriver, ImageDriver
from devices.errors import Misconfigured, MissingPart
from devices.options import nearest, take
from devices.ports.film import is_film
from devices.ports.url import OPTIONS, SILENCE, STILLS, WITH_PATH, Port, check_together, parse_port, shown


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a driver is and what feeds it."""

    target: str
    """`module:Class`."""
    schemes: tuple[str, ...]
    """The kinds of ports it can sit on."""
    images: bool = False
    """It decodes images, not bytes."""
    tags: bool = False
    """It reads radio tags: many sightings of many things at once, where a barcode reader sees one code at a time."""
    antennas: bool = False
    """It tells which of its antennas heard a tag."""
    cards: bool = False
    """Its tags have no EPC: each is held up on purpose, and is nowhere."""


_LINES = ("serial", "tcp", "file")

DRIVERS: dict[str, Entry] = {
    "text-line": Entry("devices.drivers.text_line:TextLine", _LINES),
    "zebra-ssi": Entry("devices.drivers.zebra_ssi:ZebraSsi", _LINES),
    "keyboard-wedge": Entry("devices.drivers.keyboard_wedge:KeyboardWedge", ("evdev", "file")),
    "hid-pos": Entry("devices.drivers.hid_pos:HidPos", ("hidraw", "file")),
    "m100": Entry("devices.drivers.m100:M100", _LINES, tags=True),
    "chafon": Entry("devices.drivers.chafon:Chafon", _LINES, tags=True, antennas=True),
    "rdm6300": Entry("devices.drivers.rdm6300:Rdm6300", _LINES, tags=True, cards=True),
    "a0": Entry("devices.drivers.a0:A0", _LINES, tags=True, antennas=True),
    "thingmagic": Entry("devices.drivers.thingmagic:ThingMagic", _LINES, tags=True, antennas=True),
    "llrp": Entry("devices.drivers.llrp:Llrp", ("tcp", "file"), tags=True, antennas=True),
    "impinj-r700": Entry(
        "devices.drivers.impinj_r700:ImpinjR700", ("https", "http", "tcp", "file"), tags=True, antennas=True
    ),
    "zebra-iotc": Entry(
        "devices.drivers.zebra_iotc:ZebraIotc", ("tcp", "mqtt", "mqtts", "file"), tags=True, antennas=True
    ),
    "camera": Entry("devices.drivers.camera:Camera", ("camera", "rtsp", "mjpeg", "file"), images=True),
}


# What must be installed for a kind of port, or for images: the modules, and the extra that brings them.
_PARTS: dict[str, tuple[tuple[str, ...], str]] = {
    "serial": (("serial",), "agent"),
    **dict.fromkeys(("http", "https"), (("httpx2",), "agent")),
    **dict.fromkeys(("mqtt", "mqtts"), (("paho",), "agent")),
    "images": (("cv2", "numpy", "zxingcpp"), "camera"),
}


@dataclass(frozen=True, slots=True)
class Setup:
    """A device as configured: everything checked, nothing opened."""

    byte_driver: ByteDriver | None
    image_driver: ImageDriver | None
    """Exactly one of the two."""
    port: Port
    options: dict[str, Any]
    """The port's own options, as values."""

    @property
    def replays(self) -> bool:
        """Whether the port is a recording, which is played from its beginning whenever it is opened. Images are
        none: each is known by itself once it was read.
        """
        return self.port.scheme == "file" and (self.image_driver is None or is_film(self.port.path))


def set_up(name: str, driver: str, url: str) -> Setup:
    """Build the driver and check the URL and every option. Raises `Misconfigured`; `tallyman check` asks this too."""
    if driver not in DRIVERS:
        raise Misconfigured(f"device {name!r}: unknown driver {driver!r}{nearest(driver, DRIVERS)}")
    entry = DRIVERS[driver]
    port = parse_port(url)
    if port.scheme not in entry.schemes:
        kinds = " or ".join(f"{scheme}:" for scheme in entry.schemes)
        raise Misconfigured(f"device {name!r}: driver {driver} reads from {kinds}, not from {port.scheme}:")
    _require(name, "images" if entry.images else port.scheme)
    module, _, cls = entry.target.partition(":")
    factory = getattr(importlib.import_module(module), cls)
    of_driver = {option.name for option in factory.OPTIONS}
    of_port = (*OPTIONS[port.scheme], SILENCE, *(STILLS if entry.images else ()))
    what = f"device {name!r}, port {shown(url)!r}"
    try:
        known = take(port.options, (*of_port, *factory.OPTIONS), what=what)
    except Misconfigured as problem:
        hint = "; what belongs to the camera's own address is written %3F instead of ?"
        raise Misconfigured(f"{problem}{hint if port.scheme in WITH_PATH else ''}") from None
    check_together(port, known)
    mine = {key: value for key, value in known.items() if key in of_driver}
    built = factory(name, **mine)
    rest = {key: value for key, value in known.items() if key not in of_driver}
    return Setup(None if entry.images else built, built if entry.images else None, port, rest)


def _require(name: str, what: str) -> None:
    modules, extra = _PARTS.get(what, ((), ""))
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingPart(
            f"device {name!r} needs {', '.join(missing)}; install it with: pip install 'tallyman[{extra}]'"
        )

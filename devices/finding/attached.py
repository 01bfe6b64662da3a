"""What is attached to this machine and may be a scanner, a reader or a camera. Nothing is opened here.

The one idea: look before asking. The kernel's own tables tell what a device is called, who made it and whether it
says of itself that it is a scanner; only what they leave open is worth a question (`devices.finding.asking`).
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

Kind = Literal["serial", "keyboard", "hidraw", "camera", "network"]
Surety = Literal["sure", "likely", "guess"]
"""It said so; what it is called or sends speaks for it; it may be, as nothing speaks against it."""

# Of each kind at the most; a machine with more has something else wrong.
MOST_OF_A_KIND = 64


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel shows things; other directories in tests."""

    dev: Path = Path("/dev")
    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    lock: Path = Path("/run/lock")


@dataclass(frozen=True, slots=True)
class Vendor:
    """A maker, by the number that its USB devices carry (usb.ids)."""

    name: str
    driver: str | None = None
    """What its devices usually need."""
    ask: tuple[str, ...] | None = None
    """The only drivers whose questions its devices are asked; None: all."""


# Scanners are asked nothing that they might take for something else; modems are left alone.
_SCANNERS: dict[int, Vendor] = {
    0x05E0: Vendor("Zebra, Symbol", "text-line", ("zebra-ssi",)),
    0x05F9: Vendor("Datalogic, PSC", "text-line", ()),
    0x080C: Vendor("Datalogic", "text-line", ()),
    0x0C2E: Vendor("Honeywell, Metrologic", "text-line", ()),
    0x0536: Vendor("Honeywell, Hand Held Products", "text-line", ()),
    0x1EAB: Vendor("Newland", "text-line", ()),
    0x065A: Vendor("Opticon", "text-line", ()),
}
_MODEMS: dict[int, Vendor] = {
    number: Vendor(name, None, ())
    for number, name in (
        (0x05C6, "Qualcomm"),
        (0x1199, "Sierra Wireless"),
        (0x12D1, "Huawei"),
        (0x19D2, "ZTE"),
        (0x1BC7, "Telit"),
        (0x2C7C, "Quectel"),
    )
}
VENDORS: dict[int, Vendor] = {**_SCANNERS, **_MODEMS}

# How makers call what types like a keyboard and is none.
_SCANNER_NAME = re.compile(
    r"bar.?code|scanner|symbol|zebra|honeywell|metrologic|datalogic|newland|opticon|imager|rfid|cardreader",
    re.IGNORECASE,
)
# Serial lines by the names that Linux drivers give them; Bluetooth's (rfcomm) among them.
_TTYS = ("ttyUSB*", "ttyACM*", "ttyXRUSB*", "ttyAMA*", "ttyAP*", "ttyS*", "rfcomm*")
_NAMELESS_HID = "it has no lasting name: install systemd/60-tallyman.rules, with a line for its maker"
# HID usage tables §1, usage page 8C: "Bar Code Scanner".
_SCANNER_PAGE = 0x8C


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that is attached, and what is known of it."""

    kind: Kind
    path: str
    """Its lasting name where it has one; of a network device, HOST:PORT."""
    port: str
    """The port URL that opens it."""
    node: str = ""
    """What it is called just now."""
    lasting: bool = True
    """Whether the path is still the same device's after it was plugged in again."""
    about: str = ""
    """What it is called by its maker."""
    usb: str | None = None
    """Vendor and product number, in hex."""
    driver: str | None = None
    sure: Surety | None = None
    why: str = ""
    """What speaks for that driver; or why none can be named."""
    notes: tuple[str, ...] = ()
    """What a person should know."""
    ask: tuple[str, ...] | None = ()
    """The drivers whose questions it may be asked; None: all of them."""


def attached(roots: Roots) -> list[Found]:
    """Everything, in the order in which it is worth a look."""
    return [*_serial_lines(roots), *_hid(roots), *_keyboards(roots), *_cameras(roots)]


# --- serial lines -------------------------------------------------------------------------------------------------


def _serial_lines(roots: Roots) -> Iterator[Found]:
    named: set[Path] = set()
    for link in _listed(roots.dev / "serial" / "by-id"):
        node = link.resolve()
        if node in named or not node.exists():
            continue
        named.add(node)
        yield _line(roots, link, node, lasting=True)
    others = [node for pattern in _TTYS for node in sorted(roots.dev.glob(pattern))][:MOST_OF_A_KIND]
    for node in others:
        if node.resolve() not in named and _is_there(roots, node.name):
            yield _line(roots, node, node.resolve(), lasting=False)


def _line(roots: Roots, path: Path, node: Path, *, lasting: bool) -> Found:
    usb = _usb(roots, roots.sys / "class" / "tty" / node.name / "device")
    vendor = VENDORS.get(usb.vendor) if usb is not None else None
    notes: list[str] = []
    if not lasting:
        notes.append("it has no lasting name: after plugging or a restart it may be called otherwise")
    ask = vendor.ask if vendor is not None else None
    why = f"made by {vendor.name}" if vendor is not None else ""
    if usb is not None and usb.vendor in _MODEMS:
        why = f"a modem ({why}); it was left alone"
    elif node.name.startswith("rfcomm"):
        ask = ()
        notes.append("a Bluetooth line: it was not asked, as opening it takes long")
    return Found(
        kind="serial",
        path=str(path),
        port=_url("serial", path),
        node=node.name if not node.name.isdigit() else str(node),
        lasting=lasting,
        about=usb.about if usb is not None else "",
        usb=usb.numbers if usb is not None else None,
        driver=vendor.driver if vendor is not None else None,
        sure="likely" if vendor is not None and vendor.driver is not None else None,
        why=why,
        notes=tuple(notes),
        ask=ask,
    )


def _is_there(roots: Roots, name: str) -> bool:
    """Whether there is hardware behind a tty: the kernel makes names for serial chips that a PC does not have."""
    if not name.startswith("ttyS"):
        return True
    entry = roots.sys / "class" / "tty" / name
    # Type 0 is PORT_UNKNOWN (linux/serial_core.h): no chip was found.
    return (entry / "device").exists() and _text(entry / "type") not in ("", "0")


# --- keyboards and HID --------------------------------------------------------------------------------------------


def _keyboards(roots: Roots) -> Iterator[Found]:
    for link in _listed(roots.dev / "input" / "by-id"):
        if not link.name.endswith("-event-kbd") or not link.exists():
            continue
        node = link.resolve()
        device = roots.sys / "class" / "input" / node.name / "device"
        vendor, product = _text(device / "id" / "vendor"), _text(device / "id" / "product")
        maker = _SCANNERS.get(_hex(vendor))
        name = _text(device / "name") or link.name
        looks = maker is not None or _SCANNER_NAME.search(f"{name} {link.name}") is not None
        yield Found(
            kind="keyboard",
            path=str(link),
            port=_url("evdev", link),
            node=node.name,
            about=name,
            usb=f"{vendor}:{product}" if vendor and product else None,
            driver="keyboard-wedge" if looks else None,
            sure="likely" if looks else None,
            why=(f"made by {maker.name}" if maker is not None else "it is called like a scanner")
            if looks
            else "a keyboard; if it is a scanner that types, its driver is keyboard-wedge",
            notes=_closed_to_us(link, "input"),
        )


def _hid(roots: Roots) -> Iterator[Found]:
    names = {link.resolve(): link for link in _listed(roots.dev / "tallyman")}
    for entry in _listed(roots.sys / "class" / "hidraw"):
        try:
            descriptor = (entry / "device" / "report_descriptor").read_bytes()
        except OSError:
            continue
        if _SCANNER_PAGE not in usage_pages(descriptor):
            continue
        node = roots.dev / entry.name
        path = names.get(node.resolve(), node)
        about, numbers = _hid_names(_text(entry / "device" / "uevent"))
        yield Found(
            kind="hidraw",
            path=str(path),
            port=_url("hidraw", path),
            node=entry.name,
            lasting=path != node,
            about=about,
            usb=numbers,
            driver="hid-pos",
            sure="likely",
            why="it says of itself that it is a barcode scanner (HID usage page 8C)",
            notes=(*(() if path != node else (_NAMELESS_HID,)), *_closed_to_us(path, "input")),
        )


def usage_pages(descriptor: bytes) -> set[int]:
    """The usage pages that a HID report descriptor speaks of (HID 1.11 §6.2.2). Never raises."""
    pages: set[int] = set()
    at = 0
    while at < len(descriptor):
        prefix = descriptor[at]
        if prefix == 0xFE:  # a long item: its size stands in the next byte
            at += 3 + (descriptor[at + 1] if at + 1 < len(descriptor) else 0)
            continue
        size = (0, 1, 2, 4)[prefix & 3]
        if prefix & 0xFC == 0x04:  # global item, tag 0: usage page
            pages.add(int.from_bytes(descriptor[at + 1 : at + 1 + size], "little"))
        at += 1 + size
    return pages


def _hid_names(uevent: str) -> tuple[str, str | None]:
    """The name, and `vendor:product`, from lines such as HID_ID=0003:000005E0:00001300."""
    members = dict(line.split("=", 1) for line in uevent.splitlines() if "=" in line)
    parts = members.get("HID_ID", "").split(":")
    numbers = f"{parts[1][-4:]}:{parts[2][-4:]}".lower() if len(parts) == 3 else None
    return members.get("HID_NAME", ""), numbers


# --- cameras ------------------------------------------------------------------------------------------------------


def _cameras(roots: Roots) -> Iterator[Found]:
    for link in _listed(roots.dev / "v4l" / "by-id"):
        # The further indexes of one camera deliver metadata, or the same pictures.
        if not link.name.endswith("-video-index0") or not link.exists():
            continue
        node = link.resolve()
        yield Found(
            kind="camera",
            path=str(link),
            port=_url("camera", link),
            node=node.name,
            about=_text(roots.sys / "class" / "video4linux" / node.name / "name") or link.name,
            driver="camera",
            sure="likely",
            why="it delivers pictures",
            notes=_closed_to_us(link, "video"),
        )


# --- what the kernel tells ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Usb:
    vendor: int
    numbers: str
    about: str


def _usb(roots: Roots, device: Path) -> _Usb | None:
    """The USB device that this belongs to: the first directory above that has a vendor number."""
    place = device.resolve()
    for above in (place, *place.parents):
        vendor = _text(above / "idVendor")
        if vendor:
            about = f"{_text(above / 'manufacturer')} {_text(above / 'product')}".strip()
            return _Usb(_hex(vendor), f"{vendor}:{_text(above / 'idProduct')}", about)
        if above == roots.sys:
            break
    return None


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1


def _text(path: Path) -> str:
    """A small file of the kernel's, as one that can be shown; empty if it is not there."""
    try:
        with path.open("rb") as file:
            content = file.read(4096).decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return ""
    # Names come from the device: whatever it says, a terminal shows it and does not obey it.
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in content)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:MOST_OF_A_KIND]
    except OSError:
        return []


def _closed_to_us(path: Path, group: str) -> tuple[str, ...]:
    if os.access(path, os.R_OK):
        return ()
    return (f"this user may not open it: add it to the group that owns it (often {group})",)


def _url(scheme: str, path: Path) -> str:
    return f"{scheme}://{quote(os.fsencode(path), safe='/:,+=@')}"

"""Port URLs: parsed once, checked wholly, before anything is opened."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from devices.errors import Misconfigured
from devices.options import Option, choice, nearest, number, yes_or_no

EXAMPLES = {
    "serial": "serial:///dev/serial/by-id/usb-…?baud=9600",
    "tcp": "tcp://192.0.2.7:2101",
    "evdev": "evdev:///dev/input/by-id/usb-…-event-kbd",
    "hidraw": "hidraw:///dev/hidraw0",
    "file": "file:///var/lib/tallyman/images",
    "camera": "camera://0",
}

# What each kind of port understands; what is not listed here belongs to the driver.
OPTIONS: dict[str, tuple[Option, ...]] = {
    "serial": (
        Option("baud", number(50, 4_000_000), None, "bits per second; left out: what such devices use"),
        Option("parity", choice("none", "even", "odd"), "none", "parity"),
        Option("bits", number(7, 8), 8, "data bits"),
        Option("stop", number(1, 2), 1, "stop bits"),
        Option("rtscts", yes_or_no, False, "hardware flow control"),
    ),
    "tcp": (),
    "evdev": (
        Option("grab", yes_or_no, True, "yes: nobody else gets its keys, such as the console; no: everybody"),
    ),
    "hidraw": (),
    "file": (
        Option(
            "once", yes_or_no, None, "yes: read what is there, then end; a directory is watched otherwise"
        ),
        Option(
            "existing", choice("read", "skip"), "read", "what to do with images already there at the start"
        ),
    ),
    "camera": (),
}
# For every port.
SILENCE = Option("silent_s", number(0, 86_400), 0, "report `silent` after so long without a byte; 0: never")


@dataclass(frozen=True, slots=True)
class Port:
    """A port URL, taken apart. `options` holds what the query says, as text and unchecked."""

    url: str
    scheme: str
    path: str
    """serial, file: the path; camera: a number or a path."""
    host: str
    number: int
    """tcp: host and port number."""
    options: dict[str, str]


def parse_port(url: str) -> Port:
    """Take a port URL apart. Raises `Misconfigured` (`PortError`): what is wrong, and an example of what is right."""
    if not url.isprintable() or len(url) > 2048:
        raise Misconfigured(
            f"port {url[:60]!r}: a URL has no control characters and at most 2,048 characters"
        )
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as problem:
        raise Misconfigured(
            f"port {url!r} is not a URL: {problem}; write it like {EXAMPLES['serial']}"
        ) from None
    scheme = parts.scheme.lower()
    if scheme not in EXAMPLES:
        known = "" if "://" in url else f"; write it like {EXAMPLES['serial']}"
        raise Misconfigured(f"port {url!r}: unknown kind {scheme!r}{nearest(scheme, EXAMPLES)}{known}")
    if "#" in url:
        raise Misconfigured(f"port {url!r}: write # as %23, else what follows it is lost")
    names = [name for name, _ in query]
    for name in names:
        if names.count(name) > 1:
            raise Misconfigured(f"port {url!r}: option {name!r} is given twice")
    path, host, number_ = unquote(parts.path), "", 0
    if scheme == "tcp":
        host, number_ = _address(url, parts.netloc, parts.path)
    elif scheme == "camera" and not path:
        path = _camera(url, parts.netloc)
    elif parts.netloc or not path.startswith("/") or path == "/" or "\x00" in path:
        raise Misconfigured(f"port {url!r}: needs a path after three slashes, like {EXAMPLES[scheme]}")
    return Port(url, scheme, path, host, number_, dict(query))


def _address(url: str, netloc: str, path: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{netloc}")
        host, number_ = parts.hostname, parts.port
        (host or "").encode("idna")  # as the resolver will write it: no empty and no over-long part
    except ValueError:
        host, number_ = None, None
    if not host or not number_ or path not in ("", "/") or "@" in netloc:
        raise Misconfigured(f"port {url!r}: needs a host and a port number, like {EXAMPLES['tcp']}")
    return host, number_


def _camera(url: str, name: str) -> str:
    if not (name.isascii() and name.isdigit() and int(name[:4]) <= 255 and len(name) <= 3):
        raise Misconfigured(
            f"port {url!r}: needs the number or the path of a camera, like camera://0 or camera:///dev/video0"
        )
    return name

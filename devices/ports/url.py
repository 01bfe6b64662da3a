"""Port URLs: parsed once, checked wholly, before anything is opened."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
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
    "rtsp": "rtsp://192.0.2.7/stream1",
    "mjpeg": "mjpeg://192.0.2.7/video.mjpg",
    "https": "https://192.0.2.7?user=root&password_file=/etc/tallyman/reader.password",
    "http": "http://192.0.2.7:8080",
    "mqtts": "mqtts://192.0.2.7:8883?topic=readers/dock-1&user=dock&password_file=/etc/tallyman/broker.password",
    "mqtt": "mqtt://192.0.2.7:1883?topic=readers/dock-1",
}
# The kinds that have a host, and the port number that such devices have where the URL names none.
_HOSTS = {"tcp": None, "https": 443, "http": 80, "mqtts": 8883, "mqtt": 1883, "rtsp": 554, "mjpeg": 80}
# Of these, the kinds that have a path too: which of its pictures a camera is asked for.
WITH_PATH = ("rtsp", "mjpeg")


def _file(text: str) -> str:
    """An absolute path, or the name of a systemd credential. It is read whenever the port is opened, not now."""
    if "\0" in text or not text or not (Path(text).is_absolute() or re.fullmatch(r"[\w.-]{1,255}", text)):
        raise ValueError(f"must be a whole path from / on, or the name of a systemd credential, not {text!r}")
    return text


def directory(text: str) -> Path:
    """A whole path."""
    if "\0" in text or not Path(text).is_absolute():
        raise ValueError(f"must be a whole path from / on, not {text!r}")
    return Path(text)


def _fourcc(text: str) -> str:
    """Four characters that name a format of pictures, such as MJPG (V4L2, `v4l2-ctl --list-formats`)."""
    if not (text.isascii() and text.isprintable() and len(text) == 4):
        raise ValueError(f"must be a format's four characters, such as MJPG or YUYV, not {text!r}")
    return text.upper()


def _user(text: str) -> str:
    if not text or len(text) > 255 or not text.isprintable():
        raise ValueError("must be a user's name of at most 255 characters")
    return text


def _topic(text: str) -> str:
    """A topic filter (MQTT 5.0 §4.7): `+` stands for one level, `#` at the end for all that follow."""
    levels = text.split("/")
    if (
        not text.isprintable()
        or not text
        or "#" in levels[:-1]
        or any(len(level) > 1 and set(level) & set("+#") for level in levels)
    ):
        raise ValueError(
            f"must be a topic such as readers/dock-1 or readers/+/tags, not {text!r};"
            " + and # (written %23) stand alone between slashes, and # at the end"
        )
    return text


_LOGIN = (
    Option("user", _user, None, "who we are to the device"),
    Option(
        "password_file",
        _file,
        None,
        "the file that holds the password, or the name of a systemd credential that does",
    ),
)
_PLAIN = Option("plain", yes_or_no, False, "yes: send the password over a connection that anybody can read")
_TLS = (
    Option("ca_file", _file, None, "whom to trust, as PEM; left out: whom this machine trusts"),
    Option("verify", yes_or_no, True, "no: trust whoever answers, and warn all the time"),
)
_WEB = (
    Option("connect_s", number(1, 120), 10, "how long to wait for a connection, and for an answer"),
    Option(
        "idle_s", number(0, 86_400), 0, "connect anew after so long without a byte; 0: if the network says so"
    ),
)
_MQTT = (
    Option("topic", _topic, None, "what to subscribe to"),
    Option("connect_s", number(1, 120), 10, "how long to wait for a connection, and for an answer"),
)
# For everything that looks at pictures as they come.
_LIVE = (
    Option("stalled_s", number(1, 600), 5, "without a picture for so long, it is reported and opened anew"),
    Option(
        "frozen_s",
        number(0, 86_400),
        60,
        "the very same picture for so long: reported and opened anew; 0: never, for what films a screen",
    ),
)
_SIZE = (
    Option("width", number(16, 8192), None, "of the pictures; left out: 1280"),
    Option("height", number(16, 8192), None, "of the pictures; left out: 720"),
    Option("fps", number(1, 240), None, "pictures a second; left out: as the camera likes"),
    Option("format", _fourcc, None, "such as MJPG or YUYV; left out: the first that both understand"),
)
_CERTIFICATE = (
    Option("cert_file", _file, None, "our own certificate, as PEM, where the broker asks for one"),
    Option("key_file", _file, None, "its key"),
)

# What each kind of port understands; what is not listed here belongs to the driver.
OPTIONS: dict[str, tuple[Option, ...]] = {
    "serial": (
        Option("baud", number(50, 4_000_000), None, "bits per second; left out: what such devices use"),
        Option("parity", choice("none", "even", "odd"), "none", "parity"),
        Option("bits", number(7, 8), 8, "data bits"),
        Option("stop", number(1, 2), 1, "stop bits"),
        Option("rtscts", yes_or_no, False, "hardware flow control"),
    ),
    "tcp": (Option("tls", yes_or_no, False, "yes: encrypted, as LLRP is at port 5085"), *_TLS),
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
    "camera": (*_SIZE, *_LIVE),
    "rtsp": (*_LOGIN, _PLAIN, *_LIVE),
    "mjpeg": (*_LOGIN, _PLAIN, *_LIVE),
    "https": (*_LOGIN, *_TLS, *_WEB),
    "http": (*_LOGIN, _PLAIN, *_WEB),
    "mqtts": (*_MQTT, *_LOGIN, *_TLS, *_CERTIFICATE),
    "mqtt": (*_MQTT, *_LOGIN, _PLAIN),
}
# For every port of a camera.
STILLS = (
    Option(
        "stills", directory, None, "where to keep the pictures in which codes were read; left out: nowhere"
    ),
    Option("stills_most", number(1, 1_000_000), 1000, "of this camera; the oldest goes first"),
    Option("stills_mb", number(1, 1_000_000), 500, "megabytes of this camera; the oldest goes first"),
)
# For every port.
SILENCE = Option("silent_s", number(0, 86_400), 0, "report `silent` after so long without a byte; 0: never")
# The kinds whose path comes and goes with the device.
_PLUGGED = ("serial", "evdev", "hidraw", "camera")


@dataclass(frozen=True, slots=True)
class Port:
    """A port URL, taken apart. `options` holds what the query says, as text and unchecked."""

    url: str
    scheme: str
    path: str
    """serial, evdev, hidraw, file: the path; camera: a number or a path; rtsp, mjpeg: the path at the host."""
    host: str
    number: int
    """tcp, http, https, mqtt, mqtts, rtsp, mjpeg: host and port number."""
    options: dict[str, str]

    @property
    def node(self) -> str | None:
        """The file that comes and goes with the device; None for what has no plug."""
        if self.scheme == "camera" and self.path.isdigit():
            return f"/dev/video{int(self.path)}"
        return self.path if self.scheme in _PLUGGED else None


def parse_port(url: str) -> Port:
    """Take a port URL apart. Raises `Misconfigured` (`PortError`): what is wrong, and an example of what is right."""
    what = shown(url)
    if not url.isprintable() or len(url) > 2048:
        raise Misconfigured(
            f"port {what[:60]!r}: a URL has no control characters and at most 2,048 characters"
        )
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme in _HOSTS and "@" in re.split(r"[/?]", url.partition("://")[2])[0]:
        raise Misconfigured(
            f"port {what!r}: a URL is shown to everybody, so no user and password before the host;"
            " write user=NAME and password_file=/path/of/a/file behind a ?"
        )
    if secret := _SECRET.search(url):
        raise Misconfigured(
            f"port {what!r}: a URL is shown to everybody, so no {secret[2]!r} in it; write the password to a"
            " file that only this program may read, and password_file=/path/of/that/file"
        )
    try:
        parts = urlsplit(url)
        # In a topic, + is a wildcard and no space.
        query_ = parts.query.replace("+", "%2B") if scheme in ("mqtt", "mqtts") else parts.query
        query = parse_qsl(query_, keep_blank_values=True, strict_parsing=bool(query_))
    except ValueError as problem:
        raise Misconfigured(
            f"port {what!r} is not a URL: {problem}; write it like {EXAMPLES['serial']}"
        ) from None
    if scheme not in EXAMPLES or parts.scheme != scheme:
        if url.startswith("/"):
            raise Misconfigured(f"port {what!r}: a path alone is no port; write {_kind_of(url)}://{what}")
        known = "" if "://" in url else f"; write it like {EXAMPLES['serial']}"
        raise Misconfigured(f"port {what!r}: unknown kind {scheme!r}{nearest(scheme, EXAMPLES)}{known}")
    if "#" in url:
        raise Misconfigured(f"port {what!r}: write # as %23, else what follows it is lost")
    names = [name for name, _ in query]
    for name in names:
        if names.count(name) > 1:
            raise Misconfigured(f"port {what!r}: option {name!r} is given twice")
    path, host, number_ = unquote(parts.path), "", 0
    if scheme in _HOSTS:
        host, number_ = _address(scheme, what, parts.netloc, parts.path)
    elif scheme == "camera" and not path:
        path = _camera(url, parts.netloc)
    elif parts.netloc or not path.startswith("/") or path == "/" or "\x00" in path:
        raise Misconfigured(f"port {what!r}: needs a path after three slashes, like {EXAMPLES[scheme]}")
    return Port(url, scheme, path, host, number_, dict(query))


# What kind of port such a path is.
_KINDS = {
    "/dev/video": "camera",
    "/dev/v4l/": "camera",
    "/dev/input/": "evdev",
    "/dev/hidraw": "hidraw",
    "/dev/tallyman/hidraw": "hidraw",
    "/dev/": "serial",
}


def _kind_of(path: str) -> str:
    return next((kind for beginning, kind in _KINDS.items() if path.startswith(beginning)), "file")


# An option that can only be a secret, which has no place in a URL. Its file has one.
_SECRET = re.compile(r"([?&])([^=&]*(?:pass|pwd|secret|token)[^=&]*(?<!_file))=([^&]*)", re.IGNORECASE)


def shown(url: str) -> str:
    """A port URL as errors show it: without what may be a password, however wrongly it was written."""
    scheme, colon, rest = url.partition(":")
    if "@" in rest and (scheme.lower() in _HOSTS or scheme.lower() not in EXAMPLES):
        bare = rest.lstrip("/")
        rest = f"{rest[: len(rest) - len(bare)]}…@{bare.rpartition('@')[2]}"
    return _SECRET.sub(r"\1\2=…", scheme + colon + rest)


def check_together(port: Port, values: dict[str, Any]) -> None:
    """Whether the port's options, each right in itself, go together. Raises `Misconfigured`."""
    wrong = []
    if "topic" in values and values["topic"] is None:
        wrong.append(f"needs topic=, like {EXAMPLES[port.scheme]}")
    if (values.get("user") is None) != (values.get("password_file") is None):
        wrong.append("user= and password_file= belong together; give both or neither")
    if values.get("plain") is False and values["user"] is not None:
        safer = f"use {port.scheme}s:, or plain=yes" if f"{port.scheme}s" in EXAMPLES else "say plain=yes"
        wrong.append(
            f"would send the password so that anybody on the network can read it; {safer} where the network is your"
            " own"
        )
    if values.get("tls") is False and (values["ca_file"] is not None or not values["verify"]):
        wrong.append("ca_file= and verify= say whom to trust in TLS; add tls=yes, or leave them out")
    if values.get("verify") is False and values["ca_file"] is not None:
        wrong.append("verify=no trusts anybody, so ca_file= has no use; leave one of them out")
    if (values.get("width") is None) != (values.get("height") is None):
        wrong.append("width= and height= belong together; give both or neither")
    if (values.get("cert_file") is None) != (values.get("key_file") is None):
        wrong.append("cert_file= and key_file= belong together; give both or neither")
    if wrong:
        raise Misconfigured(f"port {shown(port.url)!r}: {'; '.join(wrong)}")


def _address(scheme: str, what: str, netloc: str, path: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{netloc}")
        host, number_ = parts.hostname, parts.port if parts.port is not None else _HOSTS[scheme]
        (host or "").encode("idna")  # as the resolver will write it: no empty and no over-long part
    except ValueError:
        host, number_ = None, None
    if not host or not number_ or (path not in ("", "/") and scheme not in WITH_PATH) or "@" in netloc:
        needs = "a host and a port number" if _HOSTS[scheme] is None else "a host, and no path"
        needs = "a host" if scheme in WITH_PATH else needs
        raise Misconfigured(f"port {what!r}: needs {needs}, like {EXAMPLES[scheme]}")
    return host, number_


def _camera(url: str, name: str) -> str:
    if not (name.isascii() and name.isdigit() and int(name[:4]) <= 255 and len(name) <= 3):
        raise Misconfigured(
            f"port {url!r}: needs the number or the path of a camera, like camera://0 or camera:///dev/video0"
        )
    return name

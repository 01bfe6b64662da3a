"""A live camera, by a made-up eye: what becomes of what it delivers, and of what it does not."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from devices.child import Late, Lost, Stopped
from devices.driver import Frame
from devices.errors import Misconfigured, Unavailable
from devices.ports import capture, eye
from devices.ports.capture import FIRST_S, Capture
from devices.ports.eye import End, Facts, Picture, Source
from devices.ports.link import Ending
from devices.registry import set_up

Shown = Picture | End | Exception
NOISE = np.random.default_rng(1)


def picture(width: int = 1280, height: int = 720) -> Picture:
    return Picture(NOISE.integers(0, 256, (height, width), np.uint8), 0.0)


NO_WISHES = Source("device", "")
USUAL = Facts(1280, 720, 30.0, "YUYV", 0)


class Eye:
    """Shows what it is given, one thing a second."""

    def __init__(self, *shown: Shown, facts: Facts) -> None:
        self.facts = facts
        self._shown = iter(shown)
        self.now_s = 0.0
        self.waited: list[float] = []

    def look(self, timeout_s: float) -> Picture | End:
        self.waited.append(timeout_s)
        self.now_s += 1
        found = next(self._shown)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None: ...


def camera(
    *shown: Shown,
    wishes: Source = NO_WISHES,
    facts: Facts = USUAL,
    frozen_s: int = 3,
    node: str | None = "/dev/null",
    caution: str | None = None,
) -> Capture:
    eye = Eye(*shown, facts=facts)
    return Capture(
        eye,
        wishes,
        what="camera 0",
        stalled_s=5,
        frozen_s=frozen_s,
        node=node,
        caution=caution,
        clock=lambda: eye.now_s,
    )


def reason(found: object) -> str:
    assert isinstance(found, Ending) and not found.finished
    return found.reason


def test_its_pictures_are_handed_over_as_live_ones() -> None:
    shown = picture()
    found = camera(shown).next()
    assert isinstance(found, Frame) and found.live and found.source is None and found.pixels is shown.pixels


def test_the_first_picture_may_take_longer_than_those_that_follow() -> None:
    link = camera(picture(), picture())
    link.next(), link.next()
    assert isinstance(link._eye, Eye) and link._eye.waited == [FIRST_S, 5]


@pytest.mark.parametrize(
    ("node", "shown", "told"),
    [
        ("/dev/null", Late("no answer"), "has delivered no picture for 15 s: check its cable"),
        ("/dev/none", Late("no answer"), "has delivered no picture for 15 s: it was unplugged"),
        (None, Late("no answer"), "has delivered no picture for 15 s: check the camera and its network"),
        ("/dev/null", Lost("its process ended (SIGSEGV)"), "was lost: its process ended (SIGSEGV)"),
        ("/dev/none", End(), "delivers no picture: it was unplugged"),
        ("/dev/null", End(), "delivers no picture: check its cable"),
        ("/dev/null", End(problem="too large"), "delivers no picture: too large"),
    ],
)
def test_a_camera_that_stops_says_why(node: str | None, shown: Shown, told: str) -> None:
    assert reason(camera(shown, node=node).next()) == f"camera 0 {told}"


def test_a_camera_that_stops_later_says_so() -> None:
    link = camera(picture(), End())
    link.next()
    assert reason(link.next()) == "camera 0 delivers no pictures any more: check its cable"


def test_a_camera_that_is_open_and_delivers_nothing_is_not_ready() -> None:
    with pytest.raises(
        Unavailable, match="no picture for 15 s: check its cable; or does another program use it"
    ):
        camera(Late("no answer")).begin()
    camera(picture()).begin()


def test_who_stops_waiting_hears_nothing() -> None:
    assert camera(Stopped()).next() is None


def test_the_very_same_picture_for_long_is_a_camera_that_hangs() -> None:
    same = picture()
    link = camera(picture(), *[Picture(same.pixels.copy(), 0.0) for _ in range(4)])
    found = [link.next() for _ in range(5)]
    assert all(isinstance(frame, Frame) for frame in found[:4])
    assert reason(found[4]).startswith("camera 0 has delivered the very same picture for 3 s: it hangs")


def test_what_films_a_screen_may_show_the_same_for_ever() -> None:
    same = picture()
    link = camera(*[same] * 9, frozen_s=0)
    assert all(isinstance(link.next(), Frame) for _ in range(9))
    assert link.warning is None


def test_the_dark_is_no_hang_but_somebody_should_look() -> None:
    dark = Picture(np.full((720, 1280), 16, np.uint8), 0.0)
    link = camera(*[dark] * 6, picture(), picture())
    assert all(isinstance(link.next(), Frame) for _ in range(6))
    assert link.warning is not None and "is it covered, or is it dark?" in link.warning
    link.next()
    assert link.warning is None


@pytest.mark.parametrize(
    ("wishes", "shown", "facts", "told"),
    [
        (Source("device", "", 1280, 720, 30, "YUYV"), (1280, 720), Facts(1280, 720, 29.97, "YUYV", 0), None),
        (
            Source("device", "", 1920, 1080),
            (640, 480),
            Facts(640, 480, 30, "YUYV", 0),
            "640×480 instead of 1920×1080",
        ),
        (
            Source("device", "", None, None, 60, "MJPG"),
            (1280, 720),
            Facts(1280, 720, 10, "YUYV", 0),
            "format YUYV instead of MJPG, 10 pictures a second instead of 60",
        ),
        (Source("device", "", None, None, 60, "MJPG"), (1280, 720), Facts(1280, 720, 0, "", 0), None),
    ],
)
def test_what_the_camera_did_not_take_is_said_and_it_is_used_as_it_is(
    wishes: Source, shown: tuple[int, int], facts: Facts, told: str | None
) -> None:
    link = camera(picture(*shown), wishes=wishes, facts=facts)
    assert isinstance(link.next(), Frame)
    assert link.warning == (None if told is None else f"the camera delivers {told}")


def test_a_caution_stands_beside_what_else_is_to_be_said() -> None:
    link = camera(picture(640, 480), wishes=Source("device", "", 800, 600), caution="plain=yes: …")
    assert link.warning == "plain=yes: …"
    link.next()
    assert link.warning == "the camera delivers 640×480 instead of 800×600; plain=yes: …"


# --- what the child does, with a made-up capture and a made-up parent -----------------------------------------------


class Parent:
    """Asks for a picture whenever `asks` says so; keeps the answers."""

    def __init__(self, asks: Iterator[bool]) -> None:
        self._asks = asks
        self.answers: list[bytes] = []
        self.waited = 0

    def asked(self) -> bytes | None:
        return b"" if next(self._asks, False) else None

    def wait(self) -> bytes:
        self.waited += 1
        return b""

    def answer(self, *parts: bytes | memoryview) -> None:
        self.answers.append(b"".join(map(bytes, parts)))


class Grabs:
    """A capture whose pictures are numbered, and which misses where it is told to."""

    def __init__(self, script: str) -> None:
        self._script = iter(script)
        self.number = 0

    def grab(self) -> bool:
        self.number += 1
        return next(self._script, " ") == "x"

    def retrieve(self) -> np.ndarray:
        return np.full((2, 3), self.number, np.uint8)


def looked(script: str, asks: list[bool], monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], Parent]:
    monkeypatch.setattr(eye, "MISSED_S", 0)
    capture, parent = Grabs(script), Parent(iter(asks))
    eye.watch(capture, capture.retrieve, parent)  # type: ignore[arg-type]
    assert parent.answers[-1][:1] == b"E"
    return [answer[-1] for answer in parent.answers[:-1]], parent


def test_pictures_that_nobody_asks_for_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = [True, False, False, False, True, False]
    numbers, parent = looked("xxxxxx", asks, monkeypatch)
    assert numbers == [1, 5]
    assert parent.waited == 1  # its end is told when it is asked again


def test_a_few_missed_pictures_are_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, _ = looked("x    x  x", [True] * 9, monkeypatch)
    assert numbers == [1, 6, 9]


def test_pictures_too_large_to_look_at_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.ports.opencv.MAX_PIXELS", 5)
    capture, parent = Grabs("xx"), Parent(iter([True]))
    eye.watch(capture, capture.retrieve, parent)  # type: ignore[arg-type]
    assert [answer[:1] for answer in parent.answers] == [b"E"] and b"3\\u00d72" in parent.answers[0]


# --- where it is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind", "address"),
    [
        ("mjpeg://192.0.2.7/video.cgi%3Fsize=a%20b", "http", "http://192.0.2.7:80/video.cgi?size=a%20b"),
        ("mjpeg://[2001:db8::7]:8080/", "http", "http://[2001:db8::7]:8080/"),
        (
            "rtsp://192.0.2.7/cam/realmonitor%3Fchannel=1&subtype=0",
            "rtsp",
            "rtsp://192.0.2.7:554/cam/realmonitor?channel=1&subtype=0",
        ),
        ("rtsp://camera.example", "rtsp", "rtsp://camera.example:554/"),
    ],
)
def test_a_network_camera_has_an_address_of_its_own(url: str, kind: str, address: str) -> None:
    setup = set_up("eye-1", "camera", url)
    what, source = capture._on_the_network(setup.port, setup.options)
    assert (source.kind, source.address) == (kind, address) and what.startswith(
        f"camera {url.split(':', maxsplit=1)[0]}://"
    )


def test_a_password_is_in_the_address_and_nowhere_else(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("a/b@c:d\n")
    setup = set_up("eye-1", "camera", f"rtsp://192.0.2.7/live?user=ad@min&password_file={password}&plain=yes")
    what, source = capture._on_the_network(setup.port, setup.options)
    assert source.address == "rtsp://ad%40min:a%2Fb%40c%3Ad@192.0.2.7:554/live"
    assert what == "camera rtsp://192.0.2.7:554/live"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("rtsp://192.0.2.7/live?channel=1", "unknown option 'channel'.*written %3F instead of"),
        ("rtsp://user:word@192.0.2.7/live", "password_file="),
        ("rtsp:///live", "needs a host, like rtsp://"),
        ("mjpeg://192.0.2.7/?user=a&password_file=/b", "say plain=yes where the network is your own"),
        ("camera://0?width=1280", "width= and height= belong together"),
        ("camera://0?width=9000&height=1", "16 to 8192"),
        ("camera://0?format=JPEG2000", "four characters"),
        ("camera://0?stills=here", "whole path"),
        ("http://192.0.2.7", "not from http"),
    ],
)
def test_what_cannot_work_is_said_before_a_camera_is_opened(url: str, complaint: str) -> None:
    with pytest.raises(Misconfigured, match=complaint):
        set_up("eye-1", "camera", url)
    with pytest.raises(Misconfigured, match="unknown option 'stills'"):
        set_up("scanner-1", "text-line", "tcp://192.0.2.7:2101?stills=/tmp")


def test_the_node_of_a_camera_is_watched_for() -> None:
    assert set_up("eye-1", "camera", "camera://7").port.node == "/dev/video7"
    assert set_up("eye-1", "camera", "camera:///dev/v4l/by-id/a").port.node == "/dev/v4l/by-id/a"
    assert set_up("eye-1", "camera", "rtsp://192.0.2.7/live").port.node is None


def test_a_film_is_a_recording_and_a_folder_is_not() -> None:
    assert set_up("eye-1", "camera", "file:///tmp/walk.MP4").replays
    assert not set_up("eye-1", "camera", "file:///tmp/label.png").replays
    assert not set_up("eye-1", "camera", "file:///tmp/images").replays
    assert not set_up("eye-1", "camera", "camera://0").replays
    assert set_up("scanner-1", "text-line", "file:///tmp/walk.bin").replays

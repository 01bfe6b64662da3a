"""Live pictures as OpenCV gets them here, from a pipe and over HTTP: read, stalled, frozen, ended and opened anew."""

import asyncio
import base64
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from devices import BarcodeRead, Moment, Read
from devices.driver import Frame
from devices.drivers.camera import Camera
from tests.support.pictures import PAUSE_S, Image, jpeg, noisy, pour, scene, watching
from tests.support.rtsp import rtsp_camera
from tests.support.wait import eventually_async

A, B = scene("A"), scene("B")


class NetworkCamera:
    """Motion JPEG over HTTP, as such cameras send it. `picture` decides what is sent; None: nothing any more."""

    def __init__(self, picture: Callable[[int], Image | None], login: str | None) -> None:
        self.asked: list[str] = []
        self.over = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.asked.append(self.path)
                if login and self.headers.get("Authorization") != f"Basic {login}":
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with suppress(OSError):
                    camera.send(self.wfile.write, picture)

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def send(self, write: Callable[[bytes], object], picture: Callable[[int], Image | None]) -> None:
        number = 0
        while not self.over.wait(PAUSE_S):
            image = picture(number)
            number += 1
            if image is not None:
                data = jpeg(image)
                head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                write(head + data + b"\r\n")

    @property
    def url(self) -> str:
        return f"mjpeg://127.0.0.1:{self.server.server_port}/video.cgi"


@contextmanager
def network_camera(
    picture: Callable[[int], Image | None], *, login: str | None = None
) -> Iterator[NetworkCamera]:
    camera = NetworkCamera(picture, login)
    thread = threading.Thread(target=camera.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield camera
    finally:
        camera.over.set()
        camera.server.shutdown()
        thread.join()
        camera.server.server_close()


async def test_a_network_camera_is_read_as_codes_come_into_view() -> None:
    shown = [A]
    with network_camera(lambda n: noisy(shown[-1], n)) as camera:
        async with watching(f"{camera.url}%3Fsize=small?again_ms=1000") as bench:
            await eventually_async(lambda: bench.texts == ["A"], 20)
            shown.append(B)
            await eventually_async(lambda: bench.texts == ["A", "B"], 20)
        assert camera.asked[0] == "/video.cgi?size=small"
        assert bench.said == [("connecting", None), ("online", None)]
        [first, _] = bench.reads
        assert isinstance(first, BarcodeRead) and first.source is None


async def test_a_camera_that_stalls_is_said_so_and_opened_anew() -> None:
    with network_camera(lambda n: noisy(A, n) if n < 25 else None) as camera:
        async with watching(f"{camera.url}?stalled_s=1&again_ms=0") as bench:
            await eventually_async(lambda: bench.has_said("failed", "has delivered no picture for 1 s"), 20)
            reads = len(bench.texts)
            await eventually_async(lambda: len(bench.texts) > reads, 20)
            assert bench.said[-1] == ("online", None)
        assert len(camera.asked) >= 2


async def test_a_camera_that_shows_the_same_picture_for_ever_hangs() -> None:
    with network_camera(lambda _: A) as camera:
        async with watching(f"{camera.url}?frozen_s=1") as bench:
            await eventually_async(lambda: bench.has_said("failed", "the very same picture for 1 s"), 20)
            assert bench.texts == ["A"]
            await eventually_async(lambda: bench.said[-1] == ("online", None), 20)
        async with watching(f"{camera.url}?frozen_s=0") as bench:
            await eventually_async(lambda: bench.texts == ["A"], 20)
            await asyncio.sleep(1.5)
            assert bench.said[-1] == ("online", None)


async def test_a_camera_in_the_dark_is_let_be_and_somebody_told() -> None:
    dark = np.full((240, 320), 3, np.uint8)
    lit = threading.Event()
    with network_camera(lambda n: noisy(A, n) if lit.is_set() else dark) as camera:
        async with watching(f"{camera.url}?frozen_s=1") as bench:
            await eventually_async(lambda: bench.has_said("online", "nothing but one shade"), 20)
            lit.set()
            await eventually_async(lambda: bench.texts == ["A"], 20)
            await eventually_async(lambda: bench.said[-1] == ("online", None))
        assert len(camera.asked) == 1


async def test_a_slow_look_sees_the_newest_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown is a clock; a look takes as long as ten pictures."""
    started_s = time.monotonic()
    ages: list[float] = []

    def clock(number: int) -> Image:
        image = np.full((64, 320), 255, np.uint8)
        image[:, 0 : int((time.monotonic() - started_s) * 10) % 300] = 0
        return noisy(image, number)

    def look(self: Camera, frame: Frame, now: Moment) -> list[Read]:
        shown_s = int((frame.pixels[32] < 128).sum()) / 10
        ages.append((time.monotonic() - started_s) % 30 - shown_s)
        time.sleep(10 * PAUSE_S)
        return []

    monkeypatch.setattr(Camera, "see", look)
    with network_camera(clock) as camera:
        async with watching(camera.url):
            await eventually_async(lambda: len(ages) >= 6, 20)
    assert max(ages[1:]) < 0.5, ages


async def test_pictures_may_change_their_size() -> None:
    large = np.full((1400, 1400), 255, np.uint8)
    large[:80, :80] = cv2.resize(scene("FINE"), (80, 80), interpolation=cv2.INTER_NEAREST)
    shown = [A]
    with network_camera(lambda n: noisy(shown[-1], n)) as camera:
        async with watching(camera.url) as bench:
            await eventually_async(lambda: bench.texts == ["A"], 20)
            shown.append(large)
            await eventually_async(lambda: bench.texts == ["A", "FINE"], 20)


async def test_who_may_look_is_asked_for_and_the_password_is_told_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    password = tmp_path / "password"
    login = base64.b64encode(b"ad@min:sesame/open").decode()
    with network_camera(lambda n: noisy(A, n), login=login) as camera:
        url = f"{camera.url}?user=ad@min&password_file={password}&plain=yes"
        password.write_text("wrong/word\n")
        async with watching(url) as bench:
            await eventually_async(lambda: bench.reader.status.status == "failed", 20)
            assert "401" in (bench.reader.status.reason or "")
            assert "wrong" not in str(bench.said)
            password.write_text("sesame/open\n")
            await eventually_async(lambda: bench.texts == ["A"], 30)
            assert bench.has_said("online", "plain=yes: the password can be read by anybody")
            assert "sesame" not in str(bench.said) + b"".join(command_lines()).decode("utf-8", "replace")
    assert capfd.readouterr().err == ""


def command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield process.read_bytes()


async def test_an_rtsp_camera_is_read_and_its_password_does_not_travel(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("sesame/open\n")
    with rtsp_camera(lambda n: noisy(A, n), login=("ad@min", "sesame/open")) as (port, asked):
        url = f"rtsp://127.0.0.1:{port}/live%3Fchannel=1&sub=0?user=ad@min&password_file={password}&plain=yes"
        async with watching(url) as bench:
            await eventually_async(lambda: bench.texts == ["A"], 20)
        assert f"DESCRIBE rtsp://127.0.0.1:{port}/live?channel=1&sub=0" in asked
        assert "sesame" not in str(asked)
        password.write_text("wrong\n")
        async with watching(url) as bench:
            await eventually_async(lambda: bench.reader.status.status == "failed", 20)
            assert "401 (Unauthorized)" in (bench.reader.status.reason or "")


async def test_nobody_at_the_address_is_said_so() -> None:
    for url in ("mjpeg://127.0.0.1:1/x", "rtsp://127.0.0.1:1/stream1"):
        async with watching(url) as bench:
            await eventually_async(lambda: bench.reader.status.status == "failed", 20)
            reason = bench.reader.status.reason or ""
            assert reason.startswith("camera ") and "cannot be opened: " in reason
            assert "Connection refused" in reason


async def test_a_pipe_is_a_camera_and_is_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with watching(f"camera://{pipe}") as bench:
        await asyncio.to_thread(pour, pipe, 60, A)
        await eventually_async(lambda: bench.texts == ["A"], 20)
        await eventually_async(lambda: bench.has_said("failed", "delivers no pictures any more"), 20)
        await asyncio.to_thread(pour, pipe, 60, B)
        await eventually_async(lambda: bench.texts == ["A", "B"], 20)


async def test_a_reader_that_waits_for_its_camera_is_stopped_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with watching(f"camera://{pipe}"):
        await asyncio.sleep(1.0)
        started = time.monotonic()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("eye-1")]
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
    assert time.monotonic() - started < 3


async def test_what_is_no_camera_is_said_so(tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    film.write_bytes(b"")
    for path, told in (
        (film, f"is no camera; films and images are read from file://{film}"),
        (tmp_path, "is no camera"),
        (Path("/dev/null"), "cannot be opened"),
        (tmp_path / "none", f"there is no {tmp_path / 'none'}: is it plugged in?"),
    ):
        async with watching(f"camera://{path}") as bench:
            await eventually_async(lambda: bench.reader.status.status == "failed", 20)
            assert told in (bench.reader.status.reason or "")

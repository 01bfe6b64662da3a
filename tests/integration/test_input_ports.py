"""The ports evdev and hidraw on real descriptors: terminals, pipes, socket pairs, an input device if there is one."""

import asyncio
import errno
import fcntl
import os
import resource
import socket
import struct
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from devices import BadFrame, BarcodeRead, PortStatus, Read, Reader
from devices.driver import ByteDriver
from devices.drivers.hid_pos import HidPos
from devices.drivers.keyboard_wedge import KeyboardWedge
from devices.ports import evdev, hidraw
from devices.ports.link import DescriptorLink, Ending
from devices.pump import BytePump, Ears
from devices.reader import system_clock
from tests.support.readers import at_work
from tests.support.uinput import Keyboard, there_is_uinput
from tests.support.wait import eventually_async
from tests.unit.test_hid import SCANNER


def key(*keys: int) -> bytes:
    order = [*((each, 1) for each in keys), *((each, 0) for each in reversed(keys))]
    return b"".join(struct.pack("llHHi", 7, 0, *event) for each in order for event in ((1, *each), (0, 0, 0)))


ENTER = key(28)
LONG = key(30) * 200 + ENTER
"""200 letters: 19 KB of events."""


def report(content: bytes, more: int = 0) -> bytes:
    return bytes([2, len(content)]) + b"]C0" + content.ljust(56, b"\0") + bytes([0, 0, more])


class Source(Protocol):
    """Something that a port can open, and its other end."""

    path: Path
    grab: str

    def send(self, data: bytes) -> None: ...

    def unplug(self) -> None: ...


class Pty:
    grab = "no"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "device"
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))
        os.close(slave)

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def unplug(self) -> None:
        """The name goes first, as udev takes it away: another test may get a terminal of the same number."""
        if self._master >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._master)
            self._master = -1


class Fifo:
    grab = "no"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "device"
        self.path.unlink(missing_ok=True)
        os.mkfifo(self.path)
        self._writer = -1

    def send(self, data: bytes) -> None:
        if self._writer < 0:
            self._writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        assert os.write(self._writer, data) == len(data)

    def unplug(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1


class RealDevice(Keyboard):
    grab = "yes"

    def __init__(self, folder: Path) -> None:
        super().__init__()


# Whatever exists here: in most containers there is no /dev/uinput.
SOURCES: list[Callable[[Path], Source]] = [Pty, Fifo, *([RealDevice] if there_is_uinput() else [])]


class Bench:
    def __init__(self, driver: str, url: str) -> None:
        self.reads: list[Read] = []
        self.statuses: list[PortStatus] = []
        self.reader = Reader(
            "scanner-1", driver, url, self.reads.append, self.statuses.append, jitter=lambda: 0.9
        )

    @property
    def texts(self) -> list[str]:
        return [read.text for read in self.reads if isinstance(read, BarcodeRead)]

    @property
    def bad(self) -> list[str]:
        return [read.reason for read in self.reads if isinstance(read, BadFrame)]

    async def becomes(self, status: str) -> str:
        await eventually_async(lambda: self.reader.status.status == status, 5, f"status {status}")
        return self.reader.status.reason or ""

    async def read(self, *texts: str) -> None:
        await eventually_async(lambda: self.texts == list(texts), 5, f"{texts}")


@asynccontextmanager
async def running(driver: str, url: str) -> AsyncIterator[Bench]:
    bench = Bench(driver, url)
    async with at_work(bench.reader):
        yield bench


@pytest.mark.parametrize("make", SOURCES)
async def test_a_keyboard_is_read_unplugged_and_read_again(
    make: Callable[[Path], Source], tmp_path: Path
) -> None:
    source = make(tmp_path)
    url = f"evdev://{source.path}?grab={source.grab}"
    try:
        async with running("keyboard-wedge", url) as bench:
            await bench.becomes("online")
            typed = key(27) + key(42, 46) + key(11) + key(30) + ENTER  # ]C0a
            source.send(typed)
            await bench.read("a")
            await asyncio.to_thread(source.send, LONG)  # more than a terminal takes at once
            await bench.read("a", "a" * 200)
            source.send(key(48))
            await asyncio.sleep(0.1)
            source.unplug()
            reason = await bench.becomes("failed")
            assert str(source.path) in reason
            assert bench.bad == ["the scanner went in the middle of a code; scan it again"]
    finally:
        source.unplug()


@pytest.mark.parametrize("make", [Pty, Fifo])
async def test_a_keyboard_comes_back_under_its_name(make: Callable[[Path], Source], tmp_path: Path) -> None:
    source = make(tmp_path)
    async with running("keyboard-wedge", f"evdev://{source.path}?grab=no") as bench:
        await bench.becomes("online")
        source.send(key(30) + ENTER)
        await bench.read("a")
        source.unplug()
        await bench.becomes("failed")
        source = make(tmp_path)
        try:
            await bench.becomes("online")
            source.send(key(48) + ENTER)
            await bench.read("a", "b")
        finally:
            source.unplug()


@pytest.mark.parametrize("make", [Pty, Fifo])
async def test_reports_are_read_in_any_pieces(make: Callable[[Path], Source], tmp_path: Path) -> None:
    source = make(tmp_path)
    try:
        async with running("hid-pos", f"hidraw://{source.path}") as bench:
            await bench.becomes("online")
            data = report(b"1" * 56, more=1) + report(b"2") + report(b"A-01")
            for start in range(0, len(data), 50):
                source.send(data[start : start + 50])
                await asyncio.sleep(0.005)
            await bench.read("1" * 56 + "2", "A-01")
            source.send(report(b"1" * 56, more=1))
            await asyncio.sleep(0.05)
            source.unplug()
            await bench.becomes("failed")
            assert len(bench.bad) == 1 and "not whole" in bench.bad[0]
    finally:
        source.unplug()


@pytest.mark.parametrize(("driver", "scheme"), [("keyboard-wedge", "evdev"), ("hid-pos", "hidraw")])
async def test_a_device_that_is_gone_costs_nothing(driver: str, scheme: str, tmp_path: Path) -> None:
    source = Pty(tmp_path)
    query = "?grab=no" if scheme == "evdev" else ""
    async with running(driver, f"{scheme}://{source.path}{query}") as bench:
        await bench.becomes("online")
        source.unplug()
        assert str(source.path) in await bench.becomes("failed")
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(0.5)
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.2
    assert [status.status for status in bench.statuses].count("failed") <= 2


# --- a socket pair: the kernel's own bytes, without a path ------------------------------------------------------


async def pumped(
    driver: ByteDriver, kind: int, send: Callable[[socket.socket], None]
) -> tuple[list[Read], Ending]:
    mine, theirs = socket.socketpair(socket.AF_UNIX, kind)
    mine.setblocking(False)
    link = DescriptorLink(mine.fileno(), mine.close, what="the device")
    reads: list[Read] = []
    pump = BytePump(link, driver, Ears(system_clock, reads.extend, lambda _ns: None))
    running_ = asyncio.create_task(pump.run())
    await asyncio.sleep(0)
    send(theirs)
    theirs.close()
    ending = await asyncio.wait_for(running_, 5)
    link.close()
    return reads, ending


async def test_input_events_through_a_socket_pair() -> None:
    reads, ending = await pumped(
        KeyboardWedge("scanner-1"), socket.SOCK_STREAM, lambda end: end.sendall(LONG + key(48) + ENTER)
    )
    assert [read.text for read in reads if isinstance(read, BarcodeRead)] == ["a" * 200, "b"]
    assert ending == Ending("the device ended the connection")


async def test_reports_one_by_one_through_a_socket_pair() -> None:
    def send(end: socket.socket) -> None:
        for each in (report(b"1" * 56, more=1), report(b"2"), report(b"A-01")):
            end.send(each)

    reads, ending = await pumped(HidPos("scanner-1"), socket.SOCK_SEQPACKET, send)
    assert [read.text for read in reads if isinstance(read, BarcodeRead)] == ["1" * 56 + "2", "A-01"]
    assert ending == Ending("the device ended the connection")


async def test_an_input_output_error_is_an_end_and_no_spin() -> None:
    """The near side of a terminal whose far side was closed fails every read (EIO), as a device that is gone does."""
    near, far = os.openpty()
    tty.setraw(far)
    os.set_blocking(near, False)
    link = DescriptorLink(near, lambda: os.close(near), what="the device")
    reads: list[Read] = []
    pump = BytePump(link, KeyboardWedge("scanner-1"), Ears(system_clock, reads.extend, lambda _ns: None))
    running_ = asyncio.create_task(pump.run())
    await asyncio.sleep(0)
    os.write(far, key(30) + ENTER)
    await eventually_async(lambda: len(reads) == 1, 5)
    os.write(far, key(30))
    await asyncio.sleep(0.05)
    os.close(far)
    ending = await asyncio.wait_for(running_, 5)
    assert ending == Ending("the device was unplugged or switched off")
    assert isinstance(reads[-1], BadFrame) and len(reads) == 2


# --- what cannot be opened ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "url", "reason"),
    [
        ("keyboard-wedge", "evdev://{}/none", "there is no"),
        ("keyboard-wedge", "evdev://{}/none", "ls -l /dev/input/by-id"),
        ("hid-pos", "hidraw://{}/none", "ls -l /dev/hidraw*"),
        ("keyboard-wedge", "evdev://{}/plain?grab=no", "is no device; recorded bytes are read from file:///"),
        ("hid-pos", "hidraw://{}", "is no device"),
        ("hid-pos", "hidraw://{}/plain/below", "cannot be opened"),
        ("keyboard-wedge", "evdev:///dev/null?grab=no", "cannot be read like an input device"),
        ("hid-pos", "hidraw:///dev/zero", "cannot be read like an input device"),
        ("keyboard-wedge", "evdev://{}/device", "is no input device and cannot be grabbed"),
        ("keyboard-wedge", "evdev://{}/device?grab=yes", "or add grab=no to the port"),
    ],
)
async def test_what_cannot_be_read_says_so(driver: str, url: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x")
    source = Pty(tmp_path)
    try:
        async with running(driver, url.format(tmp_path)) as bench:
            assert reason in await bench.becomes("failed")
    finally:
        source.unplug()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EBUSY, "is grabbed by another program"),
        (errno.ENODEV, "cannot be grabbed: No such device"),
        (errno.EINVAL, "is no input device"),
    ],
)
async def test_a_grab_that_is_refused_says_why(
    number: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No kernel here has an input device to grab twice; its answers are those of evdev(4)."""

    def refuse(fd: int, request: int, argument: Any = 0) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(evdev.fcntl, "ioctl", refuse)
    source = Pty(tmp_path)
    try:
        async with running("keyboard-wedge", f"evdev://{source.path}") as bench:
            assert reason in await bench.becomes("failed")
    finally:
        source.unplug()


@pytest.mark.parametrize(("number", "reason"), [(errno.EACCES, "often input"), (errno.EBUSY, "in use")])
async def test_a_node_that_may_not_be_opened_says_who_may(
    number: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as root, to whom nothing is refused."""
    real = os.open
    source = Pty(tmp_path)

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if str(path) == str(source.path):
            raise OSError(number, os.strerror(number))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    try:
        async with running("hid-pos", f"hidraw://{source.path}") as bench:
            assert reason in await bench.becomes("failed")
    finally:
        source.unplug()


async def test_a_device_grabbed_is_grabbed_and_let_go_with_its_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, Any]] = []
    monkeypatch.setattr(
        evdev.fcntl, "ioctl", lambda fd, request, argument=0: asked.append((request, argument)) or 0
    )
    source = Pty(tmp_path)
    before = set(Path("/proc/self/fd").iterdir())
    try:
        async with running("keyboard-wedge", f"evdev://{source.path}") as bench:
            await bench.becomes("online")
            # _IOW('E', 0x90, int) = 1, and _IOW('E', 0xa0, int) with the number of CLOCK_MONOTONIC.
            assert asked == [(0x40044590, 1), (0x400445A0, struct.pack("i", 1))]
    finally:
        source.unplug()
    assert len(set(Path("/proc/self/fd").iterdir()) - before) == 0


async def test_a_device_tells_its_own_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(descriptor: bytes) -> Callable[..., int]:
        def answer(fd: int, request: int, argument: bytearray) -> int:
            if request == 0x80044801:  # HIDIOCGRDESCSIZE
                argument[:4] = struct.pack("I", len(descriptor))
            else:
                assert request == 0x90044802 and argument[:4] == struct.pack("I", len(descriptor))
                argument[4 : 4 + len(descriptor)] = descriptor
            return 0

        return answer

    source = Pty(tmp_path)
    real = fcntl.ioctl
    try:
        monkeypatch.setattr(hidraw.fcntl, "ioctl", describe(SCANNER))
        async with running("hid-pos", f"hidraw://{source.path}") as bench:
            await bench.becomes("online")
            source.send(report(b"A")[:-3] + b"\xff\xff\xfe")  # nothing but the last bit counts there
            await bench.read("A")
        monkeypatch.setattr(
            hidraw.fcntl, "ioctl", describe(bytes.fromhex("0501 0906 a101 7508 9508 8102 c0"))
        )
        async with running("hid-pos", f"hidraw://{source.path}") as bench:
            assert "set the scanner to HID POS" in await bench.becomes("failed")
    finally:
        monkeypatch.setattr(hidraw.fcntl, "ioctl", real)
        source.unplug()

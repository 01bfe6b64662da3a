"""Readers on real pseudo-terminals, real sockets and real files: unplugged, replugged, refused and silent."""

import asyncio
import os
import resource
import socket
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from devices import (
    BadFrame,
    BarcodeRead,
    Misconfigured,
    PortStatus,
    Read,
    Reader,
    Unavailable,
    parse_port,
    set_up,
)
from devices.drivers.text_line import TextLine
from devices.ports import serial_line, tcp
from devices.reader import FIRST_RETRY_S, LAST_RETRY_S, retry_delay_s
from devices.reads import Moment
from tests.support.programs import free_port
from tests.support.readers import at_work
from tests.support.wait import eventually_async


class Pty:
    """A pseudo-terminal as a scanner's end of a serial cable, under a name that stays when it is replugged."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.master, slave = os.openpty()
        tty.setraw(slave)
        name.unlink(missing_ok=True)
        name.symlink_to(os.ttyname(slave))
        os.close(slave)

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def unplug(self) -> None:
        """The name goes first, as udev takes it away: another test may get a terminal of the same number."""
        if self.master >= 0:
            self.name.unlink(missing_ok=True)
            os.close(self.master)
            self.master = -1


@pytest.fixture
def pty(tmp_path: Path) -> Iterator[Pty]:
    device = Pty(tmp_path / "scanner")
    yield device
    device.unplug()


class Bench:
    """A reader and everything it said."""

    def __init__(self, url: str, driver: str = "text-line", *, reopen: bool = True) -> None:
        self.reads: list[Read] = []
        self.statuses: list[PortStatus] = []
        self.reader = Reader(
            "scanner-1",
            driver,
            url,
            self.reads.append,
            self.statuses.append,
            jitter=lambda: 0.9,
            reopen=reopen,
        )

    @property
    def texts(self) -> list[str]:
        return [read.text for read in self.reads if isinstance(read, BarcodeRead)]

    @property
    def said(self) -> list[str]:
        return [status.status for status in self.statuses]

    async def becomes(self, status: str) -> PortStatus:
        await eventually_async(lambda: self.reader.status.status == status, 5, f"status {status}")
        return self.reader.status


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Bench]:
    bench = Bench(url)
    async with at_work(bench.reader):
        yield bench


async def test_a_scanner_is_read_whatever_the_pieces(pty: Pty) -> None:
    async with running(f"serial://{pty.name}?baud=115200") as bench:
        await bench.becomes("online")
        for piece in (b"]E0590123", b"4123457\r", b"\n]C1001061", b"41412345678908\r\nA-01-", b"03\r"):
            pty.send(piece)
            await asyncio.sleep(0.01)
        await eventually_async(lambda: len(bench.reads) == 3, 5)
    assert bench.texts == ["5901234123457", "00106141412345678908", "A-01-03"]
    assert bench.said == ["connecting", "online"]
    assert bench.statuses[0].since.endswith("Z")


async def test_an_unplugged_scanner_comes_back_under_its_name(pty: Pty) -> None:
    async with running(f"serial://{pty.name}") as bench:
        await bench.becomes("online")
        pty.send(b"A\rhalf a line")
        await eventually_async(lambda: bench.texts == ["A"], 5)
        pty.unplug()
        failed = await bench.becomes("failed")
        assert failed.reason is not None and str(pty.name) in failed.reason
        [bad] = [read for read in bench.reads if isinstance(read, BadFrame)]
        assert bad.sample == b"half a line"
        again = Pty(pty.name)
        try:
            await bench.becomes("online")
            again.send(b"B\r")
            await eventually_async(lambda: bench.texts == ["A", "B"], 5)
        finally:
            again.unplug()


async def test_a_vanished_device_costs_nothing(pty: Pty) -> None:
    async with running(f"serial://{pty.name}") as bench:
        await bench.becomes("online")
        pty.unplug()
        await bench.becomes("failed")
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(0.5)
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.2
    # One message for all the attempts, and its reason is the last one's.
    assert bench.said.count("failed") <= 2
    assert "there is no" in (bench.statuses[-1].reason or "")


async def test_a_port_that_does_not_exist_fails_clearly_and_is_opened_when_it_appears(tmp_path: Path) -> None:
    name = tmp_path / "later"
    async with running(f"serial://{name}") as bench:
        failed = await bench.becomes("failed")
        assert (
            failed.reason is not None
            and f"there is no {name}" in failed.reason
            and "plugged in" in failed.reason
        )
        device = Pty(name)
        try:
            await bench.becomes("online")
        finally:
            device.unplug()


async def test_a_line_in_use_is_not_shared(pty: Pty) -> None:
    async with running(f"serial://{pty.name}") as first, running(f"serial://{pty.name}") as second:
        await eventually_async(
            lambda: {first.reader.status.status, second.reader.status.status} == {"online", "failed"}
        )
        failed = first if first.reader.status.status == "failed" else second
        assert "in use by another program" in (failed.reader.status.reason or "")


async def test_what_is_no_serial_line_says_so(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.write_text("x")
    async with running(f"serial://{plain}") as bench:
        failed = await bench.becomes("failed")
        assert "no serial line" in (failed.reason or "")


async def test_a_pause_ends_a_line(pty: Pty) -> None:
    async with running(f"serial://{pty.name}?terminator=idle&idle_ms=30") as bench:
        await bench.becomes("online")
        pty.send(b"A\rB")
        await eventually_async(lambda: bench.texts == ["A\rB"], 5)
        pty.send(b"C")
        await eventually_async(lambda: bench.texts == ["A\rB", "C"], 5)


async def test_a_silent_device_is_called_silent_until_it_speaks(pty: Pty) -> None:
    async with running(f"serial://{pty.name}?silent_s=1") as bench:
        await bench.becomes("online")
        silent = await bench.becomes("silent")
        assert silent.reason == "nothing was heard for 1 s"
        pty.send(b"A\r")
        await bench.becomes("online")
        assert bench.texts == ["A"]


async def test_feedback_reaches_the_scanner_and_never_blocks(pty: Pty) -> None:
    async with running(f"serial://{pty.name}?beep=bel") as bench:
        bench.reader.feedback("ok")  # before it is open: nobody hears it, nothing happens
        await bench.becomes("online")
        bench.reader.feedback("reject")
        os.set_blocking(pty.master, False)
        heard = bytearray()

        def three_beeps() -> bool:
            with suppress(BlockingIOError):
                heard.extend(os.read(pty.master, 100))
            return heard == b"\x07" * 3

        await eventually_async(three_beeps, 5)
        for _ in range(20_000):  # far more than a pseudo-terminal holds
            bench.reader.feedback("ok")
        pty.send(b"A\r")
        await eventually_async(lambda: bench.texts == ["A"], 5)
        pty.unplug()
        await bench.becomes("failed")
        bench.reader.feedback("ok")


async def test_a_mistake_in_on_read_ends_the_run(pty: Pty) -> None:
    def refuse(read: Read) -> None:
        raise ValueError("no")

    reader = Reader("scanner-1", "text-line", f"serial://{pty.name}", refuse, lambda status: None)
    task = asyncio.create_task(reader.run())
    await eventually_async(lambda: reader.status.status == "online")
    pty.send(b"A\r")
    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(task, 5)


async def test_a_mistake_in_a_driver_is_a_failed_device_and_no_end(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, logged = TextLine.feed, []

    def stumble(driver: TextLine, data: bytes, now: Moment) -> list[Read]:
        if b"?" in data:
            raise IndexError("no such field")
        return decode(driver, data, now)

    monkeypatch.setattr(TextLine, "feed", stumble)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: logged.append(context))
    async with running(f"serial://{pty.name}") as bench:
        await bench.becomes("online")
        pty.send(b"A\r")
        await eventually_async(lambda: bench.texts == ["A"], 5)
        pty.send(b"?\r")
        failed = await bench.becomes("failed")
        assert "IndexError('no such field')" in (failed.reason or "") and "report it" in (failed.reason or "")
        await bench.becomes("online")
        pty.send(b"B\r")
        await eventually_async(lambda: bench.texts == ["A", "B"], 5)
    [context] = logged
    assert context["message"] == "the driver of scanner-1 failed"
    assert isinstance(context["exception"], IndexError)


async def test_what_is_said_last_is_not_thrown_away(pty: Pty) -> None:
    setup = set_up("scanner-1", "text-line", f"serial://{pty.name}?baud=9600")
    assert setup.byte_driver is not None
    for _ in range(30):
        link = await serial_line.open_link(setup.port, setup.options, setup.byte_driver)
        link.send(b"goodbye")
        link.close()
        await link.closed()
        assert os.read(pty.master, 100) == b"goodbye"


async def test_a_line_is_held_until_it_was_said_but_not_for_ever(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = set_up("scanner-1", "text-line", f"serial://{pty.name}?baud=9600")
    assert setup.byte_driver is not None
    left = [9, 5, 1]
    monkeypatch.setattr(serial_line, "_unsent", lambda _line: left.pop() if left else 0)
    link = await serial_line.open_link(setup.port, setup.options, setup.byte_driver)
    link.close()
    assert link._line.is_open
    await link.closed()
    assert not link._line.is_open and not left
    monkeypatch.setattr(serial_line, "_unsent", lambda _line: 9)
    monkeypatch.setattr(serial_line, "DRAIN_S", 0.05)
    link = await serial_line.open_link(setup.port, setup.options, setup.byte_driver)
    link.close()
    link.close()
    await asyncio.wait_for(link.closed(), 5)
    assert not link._line.is_open


class Device:
    """A scanner with a network plug: listens on a port of its own."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.port = free_port()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)

    async def hang_up(self, *, rudely: bool = False) -> None:
        for writer in self.writers:
            if rudely:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        self.writers.clear()

    async def stop(self) -> None:
        await self.hang_up()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    async with AsyncExitStack() as stack:
        listening = Device()
        await listening.start()
        stack.push_async_callback(listening.stop)
        yield listening


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_network_scanner_is_read_and_reconnected(device: Device, *, rudely: bool) -> None:
    async with running(f"tcp://127.0.0.1:{device.port}") as bench:
        await eventually_async(lambda: len(device.writers) == 1)
        device.writers[0].write(b"]C0" + b"A" * 5000 + b"\rB\r")
        await eventually_async(lambda: len(bench.texts) == 2, 5)
        await device.hang_up(rudely=rudely)
        failed = await bench.becomes("failed")
        assert f"127.0.0.1:{device.port}" in (failed.reason or "")
        await eventually_async(lambda: len(device.writers) == 1)
        device.writers[0].write(b"C\r")
        await eventually_async(lambda: bench.texts[-1] == "C", 5)


async def test_after_a_session_that_was_of_use_the_first_retry_comes_at_once_again(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[int] = []

    def note(in_a_row: int, _jitter: float) -> float:
        failures.append(in_a_row)
        return 0.0

    monkeypatch.setattr("devices.reader.retry_delay_s", note)
    async with running(f"tcp://127.0.0.1:{device.port}") as bench:
        for number in range(3):
            await eventually_async(lambda: len(device.writers) == 1)
            device.writers[0].write(b"A\r")
            await eventually_async(lambda number=number: len(bench.texts) == number + 1)
            await device.hang_up()
        await eventually_async(lambda: len(device.writers) == 1)
        assert failures == [0, 0, 0]
        await device.hang_up()  # nothing was read this time
        await eventually_async(lambda: len(device.writers) == 1)
    assert failures[3:] == [1]


async def test_nobody_listens(device: Device) -> None:
    await device.stop()
    async with running(f"tcp://127.0.0.1:{device.port}") as bench:
        failed = await bench.becomes("failed")
        assert failed.reason is not None and "connection refused; check address" in failed.reason
        await device.start()
        await bench.becomes("online")


async def test_a_host_nobody_knows() -> None:
    async with running("tcp://no-such-host.invalid:9100") as bench:
        failed = await bench.becomes("failed")
        assert "no-such-host.invalid:9100 cannot be reached" in (failed.reason or "")


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "CONNECT_TIMEOUT_S", 2.0)
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # who is not accepted and finds no place in the queue gets no answer at all
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(full.getsockname())

        async def both(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 0, "", address)
                for address in (full.getsockname(), ("127.0.0.1", device.port))
            ]

        monkeypatch.setattr(loop, "getaddrinfo", both)
        async with running("tcp://both:9100") as bench:
            await bench.becomes("online")
        assert bench.said == ["connecting", "online"]


async def test_a_recording_is_played_to_its_end(tmp_path: Path) -> None:
    recording = tmp_path / "dock.bin"
    recording.write_bytes(b"".join(b"]C0%d\r\n" % number for number in range(20_000)) + b"half")
    bench = Bench(f"file://{recording}")
    ending = await asyncio.wait_for(bench.reader.run(), 20)
    assert ending.finished and bench.said == ["connecting", "online", "silent"]
    assert bench.texts == [str(number) for number in range(20_000)]
    assert isinstance(bench.reads[-1], BadFrame)


async def test_opened_once_a_missing_port_is_an_error_and_an_end_is_an_end(
    tmp_path: Path, device: Device
) -> None:
    with pytest.raises(Unavailable, match="there is no"):
        await Bench(f"serial://{tmp_path}/none", reopen=False).reader.run()
    bench = Bench(f"tcp://127.0.0.1:{device.port}", reopen=False)
    run = asyncio.create_task(bench.reader.run())
    await eventually_async(lambda: len(device.writers) == 1)
    device.writers[0].write(b"A\r")
    await device.hang_up()
    assert "ended the connection" in (await asyncio.wait_for(run, 5)).reason
    assert bench.texts == ["A"]


def test_retries_come_later_and_later_within_bounds() -> None:
    delays = [retry_delay_s(failures, 0.0) for failures in range(2000)]
    assert delays[0] == FIRST_RETRY_S
    assert delays == sorted(delays) and delays[-1] == LAST_RETRY_S
    assert retry_delay_s(3, 0.999) > retry_delay_s(3, 0.0) / 2


@pytest.mark.parametrize(
    ("driver", "url", "message"),
    [
        ("text-lime", "tcp://a:1", "unknown driver 'text-lime'; did you mean text-line?"),
        ("text-line", "tcp://dock..local:2101", "needs a host and a port number"),
        ("text-line", f"tcp://{'a' * 64}:2101", "needs a host and a port number"),
        ("llama", "tcp://a:1", "unknown driver 'llama'; there are: "),
        ("text-line", "camera://0", "driver text-line reads from serial: or tcp: or file:, not from camera:"),
        ("text-line", "/dev/ttyUSB0", "a path alone is no port; write serial:///dev/ttyUSB0"),
        ("text-line", "seral:///dev/ttyUSB0", "did you mean serial?"),
        ("text-line", "serial://dev/ttyUSB0", "needs a path after three slashes"),
        ("text-line", "serial:///dev/ttyUSB0?baud=fast&parrity=odd", "'baud' must be a whole number"),
        ("text-line", "serial:///dev/ttyUSB0?baud=fast&parrity=odd", "did you mean parity?"),
        ("text-line", "serial:///dev/ttyUSB0?baud=9600&baud=1200", "option 'baud' is given twice"),
        ("text-line", "serial:///dev/ttyUSB0?baud", "is not a URL"),
        ("text-line", "serial:///dev/tty\x00", "no control characters"),
        ("text-line", "tcp://host", "needs a host and a port number"),
        ("text-line", "tcp://host:99999", "needs a host and a port number"),
        ("text-line", "tcp://:12", "needs a host and a port number"),
        ("camera", "camera://front", "needs the number or the path of a camera"),
        ("text-line", "tcp://[::1", "is not a URL"),
        ("text-line", "tcp://host:1?gs=#", "write # as %23"),
    ],
)
def test_what_can_never_work_is_said_before_anything_is_opened(driver: str, url: str, message: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        set_up("scanner-1", driver, url)
    assert message in str(wrong.value)


def test_a_url_is_taken_apart() -> None:
    port = parse_port("tcp://[::1]:2101?gs=%7C,0xF8&terminator=cr")
    assert (port.host, port.number, port.options) == ("::1", 2101, {"gs": "|,0xF8", "terminator": "cr"})
    assert parse_port("serial:///dev/serial/by-id/a%20b").path == "/dev/serial/by-id/a b"
    assert parse_port("camera:///dev/video0").path == "/dev/video0"

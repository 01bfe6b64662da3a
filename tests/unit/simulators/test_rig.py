"""A running device against a plain host: what it is shown, what the host reads, what the account says."""

import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import pytest

from simulators.hardware import KINDS, Kind
from simulators.hardware.device import Device, Frame, Thing
from simulators.hardware.faults import FAULTS
from simulators.hardware.rig import Rig
from simulators.hardware.things import Item, at_rate, make
from simulators.hardware.transports import Refused
from tests.support.wait import eventually

CODE = Thing(code="9521234543213", aim="]E0")


class Host:
    """Opens the port whenever it is there, and reads lines until it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[bytes] = []
        self._reading, self._stop = threading.Event(), threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def pause(self) -> None:
        self._reading.clear()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.002)
                continue
            try:
                self._read(fd)
            finally:
                os.close(fd)

    def _read(self, fd: int) -> None:
        rest = b""
        while not self._stop.is_set():
            self._reading.wait(0.05)
            if not self._reading.is_set():
                continue
            try:
                data = os.read(fd, 4096)
            except BlockingIOError:
                time.sleep(0.001)
                continue
            except OSError:
                return
            if not data:
                return
            *lines, rest = re.split(rb"[\r\n]", rest + data)
            self.lines += filter(None, lines)


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "link"


def line_of(thing: Thing) -> bytes:
    return f"{thing.aim or ''}{thing.code}".encode()


def test_what_is_shown_is_read_and_accounted_for(link: Path) -> None:
    with Rig("text-line", f"pty:{link}") as rig, Host(link) as host:
        assert rig.place == str(link)
        assert rig.url == f"serial://{link}"
        assert rig.wait_open(5)
        shown = rig.see(CODE, CODE)
        assert [thing.number for thing in shown] == [1, 2]
        assert rig.settle(5)
        assert rig.account().whole == shown
        eventually(lambda: host.lines == [line_of(CODE)] * 2, 5, "two lines")


def test_what_is_shown_to_a_closed_port_is_lost(link: Path) -> None:
    with Rig("text-line", f"pty:{link}") as rig:
        [thing] = rig.see(CODE)
        assert rig.settle(5)
        assert rig.account().lost == [thing]
        assert not rig.wait_open(0.01)


def test_what_is_read_after_a_moment_is_whole_and_what_never_is_is_not(link: Path) -> None:
    with Rig("text-line", f"pty:{link}") as rig, Host(link) as host:
        assert rig.wait_open(5)
        host.pause()
        time.sleep(0.06)
        rig.see(CODE)
        assert not rig.settle(0.05)
        assert rig.account().of("waiting")
        rig.close()
        [entry] = rig.account().entries
        assert (entry.fate, entry.why) == ("uncertain", "the device was switched off")


def test_unplugged_it_comes_back_and_the_reader_with_it(link: Path) -> None:
    told: list[str] = []
    with Rig("text-line", f"pty:{link}", tell=told.append) as rig, Host(link):
        assert rig.wait_open(5)
        rig.unplug(0.05)
        assert rig.open_for_s() is None
        assert not rig.settle(0.0)
        assert rig.wait_open(5)
        rig.unplug()
        rig.unplug()
        assert not rig.wait_open(0.1)
        assert not link.is_symlink()
        rig.plug()
        rig.plug()
        assert rig.wait_open(5)
        [thing] = rig.see(CODE)
        assert rig.settle(5)
        assert rig.account().whole == [thing]
    assert told.count("unplugged") == 2
    assert told.count(f"plugged in again at {link}") == 2


def test_play_shows_one_thing_after_the_other_while_the_port_is_open(link: Path) -> None:
    with (
        Rig("text-line", f"pty:{link}", faults=("unplug",), fault_rate=0.5, seed=3) as rig,
        Host(link) as host,
    ):
        assert rig.play(at_rate(make("code", 3), 200, 60), patience_s=5)
        assert rig.settle(5)
        account = rig.account()
        rig.close()
    read = set(host.lines)
    assert len(account.entries) == 60
    assert {line_of(thing) for thing in account.whole} <= read
    assert read <= {line_of(thing) for thing in account.of("whole", "uncertain")}
    assert account.lost
    assert account.whole


def test_play_ends_when_nobody_comes_or_somebody_says_so(link: Path) -> None:
    stop = threading.Event()
    stop.set()
    with Rig("text-line", f"pty:{link}") as rig:
        assert not rig.play([Item(CODE)], patience_s=0.01)
        assert not rig.play([Item(CODE)], stop=stop)
        assert not rig.account().entries


@pytest.mark.parametrize("fault", FAULTS)
def test_under_every_fault_the_host_reads_what_is_whole_and_nothing_else(link: Path, fault: str) -> None:
    with (
        Rig("text-line", f"pty:{link}", faults=(fault,), fault_rate=0.3, seed=5) as rig,
        Host(link) as host,
    ):
        things = list(make_n(40))
        assert rig.play([Item(thing) for thing in things], patience_s=5)
        assert rig.settle(20)
        account = rig.account()
        rig.close()
        eventually(lambda: {line_of(thing) for thing in account.whole} <= set(host.lines), 5, "all whole")
    lost = {line_of(thing) for thing in account.lost}
    assert not lost & set(host.lines)
    assert len(account.whole) + len(account.lost) + len(account.uncertain) == 40
    assert bool(account.lost) == (fault in ("drop", "corrupt", "noise", "unplug"))
    most = {line_of(entry.thing): entry.times for entry in account.entries}
    for line, times in most.items():
        assert host.lines.count(line) <= times
    assert (max(most.values()) == 2) == (fault == "duplicate")


def make_n(count: int) -> Iterator[Thing]:
    for number in range(count):
        yield Thing(code=f"A-{number:06d}", aim="]C0")


def bytes_and_fates(seed: int, faults: Sequence[str]) -> tuple[bytes, list[tuple[str, int]]]:
    received = bytearray()
    with Rig("text-line", "pair", seed=seed, faults=faults, fault_rate=0.5) as rig:
        rig.transport.host.setblocking(True)
        rig.see(*make_n(30))
        reader = threading.Thread(target=lambda: read_all(rig.transport.host, received))
        reader.start()
        assert rig.settle(20)
        rig.close()
        reader.join()
        return bytes(received), [(entry.fate, entry.times) for entry in rig.account().entries]


def read_all(host: socket.socket, into: bytearray) -> None:
    while data := host.recv(4096):
        into += data


def test_the_same_seed_gives_the_same_bytes_and_the_same_fates() -> None:
    faults = ("split", "drop", "corrupt", "duplicate", "noise")
    first = bytes_and_fates(8, faults)
    assert first == bytes_and_fates(8, faults)
    assert first != bytes_and_fates(9, faults)
    assert {fate for fate, _ in first[1]} == {"whole", "lost"}


def test_tcp_serves_one_client_and_the_next_after_it() -> None:
    with Rig("text-line", "tcp:0") as rig:
        host, _, port = rig.place.rpartition(":")
        for _ in range(2):
            with socket.create_connection((host, int(port)), timeout=5) as client:
                assert rig.wait_open(5, 0.0)
                [thing] = rig.see(CODE)
                assert client.recv(100) == line_of(CODE) + b"\r\n"
                assert rig.settle(5)
            eventually(lambda: rig.open_for_s() is None, 5, "the client is gone")
            assert thing in rig.account().whole


# --- the device's side ---------------------------------------------------------------------------------------


class Talker(Device):
    """Says what happens to it."""

    OPTIONS: ClassVar[Mapping[str, str]] = {"mood": "any"}
    PORTS = ("pair", "tcp")

    def __init__(self, rng: random.Random, **options: str) -> None:
        super().__init__(rng)
        self.options = options
        self.log: list[str] = []
        self.due: float | None = None

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        if data == b"break":
            raise ZeroDivisionError("the device has a defect")
        if data == b"go":
            return [Frame(b"found", tuple(self.field.take(10)))]
        if data == b"later":
            self.due = now_s + 0.05
        return []

    def due_s(self) -> float | None:
        return self.due

    def tick(self, now_s: float) -> list[Frame]:
        self.due = None
        return [Frame(b"now")]

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        self.field.put(thing)
        return []

    def opened(self, now_s: float) -> list[Frame]:
        self.log.append("opened")
        return [Frame(b"hello")]

    def closed(self, now_s: float) -> None:
        self.log.append("closed")

    def unplugged(self) -> None:
        self.log.append("unplugged")

    def refusal(self, now_s: float) -> bytes:
        return b"busy"


@pytest.fixture
def talker(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Rig]:
    monkeypatch.setitem(KINDS, "talker", Kind(f"{__name__}:Talker", "code", "says what happens"))
    monkeypatch.setattr(Kind, "load", lambda kind: Talker)
    return lambda *more, **options: Rig("talker", *more, **options)


def test_a_polled_device_tells_what_is_in_its_field_when_it_is_asked(talker: Callable[..., Rig]) -> None:
    with talker("pair") as rig:
        rig.transport.host.setblocking(True)
        assert rig.transport.host.recv(10) == b"hello"
        [thing] = rig.see(CODE)
        assert not rig.settle(0.02)
        assert rig.account().of("waiting") == [thing]
        rig.transport.host.send(b"go")
        assert rig.transport.host.recv(10) == b"found"
        assert rig.settle(5)
        assert rig.account().whole == [thing]
        assert bytes(rig.heard) == b"go"


def test_time_passes_for_a_device(talker: Callable[..., Rig]) -> None:
    with talker("pair") as rig:
        rig.transport.host.setblocking(True)
        assert rig.transport.host.recv(10) == b"hello"
        rig.transport.host.send(b"later")
        assert rig.transport.host.recv(10) == b"now"


def test_a_device_is_told_who_comes_and_goes(talker: Callable[..., Rig]) -> None:
    with talker("tcp:0") as rig:
        address = ("127.0.0.1", int(rig.place.rpartition(":")[2]))
        with socket.create_connection(address, timeout=5) as client:
            assert client.recv(5) == b"hello"
            with socket.create_connection(address, timeout=5) as second:
                assert second.recv(5) == b"busy"
        eventually(lambda: rig.device.log == ["opened", "closed"], 5, "opened and closed")  # type: ignore[attr-defined]
        rig.unplug(0.01)
        assert rig.device.log == ["opened", "closed", "unplugged"]  # type: ignore[attr-defined]


def test_what_is_left_in_the_field_is_lost_at_the_end(talker: Callable[..., Rig]) -> None:
    with talker("pair") as rig:
        rig.see(CODE)
    [entry] = rig.account().entries
    assert (entry.fate, entry.why) == ("lost", "the device never told it")


def test_a_field_that_is_full_is_told_about(talker: Callable[..., Rig]) -> None:
    with talker("pair") as rig:
        things = rig.see(*[CODE] * 1003)
        assert rig.account().lost == things[:3]


def test_a_defect_of_a_device_is_shown_to_whoever_uses_it(talker: Callable[..., Rig]) -> None:
    rig = talker("pair")
    rig.transport.host.send(b"break")
    with pytest.raises(ZeroDivisionError, match="defect"):
        eventually(lambda: rig.account().lost, 5, "a defect")
    with pytest.raises(ZeroDivisionError, match="defect"):
        rig.see(CODE)
    with pytest.raises(ZeroDivisionError, match="defect"):
        rig.close()
    rig.close()


def test_options_reach_the_device(talker: Callable[..., Rig]) -> None:
    with talker("pair", options={"mood": "fine"}) as rig:
        assert rig.device.options == {"mood": "fine"}  # type: ignore[attr-defined]


def test_decided_things_are_handed_out_once(link: Path) -> None:
    with Rig("text-line", f"pty:{link}") as rig:
        things = rig.see(CODE, CODE)
        assert [entry.thing for entry in rig.take_decided()] == things
        assert rig.take_decided() == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"kind": "text-lin"}, "no kind of device 'text-lin'; did you mean text-line?"),
        ({"kind": "text-line", "port": "pyt"}, "did you mean pty?"),
        ({"kind": "text-line", "faults": ["spilt"]}, "no fault 'spilt'; did you mean split?"),
        ({"kind": "text-line", "fault_rate": 2}, "probability from 0 to 1"),
        ({"kind": "text-line", "options": {"terminater": "cr"}}, "did you mean terminator?"),
        ({"kind": "text-line", "options": {"terminator": "xx"}}, "terminator is one of crlf, cr"),
        ({"kind": "m100", "options": {"xyz": ""}}, "no option of m100 'xyz'; there is: framing"),
    ],
)
def test_mistakes_are_told_with_what_is_near(arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError) as told:
        Rig(**arguments)  # type: ignore[arg-type]
    assert problem in str(told.value)


def test_a_thing_of_another_kind_is_refused(link: Path) -> None:
    with Rig("m100", f"pty:{link}") as rig, pytest.raises(ValueError, match="reads things with 'epc'"):
        rig.see(CODE)


def test_a_closed_rig_takes_nothing_more(link: Path) -> None:
    rig = Rig("text-line", f"pty:{link}")
    rig.close()
    rig.close()
    with pytest.raises(RuntimeError, match="is closed"):
        rig.see(CODE)


def test_a_port_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(Refused):
        Rig("text-line", "pty:/nowhere/link")


def test_a_host_that_asks_on_as_soon_as_it_is_answered_is_answered_at_once() -> None:
    """While it sends, the terminal takes in what came meanwhile: that must not wait for something else to happen."""
    with Rig("a0") as rig:
        port = os.open(rig.place, os.O_RDWR | os.O_NOCTTY)
        try:
            began_s = time.monotonic()
            for _ in range(50):
                os.write(port, bytes.fromhex("a003ff72ec"))
                assert os.read(port, 100).hex() == "a00501720109de"
            took_s = time.monotonic() - began_s
        finally:
            os.close(port)
    assert took_s < 0.9, "nobody waited for the next look, which is a second away"

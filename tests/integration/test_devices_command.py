"""`tallyman devices`: what is attached, from a tree like the kernel's with real pseudo-terminals at its leaves."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devices import set_up
from devices.errors import Unavailable
from devices.finding.asking import SERVICES, Service, _ask_r700, ask_host, in_use, rounds
from devices.finding.attached import Roots, usage_pages
from devices.finding.listing import devices, toml
from devices.registry import DRIVERS
from simulators.hardware import KINDS
from simulators.hardware.rig import Rig
from tests.support.drivers import BYTE_DRIVERS
from tests.support.programs import free_port
from tests.support.wait import eventually

# A scanner's report descriptor begins with its usage page (HID point of sale tables); a mouse's with page 01.
SCANNER_REPORTS = bytes.fromhex("058c0902a101858105 8c 1500 25ff 7508 9538 81 02 c0".replace(" ", ""))
MOUSE_REPORTS = bytes.fromhex("05010902a1010901a100c0c0")


class Tree:
    """/dev, /sys, /proc and the locks of a machine."""

    def __init__(self, root: Path) -> None:
        self.roots = Roots(root / "dev", root / "sys", root / "proc", root / "lock")
        for part in (self.roots.dev, self.roots.sys, self.roots.proc, self.roots.lock):
            part.mkdir()

    def link(self, name: str, target: str) -> Path:
        """A lasting name."""
        path = self.roots.dev / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        return path

    def node(self, name: str) -> Path:
        path = self.roots.dev / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    def usb(self, subsystem: str, node: str, vendor: str, product: str, name: str) -> None:
        """A USB device and its node, as sysfs has them: the device two directories above."""
        device = self.roots.sys / "devices" / f"usb-{node}"
        (device / "1:1.0" / node).mkdir(parents=True)
        for file, content in (
            ("idVendor", vendor),
            ("idProduct", product),
            ("manufacturer", "ACME"),
            ("product", name),
        ):
            (device / file).write_text(content + "\n")
        entry = self.roots.sys / "class" / subsystem / node
        entry.mkdir(parents=True)
        (entry / "device").symlink_to(device / "1:1.0" / node)

    def sysfs(self, path: str, content: str | bytes) -> None:
        file = self.roots.sys / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def line() -> Iterator[str]:
    """A serial line with nobody at its other end."""
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def listed(tree: Tree, capsys: pytest.CaptureFixture[str], **arguments: Any) -> list[dict[str, Any]]:
    assert devices(roots=tree.roots, as_json=True, **arguments) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


# --- looking ----------------------------------------------------------------------------------------------


def test_nothing_attached_says_what_to_check(tree: Tree, capsys: pytest.CaptureFixture[str]):
    assert devices(roots=tree.roots) == 0
    out, err = capsys.readouterr()
    assert out == ""
    for hint in ("plugged in", "ls -l /dev/serial/by-id", "dialout,input", "--host"):
        assert hint in err
    assert listed(tree, capsys) == []


def test_serial_lines_have_their_lasting_name_or_are_marked(tree: Tree, capsys: pytest.CaptureFixture[str]):
    tree.node("ttyUSB0")
    tree.node("ttyUSB1")
    tree.node("ttyS0")
    tree.node("ttyS1")
    tree.sysfs("class/tty/ttyS0/type", "4\n")
    tree.sysfs("class/tty/ttyS0/device/x", "")
    tree.sysfs("class/tty/ttyS1/type", "0\n")
    tree.sysfs("class/tty/ttyS1/device/x", "")
    lasting = tree.link("serial/by-id/usb-ACME #1-if00", "../../ttyUSB0")
    tree.link("serial/by-id/usb-gone", "../../ttyUSB9")
    tree.usb("tty", "ttyUSB0", "1a86", "7523", "USB \x1b[31mSerial")
    first, second, third = listed(tree, capsys, ask=False)
    assert (first["path"], first["node"], first["lasting"]) == (str(lasting), "ttyUSB0", True)
    assert (first["usb"], first["about"]) == ("1a86:7523", "ACME USB �[31mSerial")
    assert first["driver"] is None and first["toml"] is None
    assert set_up("x", "text-line", first["port"]).port.path == str(lasting), "the URL leads there, # and all"
    assert [(each["node"], each["lasting"]) for each in (second, third)] == [
        ("ttyUSB1", False),
        ("ttyS0", False),
    ]
    assert "no lasting name" in second["notes"][0]


def test_makers_of_scanners_are_known_and_modems_are_left_alone(
    tree: Tree, capsys: pytest.CaptureFixture[str]
):
    for number, (vendor, product) in enumerate((("05e0", "1701"), ("2c7c", "0125"))):
        tree.usb("tty", f"ttyACM{number}", vendor, product, "Thing")
        tree.node(f"ttyACM{number}")
    scanner, modem = listed(tree, capsys)
    assert (scanner["driver"], scanner["sure"], scanner["why"]) == (
        "text-line",
        "likely",
        "made by Zebra, Symbol",
    )
    assert modem["driver"] is None and "left alone" in modem["why"]
    assert modem["notes"] == [
        "it has no lasting name: after plugging or a restart it may be called otherwise"
    ]


def test_keyboards_that_look_like_scanners(tree: Tree, capsys: pytest.CaptureFixture[str]):
    for event, name, vendor in (
        ("event3", "Acme Barcode Scanner", "1234"),
        ("event4", "Plain Keyboard", "046d"),
    ):
        tree.node(f"input/{event}")
        tree.sysfs(f"class/input/{event}/device/name", name + "\n")
        tree.sysfs(f"class/input/{event}/device/id/vendor", vendor + "\n")
        tree.sysfs(f"class/input/{event}/device/id/product", "0001\n")
        tree.link(f"input/by-id/usb-{name.replace(' ', '_')}-event-kbd", f"../{event}")
    tree.link("input/by-id/usb-Mouse-event-mouse", "../event4")
    scanner, keyboard = listed(tree, capsys)
    assert (scanner["driver"], scanner["sure"]) == ("keyboard-wedge", "likely")
    assert scanner["port"].startswith("evdev:///") and scanner["port"].endswith("-event-kbd")
    assert (keyboard["driver"], keyboard["toml"]) == (None, None)
    assert "if it is a scanner" in keyboard["why"]


def test_hid_devices_that_say_they_are_scanners(tree: Tree, capsys: pytest.CaptureFixture[str]):
    for number, descriptor in enumerate((MOUSE_REPORTS, SCANNER_REPORTS)):
        tree.node(f"hidraw{number}")
        tree.sysfs(f"class/hidraw/hidraw{number}/device/report_descriptor", descriptor)
        tree.sysfs(
            f"class/hidraw/hidraw{number}/device/uevent",
            f"HID_ID=0003:000005E0:0000130{number}\nHID_NAME=Symbol Scanner\nBROKEN\n",
        )
    (found,) = listed(tree, capsys)
    assert (found["driver"], found["sure"], found["usb"]) == ("hid-pos", "likely", "05e0:1301")
    assert found["port"] == f"hidraw://{tree.roots.dev}/hidraw1"
    assert found["about"] == "Symbol Scanner"
    assert (found["lasting"], len(found["notes"])) == (False, 1)
    lasting = tree.link("tallyman/hidraw-05e0-1301-S1", "../hidraw1")
    (found,) = listed(tree, capsys)
    assert found["port"] == f"hidraw://{lasting}", "the name that our udev rule gives"
    assert (found["lasting"], found["node"], found["notes"]) == (True, "hidraw1", [])


@pytest.mark.parametrize(
    ("descriptor", "pages"),
    [
        ("", set()),
        ("05", {0}),
        ("058c", {0x8C}),
        ("068c00", {0x8C}),
        ("078c000000 0501", {0x8C, 1}),
        ("fe0299058c058c", {0x8C}),
        ("fe", set()),
        ("fe02", set()),
        ("95058c", set()),
    ],
)
def test_usage_pages(descriptor: str, pages: set[int]):
    assert usage_pages(bytes.fromhex(descriptor)) == pages


def test_cameras(tree: Tree, capsys: pytest.CaptureFixture[str]):
    for number in range(2):
        tree.node(f"video{number}")
        tree.link(f"v4l/by-id/usb-Cam-video-index{number}", f"../../video{number}")
    tree.sysfs("class/video4linux/video0/name", "Good Cam\n")
    (found,) = listed(tree, capsys)
    assert (found["driver"], found["about"], found["node"]) == ("camera", "Good Cam", "video0")
    assert found["port"] == f"camera://{tree.roots.dev}/v4l/by-id/usb-Cam-video-index0"


# --- asking -----------------------------------------------------------------------------------------------

ASKABLE = tuple(
    name
    for name in BYTE_DRIVERS
    if "serial" in DRIVERS[name].schemes
    and getattr(set_up("x", name, "serial:///dev/null").byte_driver, "ASK", b"")
)


def test_readers_are_found_by_asking(tree: Tree, capsys: pytest.CaptureFixture[str]):
    """Every driver that can be asked, beside its own simulated device, all on one machine."""
    assert "m100" in ASKABLE
    with ExitStack() as stack:
        for name in ASKABLE:
            rig = stack.enter_context(Rig(name, "pty"))
            tree.link(f"serial/by-id/usb-{name}", rig.place)
        found = {Path(each["path"]).name: each for each in listed(tree, capsys)}
    for name in ASKABLE:
        each = found[f"usb-{name}"]
        assert (each["driver"], each["sure"]) == (name, "sure"), each
        assert "it answers as" in each["why"]
        (table,) = tomllib.loads(each["toml"])["devices"]
        setup = set_up(table["name"], table["driver"], table["port"])
        assert setup.options["baud"] in setup.byte_driver.BAUDS  # type: ignore[union-attr]
    names = [tomllib.loads(each["toml"])["devices"][0]["name"] for each in found.values()]
    assert len(set(names)) == len(names)


def test_a_device_that_says_nothing_is_a_guess(tree: Tree, line: str, capsys: pytest.CaptureFixture[str]):
    tree.link("serial/by-id/usb-mute", line)
    assert devices(roots=tree.roots) == 0
    out, err = capsys.readouterr()
    assert "text-line, guess: no reader answered" in out
    assert '[[devices]]\n   name = "scanner-1"\n   driver = "text-line"' in out
    assert "asking" in err and "baud" in err
    assert devices(roots=tree.roots, ask=False) == 0
    out, err = capsys.readouterr()
    assert "not known" in out and err == ""


def test_a_line_is_opened_once_for_all_speeds(tree: Tree, capsys: pytest.CaptureFixture[str]):
    """Closing it would drop DTR, which starts many boards anew; the other end of a pseudo-terminal is hung up on."""
    master, slave = os.openpty()
    tree.link("serial/by-id/usb-board", os.ttyname(slave))
    os.close(slave)
    hang_ups, done = 0, threading.Event()

    def be_a_board() -> None:
        nonlocal hang_ups
        is_open = False
        while not done.wait(0.001):
            try:
                is_open = bool(os.read(master, 4096))
            except OSError:  # EIO: nobody has the line open any more
                hang_ups += is_open
                is_open = False

    board = threading.Thread(target=be_a_board)
    board.start()
    try:
        (found,) = listed(tree, capsys)
        eventually(lambda: hang_ups, what="the line is let go")
    finally:
        done.set()
        board.join()
        os.close(master)
    assert found["sure"] == "guess"
    assert hang_ups == 1


def test_a_list_that_nobody_can_read_is_no_crash():
    def run(arguments: list[str], output: int) -> tuple[int, str]:
        command = [sys.executable, "-m", "tallyman", *arguments]
        done = subprocess.run(command, check=False, stdout=output, stderr=subprocess.PIPE, text=True)
        return done.returncode, done.stderr

    for arguments in (["devices", "--no-ask", "--json"], ["simulate", "--list"]):
        with Path("/dev/full").open("w") as full:
            status, said = run(arguments, full.fileno())
        assert status == 1 and said.endswith("printed: No space left on device\n"), said
        reading, writing = os.pipe()
        os.close(reading)
        assert run(arguments, writing) == (0, ""), "whoever read it has seen enough"
        os.close(writing)


def test_a_scanner_that_speaks_just_then_is_heard(tree: Tree, capsys: pytest.CaptureFixture[str]):
    master, slave = os.openpty()
    stop = threading.Event()

    def scan() -> None:
        while not stop.wait(0.02):
            os.write(master, b"]E05901234123457\r")

    scanning = threading.Thread(target=scan)
    try:
        tree.link("serial/by-id/usb-busy", os.ttyname(slave))
        scanning.start()
        (found,) = listed(tree, capsys)
    finally:
        stop.set()
        scanning.join()
        os.close(master)
        os.close(slave)
    assert (found["driver"], found["sure"]) == ("text-line", "likely")
    assert "it sent '5901234123457' by itself at 9600 baud" in found["why"]


def test_what_another_program_uses_is_not_opened(tree: Tree, line: str, capsys: pytest.CaptureFixture[str]):
    tree.link("serial/by-id/usb-busy", line)
    tree.roots.proc.rmdir()
    tree.roots.proc.symlink_to("/proc")
    program = f"import time; f = open({line!r}, 'rb'); print('open', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        (found,) = listed(tree, capsys)
    finally:
        other.kill()
        other.communicate()
    assert found["driver"] is None
    assert (
        "not asked: it is in use by python" in found["notes"][0]
        and f"(process {other.pid})" in found["notes"][0]
    )


def test_locks_and_consoles_count_as_in_use(tree: Tree):
    lines = [tree.node(name) for name in ("ttyUSB0", "ttyUSB1", "ttyS0", "ttyACM0")]
    (tree.roots.lock / "LCK..ttyUSB0").write_text("      4711\n")
    (tree.roots.lock / "LCK..ttyUSB1").write_text("      4712\n")
    (tree.roots.proc / "4711" / "fd").mkdir(parents=True)
    (tree.roots.proc / "4711" / "comm").write_text("minicom\n")
    (tree.roots.proc / "consoles").write_text("ttyS0                -W- (EC p a)    4:64\n")
    assert in_use(tree.roots, lines) == {
        str(lines[0]): "minicom (process 4711)",
        str(lines[2]): "the system, as its console",
    }


def test_a_line_that_cannot_be_opened_says_why(tree: Tree, capsys: pytest.CaptureFixture[str]):
    tree.link("serial/by-id/usb-odd", str(tree.node("plain-file")))
    (found,) = listed(tree, capsys)
    assert (
        found["driver"] is None and "not asked" in found["notes"][0] and "no serial line" in found["notes"][0]
    )


def test_every_driver_is_asked_at_each_of_its_speeds_the_usual_ones_first():
    turns = rounds("serial")
    assert {"m100", "a0"} <= set(next(turn for turn in turns if turn.baud == 115200).asked)
    asked = {(name, turn.baud) for turn in turns for name in (*turn.asked, *turn.listened)}
    for name in BYTE_DRIVERS:
        if "serial" in DRIVERS[name].schemes:
            driver = set_up("x", name, "serial:///dev/null").byte_driver
            assert driver is not None
            assert {(name, baud) for baud in driver.BAUDS} <= asked
    assert all(("text-line" in turn.listened) == (turn.baud == 9600) for turn in turns), (
        "each time, for moments only"
    )
    assert rounds("serial", ()) and not any(turn.asked for turn in rounds("serial", ()))


# --- the network ------------------------------------------------------------------------------------------


async def test_an_address_is_asked_on_the_usual_ports():
    said: list[str] = []
    with Rig("m100", f"tcp:{free_port()}") as rig, socket.create_server(("127.0.0.1", 0)) as mute:
        reader, scanner = int(rig.place.rpartition(":")[2]), mute.getsockname()[1]
        services = (
            Service(reader, "a terminal server", None, "text-line"),
            Service(scanner, "SICK", (), "text-line"),
            Service(free_port(), "nobody", (), "text-line"),
            Service(scanner, "what nobody has a driver for", (), "no-such-driver"),
        )
        found = await ask_host("127.0.0.1", said.append, services, free_port())
    assert [(each.driver, each.sure) for each in found] == [("m100", "sure"), ("text-line", "guess")]
    assert found[0].port == f"tcp://127.0.0.1:{reader}"
    assert "where SICK usually does" in found[1].why
    assert str(scanner) in said[0]


async def test_an_address_where_nothing_answers_is_a_failure():
    with pytest.raises(Unavailable, match="answers on none of the usual ports"):
        await ask_host(
            "127.0.0.1", lambda _: None, (Service(free_port(), "x", (), "text-line"),), free_port()
        )


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"x" * 100_000, False),
        (b"", False),
    ],
)
async def test_what_stands_behind_https_is_known_by_where_it_wants_a_password(answer: bytes, found: bool):
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        number = server.sockets[0].getsockname()[1]
        guess = await _ask_r700("127.0.0.1", number, None)
    assert heard[0].startswith(b"GET /api/v1/system HTTP/1.1\r\n") and b"Authorization" not in heard[0]
    assert (guess is not None) == found
    if guess is not None:
        assert (guess.driver, guess.sure, guess.port) == (
            "impinj-r700",
            "likely",
            f"https://127.0.0.1:{number}",
        )


def test_an_address_with_nothing_is_status_1(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    async def nobody(host: str, _tell: object) -> None:
        raise Unavailable(f"{host} answers on none")

    monkeypatch.setattr("devices.finding.listing.ask_host", nobody)
    assert devices(roots=tree.roots, host="[2001:db8::1]") == 1
    assert "2001:db8::1 answers on none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ({"host": "not an address"}, 2, "is no address"),
        ({"host": "192.0.2.7:5084"}, 2, "without a port"),
        ({"host": "localhost", "ask": False}, 2, "leave out --no-ask"),
    ],
)
def test_wrong_usage(
    arguments: dict[str, Any], status: int, said: str, tree: Tree, capsys: pytest.CaptureFixture[str]
):
    assert devices(roots=tree.roots, **arguments) == status
    out, err = capsys.readouterr()
    assert out == "" and said in err


def test_the_usual_ports_are_each_named_once():
    numbers = [service.number for service in SERVICES]
    assert len(set(numbers)) == len(numbers)


def test_the_toml_is_what_an_agent_takes():
    port = 'serial:///dev/serial/by-id/usb-"x"?baud=9600'
    assert tomllib.loads(toml("scanner-1", "text-line", port)) == {
        "devices": [{"name": "scanner-1", "driver": "text-line", "port": port}]
    }


def test_every_simulated_device_that_can_be_asked_has_a_driver_that_asks():
    assert set(ASKABLE) <= set(KINDS)

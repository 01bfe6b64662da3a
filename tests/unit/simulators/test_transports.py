"""Transports against a plain host: who is there, what was read, what a hang-up does."""

import io
import os
import select
import socket
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from simulators.hardware.transports import TRANSPORTS, Gone, Refused, open_transport
from simulators.hardware.transports.pair import Pair
from simulators.hardware.transports.pty import Pty
from simulators.hardware.transports.tcp import Tcp
from tests.support.wait import eventually

RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def pty(tmp_path: Path) -> Iterator[Pty]:
    pty = Pty(tmp_path / "link")
    yield pty
    pty.close()


@pytest.fixture
def tcp() -> Iterator[Tcp]:
    tcp = Tcp("0")
    yield tcp
    tcp.close()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def open_tty(pty: Pty, opened: ExitStack) -> io.FileIO:
    host = io.FileIO(str(pty.path), "r+", opener=lambda name, _: os.open(name, os.O_RDWR | os.O_NOCTTY))
    return opened.enter_context(host)


def connect(tcp: Tcp, opened: ExitStack) -> socket.socket:
    client = opened.enter_context(socket.create_connection(tcp.address, timeout=2))
    eventually(lambda: tcp.session() is not None, 2, "accepted")
    return client


# --- pty -----------------------------------------------------------------------------------------------------


def test_a_terminal_is_raw_and_carries_all_bytes_both_ways(pty: Pty, opened: ExitStack) -> None:
    host = open_tty(pty, opened)
    _, oflag, _, lflag, *_ = termios.tcgetattr(host)
    assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG)
    assert not oflag & termios.OPOST
    everything = bytes(range(256))
    assert pty.session() == 1
    assert pty.send(everything) == 256
    assert host.read(300) == everything
    host.write(everything)
    eventually(lambda: pty.receive() == everything, 2, "all 256 bytes")


def test_nobody_there_takes_nothing(pty: Pty) -> None:
    assert pty.session() is None
    assert pty.receive() == b""
    assert pty.wait_on() == ()
    with pytest.raises(Gone, match="nobody has"):
        pty.send(b"x")


def test_each_opening_is_a_new_session(pty: Pty, opened: ExitStack) -> None:
    for number in (1, 2, 3):
        host = open_tty(pty, opened)
        assert pty.session() == number
        host.close()
        assert pty.session() is None


def test_what_a_reader_left_unread_is_not_there_for_the_next(pty: Pty, opened: ExitStack) -> None:
    host = open_tty(pty, opened)
    pty.send(b"old")
    host.close()
    assert pty.session() is None
    assert pty.confirm() == "unread"
    host = open_tty(pty, opened)
    pty.send(b"new")
    assert host.read(10) == b"new"


def test_what_a_host_said_last_is_heard_after_it_closed(pty: Pty, opened: ExitStack) -> None:
    host = open_tty(pty, opened)
    assert pty.session() == 1
    host.write(b"stop")
    host.close()
    assert pty.session() is None
    assert pty.receive() == b"stop"


def test_bytes_count_when_they_are_read_and_not_before(pty: Pty, opened: ExitStack) -> None:
    host = open_tty(pty, opened)
    for _ in range(50):
        pty.send(b"x" * 40)
        assert pty.confirm() == "unread"
        host.read(39)
        assert pty.confirm() == "unread"
        host.read(1)
        assert pty.confirm() == "read"


def test_a_host_that_throws_away_what_came_is_seen_doing_so(pty: Pty, opened: ExitStack) -> None:
    host = open_tty(pty, opened)
    pty.send(b"before")
    termios.tcflush(host, termios.TCIFLUSH)
    assert pty.confirm() == "unknown"
    termios.tcflush(host, termios.TCIFLUSH)  # nothing of ours was there
    pty.send(b"after")
    assert host.read(10) == b"after"
    assert pty.confirm() == "read"


def test_setting_the_line_up_does_not_look_like_data(pty: Pty, opened: ExitStack) -> None:
    host = open_tty(pty, opened)
    assert pty.session() == 1
    tty.setraw(host)
    assert pty.receive() == b""
    host.write(b"a")
    tty.setraw(host)
    host.write(b"b")
    heard = bytearray()

    def all_heard() -> bool:
        heard.extend(pty.receive())
        return heard == b"ab"

    eventually(all_heard, 2, "ab")


def test_a_full_terminal_takes_no_more_and_loses_nothing(pty: Pty, opened: ExitStack) -> None:
    host = open_tty(pty, opened)
    taken = 0
    while some := pty.send(b"x" * 1000):
        taken += some
    assert taken > 4000
    os.set_blocking(host.fileno(), False)
    read = 0

    def all_read() -> bool:
        nonlocal read
        read += len(host.read(65536) or b"")
        return read == taken

    eventually(all_read, 5, f"{taken} bytes")


def test_unplugged_it_hangs_up_and_returns_under_its_link_as_another_tty(pty: Pty, opened: ExitStack) -> None:
    link, before = pty.path, pty.port
    host = open_tty(pty, opened)
    pty.send(b"never read")
    pty.hang_up(rough=True)
    pty.hang_up(rough=True)
    assert host.read(10) == b""  # end of file: hung up
    assert not link.is_symlink()
    assert pty.session() is None
    host.close()
    pty.come_back()
    assert pty.path == link
    assert pty.port != before
    host = open_tty(pty, opened)
    assert pty.session() == 2
    pty.send(b"back")
    assert host.read(10) == b"back"


def test_closing_leaves_nothing(tmp_path: Path, opened: ExitStack) -> None:
    pty = Pty(tmp_path / "link")
    host = open_tty(pty, opened)
    pty.close()
    pty.close()
    assert host.read(1) == b""
    assert not (tmp_path / "link").is_symlink()


def test_a_link_is_renewed_and_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "stale").symlink_to("/dev/pts/9999")
    Pty(tmp_path / "stale").close()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Refused, match="is no link"):
        Pty(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(Refused, match="No such file"):
        Pty(tmp_path / "nowhere" / "link")


# --- tcp -----------------------------------------------------------------------------------------------------


def test_tcp_carries_bytes_both_ways_and_says_where_it_is(tcp: Tcp, opened: ExitStack) -> None:
    assert tcp.url == f"tcp://{tcp.place}"
    assert tcp.place == f"127.0.0.1:{tcp.address[1]}"
    client = connect(tcp, opened)
    assert tcp.send(b"hello") == 5
    assert client.recv(10) == b"hello"
    client.send(b"good day")
    eventually(lambda: tcp.receive() == b"good day", 2, "good day")


def test_one_client_is_served_and_the_second_is_told_and_hung_up_on(tcp: Tcp, opened: ExitStack) -> None:
    tcp.refusal = lambda: b"busy"
    first = connect(tcp, opened)
    second = opened.enter_context(socket.create_connection(tcp.address, timeout=2))
    assert tcp.session() == 1
    assert second.recv(10) == b"busy"
    assert second.recv(10) == b""
    tcp.send(b"still here")
    assert first.recv(20) == b"still here"


def test_a_client_that_leaves_makes_room(tcp: Tcp, opened: ExitStack) -> None:
    connect(tcp, opened).close()
    eventually(lambda: tcp.receive() == b"" and tcp.session() is None, 2, "gone")
    with pytest.raises(Gone, match="nobody is connected"):
        tcp.send(b"x")
    connect(tcp, opened)
    assert tcp.session() == 2


def test_a_client_that_is_reset_is_noticed(tcp: Tcp, opened: ExitStack) -> None:
    client = connect(tcp, opened)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    eventually(lambda: tcp.receive() == b"" and tcp.session() is None, 2, "gone")


def test_tcp_bytes_count_when_they_are_read(tcp: Tcp, opened: ExitStack) -> None:
    client = connect(tcp, opened)
    tcp.send(b"x" * 40)
    for _ in range(5):
        assert tcp.confirm() == "unread"
    client.recv(39)
    assert tcp.confirm() == "unread"
    client.recv(1)
    eventually(lambda: tcp.confirm() == "read", 2, "read")


def test_of_a_client_that_left_something_unread_nothing_is_claimed(tcp: Tcp, opened: ExitStack) -> None:
    client = connect(tcp, opened)
    tcp.send(b"never read")
    client.close()
    eventually(lambda: tcp.receive() == b"" and tcp.session() is None, 2, "gone")
    connect(tcp, opened)
    assert tcp.confirm() == "unread"


@pytest.mark.parametrize("rough", [True, False])
def test_tcp_away_resets_everybody_and_comes_back_on_its_port(
    tcp: Tcp, opened: ExitStack, *, rough: bool
) -> None:
    client = connect(tcp, opened)
    tcp.hang_up(rough=rough)
    if rough:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    else:
        assert client.recv(1) == b""
    other = opened.enter_context(socket.create_connection(tcp.address, timeout=2))
    assert tcp.session() is None
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    tcp.come_back()
    connect(tcp, opened)


def test_a_port_in_use_is_refused_with_advice(tcp: Tcp) -> None:
    with pytest.raises(Refused, match="tcp:0 takes a free port"):
        Tcp(str(tcp.address[1]))
    with pytest.raises(Refused, match="is no address"):
        Tcp("no.such.host.invalid:0")


@pytest.mark.parametrize("address", ["x", "70000", "host:", "-1"])
def test_a_port_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="a TCP port is"):
        Tcp(address)


# --- pair and the table --------------------------------------------------------------------------------------


def test_a_pair_keeps_reports_apart_and_counts_what_is_read() -> None:
    pair = Pair("packets")
    pair.send(b"one")
    pair.send(b"two")
    assert pair.confirm() == "unread"
    assert [pair.host.recv(10), pair.host.recv(10)] == [b"one", b"two"]
    assert pair.confirm() == "read"
    pair.host.send(b"beep")
    assert pair.receive() == b"beep"
    pair.hang_up(rough=True)
    assert pair.host.recv(1) == b""
    with pytest.raises(Gone):
        pair.send(b"x")
    pair.come_back()
    assert pair.session() == 2
    pair.send(b"three")
    assert pair.host.recv(10) == b"three"
    pair.host.close()
    assert pair.receive() == b""
    assert pair.session() is None
    pair.close()


def test_wrong_ports_are_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="did you mean tcp"):
        open_transport("tpc:1", ["pty", "tcp"])
    with pytest.raises(ValueError, match="it has pty"):
        open_transport("tcp:0", ["pty"])
    with pytest.raises(ValueError, match="pair:packets"):
        open_transport("pair:x", ["pair"])


@pytest.mark.parametrize("name", ["pty", "tcp", "pair"])
def test_a_descriptor_wakes_when_the_host_does_something(name: str, opened: ExitStack) -> None:
    assert name in TRANSPORTS
    transport = open_transport(name, [name])
    opened.callback(transport.close)
    if isinstance(transport, Pty):
        fd = open_tty(transport, opened).fileno()
    elif isinstance(transport, Tcp):
        fd = connect(transport, opened).fileno()
    else:
        assert isinstance(transport, Pair)
        fd = transport.host.fileno()
    assert transport.session() == 1
    transport.receive()
    poll = select.poll()
    for descriptor in transport.wait_on():
        poll.register(descriptor, select.POLLIN)
    assert not poll.poll(0)
    os.write(fd, b"x")
    assert poll.poll(2000)

"""The simulated scanner against a plain reader of its pseudo-terminal."""

import os
import random
import termios
import time

import pytest

from simulators.scanner import Scanner, Unplugged


@pytest.fixture
def scanner(tmp_path):
    with Scanner(tmp_path / "scanner", rng=random.Random(1)) as scanner:
        yield scanner


def open_port(scanner: Scanner) -> int:
    return os.open(scanner.path, os.O_RDWR | os.O_NOCTTY)


def read_all(port: int, length: int) -> list[bytes]:
    """The pieces that arrive until `length` bytes are there."""
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < length:
        pieces.append(os.read(port, 4096))
    return pieces


def test_sends_aim_id_data_and_terminator(scanner):
    port = open_port(scanner)
    scanner.scan("9521234543213", "]E0")
    assert b"".join(read_all(port, 18)) == b"]E09521234543213\r\n"
    os.close(port)


def test_a_slipping_finger_sends_the_code_twice_at_once(scanner):
    port = open_port(scanner)
    scanner.scan_twice("9521234543213", "]E0")
    assert b"".join(read_all(port, 36)) == b"]E09521234543213\r\n" * 2
    os.close(port)


def test_bytes_arrive_unchanged_and_in_pieces(scanner):
    port = open_port(scanner)
    data = bytes(range(256)) * 4
    pieces = []
    for start in range(0, len(data), 64):
        scanner.send(data[start : start + 64])
        pieces += read_all(port, 64)
    assert b"".join(pieces) == data
    os.close(port)


def test_splits_follow_the_seed():
    def written(seed: int) -> list[float]:
        pauses: list[float] = []
        with Scanner(rng=random.Random(seed), pause=pauses.append) as scanner:
            port = os.open(scanner.port, os.O_RDWR | os.O_NOCTTY)
            for _ in range(10):
                scanner.scan("9521234543213", "]E0")
            os.close(port)
        return pauses

    assert written(3) == written(3)
    assert len(written(3)) > 2


def test_what_is_scanned_into_a_closed_port_is_lost(scanner):
    assert not scanner.connected()
    with pytest.raises(Unplugged, match="nobody has"):
        scanner.scan("1")
    port = open_port(scanner)
    assert scanner.connected()
    scanner.scan("2")
    assert b"".join(read_all(port, 3)) == b"2\r\n"
    os.close(port)


def test_survives_the_reader_closing_and_opening_again(scanner):
    for code in ("A", "B", "C"):
        port = open_port(scanner)
        scanner.scan(code)
        assert b"".join(read_all(port, 3)) == code.encode() + b"\r\n"
        os.close(port)
        assert not scanner.connected()


def test_what_a_dead_reader_had_not_read_is_not_read_by_the_next(scanner):
    port = open_port(scanner)
    scanner.scan("old")
    os.close(port)
    assert not scanner.connected()
    port = open_port(scanner)
    scanner.scan("new")
    assert b"".join(read_all(port, 5)) == b"new\r\n"
    os.close(port)


def test_a_reader_that_takes_nothing_is_a_bounded_wait(scanner, monkeypatch):
    monkeypatch.setattr("simulators.scanner.WRITE_TIMEOUT_S", 0.05)
    port = open_port(scanner)
    with pytest.raises(Unplugged, match="reads nothing"):
        scanner._write(b"x" * 200_000)
    os.close(port)


def test_hears_the_reader_beep(scanner):
    port = open_port(scanner)
    os.write(port, b"\x07\x07")
    deadline = time.monotonic() + 2
    while scanner.hear() < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert scanner.beeps == 2
    os.close(port)


def test_the_port_is_raw(scanner):
    port = open_port(scanner)
    _, oflag, _, lflag, *_ = termios.tcgetattr(port)
    assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG)
    assert not oflag & termios.OPOST
    os.close(port)


def test_closing_leaves_no_link_and_hangs_up(tmp_path):
    scanner = Scanner(tmp_path / "scanner", rng=random.Random(1))
    port = open_port(scanner)
    scanner.close()
    scanner.close()
    assert not (tmp_path / "scanner").is_symlink()
    assert os.read(port, 1) == b""
    os.close(port)

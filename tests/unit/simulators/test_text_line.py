"""The simulated text-line scanner: bytes as scanners send them."""

import random

import pytest

from simulators.hardware.device import Thing
from simulators.hardware.text_line import TextLine


def scanner(**options: str) -> TextLine:
    return TextLine(random.Random(1), **options)


def sent(device: TextLine, code: str, aim: str | None) -> bytes:
    thing = Thing(code=code, aim=aim, number=1)
    [frame] = device.see(thing, 0.0)
    assert frame.things == (thing,)
    return frame.data


def test_a_gs1_128_label_as_a_scanner_sends_it() -> None:
    expected = bytes.fromhex("5D 43 31 30 30 31 30 36 31 34 31 34 31 32 33 34 35 36 37 38 39 30 38 0D")
    assert sent(scanner(terminator="cr"), "00106141412345678908", "]C1") == expected


def test_separators_are_sent_as_they_are_or_as_set_up() -> None:
    code = "01095212345432131726123110ABC123\x1d21SER456"
    assert sent(scanner(), code, "]d2") == b"]d201095212345432131726123110ABC123\x1d21SER456\r\n"
    assert b"ABC123|21" in sent(scanner(gs="|"), code, "]d2")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, b"]E05901234123457\r\n"),
        ({"code_id": "none", "terminator": "lf"}, b"5901234123457\n"),
        ({"code_id": "zebra", "terminator": "tab"}, b"A5901234123457\t"),
        ({"code_id": "honeywell", "terminator": "etx"}, b"d5901234123457\x03"),
        ({"prefix": "\x02", "terminator": "none"}, b"\x02]E05901234123457"),
    ],
)
def test_lines_as_set_up(options: dict[str, str], expected: bytes) -> None:
    assert sent(scanner(**options), "5901234123457", "]E0") == expected


def test_without_a_symbology_there_is_none() -> None:
    assert sent(scanner(), "Grüße", None) == "Grüße\r\n".encode()


def test_wrong_options_say_what_there_is() -> None:
    with pytest.raises(ValueError, match="crlf, cr, lf"):
        scanner(terminator="x")
    with pytest.raises(ValueError, match="aim, none, zebra"):
        scanner(code_id="x")


def test_it_beeps() -> None:
    device = scanner()
    device.hear(b"\x07", 0.0)
    device.hear(b"\x07\x07", 0.0)
    assert device.beeps == 3


def test_a_command_is_answered_on_the_channel_of_the_codes_in_any_pieces() -> None:
    command, answer = (
        b"~\x010000@DFMADD069990020010F141;\x03",
        b"\x02\x010000@DFMADD069990020010F141\x06;\x03",
    )
    device = scanner()
    assert [frame.data for frame in device.hear(command, 0.0)] == [answer]
    heard = [frame for byte in b"noise" + command * 2 for frame in device.hear(bytes([byte]), 0.0)]
    assert [frame.data for frame in heard] == [answer, answer]
    assert [frame.data for frame in device.hear(command * 3 + command[:5], 0.0)] == [answer] * 3
    assert [frame.data for frame in device.hear(command[5:], 0.0)] == [answer]


def test_what_is_heard_is_bounded_and_forgotten_without_power() -> None:
    device = scanner()
    for _ in range(100):
        assert device.hear(b"~" + b"x" * 999, 0.0) == []
    assert len(device._heard) <= 256
    device.hear(b"~\x010000@A", 0.0)
    device.unplugged()
    assert device.hear(b";\x03", 0.0) == []


def test_a_line_has_no_beginning() -> None:
    device = scanner()
    assert device.spoils(b"abc")
    assert not device.spoils(b"abc\r")
    assert not device.spoils(b"abc\n")
    assert scanner(terminator="tab").spoils(b"abc\r")
    assert not scanner(terminator="tab").spoils(b"abc\t")
    assert scanner(terminator="none").spoils(b"abc\r\n")


def test_one_of_two_ends_is_enough() -> None:
    device = scanner()
    assert device.survives(b"abc\r\n", b"abc\rX")
    assert device.survives(b"abc\r\n", b"abc\r")
    assert not device.survives(b"abc\r\n", b"abc")
    assert not device.survives(b"abc\r\n", b"abX\r\n")
    assert not scanner(terminator="tab").survives(b"abc\t", b"abc\r")

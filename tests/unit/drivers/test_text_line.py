"""What is special to the text-line driver: terminators, pauses, bounds. Its vectors: tests/unit/test_drivers.py."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.driver import Outcome
from devices.drivers.text_line import MAX_LINE, TextLine
from devices.errors import Misconfigured
from devices.options import take
from devices.reads import MAX_SAMPLE, BadFrame, BarcodeRead, Moment, Read
from tests.support.drivers import Bench

NOW = Moment(1_790_000_000.5, 7)
LATER = Moment(1_790_000_001.5, 1_000_000_007)
OUTCOMES: tuple[Outcome, ...] = ("ok", "duplicate", "reject")
BEL = b"\x07"
TERMINATORS = ("cr-or-lf", "cr", "lf", "crlf", "tab", "etx", "idle")


def driver(**options: str) -> TextLine:
    return TextLine("scanner-1", **take(options, TextLine.OPTIONS, what="test"))


def shown(reads: list[Read]) -> list[dict[str, Any]]:
    return [
        {"symbology": read.symbology, "text": read.text}
        if isinstance(read, BarcodeRead)
        else {"bad": read.reason}
        for read in reads
    ]


def in_pieces(line: TextLine, data: bytes, size: int = 1) -> list[Read]:
    return [read for at in range(0, len(data), size) for read in line.feed(data[at : at + size], NOW)]


def test_a_read_says_who_when_and_what_came_over_the_wire() -> None:
    [read] = driver().feed(b"]C1\xf6\r", NOW)
    assert read == BarcodeRead("scanner-1", b"]C1\xf6", "ö", "]C1", NOW.unix_s, NOW.monotonic_ns)


@pytest.mark.parametrize("terminator", ["cr-or-lf", "cr", "lf", "crlf", "tab", "etx"])
@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_a_line_over_the_bound_is_reported_once_and_skipped(terminator: str, size: int) -> None:
    end = {"cr-or-lf": b"\r", "cr": b"\r", "lf": b"\n", "crlf": b"\r\n", "tab": b"\t", "etx": b"\x03"}[
        terminator
    ]
    longest, too_long = b"9" * MAX_LINE, b"8" * (3 * MAX_LINE + 1)
    data = longest + end + too_long + end + b"A" + end
    line = driver(terminator=terminator)
    reads = in_pieces(line, data, size)
    first, bad, last = reads
    assert isinstance(first, BarcodeRead) and first.raw == longest
    assert isinstance(bad, BadFrame) and bad.sample == b"8" * MAX_SAMPLE and str(MAX_LINE) in bad.reason
    assert isinstance(last, BarcodeRead) and last.text == "A"


def test_the_longest_symbol_with_its_id_fits() -> None:
    [read] = driver().feed(b"]Q1" + b"7" * 7089 + b"\r", NOW)
    assert isinstance(read, BarcodeRead) and len(read.text) == 7089


def test_a_pause_ends_a_line_only_where_it_is_the_terminator() -> None:
    line = driver(terminator="idle", idle_ms="50")
    assert line.due_ns() is None
    assert line.feed(b"A\rB", NOW) == []
    assert line.due_ns() == NOW.monotonic_ns + 50_000_000
    assert line.tick(NOW) == []
    assert shown(line.tick(LATER)) == [{"symbology": None, "text": "A\rB"}]
    assert line.tick(LATER) == []

    line = driver()
    assert line.due_ns() is None
    line.feed(b"A", NOW)
    assert line.tick(LATER) == []
    assert shown(line.feed(b"\r", NOW)) == [{"symbology": None, "text": "A"}]


def test_a_pause_that_was_noticed_too_late_proves_nothing() -> None:
    line = driver(terminator="idle", handshake="ack")
    line.feed(b"A", NOW)
    line.feed(b"B", LATER)  # a second later, and nobody had time to look at the clock
    much_later = Moment(LATER.unix_s + 1, LATER.monotonic_ns + 1_000_000_000)
    assert shown(line.tick(much_later))[0]["bad"].startswith("this computer was too busy")
    assert line.output() == b"\x15"
    line.feed(b"C", much_later)
    assert shown(line.close(much_later)) == [{"symbology": None, "text": "C"}]


def test_an_endless_line_without_terminator_is_reported_once_and_forgotten_at_the_pause() -> None:
    line = driver(terminator="idle")
    reads = [read for _ in range(5) for read in line.feed(b"9" * MAX_LINE, NOW)]
    assert len(reads) == 1 and isinstance(reads[0], BadFrame)
    assert line.tick(LATER) == []
    line.feed(b"A", NOW)
    assert shown(line.tick(LATER)) == [{"symbology": None, "text": "A"}]


def test_a_half_line_at_the_end_of_the_stream_is_reported_and_joins_nothing() -> None:
    line = driver()
    line.feed(b"50123", NOW)
    [bad] = line.close(NOW)
    assert isinstance(bad, BadFrame) and bad.sample == b"50123"
    assert line.close(NOW) == []
    assert shown(line.feed(b"45\r", NOW)) == [{"symbology": None, "text": "45"}]


def test_the_end_of_the_stream_is_a_pause() -> None:
    line = driver(terminator="idle")
    line.feed(b"A", NOW)
    assert shown(line.close(NOW)) == [{"symbology": None, "text": "A"}]


def test_an_over_long_line_is_not_reported_again_at_the_end() -> None:
    line = driver()
    assert len(line.feed(b"9" * (MAX_LINE + 1), NOW)) == 1
    assert line.close(NOW) == []
    assert shown(line.feed(b"A\r", NOW)) == [{"symbology": None, "text": "A"}]


def test_feedback_only_when_asked_for() -> None:
    bench = Bench(driver()).open()
    for outcome in OUTCOMES:
        bench.driver.feedback(outcome, bench.now)
    bench.wait(5)
    assert bench.take_sent() == b""


def test_each_outcome_has_its_number_of_beeps_and_each_beep_its_time() -> None:
    bench = Bench(driver(beep="bel")).open()
    for outcome, beeps in zip(OUTCOMES, (1, 2, 3), strict=True):
        bench.driver.feedback(outcome, bench.now)
        heard = []
        for _ in range(30):
            bench.wait(0.05)
            heard.append(bench.take_sent())
        assert b"".join(heard) == BEL * beeps and heard[0] == BEL
        assert BEL not in heard[1:5], "beeps that a scanner takes for one"
        assert bench.driver.due_ns() is None


def test_outcomes_in_a_row_do_not_run_together_and_of_those_that_wait_the_newest_is_told() -> None:
    bench = Bench(driver(beep="bel")).open()
    for outcome in OUTCOMES:
        bench.driver.feedback(outcome, bench.now)
    bench.wait(0.7)
    assert bench.take_sent() == BEL
    bench.wait(1)
    assert bench.take_sent() == BEL * 3
    bench.driver.feedback("reject", bench.now)
    bench.open()
    bench.wait(5)
    assert bench.take_sent() == b"", "what was to be told to the scanner before"


def test_every_wrong_option_is_named_at_once() -> None:
    with pytest.raises(Misconfigured) as wrong:
        driver(terminater="cr", idle_ms="5", gs="")
    text = str(wrong.value)
    assert "did you mean terminator?" in text
    assert "'idle_ms' must be a whole number from 10 to 10000, not '5'" in text
    assert "'gs' must be a list" in text


@settings(deadline=None)
@given(
    data=st.binary(max_size=400), terminator=st.sampled_from(TERMINATORS), cuts=st.lists(st.integers(0, 400))
)
def test_however_the_bytes_are_cut_the_reads_are_the_same(
    data: bytes, terminator: str, cuts: list[int]
) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    whole, pieces = driver(terminator=terminator, gs="|"), driver(terminator=terminator, gs="|")
    expected = [*whole.feed(data, NOW), *whole.tick(LATER), *whole.close(NOW)]
    read = [each for start, end in pairwise(places) for each in pieces.feed(data[start:end], NOW)]
    assert [*read, *pieces.tick(LATER), *pieces.close(NOW)] == expected


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(MAX_LINE - 2, MAX_LINE + 3), min_size=1, max_size=3),
    terminator=st.sampled_from(("cr-or-lf", "crlf", "cr")),
    tail=st.sampled_from((b"", b"\r", b"\r\r", b"\n")),
)
def test_the_bound_is_the_same_however_the_bytes_are_cut(
    lengths: list[int], terminator: str, tail: bytes
) -> None:
    lines = [b"9" * length + tail + b"\r\n" for length in lengths]
    whole, pieces = driver(terminator=terminator), driver(terminator=terminator)
    reads: list[Read] = []
    for line in lines:
        reads += pieces.feed(line[:-20], NOW)
        reads += in_pieces(pieces, line[-20:])
    assert reads == whole.feed(b"".join(lines), NOW)


@settings(deadline=None)
@given(data=st.lists(st.binary(max_size=3 * MAX_LINE), max_size=4), terminator=st.sampled_from(TERMINATORS))
def test_noise_never_raises_and_never_fills_the_memory(data: list[bytes], terminator: str) -> None:
    line = driver(terminator=terminator)
    for piece in data:
        for read in line.feed(piece, NOW):
            assert isinstance(read, BadFrame) or len(read.raw) <= MAX_LINE
        assert len(line._buffer) <= MAX_LINE + 1


def test_the_handshake_answers_every_line_and_three_failures_in_a_row_are_a_warning() -> None:
    line = driver(handshake="ack", terminator="idle")

    def sent(data: bytes) -> bytes:
        line.feed(data, NOW)
        line.tick(LATER)
        return line.output()

    assert sent(b"]C0A") == b"\x06"
    assert [sent(b"]C0"), sent(b"9" * (MAX_LINE + 1)), line.warning] == [b"\x15", b"\x15", None]
    assert sent(b"]C0") == b"\x15"
    assert line.warning is not None and line.warning.startswith("3 lines in a row were no codes")
    assert sent(b"]C0A") == b"\x06" and line.warning is None


def test_a_scanner_that_does_not_wait_for_answers_gets_a_few() -> None:
    line = driver(handshake="ack")
    assert len(line.feed(b"A\r" * 20_000, NOW)) == 20_000
    assert 0 < len(line.output()) < 100


RUN_TOGETHER = [
    b"]d201095212345432131726123110ABC12321SER456",
    b"]C1010952123454321310" + b"4" * 21,
    b"]d2010952123454321321SER45610LOT7",
    b"]d2010952123454321310L717261231",
    b"]C10209521234543213375010L7",
    b"]C110L70109521234543213",
]
IN_ORDER = [
    b"]d201095212345432131726123110ABC123",
    b"]C100106141412345678908",
    b"]d20109521234543213210000121099",
    b"]C102095212345432133750",
    b"]C0010952123454321310ABC12321SER456",
    b"]C18005001000",
]


@pytest.mark.parametrize("code", RUN_TOGETHER)
def test_gs1_codes_without_their_separators_are_a_warning_until_one_comes(code: bytes) -> None:
    line = driver()
    line.feed(code + b"\r", NOW)
    assert line.warning is not None and "without a separator" in line.warning
    line.feed(b"]d210ABC123\x1d21SER456\r", NOW)
    assert line.warning is None
    line.feed(code + b"\r", NOW)
    assert line.warning is None, "a scanner that sends separators is believed"
    line.open(NOW)
    line.feed(code + b"\r", NOW)
    assert line.warning is not None, "another scanner may be there now"


@pytest.mark.parametrize("code", IN_ORDER)
def test_gs1_codes_that_need_no_separator_are_no_warning(code: bytes) -> None:
    line = driver()
    line.feed(code + b"\r", NOW)
    assert line.warning is None


def test_a_doubt_ends_with_a_code_that_leaves_none() -> None:
    line = driver()
    line.feed(RUN_TOGETHER[0] + b"\r" + IN_ORDER[1] + b"\r", NOW)
    assert line.warning is not None, "a code without variable parts says nothing about separators"
    line.feed(IN_ORDER[0] + b"\r", NOW)
    assert line.warning is None


@pytest.mark.parametrize(
    ("separator", "named"),
    [(b"|", "gs=0x7C"), (b"~", "gs=0x7E"), (b"\xf8", "gs=0xF8"), (b"{GS}", "gs={GS}"), (b"\xc2\xa6", "gs=¦")],
)
def test_a_warning_names_what_the_scanner_seems_to_send_for_the_separator(
    separator: bytes, named: str
) -> None:
    code = b"]d210ABC123" + separator + b"21SER456\r"
    line = driver()
    line.feed(code, NOW)
    assert line.warning is not None and named in line.warning
    line = driver(gs=named.removeprefix("gs="))
    [read] = line.feed(code, NOW)
    assert line.warning is None
    assert isinstance(read, BarcodeRead) and read.text == "10ABC123\x1d21SER456"

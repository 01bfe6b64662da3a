"""What is special to Chafon's readers: two dialects, rounds asked for one by one, readers that push."""

import random

import pytest

from devices.reads import TagRead
from simulators.hardware.chafon import Chafon as Simulated
from simulators.hardware.chafon import frame
from simulators.hardware.device import Thing
from tests.support.drivers import NS_PER_S, Bench, build

# Commands: the address is FF (any) until the reader has said its own.
END_PUSH, ASK = frame(0xFF, 0x76, b"\x00"), bytes.fromhex("04ff211995")
ROUND_18 = frame(0, 0x01, b"")
ANSWER_MODE = frame(0, 0x35, bytes(6))
REAL_TIME = bytes.fromhex("05007601ebd8")
BEEPS = {
    "ok": frame(0, 0x33, b"\2\1\1"),
    "duplicate": frame(0, 0x33, b"\2\2\2"),
    "reject": frame(0, 0x33, b"\4\2\3"),
}

# Answers.
INFO_288 = bytes.fromhex("1100210000160c034e001e0a01000000e651")
INFO_18 = frame(0, 0x21, bytes.fromhex("000224090231801e0a"))
NOT_UNDERSTOOD = bytes.fromhex("050000fe8773")
TAG = bytes.fromhex("1500010301010ce28068940000500a9d2298c648257e")
NO_MORE = bytes.fromhex("0700010101001e4b")
STATISTICS = bytes.fromhex("0c000126010032000000 64c68c")
PUSHED = bytes.fromhex("1400ee00010ce28068940000500a9d2298c648fa30")
PUSHED_BY_18 = frame(0, 0xEE, bytes.fromhex("00e28068940000500a9d2298c6"))
HEARTBEAT = frame(0, 0xEE, bytes.fromhex("28000000010100000000000005"))


def round_288(antenna: int = 1, *, q: int = 4, session: int = 0, scan: int = 5, address: int = 0) -> bytes:
    return frame(address, 0x01, bytes([q, session, 1, 0, 0, 0, 0, 0x7F + antenna, scan]))


def done(command: int, status: int = 0) -> bytes:
    return frame(0, command, bytes([status]))


def started(info: bytes = INFO_288, **options: str) -> Bench:
    """A reader that said what it is; what it was sent until then is taken."""
    bench = Bench(build("chafon", options)).open()
    bench.feed(done(0x76) if info is INFO_288 else NOT_UNDERSTOOD)
    bench.wait(0.15)
    bench.take_sent()
    bench.feed(info)
    return bench


# --- the start ----------------------------------------------------------------------------------------------------


def test_it_ends_what_pushes_drains_asks_what_it_is_and_asks_for_a_round() -> None:
    bench = Bench(build("chafon")).open()
    assert bench.take_sent() == END_PUSH
    bench.feed(PUSHED, done(0x76))
    assert bench.take_sent() == b""
    bench.wait(0.15)
    assert bench.take_sent() == ASK
    assert not bench.driver.ready
    bench.feed(INFO_288)
    assert bench.driver.ready and bench.driver.model == "UHFReader288M 0.22"
    assert bench.take_sent() == round_288()
    assert [type(read) for read in bench.reads] == [TagRead]
    assert bench.driver.goodbye() == b""


def test_an_18_has_no_real_time_mode_and_is_stopped_its_own_way() -> None:
    bench = Bench(build("chafon")).open()
    bench.take_sent()
    bench.feed(NOT_UNDERSTOOD)
    bench.wait(0.15)
    assert bench.take_sent() == ASK
    bench.feed(INFO_18)
    assert bench.driver.model == "UHFReader18 2.36" and not bench.driver.ready
    assert bench.take_sent() == ANSWER_MODE
    bench.feed(done(0x35))
    assert bench.driver.ready and bench.take_sent() == ROUND_18


def test_a_dialect_that_is_told_is_spoken_from_the_beginning_and_whatever_the_type_says() -> None:
    bench = Bench(build("chafon", {"model": "18", "address": "7"})).open()
    assert bench.take_sent() == frame(7, 0x35, bytes(6))
    bench.wait(1.1)
    assert bench.take_sent() == 2 * frame(7, 0x35, bytes(6)) + frame(7, 0x21, b"")
    bench.feed(frame(7, 0x21, bytes.fromhex("0001770231801e0a")))
    assert bench.driver.ready is False  # a type that is not of 8 bytes: the answer was one byte short
    bench.feed(frame(7, 0x21, bytes.fromhex("000001770231801e0a")))
    assert bench.driver.ready and bench.driver.model == "Chafon type 77 0.01"
    assert bench.take_sent() == frame(7, 0x01, b"")


def test_who_does_not_answer_is_asked_five_times_and_told_of() -> None:
    bench = Bench(build("chafon")).open()
    bench.wait(10)
    assert bench.take_sent() == 3 * END_PUSH + 5 * ASK
    assert (bench.driver.fault or "").startswith(
        "no answer to the question what it is within 2.5 s: check cable"
    )


def test_who_does_not_understand_the_question_is_asked_again() -> None:
    bench = started(NOT_UNDERSTOOD)
    assert bench.take_sent() == b"" and not bench.driver.ready
    bench.wait(0.6)
    assert bench.take_sent() == ASK


def test_what_is_set_in_a_288_is_not_saved_and_its_rounds_carry_the_rest() -> None:
    bench = started(power_dbm="20", q="15", session="auto", scan_time_ms="1950", tid="yes")
    assert bench.take_sent() == frame(0, 0x2F, bytes([0x80 | 20]))
    bench.feed(done(0x2F))
    assert bench.take_sent() == round_288(q=0x2F, session=0xFF, scan=20)


def test_an_18_is_told_only_what_is_not_in_its_memory_yet() -> None:
    bench = started(INFO_18, power_dbm="30", scan_time_ms="1000")
    bench.take_sent()
    bench.feed(done(0x35))
    assert bench.take_sent() == ROUND_18
    bench = started(INFO_18, power_dbm="12", scan_time_ms="300")
    bench.feed(done(0x35))
    assert bench.take_sent() == ANSWER_MODE + frame(0, 0x2F, b"\x0c")
    bench.feed(done(0x2F))
    assert bench.take_sent() == frame(0, 0x25, b"\x03")
    bench.feed(done(0x25))
    assert bench.take_sent() == ROUND_18


def test_a_setting_that_was_refused_is_a_warning() -> None:
    bench = started(power_dbm="20")
    bench.feed(done(0x2F, 0x14))
    assert bench.driver.ready
    assert bench.driver.warning == "the reader did not take its power (status 14): check the port's options"
    bench.feed(NO_MORE)
    assert bench.driver.warning is not None


def test_opened_again_it_begins_anew() -> None:
    bench = started()
    bench.driver.feedback("ok", bench.now)
    bench.feed(TAG[:10])
    bench.close()
    bench.take_sent()
    bench.open()
    assert bench.take_sent() == END_PUSH
    assert not bench.driver.ready and bench.driver.model is None


# --- rounds -------------------------------------------------------------------------------------------------------


def test_a_round_goes_on_until_it_is_over_and_then_the_next_is_asked_for_at_once() -> None:
    bench = started()
    bench.take_sent()
    bench.feed(TAG, TAG)
    assert bench.take_sent() == b"" and len(bench.reads) == 2
    bench.feed(NO_MORE)
    assert bench.take_sent() == round_288()
    bench.feed(STATISTICS)
    assert bench.take_sent() == b""


@pytest.mark.parametrize("status", [0x01, 0x02, 0x04])
def test_every_end_of_an_18s_round_asks_for_the_next(status: int) -> None:
    bench = started(INFO_18)
    bench.feed(done(0x35))
    bench.take_sent()
    [read] = bench.feed(frame(0, 0x01, bytes([status, 1, 4]) + b"\x00\x32\x30\x38"))
    assert isinstance(read, TagRead) and read.epc == b"\x00208" and read.antenna is None
    assert bench.take_sent() == ROUND_18
    bench.feed(done(0x01, 0xFB))
    assert bench.take_sent() == ROUND_18


def test_antennas_take_turns() -> None:
    bench = started(antennas="1,3,4")
    assert bench.take_sent() == round_288(1)
    for antenna in (3, 4, 1, 3):
        bench.feed(NO_MORE)
        assert bench.take_sent() == round_288(antenna)


def test_an_antenna_that_is_not_there_is_a_warning_until_it_is() -> None:
    bench = started(antennas="1,2")
    bench.feed(NO_MORE)
    bench.take_sent()
    bench.feed(frame(0, 0x01, b"\xf8\x02\x00"))
    assert (bench.driver.warning or "").startswith("antenna 2 is not connected, or its cable is damaged")
    assert bench.take_sent() == b""
    bench.wait(0.25)
    assert bench.take_sent() == round_288(1)
    bench.feed(NO_MORE)
    assert bench.driver.warning is not None
    bench.feed(NO_MORE)
    assert bench.driver.warning is None and bench.driver.fault is None


def test_a_round_that_is_not_answered_is_asked_for_again_but_not_for_ever() -> None:
    bench = started(antennas="2,3")
    bench.wait(3.1)
    assert bench.take_sent() == 3 * round_288(2)
    bench.feed(TAG)
    bench.wait(1.4)
    assert bench.take_sent() == b""  # the frame was a sign of life
    bench.feed(NO_MORE)
    bench.take_sent()
    bench.wait(5.9)
    assert bench.take_sent() == 3 * round_288(3) and bench.driver.fault is None
    bench.wait(0.2)
    assert bench.driver.fault == "the reader stopped answering: check its power supply and its cable"


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (done(0x01, 0xFD), "the reader refuses rounds (status FD): check model=, antennas= and session="),
        (NOT_UNDERSTOOD, "the reader does not know the command for a round: set model=18 or model=288"),
    ],
)
def test_a_round_that_is_refused_is_asked_for_again_and_then_told_of(answer: bytes, fault: str) -> None:
    bench = started()
    bench.feed(answer, answer, answer)
    assert bench.take_sent() == 4 * round_288() and bench.driver.fault is None
    bench.feed(answer)
    assert bench.driver.fault == fault and bench.take_sent() == b""


def test_a_round_answers_a_question_that_was_sent() -> None:
    bench = started()
    bench.take_sent()
    bench.feed(2000 * NO_MORE)
    assert bench.take_sent() == round_288(), "however often the end is said, one question follows"


def test_a_reader_that_was_away_may_have_been_without_power_and_is_told_again_what_it_does_not_keep() -> None:
    bench = started(power_dbm="20")
    power = frame(0, 0x2F, bytes([0x80 | 20]))
    bench.feed(done(0x2F))
    assert bench.take_sent() == power + round_288()
    bench.wait(3.1)
    assert bench.take_sent() == 2 * round_288()
    bench.feed(NO_MORE)
    assert bench.take_sent() == power
    bench.feed(done(0x2F))
    assert bench.take_sent() == round_288()
    bench.feed(NO_MORE)
    assert bench.take_sent() == round_288()


def test_an_18_keeps_what_it_was_told() -> None:
    bench = started(INFO_18, power_dbm="12")
    bench.feed(done(0x35))
    bench.feed(done(0x2F))
    bench.take_sent()
    bench.wait(2.1)
    bench.feed(frame(0, 0x01, b"\xfb"))
    assert bench.take_sent() == 2 * ROUND_18


def test_the_reader_that_answered_is_meant_and_no_other_on_the_line() -> None:
    bench = started()
    bench.take_sent()
    bench.feed(frame(9, 0x01, b"\x01\x01\x00"))
    assert bench.take_sent() == b""
    bench.feed(NO_MORE)
    assert bench.take_sent() == round_288()


# --- feedback -----------------------------------------------------------------------------------------------------


def test_a_beep_waits_for_the_end_of_the_round_and_the_next_round_for_the_beep() -> None:
    bench = started()
    bench.take_sent()
    bench.driver.feedback("ok", bench.now)
    bench.feed(TAG)
    assert bench.take_sent() == b""
    bench.feed(NO_MORE)
    assert bench.take_sent() == BEEPS["ok"]
    bench.feed(NO_MORE)  # said twice, by a bad cable
    assert bench.take_sent() == b""
    bench.feed(done(0x33))
    assert bench.take_sent() == round_288()


def test_of_those_that_wait_the_gravest_is_heard() -> None:
    bench = started()
    bench.take_sent()
    for outcome in ("ok", "reject", "duplicate"):
        bench.driver.feedback(outcome, bench.now)
    bench.feed(NO_MORE, done(0x33), NO_MORE)
    assert bench.take_sent() == BEEPS["reject"] + 2 * round_288()
    bench.driver.feedback("duplicate", bench.now)
    bench.feed(NO_MORE)
    assert bench.take_sent() == BEEPS["duplicate"]


@pytest.mark.parametrize("answer", [NOT_UNDERSTOOD, done(0x33, 0xFF), b""])
def test_a_reader_without_a_buzzer_reads_on(answer: bytes) -> None:
    bench = started()
    bench.driver.feedback("ok", bench.now)
    bench.feed(NO_MORE)
    bench.take_sent()
    bench.feed(answer)
    bench.wait(0 if answer else 1.5)
    assert bench.take_sent() == round_288() and bench.driver.fault is None


def test_no_beep_where_none_is_wanted_or_nothing_reads_yet() -> None:
    bench = started(beep="no")
    bench.driver.feedback("ok", bench.now)
    bench.take_sent()
    bench.feed(NO_MORE)
    assert bench.take_sent() == round_288()
    bench = Bench(build("chafon")).open()
    bench.driver.feedback("ok", bench.now)
    bench.feed(done(0x76))
    bench.wait(0.15)
    bench.feed(INFO_288, NO_MORE)
    assert bench.take_sent() == END_PUSH + ASK + 2 * round_288()


# --- readers that read by themselves ------------------------------------------------------------------------------


def pushing(info: bytes = INFO_288) -> Bench:
    bench = started(info, mode="push")
    bench.feed(*([done(0x76)] if info is INFO_288 else [done(0x35), done(0x35)]))
    return bench


def test_a_288_is_set_to_real_time_mode_and_stopped_at_the_end() -> None:
    bench = started(mode="push")
    assert bench.take_sent() == REAL_TIME and not bench.driver.ready
    bench.feed(done(0x76))
    assert bench.driver.ready
    [read] = bench.feed(PUSHED)
    assert isinstance(read, TagRead) and (read.antenna, read.rssi_raw) == (1, 0x48)
    bench.driver.feedback("ok", bench.now)  # it would not hear it
    assert bench.take_sent() == b""
    assert bench.driver.goodbye() == frame(0, 0x76, b"\x00")


def test_an_18_is_set_to_scan_mode_and_beeps_at_once() -> None:
    bench = started(INFO_18, mode="push")
    bench.feed(done(0x35))
    assert bench.take_sent() == ANSWER_MODE + frame(0, 0x35, bytes.fromhex("010204000100"))
    bench.feed(done(0x35))
    assert bench.driver.ready and bench.driver.goodbye() == ANSWER_MODE
    bench.driver.feedback("reject", bench.now)
    bench.driver.feedback("ok", bench.now)
    bench.feed(PUSHED_BY_18, done(0x33), done(0x33))
    assert bench.take_sent() == BEEPS["reject"] + BEEPS["ok"]
    bench.wait(9.5)
    bench.driver.feedback("ok", bench.now)
    bench.wait(1)  # the question whether it is there is put off while it owes the answer to a beep
    assert bench.take_sent() == BEEPS["ok"]
    bench.wait(10.5)
    assert bench.take_sent() == frame(0, 0x21, b"")
    bench.feed(INFO_18)
    assert bench.driver.fault is None


def test_silence_is_asked_about_and_a_tag_or_a_heartbeat_is_an_answer() -> None:
    bench = pushing()
    bench.take_sent()
    ask = frame(0, 0x21, b"")
    for answer in (INFO_288, HEARTBEAT, PUSHED):
        bench.wait(9.9)
        assert bench.take_sent() == b""
        bench.wait(0.2)
        assert bench.take_sent() == ask
        bench.feed(answer)
    bench.wait(5)
    bench.feed(HEARTBEAT)
    bench.wait(9.9)
    assert bench.take_sent() == b""
    bench.wait(4)
    assert bench.take_sent() == 3 * ask
    assert (bench.driver.fault or "").startswith("no answer to the question whether it is there within 3 s")


# --- with a reader ------------------------------------------------------------------------------------------------


class Meeting:
    """A driver and a simulated reader, joined without a cable, on one clock."""

    def __init__(self, device: Simulated, **options: str) -> None:
        self.device, self.bench = device, Bench(build("chafon", options))
        self.bench.open()

    def pass_time(self, seconds: float) -> None:
        end_ns = self.bench.ns + int(seconds * NS_PER_S)
        while self.bench.ns < end_ns:
            now_s = self.bench.ns / NS_PER_S
            frames = self.device.hear(self.bench.take_sent(), now_s) + self.device.tick(now_s)
            self.bench.feed(*(each.data for each in frames))
            self.bench.wait(0.002)

    def see(self, thing: Thing) -> None:
        for each in self.device.see(thing, self.bench.ns / NS_PER_S):
            self.bench.feed(each.data)


@pytest.mark.parametrize("mode", ["poll", "push"])
@pytest.mark.parametrize("model", ["18", "288"])
def test_a_reader_that_pushed_is_stopped_or_set_anew_and_never_spoken_to_while_it_is_busy(
    model: str, mode: str
) -> None:
    device = Simulated(random.Random(1), model=model, antennas="1,3")
    device.pushes = True
    meeting = Meeting(device, mode=mode, antennas="1,3", power_dbm="20", tid="yes")
    meeting.pass_time(2)
    assert meeting.bench.driver.ready and device.pushes == (mode == "push") and device.power_dbm == 20
    tid = "e28011052000714f6a2d0b81" if model == "288" and mode == "poll" else None
    for place in range(40):
        epc = f"30{place:022x}"
        meeting.see(Thing(epc=epc, antenna=(1, 3)[place % 2], tid=tid))
        meeting.pass_time(0.03)
        meeting.bench.driver.feedback("ok" if place % 2 else "reject", meeting.bench.now)
    meeting.pass_time(0.5)
    reads = [read for read in meeting.bench.reads if isinstance(read, TagRead)]
    assert sorted(read.epc.hex() for read in reads if read.epc) == [f"30{place:022x}" for place in range(40)]
    assert {read.tid.hex() if read.tid else None for read in reads} == {tid}
    assert {read.antenna for read in reads} == ({None} if model == "18" else {1, 3})
    assert device.missed == 0 and meeting.bench.driver.fault is None
    assert bool(device.beeps) == (model == "18" or mode == "poll")


def test_a_reader_with_another_address_is_not_heard() -> None:
    meeting = Meeting(Simulated(random.Random(1), address="9"), address="8")
    meeting.pass_time(4)
    assert meeting.bench.driver.fault is not None
    meeting = Meeting(Simulated(random.Random(1), address="9"))
    meeting.pass_time(1)
    assert meeting.bench.driver.ready


def test_the_simulated_reader_keeps_the_makers_rules() -> None:
    device = Simulated(random.Random(1), address="2")
    asked = frame(2, 0x21, b"")
    assert device.hear(frame(3, 0x21, b""), 0) == []
    assert [each.data for each in device.hear(asked[:-1] + b"\0", 1)] == [frame(2, 0, b"\xfe")]
    assert [each.data for each in device.hear(frame(2, 0x99, b""), 2)] == [frame(2, 0, b"\xfe")]
    for command in (0x01, 0x25, 0x2F, 0x33, 0x76):
        assert [each.data[2:4] for each in device.hear(frame(2, command, b""), 3)] == [bytes([command, 0xFD])]
    assert device.hear(asked[:2], 4) + device.hear(asked[2:], 4.1) == []  # the pause was too long
    assert len(device.hear(asked[:2], 5) + device.hear(asked[2:], 5.01)) == 1
    assert device.hear(frame(2, 0x01, bytes([4, 0, 1, 0, 0, 0, 0, 0x80, 5])), 6) == []
    assert device.hear(asked, 6.01) == [] and device.missed == 1
    assert [each.data for each in device.tick(6.1)] == [frame(2, 0x01, b"\x01\x01\x00")]
    device.hear(frame(2, 0x76, b"\1"), 7)
    device.unplugged()
    assert device.pushes and device.hear(frame(2, 0x33, b"\1\1\1"), 8) == []
    [frame_] = device.see(Thing(epc="30" * 12, antenna=2), 9)
    assert frame_.data[2:6] == b"\xee\x00\x02\x0c"
    [beat] = device.tick(39.1)
    assert beat.data == frame(2, 0xEE, bytes.fromhex("28 00000001 01010101 00000001"))

"""What is special to readers of the A0 family: every round is asked for, antenna by antenna."""

import pytest

from devices.errors import Misconfigured
from devices.reads import BadFrame, TagRead
from tests.support.drivers import Bench, build

TAG = bytes.fromhex("a0130189043000e200301666130121155074ef45bf")
ASK = bytes.fromhex("a003ff72ec")
VERSION = bytes.fromhex("a00501720109de")
END = bytes.fromhex("a00a018900001d00000001ae")
ROUND = bytes.fromhex("a004018901d1")


def frame(text: str) -> bytes:
    """Any frame: what stands between length and checksum, as hex."""
    body = bytes.fromhex(text)
    whole = bytes([0xA0, len(body) + 1]) + body
    return whole + bytes([-sum(whole) & 0xFF])


def choice(antenna: int) -> bytes:
    return frame(f"0174{antenna - 1:02x}")


CHOSEN = frame("017410")
MISSING = frame("018922")


def started(*, chosen: bool = True, **options: str) -> Bench:
    """On its first round."""
    bench = Bench(build("a0", options)).open()
    bench.wait(0.4)
    bench.feed(VERSION)
    if chosen:
        bench.feed(CHOSEN)
    return bench


def after(bench: Bench, frame: bytes, seconds: float = 0.1) -> bytes:
    """What it says when this came."""
    bench.take_sent()
    bench.feed(frame)
    bench.wait(seconds)
    return bench.take_sent()


def test_it_drains_asks_for_the_firmware_chooses_its_antenna_and_asks_for_a_round() -> None:
    bench = Bench(build("a0")).open()
    assert bench.take_sent() == b"" and not bench.driver.ready
    bench.wait(0.4)
    assert bench.take_sent() == ASK == bench.driver.ASK
    bench.feed(VERSION)
    assert bench.driver.ready and bench.driver.model == "A0 reader, firmware 1.9"
    assert bench.take_sent() == bytes.fromhex("a004017400e7")
    bench.feed(CHOSEN)
    assert bench.take_sent() == ROUND
    assert bench.driver.goodbye() == b""  # it reads no more than it was asked for


def test_a_round_that_is_still_running_is_read_while_it_ends() -> None:
    bench = Bench(build("a0")).open()
    [read] = bench.feed(TAG)
    assert isinstance(read, TagRead) and not bench.driver.ready
    assert after(bench, END, 0.1) == b""


def test_who_does_not_answer_is_asked_three_times_and_told_of() -> None:
    bench = Bench(build("a0")).open()
    bench.wait(10)
    assert bench.take_sent() == 3 * ASK
    assert (bench.driver.fault or "").startswith(
        "no answer to the question for its firmware within 1.5 s: check"
    )


@pytest.mark.parametrize("answer", ["017211", "0189220102", "0174010900"])
def test_another_answer_than_a_version_is_none(answer: str) -> None:
    bench = Bench(build("a0")).open()
    bench.wait(0.4)
    bench.feed(frame(answer))
    assert not bench.driver.ready and bench.driver.model is None


def test_it_speaks_to_the_address_that_answered_and_hears_no_other() -> None:
    bench = Bench(build("a0")).open()
    bench.wait(0.4)
    bench.take_sent()
    bench.feed(frame("05720109"))
    assert bench.take_sent() == frame("057400")
    bench.feed(TAG)
    bench.close()
    assert [type(read) for read in bench.reads] == [BadFrame]


def test_one_of_many_readers_on_a_line_is_asked_by_its_address() -> None:
    bench = Bench(build("a0", {"address": "5"})).open()
    bench.wait(0.4)
    assert bench.take_sent() == frame("0572")
    bench.feed(VERSION)
    assert not bench.driver.ready
    bench.feed(frame("05720109"))
    assert bench.driver.ready


def test_it_is_restarted_only_if_that_is_wanted() -> None:
    bench = Bench(build("a0", {"reset": "yes"})).open()
    assert bench.take_sent() == frame("ff70")
    bench.wait(2)
    assert bench.take_sent() == b""
    bench.wait(0.4)
    assert bench.take_sent() == ASK


def test_power_and_beeper_are_set_before_it_reads() -> None:
    bench = started(chosen=False, power_dbm="18", beeper="tag")
    assert bench.take_sent().endswith(bytes.fromhex("a004017612d3"))
    bench.feed(frame("017610"))
    assert bench.take_sent() == frame("017a02") and not bench.driver.ready
    bench.feed(frame("017a10"))
    assert bench.take_sent() == choice(1) and bench.driver.ready and bench.driver.warning is None


def test_a_setting_that_is_refused_is_a_warning_that_stays() -> None:
    bench = started(chosen=False, power_dbm="33")
    bench.feed(frame("017641"))
    refused = "the reader refuses the setting of its power: a parameter is wrong (code 41)"
    assert bench.driver.ready and bench.driver.warning == refused
    bench.feed(CHOSEN, END)
    assert bench.driver.warning == refused


def test_round_after_round_is_asked_for_and_an_end_that_comes_twice_counts_once() -> None:
    bench = started()
    assert after(bench, TAG + END) == ROUND
    assert after(bench, END + END) == ROUND
    assert after(bench, frame("018936")) == ROUND  # no tag
    assert bench.driver.warning is None and len(bench.reads) == 1


def test_it_goes_round_its_antennas() -> None:
    bench = started(antennas="1,3,4")
    for antenna in (3, 4, 1, 3):
        assert after(bench, END) == choice(antenna)
        assert after(bench, CHOSEN) == ROUND


def test_a_session_inventory_says_session_and_target() -> None:
    bench = started(mode="session", session="s2", target="b")
    assert bench.take_sent().endswith(frame("018b020101"))
    assert after(bench, END) == b""  # of another command
    assert after(bench, frame("018b00001900000001")) == frame("018b020101")
    default = started(mode="session")
    assert default.take_sent().endswith(bytes.fromhex("a006018b010001cc"))


def test_the_fast_mode_leaves_the_antennas_to_the_reader() -> None:
    bench = started(chosen=False, mode="fast", antennas="1,2,4")
    assert bench.take_sent().endswith(frame("018a000101010301ff010001"))
    assert after(bench, frame("018a000064000003e8")) == frame("018a000101010301ff010001")


def test_the_fast_mode_names_a_missing_antenna_and_leaves_it_out_until_it_is_back() -> None:
    bench = started(chosen=False, mode="fast", antennas="1,2,4")
    assert after(bench, frame("018a0122")) == b""  # the round goes on with the others
    missing = "antenna 2 is left out: no antenna is connected (code 22)"
    assert bench.driver.warning == missing
    rest = frame("018a00010301ff01ff010001")
    assert after(bench, frame("018a000064000003e8")) == rest
    for _ in range(40):
        sent = after(bench, frame("018a000064000003e8"), 0.9)
        if sent != rest:
            break
        assert bench.driver.warning == missing
    assert sent == frame("018a000101010301ff010001")
    bench.feed(frame("018a000064000003e8"))
    assert bench.driver.warning is None and bench.driver.fault is None


def test_the_fast_mode_has_four_antennas() -> None:
    with pytest.raises(Misconfigured, match=r"mode=fast knows antennas 1 to 4"):
        build("a0", {"mode": "fast", "antennas": "1,5"})


def test_a_missing_antenna_is_named_left_out_and_looked_for_again() -> None:
    bench = started(antennas="1,2")
    assert after(bench, END) == choice(2)
    bench.feed(CHOSEN)
    assert after(bench, MISSING) == choice(1)
    missing = "antenna 2 is left out: no antenna is connected (code 22)"
    assert bench.driver.warning == missing
    bench.feed(CHOSEN)
    for _ in range(29):
        assert after(bench, END, 0.99) == ROUND
        assert bench.driver.warning == missing
    sent = b"".join(after(bench, END, 0.5) for _ in range(4))
    assert choice(2) in sent
    bench.feed(CHOSEN, END)
    assert bench.driver.warning is None


def test_an_antenna_that_cannot_be_chosen_is_left_out() -> None:
    bench = started(chosen=False, antennas="1,2")
    assert after(bench, frame("017441")) == choice(2)
    assert bench.driver.warning == "antenna 1 is left out: a parameter is wrong (code 41)"
    assert after(bench, CHOSEN) == ROUND


def test_without_any_antenna_it_cannot_work() -> None:
    bench = started()
    bench.feed(MISSING)
    bench.wait(0.1)
    assert bench.driver.fault == (
        "antenna 1 is left out: no antenna is connected (code 22): check the antenna cables and option antennas"
    )


def test_a_round_without_end_is_asked_for_again_and_given_up_at_last() -> None:
    bench = started()
    bench.take_sent()
    for _ in range(5):
        bench.wait(1.1)
        assert bench.take_sent() == choice(1)  # it may have lost its power, and forgotten
        bench.feed(CHOSEN)
        assert bench.take_sent() == ROUND and bench.driver.fault is None
    bench.wait(1.1)
    assert bench.driver.fault == "the reader stopped answering: check its power supply and its cable"


def test_a_long_round_is_no_silence() -> None:
    bench = started()
    bench.take_sent()
    for _ in range(20):
        bench.wait(0.9)
        bench.feed(TAG)
    assert bench.take_sent() == b"" and len(bench.reads) == 20


def test_a_reader_that_is_gone_is_given_up() -> None:
    bench = started()
    bench.wait(5)
    assert (bench.driver.fault or "").startswith("no answer to the choice of antenna 1 within 1.5 s")


def test_an_inventory_that_fails_is_a_warning_until_it_works_and_a_fault_in_the_end() -> None:
    bench = started()
    failed = frame("018931")
    assert after(bench, failed, 0.1) == b""
    assert bench.driver.warning == "the reader cannot read: the inventory failed (code 31)"
    bench.wait(0.5)
    assert bench.take_sent() == ROUND  # not at once
    bench.feed(END)
    assert bench.driver.warning is None
    for _ in range(6):
        bench.wait(0.6)
        bench.feed(failed)
    assert bench.driver.fault == "the reader cannot read: the inventory failed (code 31) (6 times in a row)"


def test_an_echo_outside_a_round_means_nothing() -> None:
    bench = started(chosen=False)
    bench.take_sent()
    bench.feed(END, MISSING, frame("017610"), frame("018a0122"))
    assert bench.take_sent() == b"" and bench.driver.warning is None
    bench.feed(CHOSEN)
    bench.take_sent()
    bench.feed(CHOSEN, frame("017411"), frame("018910"))
    bench.wait(0.1)
    assert bench.take_sent() == b"" and bench.driver.warning is None


@pytest.mark.parametrize("command", ["89", "8a", "8b"])
def test_a_frame_that_holds_less_than_a_status_is_none(command: str) -> None:
    bench = started()
    [bad] = bench.feed(frame(f"01{command}"), END)
    assert isinstance(bad, BadFrame) and bad.reason.startswith("5 bytes that are no frame")


def test_it_has_no_beep_to_give() -> None:
    bench = started()
    bench.take_sent()
    bench.driver.feedback("reject", bench.now)
    assert bench.driver.output() == b""


def test_opened_again_it_begins_anew() -> None:
    bench = started(antennas="1,2")
    bench.feed(END, TAG[:10])
    bench.close()
    bench.open()
    assert not bench.driver.ready and bench.driver.model is None and bench.driver.warning is None
    bench.wait(0.4)
    bench.take_sent()
    bench.feed(frame("07720109"))
    assert bench.take_sent() == frame("077400")


@pytest.mark.parametrize(
    ("antennas", "wrong"),
    [("0,1", "from 1 to 8"), ("9", "from 1 to 8"), ("1,x", "such as 1,2"), ("", "such as 1,2")],
)
def test_antennas_that_it_cannot_have(antennas: str, wrong: str) -> None:
    with pytest.raises(Misconfigured, match=wrong):
        build("a0", {"antennas": antennas})

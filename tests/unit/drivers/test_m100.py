"""What is special to M100 modules: two framings, a start-up, and a module that must be told to go on."""

import pytest

from devices.reads import BadFrame, TagRead
from tests.support.drivers import Bench, build

TAG = bytes.fromhex("bb02220011c9340030751feb705c5904e3d50d703a76ef7e")
VERSION = bytes.fromhex("bb0103000b004d3130302056312e3030227e")
STOP, ASK = bytes.fromhex("bb00280000287e"), bytes.fromhex("bb000300010004 7e")
START = bytes.fromhex("bb002700032 2ffff4a7e".replace(" ", ""))
NO_TAG = bytes.fromhex("bb01ff000115167e")


def in_other_framing(frame: bytes) -> bytes:
    return b"\xaa" + frame[1:-1] + b"\xdd"


def started(**options: str) -> Bench:
    bench = Bench(build("m100", options)).open()
    bench.wait(0.4)
    bench.feed(VERSION)
    return bench


def test_it_stops_drains_asks_in_both_framings_and_goes_on_in_the_one_that_answers() -> None:
    bench = Bench(build("m100")).open()
    assert bench.take_sent() == STOP + in_other_framing(STOP)
    assert not bench.driver.ready
    bench.wait(0.4)
    assert bench.take_sent() == ASK + in_other_framing(ASK)
    bench.feed(in_other_framing(VERSION))
    assert bench.driver.ready and bench.driver.model == "M100 V1.00"
    assert bench.take_sent() == in_other_framing(START)
    assert bench.driver.goodbye() == in_other_framing(STOP)


def test_a_stream_that_is_still_running_is_read_while_it_is_being_stopped() -> None:
    bench = Bench(build("m100")).open()
    [read] = bench.feed(TAG)
    assert isinstance(read, TagRead) and not bench.driver.ready


def test_a_module_that_does_not_answer_is_asked_three_times_and_then_told_of() -> None:
    bench = Bench(build("m100", {"framing": "bb"})).open()
    bench.wait(10)
    assert bench.take_sent() == STOP + 3 * ASK
    assert (bench.driver.fault or "").startswith(
        "no answer to the question for its version within 1.5 s: check"
    )


def test_region_and_power_are_set_before_it_reads() -> None:
    bench = Bench(build("m100", {"region": "eu", "power_dbm": "20"})).open()
    bench.wait(0.4)
    bench.take_sent()
    bench.feed(VERSION)
    assert bench.take_sent().hex() == "bb00070001030b7e"
    bench.feed(bytes.fromhex("bb0107000100097e"))
    assert bench.take_sent().hex() == "bb00b6000207d08f7e"
    assert not bench.driver.ready
    bench.feed(bytes.fromhex("bb01b6000100b87e"))
    assert bench.driver.ready and bench.take_sent() == START


def test_it_is_told_to_go_on_before_its_rounds_run_out() -> None:
    bench = started()
    bench.take_sent()
    for _ in range(130):
        bench.feed(NO_TAG)
        bench.wait(0.5)
    assert bench.take_sent() == START
    assert bench.driver.fault is None and bench.reads == []


def test_a_silent_module_is_told_to_go_on_and_given_up_when_that_does_not_help() -> None:
    bench = started()
    bench.take_sent()
    bench.wait(2.5)
    assert bench.take_sent() == START and bench.driver.fault is None
    bench.feed(NO_TAG)
    bench.wait(7)
    assert bench.driver.fault is None
    bench.wait(2)
    assert bench.driver.fault == "the module stopped answering: check its power supply and its cable"


@pytest.mark.parametrize(
    ("code", "warning"), [("15", None), ("20", "no free radio channel"), ("17", "does not know a command")]
)
def test_complaints_are_warnings_until_it_works_again(code: str, warning: str | None) -> None:
    bench = started()
    parameters = bytes.fromhex(f"01ff0001{code}")
    bench.feed(b"\xbb" + parameters + bytes([sum(parameters) & 0xFF]) + b"\x7e")
    assert (warning is None and bench.driver.warning is None) or warning in (bench.driver.warning or "")
    bench.feed(NO_TAG)
    assert bench.driver.warning is None


def test_opened_again_it_begins_anew() -> None:
    bench = started()
    bench.feed(TAG[:10])
    bench.close()
    bench.open()
    assert not bench.driver.ready and bench.driver.model is None
    assert bench.take_sent().endswith(in_other_framing(STOP))


def notification(parameters: str) -> bytes:
    body = bytes([0x02, 0x22, 0, len(bytes.fromhex(parameters))]) + bytes.fromhex(parameters)
    return b"\xbb" + body + bytes([sum(body) & 0xFF]) + b"\x7e"


@pytest.mark.parametrize("parameters", ["", "c9", "c934", "c93400", "c9340030"])
def test_a_tag_that_is_too_short_is_told_of(parameters: str) -> None:
    [bad] = started().feed(notification(parameters))
    assert isinstance(bad, BadFrame) and bad.reason == "a tag that is too short for one"


def test_a_tag_without_an_epc_is_no_read() -> None:
    [bad] = started(tag_crc="ignore").feed(notification("c9 0000 e2f0"))
    assert isinstance(bad, BadFrame) and bad.reason == "a tag that holds no EPC"


def test_a_module_that_was_without_power_is_told_its_settings_again() -> None:
    bench = started(power_dbm="20")
    power, taken = bytes.fromhex("bb00b6000207d08f7e"), bytes.fromhex("bb01b6000100b87e")
    assert bench.take_sent().endswith(power)
    bench.feed(taken)
    assert bench.take_sent() == START
    bench.wait(2.1)
    assert bench.take_sent() == power
    bench.feed(taken)
    assert bench.take_sent() == START and bench.driver.fault is None
    for _ in range(61):
        bench.feed(NO_TAG)
        bench.wait(1)
    assert bench.take_sent() == START, "told to go on once a minute, as before"


def test_a_setting_that_it_refuses_is_named() -> None:
    bench = started(region="us")
    bench.feed(NO_TAG)
    assert bench.driver.fault is None  # a stream that was not stopped
    bench.feed(bytes.fromhex("bb01ff000117187e"))
    assert (
        bench.driver.fault
        == "the module refuses the setting of its region (error 17): check the port's options"
    )


def test_who_answered_once_is_spoken_to_in_that_framing() -> None:
    bench = started()
    bench.feed(in_other_framing(VERSION))
    assert bench.driver.goodbye() == STOP

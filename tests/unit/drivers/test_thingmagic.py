"""What is special to ThingMagic modules: a long start-up, and a reading that goes on and says that it does."""

import pytest

from devices.reads import BadFrame, TagRead
from tests.support.drivers import Bench, build

STOP = bytes.fromhex("ff032f0000025e86")
ASK = bytes.fromhex("ff00031d0c")
PROTOCOL = bytes.fromhex("ff02930005517d")
ANTENNA = bytes.fromhex("ff039102010142c5")
NO_FILTER = bytes.fromhex("ff039a010c00a35d")
START = bytes.fromhex("ff102f00000122000005072210001b03e801ffdd2b")
ALIVE = bytes.fromhex("ff0022040084e0")
HOT, RETURN_LOSS = bytes.fromhex("ff0022050485e4"), bytes.fromhex("ff0022050585e5")
TAG = bytes.fromhex(
    "ff2822000010001b01ff0101c4110e16400000012700000500000f00803000000000000000000000001545e94a561d"
)


def with_crc(text: str) -> bytes:
    """Any frame: what stands between header and CRC, as hex."""
    body, crc = bytes.fromhex(text), 0xFFFF
    for digit in body.hex():
        out = crc >> 12
        crc = ((crc << 4 & 0xFFFF) | int(digit, 16)) ^ (0x1021 * out)
    return b"\xff" + body + crc.to_bytes(2, "big")


def done(command: int, status: int = 0, data: str = "") -> bytes:
    return with_crc(f"{len(data) // 2:02x}{command:02x}{status:04x}{data}")


VERSION = done(0x03, data="1212001330000002201612140107000100000010")
RUNS, BOOTS = done(0x0C, data="12"), done(0x0C, data="11")
SETTINGS = (0x93, 0x91, 0x9A)


def asked(**options: str) -> Bench:
    """Up to where it is to be configured."""
    bench = Bench(build("thingmagic", options)).open()
    bench.wait(1.6)
    bench.feed(VERSION, RUNS)
    return bench


def started() -> Bench:
    bench = asked()
    bench.feed(*(done(command) for command in (*SETTINGS, 0x2F)))
    assert bench.driver.ready
    bench.take_sent()
    return bench


def test_it_stops_drains_asks_configures_and_starts() -> None:
    bench = Bench(build("thingmagic")).open()
    assert bench.take_sent() == STOP
    bench.feed(done(0x2F, data="02"))
    bench.wait(1.4)
    assert bench.take_sent() == b""
    bench.wait(0.2)
    assert bench.take_sent() == ASK == bench.driver.ASK
    for heard, said in (
        (VERSION, with_crc("000c")),
        (RUNS, PROTOCOL),
        (done(0x93), ANTENNA),
        (done(0x91), NO_FILTER),
        (done(0x9A), START),
    ):
        bench.feed(heard)
        assert bench.take_sent() == said and not bench.driver.ready
    bench.feed(done(0x2F, data="01"))
    assert bench.driver.ready and bench.driver.model == "M6E Nano, firmware 01.07.00.01"
    assert bench.driver.goodbye() == STOP


def test_region_power_antennas_and_tid_are_as_configured() -> None:
    bench = asked(region="eu3", power_dbm="5", antennas="1,3", tid="yes")
    bench.take_sent()
    for heard, said in (
        (done(0x93), with_crc("05910201010303")),
        (done(0x91), bytes.fromhex("ff0197084bb5")),
        (done(0x97), bytes.fromhex("ff029201f440ad")),
        (done(0x92), NO_FILTER),
        # Search flag 4, and behind the metadata one command of nine bytes: read six words of bank 2.
        (done(0x9A), with_crc("1c2f00000122000005132210001f03e801ff01092800000002" + "0000000006")),
    ):
        bench.feed(heard)
        assert bench.take_sent().endswith(said)


def test_a_module_in_its_boot_loader_is_booted() -> None:
    bench = Bench(build("thingmagic")).open()
    bench.wait(1.6)
    bench.feed(VERSION, BOOTS)
    assert bench.take_sent().endswith(bytes.fromhex("ff00041d0b"))
    bench.feed(done(0x04, data="1212001318000002201612140121011900000010"))
    assert bench.take_sent() == PROTOCOL and bench.driver.model == "M6E, firmware 01.21.01.19"


@pytest.mark.parametrize("answer", [b"", done(0x0C, 0x0101)])
def test_a_module_that_does_not_know_what_it_runs_is_no_boot_loader(answer: bytes) -> None:
    bench = Bench(build("thingmagic")).open()
    bench.wait(1.6)
    bench.feed(VERSION, answer)
    bench.wait(1.1)
    assert PROTOCOL in bench.take_sent()


def test_a_module_without_a_filter_reads_all_the_same() -> None:
    bench = asked()
    bench.feed(done(0x93), done(0x91), done(0x9A, 0x0109))
    assert bench.take_sent().endswith(START) and bench.driver.fault is None


@pytest.mark.parametrize(
    ("before", "refusal", "fault"),
    [
        ((), done(0x93, 0x0105), "the choice of protocol Gen2: it does not know the value (status 0105)"),
        ((0x93,), done(0x91, 0x0100), "the choice of its antennas: wrong amount of data (status 0100)"),
        (
            (0x93, 0x91),
            done(0x97, 0x010B),
            "the setting of its region: it does not know the region, or none is set",
        ),
        ((0x93, 0x91, 0x97), done(0x92, 0x0103), "the setting of its power: that is more power than it has"),
        ((0x93, 0x91, 0x97, 0x92, 0x9A), done(0x2F, 0x7777), "the start of reading: it does not say why"),
    ],
)
def test_what_is_refused_is_a_fault(before: tuple[int, ...], refusal: bytes, fault: str) -> None:
    bench = asked(region="eu3", power_dbm="30")
    bench.feed(*(done(command) for command in before), refusal)
    assert (bench.driver.fault or "").startswith(f"the module refuses {fault}")


def test_a_refusal_of_what_nobody_asked_means_nothing() -> None:
    bench = started()
    bench.feed(done(0x92, 0x0103), done(0x2F, 0x0101))
    assert bench.driver.fault is None


def test_who_does_not_answer_is_told_of() -> None:
    bench = Bench(build("thingmagic")).open()
    bench.wait(10)
    assert bench.take_sent() == STOP + 3 * ASK
    assert (bench.driver.fault or "").startswith(
        "no answer to the question for its version within 1.5 s: check"
    )
    assert bench.driver.BAUDS[0] == 115200 and len(bench.driver.BAUDS) == 6


def test_a_stream_that_is_still_running_is_read_while_it_is_being_stopped() -> None:
    bench = Bench(build("thingmagic")).open()
    [read] = bench.feed(TAG)
    assert isinstance(read, TagRead) and not bench.driver.ready


def test_the_first_record_says_as_well_as_the_answer_that_it_reads() -> None:
    bench = asked()
    bench.feed(*(done(command) for command in SETTINGS))
    [read] = bench.feed(TAG)
    assert isinstance(read, TagRead) and bench.driver.ready


def test_a_sign_of_life_each_second_is_enough_and_so_is_a_temperature() -> None:
    bench = started()
    for frame in (ALIVE, done(0x22, data="82001b0102030405062d"), TAG, ALIVE) * 10:
        bench.wait(1)
        bench.feed(frame)
    assert bench.take_sent() == b"" and bench.driver.fault is None and len(bench.reads) == 10


def test_a_module_that_falls_silent_is_started_again_from_the_first_question_on() -> None:
    bench = started()
    bench.feed(ALIVE)
    bench.wait(3.4)
    assert bench.take_sent() == b""
    bench.wait(0.2)
    assert bench.take_sent() == STOP
    assert bench.driver.warning == "the module fell silent, and is started again"
    bench.wait(1.6)
    bench.feed(VERSION, RUNS, *(done(command) for command in (*SETTINGS, 0x2F)))
    assert bench.take_sent().endswith(START) and bench.driver.ready
    bench.feed(ALIVE)
    assert bench.driver.warning is None


def test_a_module_that_answers_but_never_reads_is_given_up() -> None:
    bench = started()
    for _ in range(2):
        assert bench.driver.fault is None
        bench.wait(3.6)
        bench.wait(1.6)
        bench.feed(VERSION, RUNS, *(done(command) for command in (*SETTINGS, 0x2F)))
    bench.wait(3.6)
    assert bench.driver.fault == (
        "the module answers but does not read: check its power supply, antennas and region"
    )


def test_a_module_that_falls_silent_now_and_then_is_started_again_each_time() -> None:
    bench = started()
    for _ in range(5):
        bench.wait(3.6)
        bench.wait(1.6)
        bench.feed(VERSION, RUNS, *(done(command) for command in (*SETTINGS, 0x2F)), ALIVE)
        assert bench.driver.fault is None and bench.driver.ready


def test_a_module_that_is_gone_is_given_up() -> None:
    bench = started()
    bench.wait(8)
    assert (bench.driver.fault or "").startswith("no answer to the question for its version")


@pytest.mark.parametrize(
    ("frame", "warning"),
    [
        (HOT, "the module is too hot"),
        (RETURN_LOSS, "an antenna reflects too much"),
        (done(0x22, 0x0503), "an antenna is not connected"),
        (done(0x22, 0x0401), "the module complains: no tag protocol is set (status 0401)"),
    ],
)
@pytest.mark.parametrize("next_frame", [TAG, ALIVE])
def test_a_complaint_is_a_warning_until_it_goes_on(frame: bytes, warning: str, next_frame: bytes) -> None:
    bench = started()
    bench.feed(frame)
    assert (bench.driver.warning or "").startswith(warning)
    bench.feed(done(0x22, data="82001b0102030405062d"))
    assert bench.driver.warning is not None
    bench.feed(next_frame)
    assert bench.driver.warning is None and bench.driver.fault is None


def test_a_failed_assertion_is_a_fault() -> None:
    bench = started()
    bench.feed(done(0x22, 0x7F03))
    assert (bench.driver.fault or "").startswith("the module's own program failed (status 7F03)")


def test_a_module_that_nobody_knows_has_a_number_for_a_name() -> None:
    bench = Bench(build("thingmagic"))
    bench.feed(done(0x03, data="1212001399000002201612140107000100000010"))
    assert bench.driver.model == "ThingMagic 99, firmware 01.07.00.01"


def test_opened_again_it_begins_anew() -> None:
    bench = started()
    bench.feed(HOT, TAG[:10])
    bench.close()
    bench.open()
    assert not bench.driver.ready and bench.driver.model is None and bench.driver.warning is None
    assert bench.take_sent() == STOP


def test_a_tag_without_an_epc_is_no_read() -> None:
    bench = started()
    record = TAG[5:-2]
    end = record.index(bytes.fromhex("0080 3000"))
    epcless = record[:end] + bytes.fromhex("0020 0000 e2f0")
    [bad] = bench.feed(done(0x22, data=epcless.hex()))
    assert isinstance(bad, BadFrame) and bad.reason == "a tag that holds no EPC"

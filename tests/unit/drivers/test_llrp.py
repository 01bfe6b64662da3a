"""What is special to LLRP: a reader that speaks first, a start-up by ROSpecs, and keep-alives."""

import struct
import time

import pytest

from devices.reads import BadFrame, TagRead
from devices.wire import llrp_messages as llrp
from tests.support.drivers import Bench, build, vectors

STATUS_OK = bytes.fromhex("011f000800000000")
GREETING = bytes.fromhex("043f000000200ab288c900f600160080000c0004f8535baadaff010000060000")
REPORT = bytes.fromhex("043d0000001b0000000700f000118d3000abcdef00000000000003")
KEEPALIVE = bytes.fromhex("043e0000000a00000001")
KEEPALIVE_ACK = bytes.fromhex("04480000000a00000001")

# The reader as an Impinj R420 describes itself, with three powers and two frequencies.
GENERAL = (
    struct.pack(">HHIIH", 4, 0x4000, 25882, 2001002, 10)
    + b"5.14.0.240"
    + bytes.fromhex("008b000800010000 008d000800040004 008c00090001000101".replace(" ", ""))
)


def tlv(type_: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">HH", type_, 4 + len(content)) + content


def reply(type_: int, number: int, body: bytes = STATUS_OK, version: int = 1) -> bytes:
    return struct.pack(">HII", version << 10 | type_, 10 + len(body), number) + body


def event(type_: int, *content: bytes) -> bytes:
    return reply(63, 77, tlv(246, tlv(128, bytes(8)), tlv(type_, *content)))


def refusal(code: int, words: str, *more: bytes) -> bytes:
    return tlv(287, struct.pack(">HH", code, len(words)), words.encode(), *more)


def capabilities(*, hopping: bool = True, powers: tuple[int, ...] = (1000, 2000, 3000)) -> bytes:
    table = (
        tlv(147, b"\x05\0\0\2", struct.pack(">II", 902_750, 903_250))
        if hopping
        else tlv(148, b"\0\1", struct.pack(">I", 865_700))
    )
    band = [tlv(145, struct.pack(">Hh", index, power)) for index, power in enumerate(powers, 7)]
    band.append(tlv(146, b"\x80" if hopping else b"\0", table))
    return STATUS_OK + tlv(137, GENERAL) + tlv(143, bytes.fromhex("03480001"), tlv(144, *band))


def sent(bench: Bench) -> list[tuple[int, int, bytes]]:
    """Type, id and body of each message that the driver sent."""
    data, found = bench.take_sent(), []
    while data:
        first, length, number = struct.unpack_from(">HII", data)
        found.append((first & 0x3FF, number, data[10:length]))
        data = data[length:]
    return found


def types(bench: Bench) -> list[int]:
    return [type_ for type_, _, _ in sent(bench)]


def asked(bench: Bench, answer: bytes = b"") -> Bench:
    """Greeted, and told what the reader is."""
    bench.open()
    bench.feed(GREETING)
    bench.take_sent()
    bench.feed(reply(11, 2, answer or capabilities()))
    return bench


def started(**options: str) -> Bench:
    bench = asked(Bench(build("llrp", options)))
    for number, type_ in enumerate((31, 13, 13, 30, 34, 32), 3):
        bench.feed(reply(type_, number))
    assert bench.driver.ready, bench.driver.fault
    bench.take_sent()
    return bench


def test_it_waits_to_be_greeted_and_goes_through_the_start_up_step_by_step() -> None:
    bench = Bench(build("llrp")).open()
    assert bench.take_sent() == b"" and not bench.driver.ready
    bench.feed(GREETING)
    assert bench.take_sent().hex() == "04400000000a00000063" + "04010000000b0000000200"
    bench.feed(reply(11, 2, capabilities()))
    assert bench.driver.model == "Impinj Speedway R420, 5.14.0.240"
    steps = []
    for type_ in (31, 13, 13, 30, 34, 32):
        [(asked_type, number, body)] = sent(bench)
        steps.append((asked_type, body.hex()))
        assert not bench.driver.ready
        bench.feed(reply(type_, number))
    assert [type_ for type_, _ in steps] == [21, 3, 3, 20, 24, 22]
    assert steps[0][1] == "00000000"
    assert steps[1][1] == "00" + "00dc00090100001388"
    events = "".join(f"00f50007{number:04x}80" for number in (2, 3, 4, 8))
    assert steps[2][1] == "00" + "00f40020" + events + "00e2000500"
    assert steps[4][1] == steps[5][1] == "00000001"
    assert bench.driver.ready and bench.driver.fault is None
    assert bench.take_sent() == b""


# A ROSpec: number 1, never started or stopped by itself; all antennas, for ever, Gen2 in session 1, about 32 tags; a
# report for each tag with antenna, channel, RSSI, first sighting, count and PC.
ROSPEC = (
    "00b1005c 00000001 00 00"
    " 00b20012 00b30005 00 00b60009 00 00000000"
    " 00b7002e 0001 0000 00b80009 00 00000000"
    " 00ba001d 0001 01 00de0016 0000 014a0010 00 0150000b 40 0020 00000000"
    " 00ed0012 01 0001 00ee000b 1e80 015c0005 40"
)
# Antennas 1 and 3; hop table 5 with power 8 of the table, which is 20 dBm; session 2, four tags.
CHOSEN = (
    "00b10068 00000001 00 00"
    " 00b20012 00b30005 00 00b60009 00 00000000"
    " 00b7003a 0002 0001 0003 00b80009 00 00000000"
    " 00ba0027 0001 01 00de0020 0000 00e0000a 0005 0001 0008 014a0010 00 0150000b 80 0004 00000000"
    " 00ed0012 01 0001 00ee000b 1e80 015c0005 40"
)


def rospec(answer: bytes = b"", **options: str) -> str:
    bench = asked(Bench(build("llrp", options)), answer)
    bench.feed(reply(31, 3), reply(13, 4), reply(13, 5))
    [body] = [body for type_, _, body in sent(bench) if type_ == 20]
    return body.hex()


def test_the_rospec_reads_on_and_reports_every_tag() -> None:
    assert rospec() == ROSPEC.replace(" ", "")
    chosen = rospec(antennas="1,3", power_dbm="25", session="2", population="4")
    assert chosen == CHOSEN.replace(" ", "")


@pytest.mark.parametrize(
    ("asked_dbm", "hopping", "transmitter"),
    [
        ("30", True, "00e0000a000500010009"),
        ("29", True, "00e0000a000500010008"),
        ("5", True, "00e0000a000500010007"),  # less than it can: its least
        ("20", False, "00e0000a000000010008"),  # no hopping: the first channel
    ],
)
def test_power_is_the_nearest_from_below_in_the_readers_own_table(
    asked_dbm: str, hopping: bool, transmitter: str
) -> None:
    assert transmitter in rospec(capabilities(hopping=hopping), power_dbm=asked_dbm)


def test_what_the_reader_cannot_do_is_said_at_once() -> None:
    bench = asked(Bench(build("llrp", {"antennas": "1,5,6"})))
    assert bench.driver.fault == "the reader has 4 antennas: take 5, 6 out of option antennas"
    bench = asked(Bench(build("llrp", {"power_dbm": "20"})), capabilities(powers=()))
    assert "does not say which powers it has" in (bench.driver.fault or "")
    bench = asked(Bench(build("llrp", {"antennas": "200"})), STATUS_OK)
    assert bench.driver.fault is None and bench.driver.model is None  # it does not say how many it has


def test_another_reader_is_named_by_its_numbers() -> None:
    general = struct.pack(">HHIIH", 8, 0, 4711, 12, 3) + b"1.0"
    bench = asked(Bench(build("llrp")), STATUS_OK + tlv(137, general))
    assert bench.driver.model == "maker 4711 model 12, 1.0"


def test_its_question_for_finding_devices_is_answered_without_being_opened() -> None:
    driver = build("llrp")
    assert driver.ASK.hex() == "04010000000b0000000101"
    Bench(driver).feed(GREETING, reply(11, 1, capabilities()))
    assert driver.model == "Impinj Speedway R420, 5.14.0.240"


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fault"),
    [(1, "opened by itself"), (2, "serves another client"), (3, "does not say why"), (9, "does not say why")],
)
def test_a_greeting_that_is_a_refusal_says_why(status: int, fault: str) -> None:
    bench = Bench(build("llrp")).open()
    bench.feed(event(256, struct.pack(">H", status)))
    assert fault in (bench.driver.fault or "")


def test_another_client_that_tries_is_worth_a_warning() -> None:
    bench = started()
    bench.feed(event(256, b"\0\4"))
    assert bench.driver.fault is None and "another client" in (bench.driver.warning or "")


def test_a_reader_that_does_not_greet_is_asked_all_the_same() -> None:
    bench = Bench(build("llrp")).open()
    bench.wait(3.1)
    assert types(bench) == [64, 1]
    bench.wait(9)
    assert types(bench) == [1, 1]
    assert (bench.driver.fault or "").startswith(
        "no answer to the question for its capabilities within 9 s: check"
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (refusal(401, "RF hardware"), "RF hardware (status 401)"),
        (refusal(401, "\x1b[2Jhot\n\0"), "�[2Jhot (status 401)"),
        (refusal(105, ""), "there are too many of a parameter (status 105)"),
        (refusal(999, ""), "it does not say why (status 999)"),
        (
            refusal(100, "", tlv(289, struct.pack(">HH", 177, 101)), tlv(288, struct.pack(">HH", 3, 101))),
            "a parameter is wrong (status 100, type 177, field 3)",
        ),
    ],
)
def test_a_step_that_is_refused_is_a_fault_in_the_readers_words(body: bytes, words: str) -> None:
    bench = asked(Bench(build("llrp")))
    bench.feed(reply(31, 3), reply(13, 4), reply(13, 5), reply(30, 6, body))
    expected = f"the reader refused the adding of a ROSpec: {words}; check the driver's options"
    assert bench.driver.fault == expected


def test_an_error_message_may_be_the_answer() -> None:
    bench = asked(Bench(build("llrp")))
    bench.feed(reply(100, 3, refusal(109, "")))
    assert "refused the removal of old ROSpecs: it does not support the message" in (bench.driver.fault or "")


def test_a_reader_with_fewer_events_is_used_all_the_same() -> None:
    bench = asked(Bench(build("llrp")))
    bench.feed(reply(31, 3), reply(13, 4))
    bench.take_sent()
    bench.feed(reply(13, 5, refusal(100, "no such event")))
    assert bench.driver.fault is None and types(bench) == [20]


def test_what_may_have_been_done_is_undone_before_it_is_asked_for_again() -> None:
    bench = asked(Bench(build("llrp")))
    bench.feed(reply(31, 3), reply(13, 4), reply(13, 5))
    bench.take_sent()
    for again, answer, number in (([21, 20], 30, 6), ([25, 24], 34, 7), ([23, 22], 32, 8)):
        bench.wait(3.1)
        assert types(bench)[-2:] == again
        # The undoing may be refused, as there was nothing to undo.
        bench.feed(reply(again[0] + 10, 99, refusal(101, "no such ROSpec")), reply(answer, number))
    assert bench.driver.ready and bench.driver.fault is None


# --- alive --------------------------------------------------------------------------------------------------------


def test_keep_alives_are_acknowledged_and_three_that_do_not_come_are_a_dead_link() -> None:
    bench = started()
    for _ in range(5):
        bench.wait(5)
        bench.feed(KEEPALIVE)
        assert bench.take_sent() == KEEPALIVE_ACK
    bench.feed(REPORT)
    bench.wait(15.9)
    assert bench.driver.fault is None
    bench.wait(0.2)
    assert bench.driver.fault == "the reader's last 3 keep-alives did not come: check its power and network"


def test_a_thousand_keep_alives_at_once_are_not_all_acknowledged() -> None:
    bench = started()
    bench.feed(KEEPALIVE * 6000)
    assert len(bench.take_sent()) == 100 * len(KEEPALIVE_ACK)
    assert bench.driver.fault is None


def test_goodbye_ends_the_rospec_and_the_connection() -> None:
    bench = started()
    goodbye = bench.driver.goodbye()
    assert goodbye.hex() == "04150000000e0000006300000001" + "040e0000000a00000063"


def test_version_1_1_is_agreed_on_first_and_both_versions_are_understood() -> None:
    bench = Bench(build("llrp", {"version": "1.1"})).open()
    bench.feed(GREETING)
    assert bench.take_sent().hex() == "082f0000000b0000000102"
    bench.feed(reply(57, 1, version=2))
    assert bench.take_sent().hex() == "08400000000a00000063" + "08010000000b0000000200"
    bench.feed(reply(11, 2, capabilities(), version=2))
    for number, type_ in enumerate((31, 13, 13, 30, 34, 32), 3):
        bench.feed(reply(type_, number, version=2))
    assert bench.driver.ready
    bench.take_sent()
    [read] = bench.feed(b"\x08" + REPORT[1:])
    assert isinstance(read, TagRead)
    bench.feed(b"\x08" + KEEPALIVE[1:])
    assert bench.take_sent() == b"\x08" + KEEPALIVE_ACK[1:]


def test_a_reader_without_version_1_1_says_so() -> None:
    bench = Bench(build("llrp", {"version": "1.1"})).open()
    bench.feed(GREETING, reply(100, 1, refusal(110, "")))
    assert bench.driver.fault == (
        "the reader refused the choice of its LLRP version: it does not support this version of LLRP (status 110);"
        " check the driver's options"
    )


# --- what happens at the reader -----------------------------------------------------------------------------------


def test_antennas_that_are_not_connected_are_told_until_they_are() -> None:
    bench = started()
    bench.feed(event(255, b"\0\0\2"), event(255, b"\0\0\3"))
    assert "antenna 2" in (bench.driver.warning or "") and "antenna 3" in (bench.driver.warning or "")
    for _ in range(30):
        bench.wait(10)
        bench.feed(KEEPALIVE)
    bench.feed(event(255, b"\1\0\2"))
    assert (bench.driver.warning or "").startswith("antenna 3 is not connected: check its cable")
    bench.feed(event(255, b"\1\0\3"))
    assert bench.driver.warning is None


def test_an_antenna_that_is_not_used_may_be_missing() -> None:
    bench = started(antennas="1,2")
    bench.feed(event(255, b"\0\0\4"))
    assert bench.driver.warning is None


@pytest.mark.parametrize(
    ("told", "warning", "for_s"),
    [
        (event(250, b"\x50"), "80 % full", 60),
        (event(251), "lost reports", 600),
        (event(252, b"\0\4hot!"), "the reader reports: hot!", 60),
        (event(252, b"\0\4\x1b[2J"), "the reader reports: �[2J", 60),
        (event(249, b"\2" + struct.pack(">II", 1, 5)), "something else first", 60),
        (reply(100, 4242, refusal(103, "")), "a parameter is missing", 60),
    ],
)
def test_what_nothing_takes_back_is_told_for_a_while(told: bytes, warning: str, for_s: int) -> None:
    bench = started()
    bench.feed(told)
    assert warning in (bench.driver.warning or "") and bench.driver.fault is None
    for _ in range(for_s // 5 - 1):
        bench.wait(5)
        bench.feed(KEEPALIVE)
    assert bench.driver.warning is not None
    bench.wait(5)
    assert bench.driver.warning is None


def test_warnings_have_a_bound() -> None:
    bench = started()
    for antenna in range(100):
        bench.feed(event(255, struct.pack(">BH", 0, antenna)))
    assert (bench.driver.warning or "").count("antenna") <= 2 * 16


def test_an_inventory_that_ends_by_itself_and_a_connection_that_does_are_faults() -> None:
    bench = started()
    bench.feed(event(249, b"\1" + struct.pack(">II", 9, 0)), event(249, b"\0" + struct.pack(">II", 1, 0)))
    assert bench.driver.fault is None
    bench.feed(event(249, b"\1" + struct.pack(">II", 1, 0)))
    assert "stopped reading by itself" in (bench.driver.fault or "")
    bench = started()
    bench.feed(event(257))
    assert "ends the connection" in (bench.driver.fault or "")


def test_an_old_rospec_that_ends_in_the_start_up_is_no_fault() -> None:
    bench = asked(Bench(build("llrp")))
    bench.feed(event(249, b"\1" + struct.pack(">II", 1, 0)))
    assert bench.driver.fault is None


# --- reports ------------------------------------------------------------------------------------------------------


def test_what_the_reader_kept_is_read_during_the_start_up() -> None:
    bench = Bench(build("llrp")).open()
    [read] = bench.feed(GREETING + REPORT)
    assert isinstance(read, TagRead) and not bench.driver.ready


def test_a_channel_becomes_a_frequency_when_the_reader_has_told_its_table() -> None:
    bench = started()
    frequencies = []
    for channel in (1, 2, 3, 0):
        tag = bytes.fromhex("8d3000abcdef00000000000003") + struct.pack(">BH", 0x87, channel)
        [read] = bench.feed(reply(61, 1, tlv(240, tag)))
        assert isinstance(read, TagRead)
        frequencies.append(read.frequency_khz)
    assert frequencies == [902_750, 903_250, None, None]


def test_a_malformed_report_gives_its_good_tags_as_soon_as_something_follows_it() -> None:
    [vector] = [each for each in vectors("llrp") if each["about"] == "the same, and nothing follows"]
    bench = started()
    assert bench.feed(bytes.fromhex(vector["bytes"])) == []
    reads = bench.feed(KEEPALIVE)
    assert [type(read) for read in reads] == [TagRead, TagRead, BadFrame]
    assert bench.feed(bytes.fromhex(vector["bytes"])) == []
    assert len(bench.wait(3.1)) == 3


def test_other_messages_that_are_malformed_inside_change_nothing() -> None:
    bench = started()
    broken = reply(63, 1, tlv(246, tlv(128, bytes(8)), tlv(256, b"")))
    [read] = bench.feed(broken + KEEPALIVE)
    assert isinstance(read, BadFrame) and "ConnectionAttemptEvent ends inside its Status" in read.reason
    assert bench.driver.fault is None and bench.driver.warning is None


def test_parameters_inside_each_other_have_a_bound() -> None:
    deep = b""
    for _ in range(20):
        deep = tlv(240, deep)
    [read] = Bench(build("llrp")).feed(reply(61, 1, deep) + KEEPALIVE)
    assert isinstance(read, BadFrame) and "inside each other" in read.reason


BEGINNING = struct.pack(">HII", 0x043D, 0x3FFF0, 1)
"""Of a report that goes on far behind everything."""


@pytest.mark.parametrize("step", [100, 65_536])
@pytest.mark.parametrize(
    ("content", "rest"),
    [
        (tlv(240, BEGINNING), bytes(8)),  # whole, and each of its parameters may be the beginning of another
        (tlv(240, BEGINNING), b""),  # the same, and its end is lost
        (tlv(240), b""),  # as many parameters as can be, and they come slowly
        (b"\x04", b""),
    ],
)
def test_nobody_can_make_it_slow(content: bytes, rest: bytes, step: int) -> None:
    def seconds(size: int) -> float:
        bench = started()
        whole = reply(61, 1, content * (size // len(content))) + rest
        data = whole if rest else whole[:-1]
        begin = time.process_time()
        for place in range(0, len(data), step):
            bench.feed(data[place : place + step])
        bench.close()
        return time.process_time() - begin

    # Four times as much takes four times as long; quadratic work would take sixteen times.
    assert min(seconds(80_000) for _ in range(2)) < 10 * max(min(seconds(20_000) for _ in range(3)), 0.03)


def test_a_large_report_that_comes_slowly_is_read_after_a_long_search() -> None:
    bench = started()
    broken = reply(61, 1, tlv(240, BEGINNING) * 10_000)[:-1]
    tag = REPORT[10:]
    report = reply(61, 2, tag * 10_000)
    bench.feed(broken)
    bench.wait(4)
    reads = [
        read for place in range(0, len(report), 1_000) for read in bench.feed(report[place : place + 1_000])
    ]
    assert len(reads) == 10_000 and all(isinstance(read, TagRead) for read in reads)


def test_a_parameter_goes_by_the_name_of_the_standard() -> None:
    body = bytes.fromhex("008d000800040004 810001 03e80004".replace(" ", ""))
    assert [each.name for each in llrp.parameters(body, 0, len(body))] == [
        "GPIOCapabilities",
        "AntennaID",
        "Parameter1000",
    ]


def test_opened_again_it_begins_anew() -> None:
    bench = started()
    bench.feed(event(255, b"\0\0\2"), REPORT[:15])
    bench.close()
    bench.open()
    assert not bench.driver.ready and bench.driver.model is None and bench.driver.warning is None
    bench.wait(2)
    assert bench.take_sent() == b""

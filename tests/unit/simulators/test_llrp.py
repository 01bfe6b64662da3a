"""The simulated LLRP reader: messages as the standard encodes them, ROSpecs and their states, keep-alives."""

import random
import struct

import pytest

from simulators.hardware.device import Thing
from simulators.hardware.llrp import Llrp

TAG = Thing(epc="3005FB63AC1F3841EC880467", rssi_dbm=-50, antenna=1, number=1)
LONG = Thing(epc="1FB41F712AC9C37AB79D618173188324001A", number=2)
OK = bytes.fromhex("011f000800000000")
# A ROSpec as another client writes it: antenna 1, power 81 of the table, a mode, session 2; reports at the end of
# each round, with antenna, RSSI, first and last sighting, and count.
ADD = bytes.fromhex(
    "0414000000880000000200b1007e00000001000000b2001200b300050100b60009000000000000b700500001000100b80019030000000000"
    "b9001000000001000000000000000000ba002f00010100de0028000100e0000a000100010051014a001800014f000803e800000150000b80"
    "00040000000000ed001201000000ee000b1780015c000500"
)


@pytest.fixture
def reader() -> Llrp:
    device = Llrp(random.Random(1))
    device.opened(0.0)
    return device


def say(device: Llrp, type_: int, body: bytes = b"", number: int = 7, now_s: float = 0.0) -> list[bytes]:
    data = struct.pack(">HII", 1 << 10 | type_, 10 + len(body), number) + body
    return [frame.data for frame in device.hear(data, now_s)]


def code(answers: list[bytes]) -> int:
    """The status of the first answer."""
    at = answers[0].index(b"\x01\x1f")
    return int.from_bytes(answers[0][at + 4 : at + 6], "big")


def started(device: Llrp, add: bytes = ADD) -> None:
    device.hear(add, 0.0)
    for type_ in (24, 22):
        assert code(say(device, type_, b"\0\0\0\1")) == 0


def test_it_greets_and_tells_a_second_client_that_there_is_a_first() -> None:
    device = Llrp(random.Random(1))
    [greeting] = device.opened(0.0)
    assert greeting.data[:6].hex() == "043f00000020" and greeting.data[-6:].hex() == "010000060000"
    assert device.refusal(1.0)[-6:].hex() == "010000060002"
    assert device.due_s() == 0.0
    [told] = device.tick(1.0)
    assert told.data[-6:].hex() == "010000060004"
    assert device.due_s() is None and device.tick(1.1) == []


@pytest.mark.parametrize(
    ("type_", "body", "answer"),
    [
        (3, "00" + "00dc0009" + "0100002710", "040d0000001200000007" + OK.hex()),  # keep-alives each 10 s
        (14, "", "04040000001200000007" + OK.hex()),  # close
        (26, "", "04240000001200000007" + OK.hex()),  # no ROSpecs
        (21, "00000000", "041f0000001200000007" + OK.hex()),  # delete all
        (46, "", "04380000001400000007" + "0102" + OK.hex()),  # which versions
    ],
)
def test_messages_and_their_answers(reader: Llrp, type_: int, body: str, answer: str) -> None:
    assert [each.hex() for each in say(reader, type_, bytes.fromhex(body))] == [answer]


def test_it_says_what_it_can_do(reader: Llrp) -> None:
    [everything] = say(reader, 1, b"\0")
    sizes = [len(say(reader, 1, bytes([wanted]))[0]) for wanted in (1, 2, 3, 4)]
    assert len(everything) == 18 + sum(size - 18 for size in sizes)
    assert b"5.14.0.240" in say(reader, 1, b"\1")[0]
    assert bytes.fromhex("0091000800510bb8") in everything  # the last of its powers: 81 is 30 dBm
    assert code(say(reader, 1, b"\5")) == 101
    assert code(say(reader, 1)) == 100


def test_a_rospec_goes_from_disabled_over_inactive_to_active_and_back(reader: Llrp) -> None:
    number = b"\0\0\0\1"
    assert code(say(reader, 24, number)) == 101  # there is none
    assert code([frame.data for frame in reader.hear(ADD, 0.0)]) == 0
    assert [code([frame.data for frame in reader.hear(ADD, 0.0)])] == [105]  # there is one
    assert code(say(reader, 22, number)) == 101  # disabled
    assert code(say(reader, 24, number)) == 0
    assert code(say(reader, 24, number)) == 101  # enabled already
    assert code(say(reader, 23, number)) == 101  # does not run
    assert code(say(reader, 22, number)) == 0
    assert code(say(reader, 22, number)) == 101  # runs already
    [listed] = say(reader, 26)
    assert listed[18:] == ADD[10:19] + b"\2" + ADD[20:]
    assert code(say(reader, 23, number)) == 0
    assert code(say(reader, 25, number)) == 0
    assert code(say(reader, 21, number)) == 0
    assert code(say(reader, 21, number)) == 101
    assert reader.rospecs == {}


def test_a_rospec_is_read_and_checked(reader: Llrp) -> None:
    reader.hear(ADD, 0.0)
    [spec] = reader.rospecs.values()
    assert (spec.antennas, spec.every, spec.fields, spec.power, spec.session) == ((1,), 0, 0x1780, 81, 2)
    say(reader, 21, bytes(4))
    for old, new, status in (
        ("00b700500001" + "0001", "00b700500001" + "0009", 301),  # antenna 9
        ("00010051", "00010052", 301),  # power 82
        ("00b2001200b3", "00be001200b3", 100),  # nothing that bounds it
        ("00b1007e00000001", "00b1007e00000000", 101),  # number 0
        ("00b1007e", "00b1007f", 100),  # a length that is too long
    ):
        changed = bytes.fromhex(ADD.hex().replace(old, new))
        assert changed != ADD
        assert code([frame.data for frame in reader.hear(changed, 0.0)]) == status
    assert reader.rospecs == {}


def test_tags_are_reported_while_a_rospec_runs_with_what_it_asks_for(reader: Llrp) -> None:
    assert reader.see(TAG, 0.0) == []
    assert reader.holding() == (TAG,)
    reader.hear(ADD, 0.0)
    say(reader, 24, b"\0\0\0\1")
    data = struct.pack(">HII", 0x0416, 14, 9) + b"\0\0\0\1"
    answer, report = reader.hear(data, 2.0)
    assert report.things == (TAG,) and answer.things == ()
    seen = struct.pack(">Q", (1_767_225_600 + 2) * 1_000_000).hex()
    assert report.data[10:].hex() == (
        "00f0002b" + "8d3005fb63ac1f3841ec880467" + "810001" + "86ce" + f"82{seen}" + f"84{seen}" + "880001"
    )
    [report] = reader.see(LONG, 2.0)
    assert report.data[14:38].hex() == "00f100180090" + "1fb41f712ac9c37ab79d618173188324001a"
    assert reader.holding() == ()


def test_as_many_tags_in_a_report_as_the_rospec_says_and_all_fields_if_it_asks(reader: Llrp) -> None:
    three = (
        ADD.hex()
        .replace("00ed0012010000", "00ed0012010003")
        .replace("00ee000b1780015c000500", "00ee000bffc0015c000540")
    )
    for number in range(7):
        reader.see(Thing(epc=f"{number:024x}", number=number), 0.0)
    reader.hear(bytes.fromhex(three), 0.0)
    say(reader, 24, b"\0\0\0\1")
    frames = reader.hear(struct.pack(">HII", 0x0416, 14, 9) + b"\0\0\0\1", 0.0)
    assert [len(frame.things) for frame in frames] == [0, 3, 3, 1]
    report = frames[3].data
    assert report[14:27].hex() == "8d" + f"{6:024x}"
    assert report[27:32].hex() == "8900000001" and report[-8:-3].hex() == "9000000000"
    assert report[-3:].hex() == "8c3000"


def test_events_of_rospecs_are_told_to_those_who_asked(reader: Llrp) -> None:
    say(reader, 3, bytes.fromhex("00" + "00f4000b" + "00f500070002" + "80"))
    reader.hear(ADD, 0.0)
    say(reader, 24, b"\0\0\0\1")
    _, start = say(reader, 22, b"\0\0\0\1")
    assert start.hex().endswith("00f9000d" + "00" + "00000001" + "00000000")
    _, end = say(reader, 21, bytes(4))
    assert end.hex().endswith("00f9000d" + "01" + "00000001" + "00000000")


def test_keep_alives_come_as_often_as_asked_and_three_without_answer_are_the_end(reader: Llrp) -> None:
    assert reader.due_s() is None
    say(reader, 3, bytes.fromhex("0000dc0009" + "01" + "000003e8"))
    assert reader.due_s() == 1.0 and reader.tick(0.9) == []
    for second in (1.0, 2.0, 3.0, 4.0):
        [frame] = reader.tick(second)
        assert frame.data[:6].hex() == "043e0000000a"
        say(reader, 72, number=1)
    for second in (5.0, 6.0, 7.0):
        assert len(reader.tick(second)) == 1 and not reader.hangs_up()
    assert reader.tick(8.0) == [] and reader.hangs_up()
    assert reader.tick(9.0) == [] and reader.due_s() is None
    assert say(reader, 26) == []  # nobody is listened to any more
    reader.closed(9.0)
    reader.opened(10.0)
    assert not reader.hangs_up() and reader.due_s() == 11.0


def test_settings_and_rospecs_outlive_the_client_and_not_the_power() -> None:
    device = Llrp(random.Random(1), hold="yes")
    device.opened(0.0)
    say(device, 64)
    started(device)
    device.closed(1.0)
    assert device.see(TAG, 2.0) == [] and device.holding() == (TAG,)
    assert [frame.things for frame in device.opened(3.0)] == [()]  # held
    assert [frame.things for frame in device.hear(bytes.fromhex("04400000000a00000001"), 3.0)] == [(TAG,)]
    say(device, 3, bytes.fromhex("00" + "00e2000500"))
    device.closed(4.0)
    device.see(LONG, 4.0)
    assert [frame.things for frame in device.opened(5.0)] == [(), (LONG,)]
    device.unplugged()
    assert device.rospecs == {} and device.keepalive_s is None


def test_back_to_the_factory_settings(reader: Llrp) -> None:
    started(reader)
    say(reader, 3, bytes.fromhex("80" + "00dc0009" + "01" + "000003e8"))
    assert reader.rospecs == {} and reader.keepalive_s == 1.0


def test_a_report_can_be_asked_for(reader: Llrp) -> None:
    assert [each[:6].hex() for each in say(reader, 60)] == ["043d0000000a"]


def test_the_version_is_that_of_the_connection(reader: Llrp) -> None:
    assert code(say(reader, 47, b"\3")) == 110
    [answer] = say(reader, 47, b"\2")
    assert answer[:2].hex() == "0839"
    [answer] = [frame.data for frame in reader.hear(bytes.fromhex("081a0000000a00000007"), 0.0)]
    assert answer[:2].hex() == "0824"
    reader.closed(0.0)
    [greeting] = reader.opened(0.0)
    assert greeting.data[:2].hex() == "043f"


@pytest.mark.parametrize(
    ("heard", "status"),
    [
        ("04630000000a00000007", 109),  # no such message
        ("0c1a0000000a00000007", 110),  # version 3
        ("ff1a0000000a00000007", 109),  # none at all
        ("041affffffff00000007", 109),  # 4 GB
        ("04150000000c000000070001", 100),  # half a number
    ],
)
def test_what_is_no_message_is_answered_with_an_error(reader: Llrp, heard: str, status: int) -> None:
    assert code([frame.data for frame in reader.hear(bytes.fromhex(heard), 0.0)]) == status
    assert code(say(reader, 26)) == 0


def test_it_hears_messages_in_any_pieces(reader: Llrp) -> None:
    frames = [frame for byte in ADD + ADD for frame in reader.hear(bytes([byte]), 0.0)]
    assert [code([frame.data]) for frame in frames] == [0, 105]


def test_damage_beside_the_epc_may_go_unnoticed(reader: Llrp) -> None:
    started(reader)
    [frame] = reader.see(TAG, 0.0)
    [longer] = reader.see(LONG, 0.0)
    for data, epc_at in ((frame.data, 20), (longer.data, 22)):
        assert reader.survives(data, data[:-1] + b"\xff")
        assert not reader.survives(data, data[:epc_at] + b"\xff" + data[epc_at + 1 :])


@pytest.mark.parametrize(
    "options", [{"antennas": "0"}, {"antennas": "33"}, {"antennas": "x"}, {"hold": "maybe"}]
)
def test_options_are_checked(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Llrp(random.Random(1), **options)

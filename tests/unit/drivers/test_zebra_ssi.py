"""What is special to SSI: each side waits for the other, says what it did not get again, and beeps."""

import random
from collections.abc import Iterable

import pytest

from devices.drivers.zebra_ssi import ZebraSsi
from devices.reads import BadFrame, BarcodeRead, Read
from simulators.hardware.device import Frame, Thing
from simulators.hardware.zebra_ssi import (
    ACK,
    AGAIN,
    BEEP,
    CODE,
    CONTINUED,
    HOST,
    LED_OFF,
    LED_ON,
    NAK,
    PARAMETERS,
    REVISION,
    packet,
)
from simulators.hardware.zebra_ssi import ZebraSsi as Scanner
from tests.support.drivers import Bench, build, held_bytes, matches

ASK = bytes.fromhex("04a30400ff55")
IN_PACKETS = packet(PARAMETERS, b"\xff\xee\x01", source=HOST)
AIM_IDS = packet(PARAMETERS, b"\xff\xeb\x00\x2d\x01", source=HOST)
SCAN_ENABLE = bytes.fromhex("04e90400ff0f")
HOST_ACK = bytes.fromhex("04d00400ff28")
RESEND = bytes.fromhex("05d1040001ff25")
CANCEL = packet(NAK, b"\x0a", source=HOST)
TAKEN = packet(ACK, status=0x80)
EAN = packet(CODE, b"\x0b5901234123457")
EAN_AGAIN = packet(CODE, b"\x0b5901234123457", status=AGAIN)


def again(command: bytes) -> bytes:
    """The command, marked as a repetition."""
    return packet(command[1], command[4:-2], source=HOST, status=AGAIN)


def of_host(opcode: int, *data: int) -> bytes:
    return packet(opcode, bytes(data), source=HOST)


def started(**options: str) -> Bench:
    bench = Bench(build("zebra-ssi", options)).open()
    bench.wait(0.1)
    bench.feed(packet(REVISION, b"PAAABS00 "))
    while not bench.driver.ready:
        bench.feed(TAKEN)
    bench.take_sent()
    return bench


class Cable:
    """A driver and a simulated scanner that hear each other at once; frames with a number in `lost` do not arrive."""

    def __init__(
        self, lost: Iterable[int] = (), options: dict[str, str] | None = None, **scanner: str
    ) -> None:
        self.bench = Bench(build("zebra-ssi", options))
        self.scanner = Scanner(random.Random(1), **scanner)
        self.lost, self.frames = set(lost), 0
        self.told: list[Frame] = []
        self.bench.open()
        self.run(0.2)

    @property
    def now_s(self) -> float:
        return self.bench.ns / 1e9

    def see(self, *codes: str, aim: str = "]C0") -> None:
        for code in codes:
            self.carry(self.scanner.see(Thing(code=code, aim=aim), self.now_s))

    def carry(self, frames: list[Frame]) -> None:
        while True:
            for frame in frames:
                if self.frames not in self.lost:
                    self.bench.feed(frame.data)
                    self.told.append(frame)
                self.frames += 1
            heard = self.bench.take_sent()
            if not heard:
                return
            frames = self.scanner.hear(heard, self.now_s)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.carry([])
            self.bench.wait(0.02)
            self.carry(self.scanner.tick(self.now_s))

    @property
    def codes(self) -> list[tuple[str | None, str]]:
        return [(read.symbology, read.text) for read in self.bench.reads if isinstance(read, BarcodeRead)]

    @property
    def complaints(self) -> list[str]:
        return [read.reason for read in self.bench.reads if isinstance(read, BadFrame)]


def texts(reads: list[Read]) -> list[str]:
    return [read.text for read in reads if isinstance(read, BarcodeRead)]


# --- the start-up ---------------------------------------------------------------------------------------------


def test_it_wakes_the_scanner_asks_what_it_is_and_sets_it_up_until_power_is_lost() -> None:
    bench = Bench(build("zebra-ssi")).open()
    assert bench.take_sent() == b"\0"
    bench.wait(0.1)
    assert bench.take_sent() == ASK and ZebraSsi.ASK.endswith(ASK)
    bench.feed(packet(REVISION, b"PAAABS00-001-R00 "))
    assert bench.driver.model == "PAAABS00-001-R00"
    for command in (IN_PACKETS, AIM_IDS, SCAN_ENABLE):
        assert not bench.driver.ready
        assert bench.take_sent() == command and not command[3] & 0x08, "written to its memory for good"
        bench.feed(TAKEN)
    assert bench.driver.ready and bench.take_sent() == b"" and bench.driver.goodbye() == b""


def test_what_is_not_answered_is_said_again_marked_twice_and_then_told_of() -> None:
    bench = Bench(build("zebra-ssi")).open()
    bench.wait(30)
    assert bench.take_sent() == b"\0" + ASK + 2 * again(ASK)
    assert (bench.driver.fault or "").startswith(
        "no answer to the question for its revision within 6 s: check"
    )
    assert "rtscts=yes" in (bench.driver.fault or "")


def test_what_was_not_understood_is_said_again_at_once_but_not_for_ever() -> None:
    bench = Bench(build("zebra-ssi")).open()
    bench.wait(0.1)
    bench.take_sent()
    for _ in range(10):
        bench.feed(packet(NAK, b"\x01"))
    assert bench.take_sent() == 2 * again(ASK)


def test_a_scanner_that_knows_no_revision_still_is_one() -> None:
    bench = Bench(build("zebra-ssi")).open()
    bench.wait(0.1)
    bench.feed(packet(NAK, b"\x02"), TAKEN, TAKEN, TAKEN)
    assert bench.driver.ready and bench.driver.model == "SSI scanner"


def test_a_repeated_revision_wants_an_ack_and_no_other_does() -> None:
    bench = started()
    bench.feed(packet(REVISION, b"X"))
    assert bench.take_sent() == b""
    bench.feed(packet(REVISION, b"X", status=AGAIN))
    assert bench.take_sent() == HOST_ACK


def test_without_aim_ids_a_leading_bracket_is_data() -> None:
    cable = Cable(aim="no")
    cable.see("]d201", aim="]d2")
    assert cable.codes == [("]d1", "]d201")]
    cable = Cable(options={"code_id": "type"})
    assert AIM_IDS not in bytes(cable.bench.sent)
    cable.see("01", aim="]d2")
    assert cable.codes == [("]d1", "01")]


def test_a_code_before_the_end_of_the_start_up_is_read() -> None:
    bench = Bench(build("zebra-ssi")).open()
    assert texts(bench.feed(EAN)) == ["5901234123457"] and not bench.driver.ready


# --- codes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["classic", "rsm", "ble"])
def test_short_and_long_codes_of_a_simulated_scanner_are_read(profile: str) -> None:
    cable = Cable(options={"profile": profile}, profile=profile)
    assert cable.bench.driver.model == "PAACNS00-012-R01 DS9908 SIMULATED"
    long = "".join(chr(65 + place % 26) for place in range(7089))
    unit = "010952123454321310L1\x1d21S1"
    cable.see("5901234123457", aim="]E0")
    cable.see(unit, aim="]d2")
    cable.see(long, aim="]Q1")
    assert cable.codes == [("]E0", "5901234123457"), ("]d2", unit), ("]Q1", long)]
    assert cable.complaints == [] and not cable.scanner.holding() and cable.scanner.stored_times == 0


@pytest.mark.parametrize("profile", ["classic", "rsm"])
def test_a_packet_that_does_not_arrive_is_repeated_and_read_once(profile: str) -> None:
    for lost in range(7):
        cable = Cable(options={"profile": profile}, profile=profile)
        cable.lost = {cable.frames + lost}
        cable.see("A" * 200 + "B" * 300 + "C" * 100, "NEXT")
        cable.run(7)
        assert [text for _, text in cable.codes] == ["A" * 200 + "B" * 300 + "C" * 100, "NEXT"]
        assert cable.complaints == [] and cable.scanner.given_up == 0


def test_our_ack_was_lost_so_the_scanner_repeats_and_it_is_not_read_twice() -> None:
    bench = started()
    assert texts(bench.feed(EAN)) == ["5901234123457"]
    for _ in range(2):
        bench.wait(2.05)
        assert bench.feed(EAN_AGAIN) == []
    assert bench.take_sent() == 3 * HOST_ACK


def test_the_same_code_scanned_again_is_read_although_its_first_sending_was_lost() -> None:
    bench = started()
    bench.feed(EAN)
    bench.wait(3)
    assert texts(bench.feed(EAN_AGAIN)) == ["5901234123457"]


def test_the_same_code_scanned_again_is_read_although_its_first_sending_was_damaged() -> None:
    bench = started()
    bench.feed(EAN)
    bench.take_sent()
    bench.feed(EAN[:-1] + b"\0")
    assert bench.take_sent() == RESEND
    assert texts(bench.feed(EAN_AGAIN)) == ["5901234123457"]


def test_a_packet_that_stops_in_the_middle_is_asked_for_again() -> None:
    bench = started()
    bench.feed(EAN[:12])
    assert bench.take_sent() == b""
    bench.wait(0.25)
    assert bench.take_sent() == RESEND
    assert texts(bench.feed(EAN_AGAIN)) == ["5901234123457"] and bench.take_sent() == HOST_ACK


def test_noise_that_is_no_packet_is_not_asked_for() -> None:
    bench = started()
    bench.feed(b"\x80\x81\x82\x83\x00")
    bench.wait(0.3)
    assert bench.take_sent() == b"" and matches(bench.reads[-1], {"bad": "no frame"})


def test_a_long_code_that_was_given_up_joins_nothing() -> None:
    bench = started()
    bench.feed(packet(CODE, b"\x11" + b"A" * 250, status=CONTINUED))
    bench.wait(4.5)
    bad, read = bench.feed(packet(CODE, b"\x11PDF"))
    assert matches(bad, {"bad": "did not come"}) and matches(read, {"text": "PDF"})

    bench.feed(packet(CODE, b"\x11" + b"A" * 250, status=CONTINUED))
    [bad] = bench.wait(6)
    assert matches(bad, {"bad": "did not come; scan it again"})

    bench.feed(packet(CODE, b"\x11" + b"A" * 250, status=CONTINUED))
    [bad] = bench.close()
    assert matches(bad, {"bad": "did not come"})


def test_a_piece_that_was_damaged_and_not_sent_again_breaks_the_code() -> None:
    bench = started()
    pieces = [packet(CODE, b"\x11" + bytes([65 + n]) * 250, status=CONTINUED) for n in range(3)]
    bench.feed(pieces[0], pieces[1][:-1] + b"\0")
    bad = bench.feed(pieces[2])
    assert any(matches(each, {"bad": "did not come"}) for each in bad)


def piece(letter: bytes, *, last: bool = False, status: int = 0) -> bytes:
    return packet(CODE, b"\x11" + letter * 250, status=status | (0 if last else CONTINUED))


def test_the_end_of_a_long_code_that_was_given_up_is_no_code() -> None:
    bench = started()
    bench.feed(piece(b"A"), piece(b"B")[:-1] + b"\0")
    bench.take_sent()
    bench.feed(piece(b"C"), piece(b"D", last=True))  # B was asked for, and the scanner went on
    assert bench.take_sent() == 2 * CANCEL
    assert texts(bench.reads) == [] and matches(bench.reads[-1], {"bad": "end of a code that was given up"})
    assert texts(bench.feed(packet(CODE, b"\x11PDF"))) == ["PDF"]


def test_the_end_of_a_long_code_after_the_line_was_cut_is_no_code() -> None:
    bench = started()
    bench.feed(piece(b"A"))
    bench.close()
    bench.wait(0.2)
    bench.open()
    bench.wait(2)
    assert texts(bench.feed(piece(b"B", last=True, status=AGAIN))) == []
    bench.wait(2)
    assert texts(bench.feed(packet(CODE, b"\x11PDF"))) == ["PDF"]


def test_a_long_code_without_a_type_that_is_given_up() -> None:
    bench = started()
    bench.feed(packet(CODE, status=CONTINUED))
    assert matches(bench.close()[0], {"bad": "did not come"})


def test_what_a_scanner_says_between_the_packets_of_a_code_changes_nothing() -> None:
    bench = started()
    bench.feed(piece(b"A"), bytes.fromhex("05f6000020fee5"), piece(b"B", last=True))
    assert texts(bench.reads) == ["A" * 250 + "B" * 250] and bench.take_sent() == 3 * HOST_ACK


def test_a_last_packet_that_is_like_the_one_before_is_none_that_came_again() -> None:
    bench = started()
    bench.feed(piece(b"A"))
    bench.wait(2.1)
    assert texts(bench.feed(piece(b"A", last=True, status=AGAIN))) == ["A" * 500]


def test_a_long_code_has_a_bound() -> None:
    bench = started()
    for _ in range(100):
        bench.feed(packet(CODE, b"\x11" + b"A" * 250, status=CONTINUED))
        bench.take_sent()
        assert held_bytes(bench.driver) < 16_000
    assert any(matches(read, {"bad": "longer than"}) for read in bench.reads)


def test_a_flood_of_packets_is_not_answered_without_end() -> None:
    bench = started()
    bench.feed(bytes.fromhex("05f6000020fee5") * 5000)
    assert len(bench.take_sent()) < 2000


# --- bare codes -----------------------------------------------------------------------------------------------


def test_a_scanner_that_falls_back_to_bare_codes_is_told_of_and_set_up_again() -> None:
    cable = Cable()
    cable.see("FIRST")
    cable.scanner.unplugged()  # behind a converter: the port stays open
    cable.see("LOST-1", "LOST-2")
    cable.run(0.3)
    assert "bare codes" in (cable.bench.driver.warning or "")
    assert len(cable.complaints) == 1 and "Send Packeted Decode Data" in cable.complaints[0]
    cable.see("THIRD")
    assert [text for _, text in cable.codes] == ["FIRST", "THIRD"]
    assert cable.bench.driver.warning is None and cable.bench.driver.ready


def test_a_scanner_that_will_not_pack_is_not_asked_all_the_time() -> None:
    bench = started()
    for _ in range(8):
        bench.feed(b"5901234123457\r")
        bench.wait(0.5)
        bench.feed(TAKEN, TAKEN, TAKEN)
    assert bytes(bench.sent).count(IN_PACKETS) == 1
    assert "bare codes" in (bench.driver.warning or "")


# --- feedback -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "beep", "light"), [("ok", 0x00, 0x01), ("duplicate", 0x01, 0x03), ("reject", 0x10, 0x02)]
)
def test_the_scanner_beeps_and_lights_for_each_outcome(outcome: str, beep: int, light: int) -> None:
    cable = Cable()
    cable.see("A")
    cable.bench.driver.feedback(outcome, cable.bench.now)  # type: ignore[arg-type]
    cable.run(0.1)
    assert list(cable.scanner.beeps) == [beep] and list(cable.scanner.lit) == [light]
    assert cable.scanner.lights == light
    cable.run(1)
    assert cable.scanner.lights == 0
    assert cable.bench.driver.goodbye() == b""


def test_one_command_at_a_time_and_the_newest_outcome_next() -> None:
    bench = started()
    for outcome in ("ok", "duplicate", "reject"):
        bench.driver.feedback(outcome, bench.now)
    bench.wait(0)
    assert bench.take_sent() == of_host(BEEP, 0x00)
    bench.feed(TAKEN)
    assert bench.take_sent() == of_host(LED_ON, 0x01)
    assert bench.driver.goodbye() == of_host(LED_OFF, 0x01)
    bench.feed(TAKEN)
    assert bench.take_sent() == of_host(BEEP, 0x10)
    bench.feed(TAKEN)
    assert bench.take_sent() == of_host(LED_OFF, 0x01)
    bench.feed(TAKEN)
    assert bench.take_sent() == of_host(LED_ON, 0x02)


def test_feedback_that_comes_too_late_is_dropped_and_nothing_waits_for_it() -> None:
    bench = started(feedback="beep")
    bench.feed(EAN[:10])  # the scanner is speaking
    bench.driver.feedback("ok", bench.now)
    bench.wait(0.1)
    assert bench.take_sent() == b""
    bench.feed(EAN[10:])
    assert bench.take_sent() == HOST_ACK + of_host(BEEP, 0x00)
    bench.driver.feedback("reject", bench.now)  # waits for the first one, which nobody acknowledges
    bench.wait(0.6)
    bench.wait(5)
    assert bench.take_sent().count(of_host(BEEP, 0x10)) <= 1 and bench.driver.fault is None
    bench.feed(EAN[:10])
    bench.driver.feedback("ok", bench.now)
    bench.ns += 1_000_000_000
    bench.feed(EAN[10:])
    assert bench.take_sent() == HOST_ACK


def test_a_scanner_without_a_light_is_not_told_to_light_again() -> None:
    cable = Cable(led="no")
    for _ in range(3):
        cable.bench.driver.feedback("ok", cable.bench.now)
        cable.run(1)
    assert list(cable.scanner.beeps) == [0, 0, 0]
    assert bytes(cable.bench.sent) == b"" and cable.bench.driver.goodbye() == b""


@pytest.mark.parametrize(("feedback", "sent"), [("no", b""), ("led", of_host(LED_ON, 0x01))])
def test_feedback_can_be_chosen(feedback: str, sent: bytes) -> None:
    bench = started(feedback=feedback)
    bench.driver.feedback("ok", bench.now)
    bench.wait(0)
    assert bench.take_sent() == sent


def test_before_it_is_ready_nothing_is_shown() -> None:
    bench = Bench(build("zebra-ssi")).open()
    bench.driver.feedback("ok", bench.now)
    bench.wait(0.01)
    assert bench.take_sent() == b"\0"


def test_a_scanner_that_refuses_once_is_asked_again_and_one_that_always_does_is_not() -> None:
    bench = started(feedback="beep")

    def beeps(answer: bytes) -> bool:
        bench.driver.feedback("ok", bench.now)
        bench.wait(0)
        asked = bench.take_sent() == of_host(BEEP, 0x00)
        bench.feed(answer)
        return asked

    speaking = packet(NAK, b"\x02")
    assert [beeps(answer) for answer in (speaking, speaking, TAKEN)] == [True] * 3
    assert [beeps(speaking) for _ in range(4)] == [True, True, True, False]


def test_a_code_whose_ack_was_lost_with_the_line_is_not_read_twice() -> None:
    bench = started()
    bench.feed(EAN)
    bench.close()
    bench.wait(0.2)
    bench.open()
    bench.take_sent()
    bench.wait(1.8)
    assert bench.feed(EAN_AGAIN) == [] and HOST_ACK in bench.take_sent()


def test_opened_again_it_begins_anew() -> None:
    bench = started()
    bench.feed(EAN, packet(CODE, b"\x11" + b"A" * 250, status=CONTINUED))
    bench.close()
    bench.open()
    assert not bench.driver.ready and bench.driver.model is None
    assert texts(bench.feed(EAN_AGAIN)) == ["5901234123457"]


# --- the simulated scanner ------------------------------------------------------------------------------------


def test_the_simulated_scanner_gives_up_what_nobody_acknowledges() -> None:
    scanner = Scanner(random.Random(1), timeout_ms="100")
    scanner.hear(b"\0" + IN_PACKETS, 0.0)
    [first] = scanner.see(Thing(code="A", number=1), 0.0)
    assert scanner.see(Thing(code="B", number=2), 0.0) == []
    assert scanner.due_s() == pytest.approx(0.1) and scanner.tick(0.05) == []
    repeated = [scanner.tick(0.15)[0].data, scanner.tick(0.3)[0].data]
    assert repeated == [packet(CODE, b"\x03A", status=AGAIN)] * 2 and first.data == packet(CODE, b"\x03A")
    [following] = scanner.tick(0.45)
    assert following.things[0].code == "B" and scanner.given_up == 1
    assert scanner.hear(packet(NAK, b"\x0a", source=HOST), 0.5) == [] and not scanner.holding()


def test_the_simulated_scanner_answers_what_it_is_asked() -> None:
    scanner = Scanner(random.Random(1))

    def answer(command: bytes) -> bytes:
        return b"".join(frame.data for frame in scanner.hear(command, 0.0))

    taken, refused = packet(ACK, status=0x80), packet(NAK, b"\x06")
    assert answer(of_host(0xC7, 0xEE)) == packet(PARAMETERS, b"\xff\xee\x00")
    assert answer(packet(PARAMETERS, b"\xff\xee\x01", source=HOST, status=0x08)) == taken
    assert scanner.stored_times == 1
    assert answer(of_host(PARAMETERS, 0xFF, 0xEE, 7)) == refused
    assert answer(of_host(0xC8)) == taken and answer(of_host(0xD2)) == taken
    assert answer(of_host(0xF7)) == packet(NAK, b"\x02")
    assert answer(of_host(BEEP, 0x77)) == refused and answer(of_host(LED_ON)) == refused
    assert answer(of_host(BEEP, 3)) == taken and answer(again(of_host(BEEP, 3))) == taken
    assert list(scanner.beeps) == [3], "a repetition beeps once"
    assert answer(of_host(BEEP, 3)[:-1] + b"\0") == packet(NAK, b"\x01")
    assert answer(of_host(0xEA)) == taken and scanner.see(Thing(code="A"), 0.0) == []
    assert answer(packet(BEEP, b"\0")) == b"" and answer(HOST_ACK) == b"" and answer(RESEND) == b""


@pytest.mark.parametrize("wrong", [{"profile": "x"}, {"timeout_ms": "1"}, {"led": "red"}, {"aim": "maybe"}])
def test_options_that_cannot_be(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Scanner(random.Random(1), **wrong)

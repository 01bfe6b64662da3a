"""What is special to RDM6300: it says a card over and over, and nobody can ask it anything."""

import random

import pytest

from devices.errors import Misconfigured
from devices.reads import TagRead
from simulators.hardware.device import Thing
from simulators.hardware.rdm6300 import REPEAT_S, Rdm6300, frame
from tests.support.drivers import Bench, build

CARD = bytes.fromhex("0236373030334235314336434203")
OTHER = bytes.fromhex("0236373030334241383643393803")


def test_it_only_talks_and_is_ready_at_once() -> None:
    bench = Bench(build("rdm6300")).open()
    assert bench.driver.ready and not bench.driver.ASK
    [read] = bench.feed(CARD)
    assert isinstance(read, TagRead) and (read.epc, read.text, read.raw) == (None, "0003887558", CARD)
    bench.driver.feedback("ok", bench.now)
    assert bench.take_sent() == b""


def test_a_card_is_a_read_when_it_comes_and_again_only_after_it_was_away() -> None:
    bench = Bench(build("rdm6300")).open()
    for _ in range(100):  # six seconds on the coil, some sayings lost
        bench.feed(CARD)
        bench.wait(0.065)
    assert len(bench.reads) == 1
    bench.wait(0.22)
    assert bench.feed(CARD) == []  # 285 ms: still the same visit
    bench.wait(0.3)
    assert len(bench.feed(CARD)) == 1


def test_the_time_away_can_be_set() -> None:
    bench = Bench(build("rdm6300", {"again_ms": "5000"})).open()
    bench.feed(CARD)
    bench.wait(4.9)
    assert bench.feed(CARD) == []
    with pytest.raises(Misconfigured, match="again_ms"):
        build("rdm6300", {"again_ms": "-1"})


def test_a_reader_that_comes_back_says_what_lies_on_it() -> None:
    bench = Bench(build("rdm6300")).open()
    bench.feed(CARD)
    bench.close()
    bench.open()
    assert len(bench.feed(CARD)) == 1


def test_a_frame_that_is_not_finished_holds_up_nothing() -> None:
    bench = Bench(build("rdm6300")).open()
    bench.feed(CARD[:9])
    bench.wait(0.3)
    assert len(bench.feed(OTHER)) == 1


@pytest.mark.parametrize("options", [{}, {"frame": "id12", "digits": "lower"}, {"first": "whole"}])
def test_every_card_on_the_simulated_coil_is_read_once(options: dict[str, str]) -> None:
    device, bench = Rdm6300(random.Random(1), **options), Bench(build("rdm6300")).open()
    cards = ["67003B51C6", "67003BA86C", "67003BA86C", "010F22A19E"]
    frames = [said for card in cards for said in device.see(Thing(card=card), 0.0)]
    assert len(device.holding()) == 4
    now_s = 0.0
    while frames or device.due_s() is not None:
        for said in frames:
            bench.feed(said.data)
        now_s += REPEAT_S
        bench.wait(REPEAT_S)
        frames = device.tick(now_s)
    read = [read.text for read in bench.reads if isinstance(read, TagRead)]
    assert read == [f"{int(card[2:], 16):010d}" for card in cards]
    assert not device.holding()


def test_the_first_byte_after_power_up_is_lost() -> None:
    device = Rdm6300(random.Random(1))
    thing = Thing(card="67003B51C6", number=7)
    [first] = device.see(thing, 0.0)
    assert first.data == CARD[1:] and first.things == ()
    [second] = device.tick(REPEAT_S)
    assert second.data == CARD and second.things == (thing,)
    device.unplugged()
    assert device.tick(2 * REPEAT_S)[0].data == CARD[1:]
    assert frame("67003b51c6") == CARD


@pytest.mark.parametrize(
    "wrong", [{"frame": "x"}, {"digits": "roman"}, {"held_ms": "0"}, {"held_ms": "long"}, {"first": "last"}]
)
def test_options_that_cannot_be(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rdm6300(random.Random(1), **wrong)

"""The second opinion: it says the same as the first, and may hang, crash, or not be there."""

import os
import signal
import time

import numpy as np
import pytest

from devices.driver import Frame
from devices.drivers.camera import Camera
from devices.reads import BarcodeRead, Moment
from devices.vision.passes import PASSES
from devices.vision.second_opinion import FIRST_RETRY_S, LOADING_NS, SecondOpinion, _sighting
from devices.vision.sighting import Sighting
from devices.vision.symbologies import DEFAULT
from tests.support.garbage import ANSWERS
from tests.support.looking import FakeClock, decoding
from tests.support.spoiled import ONLY, placed, symbol

BARS = placed(symbol("4006381333931", "EAN13", module_px=3))


def test_the_second_opinion_says_the_same_as_the_first() -> None:
    cases = [
        ("EAN13", "4006381333931", "4006381333931", "]E0"),
        ("EAN8", "96385074", "96385074", "]E4"),
        ("UPCA", "036000291452", "0036000291452", "]E0"),
        ("UPCE", "01234565", "0012345000065", "]E0"),
        ("ITF", "15400141288763", "15400141288763", "]I1"),
        ("ITF", "123457", "123457", "]I1"),
        ("ITF", "123456", "123456", "]I0"),
        ("Code39", "LOC-8", "LOC-8", "]A0"),
    ]
    opinion = SecondOpinion(DEFAULT, clock_ns=time.monotonic_ns)
    try:
        with decoding([row for row in PASSES if row.name == "enlarged"]) as first:
            for format_, text, expected, aim in cases:
                image = placed(symbol(text, format_, module_px=3))
                [second] = opinion.look(image, timeout_s=5)
                assert (second.text, second.aim) == (expected, aim)
                [code] = first.look(image, live=False)
                assert (second.key, second.aim) == (code.key, code.aim)
    finally:
        opinion.close()


def test_it_is_asked_only_for_what_is_wanted() -> None:
    """It hands over UPC-E as EAN-13."""
    opinion = SecondOpinion(("ean-13", "code-39"), clock_ns=time.monotonic_ns)
    try:
        assert opinion.look(placed(symbol("01234565", "UPCE")), timeout_s=5) == []
        assert len(opinion.look(placed(symbol("LOC-8", "Code39")), timeout_s=5)) == 1
    finally:
        opinion.close()


def test_it_is_not_asked_what_it_cannot_tell() -> None:
    """It drops what tells GS1-128 from Code 128, and FNC4."""
    opinion = SecondOpinion(DEFAULT, clock_ns=time.monotonic_ns)
    try:
        for format_ in ("Code128", "QRCode", "PDF417"):
            assert opinion.look(placed(symbol("ABC123", format_)), timeout_s=5) == []
    finally:
        opinion.close()


def running(opinion: SecondOpinion) -> int:
    assert opinion._child is not None
    return opinion._child._process.pid


def test_killed_it_is_started_again_and_says_so_meanwhile() -> None:
    clock = FakeClock()
    opinion = SecondOpinion(DEFAULT, clock_ns=clock)
    try:
        assert len(opinion.look(BARS, timeout_s=5)) == 1
        assert opinion.warning is None
        os.kill(running(opinion), signal.SIGKILL)
        assert opinion.look(BARS, timeout_s=5) == []
        assert "no second opinion by ZBar for now: its process ended (SIGKILL)" in (opinion.warning or "")
        assert opinion.look(BARS, timeout_s=5) == []  # not before its time
        clock.now_ns += int(FIRST_RETRY_S * 1e9)
        assert opinion.look(BARS, timeout_s=5) == []  # it loads, and no frame waits for that
        clock.now_ns += LOADING_NS
        assert len(opinion.look(BARS, timeout_s=5)) == 1
        assert opinion.warning is None
    finally:
        opinion.close()


def test_stopped_it_is_killed_at_its_deadline() -> None:
    opinion = SecondOpinion(DEFAULT, clock_ns=FakeClock())
    try:
        opinion.look(BARS, timeout_s=5)
        os.kill(running(opinion), signal.SIGSTOP)
        began_s = time.monotonic()
        assert opinion.look(BARS, timeout_s=0.2) == []
        assert time.monotonic() - began_s < 2
        assert "no answer for 0.2 s" in (opinion.warning or "")
    finally:
        opinion.close()


def test_what_crashes_again_and_again_is_started_later_and_later() -> None:
    clock = FakeClock()
    opinion = SecondOpinion(DEFAULT, clock_ns=clock, module="tests.support.crashes")
    waits_s = []
    for _ in range(4):
        assert opinion.look(BARS, timeout_s=5) == []
        waits_s.append((opinion._not_before_ns - clock.now_ns) / 1e9)
        clock.now_ns = opinion._not_before_ns
        opinion.start()
        clock.now_ns = opinion._loaded_ns
    assert waits_s == [1, 2, 4, 8]
    opinion.close()


def test_without_the_library_the_camera_reads_and_says_so_once() -> None:
    text, draw = ONLY["contrasted"]
    with decoding(module="tests.support.no_zbar") as decoder:
        camera = Camera("eye-1", decoder=decoder)
        for _ in range(2):
            [read] = camera.see(Frame(draw(), None), Moment(0.0, 0))
            assert isinstance(read, BarcodeRead) and read.text == text
            assert camera.warning is not None and "apt-get install libzbar0" in camera.warning
        assert decoder._second_opinion._child is None


@pytest.mark.parametrize("number", range(len(ANSWERS)))
def test_an_answer_that_nobody_can_read_is_a_failure_like_any_other(number: int) -> None:
    opinion = SecondOpinion(DEFAULT, clock_ns=FakeClock(), module="tests.support.garbage")
    try:
        assert opinion.look(np.full((8, 8), number, np.uint8), timeout_s=5) == []
        assert "no second opinion by ZBar for now: its process answers nonsense" in (opinion.warning or "")
        assert opinion._child is None
    finally:
        opinion.close()


def test_a_moving_picture_does_not_wait_for_it_to_load() -> None:
    opinion = SecondOpinion(DEFAULT, clock_ns=time.monotonic_ns, module="tests.support.slow_to_load")
    try:
        waited_s, found = [], list[Sighting]()
        until_s = time.monotonic() + 30
        while not found and time.monotonic() < until_s:
            began_s = time.monotonic()
            found = opinion.look(BARS, timeout_s=0.2, patient=False)
            waited_s.append(time.monotonic() - began_s)
            time.sleep(0.05)
        assert len(found) == 1 and max(waited_s) < 1
    finally:
        opinion.close()


def test_a_single_line_at_an_angle_is_not_tall() -> None:
    single = _sighting("EAN13", "4006381333931", [(10, 10), (200, 110)])
    assert single.height == pytest.approx(0, abs=1) and not single.tall
    many = _sighting("EAN13", "4006381333931", [(10, 10), (200, 110), (180, 148), (-10, 48)])
    assert many.tall and many.length == pytest.approx(215, abs=2) and many.height == pytest.approx(43, abs=2)
    assert _sighting("EAN13", "4006381333931", []).height == 0

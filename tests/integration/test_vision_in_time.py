"""Looking at moving pictures: each code once in view, every look in its turn, no frame beyond its time."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from devices.driver import Frame
from devices.drivers.camera import MAX_IN_VIEW, Camera
from devices.reads import BarcodeRead, Moment
from devices.vision.decoder import BUDGET_MS, STILL_LEVELS, Decoder
from devices.vision.passes import Pass
from devices.vision.sighting import Sighting
from devices.vision.structure import measure
from tests.support.looking import FakeClock, decoding, sighting, texts
from tests.support.nothing_to_read import pictures
from tests.support.spoiled import ONLY, Image, grainy, placed, soft, symbol

# --- several frames ------------------------------------------------------------------------------------------


def test_a_code_that_only_a_slow_pass_sees_does_not_flap() -> None:
    text, draw = ONLY["contrasted"]
    good, hard = placed(symbol(text, "Code39", module_px=3)), draw()
    nothing = np.full((480, 640), 180, np.uint8)
    with decoding() as decoder:
        camera = Camera("eye-1", again_ms=1000, decoder=decoder)
        seen = []
        for at_ms, image in enumerate([hard, nothing, hard, good, hard, nothing, hard]):
            reads = camera.see(Frame(image, None, live=True), Moment(0.0, at_ms * 400_000_000))
            seen.append([read.text for read in reads if isinstance(read, BarcodeRead)])
    assert seen == [[text], [], [], [], [], [], []]


class SeesAlways(Decoder):
    """A decoder that sees what it is told."""

    def __init__(self) -> None:
        self.codes: list[Sighting] = []
        self.known = 0

    def look(
        self, frame: Image, *, live: bool, known: frozenset[tuple[str, bytes]] = frozenset()
    ) -> list[Sighting]:
        self.known = len(known)
        return self.codes


def test_the_memory_of_what_is_in_view_is_bounded() -> None:
    decoder = SeesAlways()
    camera = Camera("eye-1", again_ms=3_600_000, decoder=decoder)
    frame = Frame(np.zeros((2, 2), np.uint8), None, live=True)
    for number in range(MAX_IN_VIEW + 10):
        decoder.codes = [sighting(f"{number}")]
        assert len(camera.see(frame, Moment(0.0, number))) == 1
    camera.see(frame, Moment(0.0, MAX_IN_VIEW + 10))
    assert decoder.known == MAX_IN_VIEW


def test_a_code_that_is_seen_now_and_then_in_a_still_scene_is_told_once() -> None:
    """A scene is left alone where nothing is to be had from it, which is not here."""
    clock, label = FakeClock(), placed(symbol("NOW AND THEN", "QRCode"))
    blank = np.full_like(label, 128)
    shown = [label]
    with decoding([Pass("lucky", lambda _: shown[-1], 1)], clock=clock) as decoder:
        camera = Camera("eye-1", again_ms=1000, decoder=decoder)
        told = []
        for number in range(60):
            clock.now_ns = number * 100_000_000
            shown.append(label if number % 2 == 0 else blank)
            told += camera.see(Frame(full_frame(), None, live=True), Moment(0.0, clock.now_ns))
    assert [read.text for read in told if isinstance(read, BarcodeRead)] == ["NOW AND THEN"]


# --- the budget ----------------------------------------------------------------------------------------------


@dataclass
class Timed:
    """Changes nothing, takes its time, and notes that it was asked."""

    clock: FakeClock
    asked: list[str]
    name: str
    ms: float

    def __call__(self, image: Image) -> Image:
        self.asked.append(self.name)
        self.clock.now_ns += int(self.ms * 1e6)
        return np.full_like(image, 128)


def timed(clock: FakeClock, asked: list[str], costs: dict[str, float]) -> list[Pass]:
    """Rows that cost so many ms at a frame of 640×480, and are expected to."""
    area = 640 * 480 / 1e6
    return [Pass(name, Timed(clock, asked, name, ms), ms / area) for name, ms in costs.items()]


def unreadable() -> Image:
    return next(image for what, image in pictures(1) if what == "random modules")


def full_frame() -> Image:
    return cv2.resize(unreadable(), (640, 480), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def test_no_look_is_begun_that_would_end_too_late() -> None:
    clock, asked = FakeClock(), list[str]()
    rows = timed(clock, asked, {"a": 60, "b": 60, "c": 60, "d": 20})
    with decoding(rows, budget_ms=150, clock=clock) as decoder:
        assert texts(decoder, full_frame()) == []
    assert asked == ["a", "b", "d"]  # c does not fit any more, d does
    assert clock.now_ns <= 150_000_000


def test_a_slow_machine_learns_to_begin_less() -> None:
    clock, asked = FakeClock(), list[str]()
    rows = timed(clock, asked, dict.fromkeys("abcdef", 20))
    slow = [replace(row, ms_per_megapixel=row.ms_per_megapixel / 4) for row in rows]
    with decoding(slow, budget_ms=100, clock=clock) as decoder:
        took_ms = []
        for _ in range(20):
            began_ns = clock.now_ns
            texts(decoder, full_frame())
            took_ms.append((clock.now_ns - began_ns) / 1e6)
    assert max(took_ms) <= 120  # the budget, and one look that was expected to be faster
    assert took_ms[-1] <= 100


def test_in_a_moving_picture_every_look_gets_its_turn() -> None:
    clock, asked = FakeClock(), list[str]()
    rows = timed(clock, asked, dict.fromkeys("abcdef", 50))
    rng = np.random.default_rng(1)
    with decoding(rows, budget_ms=110, clock=clock) as decoder:
        for _ in range(3):
            moving = np.roll(full_frame(), int(rng.integers(40, 200)), axis=1)
            decoder.look(grainy(moving, 30, int(rng.integers(1000))), live=True)
    assert sorted(set(asked)) == list("abcdef")


def moving(number: int) -> Image:
    return grainy(np.roll(full_frame(), 40 + 37 * number % 160, axis=1), 30, number)


def test_looks_that_do_not_fit_together_get_their_turn_too() -> None:
    clock, asked = FakeClock(), list[str]()
    with decoding(
        timed(clock, asked, {"a": 60, "b": 120, "c": 60, "d": 120}), budget_ms=150, clock=clock
    ) as decoder:
        for number in range(6):
            decoder.look(moving(number), live=True)
    assert sorted(set(asked)) == list("abcd")


def test_what_was_of_use_once_leaves_time_for_the_others() -> None:
    clock, asked = FakeClock(), list[str]()
    rows = timed(clock, asked, {"a": 50, "b": 50, "c": 100, "d": 100})
    with decoding(rows, budget_ms=110, clock=clock) as decoder:
        decoder._useful = ["a", "b"]
        for number in range(8):
            decoder.look(moving(number), live=True)
    assert sorted(set(asked)) == list("abcd")
    assert asked[:2] == ["a", "b"]


def test_a_machine_that_stood_still_for_a_minute_looks_closer_again() -> None:
    clock, asked = FakeClock(), list[str]()
    rows = timed(clock, asked, {"a": 60, "b": 60})
    stalled = Timed(clock, asked, "a", 60_000)
    with decoding([replace(rows[0], change=stalled), rows[1]], budget_ms=150, clock=clock) as decoder:
        texts(decoder, full_frame())
        stalled.ms = 60
        asked.clear()
        for _ in range(30):
            texts(decoder, full_frame())
    assert asked[-2:] == ["a", "b"]


def test_a_still_scene_in_which_every_look_failed_is_left_alone_for_a_while() -> None:
    clock, asked = FakeClock(), list[str]()
    rows = timed(clock, asked, dict.fromkeys("ab", 10))
    with decoding(rows, clock=clock) as decoder:

        def looks(image: Image) -> int:
            before = len(asked)
            decoder.look(image, live=True)
            return len(asked) - before

        assert looks(full_frame()) == 2
        assert [looks(full_frame()) for _ in range(5)] == [0] * 5
        assert looks(full_frame()[::-1].copy()) == 2  # something moved
        assert [looks(full_frame()[::-1].copy()) for _ in range(2)] == [0, 0]
        clock.now_ns += 3_000_000_000
        assert looks(full_frame()[::-1].copy()) == 2


def shelf() -> Image:
    page = np.full((720, 1280), 200, np.uint8)
    for y in range(20, 700, 40):
        cv2.putText(page, "shelf 12345 and some more", (20, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 40, 2)
    return page


def test_a_small_label_that_comes_into_a_still_scene_is_looked_at() -> None:
    clock, asked = FakeClock(), list[str]()
    with decoding(timed(clock, asked, {"a": 1}), clock=clock) as decoder:
        for _ in range(6):
            decoder.look(grainy(shelf(), 2, len(asked)), live=True)
        before = len(asked)
        decoder.look(grainy(shelf(), 2, 7), live=True)
        assert len(asked) == before  # it is left alone
        with_label = shelf()
        hard = soft(symbol("NEW", "QRCode", module_px=2), 2.5)
        with_label[500:570, 900:970] = placed(hard, width=70, height=70, x=8, y=8)
        decoder.look(grainy(with_label, 2, 8), live=True)
        assert len(asked) > before


@pytest.mark.parametrize("sigma", [0, 2, 4, 8, 12])
def test_what_a_sensor_does_to_a_still_scene_is_no_movement(sigma: float) -> None:
    for scene in (shelf(), full_frame(), np.full((720, 1280), 180, np.uint8)):
        first, second = (measure(grainy(scene, sigma, seed)) for seed in (1, 2))
        assert first.resembles(second, levels=STILL_LEVELS)


def test_the_default_budget_is_what_is_documented() -> None:
    [option] = [option for option in Camera.OPTIONS if option.name == "budget_ms"]
    assert option.default == BUDGET_MS == 150

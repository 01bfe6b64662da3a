"""What is done with a picture: the passes, what is believed, the budget, and the second opinion that may die."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.driver import Frame
from devices.drivers.camera import MAX_IN_VIEW, Camera
from devices.errors import Misconfigured
from devices.reads import BarcodeRead, Moment
from devices.registry import set_up
from devices.vision.decoder import BUDGET_MS, WHOLE, Decoder
from devices.vision.passes import PASSES, Pass
from devices.vision.second_opinion import FIRST_RETRY_S, LOADING_NS, SecondOpinion
from devices.vision.sighting import Belief, Sighting
from devices.vision.structure import measure
from devices.vision.symbologies import DEFAULT, names
from tests.support import spoiled
from tests.support.nothing_to_read import pictures
from tests.support.spoiled import ONLY, Image, grainy, label, placed, soft, symbol

UNLIMITED_MS = 60_000


@dataclass
class FakeClock:
    """Time that passes only when a look takes it."""

    now_ns: int = 0

    def __call__(self) -> int:
        return self.now_ns


@contextmanager
def decoding(
    passes: Sequence[Pass] = PASSES,
    *,
    wanted: Sequence[str] = DEFAULT,
    budget_ms: int = UNLIMITED_MS,
    clock: FakeClock | None = None,
    module: str = "devices.vision.second_opinion",
) -> Iterator[Decoder]:
    clock_ns = clock or time.monotonic_ns
    decoder = Decoder(
        wanted,
        budget_ms=budget_ms,
        roi=WHOLE,
        second_opinion=SecondOpinion(wanted, clock_ns=clock_ns, module=module),
        clock_ns=clock_ns,
        passes=passes,
    )
    try:
        yield decoder
    finally:
        decoder.close()


def texts(decoder: Decoder, image: Image) -> list[str]:
    return [code.text for code in decoder.look(image, live=False)]


# --- the passes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [row for row in PASSES if row.name != "upright"], ids=lambda row: row.name)
def test_every_pass_reads_what_no_other_reads(row: Pass) -> None:
    text, draw = ONLY[row.name]
    image = draw()
    with decoding() as whole, decoding([other for other in PASSES if other is not row]) as lacking:
        assert texts(whole, image) == [text]
        assert texts(lacking, image) == []


@pytest.mark.parametrize("degrees", range(0, 180, 15))
def test_a_code_is_read_at_every_angle(degrees: int) -> None:
    middle = placed(symbol("PLT-4711", "Code128", module_px=2), x=180, y=180)
    image = grainy(spoiled.turned(middle, degrees), 2, 1)
    with decoding([row for row in PASSES if row.name == "upright"]) as decoder:
        assert texts(decoder, image) == ["PLT-4711"]


def test_what_is_small_in_a_large_picture_is_looked_at_in_full_size() -> None:
    small = symbol("SMALL", "DataMatrix", module_px=2.2)
    image = grainy(placed(small, width=4000, height=3000, x=2900, y=700), 2, 1)
    with decoding([]) as fast, decoding() as decoder:
        assert texts(fast, image) == []
        assert texts(decoder, image) == ["SMALL"]


def test_a_code_is_placed_where_it_is_whatever_was_done_to_the_pixels() -> None:
    image = placed(symbol("HERE", "DataMatrix", module_px=4), x=300, y=200)
    for degrees in (0, 30):
        with decoding([row for row in PASSES if row.name in ("upright", "joined")]) as decoder:
            [code] = decoder.look(spoiled.turned(image, degrees), live=False)
        middle = np.mean(code.quad, axis=0)
        height, width = image.shape
        size = symbol("HERE", "DataMatrix", module_px=4).shape
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        assert middle == pytest.approx(matrix @ (300 + size[1] / 2, 200 + size[0] / 2, 1), abs=6)


# --- nothing is misread ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_read_where_nothing_is(seed: int) -> None:
    with decoding() as decoder:
        found = {what: texts(decoder, image) for what, image in pictures(seed)}
    assert not {what: read for what, read in found.items() if read}


@pytest.mark.parametrize("degrees", range(3, 90, 7))
def test_a_part_of_a_code_is_never_read_for_the_whole(degrees: int) -> None:
    for format_, text in (("ITF", "9266800550"), ("EAN13", "1441537703061")):
        image = grainy(spoiled.turned(label(text, format_, 2), degrees), 2, degrees)
        with decoding() as decoder:
            assert texts(decoder, image) in ([text], [])


def test_what_is_left_of_a_pdf417_is_not_corrected_into_another() -> None:
    """One of a picture like this, drawn at one pixel per module, was read as YDLYVYASDBKN|mbs in one look."""
    belief = Belief()
    wrong = replace(sighting("YDLYVYASDBKN|mbs"), family="PDF417")
    belief.add("fast", [wrong], faithful=True)
    assert not belief.believed and belief.doubtful
    image = placed(symbol("YDLYVYASDB", "PDF417", module_px=2))
    with decoding() as decoder, decoding([]) as fast:
        assert texts(decoder, image) == ["YDLYVYASDB"]
        assert texts(fast, image) == []


@pytest.mark.parametrize("seed", range(12))
def test_a_code_that_is_hard_to_see_is_read_right_or_not_at_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    digits = "".join(map(str, rng.integers(0, 10, 11)))
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(digits))
    text = f"{digits}{-total % 10}"
    image = grainy(soft(label(text, "UPCA", rng.uniform(1.4, 2.4)), rng.uniform(1.2, 2.4)), 8, seed)
    with decoding() as decoder:
        assert texts(decoder, image) in ([f"0{text}"], [])


@given(
    width=st.integers(0, 90),
    height=st.integers(0, 90),
    seed=st.integers(0, 1 << 32),
    levels=st.integers(1, 256),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_pixels_nothing_is_raised(width: int, height: int, seed: int, levels: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, levels, (height, width)).astype(np.uint8)
    with decoding([row for row in PASSES if row.library == "zxing"]) as decoder:
        decoder.look(pixels, live=bool(seed % 2))


def sighting(text: str, *, y: float = 100, height: float = 60, certain: bool = False) -> Sighting:
    quad = ((100.0, y), (300.0, y), (300.0, y + height), (100.0, y + height))
    return Sighting("QR Code" if certain else "EAN/UPC", certain, text.encode(), text, "]E0", quad)


def test_bars_are_believed_when_many_lines_or_two_looks_agree() -> None:
    thin, tall = sighting("4006381333931", height=2), sighting("4006381333931")
    for looks, expected in (
        ([("fast", tall, True)], True),
        ([("fast", thin, True)], False),
        ([("sharpened", tall, False)], False),
        ([("fast", thin, True), ("sharpened", thin, False)], True),
        ([("sharpened", thin, False), ("sharpened", thin, False)], False),
        ([("fast", sighting("4006381333931", height=2, certain=True), True)], True),
    ):
        belief = Belief()
        for name, seen, faithful in looks:
            belief.add(name, [seen], faithful=faithful)
        assert bool(belief.believed) is expected
        assert belief.doubtful is not expected


def test_where_looks_disagree_the_one_with_two_more_is_believed() -> None:
    belief = Belief()
    right, wrong = sighting("9780345348036", height=3), sighting("0706375348036", height=3)
    believed = []
    for number, seen in enumerate([wrong, right, right, right]):
        belief.add(f"look {number}", [seen], faithful=False)
        believed.append([code.text for code in belief.believed])
    assert believed == [[], [], [], ["9780345348036"]]


def test_a_code_elsewhere_is_no_rival() -> None:
    belief = Belief()
    belief.add("fast", [sighting("9780345348036"), sighting("4006381333931", y=300)], faithful=True)
    assert [code.text for code in belief.believed] == ["9780345348036", "4006381333931"]


def test_what_is_in_view_already_needs_one_look() -> None:
    thin = sighting("4006381333931", height=2)
    belief = Belief(frozenset({thin.key}))
    belief.add("sharpened", [thin], faithful=False)
    assert [code.text for code in belief.believed] == ["4006381333931"]


# --- what is there, what is wanted, where --------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0, 2, 4, 8, 12])
def test_a_wall_has_no_structure_whatever_the_sensor(sigma: float) -> None:
    assert measure(grainy(np.full((720, 1280), 180, np.uint8), sigma, 1)).regions == ()


def test_what_is_soft_and_large_is_read_where_no_edges_are() -> None:
    image = soft(
        spoiled.faint(placed(symbol("SOFT", "QRCode", module_px=40), width=1600, height=1600), 0.15), 18
    )
    assert measure(image).regions == ()
    with decoding([]) as decoder:
        assert texts(decoder, image) == ["SOFT"]


def camera_reads(image: Image, **options: object) -> list[str]:
    camera = Camera("eye-1", **options)  # type: ignore[arg-type]
    try:
        reads = camera.see(Frame(image, None), Moment(0.0, 0))
    finally:
        camera.close()
    return [read.text for read in reads if isinstance(read, BarcodeRead)]


def two_labels() -> Image:
    sheet = placed(symbol("LEFT", "Code128", module_px=2), width=900)
    sheet[:, 450:] = placed(symbol("RIGHT", "QRCode", module_px=4), width=450)
    return sheet


def test_all_codes_in_a_view_are_read() -> None:
    assert sorted(camera_reads(two_labels())) == ["LEFT", "RIGHT"]


def test_only_the_region_of_interest_is_looked_at() -> None:
    assert camera_reads(two_labels(), roi=(50, 0, 50, 100)) == ["RIGHT"]
    assert camera_reads(two_labels(), roi=(0, 0, 50, 100)) == ["LEFT"]
    assert camera_reads(two_labels(), roi=(90, 90, 1, 1)) == []


def test_only_the_wanted_symbologies_are_read() -> None:
    assert camera_reads(two_labels(), symbologies=("qr-code",)) == ["RIGHT"]
    assert camera_reads(two_labels(), symbologies=("code-128", "data-matrix")) == ["LEFT"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qr-code", ("qr-code",)),
        ("QR Code, GS1-128", ("code-128", "qr-code")),
        ("EAN13,upc,DataMatrix,itf-14", ("ean-13", "upc-a", "itf", "data-matrix")),
    ],
)
def test_symbologies_have_the_names_that_people_use(text: str, expected: tuple[str, ...]) -> None:
    assert names(text) == expected


def test_what_cannot_be_is_refused_with_what_could() -> None:
    with pytest.raises(Misconfigured, match="did you mean code-128"):
        set_up("eye", "camera", "camera://0?symbologies=qr-code,code-12")
    for roi in ("1,2,3", "0,0,101,10", "50,0,51,10", "0,0,0,10", "a,b,c,d", "-1,0,10,10"):
        with pytest.raises(Misconfigured, match="in percent of the picture"):
            set_up("eye", "camera", f"camera://0?roi={roi}")
    set_up("eye", "camera", "camera://0?roi=25,0,50,100&budget_ms=80&symbologies=gs1-128")


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


# --- the second opinion --------------------------------------------------------------------------------------


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
        with decoding([]) as first:
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
        clock.now_ns += LOADING_NS
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


def test_the_default_budget_is_what_is_documented() -> None:
    [option] = [option for option in Camera.OPTIONS if option.name == "budget_ms"]
    assert option.default == BUDGET_MS == 150

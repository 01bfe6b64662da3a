"""What is done with a picture: the passes, what is believed, and what is looked at."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.driver import Frame
from devices.drivers.camera import Camera
from devices.errors import Misconfigured
from devices.reads import BarcodeRead, Moment
from devices.registry import set_up
from devices.vision.decoder import WHOLE
from devices.vision.passes import PASSES, Pass
from devices.vision.sighting import Belief
from devices.vision.structure import measure
from devices.vision.symbologies import names
from tests.support import spoiled
from tests.support.looking import decoding, sighting, texts
from tests.support.nothing_to_read import pictures
from tests.support.spoiled import ONLY, Image, grainy, label, placed, soft, symbol

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


@pytest.mark.parametrize(
    ("format_", "text", "number"),
    [
        ("ITF", "44212022977923", 0),
        ("ITF", "96494381672838", 1),
        ("UPCA", "017445261415", 2),
        ("EAN8", "96385074", 3),
    ],
)
@pytest.mark.parametrize("inverse", [False, True])
def test_what_comes_into_view_is_read_when_it_is_there_as_a_whole(
    format_: str, text: str, number: int, inverse: bool
) -> None:
    drawn = symbol(text, format_, module_px=2.4)
    sheet = placed(drawn, width=drawn.shape[1] + 200, height=drawn.shape[0] + 200, x=100, y=100)
    sheet = 255 - sheet if inverse else sheet
    with decoding([row for row in PASSES if row.name in ("inverted", "zbar")]) as decoder:
        for column in range(100, 100 + drawn.shape[1], 4):
            for part in (sheet[:, column:], sheet[:, :column]):
                assert texts(decoder, grainy(part, 4, number)) in ([text], [f"0{text}"], [])
        assert texts(decoder, sheet) in ([text], [f"0{text}"])


def test_lines_along_the_pixels_are_no_evidence_for_each_other_where_bars_are_narrow() -> None:
    """Drawn at 1.3 pixels per module and upright, a symbol was read wrong in 54 lines at once."""
    for length, tall in ((122, False), (188, False), (190, True)):
        quad = ((0.0, 0.0), (float(length), 0.0), (float(length), 54.0), (0.0, 54.0))
        seen = replace(sighting("0662666614122"), quad=quad)
        assert seen.tall is tall
        assert not replace(seen, resolution=0.5).tall


def test_upc_e_needs_two_looks() -> None:
    """It has no check digit but the parity of six: ZBar reads a soft one wrong in many lines."""
    for text in ("0007784000059", "0012345000065", "0012000003455", "0112340000055"):
        assert not sighting(text).tall
    for text in ("0036000291452", "4006381333931", "0012345600005"):
        assert sighting(text).tall


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


@pytest.mark.parametrize(
    "shape", [(0, 5), (5, 0), (1, 1), (1, 65_535), (65_535, 21), (23, 65_535), (3, 1 << 20)]
)
@pytest.mark.parametrize("roi", [WHOLE, (99, 0, 1, 100), (0, 99, 100, 1), (0, 0, 1, 1)])
def test_whatever_the_shape_nothing_is_raised(shape: tuple[int, int], roi: tuple[int, int, int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    height, width = shape
    pixels[: height - 400 if height > 400 else 0] = 200
    pixels[:, : width - 400 if width > 400 else 0] = 200  # what there is to see is at the very end
    with decoding([row for row in PASSES if row.library == "zxing"], roi=roi, budget_ms=20) as decoder:
        decoder.look(pixels, live=False)


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

"""Rendered labels are read by a library that had no part in drawing them."""

import cv2
import numpy as np
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators import labels, symbols

CASE = labels.element_string(("01", "19521234500014"), ("21", "CASE0001"))


def decode(png: bytes) -> tuple[str, str]:
    """(AIM id, text) of the one symbol in the picture."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    (found,) = zxingcpp.read_barcodes(picture, text_mode=zxingcpp.TextMode.Plain)
    return found.symbology_identifier, found.text


@pytest.mark.parametrize(
    ("symbology", "text", "expected"),
    [
        ("ean-13", "9521234543213", ("]E0", "9521234543213")),
        ("ean-13", "0012345678905", ("]E0", "0012345678905")),
        ("code-128", "SHELF A-01", ("]C0", "SHELF A-01")),
        ("code-128", "AB12345C", ("]C0", "AB12345C")),
        ("code-128", "1234", ("]C0", "1234")),
        ("gs1-128", CASE, ("]C1", "011952123450001421CASE0001")),
        (
            "gs1-128",
            labels.element_string(("10", "LOT7"), ("21", "X9")),
            ("]C1", "10LOT7\x1d21X9"),
        ),
        ("gs1-128", labels.element_string(("00", "106141412345678908")), ("]C1", "00106141412345678908")),
    ],
)
def test_says_what_was_written(symbology, text, expected):
    assert decode(labels.render(symbology, text)) == expected


def test_the_same_seed_draws_the_same_picture_and_another_seed_another():
    assert labels.render("gs1-128", CASE, seed=5) == labels.render("gs1-128", CASE, seed=5)
    assert labels.render("gs1-128", CASE, seed=5) != labels.render("gs1-128", CASE, seed=6)


def test_every_seed_can_be_read():
    for seed in range(60):
        assert decode(labels.render("gs1-128", CASE, seed=seed)) == ("]C1", "011952123450001421CASE0001")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=16))
def test_any_printable_text_can_be_written_as_code_128(text):
    values = symbols.code_128_values(text)
    assert _read_values(values) == text
    # Spaces at the ends are read too; a picture of nothing but thin bars is the library's business, not ours.
    modules = symbols.code_128(text)
    assert len(modules) == 11 * (len(values) + 1) + 13


def _read_values(values: list[int]) -> str:
    """Decodes start symbol and values by the standard's rules."""
    in_c, text = values[0] == 105, ""
    for value in values[1:]:
        if in_c and value == 100:
            in_c = False
        elif not in_c and value == 99:
            in_c = True
        else:
            text += f"{value:02d}" if in_c else chr(value + 32)
    return text


@pytest.mark.parametrize("digits", ["952123454321", "9521234543214", "95212345432x3"])
def test_a_wrong_ean_is_refused(digits):
    with pytest.raises(ValueError, match="13 digits"):
        symbols.ean_13(digits)


def test_a_character_that_code_128_does_not_have_is_refused():
    with pytest.raises(ValueError, match="no character 'ü'"):
        symbols.code_128("Kürbis")


def test_caption_of_element_strings():
    assert labels.human_readable("", (("01", "19521234500014"), ("21", "A"))) == "(01)19521234500014(21)A"

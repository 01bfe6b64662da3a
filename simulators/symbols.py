"""Code 128 and EAN-13 as bars: text in, a row of dark and light modules out. Pure, and nobody else's encoder.

The tables are those of ISO/IEC 15417 (Code 128) and ISO/IEC 15420 (EAN/UPC). An encoder of our own keeps the
simulated labels independent of the library that reads them.
"""

from collections.abc import Sequence
from typing import Final

FNC1: Final = "\x1d"
"""Where a function character 1 stands in element strings: first (GS1-128), and after fields of open length."""

# Widths of bar, space, bar, space, bar, space for the values 0 to 105, and the stop pattern with its seventh bar.
_WIDTHS: Final = """
212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 122132 122231 113222
123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 321221 312212 322112 322211 212123 212321
232121 111323 131123 131321 112313 132113 132311 211313 231113 231311 112133 112331 132131 113123 113321 133121
313121 211331 231131 213113 213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224
111422 121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111 241112 134111
111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121 412121 111143 111341 131141 114113
114311 411113 411311 113141 114131 311141 411131 211412 211214 211232 2331112
"""
CODE_128: Final = tuple(_WIDTHS.split())
_TO_C, _TO_B, _FNC1 = 99, 100, 102
_START_B, _START_C, _STOP = 104, 105, 106
_CHECK_MODULUS = 103

# The left half of an EAN-13 says its first digit by which digits are written with odd (L) or even (G) parity.
_EAN_L: Final = ("3211", "2221", "2122", "1411", "1132", "1231", "1114", "1312", "1213", "3112")
_EAN_PARITY: Final = (
    "LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL",
)  # fmt: skip

QUIET_MODULES: Final = 12
"""Light margin on both sides: 10 modules for Code 128, 11 for EAN-13 at the least."""


def check_digit(digits: str) -> str:
    """The digit that completes a GTIN or SSCC: weights 3 and 1 from the right (GS1 General Specifications 7.9)."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def code_128(text: str) -> list[bool]:
    """The modules of a Code 128 symbol, True for dark, without quiet zones. FNC1 stands for itself.

    Raises:
        ValueError: a character that sets B and C do not have.
    """
    values = code_128_values(text)
    weights = [1, *range(1, len(values))]
    check = sum(value * weight for value, weight in zip(values, weights, strict=True)) % _CHECK_MODULUS
    return _bars("".join(CODE_128[value] for value in (*values, check, _STOP)))


def code_128_values(text: str) -> list[int]:
    """Start symbol and data values: set C for runs of at least four digits, set B for the rest."""
    values: list[int] = []
    place, in_c = 0, False
    while place < len(text):
        run = _digits_from(text, place)
        wants_c = run >= (2 if in_c else 4)
        if not values:
            wants_c = _digits_from(text, place + (text[0] == FNC1)) >= 4
            values.append(_START_C if wants_c else _START_B)
        elif text[place] != FNC1 and wants_c != in_c:
            values.append(_TO_C if wants_c else _TO_B)
        else:
            wants_c = wants_c if text[place] != FNC1 else in_c
        in_c = wants_c
        if text[place] == FNC1:
            values.append(_FNC1)
            place += 1
        elif in_c:
            values.append(int(text[place : place + 2]))
            place += 2
        elif " " <= text[place] <= "~":
            values.append(ord(text[place]) - ord(" "))
            place += 1
        else:
            raise ValueError(f"Code 128 B has no character {text[place]!r} (in {text!r})")
    return values


def ean_13(digits: str) -> list[bool]:
    """The modules of an EAN-13 symbol, True for dark, without quiet zones.

    Raises:
        ValueError: not 13 digits, or the last is not their check digit.
    """
    if len(digits) != 13 or not digits.isdecimal() or check_digit(digits[:-1]) != digits[-1]:
        raise ValueError(f"an EAN-13 has 13 digits, the last of them a check digit: {digits!r}")
    left = [
        _EAN_L[int(digit)] if parity == "L" else _EAN_L[int(digit)][::-1]
        for digit, parity in zip(digits[1:7], _EAN_PARITY[int(digits[0])], strict=True)
    ]
    right = [_EAN_L[int(digit)] for digit in digits[7:]]
    # The left digits begin with a space and the right ones with a bar: the guards between keep them in turn.
    return _bars("111" + "".join(left) + "11111" + "".join(right) + "111")


def _digits_from(text: str, place: int) -> int:
    end = place
    while end < len(text) and "0" <= text[end] <= "9":
        end += 1
    return end - place


def _bars(widths: Sequence[str]) -> list[bool]:
    """Widths of bar and space in turn, beginning with a bar, as modules."""
    return [place % 2 == 0 for place, width in enumerate(widths) for _ in range(int(width))]

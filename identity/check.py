"""Check digits, and the numbers they protect. Source: GS1 General Specifications, §7.9.1."""

from typing import Final

GTIN_LENGTHS: Final = (8, 12, 13, 14)
SSCC_LENGTH: Final = 18


def is_digits(text: str) -> bool:
    """ASCII digits only: `str.isdigit` alone also takes other scripts' digits, which no scanner means."""
    return text.isascii() and text.isdigit()


def check_digit(payload: str) -> str:
    """The digit that follows these digits: weights 3, 1, 3 … from the right, up to the next multiple of ten."""
    if not is_digits(payload):
        raise ValueError(f"a check digit is computed over digits, not over {payload[:40]!r}")
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(payload)))
    return str(-total % 10)


def is_checked(number: str) -> bool:
    """Whether the last digit is the check digit of those before it; all zeros is nobody's number."""
    return (
        is_digits(number)
        and len(number) > 1
        and number.strip("0") != ""
        and check_digit(number[:-1]) == number[-1]
    )


def gtin_of(text: str) -> str | None:
    """The GTIN-14 of 8, 12, 13 or 14 digits with the right check digit, else None.

    It proves only that the text could be a GTIN: one text in ten passes. Ask it before a look-up among known items.
    """
    return text.zfill(14) if len(text) in GTIN_LENGTHS and is_checked(text) else None


def sscc_of(text: str) -> str | None:
    """The SSCC, if the text is 18 digits with the right check digit, else None."""
    return text if len(text) == SSCC_LENGTH and is_checked(text) else None


def expand_upc_e(text: str) -> str | None:
    """The UPC-A behind the 8 digits of a UPC-E (number system, six digits, check digit), if its check digit is right.

    Source: GS1 General Specifications, §5.2.2.4.2: the sixth digit says where zeros were left out.
    """
    if len(text) != 8 or not is_digits(text) or text[0] not in "01":
        return None
    system, body, check = text[0], text[1:7], text[7]
    last = body[5]
    if last in "012":
        middle = body[:2] + last + "0000" + body[2:5]
    elif last == "3":
        middle = body[:3] + "00000" + body[3:5]
    elif last == "4":
        middle = body[:4] + "00000" + body[4]
    else:
        middle = body[:5] + "0000" + last
    number = system + middle + check
    return number if is_checked(number) else None

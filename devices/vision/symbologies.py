"""The symbologies, by the names that people know: what the option `symbologies` takes."""

import re
from dataclasses import dataclass

from devices.options import nearest


@dataclass(frozen=True, slots=True)
class Symbology:
    """One row: what the two libraries call it."""

    zxing: str
    """The format's name in zxing-cpp."""
    linear: bool
    """Bars, without error correction."""
    zbar: str | None = None
    """What ZBar hands it over as, where what ZBar says of it is certain. It is not for Code 128: ZBar drops FNC1,
    which makes it GS1-128, and FNC4, which makes a letter another one; nor for DataBar, where its own assertions
    fail, nor for QR codes, whose character sets it guesses."""
    default: bool = True
    """Printed on goods, shelves and shipping labels. Every other one costs time in each frame and misreads some."""


SYMBOLOGIES: dict[str, Symbology] = {
    "ean-13": Symbology("EAN13", linear=True, zbar="EAN13"),
    "ean-8": Symbology("EAN8", linear=True, zbar="EAN8"),
    "upc-a": Symbology("UPCA", linear=True, zbar="EAN13"),
    "upc-e": Symbology("UPCE", linear=True, zbar="EAN13"),
    "code-128": Symbology("Code128", linear=True),
    "code-39": Symbology("Code39", linear=True, zbar="CODE39"),
    "itf": Symbology("ITF", linear=True, zbar="I25"),
    "databar": Symbology("DataBar", linear=True),
    "data-matrix": Symbology("DataMatrix", linear=False),
    "qr-code": Symbology("QRCode", linear=False),
    "pdf417": Symbology("PDF417", linear=False),
    "code-93": Symbology("Code93", linear=True, default=False),
    "codabar": Symbology("Codabar", linear=True, default=False),
    "aztec": Symbology("Aztec", linear=False, default=False),
    "maxicode": Symbology("MaxiCode", linear=False, default=False),
}
DEFAULT = tuple(name for name, row in SYMBOLOGIES.items() if row.default)

# What else people call them.
_ALSO = {
    "ean": "ean-13",
    "upc": "upc-a",
    "gs1128": "code-128",
    "ean128": "code-128",
    "ucc128": "code-128",
    "itf14": "itf",
    "interleaved2of5": "itf",
    "i2of5": "itf",
    "rss": "databar",
    "gs1databar": "databar",
    "dm": "data-matrix",
    "gs1datamatrix": "data-matrix",
    "qr": "qr-code",
    "code3of9": "code-39",
}


def names(text: str) -> tuple[str, ...]:
    """The option's value: names with commas between them. Raises ValueError with the nearest names there are."""
    found = dict.fromkeys(_name(part.strip()) for part in text.split(","))
    return tuple(name for name in SYMBOLOGIES if name in found)


def _name(text: str) -> str:
    plain = _plain(text)
    known = {_plain(name): name for name in SYMBOLOGIES} | _ALSO
    if plain not in known:
        hint = nearest(text.lower(), dict.fromkeys(sorted({*SYMBOLOGIES, *_ALSO.values()})))
        raise ValueError(
            f"must be symbologies with commas between them, such as code-128,qr-code, not {text!r}{hint}"
        )
    return known[plain]


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]", "", text.lower())


def percents(text: str) -> tuple[int, int, int, int]:
    """The option `roi`: x, y, width and height in percent of the frame. Raises ValueError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 4 and all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        x, y, width, height = map(int, parts)
        if width > 0 and height > 0 and x + width <= 100 and y + height <= 100:
            return x, y, width, height
    raise ValueError(
        f"must be x,y,width,height in percent of the picture, within it, such as 25,0,50,100, not {text!r}"
    )

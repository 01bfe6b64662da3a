"""Data behind an EPC of TDS 2.0: elements as in a barcode, four bits for each digit of an application identifier.

Source: GS1 EPC Tag Data Standard (TDS) 2.3, §15.3 and its table F.
"""

from identity.elements import Element
from identity.epc.bits import BitReader, NotAllowed
from identity.epc.fields import Field, Padded
from identity.epc.plus import CountedDigits, Date, Digits, Text

_MEASURES = (*range(310, 317), *range(320, 338), *range(340, 358), *range(360, 370))
# By application identifier: those that goods carry. One that does not stand here ends the reading, because nothing
# says how long its value is.
VALUES: dict[str, Field] = {
    "00": Digits(18, "SSCC"),
    "01": Digits(14, "GTIN"),
    "02": Digits(14, "GTIN of the contents"),
    "10": Text(20, "lot"),
    **dict.fromkeys(("11", "12", "13", "15", "16", "17", "7006"), Date()),
    "20": Padded(7, 2, "variant"),
    "21": Text(20, "serial number"),
    "22": Text(20, "variant"),
    "240": Text(30, "additional number"),
    "241": Text(30, "customer's number"),
    "250": Text(30, "second serial number"),
    "254": Text(20, "extension"),
    **dict.fromkeys(("30", "37"), CountedDigits(8, "count")),
    # Weights and measures; the last digit of the identifier places the decimal point.
    **{f"{measure}{point}": Padded(20, 6, "measure") for measure in _MEASURES for point in range(6)},
    "400": Text(30, "order number"),
    **dict.fromkeys(("410", "411", "412", "413", "414", "415", "416", "417"), Digits(13, "GLN")),
    "422": Padded(10, 3, "country"),
    "90": Text(30, "own data"),
    **{str(ai): Text(90, "own data", length_bits=7) for ai in range(91, 100)},
}


def read_data(bits: BitReader) -> tuple[list[Element], str | None]:
    """The elements up to the padding, and what ended the reading before it, if anything."""
    found: list[Element] = []
    try:
        while not bits.rest_is_zero():
            ai = _application_identifier(bits)
            found.append(Element(ai, *VALUES[ai].read(bits)))
    except NotAllowed as problem:
        return found, str(problem)
    return found, None


def _application_identifier(bits: BitReader) -> str:
    """Two, three or four digits; none begins with another one."""
    ai = ""
    while len(ai) < 4:
        ai += f"{bits.take(4):x}"
        if ai in VALUES:
            return ai
    raise NotAllowed(f"({ai}) is not one that is read here")

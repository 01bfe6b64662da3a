"""Keys: what an EPC names, whatever its bits look like.

The one idea: a key's *values* are what is printed behind its application identifiers, check digit and all. The older
schemes take the number apart (no check digit, and the digit in front of the company prefix moved behind it), so that
whoever writes them must know where the company prefix ends; the schemes of TDS 2.0 hold the values as they are.

Source: GS1 EPC Tag Data Standard (TDS) 2.3, §6.3 for the names in URIs and §7 for how they correspond to the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from identity.check import check_digit, is_checked
from identity.elements import NO_EXTENSION, Element
from identity.epc.bits import NotAllowed
from identity.epc.text import escaped_in_link
from identity.values import Identity, Kind


@dataclass(frozen=True, slots=True)
class Key:
    """One row."""

    name: str
    """In URIs."""
    ais: tuple[str, ...] = ()
    """The application identifier of each value; an empty one: it follows directly on the value before."""
    has_check_digit: bool = True
    """Whether its number ends in one."""
    leading: bool = False
    """Whether a digit (indicator, extension) stands in front of the company prefix."""
    filled: str = ""
    """What is printed in front of its number, and is no part of it."""
    kind: Kind = "plain"
    members: tuple[str, ...] = ()
    """Where the values stand in an `Identity` of that kind; a key that the product has no kind for has none."""

    def joined(self, company: str, number: str, *others: str) -> tuple[str, ...]:
        """The values, from what the older schemes say: company prefix, the number that the company gave, the rest.

        Raises `NotAllowed`: nobody has that number.
        """
        body = number[:1] + company + number[1:] if self.leading else company + number
        if not self.has_check_digit:
            return (body, *others)
        printed = body + check_digit(body)
        if not is_checked(printed):
            raise NotAllowed(f"{printed} is nobody's {self.name.upper()}")
        return (printed, *others)

    def parted(self, values: Sequence[str], company_digits: int) -> tuple[str, ...]:
        """The other way. Raises `NotAllowed`: its check digit is wrong, or it is too short."""
        number, *others = values
        body = number[:-1] if self.has_check_digit else number
        first, body = (body[:1], body[1:]) if self.leading else ("", body)
        parts = (body[:company_digits], first + body[company_digits:], *others)
        if self.joined(*parts) != tuple(values):
            raise NotAllowed(f"{number[:40]!r} is nobody's {self.name.upper()}")
        return parts

    def values(self, identity: Identity) -> tuple[str, ...]:
        """What is printed for it. Raises `NotAllowed`: it is of another kind, or lacks something."""
        if not self.members:
            raise NotAllowed("no identity is one: write it from its tag URI")
        found = [getattr(identity, member) for member in self.members]
        if self.kind == "location" and found[1] is None:
            found[1] = NO_EXTENSION
        if identity.kind != self.kind or None in found:
            raise NotAllowed(f"it takes an identity of kind {self.kind} with {' and '.join(self.members)}")
        return tuple(found)

    def elements(self, values: Sequence[str]) -> list[Element]:
        """The values behind their application identifiers."""
        found: list[Element] = []
        for ai, value in zip(self.ais, values, strict=True):
            if ai:
                found.append(Element(ai, value if found else self.filled + value))
            else:
                found[-1] = Element(found[-1].ai, found[-1].value + value)
        return found

    def link(self, values: Sequence[str]) -> str:
        """The canonical GS1 Digital Link URI."""
        stated = [element for element in self.elements(values) if element != Element("254", NO_EXTENSION)]
        return "https://id.gs1.org" + "".join(f"/{each.ai}/{escaped_in_link(each.value)}" for each in stated)


SGTIN = Key("sgtin", ("01", "21"), leading=True, kind="gtin", members=("gtin", "serial"))
SSCC = Key("sscc", ("00",), leading=True, kind="sscc", members=("sscc",))
SGLN = Key("sgln", ("414", "254"), kind="location", members=("gln", "gln_extension"))
GRAI = Key("grai", ("8003", ""), filled="0", kind="asset", members=("grai", "serial"))
GIAI = Key("giai", ("8004",), has_check_digit=False, kind="asset", members=("giai",))
GDTI = Key("gdti", ("253", ""), kind="gdti", members=("gdti", "serial"))
GSRN = Key("gsrn", ("8018",))
GSRNP = Key("gsrnp", ("8017",))
SGCN = Key("sgcn", ("255", ""))
CPI = Key("cpi", ("8010", "8011"), has_check_digit=False)
# A piece of an item is not the item: one of two pieces must not count as one.
ITIP = Key("itip", ("8006", "", "", "21"), leading=True)
GID = Key("gid")
ADI = Key("adi")
USDOD = Key("usdod")

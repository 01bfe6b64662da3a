"""The value every reader's output becomes, whatever it was printed or stored on."""

from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["gtin", "sscc", "location", "asset", "gdti", "plain"]
"""`asset` is what goods travel in or on, by its GRAI or GIAI; `gdti` is a paper, by its type and serial number;
`plain` is a text that proves nothing by itself: a bin label, a badge, a command, a supplier's own number."""

_MEMBERS: Final = (
    "gtin",
    "sscc",
    "gln",
    "gln_extension",
    "grai",
    "giai",
    "gdti",
    "lot",
    "serial",
    "expiry",
    "count",
)
# What one thing differs by from another, by kind. A lot and an expiry are said of a thing; they do not name it.
_NAMES: Final[dict[Kind, tuple[str, ...]]] = {
    "gtin": ("gtin", "serial"),
    "sscc": ("sscc",),
    "location": ("gln", "gln_extension"),
    "asset": ("grai", "serial", "giai"),
    "gdti": ("gdti", "serial"),
    "plain": ("text",),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a code names.

    With kind `sscc`, `gtin` and `count` are the announced contents of the unit (AI 02 and 37). With kind `plain`
    only `text`, `epc` and `warnings` are set. A location is its GLN together with its extension, if it has one.
    """

    kind: Kind
    text: str
    """As read, separators as the group separator 1D hex."""
    gtin: str | None = None
    """Always 14 digits."""
    sscc: str | None = None
    lot: str | None = None
    serial: str | None = None
    """Of the GTIN, the GRAI or the GDTI."""
    expiry: str | None = None
    """ISO date."""
    gln: str | None = None
    gln_extension: str | None = None
    grai: str | None = None
    """13 digits: which type of returnable asset; `serial` says which one."""
    giai: str | None = None
    """An individual asset: at most 30 characters."""
    gdti: str | None = None
    """13 digits: which type of document; `serial` says which one."""
    count: int | None = None
    epc: str | None = None
    """The EPC that it was read from, in upper-case hex; None: it was printed. It stands beside the identity in
    `tallyman read`, and is not repeated by `as_dict`."""
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str | None, ...]:
        """What it names, to compare by: a tag and a barcode of the same thing have the same."""
        return (self.kind, *(getattr(self, member) for member in _NAMES[self.kind]))

    @property
    def packaging_level(self) -> int | None:
        """The indicator digit of a GTIN: 0 the item itself, 1 to 8 a package of it, 9 goods by weight or measure.

        Source: GS1 General Specifications, §2.1.1 and the definition of "indicator".
        """
        return int(self.gtin[0]) if self.gtin is not None else None

    def as_dict(self) -> dict[str, Any]:
        """The kind and what is known, for `tallyman read` and event data; the text stands beside it there."""
        known: dict[str, Any] = {"kind": self.kind}
        for member in _MEMBERS:
            value = getattr(self, member)
            if value is not None:
                known[member] = value
        if self.warnings:
            known["warnings"] = list(self.warnings)
        return known


def plain(text: str, *warnings: str) -> Identity:
    """A text that proves nothing, and what would help."""
    return Identity("plain", text, warnings=warnings)

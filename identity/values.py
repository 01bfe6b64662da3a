"""The value every reader's output becomes, whatever it was printed or stored on."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["gtin", "sscc", "location", "plain"]
"""`plain` is a text that proves nothing by itself: a bin label, a badge, a command, a supplier's own number."""

_MEMBERS = ("gtin", "sscc", "gln", "gln_extension", "lot", "serial", "expiry", "count")


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
    expiry: str | None = None
    """ISO date."""
    gln: str | None = None
    gln_extension: str | None = None
    count: int | None = None
    epc: str | None = None
    """The EPC that it was read from, in upper-case hex; None: it was printed. It stands beside the identity in
    `tallyman read`, and is not repeated by `as_dict`."""
    warnings: tuple[str, ...] = ()

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

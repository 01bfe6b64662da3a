"""What a code names at this site, whatever is being done there. Pure.

The one idea: what the site knows decides before what a code could be. A badge of eight digits is a badge if
somebody has it, and a GTIN only otherwise.
"""

from dataclasses import dataclass
from typing import Final, Literal

from agent.reference import Lookups
from identity import Identity
from sync.messages import Document, Item, Location, Operator

Kind = Literal[
    "item",  # known, and its label says all that its tracking needs
    "no_lot",  # a known item whose lot must be told and is not on this label
    "no_serial",  # likewise its serial number
    "unknown_item",  # a checked GTIN that is not in the reference data
    "unit",  # an SSCC
    "asset",  # what goods travel in or on: a GRAI or GIAI
    "location",
    "elsewhere",  # a location of another site, or a GLN that nobody knows
    "operator",
    "document",
    "undo",
    "done",
    "unknown",  # a text that names nothing here
]
COMMANDS: Final[dict[str, Kind]] = {"TALLYMAN:UNDO": "undo", "TALLYMAN:DONE": "done"}
_NAMED_BY_NOBODY: Final[dict[str, Kind]] = {"location": "elsewhere", "asset": "asset"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A code, understood."""

    kind: Kind
    identity: Identity
    item: Item | None = None
    per_label: int = 1
    """How many base units one label of it stands for; 1 while that is not known."""
    level_known: bool = True
    """False: `per_label` is unknown, and central multiplies."""
    location: Location | None = None
    operator: Operator | None = None
    document: Document | None = None

    @property
    def quantity(self) -> int:
        """What the label stands for: in base units, or in labels if the packaging level is unknown."""
        return self.per_label * max(1, self.identity.count or 1)

    @property
    def unit_key(self) -> str | None:
        """What makes this one thing unlike all others, if it has a serial number; for a unit its SSCC."""
        if self.identity.sscc is not None:
            return f"sscc {self.identity.sscc}"
        if self.identity.gtin is not None and self.identity.serial is not None:
            return f"serial {self.identity.gtin} {self.identity.serial}"
        return None


def understand(identity: Identity, lookups: Lookups, site: str) -> Meaning:
    """What the code names."""
    text = identity.text.strip()
    if text in COMMANDS:
        return Meaning(kind=COMMANDS[text], identity=identity)
    if identity.kind == "gtin" and (found := lookups.gtin(identity.gtin or "")) is not None:
        return _item(identity, *found)
    named = _name(identity, text, lookups, site)
    if named is not None:
        return named
    if identity.kind == "gtin":
        return Meaning(kind="unknown_item", identity=identity, level_known=False)
    if identity.kind == "sscc":
        return _unit(identity, lookups)
    return Meaning(kind=_NAMED_BY_NOBODY.get(identity.kind, "unknown"), identity=identity)


def _name(identity: Identity, text: str, lookups: Lookups, site: str) -> Meaning | None:
    """Something that is known by exactly this text."""
    operator = lookups.badge(text)
    if operator is not None:
        return Meaning(kind="operator", identity=identity, operator=operator)
    location = lookups.location(text)
    if location is None and identity.kind == "location" and identity.gln and identity.gln_extension is None:
        location = lookups.gln(identity.gln)
    if location is not None:
        kind: Kind = "location" if location.site == site else "elsewhere"
        return Meaning(kind=kind, identity=identity, location=location)
    document = lookups.document(text)
    if document is not None:
        return Meaning(kind="document", identity=identity, document=document)
    item = lookups.item(text)
    return None if item is None else _item(identity, item, 1)


def _item(identity: Identity, item: Item, per_label: int) -> Meaning:
    kind: Kind = "item"
    if item.tracking == "lot" and identity.lot is None:
        kind = "no_lot"
    elif item.tracking == "serial" and identity.serial is None:
        kind = "no_serial"
    return Meaning(kind=kind, identity=identity, item=item, per_label=per_label)


def _unit(identity: Identity, lookups: Lookups) -> Meaning:
    """A logistic unit; its label may announce the contents: a GTIN and how many."""
    found = lookups.gtin(identity.gtin) if identity.gtin is not None else None
    item, per_label = found or (None, 1)
    return Meaning(
        kind="unit", identity=identity, item=item, per_label=per_label, level_known=found is not None
    )

"""The reference data kept on site: items, locations, operators and open documents.

The one idea: a snapshot is used only when it is whole and durable. Until then, and after a boot without network,
the one before it answers.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from agent import files
from sync.messages import Document, Item, Location, Operator, Reference

MOST_PARTS: Final = (
    2_000  # of one snapshot; at 256 KiB each far more than a site has. A larger one is refused
)
FORMAT: Final = 1

log = structlog.get_logger()


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A whole snapshot, as it stands in the file."""

    format: int = FORMAT
    version: int
    as_of: int
    items: list[Item]
    locations: list[Location]
    operators: list[Operator]
    documents: list[Document]


NOTHING: Final = Stored(version=0, as_of=0, items=[], locations=[], operators=[], documents=[])


class Lookups:
    """Finds what a code names in one snapshot. Built once, never changed."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self._items = {item.sku: item for item in stored.items}
        self._gtins = {
            label.gtin.zfill(14): (item, label.quantity) for item in stored.items for label in item.gtins
        }
        self._locations = {location.id: location for location in stored.locations}
        self._glns = {location.gln: location for location in stored.locations if location.gln}
        self._badges = {operator.badge: operator for operator in stored.operators if operator.badge}
        self._operators = {operator.id: operator for operator in stored.operators}
        self._documents = {document.id: document for document in stored.documents}
        self.expecting: Mapping[str, Sequence[Document]] = _purchases(stored.documents)
        """By SKU: the open purchase orders that list it, in central's order: the oldest first."""
        self.purchase_orders: Mapping[str, Document] = {
            document.id: document for document in stored.documents if document.type == "purchase_order"
        }
        """The open ones by id, in the same order."""

    def gtin(self, gtin: str) -> tuple[Item, int] | None:
        """The item with this GTIN (14 digits) and how many base units one label stands for."""
        return self._gtins.get(gtin)

    def item(self, sku: str) -> Item | None:
        """The item with this SKU."""
        return self._items.get(sku)

    def location(self, location_id: str) -> Location | None:
        """The location with this id."""
        return self._locations.get(location_id)

    def gln(self, gln: str) -> Location | None:
        """The location with this GLN."""
        return self._glns.get(gln)

    def badge(self, badge: str) -> Operator | None:
        """The person with this badge."""
        return self._badges.get(badge)

    def operator(self, operator_id: str) -> Operator | None:
        """The person with this id."""
        return self._operators.get(operator_id)

    def document(self, document_id: str) -> Document | None:
        """The open document with this id."""
        return self._documents.get(document_id)

    def documents(self, kind: str) -> list[Document]:
        """All open documents of one type, by id."""
        return sorted(
            (document for document in self.stored.documents if document.type == kind),
            key=lambda document: document.id,
        )


def _purchases(documents: Iterable[Document]) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = {}
    for document in documents:
        if document.type == "purchase_order":
            for sku in dict.fromkeys(line.sku for line in document.lines):
                found.setdefault(sku, []).append(document)
    return found


class Collector:
    """Puts the parts of a snapshot together. Pure; holds at most one unfinished snapshot.

    Central sends parts in order. A newer version, or the first part of any other one (a central that was restored
    counts lower), drops what is unfinished; stray later parts of an older one are ignored.
    """

    def __init__(self) -> None:
        self._parts: dict[int, Reference] = {}
        self._version, self._of = -1, 0

    def add(self, part: Reference) -> Stored | None:
        """Take one part; gives the snapshot when it was the last one missing."""
        if part.parts > MOST_PARTS or part.part > part.parts:
            log.error(
                "a snapshot of reference data was refused; the one before it stays in use",
                part=part.part,
                parts=part.parts,
                most=MOST_PARTS,
            )
            return None
        if (part.version, part.parts) != (self._version, self._of):
            if part.version < self._version and part.part != 1:
                return None
            self._parts, self._version, self._of = {}, part.version, part.parts
        self._parts[part.part] = part
        if len(self._parts) < self._of:
            return None
        whole = [self._parts[number] for number in range(1, self._of + 1)]
        self._parts, self._version, self._of = {}, -1, 0
        return _join(whole)


def _join(parts: Iterable[Reference]) -> Stored:
    whole = list(parts)
    return Stored(
        version=whole[0].version,
        as_of=max(part.as_of for part in whole),
        items=[item for part in whole for item in part.items],
        locations=[location for part in whole for location in part.locations],
        operators=[operator for part in whole for operator in part.operators],
        documents=[document for part in whole for document in part.documents],
    )


class ReferenceData:
    """What the agent knows now. `version` is None until a snapshot is whole and in its file.

    Args:
        path: the file.
        on_change: called on the event loop when a new snapshot is in use.
    """

    def __init__(self, path: Path, on_change: Callable[[], None] = lambda: None) -> None:
        self._path, self._on_change = path, on_change
        self._collector = Collector()
        self._arrived: asyncio.Queue[Stored] = asyncio.Queue(1)
        self.version: int | None = None
        self.now = Lookups(NOTHING)

    def load(self) -> None:
        """Read the file, once, at start. Without it, or when it is damaged, the agent knows nothing yet."""
        stored = files.load(self._path, Stored)
        if stored is not None and stored.format == FORMAT:
            self.version, self.now = stored.version, Lookups(stored)

    def receive(self, part: Reference) -> None:
        """Take a part from central. Of whole snapshots that wait for the disk, the newest counts."""
        whole = self._collector.add(part)
        if whole is None:
            return
        if self._arrived.full():
            self._arrived.get_nowait()
        self._arrived.put_nowait(whole)

    async def run(self) -> None:
        """Make snapshots durable as they become whole, then use them; for ever."""
        while True:
            whole = await self._arrived.get()
            try:
                lookups = await asyncio.to_thread(self._keep, whole)
            except OSError as error:
                # Not in use, and its version not claimed: central sends it again after the next hello.
                log.error(
                    "reference data cannot be kept; check the disk", file=str(self._path), error=str(error)
                )
                continue
            self.version, self.now = whole.version, lookups
            log.info("reference data in use", version=whole.version, items=len(whole.items))
            self._on_change()

    def _keep(self, whole: Stored) -> Lookups:
        files.replace(self._path, msgspec.json.encode(whole))
        return Lookups(whole)

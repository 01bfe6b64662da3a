"""The reference data kept on site: items, locations, operators and open documents.

The one idea: a version is used, and claimed, only when it is whole and durable: a snapshot with all its parts, or the
version before with a delta. Until then, and after a boot without network, the one before it answers.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from agent import files
from sync.messages import Document, Item, Location, Operator, Reference, ReferenceDelta

MOST_PARTS: Final = (
    2_000  # of one snapshot; at 256 KiB each far more than a site has. A larger one is refused
)
MOST_TOLD: Final = 100  # deltas that wait for the disk, of 256 KiB each at most
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


def advance(stored: Stored | None, told: Iterable[Stored | ReferenceDelta]) -> tuple[Stored | None, bool]:
    """What is known after all of these, in order, and whether something is missing in between. Pure.

    A delta applies to the version that it names and to no other: what does not fit is dropped, and so is what follows
    it. A snapshot replaces everything, also by an older version: its central was restored, or parts came late.
    """
    at, lists, gap = stored, _lists(stored or NOTHING), False
    for one in told:
        if isinstance(one, Stored):
            at, lists, gap = one, _lists(one), False
        elif at is None or one.from_ != at.version:
            gap = gap or at is None or one.version != at.version  # what was told twice is no gap
        else:
            at = msgspec.structs.replace(at, version=one.version)
            _change(lists, one)
    if at is None or at is stored:
        return stored, gap
    return msgspec.structs.replace(at, **_in_order(lists)), gap


def _lists(stored: Stored) -> dict[str, dict[str, Any]]:
    return {
        "items": {one.sku: one for one in stored.items},
        "locations": {one.id: one for one in stored.locations},
        "operators": {one.id: one for one in stored.operators},
        "documents": {one.id: one for one in stored.documents},
    }


def _change(lists: dict[str, dict[str, Any]], delta: ReferenceDelta) -> None:
    upsert, remove = delta.upsert, delta.remove
    for name, gone in (
        ("items", remove.items),
        ("locations", remove.locations),
        ("operators", remove.operators),
        ("documents", remove.documents),
    ):
        for key in gone:
            lists[name].pop(key, None)
    lists["items"].update((one.sku, one) for one in upsert.items)
    lists["locations"].update((one.id, one) for one in upsert.locations)
    lists["operators"].update((one.id, one) for one in upsert.operators)
    lists["documents"].update((one.id, one) for one in upsert.documents)


def _in_order(lists: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    """As a snapshot has them. Documents stay in the order in which they were told of: the oldest first."""
    return {
        "items": sorted(lists["items"].values(), key=lambda one: one.sku),
        "locations": sorted(lists["locations"].values(), key=lambda one: (one.walk_order, one.id)),
        "operators": sorted(lists["operators"].values(), key=lambda one: one.id),
        "documents": list(lists["documents"].values()),
    }


class ReferenceData:
    """What the agent knows now. `version` is None until a snapshot is whole and in its file.

    Args:
        path: the file.
        on_change: called on the event loop when another version is in use.
        on_gap: called on the event loop when something was told that does not fit: central is to be asked.
    """

    def __init__(
        self,
        path: Path,
        on_change: Callable[[], None] = lambda: None,
        on_gap: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._on_change, self._on_gap = path, on_change, on_gap
        self._collector = Collector()
        self._told: deque[Stored | ReferenceDelta] = deque()
        self._wake = asyncio.Event()
        self._stored: Stored | None = None
        self.now = Lookups(NOTHING)

    @property
    def version(self) -> int | None:
        """Of what is in the file."""
        return self._stored.version if self._stored is not None else None

    def load(self) -> None:
        """Read the file, once, at start. Without it, or when it is damaged, the agent knows nothing yet."""
        stored = files.load(self._path, Stored)
        if stored is not None and stored.format == FORMAT:
            self._stored, self.now = stored, Lookups(stored)

    def receive(self, told: Reference | ReferenceDelta) -> None:
        """Take what central tells. What waits for the disk is bounded: above, it is dropped and asked for again."""
        one = self._collector.add(told) if isinstance(told, Reference) else told
        if one is None:
            return
        if isinstance(one, Stored):
            self._told.clear()  # it replaces whatever they would change
        if len(self._told) >= MOST_TOLD:
            self._on_gap()
            return
        self._told.append(one)
        self._wake.set()

    async def run(self) -> None:
        """Make what is told durable, then use it; for ever. Several changes at once are one write."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            told = list(self._told)
            self._told.clear()
            try:
                kept = await asyncio.to_thread(self._keep, told)
            except OSError as error:
                # Not in use, and its version not claimed: central sends it again after the next hello.
                log.error(
                    "reference data cannot be kept; check the disk", file=str(self._path), error=str(error)
                )
                continue
            stored, lookups, gap = kept
            if stored is not self._stored and stored is not None and lookups is not None:
                self._stored, self.now = stored, lookups
                log.info("reference data in use", version=stored.version, items=len(stored.items))
                self._on_change()
            if gap:
                log.info("a change of reference data does not fit; central is asked", version=self.version)
                self._on_gap()

    def _keep(self, told: list[Stored | ReferenceDelta]) -> tuple[Stored | None, Lookups | None, bool]:
        stored, gap = advance(self._stored, told)
        if stored is None or stored is self._stored:
            return stored, None, gap
        files.replace(self._path, msgspec.json.encode(stored))
        return stored, Lookups(stored), gap

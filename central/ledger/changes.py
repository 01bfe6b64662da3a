"""What a transaction changed of what agents keep for working without network. Pure.

The idea: it is found by comparing rows, so no command can forget to say it. Every change is a version of its own, so
that what came after any version can be cut into messages anywhere. A version counts in its high bits and is random in
its low ones: a central that was restored from a backup counts on from there, and never gives a version again that an
agent may have from before, with other content.
"""

import zlib
from collections.abc import Iterator
from typing import Final, Literal

from central.ledger.accounts import Line, Totals
from central.ledger.books import Books

List = Literal["items", "locations", "operators", "documents"]

LISTED: Final = (
    "purchase_order",
    "order",
    "transfer",
    "return",
)  # types of documents that agents are told of
RANDOM_BITS: Final = 20  # leaves 33 bits to count changes with: messages hold integers up to 2**53
KEPT_CHANGES: Final = 20_000  # of the log. Whoever has an older version gets the snapshot


def changed(books: Books) -> list[tuple[List, str]]:
    """(list, id) of everything that agents would see otherwise now, or no longer; each once."""
    return list(dict.fromkeys(_changed(books)))


def _changed(books: Books) -> Iterator[tuple[List, str]]:
    """What is provisional is not told to agents, and nothing becomes provisional again."""
    yield from (("items", key) for key, _, row in books.items.changed() if not row.provisional)
    for _, was, now in books.gtins.changed():  # only items that are registered have any
        yield from (("items", label.sku) for label in (was, now) if label is not None and label.sku)
    yield from (("locations", key) for key, _, row in books.locations.changed() if not row.provisional)
    yield from (("operators", key) for key, _, row in books.operators.changed() if not row.provisional)
    yield from (("documents", key) for key, _, row in books.documents.changed() if row.type in LISTED)
    for line, before, after in books.lines.changed():
        row = books.documents.get(line.document) if line.document in books.documents else None
        if row is not None and row.type in LISTED and _shows(line, before or Totals(), after):
            yield "documents", line.document


def _shows(line: Line, before: Totals, after: Totals) -> bool:
    """Whether a line asks for something else now; an order that was shipped whole is not listed."""
    return bool(line.document) and (
        before.ordered != after.ordered
        or (before.shipped < before.ordered) != (after.shipped < after.ordered)
    )


def low_bits(name: str) -> int:
    """The random part of a version, from a name that nobody else gives."""
    return zlib.crc32(name.encode()) % (1 << RANDOM_BITS)


def counted(version: int) -> int:
    """How many changes there were up to this version."""
    return version >> RANDOM_BITS


def version_of(count: int, low: int) -> int:
    """The version of the change with this number."""
    return (count << RANDOM_BITS) | low

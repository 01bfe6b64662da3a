"""What agents keep for working without network: items, locations, operators and open documents.

The idea: a snapshot is one version, read at once and cut into parts that fit a message. A delta is what the log says
changed since a version, each thing as it is now; cut, its pieces are deltas that follow each other.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from central import tables
from central.ledger import views
from central.ledger.changes import LISTED
from sync.messages import (
    MAX_DOWNWARD_BYTES,
    Document,
    DocumentLine,
    Gtin,
    Item,
    Location,
    Message,
    Operator,
    Reference,
    ReferenceDelta,
    Remove,
    Upsert,
    encode,
)

T = TypeVar("T", bound=Message)

MOST_CHANGES: Final = 10_000  # in one delta; what changed more gets the snapshot
ROOM_BYTES: Final = MAX_DOWNWARD_BYTES - 1024  # what the lists of one message may take
MOST_LINES: Final = 2000  # of a document in the snapshot; what is beyond is worked without being listed
LINES_BYTES: Final = ROOM_BYTES - 16 * 1024  # what they may take beside the names of their document


@dataclass(frozen=True, slots=True)
class Update:
    """What brings an agent to a version of the reference data, ready to send: a snapshot's parts, or deltas."""

    version: int
    payloads: tuple[bytes, ...] = ()
    whole: bool = False
    """It is a snapshot."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.payloads))


def snapshot(connection: sa.Connection) -> Update:
    """The reference data as it is now. What nobody has registered yet stays unknown to agents."""
    version, as_of = views.reference_version(connection), views.last_movement(connection)
    lists: dict[str, Sequence[Message]] = {
        "items": _items(connection),
        "locations": _locations(connection),
        "operators": _operators(connection),
        "documents": _documents(connection),
    }
    rows = [(name, one) for name, found in lists.items() for one in found]
    cut_up = chunks(rows, lambda row: len(encode(row[1]))) or [[]]
    parts = []
    for number, chunk in enumerate(cut_up, 1):
        cut: dict[str, Any] = {name: [one for kind, one in chunk if kind == name] for name in lists}
        part = Reference(version=version, as_of=as_of, part=number, parts=len(cut_up), **cut)
        parts.append(encode(part))
    return Update(version, tuple(parts), whole=True)


def delta(connection: sa.Connection, since: int) -> Update | None:
    """What changed since a version; None when that is not known: too long ago, or of another database, or too much.

    A piece claims the version of the last change in it. What changed several times comes with the first of them, as
    it is now: so an agent never has anything older than the version that it claims.
    """
    c = tables.reference_change.c
    if connection.scalar(sa.select(c.version).where(c.version == since)) is None:
        return None
    query = sa.select(tables.reference_change).where(c.version > since).order_by(c.version)
    rows = connection.execute(query.limit(MOST_CHANGES + 1)).all()
    if len(rows) > MOST_CHANGES:
        return None
    first: dict[tuple[str, str], int] = {}
    for row in rows:
        first.setdefault((row.list, row.id), row.version)
    found = _found(connection, first)
    pieces = chunks(list(first), lambda key: len(encode(found[key])) if key in found else _name_bytes(key))
    payloads, at = [], since
    for number, piece in enumerate(pieces, 1):
        to = rows[-1].version if number == len(pieces) else first[piece[-1]]
        payloads.append(encode(_piece(at, to, piece, found)))
        at = to
    return Update(at, tuple(payloads))


def _found(connection: sa.Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Message]:
    """Those of (list, id) that agents are told of, as they are now."""
    wanted: dict[str, list[str]] = {}
    for name, key in keys:
        wanted.setdefault(name, []).append(key)
    return {
        **{("items", one.sku): one for one in _items(connection, wanted.get("items", []))},
        **{("locations", one.id): one for one in _locations(connection, wanted.get("locations", []))},
        **{("operators", one.id): one for one in _operators(connection, wanted.get("operators", []))},
        **{("documents", one.id): one for one in _documents(connection, wanted.get("documents", []))},
    }


def _name_bytes(key: tuple[str, str]) -> int:
    return len(msgspec.json.encode(key[1]))


def _piece(
    since: int, to: int, keys: Sequence[tuple[str, str]], found: Mapping[tuple[str, str], Message]
) -> ReferenceDelta:
    upsert: dict[str, Any] = {}
    remove: dict[str, list[str]] = {}
    for key in keys:
        if key in found:
            upsert.setdefault(key[0], []).append(found[key])
        else:
            remove.setdefault(key[0], []).append(key[1])
    return ReferenceDelta(from_=since, version=to, upsert=Upsert(**upsert), remove=Remove(**remove))


def update(connection: sa.Connection, has: int | None, snapshot_bytes: int | None) -> Update:
    """What brings an agent that has this version to the present one: deltas if they are the smaller way.

    `snapshot_bytes`: about as much as a snapshot takes, where one was made before.
    """
    version = views.reference_version(connection)
    if has == version:
        return Update(version)
    changes = delta(connection, has) if has is not None else None
    if changes is not None and snapshot_bytes is not None and changes.size <= snapshot_bytes:
        return changes
    whole = snapshot(connection)
    return changes if changes is not None and changes.size <= whole.size else whole


def chunks(rows: Sequence[Any], size: Callable[[Any], int]) -> list[list[Any]]:
    """Cut rows so that each piece fits into one message."""
    pieces: list[list[Any]] = []
    room = 0
    for row in rows:
        needed = size(row) + 1
        if not pieces or needed > room:
            pieces.append([])
            room = ROOM_BYTES
        pieces[-1].append(row)
        room -= needed
    return pieces


def _only(query: sa.Select[Any], column: sa.Column[Any], ids: Sequence[str] | None) -> sa.Select[Any]:
    return query if ids is None else query.where(column.in_(ids))


def _items(connection: sa.Connection, ids: Sequence[str] | None = None) -> list[Item]:
    g = tables.item_gtin.c
    gtins: dict[str, list[Gtin]] = {}
    labels = _only(sa.select(tables.item_gtin), g.sku, ids).order_by(g.quantity, g.gtin)
    for row in connection.execute(labels):
        gtins.setdefault(row.sku, []).append(Gtin(gtin=row.printed, quantity=row.quantity))
    i = tables.item.c
    query = _only(sa.select(tables.item), i.sku, ids).where(i.provisional.is_(False)).order_by(i.sku)
    return [
        Item(sku=row.sku, name=row.name, gtins=gtins.get(row.sku, []), tracking=row.tracking, scale=row.scale)
        for row in connection.execute(query)
    ]


def _locations(connection: sa.Connection, ids: Sequence[str] | None = None) -> list[Location]:
    c = tables.location.c
    query = _only(sa.select(tables.location), c.id, ids).where(c.provisional.is_(False))
    query = query.order_by(c.walk_order, c.id)
    return [
        Location(id=row.id, site=row.site, zone=row.zone, walk_order=row.walk_order, gln=row.gln)
        for row in connection.execute(query)
    ]


def _operators(connection: sa.Connection, ids: Sequence[str] | None = None) -> list[Operator]:
    c = tables.operator.c
    query = _only(sa.select(tables.operator), c.id, ids).where(c.provisional.is_(False)).order_by(c.id)
    return [
        Operator(
            id=row.id, name=row.name, badge=row.badge, pin_hash=row.pin_hash, roles=json.loads(row.roles)
        )
        for row in connection.execute(query)
    ]


def _documents(connection: sa.Connection, ids: Sequence[str] | None = None) -> list[Document]:
    """Open documents that have something left to do; an order that was shipped whole has not."""
    d, t = tables.document.c, tables.document_line.c
    query = (
        _only(sa.select(tables.document), d.id, ids)
        .where(d.status == "open", d.type.in_(LISTED))
        .order_by(d.created_us, d.id)
    )
    found = connection.execute(query).all()
    lines: dict[str, list[Any]] = {}
    chosen = _only(sa.select(d.id), d.id, ids).where(d.status == "open", d.type != "provisional")
    for row in connection.execute(
        sa.select(tables.document_line).where(t.document.in_(chosen), t.ordered > 0).order_by(t.sku)
    ):
        lines.setdefault(row.document, []).append(row)
    return [
        Document(
            id=row.id,
            type=row.type,
            site=row.site,
            supplier=row.supplier,
            channel=row.channel,
            lines=_fitting(
                DocumentLine(sku=line.sku, quantity=line.ordered)
                for line in lines.get(row.id, [])[:MOST_LINES]
            ),
        )
        for row in found
        if row.type != "order" or any(line.shipped < line.ordered for line in lines.get(row.id, []))
    ]


def _fitting(lines: Iterable[DocumentLine]) -> list[DocumentLine]:
    """As many lines as fit into a message: a broker hangs up on whoever sends a larger one."""
    room, fitting = LINES_BYTES, []
    for line in lines:
        room -= len(encode(line)) + 1
        if room < 0:
            break
        fitting.append(line)
    return fitting

"""What people register: items, locations, operators, purchase orders. Pure, over rows in memory."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from central.ledger import bodies, fold
from central.ledger.accounts import MOST, Line
from central.ledger.books import Books, Close, Document, Item, Labelled, Location, Operator, Unit
from central.ledger.claims import RefusedError
from central.ledger.commands import (
    Answer,
    Done,
    Notice,
    OpenPurchaseOrder,
    PutItem,
    PutLocation,
    PutOperator,
)
from central.ledger.facts import gtin14, unit_id
from central.ledger.fold import Change

Finish = Callable[[Mapping[str, int | None]], Answer]

MOST_GTINS: Final = 50  # of one item
MOST_PACKED: Final = 10**9  # base units that one label can stand for


def _done(body: dict[str, Any], *, created: bool) -> Finish:
    return lambda _numbers: Done(body, created)


def put_item(books: Books, command: PutItem) -> Finish:
    """Create or replace an item. A GTIN belongs to one item."""
    if len(command.gtins) > MOST_GTINS:
        raise RefusedError("invalid", f"an item has at most {MOST_GTINS} GTINs", field="gtins")
    gtins: dict[str, Labelled] = {}
    for one in command.gtins:
        full = gtin14(one.gtin)
        owner = books.gtins.get(full)
        if owner is not None and owner.sku != command.sku and owner.sku:
            detail = f"GTIN {one.gtin} belongs to item {owner.sku}; take it from there first"
            raise RefusedError("already-exists", detail, sku=owner.sku, gtin=one.gtin)
        if not 1 <= one.quantity <= MOST_PACKED:
            detail = f"GTIN {one.gtin} stands for {one.quantity} units; from 1 to {MOST_PACKED} are possible"
            raise RefusedError("invalid", detail, field="gtins")
        if full in gtins:
            raise RefusedError("invalid", f"GTIN {one.gtin} is given twice", field="gtins")
        gtins[full] = Labelled(command.sku, one.gtin, one.quantity)
    old = books.items.get(command.sku)
    for full, label in list(books.gtins.items()):
        if label.sku == command.sku and full not in gtins:
            books.gtins.put(full, Labelled())  # let go
    for full, label in gtins.items():
        books.gtins.put(full, label)
    row = Item(command.name, command.tracking, command.scale)
    books.items.put(command.sku, row)
    if old is None or old.provisional:
        books.note(Close("unknown_item", command.sku), None)
    return _done(bodies.item(command.sku, row, gtins.values()), created=old is None or old.provisional)


def put_location(books: Books, command: PutLocation) -> Finish:
    """Create or replace a location. It stays at its site, for its stock is booked there."""
    if command.id.startswith("@"):
        detail = f"location {command.id}: names that begin with @ are kept for picked goods"
        raise RefusedError("invalid", detail, field="id")
    old = books.locations.get(command.id)
    if old is not None and not old.provisional and old.site != command.site:
        detail = f"location {command.id} belongs to site {old.site}; give the new place a name of its own"
        raise RefusedError("already-exists", detail, id=command.id)
    row = Location(command.site, command.zone, command.walk_order, command.gln)
    books.locations.put(command.id, row)
    if old is None or old.provisional:
        books.note(Close("unknown_location", command.id), None)
    return _done(bodies.location(command.id, row), created=old is None or old.provisional)


def put_operator(books: Books, command: PutOperator) -> Finish:
    """Create or replace a person who works at stations."""
    old = books.operators.get(command.id)
    row = Operator(command.name, command.badge, command.pin_hash, json.dumps(list(command.roles)))
    books.operators.put(command.id, row)
    if old is None or old.provisional:
        books.note(Close("unknown_operator", command.id), None)
    return _done(bodies.operator(command.id, row), created=old is None or old.provisional)


def open_purchase_order(books: Books, command: OpenPurchaseOrder) -> Finish:
    """What is expected from a supplier; facts that named it before it was known count."""
    ordered: Counter[str] = Counter()
    for line in command.lines:
        if not 1 <= line.quantity <= MOST:
            detail = f"line {line.sku} asks for {line.quantity}; it must be from 1 to {MOST}"
            raise RefusedError("invalid", detail, field="lines")
        ordered[line.sku] += line.quantity
    if not ordered:
        raise RefusedError("invalid", f"purchase order {command.id} has no lines", field="lines")
    notices = _notices_text(command.notices)
    new = Document(
        "purchase_order", command.site, "open", supplier=command.supplier, notices=notices,
        created_us=books.now_us,
    )  # fmt: skip
    old = books.documents.get(command.id)
    if old is not None and old.type != "provisional":
        return _same(books, command, old, new, ordered)
    for sku in sorted({*ordered, *(line["sku"] for one in command.notices for line in one.lines)}):
        item = books.items.get(sku)
        if item is None or item.provisional:
            detail = f"item {sku} is not registered. PUT /v1/items/{sku} first."
            raise RefusedError("unknown-item", detail, sku=sku)
    _announce(books, command)
    lines = {Line(command.id, command.site, sku): quantity for sku, quantity in ordered.items()}
    booked = fold.book(books, Change(ordered=lines, documents={command.id: new}))
    assert not booked.entries, "what is expected is no stock"
    for judged in booked.judged:
        books.note(judged, None)
    if old is not None:
        books.note(Close("unknown_document", command.id), None)
    return _done(bodies.purchase_order(command.id, new, books.lines_of(command.id)), created=True)


def _notices_text(notices: tuple[Notice, ...]) -> str | None:
    rows = [{"sscc": one.sscc, "parent": one.parent, "lines": list(one.lines)} for one in notices]
    return json.dumps(rows, sort_keys=True) if rows else None


def _same(
    books: Books, command: OpenPurchaseOrder, old: Document, new: Document, ordered: Counter[str]
) -> Finish:
    lines = books.lines_of(command.id)
    content = {line.sku: totals.ordered for line, totals in lines if totals.ordered}
    if content == ordered and new._replace(status=old.status, created_us=old.created_us) == old:
        return _done(bodies.purchase_order(command.id, old, lines), created=False)
    kind = old.type.replace("_", " ")
    raise RefusedError("already-exists", f"there is a {kind} {command.id} with other content", id=command.id)


def _announce(books: Books, command: OpenPurchaseOrder) -> None:
    """The announced units: what a scan of one will bring in."""
    for notice in command.notices:
        name = unit_id(notice.sscc)
        old = books.units.get(name) or Unit(command.site)
        if old.document is not None:
            detail = f"unit {notice.sscc} is announced in {old.document} already"
            raise RefusedError("already-exists", detail, sscc=notice.sscc)
        parent = unit_id(notice.parent) if notice.parent else None
        contents = json.dumps(list(notice.lines), sort_keys=True)
        row = old._replace(parent=parent, document=command.id, contents=contents)
        books.units.put(name, row)

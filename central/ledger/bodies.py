"""What the API says of a thing: the same body when it is made and when it is read. Pure."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from central.ledger.accounts import Line, Totals
from central.ledger.books import Document, Item, Labelled, Location, Operator, Reservation


def rfc3339(time_us: int) -> str:
    """Microseconds since 1970 as the text that people and programs read."""
    seconds, micros = divmod(time_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def item(sku: str, row: Item, gtins: Iterable[Labelled]) -> dict[str, Any]:
    """An item as it was registered."""
    return {
        "sku": sku,
        "name": row.name,
        "gtins": [{"gtin": one.printed, "quantity": one.quantity} for one in gtins],
        "tracking": row.tracking,
        "scale": row.scale,
    }


def location(name: str, row: Location) -> dict[str, Any]:
    """A location as it was registered."""
    body = {"id": name, "site": row.site, "zone": row.zone, "walk_order": row.walk_order}
    return body if row.gln is None else {**body, "gln": row.gln}


def operator(name: str, row: Operator) -> dict[str, Any]:
    """A person at a station; the PIN's hash stays inside."""
    return {"id": name, "name": row.name, "badge": row.badge, "roles": json.loads(row.roles)}


def reservation(name: str, row: Reservation, now_us: int) -> dict[str, Any]:
    """A hold. One whose time has passed is expired, whether anyone has written that down or not."""
    late = row.status == "active" and row.expires_us <= now_us
    return {
        "id": name,
        "sku": row.sku,
        "site": row.site,
        "quantity": row.quantity,
        "channel": row.channel,
        "status": "expired" if late else row.status,
        "expires_at": rfc3339(row.expires_us),
        "order": row.document,
    }


def purchase_order(name: str, row: Document, lines: Iterable[tuple[Line, Totals]]) -> dict[str, Any]:
    """What is expected and what came; goods that nobody ordered are lines of their own, expected 0."""
    return {
        "id": name,
        "site": row.site,
        "supplier": row.supplier or "",
        "status": row.status,
        "created_at": rfc3339(row.created_us),
        "lines": [
            {
                "sku": line.sku,
                "site": line.site,
                "expected": totals.ordered,
                "received": totals.received,
                "over": max(0, totals.received - totals.ordered),
                "short": max(0, totals.ordered - totals.received),
            }
            for line, totals in lines
        ],
    }


def order(name: str, row: Document, lines: Iterable[tuple[Line, Totals]]) -> dict[str, Any]:
    """What was ordered and how far it has come."""
    return {
        "id": name,
        "site": row.site,
        "channel": row.channel or "",
        "status": row.status,
        "created_at": rfc3339(row.created_us),
        "lines": [
            {
                "sku": line.sku,
                "site": line.site,
                "quantity": totals.ordered,
                "picked": totals.picked,
                "packed": max(totals.packed, totals.shipped),
                "shipped": totals.shipped,
            }
            for line, totals in lines
        ],
    }

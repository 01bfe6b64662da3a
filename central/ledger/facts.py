"""What an event is about, in the books' own terms: codes become SKUs, labels become base units, names are checked.

The idea: nothing on the dock is refused for paperwork. What is not registered is booked under what was read, and
said to be unknown; the event is `discrepant`, and a discrepancy stays open until somebody registers it.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from central.ledger.books import Books, Document, Item, Location, Open, Operator, Unit
from central.ledger.transitions import NOT_BOOKED, Contributions, Fact, Goods, Place, contributions
from sync import events
from sync.events import About, Data

LONGEST_NAME = 200  # of anything that is named in a topic, a page or an index


class Resolved(NamedTuple):
    """An event in the books' terms, and what central does not know of it."""

    fact: Fact
    contributions: Contributions = Contributions()
    unknown: tuple[Open, ...] = ()
    operator: str | None = None
    corrects: str | None = None
    awaits: str | None = None
    """The unit whose contents nobody announced."""
    leaves: tuple[str, ...] = ()
    """The announced units that its goods come from."""
    sku: str | None = None
    task: str | None = None


def printable(text: str) -> str:
    """`text` as a name: what no screen or database takes is percent-encoded; what is too long is cut and told
    apart by the start of its SHA-256.
    """
    safe = "".join(c if c.isprintable() else "".join(f"%{b:02X}" for b in _utf8(c)) for c in text)
    if len(safe) <= LONGEST_NAME - 10:  # room for a prefix such as "gtin:"
        return safe
    return f"{safe[:120]}~{hashlib.sha256(_utf8(text)).hexdigest()[:16]}"


def storable(text: str) -> str:
    """`text` without what PostgreSQL cannot store: NUL and lone surrogates."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "%00").encode("utf-8", "replace").decode()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def gtin14(gtin: str) -> str:
    """A GTIN of 8 to 14 digits as the 14 that it is compared by (GS1 General Specifications §3.3.2)."""
    return gtin.zfill(14)


def unit_id(sscc: str) -> str:
    """The name of a logistic unit."""
    return f"sscc:{sscc}"


def resolve(books: Books, event: str, data: Data, *, agent_site: str) -> Resolved:
    """The event as a fact. Reads items, codes, locations, documents, operators and units; changes nothing."""
    unknown: list[Open] = []
    if isinstance(data, events.Corrected):
        _know_operator(books, data, unknown)
        return Resolved(
            Fact(event, agent_site), unknown=tuple(unknown), operator=data.operator, corrects=data.corrects
        )
    if not isinstance(data, About):
        return Resolved(Fact(event, agent_site), operator=data.operator)
    source, target, at = (
        _place(books, getattr(data, name, None), agent_site, unknown)
        for name in ("from_location", "to_location", "location")
    )
    site = agent_site
    if event == "sighted":  # moves nothing, so it makes nothing known either
        return Resolved(Fact(event, site, at=at), operator=data.operator)
    goods, leaves, awaits = _goods(books, data, unknown)
    document = data.document or (_announced_in(books, leaves) if event == "received" else None)
    if document and _is_unknown(books.documents.get(document)):
        unknown.append(
            Open("unknown_document", document, f"document {document} is not registered", site=site)
        )
    _know_operator(books, data, unknown)
    counted = event in NOT_BOOKED
    fact = Fact(
        event,
        site,
        goods=() if counted else goods,
        document=document or "",
        state=getattr(data, "state", "stock"),
        unit=unit_id(data.sscc) if leaves and data.sscc else None,
        source=source,
        target=target,
        at=at,
    )
    single = goods[0].sku if len({one.sku for one in goods}) == 1 else None
    return Resolved(
        fact, contributions(fact), tuple(unknown), data.operator, awaits=awaits, leaves=leaves, sku=single,
        task=data.task,
    )  # fmt: skip


def _is_unknown(row: Any) -> bool:
    return row is None or getattr(row, "provisional", False) or getattr(row, "type", "") == "provisional"


def _place(books: Books, name: str | None, agent_site: str, unknown: list[Open]) -> Place | None:
    """The location belongs to the site it is registered at; an unknown one to that of who named it."""
    if name is None:
        return None
    location = books.locations.get(name)
    if location is None or location.provisional:
        detail = f"location {name} is not registered"
        unknown.append(Open("unknown_location", name, detail, site=agent_site, location=name))
        return Place(agent_site, name)
    return Place(location.site, name)


def _know_operator(books: Books, data: Data, unknown: list[Open]) -> None:
    if data.operator and _is_unknown(books.operators.get(data.operator)):
        detail = f"operator {data.operator} is not registered"
        unknown.append(Open("unknown_operator", data.operator, detail))


def _goods(
    books: Books, data: About, unknown: list[Open]
) -> tuple[tuple[Goods, ...], tuple[str, ...], str | None]:
    if data.sscc and not (data.sku or data.gtin or data.epc or data.raw):
        unit = unit_id(data.sscc)
        leaves = _leaves(books, unit)
        if not leaves:
            return (), (), unit
        return _contents(books, leaves, data.quantity), leaves, None
    sku, pack = _identify(books, data)
    if _is_unknown(books.items.get(sku)):
        unknown.append(Open("unknown_item", sku, f"item {sku} is not registered", sku=sku))
    times = pack if data.unit == "label" else 1
    return (Goods(sku, data.lot or "", data.quantity * times),), (), None


def _contents(books: Books, leaves: Sequence[str], times: int) -> tuple[Goods, ...]:
    lines = [line for leaf in leaves for line in json.loads(books.units[leaf].contents or "[]")]
    return tuple(Goods(line["sku"], line.get("lot") or "", line["quantity"] * times) for line in lines)


def _identify(books: Books, data: About) -> tuple[str, int]:
    """(SKU, base units of one label). Of several names the most exact one decides."""
    registered = books.gtins.get(gtin14(data.gtin)) if data.gtin else None
    if data.sku:
        return data.sku, registered.quantity if registered and registered.sku == data.sku else 1
    if registered:
        return registered.sku, registered.quantity
    if data.gtin:
        return f"gtin:{gtin14(data.gtin)}", 1
    return min(names_of(data)), 1  # an EPC before a code that nobody knows


def names_of(data: About) -> set[str]:
    """The SKUs that goods without a registered GTIN may be booked under."""
    names = {data.sku} if data.sku else set()
    if data.epc:
        names.add(f"epc:{data.epc.upper()}")
    if data.raw:
        names.add(f"raw:{printable(data.raw)}")
    return names


def _leaves(books: Books, unit: str) -> tuple[str, ...]:
    """The unit and all announced inside it that hold something themselves."""
    inside: dict[str | None, list[str]] = defaultdict(list)
    for name, row in books.units.items():
        inside[row.parent].append(name)
    found: list[str] = []
    pending, seen = [unit], set()
    while pending:
        one = pending.pop()
        if one in seen:
            continue
        seen.add(one)
        held = books.units.get(one) if one in books.units else None
        if held is not None and held.contents not in (None, "[]"):
            found.append(one)
        pending += inside[one]
    return tuple(sorted(found))


def _announced_in(books: Books, leaves: tuple[str, ...]) -> str | None:
    return next((books.units[leaf].document for leaf in leaves), None)


def with_task(books: Books, fact: Fact, task: str | None) -> Fact:
    """A pick that names no task counts for the one that asks for these goods from this place."""
    if fact.event not in ("picked", "unpicked") or len(fact.goods) != 1:
        return fact
    place = fact.source or fact.target
    if task is None and fact.document and place is not None:
        matching = [
            (row.status != "open", name)
            for name, row in books.tasks.of(fact.document)
            if row.sku == fact.goods[0].sku
            and row.from_location == place.location
            and row.status != "cancelled"
        ]
        task = min(matching)[1] if matching else None
    return fact if task is None else msgspec.structs.replace(fact, task=task)


_ROWS = {
    "unknown_item": "items",
    "unknown_location": "locations",
    "unknown_operator": "operators",
    "unknown_document": "documents",
}


def still_unknown(books: Books, resolved: Resolved) -> list[Open]:
    """What nobody has registered since the event was resolved."""
    return [gap for gap in resolved.unknown if _is_unknown(getattr(books, _ROWS[gap.kind]).get(gap.key))]


def fresh_goods(books: Books, resolved: Resolved, standing: Callable[[str], bool]) -> tuple[Goods, ...]:
    """What a scanned unit brings in: what is announced inside and was not received before."""
    fresh = [
        leaf
        for leaf in resolved.leaves
        if (first := books.units[leaf].first_event) is None or not standing(first)
    ]
    return _contents(books, fresh, 1)


def make_known(books: Books, resolved: Resolved, *, agent_site: str) -> None:
    """Provisional rows for what is not registered, so that people see it and can register it."""
    for gap in resolved.unknown:
        if gap.kind == "unknown_item" and books.items.get(gap.key) is None:
            books.items.put(gap.key, Item(provisional=True))
        elif gap.kind == "unknown_location" and books.locations.get(gap.key) is None:
            books.locations.put(gap.key, Location(agent_site, provisional=True))
        elif gap.kind == "unknown_operator" and books.operators.get(gap.key) is None:
            books.operators.put(gap.key, Operator(provisional=True))
        elif gap.kind == "unknown_document" and books.documents.get(gap.key) is None:
            row = Document("provisional", agent_site, created_us=books.now_us)
            books.documents.put(gap.key, row)
    if resolved.awaits and books.units.get(resolved.awaits) is None:
        books.units.put(resolved.awaits, Unit(agent_site))


def with_goods(fact: Fact, goods: tuple[Goods, ...]) -> Fact:
    """The fact about these goods."""
    return msgspec.structs.replace(fact, goods=goods)

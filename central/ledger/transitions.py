"""The transition table: what each stock event does to the books. A new event is one row here.

Every row is linear: so many times the event's quantity to these accounts and totals. Therefore a correction is
the same row with the other sign, and the order in which facts arrive does not matter.
"""

from typing import Final, Literal, NamedTuple

import msgspec

from central.ledger.accounts import Account, Line, boundary

Side = Literal["from", "to", "at", "outside"]
Column = Literal["received", "picked", "packed", "shipped", "transferred"]


class Goods(NamedTuple):
    """So many base units of one item, of a lot or of none."""

    sku: str
    lot: str
    quantity: int


class Place(NamedTuple):
    """A location and the site it belongs to."""

    site: str
    location: str


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event with everything resolved: what central books, and what it keeps to be able to reverse it."""

    event: str
    site: str
    goods: tuple[Goods, ...] = ()
    document: str = ""
    source: Place | None = None
    target: Place | None = None
    at: Place | None = None
    state: str = "stock"
    task: str | None = None
    unit: str | None = None


class Post(NamedTuple):
    """One side of a row. State "stated" is the one that the event says."""

    side: Side
    state: str
    sign: int


class Row(NamedTuple):
    """One row: sides of the physical book, totals of the document's line, progress of the task."""

    posts: tuple[Post, ...] = ()
    totals: tuple[tuple[Column, int], ...] = ()
    done: int = 0


class Contributions(NamedTuple):
    """What a standing fact adds to the books."""

    physical: tuple[tuple[Account, int], ...] = ()
    totals: tuple[tuple[Line, Column, int], ...] = ()
    """To totals of documents' lines."""
    done: tuple[tuple[str, int], ...] = ()
    """To the progress of tasks."""


TABLE: Final[dict[str, Row]] = {
    "received": Row((Post("outside", "supplier", -1), Post("to", "stock", +1)), (("received", +1),)),
    "put_away": Row((Post("from", "stated", -1), Post("to", "stated", +1))),
    "moved": Row((Post("from", "stated", -1), Post("to", "stated", +1))),
    "picked": Row((Post("from", "stock", -1),), (("picked", +1),), done=+1),
    "unpicked": Row((Post("to", "stock", +1),), (("picked", -1),), done=-1),
    "pick_short": Row((Post("from", "stock", -1), Post("outside", "variance", +1))),
    "packed": Row(totals=(("packed", +1),)),
    "shipped": Row(totals=(("shipped", +1),)),
    "ship_voided": Row(totals=(("shipped", -1),)),
    "returned": Row((Post("outside", "customer", -1), Post("to", "returned", +1))),
    "return_accepted": Row((Post("to", "returned", -1), Post("to", "stock", +1))),
    "return_rejected": Row((Post("to", "returned", -1), Post("to", "damaged", +1))),
    "held": Row((Post("at", "stock", -1), Post("at", "quarantine", +1))),
    "hold_released": Row((Post("at", "quarantine", -1), Post("at", "stock", +1))),
    "damaged": Row((Post("at", "stated", -1), Post("at", "damaged", +1))),
    "written_off": Row((Post("at", "stated", -1), Post("outside", "written_off", +1))),
    "adjusted": Row((Post("at", "stock", +1), Post("outside", "adjustment", -1))),
    "sighted": Row(),
    "corrected": Row(),
}

# Picked and packed goods are kept by document, so what happens to them changes its totals.
_BROKEN: Final = Post("at", "damaged", +1)
_GONE: Final = Post("outside", "written_off", +1)
OF_DOCUMENTS: Final[dict[tuple[str, str], Row]] = {
    ("damaged", "picked"): Row((_BROKEN,), (("picked", -1),)),
    ("damaged", "packed"): Row((_BROKEN,), (("picked", -1), ("packed", -1))),
    ("written_off", "picked"): Row((_GONE,), (("picked", -1),)),
    ("written_off", "packed"): Row((_GONE,), (("picked", -1), ("packed", -1))),
    ("put_away", "picked"): Row(),
    ("put_away", "packed"): Row(),
    ("moved", "picked"): Row(),
    ("moved", "packed"): Row(),
}

NOT_BOOKED: Final = frozenset({"counted", "transfer_out", "transfer_in", "transfer_short"})
"""Facts that are kept and shown to a person, and that no row books."""


def row_of(fact: Fact) -> Row:
    """The row for this fact."""
    return OF_DOCUMENTS.get((fact.event, fact.state)) or TABLE.get(fact.event, Row())


def contributions(fact: Fact) -> Contributions:
    """What this fact adds to the books while it stands."""
    row = row_of(fact)
    places = {"from": fact.source, "to": fact.target, "at": fact.at}
    home = fact.source or fact.target or fact.at
    physical: list[tuple[Account, int]] = []
    totals: list[tuple[Line, Column, int]] = []
    for sku, lot, quantity in fact.goods:
        for side, state, sign in row.posts:
            place = places.get(side)
            named = fact.state if state == "stated" else state
            if place is None:
                account = boundary(home.site if home else fact.site, sku, lot, named)
            else:
                account = Account(place.site, sku, place.location, named, lot)
            physical.append((account, sign * quantity))
        for column, sign in row.totals:
            totals.append((Line(fact.document, fact.site, sku), column, sign * quantity))
    return Contributions(tuple(physical), tuple(totals), progress(fact))


def progress(fact: Fact) -> tuple[tuple[str, int], ...]:
    """What this fact adds to its task."""
    done = row_of(fact).done
    return ((fact.task, done * sum(one.quantity for one in fact.goods)),) if done and fact.task else ()

"""What is counted: the accounts of both books, and how a document's totals become picked and packed goods.

The idea: the physical book says where things are, the promise book what may still be promised. Where a
quantity is split (picked or packed? committed or free?), the split is a function of totals over the facts that
stand, never of the balance met on arrival; so facts may arrive in any order.
"""

from typing import Final, NamedTuple

STATES: Final = ("stock", "picked", "packed", "in_transit", "returned", "quarantine", "damaged")
ON_HAND: Final = ("stock", "picked", "packed", "returned", "quarantine", "damaged")
BOUNDARIES: Final = ("supplier", "customer", "written_off", "adjustment", "variance")

# Far above what a site holds, far below what a 64-bit column can: sums of such never overflow.
MOST: Final = 10**15


class Account(NamedTuple):
    """One account of the physical book. Boundary accounts have no location and keep no balance."""

    site: str
    sku: str
    location: str
    state: str
    lot: str

    @property
    def bin(self) -> "Bin":
        """The place and state, over all its lots."""
        return Bin(self.site, self.sku, self.location, self.state)


class Bin(NamedTuple):
    """One SKU in one state at one place: what goes below zero is judged over its lots together."""

    site: str
    sku: str
    location: str
    state: str


class Shelf(NamedTuple):
    """One row of the promise book."""

    site: str
    sku: str


class Line(NamedTuple):
    """One SKU of one document at one site; document "" stands for goods picked for none."""

    document: str
    site: str
    sku: str


class Totals(NamedTuple):
    """What was ordered, and totals over the facts that stand. `picked` is net of what went back or broke."""

    ordered: int = 0
    received: int = 0
    picked: int = 0
    packed: int = 0
    shipped: int = 0
    transferred: int = 0


class Promise(NamedTuple):
    """The balances of a shelf: together they are the stock of that site and SKU."""

    free: int = 0
    reserved: int = 0
    committed: int = 0


class Entry(NamedTuple):
    """One line of a movement. In each book the deltas of a movement add up to zero."""

    book: str
    site: str
    sku: str
    location: str
    lot: str
    state: str
    delta: int


def boundary(site: str, sku: str, lot: str, state: str) -> Account:
    """The account on the other side of the house."""
    return Account(site, sku, "", state, lot)


def key_of(*names: str) -> str:
    """The names as one key: no two lists of names share one, whatever slashes the names hold."""
    return "/".join(name.replace("%", "%25").replace("/", "%2F") for name in names)


def place_of(document: str) -> str:
    """Where a document's picked and packed goods are kept in the books."""
    return f"@{document}"


def document_accounts(line: Line, totals: Totals) -> dict[Account, int]:
    """Where the goods of a line are. With K packed and S shipped or transferred out: packed = max(K, S) − S and
    picked = net picked − max(K, S); so a box that is shipped before anyone packed it was packed on the way.
    """
    out = totals.shipped + totals.transferred
    boxed = max(totals.packed, out)
    at = place_of(line.document)
    return {
        Account(line.site, line.sku, at, "picked", ""): totals.picked - boxed,
        Account(line.site, line.sku, at, "packed", ""): boxed - out,
        boundary(line.site, line.sku, "", "customer"): totals.shipped,
    }


def commitment(totals: Totals, *, open_here: bool) -> int:
    """What an order still binds of this line; nothing once it is closed."""
    return totals.ordered - min(totals.ordered, max(0, totals.picked)) if open_here else 0

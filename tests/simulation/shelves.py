"""What has to be true of both books after each transaction that booked something; promises 4 and 13.

The idea: everything is read from the tables and compared with what the events meant. No code is shared with the
ledger.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.simulation.watch import Bin, Meant

SITE: Final = "lej1"
KEEPS_NONE: Final = ("supplier", "customer", "written_off", "adjustment", "variance", "outside")

Rows = Callable[..., list[Any]]
Balances = Mapping[tuple[str, str, str, str, str], int]
"""What lies in each (site, sku, location, state, lot)."""


def wrong(rows: Rows, meant: "Mapping[str, Meant]", stock: "Mapping[Bin, int]", above: int) -> Iterator[str]:
    """What is wrong with the books.

    Args:
        stock: what all that was booked makes together.
        above: movements up to this row were looked at before.
    """
    kept = {
        tuple(row[:5]): row[5]
        for row in rows("SELECT site, sku, location, state, lot, quantity FROM balance WHERE quantity != 0")
    }
    yield from _not_folded(rows, kept)
    yield from _not_meant(rows, meant, above)
    yield from _not_everything(kept, stock)
    yield from _not_promised(rows, kept)
    yield from _owed_in_silence(rows, kept)


def _not_folded(rows: Rows, kept: Balances) -> Iterator[str]:
    """Balances are the fold of the entries."""
    folded = {
        tuple(row[:5]): row[5]
        for row in rows(
            "SELECT site, sku, location, state, lot, sum(delta) FROM entry WHERE book = 'physical'"
            " GROUP BY site, sku, location, state, lot"
        )
    }
    if sum(folded.values()):
        yield "the entries of the physical book do not add up to zero"
    ours = {key: value for key, value in folded.items() if key[3] not in KEEPS_NONE and value}
    if ours != kept:
        yield f"balances {kept} are not the sum of their entries {ours}"


def _not_meant(rows: Rows, meant: "Mapping[str, Meant]", above: int) -> Iterator[str]:
    """Each event moved once what it says, from where to where it says."""
    moved: dict[str, dict[Bin, int]] = {}
    for name, sku, location, delta in rows(
        "SELECT m.event_id, e.sku, e.location, e.delta FROM movement m"
        " LEFT JOIN entry e ON e.movement = m.number AND e.book = 'physical' AND e.state = 'stock'"
        " WHERE m.rowid > ? AND m.number IS NOT NULL", above,
    ):  # fmt: skip
        bins = moved.setdefault(name, {})
        if sku is not None:
            bins[sku, location] = bins.get((sku, location), 0) + delta
    for name, bins in moved.items():
        if bins != meant[name].moves:
            yield f"{name} changed the stock by {bins}, and says {meant[name].moves}"


def _not_everything(kept: Balances, stock: "Mapping[Bin, int]") -> Iterator[str]:
    """What lies anywhere is what all events together say, and nothing besides."""
    says = {(SITE, sku, location, "stock", ""): held for (sku, location), held in stock.items() if held}
    if kept != says:
        yield f"the balances are {dict(kept)}, and what was booked makes {says}"


def _not_promised(rows: Rows, kept: Balances) -> Iterator[str]:
    """Of each site and SKU, what is free, reserved and committed together is the stock."""
    stock: Counter[tuple[str, str]] = Counter()
    for (site, sku, _, state, _), quantity in kept.items():
        stock[site, sku] += quantity if state == "stock" else 0
    promised = Counter(
        {
            (row[0], row[1]): row[2]
            for row in rows("SELECT site, sku, free + reserved + committed FROM promise")
        }
    )
    if stock != promised:  # of counters, where zero is as good as nothing
        yield f"the promise book says {dict(promised)}, and the stock is {dict(stock)}"


def _owed_in_silence(rows: Rows, kept: Balances) -> Iterator[str]:
    """Where there is less than nothing a discrepancy is open, and nowhere else."""
    bins: Counter[str] = Counter()
    for (site, sku, location, state, _), quantity in kept.items():
        bins["/".join((site, location, sku, state))] += quantity
    owed = sorted(key for key, quantity in bins.items() if quantity < 0)
    noted = sorted(
        key for (key,) in rows("SELECT key FROM discrepancy WHERE kind = 'owed' AND status = 'open'")
    )
    if owed != noted:
        yield f"below zero are {owed}, and discrepancies are open about {noted}"

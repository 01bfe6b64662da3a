"""Which bins a picker is sent to. Pure: stock and what others will take come in, picks in walking order go out."""

from collections.abc import Iterable
from dataclasses import dataclass

from central.ledger.books import Shelved


@dataclass(frozen=True, slots=True)
class Pick:
    """Take so many from there; location "" when no bin has them."""

    location: str
    quantity: int


def allocate(quantity: int, shelved: Iterable[Shelved]) -> list[Pick]:
    """Cover `quantity` from the bins in walking order, leaving what open tasks will take from each."""
    picks: list[Pick] = []
    by_place: dict[tuple[int, str], list[int]] = {}
    for one in shelved:
        place = by_place.setdefault((one.walk_order, one.location), [0, one.promised])
        place[0] += one.quantity
    for (_, location), (stock, promised) in sorted(by_place.items()):
        take = min(quantity, max(0, stock - promised))
        if take:
            picks.append(Pick(location, take))
            quantity -= take
    return [*picks, Pick("", quantity)] if quantity else picks

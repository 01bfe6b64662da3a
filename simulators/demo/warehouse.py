"""The small warehouse of the demo, as data: what can be bought, where it lies, what arrives and what is ordered.

One `Plan` is one run: every physical thing that the workers will hold in their hands, in order. The real demo and
the tests' shorter runs differ in nothing else.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from simulators import labels
from simulators.symbols import FNC1, check_digit
from simulators.tags import FULL_CASE, sgtin_96

SITE: Final = "lej1"
DOCK: Final = "DOCK-1"
GATE: Final = "GATE-1"
"""Where the tagged pallet comes in."""
PURCHASE_ORDER: Final = "PO-1001"
TAGGED_ORDER: Final = "PO-1002"
"""What comes through the gate."""
ORDER: Final = "WEB-2001"
CHANNEL: Final = "webshop"
ADA: Final = {"id": "op-1", "name": "Ada", "badge": "BADGE-1"}
CASE_UNITS: Final = 12
_COMPANY_PREFIX: Final = "9521234"  # GS1's prefix for examples: no real company has it


@dataclass(frozen=True, slots=True)
class Product:
    """An item that the warehouse knows: sold singly (EAN-13) and in cases of twelve (GTIN-14)."""

    sku: str
    name: str
    number: int

    @property
    def ean(self) -> str:
        """What is printed on one piece."""
        return _with_check(f"{_COMPANY_PREFIX}{self.number:05d}")

    @property
    def case_gtin(self) -> str:
        """What is printed on a case: the indicator 1 before the same reference."""
        return _with_check(f"1{_COMPANY_PREFIX}{self.number:05d}")

    def as_item(self) -> dict[str, Any]:
        """As `PUT /v1/items/{sku}` takes it."""
        gtins = [{"gtin": self.ean, "quantity": 1}, {"gtin": self.case_gtin, "quantity": CASE_UNITS}]
        return {"sku": self.sku, "name": self.name, "gtins": gtins, "tracking": "none"}


@dataclass(frozen=True, slots=True)
class Label:
    """What is printed on one physical thing or place."""

    text: str
    """What a reader tells of it, after the AIM id."""
    aim_id: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Goods:
    """One physical thing that is scanned once: a piece or a case."""

    label: Label
    sku: str
    quantity: int
    on_camera: bool = False
    """Its label is shown to the camera; the scanner reads the others."""


def _with_check(digits: str) -> str:
    return digits + check_digit(digits)


TEXT: Final = "]C0"
"""Code 128 without FNC1: the labels of places, people and papers."""

ARRIVING: Final = tuple(
    Product(sku, name, 100 + place)
    for place, (sku, name) in enumerate(
        (
            ("TEA-GREEN", "Green tea, 250 g"),
            ("TEA-BLACK", "Black tea, 250 g"),
            ("COFFEE", "Coffee beans, 1 kg"),
            ("HONEY", "Forest honey, 500 g"),
            ("OATS", "Rolled oats, 1 kg"),
            ("RICE", "Basmati rice, 1 kg"),
            ("OIL", "Olive oil, 0.75 l"),
            ("PASTA", "Spaghetti, 500 g"),
        )
    )
)
"""What the purchase order brings: the first six as single pieces, the last two in cases."""
IN_PIECES: Final = ARRIVING[:6]
IN_CASES: Final = ARRIVING[6:]
ON_SHELVES: Final = {
    "A-01": Product("SOAP", "Olive soap", 201),
    "A-02": Product("CANDLE", "Beeswax candle", 202),
    "B-01": Product("MUG", "Stoneware mug", 203),
}
"""What lies on the shelves already, in walking order."""
IN_TAGGED_CASES: Final = (
    Product("JUICE", "Apple juice, 1 l", 301),
    Product("BEANS", "Baked beans, 400 g", 302),
)
"""What comes in cases with tags."""
PRODUCTS: Final = {product.sku: product for product in (*ARRIVING, *IN_TAGGED_CASES, *ON_SHELVES.values())}
OPENING_STOCK: Final = 20
LOCATIONS: Final = (
    {"id": DOCK, "site": SITE, "zone": "dock", "walk_order": 10},
    {"id": GATE, "site": SITE, "zone": "dock", "walk_order": 11},
    *(
        {"id": shelf, "site": SITE, "zone": "shelves", "walk_order": 20 + 10 * place}
        for place, shelf in enumerate(ON_SHELVES)
    ),
)
STRAY: Final = sgtin_96(IN_TAGGED_CASES[0].case_gtin, 999_999, filter_value=FULL_CASE)
"""A tagged case that is parked near the gate all the time: heard, and never received."""
STRANGE_LABEL: Final = Label("THANK YOU FOR SHOPPING", TEXT)
"""A code that nobody knows: a sticker on the box."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: what arrives, in the order of handling, and what is ordered. A fault happens before the thing at its
    place is handled; a fault whose place is never reached does not happen.
    """

    arriving: tuple[Goods, ...]
    ordered: Mapping[str, int]
    """Base units by SKU."""
    reserved: tuple[str, int]
    """SKU and quantity that a storefront holds before it orders."""
    operators: tuple[dict[str, str], ...]
    """Who scans their badge first; nobody has to."""
    arriving_faults: Mapping[int, str]
    """cut, kill, heal, broker; bounce, strange, again: what happens at which place."""
    picking_faults: Mapping[int, str]
    passing: tuple[Goods, ...] = ()
    """What is on the pallet that passes the gate."""
    gate_faults: frozenset[str] = frozenset()
    """cut: it passes while the network is cut; kill: the agent is killed while it stands in the gate."""

    @property
    def expected_at_gate(self) -> Counter[str]:
        """Base units by SKU on the pallet."""
        return _units(self.passing)

    @property
    def received(self) -> Counter[str]:
        """Base units by SKU that arrive."""
        return _units(self.arriving)

    @property
    def picks(self) -> int:
        """How many labels the picker scans."""
        return sum(len(list(pieces(sku, quantity))) for sku, quantity in self.ordered.items())


def _units(goods: Iterable[Goods]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in goods:
        total[one.sku] += one.quantity
    return total


def tagged(product: Product, serial: int) -> Goods:
    """One case with a tag: its label is its EPC, as the station shows it."""
    epc = sgtin_96(product.case_gtin, serial, filter_value=FULL_CASE)
    return Goods(Label(epc, ""), product.sku, CASE_UNITS)


def tagged_cases(count: int) -> tuple[Goods, ...]:
    """So many, of the tagged products in turn."""
    return tuple(
        tagged(IN_TAGGED_CASES[place % len(IN_TAGGED_CASES)], 1000 + place) for place in range(count)
    )


def piece(product: Product) -> Goods:
    """One piece with its EAN-13."""
    return Goods(Label(product.ean, "]E0"), product.sku, 1)


def case(product: Product, serial: str | None = None, *, on_camera: bool = False) -> Goods:
    """One case: its label tells GTIN and serial number; without a serial only the GTIN."""
    fields = (("01", product.case_gtin), *((("21", serial),) if serial is not None else ()))
    text = labels.element_string(*fields).removeprefix(FNC1)
    return Goods(Label(text, "]C1", labels.human_readable("", fields)), product.sku, CASE_UNITS, on_camera)


def pieces(sku: str, quantity: int) -> Iterator[Goods]:
    """What a picker takes for so many: whole cases where the item comes in cases, then pieces."""
    product = PRODUCTS[sku]
    if product in IN_CASES:
        for _ in range(quantity // CASE_UNITS):
            yield case(product)
        quantity %= CASE_UNITS
    for _ in range(quantity):
        yield piece(product)


def full_plan(rng: random.Random) -> Plan:
    """The demo: 36 pieces and 12 cases arrive, 50 pass the gate, 16 labels are picked, and everything fails once."""
    loose = [piece(product) for _ in range(6) for product in IN_PIECES]
    cases = [case(IN_CASES[n % 2], f"{rng.randrange(10**8):08d}", on_camera=True) for n in range(12)]
    return Plan(
        arriving=_interleaved(loose, cases, every=3),
        ordered={"TEA-GREEN": 4, "PASTA": 2 * CASE_UNITS, "SOAP": 4, "CANDLE": 3, "MUG": 3},
        reserved=("TEA-GREEN", 4),
        operators=(ADA,),
        arriving_faults={
            5: "bounce", 8: "strange", 12: "cut", 17: "bounce", 21: "kill", 26: "again", 30: "heal", 38: "broker",
        },
        picking_faults={2: "strange", 4: "cut", 7: "bounce", 10: "heal"},
        passing=tagged_cases(50),
        gate_faults=frozenset({"cut", "kill"}),
    )  # fmt: skip


def short_plan() -> Plan:
    """A few things and no faults, for tests of the proof itself."""
    loose = [piece(product) for product in IN_PIECES[:3]]
    return Plan(
        arriving=_interleaved(loose, [case(IN_CASES[0], "00000001", on_camera=True)], every=3),
        ordered={"SOAP": 2},
        reserved=("SOAP", 2),
        operators=(),
        arriving_faults={},
        picking_faults={},
        passing=tagged_cases(4),
    )


def _interleaved(loose: Sequence[Goods], cases: Sequence[Goods], every: int) -> tuple[Goods, ...]:
    """One case after every so many pieces: the same label never comes twice in a row."""
    rest = iter(cases)
    mixed: list[Goods] = []
    for place, goods in enumerate(loose, 1):
        mixed.append(goods)
        if place % every == 0:
            mixed.extend(one for one in [next(rest, None)] if one is not None)
    return (*mixed, *rest)

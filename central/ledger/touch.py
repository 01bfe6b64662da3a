"""What a batch of commands can touch, as keys: what the store has to read, insert and lock for it. Pure.

The idea: it is found in two rounds. The commands name ids and codes; once those are looked up, the events are
resolved to facts, and the transition table says which accounts they reach.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from central.ledger import claims
from central.ledger.accounts import BOUNDARIES, Bin, Line, Shelf, place_of
from central.ledger.booking import Prepared
from central.ledger.books import Books
from central.ledger.commands import (
    Adjust,
    AnswerHello,
    BookBatch,
    CancelOrder,
    ClosePurchaseOrder,
    Command,
    CommitReservation,
    ExpireReservations,
    MoveTasks,
    OpenOrder,
    OpenPurchaseOrder,
    PutItem,
    PutLocation,
    PutOperator,
    RecordState,
    ReleaseReservation,
    RenewLeases,
    Reserve,
)
from central.ledger.facts import gtin14, names_of, storable, unit_id
from central.ledger.transitions import Contributions, Fact, contributions
from central.streams import previous_of
from sync.events import About, Corrected


@dataclass
class Touch:
    """Keys by table, in the order in which they are locked."""

    catalogue: bool = False
    """Something is registered: one worker at a time, for what two of them would read is not locked row by row."""
    agents: set[str] = field(default_factory=set)
    cursors: set[str] = field(default_factory=set)
    predecessors: set[str] = field(default_factory=set)
    places: set[tuple[str, int]] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    """Those of `events` that were booked when they were looked up."""
    chained: bool = False
    """Some event corrects another."""
    keys: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    gtins: set[str] = field(default_factory=set)
    gtins_of: set[str] = field(default_factory=set)
    locations: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    documents: set[str] = field(default_factory=set)
    whole_documents: set[str] = field(default_factory=set)
    """All of their lines and tasks."""
    worked_documents: set[str] = field(default_factory=set)
    """Their tasks alone."""
    lines: set[Line] = field(default_factory=set)
    shelves: set[Shelf] = field(default_factory=set)
    everywhere: set[str] = field(default_factory=set)
    """SKUs of which any site will do."""
    allocated: set[Shelf] = field(default_factory=set)
    reservations: set[str] = field(default_factory=set)
    overdue: int = 0
    """How many holds past their time to look for, whatever their SKU."""
    units: set[str] = field(default_factory=set)
    bins: set[Bin] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    leases: set[str] = field(default_factory=set)

    def line(self, line: Line) -> None:
        """A line, and the accounts that its totals decide."""
        self.lines.add(line)
        self.shelves.add(Shelf(line.site, line.sku))
        for state in ("picked", "packed"):
            self.bins.add(Bin(line.site, line.sku, place_of(line.document), state))

    def fact(self, fact: Fact, contributions: Contributions) -> None:
        """Everything that booking or reversing a fact changes."""
        for account, _ in contributions.physical:
            if account.state not in BOUNDARIES:
                self.bins.add(account.bin)
            if account.state == "stock":
                self.shelves.add(Shelf(account.site, account.sku))
        for line, _, _ in contributions.totals:
            self.line(line)
            if line.document:
                self.documents.add(line.document)
        if fact.task:
            self.tasks.add(fact.task)


def first_round(commands: Sequence[Command], prepared: Mapping[int, tuple[Prepared, ...]]) -> Touch:
    """What the commands themselves name. `prepared`: the events of each batch by its position."""
    touch = Touch()
    for position, command in enumerate(commands):
        key = getattr(command, "key", None)
        if key is not None:
            touch.keys.add(key.scope)
        if isinstance(command, BookBatch):
            _batch(touch, prepared[position])
        elif isinstance(command, AnswerHello):
            touch.agents.add(command.hello.agent)
            touch.cursors |= {listed.incarnation for listed in command.hello.incarnations}
        elif isinstance(command, RecordState):
            touch.agents.add(command.agent)
            touch.cursors.add(command.state.incarnation)
        elif isinstance(command, RenewLeases):
            touch.leases |= {one.agent for one in command.agents}
        elif isinstance(command, MoveTasks):
            touch.worked_documents |= {one.document for one in command.moves}
            touch.leases |= {name for one in command.moves for name in (one.holder, one.to) if name}
        elif isinstance(command, ExpireReservations):
            touch.overdue = max(touch.overdue, command.limit)
        elif isinstance(
            command, PutItem | PutLocation | PutOperator | OpenPurchaseOrder | ClosePurchaseOrder
        ):
            _catalogue(touch, command)
        else:
            _claim(touch, command)
    return touch


def _batch(touch: Touch, events: Iterable[Prepared]) -> None:
    for one in events:
        incarnation, number = one.event.incarnation, one.event.number
        touch.cursors.add(incarnation)
        touch.places.add((incarnation, number))
        touch.events.add(one.identity)
        previous = previous_of(one.event)
        if previous is not None:
            before = storable(previous.incarnation)
            touch.predecessors.add(before)
            touch.cursors.add(before)
        if one.malformed is not None or one.data is None or one.broken:
            continue
        data = one.data
        touch.operators |= {data.operator} if data.operator else set()
        touch.tasks |= {data.task} if data.task else set()
        if isinstance(data, Corrected):
            touch.events.add(data.corrects)
            touch.chained = True
        if isinstance(data, About):
            _about(touch, data)


def _about(touch: Touch, data: About) -> None:
    if data.document:
        touch.documents.add(data.document)
        touch.worked_documents.add(data.document)
    for name in ("from_location", "to_location", "location"):
        location = getattr(data, name, None)
        if location is not None:
            touch.locations.add(location)
    touch.items |= names_of(data)
    if data.gtin:
        touch.gtins.add(gtin14(data.gtin))
    if data.sscc:
        touch.units.add(unit_id(data.sscc))


def _catalogue(
    touch: Touch, command: PutItem | PutLocation | PutOperator | OpenPurchaseOrder | ClosePurchaseOrder
) -> None:
    touch.catalogue |= not isinstance(command, ClosePurchaseOrder)
    match command:
        case PutItem():
            touch.items.add(command.sku)
            touch.gtins_of.add(command.sku)
            touch.gtins |= {gtin14(one.gtin) for one in command.gtins}
        case PutLocation():
            touch.locations.add(command.id)
        case PutOperator():
            touch.operators.add(command.id)
        case OpenPurchaseOrder():
            touch.documents.add(command.id)
            touch.whole_documents.add(command.id)
            for line in command.lines:
                touch.items.add(line.sku)
                touch.line(Line(command.id, command.site, line.sku))
            for notice in command.notices:
                touch.units.add(unit_id(notice.sscc))
                touch.items |= {str(line["sku"]) for line in notice.lines}
        case ClosePurchaseOrder():
            touch.documents.add(command.id)
            touch.whole_documents.add(command.id)


def _claim(
    touch: Touch,
    command: Adjust | Reserve | CommitReservation | ReleaseReservation | OpenOrder | CancelOrder,
) -> None:
    match command:
        case Adjust():
            touch.items.add(command.sku)
            touch.locations.add(command.location)
            touch.shelves.add(Shelf(command.site, command.sku))
            touch.bins.add(Bin(command.site, command.sku, command.location, "stock"))
            named = claims.adjustment_id(command)
            if named:
                touch.events.add(named)
        case Reserve():
            touch.items.add(command.sku)
            if command.site is None:
                touch.everywhere.add(command.sku)
            else:
                touch.shelves.add(Shelf(command.site, command.sku))
        case CommitReservation():
            touch.reservations.add(command.id)
            touch.documents.add(command.order or command.id)
            touch.whole_documents.add(command.order or command.id)
        case ReleaseReservation():
            touch.reservations.add(command.id)
        case OpenOrder():
            touch.documents.add(command.id)
            touch.whole_documents.add(command.id)
            touch.reservations |= set(command.reservations)
            for line in command.lines:
                touch.items.add(line.sku)
                touch.line(Line(command.id, command.site, line.sku))
                touch.allocated.add(Shelf(command.site, line.sku))
        case CancelOrder():
            touch.documents.add(command.id)
            touch.whole_documents.add(command.id)


def second_round(
    touch: Touch, books: Books, commands: Sequence[Command], prepared: Mapping[int, tuple[Prepared, ...]]
) -> None:
    """What follows once codes, reservations, documents and corrected movements are looked up."""
    for one in (event.resolved for events in prepared.values() for event in events if event.resolved):
        touch.fact(one.fact, one.contributions)
        if one.fact.document:
            touch.documents.add(one.fact.document)
        for leaf in one.leaves:
            touch.units.add(leaf)
    if touch.chained or any(row for _, row in books.corrections.items()):
        for _, movement in books.movements.items():
            if movement.fact is not None:
                touch.fact(movement.fact, contributions(movement.fact))
    for command in commands:
        if isinstance(command, CommitReservation):
            row = books.reservations.get(command.id)
            if row is not None:
                touch.line(Line(command.order or command.id, row.site, row.sku))
                touch.allocated.add(Shelf(row.site, row.sku))
    for _, row in books.reservations.items():
        touch.shelves.add(Shelf(row.site, row.sku))
    for name in touch.whole_documents:
        for line, _ in books.lines_of(name):
            touch.line(line)

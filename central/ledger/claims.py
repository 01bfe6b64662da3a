"""Claims: wishes that succeed whole or are refused with a reason. They touch the promise book alone.

The idea: a claim looks at what is free above zero, after every hold whose time has passed was let go. What it
then changes (a document, a hold) the fold turns into entries, exactly as for facts.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from central.ledger import bodies, fold, tasks
from central.ledger.accounts import MOST, Line, Promise, Shelf, Totals
from central.ledger.books import CLOCK, Books, Close, Document, Movement, Open, Reservation, Task
from central.ledger.commands import (
    Adjust,
    Answer,
    CancelOrder,
    ClosePurchaseOrder,
    CommitReservation,
    Done,
    OpenOrder,
    ProblemCode,
    ReleaseReservation,
    Reserve,
)
from central.ledger.fold import Change
from central.ledger.transitions import Fact, Goods, Place, contributions
from sync.content import content_hash

LONGEST_TTL_S: Final = 30 * 24 * 3600  # a hold for longer is an order

Numbers = Mapping[str, int | None]
Finish = Callable[[Numbers], Answer]


class RefusedError(Exception):
    """A claim that the books do not allow, or that makes no sense."""

    def __init__(self, problem: ProblemCode, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.problem: ProblemCode = problem
        self.detail = detail
        self.extra = extra or None


def _done(body: dict[str, Any], *, created: bool = False) -> Finish:
    return lambda _numbers: Done(body, created)


def _book(
    books: Books, event_id: str, event: str, actor: str, change: Change, **more: Any
) -> tuple[Open | Close, ...]:
    """One movement."""
    if event_id not in books.movements:
        books.movements.load(event_id, None)
    booked = fold.book(books, change)
    books.book(
        Movement(
            event_id=event_id,
            event=event,
            content_hash=more.pop("content", ""),
            outcome=more.pop("outcome", "accepted"),
            actor=actor,
            occurred_at=bodies.rfc3339(books.now_us),
            entries=booked.entries,
            **more,
        )
    )
    for judged in booked.judged:
        books.note(judged, event_id)
    return booked.judged


def _registered(books: Books, sku: str) -> None:
    item = books.items.get(sku)
    if item is None or item.provisional:
        raise RefusedError(
            "unknown-item", f"item {sku} is not registered. PUT /v1/items/{sku} first.", sku=sku
        )


def _bounded(quantity: int, name: str = "quantity") -> None:
    if not 1 <= quantity <= MOST:
        raise RefusedError("invalid", f"{name} is {quantity}; it must be from 1 to {MOST}", field=name)


# --- holds ----------------------------------------------------------------------------------------


def expire_overdue(books: Books) -> int:
    """Let go of every loaded hold whose time has passed. The database's clock decides, nothing else."""
    overdue = [
        (row.expires_us, name)
        for name, row in books.reservations.items()
        if row.status == "active" and row.expires_us <= books.now_us
    ]
    for _, name in sorted(overdue):
        row = books.reservations[name]
        _end_hold(books, name, row, "expired", CLOCK)
    return len(overdue)


def _end_hold(books: Books, name: str, row: Reservation, status: str, actor: str) -> None:
    books.reservations.put(name, row._replace(status=status))
    change = Change(reserved={Shelf(row.site, row.sku): -row.quantity})
    _book(
        books, f"reservation:{name}:{status}", status, actor, change,
        site=row.site, sku=row.sku, quantity=row.quantity, document=row.document,
    )  # fmt: skip


def reserve(books: Books, command: Reserve) -> Finish:
    """Free → reserved, at the given site or at the one that has most of it free."""
    _bounded(command.quantity)
    if not 1 <= command.ttl_s <= LONGEST_TTL_S:
        detail = f"ttl_s is {command.ttl_s}; it must be from 1 to {LONGEST_TTL_S}"
        raise RefusedError("invalid", detail, field="ttl_s")
    _registered(books, command.sku)
    frees = [
        (-promise.free, shelf.site)
        for shelf, promise in books.promises.items()
        if shelf.sku == command.sku and command.site in (None, shelf.site)
    ]
    most, site = min(frees, default=(0, command.site))
    if site is None or -most < command.quantity:
        where = command.site or "any one site"
        raise RefusedError(
            "insufficient-stock",
            f"{max(0, -most)} of {command.sku} can be promised at {where}, {command.quantity} were asked for",
            sku=command.sku, available=max(0, -most), requested=command.quantity,
        )  # fmt: skip
    name = books.new_id()
    row = Reservation(
        command.sku, site, command.quantity, command.channel, "active", books.now_us,
        books.now_us + command.ttl_s * 1_000_000,
    )  # fmt: skip
    books.reservations.load(name, None)
    books.reservations.put(name, row)
    change = Change(reserved={Shelf(site, command.sku): command.quantity})
    _book(
        books, f"reservation:{name}:reserved", "reserved", command.actor, change,
        site=site, sku=command.sku, quantity=command.quantity,
    )  # fmt: skip
    return _done(bodies.reservation(name, row, books.now_us), created=True)


def _active(books: Books, name: str) -> Reservation:
    row = books.reservations.get(name)
    if row is None:
        raise RefusedError("unknown-reservation", f"there is no reservation {name}", reservation=name)
    if row.status == "expired":
        late = bodies.rfc3339(row.expires_us)
        raise RefusedError(
            "expired", f"reservation {name} expired at {late}; make a new one", reservation=name
        )
    if row.status != "active":
        raise RefusedError("not-active", f"reservation {name} is {row.status}", reservation=name)
    return row


def release(books: Books, command: ReleaseReservation) -> Finish:
    """Reserved → free. Releasing again changes nothing."""
    row = books.reservations.get(command.id)
    if row is None or row.status != "released":
        row = _active(books, command.id)
        _end_hold(books, command.id, row, "released", command.actor)
    return _done(bodies.reservation(command.id, books.reservations[command.id], books.now_us))


def commit(books: Books, command: CommitReservation) -> Finish:
    """Reserved → committed: a line of an open order, or of a new one."""
    name = command.order or command.id
    row = books.reservations.get(command.id)
    if row is not None and row.status == "committed" and row.document == name:
        return _done(bodies.reservation(command.id, row, books.now_us))
    row = _active(books, command.id)
    order = books.documents.get(name)
    if order is None or order.type == "provisional":
        new = Document("order", row.site, "open", channel=row.channel, created_us=books.now_us)
    elif order.type != "order" or order.status != "open":
        raise RefusedError("not-active", f"{name} is no open order", order=name)
    elif order.site != row.site:
        detail = f"reservation {command.id} holds stock at {row.site}, order {name} is at {order.site}"
        raise RefusedError("invalid", detail, order=name)
    else:
        new = order
    _commit_lines(books, command.actor, name, new, ordered={row.sku: row.quantity}, holds=[command.id])
    return _done(bodies.reservation(command.id, books.reservations[command.id], books.now_us))


# --- orders ---------------------------------------------------------------------------------------


def open_order(books: Books, command: OpenOrder) -> Finish:
    """Free or reserved → committed: all lines or none."""
    ordered: Counter[str] = Counter()
    for line in command.lines:
        _bounded(line.quantity)
        ordered[line.sku] += line.quantity
    if not ordered:
        raise RefusedError("invalid", f"order {command.id} has no lines", field="lines")
    old = books.documents.get(command.id)
    if old is not None and old.type != "provisional":
        return _same_order(books, command, old, ordered)
    for sku in sorted(ordered):
        _bounded(ordered[sku])
        _registered(books, sku)
    for name in command.reservations:
        row = _active(books, name)
        if row.site != command.site or row.sku not in ordered:
            detail = (
                f"reservation {name} holds {row.sku} at {row.site}, which order {command.id} does not ask for"
            )
            raise RefusedError("invalid", detail, reservation=name)
    new = Document("order", command.site, "open", channel=command.channel, created_us=books.now_us)
    _commit_lines(
        books,
        command.actor,
        command.id,
        new,
        ordered=ordered,
        holds=list(dict.fromkeys(command.reservations)),
    )
    return _done(bodies.order(command.id, new, books.lines_of(command.id)), created=True)


def _same_order(books: Books, command: OpenOrder, old: Document, ordered: Counter[str]) -> Finish:
    """An id names one order: the same content is the same order, other content is refused."""
    lines = books.lines_of(command.id)
    content = {line.sku: totals.ordered for line, totals in lines if totals.ordered}
    if (old.type, old.site, old.channel) == ("order", command.site, command.channel) and content == ordered:
        return _done(bodies.order(command.id, old, lines))
    kind = old.type.replace("_", " ")
    raise RefusedError("already-exists", f"there is a {kind} {command.id} with other content", id=command.id)


def _commit_lines(
    books: Books, actor: str, name: str, new: Document, *, ordered: Mapping[str, int], holds: list[str]
) -> None:
    """Commit every line, or refuse them all when one has too little free. The holds end with it."""
    old = books.documents.get(name)
    covered: Counter[str] = Counter()
    for hold in holds:
        row = books.reservations[hold]
        covered[row.sku] += row.quantity
        books.reservations.put(hold, row._replace(status="committed", document=name))
    needed: dict[str, int] = {}
    for sku, quantity in sorted(ordered.items()):
        line = Line(name, new.site, sku)
        totals = books.lines.get(line) or Totals()
        more = totals._replace(ordered=totals.ordered + quantity)
        needed[sku] = fold.committed_by(new, line, more) - fold.committed_by(old, line, totals)
        free = (books.promises.get(Shelf(new.site, sku)) or Promise()).free
        if needed[sku] - covered[sku] > max(0, free):
            can = max(0, free) + covered[sku]
            raise RefusedError(
                "insufficient-stock",
                f"{can} of {sku} can be promised at {new.site}, order {name} needs {needed[sku]}",
                sku=sku, available=can, requested=needed[sku],
            )  # fmt: skip
    documents = {name: new}
    for sku, quantity in sorted(ordered.items()):
        shelf = Shelf(new.site, sku)
        change = Change(
            ordered={Line(name, new.site, sku): quantity},
            reserved={shelf: -covered[sku]},
            documents=documents,
        )
        documents = {}  # said once: a change of the document looks at all of its lines
        _book(
            books, books.new_id(), "committed", actor, change,
            site=new.site, sku=sku, quantity=quantity, document=name,
        )  # fmt: skip
        _allocate(books, name, shelf, needed[sku])
    if old is not None and old.type == "provisional":
        books.note(Close("unknown_document", name), None)


def _allocate(books: Books, document: str, shelf: Shelf, quantity: int) -> None:
    """Send pickers to the bins that have it."""
    shelved = books.shelved.get(shelf) or ()
    taken: Counter[str] = Counter()
    for pick in tasks.allocate(quantity, shelved):
        name = books.new_id()
        taken[pick.location] += pick.quantity
        books.tasks.load(name, None)
        row = Task(
            "pick", shelf.site, document, shelf.sku, pick.quantity, pick.location, changed_us=books.now_us
        )
        books.tasks.put(name, row)
    # The next order of this transaction finds them taken. Several lots of a place share what is promised of it.
    books.shelved.put(
        shelf, tuple(one._replace(promised=one.promised + taken[one.location]) for one in shelved)
    )


def cancel_order(books: Books, command: CancelOrder) -> Finish:
    """What is left of the commitment → free, and its open tasks are called back. Again changes nothing."""
    row = _document(books, command.id, "order")
    if row.status == "open":
        new = row._replace(status="cancelled")
        _book(
            books, f"order:{command.id}:cancelled", "cancelled", command.actor,
            Change(documents={command.id: new}), site=row.site, document=command.id,
        )  # fmt: skip
        for name, task in list(books.tasks.of(command.id)):
            if task.status == "open":
                books.tasks.put(name, task._replace(status="cancelled", changed_us=books.now_us))
    elif row.status != "cancelled":
        raise RefusedError("not-active", f"order {command.id} is {row.status}", id=command.id)
    return _done(bodies.order(command.id, books.documents[command.id], books.lines_of(command.id)))


def close_purchase_order(books: Books, command: ClosePurchaseOrder) -> Finish:
    """Nothing more is expected. Again changes nothing."""
    row = _document(books, command.id, "purchase_order")
    if row.status == "open":
        books.documents.put(command.id, row._replace(status="closed"))
    lines = books.lines_of(command.id)
    return _done(bodies.purchase_order(command.id, books.documents[command.id], lines))


def _document(books: Books, name: str, kind: str) -> Document:
    row = books.documents.get(name)
    if row is None or row.type != kind:
        raise RefusedError("unknown-document", f"there is no {kind.replace('_', ' ')} {name}", id=name)
    return row


# --- adjustments ----------------------------------------------------------------------------------


def adjustment_id(command: Adjust) -> str | None:
    """The id under which an adjustment that names itself is booked once, for ever."""
    return None if command.id is None else f"adjustment:{command.id}"


def adjust(books: Books, command: Adjust) -> Finish:
    """Stock ↔ adjustment. A fact that a person states: it is booked even when it takes a bin below zero."""
    _registered(books, command.sku)
    place = books.locations.get(command.location)
    if place is None or place.provisional or place.site != command.site:
        detail = f"location {command.location} is not registered at {command.site}"
        raise RefusedError("unknown-location", detail, location=command.location)
    _bounded(abs(command.delta), "delta")
    if not command.reason:
        raise RefusedError("invalid", "an adjustment needs a reason", field="reason")
    fields = ("sku", "site", "location", "delta", "reason", "lot")
    body = {name: getattr(command, name) for name in fields}
    content = content_hash(type="adjusted", time="", data=body)
    named = adjustment_id(command)
    event_id = named or f"adjustment:{books.new_id()}"
    body = {"id": event_id.partition(":")[2], **body}
    booked = books.movements.get(event_id) if named else None
    if booked is None:
        fact = Fact(
            "adjusted", command.site, (Goods(command.sku, command.lot, command.delta),),
            at=Place(command.site, command.location),
        )  # fmt: skip
        change = Change()
        change.add(contributions(fact), +1)
        _book(
            books, event_id, "adjusted", command.actor, change, content=content, reason=command.reason,
            site=command.site, sku=command.sku, quantity=command.delta, fact=fact,
        )  # fmt: skip
    elif booked.content_hash != content:
        detail = f"adjustment {command.id} was booked with other content"
        raise RefusedError("already-exists", detail, id=command.id)

    def finish(numbers: Numbers) -> Answer:
        row = books.movements[event_id]
        return Done({**body, "movement": numbers.get(event_id, row.number)}, created=booked is None)

    return finish

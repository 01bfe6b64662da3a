"""The fold: contributions in, entries and balances out. Both books in one movement, each adding up to zero.

The idea: a movement books the difference between what the totals say before and after. Nothing here looks at
which event it is; the transition table has said that already.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from central.ledger.accounts import (
    BOUNDARIES,
    MOST,
    Account,
    Bin,
    Entry,
    Line,
    Promise,
    Shelf,
    Totals,
    commitment,
    document_accounts,
    key_of,
)
from central.ledger.books import Books, Close, Document, Open
from central.ledger.transitions import Contribution, Physical, Total

COMMITTING = ("order", "transfer")


class Unbookable(Exception):
    """This cannot be written down: a quantity or a balance is beyond what any site holds."""


@dataclass
class Change:
    """What one movement does, before it is split into entries."""

    contributions: list[tuple[Contribution, int]] = field(default_factory=list)
    """Each with its sign: −1 takes back what a fact had added."""
    ordered: Counter[Line] = field(default_factory=Counter)
    reserved: Counter[Shelf] = field(default_factory=Counter)
    documents: dict[str, Document] = field(default_factory=dict)

    def add(self, contributions: Iterable[Contribution], sign: int) -> None:
        """Add what a fact contributes, or take it back."""
        self.contributions += [(contribution, sign) for contribution in contributions]


@dataclass(frozen=True, slots=True)
class Booked:
    """What a change did: its entries, and what no longer adds up, or does again."""

    entries: tuple[Entry, ...]
    judged: tuple[Open | Close, ...]


def book(books: Books, change: Change) -> Booked:
    """Carry out one change.

    Raises:
        Unbookable: a number would grow beyond bounds. The books are then half changed: roll back.
    """
    judged: list[Open | Close] = []
    physical: Counter[Account] = Counter()
    totals: dict[Line, Counter[str]] = {line: Counter() for line in change.ordered}
    for contribution, sign in change.contributions:
        match contribution:
            case Physical(account, delta):
                physical[account] += sign * delta
            case Total(line, column, delta):
                totals.setdefault(line, Counter())[column] += sign * delta
            case done:
                judged += _advance(books, done.task, sign * done.delta)
    for line, ordered in change.ordered.items():
        totals[line]["ordered"] += ordered
    committed = _book_lines(books, change, totals, physical, judged)
    entries = _book_physical(books, physical, judged)
    entries += _book_promises(books, physical, committed, change.reserved, judged)
    return Booked(tuple(entries), tuple(judged))


def _advance(books: Books, name: str, delta: int) -> list[Open | Close]:
    """Count what was done for a task; a task that nobody knows has nothing to count. What two agents did for the same
    one is told as more than it asks for.
    """
    task = books.tasks.get(name)
    if task is None or delta == 0:
        return []
    done = task.done + delta
    status = task.status
    if status != "cancelled":
        status = "done" if done >= task.quantity else "open"
    books.tasks.put(name, replace(task, done=done, status=status, changed_us=books.now_us))
    was, now = max(0, task.done - task.quantity), max(0, done - task.quantity)
    if now > was:
        place = task.from_location or "any bin"
        asked = f"{task.quantity} of {task.sku} were to be picked from {place} for {task.document}"
        detail = f"{asked}, {done} were: look whether it was picked twice"
        return [
            Open("task_overdone", name, detail, task.sku, task.site, task.from_location or None,
                 task.quantity, done)
        ]  # fmt: skip
    return [Close("task_overdone", name)] if was > 0 and now == 0 else []


def committed_by(document: Document | None, line: Line, totals: Totals) -> int:
    """What a document binds of one of its lines."""
    binds = document is not None and document.type in COMMITTING and document.status == "open"
    return commitment(totals, open_here=binds and document is not None and document.site == line.site)


def _book_lines(
    books: Books,
    change: Change,
    totals: dict[Line, Counter[str]],
    physical: Counter[Account],
    judged: list[Open | Close],
) -> Counter[Shelf]:
    """Bring documents and their lines up to date; returns what that changes in commitments."""
    committed: Counter[Shelf] = Counter()
    touched = set(totals)
    for name in change.documents:
        touched |= {line for line, _ in books.lines_of(name)}
    old_documents = {name: books.documents.get(name) for name in {line.document for line in touched} if name}
    for name, document in change.documents.items():
        books.documents.put(name, document)
    for line in sorted(touched):
        before = books.lines.get(line) or Totals()
        deltas = totals.get(line, Counter())
        after = Totals(
            *(value + deltas[column] for column, value in zip(Totals._fields, before, strict=True))
        )
        _check(max(map(abs, after)), line)
        books.lines.put(line, after)
        for account, quantity in document_accounts(line, after).items():
            physical[account] += quantity
        for account, quantity in document_accounts(line, before).items():
            physical[account] -= quantity
        old = old_documents.get(line.document)
        new = books.documents.get(line.document) if line.document else None
        shelf = Shelf(line.site, line.sku)
        committed[shelf] += committed_by(new, line, after)
        committed[shelf] -= committed_by(old, line, before)
        judged += _judge_receipt(line, old, before, new, after)
        judged += _judge_picks(line, old, before, new, after)
    return committed


def _judge_receipt(
    line: Line, old: Document | None, before: Totals, new: Document | None, after: Totals
) -> list[Open | Close]:
    """More came in than the document expects."""

    def over(document: Document | None, totals: Totals) -> int:
        expects = document is not None and document.type == "purchase_order"
        return max(0, totals.received - totals.ordered) if expects else 0

    was, now = over(old, before), over(new, after)
    if now > was:
        detail = f"{line.document} expects {after.ordered} of {line.sku}, {after.received} were received"
        return [
            Open("over_received", key_of(*line), detail, line.sku, line.site, None, after.ordered, after.received)
        ]  # fmt: skip
    return [Close("over_received", key_of(*line))] if was > 0 and now == 0 else []


def _judge_picks(
    line: Line, old: Document | None, before: Totals, new: Document | None, after: Totals
) -> list[Open | Close]:
    """More was picked than the document asks for."""

    def over(document: Document | None, totals: Totals) -> int:
        asks = document is not None and document.type in COMMITTING
        return max(0, totals.picked - totals.ordered) if asks else 0

    was, now = over(old, before), over(new, after)
    if now > was:
        detail = f"{line.document} asks for {after.ordered} of {line.sku}, {after.picked} were picked"
        return [
            Open("over_picked", key_of(*line), detail, line.sku, line.site, None, after.ordered, after.picked)
        ]  # fmt: skip
    return [Close("over_picked", key_of(*line))] if was > 0 and now == 0 else []


def _book_physical(books: Books, physical: Counter[Account], judged: list[Open | Close]) -> list[Entry]:
    entries: list[Entry] = []
    before: dict[Bin, int] = {}
    for account, delta in sorted(physical.items()):
        if delta == 0:
            continue
        entries.append(
            Entry("physical", account.site, account.sku, account.location, account.lot, account.state, delta)
        )
        if account.state in BOUNDARIES:
            _check(delta, account)
            continue
        lots = books.bins.get(account.bin) or {}
        before.setdefault(account.bin, sum(lots.values()))
        quantity = lots.get(account.lot, 0) + delta
        _check(quantity, account)
        books.bins.put(account.bin, {**lots, account.lot: quantity})
    assert sum(entry.delta for entry in entries) == 0, f"the physical book does not add up: {entries}"
    for place, was in before.items():
        site, sku, location, state = place
        now = sum((books.bins.get(place) or {}).values())
        if now < min(was, 0):
            detail = f"{state} of {sku} at {location} is {-now} below zero"
            key = key_of(site, location, sku, state)
            judged.append(Open("owed", key, detail, sku, site, location, 0, now))
        elif was < 0 <= now:
            judged.append(Close("owed", key_of(site, location, sku, state)))
    return entries


def _book_promises(
    books: Books,
    physical: Counter[Account],
    committed: Counter[Shelf],
    reserved: Counter[Shelf],
    judged: list[Open | Close],
) -> list[Entry]:
    """`free` always takes Δstock − Δreserved − Δcommitted, so the three together stay the stock."""
    stock: Counter[Shelf] = Counter()
    for account, delta in physical.items():
        if account.state == "stock":
            stock[Shelf(account.site, account.sku)] += delta
    entries: list[Entry] = []
    for shelf in sorted({*stock, *committed, *reserved}):
        free = stock[shelf] - reserved[shelf] - committed[shelf]
        deltas = {"free": free, "reserved": reserved[shelf], "committed": committed[shelf]}
        assert sum(deltas.values()) == stock[shelf], f"promises and stock of {shelf} part: {deltas}"
        deltas["outside"] = -stock[shelf]
        if not any(deltas.values()):
            continue
        entries += [
            Entry("promise", shelf.site, shelf.sku, "", "", account, delta)
            for account, delta in deltas.items()
            if delta
        ]
        was = books.promises.get(shelf) or Promise()
        now = Promise(was.free + free, was.reserved + reserved[shelf], was.committed + committed[shelf])
        _check(max(map(abs, now)), shelf)
        assert now.reserved >= 0 and now.committed >= 0, f"a promise of {shelf} is below zero: {now}"
        books.promises.put(shelf, now)
        if now.free < min(was.free, 0):
            detail = f"{-now.free} of {shelf.sku} at {shelf.site} were promised and are gone"
            key = key_of(*shelf)
            judged.append(Open("overpromised", key, detail, shelf.sku, shelf.site, None, 0, now.free))
        elif was.free < 0 <= now.free:
            judged.append(Close("overpromised", key_of(*shelf)))
    return entries


def _check(quantity: int, where: Account | Line | Shelf) -> None:
    if abs(quantity) > MOST:
        what = f"{quantity} of {where.sku} at {where.site}"
        raise Unbookable(f"{what} is more than the {MOST} that can be counted")

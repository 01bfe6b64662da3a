"""The fold: contributions in, entries and balances out. Both books in one movement, each adding up to zero.

The idea: a movement books the difference between what the totals say before and after. Nothing here looks at
which event it is; the transition table has said that already.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Final

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
from central.ledger.transitions import Contributions

COMMITTING: Final = ("order", "transfer")

_NOTHING: Final = Totals()
_COLUMNS: Final = {name: place for place, name in enumerate(Totals._fields)}
_PICKED: Final = _COLUMNS["picked"]
"""From this column on the totals say where goods are."""
_MOST: Final = (
    ("over_received", ("purchase_order",), _COLUMNS["received"], "expects", "received"),
    ("over_picked", COMMITTING, _PICKED, "asks for", "picked"),
)
"""What a line may not exceed: the discrepancy, the types of documents, the total, and its words."""


class Unbookable(Exception):
    """This cannot be written down: a quantity or a balance is beyond what any site holds."""


@dataclass
class Change:
    """What one movement does, before it is split into entries."""

    ordered: Mapping[Line, int] = field(default_factory=dict)
    reserved: Mapping[Shelf, int] = field(default_factory=dict)
    documents: Mapping[str, Document] = field(default_factory=dict)
    physical: dict[Account, int] = field(default_factory=dict)
    totals: dict[Line, list[int]] = field(default_factory=dict)
    """What is added to each column of `Totals`."""
    done: dict[str, int] = field(default_factory=dict)

    def add(self, contributions: Contributions, sign: int) -> None:
        """Add what a fact contributes (+1), or take it back (−1)."""
        for account, delta in contributions.physical:
            self.physical[account] = self.physical.get(account, 0) + sign * delta
        for line, column, delta in contributions.totals:
            self.total(line, column, sign * delta)
        for task, delta in contributions.done:
            self.done[task] = self.done.get(task, 0) + sign * delta

    def total(self, line: Line, column: str, delta: int) -> None:
        """Add to one total of a line."""
        totals = self.totals.setdefault(line, [0] * len(Totals._fields))
        totals[_COLUMNS[column]] += delta


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
    for task, delta in change.done.items():
        judged += _advance(books, task, delta)
    for line, ordered in change.ordered.items():
        change.total(line, "ordered", ordered)
    committed = _book_lines(books, change, judged) if change.totals or change.documents else {}
    entries = _book_physical(books, change.physical, judged)
    entries += _book_promises(books, change.physical, committed, change.reserved, judged)
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
    books.tasks.put(name, task._replace(done=done, status=status, changed_us=books.now_us))
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


def _book_lines(books: Books, change: Change, judged: list[Open | Close]) -> dict[Shelf, int]:
    """Bring documents and their lines up to date; returns what that changes in commitments."""
    committed: dict[Shelf, int] = {}
    touched = set(change.totals)
    for name in change.documents:
        touched |= {line for line, _ in books.lines_of(name)}
    old_documents = {name: books.documents.get(name) for name in {line.document for line in touched} if name}
    for name, document in change.documents.items():
        books.documents.put(name, document)
    physical = change.physical
    for line in sorted(touched):
        before = books.lines.get(line) or _NOTHING
        after = Totals(*map(add, before, change.totals.get(line, _NOTHING)))
        _check(max(map(abs, after)), line)
        books.lines.put(line, after)
        if before[_PICKED:] != after[_PICKED:]:
            for account, quantity in document_accounts(line, after).items():
                physical[account] = physical.get(account, 0) + quantity
            for account, quantity in document_accounts(line, before).items():
                physical[account] = physical.get(account, 0) - quantity
        if not line.document:
            continue  # for none: nothing was ordered
        old, new = old_documents[line.document], books.documents.get(line.document)
        bound = committed_by(new, line, after) - committed_by(old, line, before)
        if bound:
            shelf = Shelf(line.site, line.sku)
            committed[shelf] = committed.get(shelf, 0) + bound
        judged += _judge_line(line, old, before, new, after)
    return committed


def _judge_line(
    line: Line, old: Document | None, before: Totals, new: Document | None, after: Totals
) -> Iterator[Open | Close]:
    """More came in than the document expects, or more was picked than it asks for."""
    for kind, types, column, asks, done in _MOST:
        was = max(0, before[column] - before.ordered) if old is not None and old.type in types else 0
        now = max(0, after[column] - after.ordered) if new is not None and new.type in types else 0
        if now > was:
            detail = f"{line.document} {asks} {after.ordered} of {line.sku}, {after[column]} were {done}"
            key = key_of(*line)
            yield Open(kind, key, detail, line.sku, line.site, None, after.ordered, after[column])
        elif was > 0 and now == 0:
            yield Close(kind, key_of(*line))


def _book_physical(books: Books, physical: Mapping[Account, int], judged: list[Open | Close]) -> list[Entry]:
    entries: list[Entry] = []
    before: dict[Bin, int] = {}
    for account, delta in sorted(physical.items()):
        if delta == 0:
            continue
        site, sku, location, state, lot = account
        entries.append(Entry("physical", site, sku, location, lot, state, delta))
        if state in BOUNDARIES:
            _check(delta, account)
            continue
        place = Bin(site, sku, location, state)
        lots = books.bins.get(place) or {}
        before.setdefault(place, sum(lots.values()))
        quantity = lots.get(lot, 0) + delta
        _check(quantity, account)
        books.bins.put(place, {**lots, lot: quantity})
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
    physical: Mapping[Account, int],
    committed: Mapping[Shelf, int],
    reserved: Mapping[Shelf, int],
    judged: list[Open | Close],
) -> list[Entry]:
    """`free` always takes Δstock − Δreserved − Δcommitted, so the three together stay the stock."""
    stock: dict[Shelf, int] = {}
    for (site, sku, _, state, _), delta in physical.items():
        if state == "stock":
            shelf = Shelf(site, sku)
            stock[shelf] = stock.get(shelf, 0) + delta
    entries: list[Entry] = []
    for shelf in sorted({*stock, *committed, *reserved}):
        more, bound, held = stock.get(shelf, 0), committed.get(shelf, 0), reserved.get(shelf, 0)
        free = more - held - bound
        for account, delta in (("free", free), ("reserved", held), ("committed", bound), ("outside", -more)):
            if delta:
                entries.append(Entry("promise", shelf.site, shelf.sku, "", "", account, delta))
        row = books.promises.get(shelf)
        if row is not None and not (free or held or bound):
            continue  # a row that is missing is made all the same: from then on its bins are locked with it
        was = row or Promise()
        now = Promise(was.free + free, was.reserved + held, was.committed + bound)
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

"""One transaction for many commands: lock what they touch, fold them over it in memory, write the difference.

The idea: this is the one way in. A hot SKU takes many claims per commit because the commands that wait are
combined; each is decided alone, and one that fails is set aside alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from central import database
from central.ledger import booking, catalogue, claims, facts, fold, leases, touch
from central.ledger.booking import Prepared
from central.ledger.books import Books
from central.ledger.claims import RefusedError
from central.ledger.commands import (
    Adjust,
    AnswerHello,
    BookBatch,
    CancelOrder,
    ClosePurchaseOrder,
    Command,
    CommitReservation,
    Done,
    ExpireReservations,
    MoveTasks,
    OpenOrder,
    OpenPurchaseOrder,
    PutItem,
    PutLocation,
    PutOperator,
    RecordState,
    Refused,
    ReleaseReservation,
    RenewLeases,
    Reserve,
    Result,
)
from central.ledger.scribe import Scribe, Written
from central.ledger.store import Store

Finish = Callable[[Mapping[str, int | None]], Any]
MOST_NAME = 200  # characters of anything that has a name
MOST_NAME_BYTES = 500  # in UTF-8: PostgreSQL indexes 2,704 bytes, and the key of a balance holds four names


@dataclass(frozen=True, slots=True)
class Failed:
    """A command that raised: nothing of it was booked. Its neighbours were."""

    error: Exception


HANDLERS: dict[type[Any], Callable[[Books, Any], Finish]] = {
    Adjust: claims.adjust,
    Reserve: claims.reserve,
    CommitReservation: claims.commit,
    ReleaseReservation: claims.release,
    OpenOrder: claims.open_order,
    CancelOrder: claims.cancel_order,
    ClosePurchaseOrder: claims.close_purchase_order,
    PutItem: catalogue.put_item,
    PutLocation: catalogue.put_location,
    PutOperator: catalogue.put_operator,
    OpenPurchaseOrder: catalogue.open_purchase_order,
    AnswerHello: booking.answer_hello,
    RecordState: booking.record_state,
    RenewLeases: leases.renew,
    MoveTasks: leases.move,
}

REFERENCE = (PutItem, PutLocation, PutOperator, OpenPurchaseOrder)
"""These change what events resolve to, so they are not combined with others."""


def may_join(one: Command, other: Command) -> bool:
    """Whether two commands may share a transaction."""
    return isinstance(one, REFERENCE) == isinstance(other, REFERENCE)


def weight(command: Command) -> int:
    """How much of a transaction a command fills: its events, incarnations or lines."""
    match command:
        case BookBatch(events=several) | OpenOrder(lines=several):
            return len(several)
        case RenewLeases(agents=several) | MoveTasks(moves=several):
            return len(several)
        case AnswerHello():
            return len(command.hello.incarnations)
        case OpenPurchaseOrder():
            return len(command.lines) + sum(len(notice.lines) for notice in command.notices)
    return 1


def run(
    engine: sa.Engine, commands: Sequence[Command], new_id: Callable[[], str], *, broken: bool = False
) -> tuple[list[Result | Failed], Written]:
    """Carry out the commands in one transaction, which is committed when this returns.

    `broken`: keep the events, book none of them; for an event that the database refuses.
    """
    with database.writing(engine) as connection:
        store, books = Store(connection), Books(new_id)
        prepared = {
            position: booking.prepare(command, broken=broken)
            for position, command in enumerate(commands)
            if isinstance(command, BookBatch)
        }
        touched = touch.first_round(commands, prepared)
        store.look_up(books, touched)
        prepared = {position: booking.resolve(books, events) for position, events in prepared.items()}
        touch.second_round(touched, books, commands, prepared)
        store.lock(books, touched)
        expired = claims.expire_overdue(books)
        desk = _Desk(books, prepared, expired)
        finishes = [desk.take(position, command) for position, command in enumerate(commands)]
        scribe = Scribe(store, books, touched)
        written = scribe.write()
        results = [finish(written.numbers) for finish in finishes]
        scribe.keep_answers(
            (scope, body, _stored(finish(written.numbers))) for scope, (body, finish) in desk.keyed.items()
        )
        if any(isinstance(command, ExpireReservations) for command in commands):
            scribe.forget_answers()
    return results, written


class _Desk:
    """Takes the commands of a transaction one after the other."""

    def __init__(
        self,
        books: Books,
        prepared: Mapping[int, tuple[Prepared, ...]],
        expired: int,
    ) -> None:
        self.books = books
        self.prepared = prepared
        self.expired = expired
        self.keyed: dict[str, tuple[str, Finish]] = {}

    def take(self, position: int, command: Command) -> Finish:
        """Carry out one command; the result makes its answer once movements are numbered."""
        key = getattr(command, "key", None)
        if key is None:
            return self._alone(position, command)
        stored = self.books.keys.get(key.scope)
        if stored is not None:
            answer = _restored(stored.answer)
            return _known(stored.body_hash == key.body_hash, lambda _numbers: answer)
        if key.scope in self.keyed:
            body, finish = self.keyed[key.scope]
            return _known(body == key.body_hash, finish)
        finish = self._alone(position, command)
        if not getattr(finish, "failed", False):
            self.keyed[key.scope] = (key.body_hash, finish)
        return finish

    def _alone(self, position: int, command: Command) -> Finish:
        """A command that raises leaves no trace in the books."""
        savepoint = self.books.savepoint()
        try:
            return self._decide(position, command)
        except RefusedError as refusal:
            self.books.rollback(savepoint)
            refused = Refused(refusal.problem, refusal.detail, refusal.extra)
            return lambda _numbers: refused
        except fold.Unbookable as error:
            self.books.rollback(savepoint)
            beyond = Refused("invalid", str(error))
            return lambda _numbers: beyond
        except Exception as error:  # noqa: BLE001 (whatever it is, it must not cost its neighbours; the caller gets it)
            self.books.rollback(savepoint)
            return _Failure(error)

    def _decide(self, position: int, command: Command) -> Finish:
        if isinstance(command, BookBatch):
            return booking.book_batch(self.books, command.agent, self.prepared[position])
        if isinstance(command, ExpireReservations):
            return lambda _numbers: Done({"expired": self.expired})
        check_names(command)
        return HANDLERS[type(command)](self.books, command)


class _Failure:
    """A finish whose answer is not kept: the same key may be tried again."""

    failed = True

    def __init__(self, error: Exception) -> None:
        self.answer = Failed(error)

    def __call__(self, _numbers: Mapping[str, int | None]) -> Failed:
        return self.answer


def _known(same: bool, finish: Finish) -> Finish:
    if same:
        return lambda numbers: replace(finish(numbers), replayed=True)
    refused = Refused(
        "idempotency-mismatch",
        "this Idempotency-Key was used with another body; use a new key for a new request",
    )
    return lambda _numbers: refused


def check_names(command: Any) -> None:
    """Names that no screen, topic or database takes are refused before anything is done with them."""
    for name in command.__dataclass_fields__:
        if name in ("key", "hello", "state", "agents"):
            continue  # what agents say of themselves is kept, not refused
        for text in _texts(getattr(command, name)):
            if not text.isprintable() or len(text) > MOST_NAME or len(text.encode()) > MOST_NAME_BYTES:
                most = f"at most {MOST_NAME} printable characters and {MOST_NAME_BYTES} bytes"
                raise RefusedError("invalid", f"{name} {facts.printable(text)[:80]!r}: {most}", field=name)
    for name in ("id", "sku", "site", "location"):
        if getattr(command, name, None) == "":
            raise RefusedError("invalid", f"{name} is empty", field=name)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in _texts(one)]
    if isinstance(value, tuple | list):
        return [text for one in value for text in _texts(one)]
    fields = getattr(value, "__struct_fields__", None) or getattr(value, "__dataclass_fields__", None) or ()
    return [text for name in fields for text in _texts(getattr(value, name))]


def _stored(answer: Any) -> str:
    """An answer as it is kept under its key."""
    if isinstance(answer, Done):
        return json.dumps({"done": answer.body, "created": answer.created})
    assert isinstance(answer, Refused), f"{answer} cannot be kept"
    return json.dumps({"refused": answer.problem, "detail": answer.detail, "extra": answer.extra})


def _restored(text: str) -> Done | Refused:
    kept = json.loads(text)
    if "done" in kept:
        return Done(kept["done"], kept["created"])
    return Refused(kept["refused"], kept["detail"], kept["extra"])

"""The pure core of the ledger: what facts do to the books, in whatever order they arrive."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from central.ledger import corrections, fold, tasks
from central.ledger.accounts import MOST, Account, Line, Promise, Shelf, Totals, commitment, document_accounts
from central.ledger.books import Close, Open, Shelved
from central.ledger.claims import RefusedError
from central.ledger.commands import CancelOrder, OpenOrder, OpenPurchaseOrder
from central.ledger.tasks import Pick
from central.ledger.transitions import NOT_BOOKED, OF_DOCUMENTS, TABLE, Contributions
from sync.events import TYPES, event_name
from sync.messages import DocumentLine
from tests.support.ledger import Stream
from tests.support.memory import Memory


def memory() -> Memory:
    return Memory().know(items=("SKU-1", "SKU-2"), locations=("DOCK", "A-01", "A-02"))


def line(sku: str, quantity: int) -> DocumentLine:
    return DocumentLine(sku=sku, quantity=quantity)


def order(name: str, *lines: DocumentLine) -> OpenOrder:
    return OpenOrder("test", name, "lej1", "shop", lines)


def purchase_order(name: str, *lines: DocumentLine) -> OpenPurchaseOrder:
    return OpenPurchaseOrder("test", name, "lej1", "ACME", lines)


# --- the table ------------------------------------------------------------------------------------


def test_every_event_of_the_contract_has_a_row_or_says_that_it_has_none() -> None:
    names = {event_name(type_) for type_ in TYPES} - {"void"}
    assert names == set(TABLE) - {"adjusted"} | NOT_BOOKED
    assert not NOT_BOOKED & set(TABLE)


@pytest.mark.parametrize("row", [*TABLE.values(), *OF_DOCUMENTS.values()])
def test_every_row_adds_up_to_zero(row: Any) -> None:
    """What leaves an account arrives at another, or in a document's total that stands for one."""
    into_documents = {"picked": 1}
    physical = sum(post.sign for post in row.posts)
    assert physical + sum(sign * into_documents.get(column, 0) for column, sign in row.totals) == 0


CASES: list[tuple[str, dict[str, Any], dict[tuple[str, str], int], tuple[int, int, int]]] = [
    # event, data, what it adds to (location, state), what is (free, reserved, committed) then
    ("received", {"to_location": "DOCK"}, {("DOCK", "stock"): 4}, (14, 0, 5)),
    (
        "put_away",
        {"from_location": "A-01", "to_location": "A-02"},
        {("A-01", "stock"): -4, ("A-02", "stock"): 4},
        (10, 0, 5),
    ),
    (
        "moved",
        {"from_location": "A-01", "to_location": "A-02", "state": "damaged"},
        {("A-01", "damaged"): -4, ("A-02", "damaged"): 4},
        (10, 0, 5),
    ),
    (
        "picked",
        {"from_location": "A-01", "document": "O-1"},
        {("A-01", "stock"): -4, ("@O-1", "picked"): 4},
        (10, 0, 1),
    ),
    ("picked", {"from_location": "A-01"}, {("A-01", "stock"): -4, ("@", "picked"): 4}, (6, 0, 5)),
    (
        "unpicked",
        {"to_location": "A-01", "document": "O-1"},
        {("A-01", "stock"): 4, ("@O-1", "picked"): -4},
        (14, 0, 5),
    ),
    ("pick_short", {"from_location": "A-01", "reason": "gone"}, {("A-01", "stock"): -4}, (6, 0, 5)),
    ("packed", {"document": "O-1"}, {("@O-1", "packed"): 4, ("@O-1", "picked"): -4}, (10, 0, 5)),
    ("shipped", {"document": "O-1"}, {("@O-1", "picked"): -4}, (10, 0, 5)),
    ("ship_voided", {"document": "O-1"}, {("@O-1", "packed"): 4}, (10, 0, 5)),
    ("returned", {"to_location": "DOCK"}, {("DOCK", "returned"): 4}, (10, 0, 5)),
    (
        "return_accepted",
        {"to_location": "DOCK"},
        {("DOCK", "returned"): -4, ("DOCK", "stock"): 4},
        (14, 0, 5),
    ),
    (
        "return_rejected",
        {"to_location": "DOCK", "reason": "torn"},
        {("DOCK", "returned"): -4, ("DOCK", "damaged"): 4},
        (10, 0, 5),
    ),
    (
        "held",
        {"location": "A-01", "reason": "wet"},
        {("A-01", "stock"): -4, ("A-01", "quarantine"): 4},
        (6, 0, 5),
    ),
    (
        "hold_released",
        {"location": "A-01", "reason": "dry"},
        {("A-01", "stock"): 4, ("A-01", "quarantine"): -4},
        (14, 0, 5),
    ),
    (
        "damaged",
        {"location": "A-01", "reason": "fell"},
        {("A-01", "stock"): -4, ("A-01", "damaged"): 4},
        (6, 0, 5),
    ),
    (
        "damaged",
        {"location": "A-01", "reason": "fell", "state": "picked", "document": "O-1"},
        {("@O-1", "picked"): -4, ("A-01", "damaged"): 4},
        (10, 0, 5),
    ),
    ("written_off", {"location": "A-01", "reason": "old"}, {("A-01", "damaged"): -4}, (10, 0, 5)),
    (
        "written_off",
        {"location": "A-01", "reason": "old", "state": "packed", "document": "O-1"},
        {("@O-1", "picked"): -4},
        (10, 0, 5),
    ),
    ("moved", {"from_location": "A-01", "to_location": "A-02", "state": "picked"}, {}, (10, 0, 5)),
    ("sighted", {"location": "A-01"}, {}, (10, 0, 5)),
]


@pytest.mark.parametrize(("event", "data", "moves", "promise"), CASES)
def test_what_an_event_does(
    event: str, data: dict[str, Any], moves: dict[tuple[str, str], int], promise: tuple[int, int, int]
) -> None:
    ledger, dock = memory(), Stream()
    ledger.do(dock.said("received", sku="SKU-1", quantity=15, to_location="A-01"))
    ledger.do(order("O-1", line("SKU-1", 5)))
    before = Counter(ledger.balances())
    ack = ledger.do(dock.said(event, sku="SKU-1", quantity=4, **data))
    assert ack.verdicts[0].outcome in ("accepted", "discrepant")
    after = Counter(ledger.balances())
    after.subtract(before)
    assert {(key[2], key[3]): delta for key, delta in after.items() if delta} == moves
    assert ledger.promises()[Shelf("lej1", "SKU-1")] == Promise(*promise)
    ledger.check()


def test_facts_that_no_row_books_are_kept_and_shown() -> None:
    ledger, dock = memory(), Stream()
    ack = ledger.do(dock.said("counted", sku="SKU-1", location="A-01", quantity=3, watermark=0))
    assert ack.verdicts[0].outcome == "discrepant"
    assert ledger.books.new_movements[-1].entries == ()
    assert [noted.change.kind for noted in ledger.books.noted] == ["not_booked"]


# --- totals ---------------------------------------------------------------------------------------


def test_a_box_that_is_shipped_before_it_was_packed_was_packed_on_the_way() -> None:
    at = Line("O-1", "lej1", "SKU-1")

    def states(**totals: int) -> list[int]:
        return list(document_accounts(at, Totals(**totals)).values())

    assert states(picked=5, packed=3) == [2, 3, 0]
    assert states(picked=5, packed=3, shipped=2) == [2, 1, 2]
    assert states(picked=5, shipped=4) == [1, 0, 4]
    assert states(picked=5, shipped=2, transferred=1) == [2, 0, 2]


def test_a_commitment_is_what_is_left_to_pick_of_an_open_order() -> None:
    assert commitment(Totals(ordered=5, picked=2), open_here=True) == 3
    assert commitment(Totals(ordered=5, picked=-2), open_here=True) == 5
    assert commitment(Totals(ordered=5, picked=9), open_here=True) == 0
    assert commitment(Totals(ordered=5, picked=2), open_here=False) == 0


def test_picks_before_the_order_is_known_count_for_it() -> None:
    ledger, dock = memory(), Stream()
    ledger.do(dock.said("received", sku="SKU-1", quantity=10, to_location="A-01"))
    ack = ledger.do(dock.said("picked", sku="SKU-1", quantity=3, from_location="A-01", document="O-1"))
    assert ack.verdicts[0].reason == "document O-1 is not registered"
    ledger.do(order("O-1", line("SKU-1", 5)))
    assert ledger.promises()[Shelf("lej1", "SKU-1")] == Promise(5, 0, 2)
    assert isinstance(ledger.books.noted[-1].change, Close)
    ledger.do(CancelOrder("test", "O-1"))
    assert ledger.promises()[Shelf("lej1", "SKU-1")] == Promise(7, 0, 0)
    ledger.check()


def test_more_than_a_purchase_order_expects_is_told() -> None:
    ledger, dock = memory(), Stream()
    ledger.do(purchase_order("PO-1", line("SKU-1", 5)))
    first = dock.said("received", sku="SKU-1", quantity=4, to_location="DOCK", document="PO-1")
    more = dock.said("received", sku="SKU-1", quantity=3, to_location="DOCK", document="PO-1")
    assert ledger.do(first).verdicts[0].outcome == "accepted"
    verdict = ledger.do(more).verdicts[0]
    assert (verdict.outcome, verdict.reason) == ("discrepant", "PO-1 expects 5 of SKU-1, 7 were received")
    ledger.do(dock.said("corrected", corrects=more.events[0].id))
    assert ledger.books.noted[-1].change == Close("over_received", "PO-1/lej1/SKU-1")


def test_what_only_moves_makes_the_row_that_its_bins_are_locked_with() -> None:
    books = memory()
    books.do(Stream().said("moved", sku="SKU-1", from_location="DOCK", to_location="A-01"))
    assert books.books.promises.get(Shelf("lej1", "SKU-1")) == Promise()


def test_places_whose_names_hold_slashes_are_judged_apart() -> None:
    ledger, dock = Memory().know(items=("B/C", "C"), locations=("A", "A/B")), Stream()
    for sku, place in (("B/C", "A"), ("C", "A/B")):
        ledger.do(dock.said("picked", sku=sku, from_location=place))
    ledger.do(dock.said("received", sku="C", to_location="A/B"))
    opened = [noted.change.key for noted in ledger.books.noted if isinstance(noted.change, Open)]
    assert len(set(opened)) == 4, "two places below zero, and two promises"
    closed = [noted.change.key for noted in ledger.books.noted if isinstance(noted.change, Close)]
    assert sorted(closed) == ["lej1/A%2FB/C/stock", "lej1/C"]
    ledger.check()


def test_an_order_of_many_lines_looks_at_each_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    skus = [f"S-{number}" for number in range(60)]
    ledger, dock, looked = Memory().know(items=skus, locations=("A-01",)), Stream(), Counter[str]()
    for sku in skus:
        ledger.do(dock.said("received", sku=sku, to_location="A-01"))
    committed_by = fold.committed_by

    def counted(document: Any, line: Line, totals: Totals) -> int:
        looked[line.sku] += 1
        return committed_by(document, line, totals)

    monkeypatch.setattr(fold, "committed_by", counted)
    ledger.do(order("O-1", *(line(sku, 1) for sku in skus)))
    assert set(looked) == set(skus)
    assert max(looked.values()) < 10
    ledger.check()


def test_below_zero_is_told_until_later_facts_bring_it_back() -> None:
    ledger, dock = memory(), Stream()
    pick = dock.said("picked", sku="SKU-1", quantity=3, from_location="A-01")
    verdict = ledger.do(pick).verdicts[0]
    assert verdict.outcome == "discrepant"
    assert (
        verdict.reason
        == "stock of SKU-1 at A-01 is 3 below zero; 3 of SKU-1 at lej1 were promised and are gone"
    )
    kinds = [(type(noted.change), noted.change.kind) for noted in ledger.books.noted]
    assert kinds == [(Open, "owed"), (Open, "overpromised")]
    assert (
        ledger.do(dock.said("received", sku="SKU-1", lot="L", to_location="A-01")).verdicts[0].outcome
        == "accepted"
    )
    assert len(ledger.books.noted) == 2, "one unit does not bring it back, and makes it no worse"
    ledger.do(dock.said("received", sku="SKU-1", quantity=2, to_location="A-01"))
    closed = [noted.change for noted in ledger.books.noted[2:]]
    assert closed == [Close("owed", "lej1/A-01/SKU-1/stock"), Close("overpromised", "lej1/SKU-1")]
    ledger.check()


def test_a_number_beyond_all_reason_is_set_aside_alone() -> None:
    ledger, dock = memory(), Stream()
    most = 10**12
    for _ in range(MOST // most):
        ledger.do(dock.said("received", sku="SKU-1", quantity=most, to_location="A-01"))
    one_too_many = dock.event("received", {"sku": "SKU-1", "quantity": 1, "to_location": "A-01"})
    neighbour = dock.event("received", {"sku": "SKU-2", "quantity": 1, "to_location": "A-01"})
    ack = ledger.do(dock.batch(one_too_many, neighbour))
    assert [verdict.outcome for verdict in ack.verdicts] == ["discrepant", "accepted"]
    assert str(ack.verdicts[0].reason).startswith("could not be booked: ")
    assert ledger.books.noted[-1].change.kind == "failed"
    ledger.check()


def test_a_line_cannot_count_more_than_is_reasonable() -> None:
    ledger = memory()
    ledger.books.lines.load(Line("O-1", "lej1", "SKU-1"), Totals(received=MOST))
    change = fold.Change()
    change.add(Contributions(totals=((Line("O-1", "lej1", "SKU-1"), "received", 1),)), +1)
    ledger.books.documents.load("O-1", None)
    with pytest.raises(fold.Unbookable):
        fold.book(ledger.books, change)


def test_what_does_not_add_up_never_reaches_the_books() -> None:
    ledger = memory()
    account = Account("lej1", "SKU-1", "A-01", "damaged", "")
    ledger.books.bins.load(account.bin, None)
    change = fold.Change()
    change.add(Contributions(physical=((account, 1),)), +1)
    with pytest.raises(AssertionError, match="does not add up"):
        fold.book(ledger.books, change)


def test_progress_of_a_task_nobody_knows_is_nothing() -> None:
    ledger = memory()
    ledger.books.tasks.load("T-1", None)
    change = fold.Change()
    change.add(Contributions(done=(("T-1", 1),)), +1)
    assert fold.book(ledger.books, change) == fold.Booked((), ())


def test_a_task_is_done_by_picks_and_reopened_by_their_correction() -> None:
    ledger, dock = memory(), Stream()
    ledger.do(dock.said("received", sku="SKU-1", quantity=10, to_location="A-01"))
    ledger.books.shelved.load(Shelf("lej1", "SKU-1"), (Shelved("A-01", 1, "", 10, 0),))
    ledger.do(order("O-1", line("SKU-1", 3)))
    ((name, task),) = ledger.books.tasks.items()
    assert (task.quantity, task.from_location, task.status) == (3, "A-01", "open")
    picks = [dock.said("picked", sku="SKU-1", from_location="A-01", document="O-1") for _ in range(3)]
    for pick in picks:
        ledger.do(pick)
    assert (ledger.books.tasks[name].done, ledger.books.tasks[name].status) == (3, "done")
    ledger.do(dock.said("corrected", corrects=picks[0].events[0].id))
    assert (ledger.books.tasks[name].done, ledger.books.tasks[name].status) == (2, "open")
    ledger.do(CancelOrder("test", "O-1"))
    ledger.do(dock.said("picked", sku="SKU-1", from_location="A-01", document="O-1", task=name))
    assert (ledger.books.tasks[name].done, ledger.books.tasks[name].status) == (3, "cancelled")


def test_more_picked_than_was_asked_for_is_told_of_the_order_and_of_its_task_until_it_is_corrected() -> None:
    ledger, dock = memory(), Stream()
    ledger.do(dock.said("received", sku="SKU-1", quantity=10, to_location="A-01"))
    ledger.books.shelved.load(Shelf("lej1", "SKU-1"), (Shelved("A-01", 1, "", 10, 0),))
    ledger.do(order("O-1", line("SKU-1", 3)))
    ((name, _),) = ledger.books.tasks.items()
    where = {"sku": "SKU-1", "from_location": "A-01", "document": "O-1", "task": name}
    ledger.do(dock.said("picked", quantity=3, **where))
    before = len(ledger.books.noted)
    twice = dock.said("picked", quantity=1, **where)
    ledger.do(twice)
    opened = {noted.change.kind: noted.change.detail for noted in ledger.books.noted[before:]}
    assert opened == {
        "over_picked": "O-1 asks for 3 of SKU-1, 4 were picked",
        "task_overdone": "3 of SKU-1 were to be picked from A-01 for O-1, 4 were: look whether it was picked twice",
    }
    ledger.do(dock.said("corrected", corrects=twice.events[0].id))
    closed = {(noted.change.kind, noted.change.key) for noted in ledger.books.noted[before + 2 :]}
    assert closed == {("over_picked", "O-1/lej1/SKU-1"), ("task_overdone", name)}
    ledger.check()


# --- allocation -----------------------------------------------------------------------------------


def test_picks_follow_the_walk_and_leave_what_others_will_take() -> None:
    shelved = (
        Shelved("B-01", 2, "", 10, 0),
        Shelved("A-02", 1, "L1", 3, 4),
        Shelved("A-02", 1, "L2", 3, 4),
        Shelved("A-01", 1, "", -5, 0),
    )
    assert tasks.allocate(9, shelved) == [Pick("A-02", 2), Pick("B-01", 7)]
    assert tasks.allocate(13, shelved) == [Pick("A-02", 2), Pick("B-01", 10), Pick("", 1)]
    assert tasks.allocate(0, shelved) == []


# --- corrections ----------------------------------------------------------------------------------


def test_a_movement_stands_while_no_standing_correction_names_it() -> None:
    named = {"a": {"b", "c"}, "b": {"d"}}
    assert not corrections.stands("a", lambda one: named.get(one, ()))
    assert not corrections.stands("b", lambda one: named.get(one, ()))
    assert corrections.stands("c", lambda one: named.get(one, ()))
    named["c"] = {"e"}
    assert corrections.stands("a", lambda one: named.get(one, ()))
    assert corrections.flips(["a", "b"], lambda _: (), lambda one: named.get(one, ())) == [("b", -1)]


def test_a_correction_of_a_correction_brings_it_back_and_a_second_waits() -> None:
    ledger, dock = memory(), Stream()
    fact = dock.said("received", sku="SKU-1", quantity=3, to_location="DOCK")
    undo = dock.said("corrected", corrects=fact.events[0].id)
    again = dock.said("corrected", corrects=fact.events[0].id)
    redo = dock.said("corrected", corrects=undo.events[0].id)
    found = []
    for batch in (fact, undo, again, redo):
        assert ledger.do(batch).verdicts[0].outcome == "accepted"
        found.append(sum(ledger.balances().values()))
    assert found == [3, 0, 0, 0]
    ledger.do(dock.said("corrected", corrects=again.events[0].id))
    assert sum(ledger.balances().values()) == 3
    ledger.check()


def test_a_correction_may_come_first() -> None:
    ledger, dock, other = memory(), Stream(), Stream("dock-3")
    fact = dock.said("received", sku="SKU-1", quantity=3, to_location="DOCK")
    verdict = ledger.do(other.said("corrected", corrects=fact.events[0].id)).verdicts[0]
    assert verdict.outcome == "discrepant"
    assert "has not arrived" in str(verdict.reason)
    assert ledger.do(fact).verdicts[0].outcome == "accepted"
    assert ledger.balances() == {}
    assert ledger.books.noted[-1].change == Close("waiting_correction", fact.events[0].id)


def test_corrections_in_a_circle_are_rejected() -> None:
    ledger, dock = memory(), Stream()
    one = dock.event("corrected", {"corrects": "two"}, id="one")
    two = dock.event("corrected", {"corrects": "one"}, id="two")
    self = dock.event("corrected", {"corrects": "self"}, id="self")
    ack = ledger.do(dock.batch(one, two, self))
    assert [verdict.outcome for verdict in ack.verdicts] == ["discrepant", "rejected", "rejected"]


# --- any order ------------------------------------------------------------------------------------

SKUS, PLACES, DOCUMENTS = ("SKU-1", "SKU-2", "SKU-X"), ("A-01", "A-02", "X-99"), ("O-1", "PO-1", "O-X")
_about = {"sku": st.sampled_from(SKUS), "quantity": st.integers(1, 6), "lot": st.sampled_from([None, "L1"])}
_places = {name: st.sampled_from(PLACES) for name in ("from_location", "to_location", "location")}
_more = {"document": st.sampled_from(DOCUMENTS), "reason": st.just("r")}
_states = {"state": st.sampled_from(["stock", "picked", "packed", "quarantine", "damaged"])}
FACTS = st.tuples(
    st.sampled_from(sorted({*TABLE} - {"adjusted", "corrected"})),
    st.fixed_dictionaries({**_about, **_places, **_more, **_states}),
)


@settings(max_examples=80, deadline=None)
@given(
    facts=st.lists(FACTS, max_size=8),
    undone=st.lists(st.integers(0, 11), max_size=5),
    data=st.data(),
)
def test_facts_in_any_order_and_any_number_end_the_same(
    facts: list[Any], undone: list[int], data: Any
) -> None:
    """Promises 2, 4 and 7: the same balances per site, location, SKU and state, and the same promise book."""
    agents = [Stream(f"agent-{number}") for number in range(len(facts) + len(undone))]
    batches = [agents[number].said(name, **said) for number, (name, said) in enumerate(facts)]
    for number, target in enumerate(undone):
        if target < len(batches):
            corrects = batches[target].events[0].id
            batches.append(agents[len(facts) + number].said("corrected", corrects=corrects))
    ends = []
    for order_of_arrival in (batches, data.draw(st.permutations(batches))):
        ledger = memory()
        ledger.do(Stream("first").said("received", sku="SKU-1", quantity=9, to_location="A-01"))
        ledger.do(order("O-1", line("SKU-1", 7)))
        ledger.do(purchase_order("PO-1", line("SKU-1", 7), line("SKU-2", 2)))
        for batch in order_of_arrival:
            ledger.do(batch)
            ledger.check()
        before = (ledger.balances(), ledger.promises(), len(ledger.books.new_movements))
        for batch in order_of_arrival:
            assert ledger.do(batch).verdicts[0].duplicate
        assert (ledger.balances(), ledger.promises(), len(ledger.books.new_movements)) == before
        ends.append(before[:2])
    assert ends[0] == ends[1]


def test_all_lines_of_an_order_are_committed_or_none() -> None:
    ledger, dock = memory(), Stream()
    ledger.do(dock.said("received", sku="SKU-1", quantity=10, to_location="A-01"))
    with pytest.raises(RefusedError, match="0 of SKU-2 can be promised"):
        ledger.do(order("O-1", line("SKU-1", 2), line("SKU-2", 1)))
    assert ledger.promises() == {Shelf("lej1", "SKU-1"): Promise(10, 0, 0)}
    with pytest.raises(RefusedError, match="10 of SKU-1 can be promised"):
        ledger.do(order("O-1", line("SKU-1", 6), line("SKU-1", 5)))
    ledger.do(order("O-1", line("SKU-1", 6), line("SKU-1", 4)))
    ledger.check()

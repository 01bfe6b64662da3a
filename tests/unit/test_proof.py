"""The demo's proof must be able to fail: whatever does not fit is named."""

from dataclasses import replace
from itertools import pairwise

import pytest

from simulators.demo import warehouse
from simulators.demo.proof import Evidence, Movement, Stock, Verdict, compare
from simulators.demo.warehouse import IN_PIECES, IN_TAGGED_CASES
from simulators.demo.worker import Handled

TEA, JUICE = warehouse.piece(IN_PIECES[0]), warehouse.tagged(IN_TAGGED_CASES[0], 1)


def everything_fits() -> Evidence:
    handled = [
        Handled("received", "dock-1", TEA, "e1", rescanned=False, found_listed=False),
        Handled("received", "gate-1", JUICE, "e2", rescanned=True, found_listed=False),
        Handled("picked", "picker-1", TEA, "e3", rescanned=False, found_listed=True),
    ]
    documents = {"dock-1": "PO-1", "gate-1": "PO-2", "picker-1": "SO-1"}
    codes = {one.event_id: one.goods.label.text for one in handled}
    return Evidence(
        handled=handled,
        documents=documents,
        oks={"e1": codes["e1"], "e2": codes["e2"]},
        movements=[
            Movement(
                one.event_id,
                one.flow,
                one.station,
                one.goods.sku,
                one.goods.quantity,
                "accepted",
                documents[one.station],
            )
            for one in handled
        ],
        listed=codes,
        expected_stock={TEA.sku: Stock(1, 0, 1)},
        stock={TEA.sku: Stock(1, 0, 1)},
    )


def without(evidence: Evidence, event_id: str) -> list[Movement]:
    return [movement for movement in evidence.movements if movement.event_id != event_id]


def only(verdict: Verdict) -> str:
    """The one difference."""
    assert not verdict.proven
    (difference,) = verdict.differences()
    return difference


def test_everything_fits():
    verdict = compare(everything_fits())
    assert verdict.proven
    assert verdict.summary() == "scanned = OK'd = recorded, 0 lost, 0 twice (3 = 3 = 3)"
    assert verdict.numbers()[:2] == [
        "received at dock-1: 1 scanned, 1 OK'd, 1 recorded (1 units handled, 1 in the books)",
        "received at gate-1: 1 scanned, 1 OK'd, 1 recorded (12 units handled, 12 in the books)",
    ]


def test_nothing_at_all_proves_nothing_wrong():
    evidence = Evidence([], {}, {}, [], {}, {}, {})
    assert compare(evidence).summary() == "scanned = OK'd = recorded, 0 lost, 0 twice (0 = 0 = 0)"


@pytest.mark.parametrize("event_id", ["e1", "e2", "e3"])
def test_an_event_that_central_does_not_have_is_lost(event_id):
    evidence = everything_fits()
    verdict = compare(replace(evidence, movements=without(evidence, event_id)))
    assert verdict.lost == (only(verdict),)
    assert f"event {event_id}" in only(verdict)
    assert "not in central's movements" in only(verdict)
    assert "1 lost" in verdict.summary()
    assert "scanned / OK'd / recorded" in verdict.summary()


def test_an_event_that_the_station_does_not_list_any_more_is_named():
    evidence = everything_fits()
    listed = {event_id: code for event_id, code in evidence.listed.items() if event_id != "e2"}
    verdict = compare(replace(evidence, listed=listed))
    assert "event e2" in only(verdict)
    assert "not in the station's list" in only(verdict)


def test_an_ok_that_nobody_can_find_is_lost():
    evidence = everything_fits()
    verdict = compare(replace(evidence, oks={**evidence.oks, "e9": "123"}))
    assert "lost: event e9, code 123" in verdict.lost[0]
    assert not verdict.proven


def test_what_was_recorded_without_an_ok_is_named():
    evidence = everything_fits()
    verdict = compare(replace(evidence, oks={"e1": TEA.label.text}))
    assert only(verdict).startswith("unseen: event e2")
    assert "(3 / 2 / 3)" in verdict.summary()


def test_one_event_booked_twice():
    evidence = everything_fits()
    verdict = compare(replace(evidence, movements=[*evidence.movements, evidence.movements[0]]))
    assert "event e1" in only(verdict)
    assert "2 movements" in only(verdict)


def test_a_double_read_that_was_counted():
    evidence = everything_fits()
    extra = Movement("e9", "received", "dock-1", TEA.sku, 1, "accepted", "PO-1")
    counted = {"e9": TEA.label.text}
    verdict = compare(
        replace(
            evidence,
            movements=[*evidence.movements, extra],
            oks={**evidence.oks, **counted},
            listed={**evidence.listed, **counted},
        )
    )
    assert only(verdict).startswith("twice: event e9")
    assert "nobody handled anything for it" in only(verdict)
    assert "(3 / 4 / 4)" in verdict.summary()


def test_a_stray_tag_that_the_gate_counted():
    evidence = everything_fits()
    extra = Movement("e9", "received", "gate-1", JUICE.sku, 12, "discrepant", "PO-2")
    verdict = compare(
        replace(
            evidence,
            movements=[*evidence.movements, extra],
            listed={**evidence.listed, "e9": warehouse.STRAY},
            oks={**evidence.oks, "e9": warehouse.STRAY},
        )
    )
    assert only(verdict).startswith("twice: event e9, received 12 × JUICE")
    assert verdict.numbers()[1].startswith("received at gate-1: 1 scanned, 2 OK'd, 2 recorded")


def test_a_station_that_lists_what_nobody_handled_and_central_does_not_have():
    evidence = everything_fits()
    verdict = compare(replace(evidence, listed={**evidence.listed, "e9": "123"}))
    assert "event e9, code 123: a station recorded it" in only(verdict)


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 12},
        {"sku": "OTHER"},
        {"outcome": "discrepant"},
        {"outcome": "rejected"},
        {"document": None},
        {"flow": "picked"},
        {"station": "picker-1"},
    ],
)
def test_an_event_that_was_booked_as_something_else(change):
    evidence = everything_fits()
    changed = [replace(evidence.movements[0], **change), *evidence.movements[1:]]
    assert only(compare(replace(evidence, movements=changed))).startswith("wrong: event e1, code ")


def test_stock_that_does_not_match():
    evidence = everything_fits()
    assert only(compare(replace(evidence, stock={TEA.sku: Stock(2, 1, 1)}))) == (
        "stock: TEA-GREEN: expected 1 on hand, 0 available, 1 picked;"
        " central says 2 on hand, 1 available, 1 picked"
    )


def test_a_queue_that_does_not_drain():
    evidence = everything_fits()
    assert only(compare(replace(evidence, complaints=["3 are queued"]))) == "3 are queued"


def test_the_plan_never_shows_the_same_label_twice_in_a_row():
    import random

    plan = warehouse.full_plan(random.Random(1))
    texts = [goods.label.text for goods in plan.arriving]
    assert len(texts) == 48
    assert all(first != second for first, second in pairwise(texts))
    assert plan.received.total() == 36 + 12 * 12
    assert plan.picks == 16
    assert len({goods.label.text for goods in plan.passing} - {warehouse.STRAY}) == 50
    assert plan.expected_at_gate == {"JUICE": 300, "BEANS": 300}
    assert max(plan.arriving_faults) < len(texts)
    assert max(plan.picking_faults) < plan.picks

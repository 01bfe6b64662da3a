"""The workflows: the whole table is walked, row by row, with real labels at a real site."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.choices import Choices
from agent.meaning import Meaning, understand
from agent.reference import Lookups
from agent.workflows import ACTIONS, NEXT, WORKFLOWS, Context, Workflow, step
from devices.driver import Outcome
from identity import Identity, identity_of_tag, parse
from service.texts import catalogue
from sync import events
from sync.messages import Document, DocumentLine
from tests.support.agents import LAMP, LAMP_GS1, MILK, MILK_CASE, SSCC, STRANGE, pick, site

LOOKUPS = Lookups(site())
BLIND = Context(location="DOCK-1", operator="op-7")
AGAINST = replace(BLIND, document=LOOKUPS.document("PO-1"))
GATE = replace(BLIND, site="lej1", orders=LOOKUPS.expecting)
IDLE = Context(location="DOCK-1")
TASK = pick("t1", "MILK", 2, "A-01")
GO = replace(IDLE, task=TASK, task_item=LOOKUPS.item("MILK"), lines_after=1)
SCAN = replace(GO, location="A-01")

GRAI = "epc:3374257BF40000C0000000FF"  # the tag of a crate
LOT = "]d2010952123454322010AB1"
SERIAL = "]d2010952123454323721S1"
COMMON = {
    SSCC: "unit",
    STRANGE: "unknown_item",
    "]d24149521234543213": "location",
    "X-99": "elsewhere",
    "]d24149521234543220": "elsewhere",
    "BADGE-7": "operator",
    GRAI: "asset",
    "TALLYMAN:UNDO": "undo",
    "nonsense": "unknown",
    "4006381333930": "unknown",  # a wrong check digit
}
# (workflow, context, {label as sent: what it is to the job})
WALKS: list[tuple[str, Context, dict[str, str]]] = [
    (
        "receive",
        BLIND,
        COMMON
        | {
            "]E0" + MILK: "item",
            "MILK": "item",
            "09521234543220": "no_lot",
            "09521234543237": "no_serial",
            "A-01": "location",
            "PO-1": "document",
            "SO-1": "wrong_document",
            "TALLYMAN:DONE": "done",
        },
    ),
    ("receive", replace(BLIND, seen={f"sscc {SSCC}"}), {SSCC: "seen"}),
    (
        "receive",
        AGAINST,
        COMMON
        | {
            "]E0" + MILK: "expected",
            "]I1" + MILK_CASE: "expected",
            LAMP: "not_listed",
            "09521234543220": "no_lot",
            "09521234543237": "no_serial",
            LOT: "not_listed",
            "PO-1": "document",
            "SO-1": "wrong_document",
            "TALLYMAN:DONE": "done",
        },
    ),
    (
        "receive",
        replace(AGAINST, totals={"PO-1": {"MILK": 2}}),
        {"]I1" + MILK_CASE: "over", "]E0" + MILK: "expected"},
    ),
    ("receive", replace(AGAINST, seen={"serial 09521234543237 S1"}), {SERIAL: "seen"}),
    (
        "gate",
        GATE,
        {label: kind for label, kind in COMMON.items() if kind != "location"}
        | {
            "]E0" + MILK: "expected",
            LAMP: "item",
            "09521234543220": "no_lot",
            "09521234543237": "no_serial",
            "A-01": "location",
            "PO-1": "document",
            "SO-1": "wrong_document",
            "TALLYMAN:DONE": "done",
        },
    ),
    ("gate", replace(GATE, totals={"PO-1": {"MILK": 2}}), {"]I1" + MILK_CASE: "over", MILK: "expected"}),
    ("gate", replace(GATE, seen={"serial 09521234543237 S1"}), {SERIAL: "seen"}),
    (
        "gate",
        replace(GATE, outward=True, seen={f"sscc {SSCC}"}),
        {
            MILK: "outward",
            SSCC: "outward",
            STRANGE: "outward",
            LOT: "outward",
            GRAI: "asset",
            "BADGE-7": "operator",
            "nonsense": "unknown",
        },
    ),
    (
        "pick",
        IDLE,
        COMMON
        | {
            "]E0" + MILK: "item",
            "09521234543220": "no_lot",
            "09521234543237": "no_serial",
            "SO-1": "document",
            "PO-1": "wrong_document",
            "TALLYMAN:DONE": "done",
        },
    ),
    ("pick", replace(IDLE, seen={f"sscc {SSCC}"}), {SSCC: "seen"}),
    *(
        (
            "pick",
            context,
            {label: kind for label, kind in COMMON.items() if kind != "location"}
            | {
                "A-01": "here",
                "DOCK-1": "wrong_place",
                "]d24149521234543213": "wrong_place",
                "]E0" + MILK: "wanted",
                "]I1" + MILK_CASE: "too_many",
                LAMP_GS1: "wrong_item",
                "SO-1": "document",
                "PO-1": "wrong_document",
                "TALLYMAN:DONE": "done",
            },
        )
        for context in (GO, SCAN)
    ),
    *(
        (
            "pick",
            replace(
                context,
                task=pick("t2", "PILL", 1, "A-01", lot="AB1"),
                task_item=LOOKUPS.item("PILL"),
                lines_after=0,
            ),
            {
                LOT: "last",
                "]d2010952123454322010AB2": "wrong_lot",
                "09521234543220": "no_lot",
                "TALLYMAN:DONE": "done_alone",
            },
        )
        for context in (GO, SCAN)
    ),
    *(
        (
            "pick",
            replace(context, task=pick("t3", "RADIO", 1, "A-01"), lines_after=0),
            {"09521234543237": "no_serial"},
        )
        for context in (GO, SCAN)
    ),
    *(("pick", replace(context, seen={f"sscc {SSCC}"}), {SSCC: "seen"}) for context in (GO, SCAN)),
]


def read(label: str) -> Meaning:
    if label.startswith("epc:"):
        tag = bytes.fromhex(label.removeprefix("epc:"))
        return understand(identity_of_tag(tag, None, None), LOOKUPS, "lej1")
    symbology, text = (label[:3], label[3:]) if label.startswith("]") else (None, label)
    return understand(parse(text, symbology), LOOKUPS, "lej1")


def walks() -> Iterator[tuple[Workflow, Context, str, str]]:
    for name, context, labels in WALKS:
        for label, kind in labels.items():
            yield WORKFLOWS[name], context, label, kind


def test_every_label_is_what_it_is_to_the_job():
    for workflow, context, label, kind in walks():
        assert step(workflow, context, read(label)).relation == kind, (workflow.event, label)


def test_the_walk_reaches_every_row_and_no_other():
    for name, workflow in WORKFLOWS.items():
        reached = {
            (workflow.state(context), kind) for walked, context, _, kind in walks() if walked is workflow
        }
        assert reached == set(workflow.table), name


def test_only_ok_changes_anything():
    for workflow in WORKFLOWS.values():
        for place, row in workflow.table.items():
            assert row.do in ACTIONS
            assert (row.outcome == "ok") == (row.do != "nothing"), place


def test_each_step_ends_in_the_state_that_the_table_says():
    for workflow, context, label, _ in walks():
        found = step(workflow, context, read(label))
        if found.row.then == NEXT or found.effect.undo:
            continue
        changes = Choices(location=context.location).with_changes(found.effect.changes, newest=None)
        after = replace(
            context,
            location=changes.location,
            document=changes.document if "document" in found.effect.changes else context.document,
        )
        assert workflow.state(after) == found.row.then, (workflow.event, label)


def test_every_event_can_be_booked_and_every_text_can_be_said():
    for workflow, context, label, kind in walks():
        found = step(workflow, context, read(label))
        assert catalogue().t(f"station.say.{found.row.say}", **found.values)
        if found.effect.draft is not None:
            name, data = found.effect.draft
            assert name == ("sighted" if kind == "asset" else workflow.event)
            events.check(events.event_type(name), data)


def draft(workflow: str, context: Context, label: str) -> dict[str, object]:
    effect = step(WORKFLOWS[workflow], context, read(label)).effect
    assert effect.draft is not None
    return effect.draft[1]


def orders(**quantities: int) -> dict[str, list[Document]]:
    """Purchase orders of this site for MILK, the oldest first."""
    made = [
        Document(
            id=name, type="purchase_order", site="lej1", lines=[DocumentLine(sku="MILK", quantity=quantity)]
        )
        for name, quantity in quantities.items()
    ]
    return {"MILK": made}


@pytest.mark.parametrize(
    ("received", "quantity", "order", "relation"),
    [
        ({}, 12, "first", "expected"),
        ({"first": 12}, 12, "second", "expected"),  # the first lacks 8, and a case does not fit
        ({"first": 12}, 8, "first", "expected"),
        ({"first": 12, "second": 14}, 12, "first", "over"),  # it fits nowhere whole
        ({"first": 20, "second": 24}, 1, "second", "over"),
        ({"first": 20, "second": 24, "elsewhere": 0}, 1, "second", "over"),
    ],
)
def test_goods_at_a_gate_find_their_order(received: dict[str, int], quantity: int, order: str, relation: str):
    elsewhere = Document(
        id="elsewhere", type="purchase_order", site="ber1", lines=[DocumentLine(sku="MILK", quantity=99)]
    )
    context = replace(
        GATE,
        orders={"MILK": [elsewhere, *orders(first=20, second=24)["MILK"]]},
        totals={name: {"MILK": number} for name, number in received.items()},
    )
    meaning = replace(read("]E0" + MILK), per_label=quantity)
    found = step(WORKFLOWS["gate"], context, meaning)
    assert found.effect.draft is not None
    assert (found.effect.draft[1]["document"], found.relation) == (order, relation)
    assert found.values["current"] == order


def test_a_document_chosen_before_the_station_was_a_gate_gets_no_goods():
    for label in (SSCC, STRANGE, LAMP):
        context = replace(GATE, document=AGAINST.document)
        draft = step(WORKFLOWS["gate"], context, read(label)).effect.draft
        assert draft is not None and "document" not in draft[1]


def test_goods_that_no_order_lists_are_recorded_without_one():
    found = step(WORKFLOWS["gate"], GATE, read(LAMP))
    assert found.effect.draft is not None
    assert "document" not in found.effect.draft[1]
    assert found.row.say == "gate_not_ordered"


def test_an_asset_is_sighted_by_its_tag_or_its_label():
    seen = step(WORKFLOWS["gate"], GATE, read(GRAI))
    assert seen.effect.draft == (
        "sighted", {"epc": GRAI.removeprefix("epc:"), "operator": "op-7", "location": "DOCK-1"},
    )  # fmt: skip
    assert seen.values["asset"] == "0614141000036 255"
    label = Identity("asset", "8004ABC123", giai="ABC123")
    printed = step(WORKFLOWS["gate"], GATE, Meaning(kind="asset", identity=label))
    assert printed.effect.draft is not None and printed.effect.draft[1]["raw"] == "8004ABC123"


def test_a_case_counts_what_is_in_it():
    assert draft("receive", AGAINST, "]I1" + MILK_CASE) == {
        "sku": "MILK",
        "gtin": MILK_CASE,
        "quantity": 12,
        "unit": "base",
        "document": "PO-1",
        "operator": "op-7",
        "to_location": "DOCK-1",
    }


def test_an_unknown_packaging_level_is_left_to_central():
    assert draft("receive", BLIND, STRANGE) == {
        "gtin": STRANGE.zfill(14),
        "quantity": 1,
        "unit": "label",
        "operator": "op-7",
        "to_location": "DOCK-1",
    }


def test_a_unit_label_that_announces_its_contents():
    assert draft("receive", BLIND, f"]C100{SSCC}02{MILK_CASE}3705") == {
        "sku": "MILK",
        "gtin": MILK_CASE,
        "sscc": SSCC,
        "quantity": 60,
        "unit": "base",
        "operator": "op-7",
        "to_location": "DOCK-1",
    }
    assert draft("receive", BLIND, SSCC)["unit"] == "label"


def test_lot_serial_and_expiry_go_with_the_goods():
    data = draft("receive", BLIND, "]d201095212345432201726123110AB1\x1d21S9")
    assert (data["lot"], data["serial"], data["expiry"]) == ("AB1", "S9", "2026-12-31")


def test_a_pick_names_its_task_document_and_place():
    data = draft("pick", SCAN, "]E0" + MILK)
    assert (data["task"], data["document"], data["from_location"], data["quantity"]) == (
        "t1",
        "SO-1",
        "A-01",
        1,
    )


@pytest.mark.parametrize(
    ("context", "state"),
    [
        (GO, "go"),
        (replace(GO, confirm_location=False), "scan"),
        (replace(GO, task=pick("t", "MILK", 1, None)), "scan"),
        (SCAN, "scan"),
    ],
)
def test_where_there_is_no_label_to_scan_one_is_always_there(context: Context, state: str):
    assert WORKFLOWS["pick"].state(context) == state


def test_a_task_without_a_place_is_picked_where_the_picker_stands():
    context = replace(GO, task=pick("t", "MILK", 1, None), location="B-02")
    assert draft("pick", context, MILK)["from_location"] == "B-02"
    assert WORKFLOWS["pick"].relate(context, read("A-01")) == "here"


def test_what_the_site_knows_comes_before_what_a_code_could_be():
    stored = site()
    stored.operators.append(type(stored.operators[0])(id="op-8", name="Bob", badge=STRANGE))
    assert understand(parse(STRANGE, None), Lookups(stored), "lej1").kind == "operator"
    assert read(STRANGE).kind == "unknown_item"


def test_outcomes_are_the_three_that_people_know():
    outcomes: set[Outcome] = {
        row.outcome for workflow in WORKFLOWS.values() for row in workflow.table.values()
    }
    assert outcomes == {"ok", "reject", "duplicate"}

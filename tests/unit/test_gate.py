"""A gate's station, with a real journal: what passes it, which way, and what becomes of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.shared import Shown
from agent.smoothing import Change, Place
from agent.smoothing.values import Direction, Kind
from agent.station import Station
from devices.reads import TagRead
from sync.journal import JournalError
from tests.support.agents import LAMP, MILK, MILK_CASE, SSCC
from tests.support.tags import sgtin, sscc
from tests.support.wait import eventually_async
from tests.unit.test_station import Bench

OUTSIDE = Place("outside", "gate", (("reader", 1),), "outside")
INSIDE = Place("inside", "gate", (("reader", 2),), "inside")
ANYWHERE = Place("door", "gate", (("reader", None),))
CASE, LAMP_TAG, PILL = sgtin(MILK_CASE, 1), sgtin(LAMP, 1), sgtin("09521234543220", 1)
CRATE = bytes.fromhex("3374257BF40000C0000000FF")


class Gate(Bench):
    """A station at a gate, told what the smoothing tells it."""

    @property
    def station(self) -> Station:
        return self.stations["gate"]

    def tell(
        self, epc: bytes, direction: Direction | None = "in", kind: Kind = "moved", place: Place = INSIDE
    ) -> None:
        self.now_ns += 20_000_000
        read = TagRead("reader", b"frame", epc, self.now_ns / 1e9, self.now_ns, antenna=2)
        before = (OUTSIDE if place is INSIDE else INSIDE) if kind == "moved" else None
        self.station.tag(Change(kind, place, before, read, direction))

    async def passes(self, epc: bytes, direction: Direction | None = "in", **more: Any) -> Shown:
        """And what the station said."""
        before = self.station.last
        self.tell(epc, direction, **more)
        await eventually_async(lambda: self.station.last is not before)
        assert self.station.last is not None
        return self.station.last

    def concerns(self) -> list[tuple[str, str, int]]:
        return [(one["tally"], one["what"], one["count"]) for one in self.state("gate")["concerns"]]


Start = Callable[..., Awaitable[Gate]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    gates: list[Gate] = []

    async def start(*places: Place) -> Gate:
        """A new life on the same disk; the one before it ends."""
        if gates:
            await gates.pop().stop()
        gates.append(Gate(tmp_path, *(places or (OUTSIDE, INSIDE))))
        await gates[0].start(gate="gate")
        return gates[0]

    yield start
    for gate in gates:
        await gate.stop()


async def test_inward_is_received_outward_is_not_and_again_is_a_duplicate(start: Start):
    gate = await start()
    shown = await gate.passes(CASE)
    assert (shown.outcome, shown.text) == ("ok", "12 × Oat milk (MILK) – PO-1: 12 of 13")
    shown = await gate.passes(CASE, "out", place=OUTSIDE)
    assert (shown.outcome, shown.text[:27]) == ("reject", "Oat milk (MILK) goes OUT. N")
    shown = await gate.passes(CASE)
    assert (shown.outcome, shown.text) == ("duplicate", "Already recorded: Oat milk (MILK), 1")
    (event,) = await gate.events()
    assert (event["document"], event["quantity"], event["serial"], event["to_location"]) == (
        "PO-1", 12, "1", "DOCK-1",
    )  # fmt: skip
    assert event["epc"] == CASE.hex().upper()
    state = gate.state("gate")
    assert state["passage"]["counts"] == {"ok": 1, "duplicate": 1, "outward": 1}
    assert state["job"]["orders"][0]["received"] == 12
    assert gate.concerns() == [("duplicate", "Oat milk (MILK)", 1), ("outward", "Oat milk (MILK)", 1)]


async def test_what_waits_outside_or_may_be_on_its_way_out_is_nobodys_scan_until_it_has_passed(start: Start):
    gate = await start()
    gate.tell(CASE, None, kind="arrived", place=OUTSIDE)
    gate.tell(LAMP_TAG, None, kind="arrived", place=INSIDE)
    gate.tell(CASE, None, kind="departed", place=OUTSIDE)
    shown = await gate.passes(LAMP_TAG, "in", kind="departed")
    assert (shown.outcome, shown.text) == ("ok", "1 × Lamp (LAMP) – on no open order. Recorded.")
    assert len(await gate.events()) == 1


async def test_beside_the_sides_of_a_gate_nothing_counts_until_it_has_passed(start: Start):
    gate = await start(OUTSIDE, INSIDE, ANYWHERE)
    gate.tell(CASE, None, kind="arrived", place=ANYWHERE)
    assert (await gate.passes(LAMP_TAG, "in", kind="departed", place=ANYWHERE)).outcome == "ok"
    assert len(await gate.events()) == 1


async def test_a_gate_without_sides_takes_whatever_comes_into_view(start: Start):
    gate = await start(ANYWHERE)
    assert (await gate.passes(sscc(SSCC), None, kind="arrived", place=ANYWHERE)).outcome == "ok"
    gate.tell(sscc(SSCC), None, kind="departed", place=ANYWHERE)
    assert (await gate.passes(CASE, None, kind="arrived", place=ANYWHERE)).outcome == "ok"
    assert gate.state("gate")["count"] == 2


async def test_crates_are_seen_whichever_way_they_go(start: Start):
    gate = await start()
    for direction in ("in", "out", "in"):
        shown = await gate.passes(CRATE, direction)
        assert (shown.outcome, shown.text) == ("ok", "Seen here: 0614141000036 255")
    events = await gate.events()
    assert [(event["type"], event["location"]) for event in events] == [("tallyman.sighted.v1", "DOCK-1")] * 3
    state = gate.state("gate")
    assert (state["count"], state["passage"]["counts"]) == (0, {"sighted": 3})
    assert state["recorded"][0]["name"] == "0614141000036 255"
    assert gate.concerns() == []


async def test_what_cannot_be_booked_says_what_to_do(start: Start):
    gate = await start()
    shown = await gate.passes(PILL)
    assert (shown.outcome, shown.event_id) == ("reject", None)
    assert shown.text.startswith("Pills (PILL) needs its lot, and its tag has none.")
    jacket = bytes.fromhex("E280116060000207")
    assert (await gate.passes(jacket)).outcome == "reject"
    for _ in range(3):
        gate.tell(jacket)
    assert (await gate.passes(PILL)).outcome == "reject"
    assert gate.state("gate")["passage"]["counts"] == {"rejected": 2}
    assert await gate.events() == []
    for _ in range(2):
        shown = await gate.scan("nonsense", station="gate")
        assert shown.text == "Nobody knows nonsense. Nothing was recorded.", (
            "a person wants an answer each time"
        )
    await gate.station.choose(None)
    assert (await gate.passes(jacket)).outcome == "reject", "it is another job"


async def test_a_tag_that_the_disk_took_later_is_ok_and_nobody_needs_to_look(
    start: Start, monkeypatch: pytest.MonkeyPatch
):
    gate = await start()

    async def full(_drafts: Any) -> Any:
        raise JournalError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(gate.journal, "append", full)
        assert (await gate.passes(CASE)).text == "NOT recorded. the disk is full"
        assert gate.concerns() == [("rejected", "Oat milk (MILK)", 1)]
    assert (await gate.passes(CASE)).outcome == "ok"
    assert gate.concerns() == []
    assert gate.state("gate")["passage"]["counts"] == {"ok": 1}


async def test_what_nobody_looked_at_is_listed_over_a_restart_and_what_came_meanwhile_stays(start: Start):
    gate = await start()
    await gate.passes(PILL)
    seen = gate.state("gate")["concerns"][0]["token"]
    await gate.passes(CASE, "out", place=OUTSIDE)
    assert (await gate.station.looked(seen)).outcome == "ok"
    assert gate.concerns() == [("outward", "Oat milk (MILK)", 1)]
    gate = await start()
    assert gate.concerns() == [("outward", "Oat milk (MILK)", 1)]
    assert gate.state("gate")["passage"] is None
    assert (await gate.station.looked(gate.state("gate")["concerns"][0]["token"])).outcome == "ok"
    assert (await start()).concerns() == []


async def test_a_clock_that_was_set_back_takes_nothing_for_looked_at(start: Start):
    gate = await start()
    gate.now_ns += 10 * 365 * 86_400 * 10**9
    gate.station._token = int(gate.now_ns / 10**6)
    await gate.passes(PILL)
    gate = await start()
    seen = gate.state("gate")["concerns"][0]["token"]
    await gate.passes(CASE, "out", place=OUTSIDE)
    assert (await gate.station.looked(seen)).outcome == "ok"
    assert gate.concerns() == [("outward", "Oat milk (MILK)", 1)]


async def test_a_job_ends_and_what_an_open_order_has_stays_received(start: Start):
    gate = await start()
    await gate.passes(CASE)
    await gate.passes(LAMP_TAG)
    assert (await gate.station.choose(None)).text == "Done. The count begins anew."
    gate = await start()
    assert gate.state("gate")["count"] == 0
    assert (await gate.passes(CASE)).outcome == "duplicate", "for PO-1, which is open"
    assert (await gate.passes(LAMP_TAG)).outcome == "ok", "for no order, and of the job before"
    refused = await gate.station.choose("PO-1")
    assert (refused.outcome, refused.text) == (
        "reject", "A gate finds the order by itself. Nothing was changed.",
    )  # fmt: skip


async def test_a_mistake_is_taken_back_and_the_order_lacks_it_again(start: Start):
    gate = await start()
    shown = await gate.passes(CASE)
    assert (await gate.station.undo(shown.event_id)).outcome == "ok"
    assert gate.state("gate")["job"]["orders"][0]["received"] == 0
    assert (await gate.passes(CASE)).text == "12 × Oat milk (MILK) – PO-1: 12 of 13"


async def test_fifty_tags_beep_once_and_are_shown_together(start: Start):
    gate = await start()
    for serial in range(50):
        gate.tell(sgtin(MILK, serial))
    gate.tell(PILL)
    await eventually_async(lambda: gate.state("gate")["count"] == 50)
    await eventually_async(lambda: gate.concerns()[:1] == [("rejected", "Pills (PILL)", 1)])
    assert gate.state("gate")["passage"]["counts"] == {"ok": 13, "over": 37, "rejected": 1}
    beeps = [(device, outcome) for _, device, outcome in gate.said if device is not None]
    assert beeps == [("reader", "ok"), ("reader", "reject")]
    assert len(gate.said) == 51, "and each is counted"
    assert gate.shown_at_once == 1

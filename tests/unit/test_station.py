"""One station, with a real journal on a real disk: what is shown is what is recorded."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent import history as histories
from agent import station as stations
from agent.capture import boot_id, kernel_clock, rfc3339
from agent.config import StationSection
from agent.history import History
from agent.reference import Lookups, ReferenceData
from agent.shared import Shared, Shown
from agent.smoothing import Parameters, Place, Smoother
from agent.station import MOST_TAGS_WAITING, MOST_WAITING, Busy, Station
from agent.tags import Tags
from agent.tasks import Board
from devices.reads import BadFrame, BarcodeRead, TagRead
from service.texts import catalogue
from sync.journal import Draft, Journal, JournalError
from sync.messages import Item, Task, Tasks, Verdict
from tests.support.agents import LAMP_GS1, MILK, MILK_CASE, SSCC, pick, site
from tests.support.tags import sgtin, sscc
from tests.support.wait import eventually_async

SERIAL = "]d2010952123454323721S1"
NO_STATUS = {"online": False, "queued": 0, "oldest_queued_at": None, "reason": None, "devices": []}


class Bench:
    """Stations of one agent in this process, and everything they said."""

    def __init__(self, folder: Path, *places: Place) -> None:
        self.folder, self.places = folder, places
        self.said: list[tuple[str, str | None, str]] = []
        self.shown_at_once = 0
        self.now_ns = 1_000_000_000_000
        self.running: list[asyncio.Task[None]] = []
        self.stations: dict[str, Station] = {}
        self.journal: Journal

    async def start(self, *tasks: Task, **stations: str) -> "Bench":
        self.journal = await Journal.open(self.folder / "journal.db", agent="dock-2", site="lej1")
        self.history = History()
        self.reference = ReferenceData(self.folder / "reference.json")
        self.reference.now = Lookups(site())
        self.board = Board(self.folder / "tasks.json")
        self.board.receive(Tasks(as_of=1, tasks=list(tasks)))
        at_once = Parameters(believe_reads=1, settle_ms=0)
        dock = Place("gate", next(iter(stations or {"dock": ""})), (("gate", None),), None, at_once)
        self.smoother = Smoother([dock, *self.places])
        shared = Shared(
            site="lej1",
            journal=self.journal,
            reference=self.reference,
            board=self.board,
            history=self.history,
            smoother=self.smoother,
            texts=catalogue(),
            directory=self.folder / "stations",
            boot="boot",
            now=lambda: self.now_ns / 1e9,
            random_bytes=os.urandom,
            on_change=self._changed,
            on_outcome=lambda *said: self.said.append(said),
            gs1_anywhere=frozenset({"old"}),
        )
        for name, workflow in (stations or {"dock": "receive"}).items():
            settings = StationSection.model_validate(
                {"name": name, "devices": ["s"], "workflow": workflow, "location": "DOCK-1"}
            )
            self.stations[name] = Station(settings, shared)
            self.stations[name].load()
        finished = {name: station.choices.finished for name, station in self.stations.items()}
        self.history.restore(await self.journal.recent(histories.KEPT), finished)
        self.running = [asyncio.create_task(station.run()) for station in self.stations.values()]
        await asyncio.sleep(0)
        return self

    def _changed(self, _station: str, at_once: bool) -> None:
        self.shown_at_once += at_once

    async def stop(self) -> None:
        for task in self.running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.journal.close()

    def read(self, label: str, station: str = "dock", after_ms: int = 1000, device: str = "s") -> None:
        symbology, text = (label[:3], label[3:]) if label.startswith("]") else (None, label)
        self.now_ns += after_ms * 1_000_000
        self.stations[station].read(
            BarcodeRead(device, label.encode(), text, symbology, self.now_ns / 1e9, self.now_ns)
        )

    async def scan(self, *labels: str, station: str = "dock") -> Shown:
        for label in labels:
            before = self.stations[station].last
            self.read(label, station)
            await eventually_async(lambda before=before: self.stations[station].last is not before)
        shown = self.stations[station].last
        assert shown is not None
        return shown

    def sight(self, epc: bytes | None, after_ms: int = 10, **told: Any) -> None:
        """A reader tells of a tag."""
        self.now_ns += after_ms * 1_000_000
        read = TagRead("gate", b"frame", epc, self.now_ns / 1e9, self.now_ns, **told)
        if epc is None:
            self.stations["dock"].read(read)
            return
        for change in [*self.smoother.tick(self.now_ns), *self.smoother.feed([read])]:
            self.stations["dock"].tag(change)

    async def events(self) -> list[dict[str, Any]]:
        return [
            {"type": recorded.event.type, "id": recorded.event.id, **recorded.event.data}
            for recorded in reversed(await self.journal.recent(1000))
        ]

    def state(self, station: str = "dock") -> dict[str, Any]:
        return self.stations[station].state(NO_STATUS)


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    benches: list[Bench] = []

    async def start(*tasks: Task, **stations: str) -> Bench:
        """A new life on the same disk; the one before it ends."""
        if benches:
            await benches.pop().stop()
        benches.append(Bench(tmp_path))
        return await benches[0].start(*tasks, **stations)

    yield start
    for bench in benches:
        await bench.stop()


async def test_ok_is_shown_when_it_is_in_the_journal_and_not_before(start: Start):
    bench = await start()
    shown = await bench.scan("]E0" + MILK)
    assert (shown.outcome, shown.text) == ("ok", "1 × Oat milk (MILK)")
    (event,) = await bench.events()
    assert event["id"] == shown.event_id
    assert (event["type"], event["sku"], event["gtin"], event["to_location"]) == (
        "tallyman.received.v1",
        "MILK",
        MILK.zfill(14),
        "DOCK-1",
    )
    capture = event["capture"]
    assert base64.b64decode(capture["raw"]) == ("]E0" + MILK).encode()
    assert (capture["device"], capture["symbology"], capture["boot"]) == ("s", "]E0", "boot")
    assert capture["clock"] in ("synchronised", "unsynchronised", "unknown")
    assert capture["monotonic_ns"] == bench.now_ns


async def test_a_disk_that_refuses_is_never_ok(start: Start):
    bench = await start()
    # A database that may not grow answers as a full disk does: SQLITE_FULL.
    await bench.journal._ask(lambda: bench.journal._store._one("PRAGMA max_page_count = 1"), alone=True)
    shown = await bench.scan(MILK)
    for number in range(100):
        if shown.outcome != "ok":
            break
        shown = await bench.scan(f"]d2010952123454321321N{number}")
    assert shown.outcome == "reject"
    assert shown.text.startswith("NOT recorded.")
    recorded = len(await bench.events())
    assert recorded == bench.state()["count"] == bench.said.count(("dock", "s", "ok"))
    refused = bench.stations["dock"].last
    bench.read(f"]d2{shown.code}", after_ms=1)
    await eventually_async(lambda: bench.stations["dock"].last is not refused)
    again = bench.stations["dock"].last
    assert again is not None and again.outcome == "ok", "what was not recorded can be scanned again at once"
    assert (await bench.scan(MILK)).outcome == "ok", "the disk takes writes again"


async def test_what_is_too_large_is_never_ok(start: Start):
    bench = await start()
    bench.now_ns += 1
    bench.stations["dock"].read(
        BarcodeRead("s", b"x" * 20_000, MILK, "]E0", bench.now_ns / 1e9, bench.now_ns)
    )
    await eventually_async(lambda: bench.stations["dock"].last)
    shown = bench.stations["dock"].last
    assert shown is not None
    assert (shown.outcome, await bench.events()) == ("reject", [])
    assert "15872" in shown.text


async def test_reads_are_worked_on_in_order_and_the_queue_has_a_bound(start: Start):
    bench = await start()
    for number in range(MOST_WAITING + 5):
        bench.read(f"]d2010952123454321321N{number}")
    assert [outcome for _, _, outcome in bench.said] == ["reject"] * 5, "the last five, loudly and at once"
    await eventually_async(lambda: len(bench.said) == MOST_WAITING + 5)
    serials = [event["serial"] for event in await bench.events()]
    assert serials == [f"N{number}" for number in range(MOST_WAITING)]


async def test_a_button_waits_its_turn_or_is_told_to_come_again(start: Start):
    bench = await start()
    for number in range(MOST_WAITING):
        bench.read(f"]d2010952123454321321N{number}")
    with pytest.raises(Busy, match="Try again"):
        await bench.stations["dock"].undo(None)


async def test_double_reads_and_bad_frames_are_shown(start: Start):
    bench = await start()
    await bench.scan(MILK)
    bench.now_ns -= 900_000_000
    shown = await bench.scan(MILK)
    assert (shown.outcome, "twice" in shown.text) == ("duplicate", True)
    bench.stations["dock"].read(BadFrame("s", "the line is longer than 4096 bytes", b"x", 1.0))
    await eventually_async(lambda: len(bench.said) == 3)
    assert bench.said[-1] == ("dock", "s", "reject")
    assert len(await bench.events()) == 1


async def test_a_unit_is_recorded_once_in_a_job_and_for_a_document(start: Start):
    bench = await start()
    assert (await bench.scan(SSCC)).outcome == "ok"
    assert (await bench.scan(SSCC)).outcome == "duplicate"
    assert (await bench.scan("PO-1", SSCC)).outcome == "duplicate", (
        "recorded without the document: undo that first"
    )
    await bench.scan("TALLYMAN:UNDO")
    assert (await bench.scan(SSCC)).outcome == "ok", "what was taken back can come again"
    assert (await bench.scan("TALLYMAN:DONE", SSCC)).outcome == "ok", "another job"
    assert (await bench.scan("TALLYMAN:DONE", "PO-1", SSCC)).outcome == "duplicate", (
        "but not for that document"
    )
    bench = await start()
    assert (await bench.scan(SSCC)).outcome == "duplicate", "also after a restart"


async def test_undo_takes_back_the_newest_and_only_once(start: Start):
    bench = await start()
    first = await bench.scan(MILK)
    second = await bench.scan("]d20109521234543213")
    shown = await bench.scan("TALLYMAN:UNDO")
    assert (shown.outcome, shown.text) == ("ok", "Taken back: 1 × Lamp (LAMP)")
    station = bench.stations["dock"]
    assert (await station.undo(second.event_id)).text == "1 × Lamp (LAMP) was taken back already."
    assert (await station.undo(first.event_id)).outcome == "ok"
    assert (await station.undo(None)).outcome == "reject"
    assert (await station.undo(shown.event_id)).outcome == "reject", "an undo is not undone"
    assert (await station.undo("nobody's")).outcome == "reject"
    corrections = [event for event in await bench.events() if event["type"] == "tallyman.corrected.v1"]
    assert [event["corrects"] for event in corrections] == [second.event_id, first.event_id]
    assert [entry["undone"] for entry in bench.state()["recorded"]] == [True, True]
    assert bench.state()["count"] == 0


async def test_a_station_takes_back_only_its_own(start: Start):
    bench = await start(dock="receive", gate="receive")
    mine = await bench.scan(MILK)
    assert (await bench.stations["gate"].undo(mine.event_id)).outcome == "reject"


async def test_a_purchase_order_is_counted_and_too_many_is_said(start: Start):
    bench = await start()
    assert (await bench.stations["dock"].choose("PO-1")).text == "Receiving PO-1"
    assert (await bench.scan("]I1" + MILK_CASE)).text == "12 × Oat milk (MILK) – 12 of 13"
    assert (await bench.scan(MILK, MILK)).text.endswith("14, but only 13 were ordered. Recorded.")
    job = bench.state()["job"]
    assert (job["expected"], job["received"], job["lines"][0]["received"], bench.state()["count"]) == (
        13,
        14,
        14,
        3,
    )
    bench = await start()
    assert bench.state()["job"]["received"] == 14
    assert bench.state()["count"] == 3
    assert (await bench.stations["dock"].choose(None)).text.startswith("Finished with PO-1")
    assert bench.state()["document"] is None
    assert (await bench.stations["dock"].choose("PO-9")).outcome == "reject"
    assert (await bench.stations["dock"].choose(None)).outcome == "ok"


async def test_a_document_that_central_closes_meanwhile_still_counts(start: Start):
    bench = await start()
    await bench.scan("PO-1")
    stored = site()
    stored.documents.clear()
    bench.reference.now = Lookups(stored)
    bench.stations["dock"].refresh()
    assert (await bench.scan(MILK)).outcome == "ok"
    assert bench.state()["job"]["open"] is False
    assert (await bench.events())[0]["document"] == "PO-1"


async def test_choices_and_the_newest_scan_stand_after_a_restart(start: Start):
    bench = await start()
    await bench.scan("BADGE-7", "A-01", "PO-1", MILK)
    bench = await start()
    state = bench.state()
    assert (state["location"], state["operator_name"], state["document"]) == ("A-01", "Ada", "PO-1")
    assert state["last"] is None
    assert state["before_restart"]["sku"] == "MILK"
    assert state["recorded"][0]["before_restart"] is True
    await bench.scan("nonsense")
    assert bench.state()["before_restart"] is None, "something newer to tell"


async def test_choices_that_cannot_be_kept_change_nothing(start: Start, tmp_path: Path):
    (tmp_path / "stations").write_text("in the way")
    bench = await start()
    shown = await bench.scan("A-01")
    assert (shown.outcome, bench.state()["location"]) == ("reject", "DOCK-1")
    shown = await bench.stations["dock"].choose(None)
    assert (shown.outcome, "not" in shown.text) == ("reject", True)


async def test_a_picker_goes_on_at_the_exact_line(start: Start):
    tasks = (pick("b", "LAMP", 2, "B-02"), pick("a", "MILK", 2, "A-01"))
    bench = await start(*tasks, aisle="pick")

    async def scan(*labels: str) -> Shown:
        return await bench.scan(*labels, station="aisle")

    assert bench.state("aisle")["job"]["from_location"] == "A-01"
    assert (await scan(MILK)).text == "First scan the location A-01."
    assert (await scan("A-01", MILK)).outcome == "ok"
    bench = await start(*tasks, aisle="pick")
    job = bench.state("aisle")["job"]
    assert (job["step"], job["task"], job["done"], job["left"]) == ("scan", "a", 1, 1)
    assert (await scan(MILK)).text == "Oat milk (MILK) complete"
    job = bench.state("aisle")["job"]
    assert (job["step"], job["task"], job["next"]) == ("go", "b", None)
    assert (await scan("B-02", LAMP_GS1, LAMP_GS1)).outcome == "ok"
    assert bench.state("aisle")["job"]["step"] == "idle"
    assert (await scan("TALLYMAN:UNDO")).outcome == "ok"
    job = bench.state("aisle")["job"]
    assert (job["task"], job["left"], bench.state("aisle")["count"]) == ("b", 1, 3)
    picked = [event for event in await bench.events() if event["type"] == "tallyman.picked.v1"]
    assert [(event["task"], event["document"], event["from_location"]) for event in picked] == [
        ("a", "SO-1", "A-01"),
        ("a", "SO-1", "A-01"),
        ("b", "SO-1", "B-02"),
        ("b", "SO-1", "B-02"),
    ]


async def test_a_line_stays_while_others_arrive_and_can_be_put_off(start: Start):
    bench = await start(pick("b", "LAMP", 1, "B-02"), aisle="pick")
    bench.board.receive(Tasks(as_of=2, tasks=[pick("a", "MILK", 2, "A-01")]))
    bench.stations["aisle"].refresh()
    assert bench.state("aisle")["job"]["task"] == "b"
    assert (await bench.scan("TALLYMAN:DONE", station="aisle")).outcome == "ok"
    assert bench.state("aisle")["job"]["task"] == "a"
    bench.board.receive(Tasks(as_of=3, tasks=[pick("a", "MILK", 2, "A-01", status="cancelled")]))
    bench.stations["aisle"].refresh()
    assert bench.state("aisle")["job"]["task"] == "b", "withdrawn: on to what is left"
    assert (await bench.scan("TALLYMAN:DONE", station="aisle")).outcome == "reject"


async def test_two_pickers_are_never_sent_to_the_same_line(start: Start):
    bench = await start(pick("a", "MILK", 1, "A-01"), pick("b", "LAMP", 1, "B-02"), one="pick", two="pick")
    assert [bench.state(name)["job"]["task"] for name in ("one", "two")] == ["a", "b"]


async def test_an_order_can_be_chosen_and_left(start: Start):
    bench = await start(
        pick("a", "MILK", 1, "A-01", document="SO-2"), pick("b", "LAMP", 1, "B-02"), aisle="pick"
    )
    await bench.scan("SO-1", station="aisle")
    assert bench.state("aisle")["job"]["task"] == "b"
    await bench.stations["aisle"].choose(None)
    assert (bench.state("aisle")["document"], bench.state("aisle")["job"]["task"]) == (None, "a")


async def test_verdicts_come_back_to_the_station(start: Start):
    bench = await start()
    shown = await bench.scan(MILK)
    entry = bench.history.verdict(
        Verdict(sequence=1, id=shown.event_id, outcome="discrepant", reason="over", movement=3)
    )
    assert entry is not None
    assert entry.station == "dock"
    assert bench.history.verdict(Verdict(sequence=1, id=shown.event_id, outcome="discrepant")) is None
    assert bench.history.verdict(Verdict(sequence=9, id="nobody's", outcome="accepted")) is None
    (note,) = bench.state()["notes"]
    assert (note["verdict"], note["reason"]) == ("discrepant", "over")
    assert bench.state()["recorded"][0]["verdict"] == "discrepant"


async def test_a_scanner_without_ids_reads_gs1_labels_where_the_site_says_so(start: Start):
    bench = await start()
    label = "01" + MILK.zfill(14)
    assert (await bench.scan(label)).outcome == "reject"
    bench.read(label, device="old")
    await eventually_async(lambda: bench.stations["dock"].last.outcome == "ok")


async def test_a_hostile_label_is_text_and_bounded(start: Start):
    bench = await start()
    shown = await bench.scan("<script>\x00\u202e{0}{name}" + "x" * 5000)
    assert shown.outcome == "reject"
    assert "\x00" not in shown.text
    assert "\u202e" not in shown.text
    assert len(shown.text) < 200


async def test_a_document_whose_name_no_event_can_carry_is_said(start: Start):
    bench = await start()
    stored = site()
    stored.items.append(Item(sku="A" * 201, name="", gtins=[]))
    bench.reference.now = Lookups(stored)
    shown = await bench.scan("A" * 201)
    assert (shown.outcome, await bench.events()) == ("reject", [])
    assert shown.text.startswith("NOT recorded. received:")


async def test_the_history_forgets_the_oldest_with_its_part_in_totals(start: Start):
    bench = await start()
    history = History(kept=2)
    drafts = [
        Draft(
            f"e{number}",
            "tallyman.received.v1",
            "2026-01-01T00:00:00Z",
            {
                "sku": "MILK",
                "quantity": 5,
                "document": "PO-1",
                "to_location": "D",
                "capture": {"station": "dock"},
            },
        )
        for number in range(3)
    ]
    for recorded in await bench.journal.append(drafts):
        history.add(recorded)
        assert history.add(recorded) is None, "twice is once"
    assert history.received["PO-1"] == {"MILK": 10}
    assert history.get("e0") is None
    await bench.journal.void(bench.journal.incarnation, 2)
    again = History()
    again.restore(await bench.journal.recent(10), {})
    assert again.received["PO-1"] == {"MILK": 15}, "what central could not read was scanned all the same"


def test_what_the_machine_tells():
    assert kernel_clock() in ("synchronised", "unsynchronised")
    assert len(boot_id()) == 36
    assert rfc3339(1763626530.123456) == "2025-11-20T08:15:30.123456Z"


# --- tags --------------------------------------------------------------------------------------------------


async def quiet(bench: Bench) -> None:
    """Everything that waits is done."""
    await eventually_async(bench.stations["dock"]._queue.empty)
    await bench.journal.append([])
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_tag_in_view_is_one_scan_with_what_its_epc_says(start: Start):
    bench = await start()
    case = sgtin(MILK_CASE, 7)
    for _ in range(200):
        bench.sight(case, antenna=2, rssi_dbm=-61.0, pc=0x3000)
    await eventually_async(lambda: bench.said)
    await quiet(bench)
    assert bench.said == [("dock", "gate", "ok")]
    (event,) = await bench.events()
    assert event["type"] == "tallyman.received.v1"
    assert (event["sku"], event["gtin"], event["serial"]) == ("MILK", MILK_CASE, "7")
    assert (event["epc"], event["quantity"], event["to_location"]) == (case.hex().upper(), 12, "DOCK-1")
    capture = event["capture"]
    assert (capture["device"], capture["antenna"], capture["rssi_dbm"]) == ("gate", 2, -61.0)
    assert (capture["text"], base64.b64decode(capture["raw"])) == (case.hex().upper(), b"frame")
    assert bench.state()["recorded"][0]["serial"] == "7"


async def test_a_tag_that_was_away_comes_again_and_is_counted_once(start: Start):
    bench = await start()
    bench.sight(sgtin(MILK, 1))
    bench.sight(sgtin(MILK, 1), after_ms=29_000)
    bench.sight(sgtin(MILK, 1), after_ms=117_000)
    await eventually_async(lambda: len(bench.said) == 2)
    assert [outcome for _, _, outcome in bench.said] == ["ok", "duplicate"]
    assert len(await bench.events()) == 1


async def test_a_tag_and_the_label_of_the_same_thing_are_one(start: Start):
    bench = await start()
    await bench.scan(f"]d201{MILK.zfill(14)}215")
    bench.sight(sgtin(MILK, 5))
    await eventually_async(lambda: len(bench.said) == 2)
    assert [outcome for _, _, outcome in bench.said] == ["ok", "duplicate"]


async def test_the_tag_of_a_unit_is_that_unit(start: Start):
    bench = await start()
    bench.sight(sscc(SSCC))
    await eventually_async(lambda: bench.said)
    (event,) = await bench.events()
    assert (event["sscc"], event["capture"]["epc"]) == (SSCC, sscc(SSCC).hex().upper())
    assert "epc" not in event, "the SSCC names it"


async def test_an_item_that_nobody_announced_is_recorded_and_a_tag_that_says_nothing_is_not(start: Start):
    bench = await start()
    bench.sight(sgtin("09521234500001", 3))
    bench.sight(bytes.fromhex("E28068940000500A9D2298C6"))
    await eventually_async(lambda: len(bench.said) == 2)
    assert [outcome for _, _, outcome in bench.said] == ["ok", "reject"]
    (event,) = await bench.events()
    assert (event["gtin"], event["serial"], event["unit"]) == ("09521234500001", "3", "label")
    last = bench.stations["dock"].last
    assert last is not None and last.code == "E28068940000500A9D2298C6"


async def test_a_card_signs_its_owner_in_whenever_it_is_held_up(start: Start):
    bench = await start()
    for _ in range(10):
        bench.sight(None, after_ms=65, text="BADGE-7")
    bench.sight(None, after_ms=2000, text="BADGE-7")
    await eventually_async(lambda: len(bench.said) == 2)
    await quiet(bench)
    assert [outcome for _, _, outcome in bench.said] == ["ok", "ok"]
    assert bench.state()["operator"] == "op-7"


async def test_a_tag_that_could_not_be_recorded_is_tried_again_while_it_stays(start: Start):
    bench = await start()
    await bench.journal._ask(lambda: bench.journal._store._one("PRAGMA max_page_count = 1"), alone=True)
    refused = 0
    while not refused:
        bench.sight(sgtin(MILK, 1000 + len(bench.said)))
        said = len(bench.said)
        await eventually_async(lambda said=said: len(bench.said) > said)
        refused = [outcome for _, _, outcome in bench.said].count("reject")
        assert len(bench.said) < 200
    tag = sgtin(MILK, 1000 + len(bench.said) - 1)
    said = len(bench.said)
    for _ in range(220):
        bench.sight(tag)
    await eventually_async(lambda: len(bench.said) > said)
    assert bench.said[said:] == [("dock", "gate", "ok")], "the disk takes writes again"


async def test_a_full_disk_is_logged_once_for_all_tags_that_are_tried_again(start: Start):
    bench = await start()
    problem = "not recorded (disk full)"

    async def full(_drafts: list[Draft]) -> None:
        raise JournalError(problem)

    append = bench.journal.append
    bench.journal.append = full
    with structlog.testing.capture_logs() as entries:
        for round_number in range(3):
            for serial in range(10):
                bench.sight(sgtin(MILK, serial), after_ms=0)
            await eventually_async(lambda said=10 * (round_number + 1): len(bench.said) == said)
            bench.now_ns += 2_000_000_000
        await bench.scan("]E0" + MILK, SERIAL)
        bench.journal.append = append
        bench.sight(sgtin(MILK, 1), after_ms=2000)
        await eventually_async(lambda: len(bench.said) == 42)
    assert [entry["event"] for entry in entries] == ["not recorded"] * 3, "once for tags, and for each label"
    assert [outcome for _, _, outcome in bench.said] == ["reject"] * 32 + ["ok"] * 10


async def test_what_became_of_tags_is_shown_together(start: Start):
    bench = await start()
    for serial in range(50):
        bench.sight(sgtin(MILK, serial))
    await eventually_async(lambda: len(bench.said) == 50)
    assert bench.shown_at_once == 0
    bench.sight(bytes.fromhex("E28068940000500A9D2298C6"))
    await bench.scan("]E0" + MILK)
    assert bench.shown_at_once == 2, "a reject, and what a person scanned"


async def test_tags_have_a_room_of_their_own_and_its_bound_is_said_while_it_lasts(
    start: Start, monkeypatch: pytest.MonkeyPatch
):
    assert MOST_TAGS_WAITING == 5000
    most = 200
    monkeypatch.setattr(stations, "MOST_TAGS_WAITING", most)
    bench = await start()
    for serial in range(most + 3):
        bench.sight(sgtin(MILK, serial), after_ms=0)
    bench.read("]E0" + MILK, after_ms=0)
    assert bench.said == [("dock", "gate", "reject")], "a person's scan is taken, and three tags wait in view"
    last = bench.stations["dock"].last
    assert last is not None and "More than 200 tags" in last.text
    for _ in range(5):
        bench.sight(sgtin(MILK, most), after_ms=1000)
    assert bench.said == [("dock", "gate", "reject")] * 2
    await eventually_async(lambda: len(bench.said) == most + 3, 60)
    bench.sight(sgtin(MILK, 0), after_ms=2000)
    await eventually_async(lambda: len(bench.said) == most + 6, 60)
    await quiet(bench)
    assert [outcome for _, _, outcome in bench.said].count("ok") == most + 4


async def test_tags_that_stayed_in_view_over_a_restart_are_not_counted_again(start: Start):
    bench = await start()
    bench.sight(sgtin(MILK, 1))
    await eventually_async(lambda: bench.said)
    await bench.scan("TALLYMAN:DONE")
    now_ns = bench.now_ns
    bench = await start()
    bench.now_ns = now_ns
    Tags(bench.smoother, bench.folder / "tags.json", bench.history, {}, lambda: now_ns).load()
    for _ in range(100):
        bench.sight(sgtin(MILK, 1))
    await quiet(bench)
    assert (bench.said, len(await bench.events())) == ([], 1)
    bench.sight(sgtin(MILK, 1), after_ms=31_000)
    await eventually_async(lambda: bench.said)
    assert bench.said == [("dock", "gate", "ok")], "it was away, and this is another job"

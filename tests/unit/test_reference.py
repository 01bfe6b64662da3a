"""Reference data and tasks: parts, files, what happens to damaged ones, and which line comes next."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import tasks
from agent.choices import MOST_PUT_OFF, Choices
from agent.choices import load as load_choices
from agent.reference import MOST_PARTS, MOST_TOLD, Collector, Lookups, ReferenceData, Stored
from agent.tasks import Board
from sync.messages import Item, Reference, ReferenceDelta, Remove, Task, Tasks, Upsert
from tests.support.agents import MILK, MILK_CASE, pick, site
from tests.support.wait import eventually_async


def part(version: int, number: int, of: int, *skus: str) -> Reference:
    items = [Item(sku=sku, name=sku, gtins=[]) for sku in skus]
    return Reference(
        version=version,
        as_of=version * 10,
        part=number,
        parts=of,
        items=items,
        locations=[],
        operators=[],
        documents=[],
    )


def delta(since: int, version: int, *skus: str, gone: Sequence[str] = ()) -> ReferenceDelta:
    items = [Item(sku=sku, name=sku, gtins=[]) for sku in skus]
    return ReferenceDelta(
        from_=since, version=version, upsert=Upsert(items=items), remove=Remove(items=list(gone))
    )


def skus(stored: Stored | None) -> list[str]:
    assert stored is not None
    return [item.sku for item in stored.items]


class TestCollector:
    def test_one_part_is_whole(self):
        assert skus(Collector().add(part(1, 1, 1, "a"))) == ["a"]

    def test_parts_in_any_order_and_twice(self):
        collector = Collector()
        assert collector.add(part(1, 3, 3, "c")) is None
        assert collector.add(part(1, 1, 3, "a")) is None
        assert collector.add(part(1, 1, 3, "a")) is None
        whole = collector.add(part(1, 2, 3, "b"))
        assert whole is not None
        assert (skus(whole), whole.version, whole.as_of) == (["a", "b", "c"], 1, 10)

    def test_a_newer_version_drops_an_unfinished_older_one(self):
        collector = Collector()
        collector.add(part(1, 1, 2, "old"))
        collector.add(part(2, 1, 2, "a"))
        assert collector.add(part(1, 2, 2, "old")) is None
        assert skus(collector.add(part(2, 2, 2, "b"))) == ["a", "b"]

    def test_a_restored_central_may_count_lower(self):
        collector = Collector()
        collector.add(part(9, 1, 2, "new"))
        collector.add(part(3, 1, 2, "a"))
        assert skus(collector.add(part(3, 2, 2, "b"))) == ["a", "b"]

    def test_what_no_site_has_is_refused(self):
        collector = Collector()
        assert collector.add(part(1, 1, MOST_PARTS + 1)) is None
        assert collector.add(part(1, 3, 2)) is None
        assert skus(collector.add(part(1, 1, 1, "a"))) == ["a"]


class TestLookups:
    def test_all_ways_to_find_something(self):
        lookups = Lookups(site())
        found = lookups.gtin(MILK.zfill(14)), lookups.gtin(MILK_CASE)
        assert [(item.sku, level) for item, level in filter(None, found)] == [("MILK", 1), ("MILK", 12)]
        assert lookups.gtin("00000000000000") is None
        assert (lookups.item("LAMP") or pytest.fail()).name == "Lamp"
        assert (lookups.gln("9521234543213") or pytest.fail()).id == "B-02"
        assert (lookups.location("A-01") or pytest.fail()).walk_order == 10
        assert (lookups.badge("BADGE-7") or pytest.fail()).id == "op-7"
        assert (lookups.operator("op-7") or pytest.fail()).badge == "BADGE-7"
        assert (lookups.document("PO-1") or pytest.fail()).supplier == "Dairy"
        assert [document.id for document in lookups.documents("order")] == ["SO-1"]


class TestFile:
    async def test_it_is_used_when_it_is_durable_and_again_after_a_restart(self, tmp_path: Path):
        path, changes = tmp_path / "reference.json", []
        data = ReferenceData(path, lambda: changes.append(1))
        data.load()
        assert data.version is None
        running = asyncio.create_task(data.run())
        data.receive(part(4, 1, 2, "a"))
        data.receive(part(4, 2, 2, "b"))
        assert data.version is None, "not before it is in the file"
        await eventually_async(lambda: data.version == 4)
        assert changes == [1]
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        again = ReferenceData(path)
        again.load()
        assert again.version == 4
        assert again.now.item("b") is not None
        assert [file.name for file in tmp_path.iterdir()] == ["reference.json"]

    @pytest.mark.parametrize("content", [b"", b"{", b'{"version": "x"}', b"\xff\xfe", b"[" * 100_000])
    def test_a_damaged_file_is_kept_aside_and_asked_for_again(self, tmp_path: Path, content: bytes):
        path = tmp_path / "reference.json"
        path.write_bytes(content)
        data = ReferenceData(path)
        data.load()
        assert data.version is None
        assert not path.exists()
        assert (tmp_path / "reference.json.damaged").read_bytes() == content

    async def test_a_delta_is_claimed_when_it_is_durable_and_goes_on_from_there(self, tmp_path: Path):
        path, gaps = tmp_path / "reference.json", []
        data = ReferenceData(path, on_gap=lambda: gaps.append(1))
        running = asyncio.create_task(data.run())
        data.receive(part(4, 1, 1, "a", "b"))
        data.receive(delta(4, 5, "c", gone=["a"]))
        data.receive(delta(5, 9, "b"))
        assert data.version is None
        await eventually_async(lambda: data.version == 9)
        assert gaps == []
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        again = ReferenceData(path)
        again.load()
        assert (again.version, skus(again.now.stored)) == (9, ["b", "c"])

    async def test_a_delta_that_does_not_fit_is_dropped_and_asked_for(self, tmp_path: Path):
        gaps: list[int] = []
        data = ReferenceData(tmp_path / "reference.json", on_gap=lambda: gaps.append(1))
        running = asyncio.create_task(data.run())
        data.receive(delta(3, 4, "x"))
        await eventually_async(lambda: gaps == [1], what="nothing is known that it could change")
        data.receive(part(4, 1, 1, "a"))
        await eventually_async(lambda: data.version == 4)
        data.receive(delta(3, 4, "x"))  # told twice: nothing is missing
        data.receive(delta(4, 5, "b"))
        await eventually_async(lambda: data.version == 5)
        assert gaps == [1]
        data.receive(delta(6, 7, "c"))
        await eventually_async(lambda: gaps == [1, 1])
        assert (data.version, skus(data.now.stored)) == (5, ["a", "b"])
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    def test_deltas_that_wait_for_the_disk_are_bounded(self, tmp_path: Path):
        gaps: list[int] = []
        data = ReferenceData(tmp_path / "reference.json", on_gap=lambda: gaps.append(1))
        for number in range(MOST_TOLD + 2):
            data.receive(delta(number, number + 1))
        assert gaps == [1, 1]
        data.receive(part(9, 1, 1, "a"))
        assert gaps == [1, 1], "a snapshot takes the place of all that waits"

    async def test_a_disk_that_takes_nothing_leaves_the_old_one_in_use(self, tmp_path: Path):
        blocked = tmp_path / "file"
        blocked.write_text("")
        data = ReferenceData(blocked / "reference.json")
        running = asyncio.create_task(data.run())
        data.receive(part(1, 1, 1, "a"))
        await asyncio.sleep(0.1)
        assert not running.done()
        assert data.version is None
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    def test_choices_come_back_and_fall_back(self, tmp_path: Path):
        path = tmp_path / "dock.json"
        default = load_choices(path, location="DOCK-1", operator="op-1")
        assert (default.location, default.operator) == ("DOCK-1", "op-1")
        kept = default.with_changes({"location": "A-01", "put_off": "t1", "finished": True}, newest="e1")
        path.write_bytes(msgspec.json.encode(kept))
        assert load_choices(path, location="DOCK-1", operator=None) == kept
        assert (kept.later, kept.finished) == (("t1",), "e1")

    def test_lines_put_off_are_bounded(self):
        choices = Choices(location="DOCK-1")
        for number in range(MOST_PUT_OFF + 3):
            choices = choices.with_changes({"put_off": f"t{number}"}, newest=None)
        assert len(choices.later) == MOST_PUT_OFF
        assert choices.later[-1] == f"t{MOST_PUT_OFF + 2}"


def told(as_of: int, *given: Task) -> Tasks:
    return Tasks(as_of=as_of, tasks=list(given))


def whole(as_of: int, part: int, parts: int, *given: Task, **more: Any) -> Tasks:
    return Tasks(as_of=as_of, tasks=list(given), part=part, parts=parts, **{"history": "H1", **more})


class TestBoard:
    def board(self, tmp_path: Path, *given: Task) -> Board:
        board = Board(tmp_path / "tasks.json")
        board.receive(told(1, *given))
        return board

    def line_up(
        self,
        board: Board,
        *,
        here: str = "DOCK-1",
        station: str = "s",
        picked: Callable[[str], int] = lambda _task: 0,
        document: str | None = None,
        later: tuple[str, ...] = (),
    ) -> list[str]:
        lookups = Lookups(site())
        lines = board.line_up(
            station, lookups=lookups, picked=picked, here=here, document=document, later=later
        )
        return [task.task for task in lines]

    def test_walking_order_goes_on_and_round(self, tmp_path: Path):
        board = self.board(tmp_path, pick("b", "MILK", 1, "B-02"), pick("a", "MILK", 1, "A-01"))
        assert self.line_up(board) == ["a", "b"]
        assert self.line_up(board, here="B-02") == ["b", "a"]
        assert self.line_up(board, later=("a",)) == ["b", "a"]
        assert self.line_up(board, document="SO-2") == []
        assert self.line_up(board, picked=lambda task: 1 if task == "a" else 0) == ["b"]

    def test_what_another_station_works_on_is_not_offered(self, tmp_path: Path):
        board = self.board(tmp_path, pick("a", "MILK", 1, "A-01"))
        board.take("other", "a")
        assert self.line_up(board) == []
        assert self.line_up(board, station="other") == ["a"]
        board.take("other", None)
        assert self.line_up(board) == ["a"]

    def test_newer_replaces_and_older_does_not(self, tmp_path: Path):
        board = self.board(tmp_path)
        board.receive(told(5, pick("a", "MILK", 3, "A-01")))
        board.receive(told(4, pick("a", "MILK", 9, "A-01", status="cancelled")))
        assert (board.open_task("a") or pytest.fail()).quantity == 3
        board.receive(told(6, pick("a", "MILK", 3, "A-01", status="cancelled")))
        assert board.open_task("a") is None
        board.receive(told(5, pick("a", "MILK", 3, "A-01")))
        assert board.open_task("a") is None
        assert board.open_task(None) is None

    def test_bounds(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(tasks, "MOST_OPEN", 2)
        monkeypatch.setattr(tasks, "MOST_CANCELLED", 1)
        board = self.board(tmp_path, *(pick(name, "MILK", 1, "A-01") for name in "abc"))
        assert self.line_up(board) == ["a", "b"]
        board.receive(told(2, *(pick(name, "MILK", 1, "A-01", status="cancelled") for name in "ab")))
        board.receive(told(3, pick("c", "MILK", 1, "A-01")))
        assert self.line_up(board) == ["c"]

    def test_a_whole_list_ends_what_it_does_not_mention(self, tmp_path: Path):
        board = self.board(tmp_path, *(pick(name, "MILK", 1, "A-01") for name in "abc"))
        board.receive(whole(5, 1, 2, pick("a", "MILK", 1, "A-01")))
        assert self.line_up(board) == ["a", "b", "c"], "not before its last part"
        board.receive(Tasks(as_of=6, tasks=[pick("new", "MILK", 1, "A-01")], history="H1"))
        board.receive(whole(5, 2, 2, pick("b", "MILK", 1, "A-01")))
        assert self.line_up(board) == ["a", "b", "new"]
        board.receive(Tasks(as_of=4, tasks=[pick("c", "MILK", 1, "A-01")], history="H1"))
        assert self.line_up(board) == ["a", "b", "new"], "an older message does not bring it back"
        board.receive(whole(9, 1, 1))
        assert self.line_up(board) == []

    def test_parts_that_do_not_follow_each_other_end_nothing(self, tmp_path: Path):
        board = self.board(tmp_path, pick("a", "MILK", 1, "A-01"))
        for parts in ([whole(5, 2, 2)], [whole(5, 1, 3), whole(5, 3, 3)], [whole(5, 1, 2), whole(6, 2, 2)]):
            for part in parts:
                board.receive(part)
            assert self.line_up(board) == ["a"]

    def test_a_restored_central_counts_lower_and_is_believed(self, tmp_path: Path):
        """What it says counts from its first word, and what it never knew of is over with its first whole list."""
        board = Board(tmp_path / "tasks.json")
        board.receive(whole(90, 1, 1, pick("kept", "MILK", 2, "A-01"), pick("lost", "MILK", 1, "A-01")))
        restored = [pick("kept", "MILK", 5, "A-01"), pick("new", "MILK", 1, "A-01")]
        board.receive(whole(7, 1, 1, *restored, history="H2"))
        assert self.line_up(board) == ["kept", "new"]
        assert (board.open_task("kept") or pytest.fail()).quantity == 5

    def test_what_another_agent_has_is_offered_with_its_document_alone(self, tmp_path: Path):
        away = msgspec.structs.replace(pick("a", "MILK", 1, "A-01"), status="cancelled", holder="picker-2")
        board = self.board(tmp_path, away, pick("b", "MILK", 1, "B-02"))
        assert self.line_up(board) == ["b"]
        assert self.line_up(board, document="SO-1") == ["b", "a"]
        assert (board.open_task("a") or pytest.fail()).holder == "picker-2"
        board.receive(whole(5, 1, 1, pick("b", "MILK", 1, "B-02")))
        assert self.line_up(board, document="SO-1") == ["b"]

    def test_a_lease_that_has_passed_is_told_and_stops_nobody(self, tmp_path: Path):
        board = Board(tmp_path / "tasks.json")
        assert not board.leases_passed(10.0**9)
        board.receive(whole(5, 1, 1, pick("a", "MILK", 1, "A-01"), lease_s=60), now=100.0)
        assert not board.leases_passed(159.0)
        assert board.leases_passed(160.0)
        assert self.line_up(board) == ["a"]

    async def test_tasks_survive_a_boot_without_network(self, tmp_path: Path):
        board = self.board(tmp_path)
        running = asyncio.create_task(board.run())
        board.receive(told(2, pick("a", "MILK", 1, "A-01")))
        await eventually_async((tmp_path / "tasks.json").exists)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        again = Board(tmp_path / "tasks.json")
        again.load()
        assert self.line_up(again) == ["a"]

"""The shell around the smoothing: its clock, its file, and whom it tells."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import structlog

from agent.history import History
from agent.smoothing import Change, Parameters, Place, Smoother
from agent.tags import KEEP_S, TICK_S, Tags
from devices.reader import PortStatus
from devices.reads import TagRead
from sync.journal import Recorded
from sync.messages import Event

MS, S = 1_000_000, 1_000_000_000


class Bench:
    """Tags of two gates of one station, with a clock that goes on when told to."""

    def __init__(self, folder: Path, history: History | None = None) -> None:
        at_once = Parameters(believe_reads=1, settle_ms=0)
        gates = [Place(name, "dock", ((name, None),), None, at_once) for name in ("east", "west")]
        self.smoother = Smoother(gates, 100)
        self.told: list[Change] = []
        self.now_ns = 5 * S
        self.path = folder / "tags.json"
        self.tags = Tags(
            self.smoother, self.path, history or History(), {"dock": self.told.append}, lambda: self.now_ns
        )

    def see(self, epc: bytes, gate: str = "east") -> None:
        self.now_ns += 100 * MS
        self.tags.hear(TagRead(gate, b"", epc, 0.0, self.now_ns, None, -50.0))

    async def settle(self) -> None:
        for change in self.told:
            self.smoother.settled(change)
        await self.tags.keep()


def received(number: int, epc: str, device: str) -> Recorded:
    capture = {"station": "dock", "device": device, "epc": epc, "text": epc}
    event = Event(
        id=f"e{number}",
        source="agent",
        type="tallyman.received.v1",
        time="2026-01-01T00:00:00Z",
        incarnation="i",
        sequence=f"{number:020}",
        data={"capture": capture},
    )
    return Recorded("i", number, event, 0)


def said(bench: Bench) -> list[str]:
    return [f"{change.kind} {change.epc.hex()} {change.place.name}" for change in bench.told]


async def test_what_was_in_view_is_kept_and_is_not_news_after_a_restart(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.see(b"\1")
    await bench.settle()
    again = Bench(tmp_path)
    again.tags.load()
    again.see(b"\1")
    again.see(b"\2")
    assert said(again) == ["arrived 02 east"]


async def test_nothing_is_written_when_nothing_changed(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.see(b"\1")
    await bench.settle()
    bench.path.unlink()
    for _ in range(10):
        bench.see(b"\1")
    await bench.tags.keep()
    assert not bench.path.exists()


async def test_what_was_recorded_after_the_file_was_written_is_told_by_the_journal(tmp_path: Path):
    history = History()
    history.restore([received(1, "01", "east")], {})
    bench = Bench(tmp_path, history)
    await bench.settle()
    bench.see(b"\7")
    await bench.settle()
    history.add(received(2, "02", "west"))
    history.add(received(3, "03", "no such device"))
    again = Bench(tmp_path, history)
    again.tags.load()
    again.see(b"\7")
    again.see(b"\2", "west")
    again.see(b"\1")
    again.see(b"\3")
    assert said(again) == ["arrived 01 east", "arrived 03 east"], "01 had gone before the file was written"


async def test_where_a_tag_was_recorded_after_the_file_was_written_is_where_it_is(tmp_path: Path):
    history = History()
    bench = Bench(tmp_path, history)
    bench.see(b"\1")
    await bench.settle()
    history.add(received(1, "01", "west"))
    again = Bench(tmp_path, history)
    again.tags.load()
    for _ in range(300):
        again.see(b"\1", "west")
    assert said(again) == []


async def test_a_tag_whose_place_was_renamed_is_where_the_journal_says(tmp_path: Path):
    history = History()
    history.restore([received(1, "01", "west")], {})
    kept = {"newest": "e1", "tags": [["01", "old name", 9, None], ["02", "old name", 9, None]]}
    (tmp_path / "tags.json").write_text(json.dumps(kept))
    bench = Bench(tmp_path, history)
    bench.tags.load()
    bench.see(b"\1", "west")
    bench.see(b"\2", "west")
    assert said(bench) == ["arrived 02 west"]


async def test_a_damaged_file_is_no_reason_not_to_start(tmp_path: Path):
    (tmp_path / "tags.json").write_bytes(b"\0\0\0")
    bench = Bench(tmp_path)
    with structlog.testing.capture_logs() as entries:
        bench.tags.load()
    assert [entry["log_level"] for entry in entries] == ["error"]
    bench.see(b"\1")
    assert said(bench) == ["arrived 01 east"]


async def test_a_disk_that_takes_nothing_is_said_and_stops_nothing(tmp_path: Path):
    bench = Bench(tmp_path / "file" / "x")
    (tmp_path / "file").write_text("")
    bench.see(b"\1")
    with structlog.testing.capture_logs() as entries:
        await bench.settle()
    assert [entry["event"] for entry in entries] == ["the tags in view cannot be kept; check the disk"]
    (tmp_path / "file").unlink()
    bench.path.parent.mkdir(parents=True)
    await bench.tags.keep()  # nothing changed since, and it is kept all the same
    assert bench.path.exists()


async def test_a_port_that_is_away_hears_nothing_and_an_idle_one_listens(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.see(b"\1")

    def change(status: str) -> None:
        bench.tags.port_changed("east", PortStatus(status, None, "2026-01-01T00:00:00Z"))  # type: ignore[arg-type]

    for status in ("failed", "connecting"):
        change(status)
        bench.now_ns += 1000 * S
        assert bench.smoother.tick(bench.now_ns) == []
    change("silent")
    bench.now_ns += 60 * S
    assert [told.kind for told in bench.smoother.tick(bench.now_ns)] == ["departed"]


async def test_time_is_told_and_the_file_written_while_it_runs_and_when_it_ends(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.see(b"\1")
    bench.smoother.settled(bench.told[0])
    running = asyncio.create_task(bench.tags.run())
    bench.now_ns += 60 * S
    await asyncio.sleep(5 * TICK_S)
    assert said(bench) == ["arrived 01 east", "departed 01 east"]
    assert json.loads(bench.path.read_text())["tags"] == []
    bench.see(b"\2")
    bench.smoother.settled(bench.told[-1])
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert json.loads(bench.path.read_text())["tags"] == [["02", "east", 0, None]]
    assert KEEP_S == 2.0

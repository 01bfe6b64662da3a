"""The demo's worker at a station that dies, answers late, or refuses: nothing is scanned twice, nothing forgotten."""

import asyncio
import os
import random
from typing import Any

import pytest

from simulators.demo import worker as rules
from simulators.demo.station import Station
from simulators.demo.warehouse import ARRIVING, Label, piece
from simulators.demo.worker import CannotGoOn, Worker
from simulators.scanner import Scanner

TEA, HONEY = piece(ARRIVING[0]), piece(ARRIVING[3])


class Agent:
    """What stands at the other end of the scanner's cable: records each line, once, and shows it."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.station = Station(None, "http://nowhere", "dock-1")
        self.journal: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.last: dict[str, Any] | None = None
        self.answer = self.record_and_show
        self._token, self._port, self._rest = 0, -1, b""

    def start(self) -> None:
        self._port = os.open(self.scanner.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._port, self._read)

    async def die(self) -> None:
        asyncio.get_running_loop().remove_reader(self._port)
        os.close(self._port)
        self._rest, self.last = b"", None
        await self.station._show(None)

    async def restart(self) -> None:
        self.start()
        await self.show()

    def _read(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._port, 4096)).split(b"\r\n")
        for line in lines:
            self.lines.append(line.decode())
            self._task = asyncio.ensure_future(self.answer(line.decode()[3:]))

    def record(self, code: str) -> str:
        event_id = f"e{len(self.journal) + 1}"
        entry = {"event_id": event_id, "type": "received", "code": code, "undone": False}
        self.journal.insert(0, entry)
        return event_id

    async def record_and_show(self, code: str) -> None:
        await self.say("ok", code, self.record(code))

    async def say(self, outcome: str, code: str, event_id: str | None = None) -> None:
        self._token += 1
        self.last = {"outcome": outcome, "code": code, "event_id": event_id, "text": "", "token": self._token}
        await self.show()

    async def show(self) -> None:
        await self.station._show({"last": self.last, "recorded": list(self.journal), "status": {"queued": 0}})


@pytest.fixture
async def agent(tmp_path):
    with Scanner(tmp_path / "scanner", rng=random.Random(1)) as scanner:
        agent = Agent(scanner)
        await agent.restart()
        yield agent
        await agent.die()


@pytest.fixture
def worker(agent, monkeypatch):
    monkeypatch.setattr(rules, "ANSWER_TIMEOUT_S", 1.0)
    monkeypatch.setattr(rules, "NOTICE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(rules, "BACK_TIMEOUT_S", 2.0)
    return Worker("received", agent.station, agent.scanner, pace_s=0)


async def test_an_ok_is_one_thing(agent, worker):
    one, two = await worker.handle(TEA), await worker.handle(HONEY)
    assert (one.event_id, two.event_id) == ("e1", "e2")
    assert len(agent.lines) == 2
    assert agent.station.oks == {"e1": TEA.label.text, "e2": HONEY.label.text}


async def had_a_first_outcome(agent: Agent, worker: Worker) -> None:
    """As every station soon has: its number is how a restart shows, however short."""
    await worker.handle(HONEY)
    agent.lines.clear()


async def test_what_died_with_the_agent_is_scanned_again(agent, worker):
    async def die_before_recording(_code: str) -> None:
        await agent.die()
        agent.answer = agent.record_and_show
        asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(agent.restart()))

    await had_a_first_outcome(agent, worker)
    agent.answer = die_before_recording
    handled = await worker.handle(TEA)
    assert handled.rescanned
    assert not handled.found_listed
    assert len(agent.lines) == 2
    assert len(agent.journal) == 2


async def test_what_is_listed_after_a_restart_is_not_scanned_again(agent, worker):
    async def record_and_die(code: str) -> None:
        agent.record(code)
        await agent.die()
        asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(agent.restart()))

    await had_a_first_outcome(agent, worker)
    agent.answer = record_and_die
    handled = await worker.handle(TEA)
    assert handled.found_listed
    assert not handled.rescanned
    assert len(agent.lines) == 1
    assert len(agent.journal) == 2


async def test_a_late_answer_is_waited_for(agent, worker):
    async def late(code: str) -> None:
        await asyncio.sleep(0.6)
        await agent.record_and_show(code)

    agent.answer = late
    await worker.handle(TEA)
    assert len(agent.lines) == 1


async def test_a_screen_that_goes_dark_is_no_reason_to_scan_again(agent, worker):
    async def dark_for_a_moment(code: str) -> None:
        await agent.station._show(None)
        await asyncio.sleep(0.3)
        await agent.record_and_show(code)

    agent.answer = dark_for_a_moment
    await worker.handle(TEA)
    assert len(agent.lines) == 1


async def test_an_older_entry_is_not_taken_for_this_thing(agent, worker):
    agent.record(TEA.label.text)
    await agent.show()
    assert (await worker.handle(TEA)).event_id == "e2"


async def test_a_double_read_is_one_thing_and_its_outcome_is_noted(agent, worker):
    async def guarded(code: str) -> None:
        if agent.journal:
            await agent.say("duplicate", code)
        else:
            await agent.record_and_show(code)

    agent.answer = guarded
    await worker.handle(TEA, bounce=True)
    assert len(agent.lines) == 2
    assert worker.not_counted == ["duplicate"]
    assert [one.event_id for one in worker.handled] == ["e1"]


async def test_what_is_refused_stops_the_worker(agent, worker):
    async def refuse(code: str) -> None:
        await agent.say("reject", code)

    agent.answer = refuse
    with pytest.raises(CannotGoOn, match="is not taken"):
        await worker.handle(TEA)
    with pytest.raises(CannotGoOn, match="is refused"):
        await worker.present(Label("A-01", "]C0"))
    await worker.strange_label(Label("WHAT?", "]C0"))
    assert worker.not_counted == ["reject"]


async def test_no_answer_stops_the_worker(agent, worker):
    async def silence(_code: str) -> None:
        pass

    agent.answer = silence
    with pytest.raises(CannotGoOn, match="no answer to"):
        await worker.handle(TEA)
    assert len(agent.lines) == 1


async def test_a_label_of_a_place_is_scanned_until_the_station_knows_it(agent, worker):
    async def slow_to_learn(code: str) -> None:
        await agent.say("ok" if len(agent.lines) == 3 else "reject", code)

    agent.answer = slow_to_learn
    await worker.present(Label("A-01", "]C0"), patience_s=10)
    assert agent.lines == ["]C0A-01"] * 3
    assert agent.journal == []

"""The worker: scans, looks at the station, and goes on when it says OK. Whatever happens, does what a person would.

The one rule that keeps the count right: nothing is scanned again unless the station can be asked, and does not list
it. A scan whose answer is late is waited for; only when the agent is away, or started anew, may it be lost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from simulators import labels
from simulators.demo.station import NoAnswer, State, Station, listed, outcome, token
from simulators.demo.warehouse import Goods, Label
from simulators.scanner import Scanner, Unplugged
from simulators.symbols import FNC1

ANSWER_TIMEOUT_S: Final = 10.0
"""An agent that runs answers within a blink; on a very busy machine it may take longer."""
BACK_TIMEOUT_S: Final = 30.0
"""From the death of an agent until its station shows something again."""
SAME_LABEL_S: Final = 0.45
"""The station skips the same code within 400 ms as a double read; a person does not scan that fast."""
NOTICE_TIMEOUT_S: Final = 3.0
"""How long to look for the answer to what must not count."""
ATTEMPTS_MOST: Final = 8
_GLANCE_S = 0.25


Answer = Literal["not sent", "listed", "broke"]


class CannotGoOn(Exception):
    """The worker stands at a station that does not do its job; the text says what it shows."""


@dataclass(frozen=True, slots=True)
class Handled:
    """One physical thing that went through somebody's hands or a gate, and the event that the station showed."""

    flow: str
    station: str
    goods: Goods
    event_id: str
    rescanned: bool
    """Its first scan was lost, and the station did not list it."""
    found_listed: bool
    """Nobody saw its OK: the station listed it after a restart."""


class Worker:
    """One person with a scanner at a station, and at the dock a camera's folder.

    Args:
        flow: `received` or `picked`: what the station records here.
        pace_s: how long one thing takes at the least.
    """

    def __init__(
        self, flow: str, station: Station, scanner: Scanner, *, camera: Path | None = None, pace_s: float
    ) -> None:
        self.flow, self.station = flow, station
        self._scanner, self._camera, self._pace_s = scanner, camera, pace_s
        self.handled: list[Handled] = []
        self.not_counted: list[str] = []
        """Outcomes of what must not count: double reads, strange labels."""
        self.mid_scan: Callable[[], Awaitable[None]] | None = None
        """Called once, after the next thing was scanned and before anybody looked."""
        self._before: set[str] = set()
        self._answered_at: dict[str, float] = {}
        self._pictures = 0

    # --- goods ---------------------------------------------------------------------------------------------

    async def handle(self, goods: Goods, *, bounce: bool = False) -> Handled:
        """Scan one thing until the station has it, once. With `bounce` the first scan is a double read.

        Raises:
            CannotGoOn: the station refuses it, or says nothing.
        """
        began, scans, broke = time.monotonic(), 0, False
        # What was there before is not this thing, also if nobody ticked it off: the proof will name it.
        self._before = {entry["event_id"] for entry in (await self._look())["recorded"]}
        while (entry := await self._recorded(goods)) is None:
            if scans >= ATTEMPTS_MOST:
                raise CannotGoOn(f"{goods.label.text!r} scanned {scans} times: {self.station.describe()}")
            answer = await self._scan_goods(goods, bounce=bounce and not scans)
            scans += answer != "not sent"
            broke = answer == "broke"
        event_id = str(entry["event_id"])
        self._answered_at[goods.label.text] = time.monotonic()
        handled = Handled(self.flow, self.station.name, goods, event_id, scans > 1, broke and scans == 1)
        self.handled.append(handled)
        if bounce:
            self._note(await self._until(lambda state: outcome(state) not in (None, "ok"), NOTICE_TIMEOUT_S))
        await asyncio.sleep(max(0.0, began + self._pace_s - time.monotonic()))
        return handled

    async def _recorded(self, goods: Goods) -> State | None:
        """What the station lists for this thing, asked when the scanner is plugged in."""
        await self._plugged()
        return self._listed(await self._look(), goods)

    def _listed(self, state: State, goods: Goods) -> State | None:
        for entry in listed(state):
            new = entry["event_id"] not in self._before
            if new and entry["type"] == self.flow and entry["code"] == goods.label.text:
                return entry
        return None

    async def _look(self) -> State:
        try:
            return await self.station.until("was dark", lambda _: True, BACK_TIMEOUT_S)
        except NoAnswer as problem:
            raise CannotGoOn(str(problem)) from problem

    async def _plugged(self) -> None:
        deadline = time.monotonic() + BACK_TIMEOUT_S
        while not self._scanner.connected():
            if time.monotonic() > deadline:
                raise CannotGoOn(f"nobody opened {self._scanner.path} for {BACK_TIMEOUT_S:g} s")
            await asyncio.sleep(_GLANCE_S / 10)

    async def _scan_goods(self, goods: Goods, *, bounce: bool) -> Answer:
        """Let it be read and wait for what comes of it."""
        before = token(await self._look())
        if goods.on_camera:
            picture = await asyncio.to_thread(self._lay_down, goods)
            try:
                return await self._answer(before, goods)
            finally:
                picture.unlink(missing_ok=True)
        if not await self._scan(goods.label, bounce=bounce):
            return "not sent"
        return await self._answer(before, goods)

    async def _answer(self, before: int, goods: Goods) -> Answer:
        """Wait until the station lists this thing, or the agent is gone or was, so that the scan may be lost.

        Raises:
            CannotGoOn: it is refused, or there is no answer although nothing broke.
        """
        deadline = time.monotonic() + ANSWER_TIMEOUT_S

        def answered(state: State) -> bool:
            return token(state) != before or self._listed(state, goods) is not None

        while time.monotonic() < deadline:
            if not self._scanner.connected():
                return "broke"
            try:
                state = await self.station.until("no answer", answered, _GLANCE_S)
            except NoAnswer:
                continue
            if token(state) < before:  # the agent started anew: what it lists now is all it ever read
                return "broke"
            if self._listed(state, goods) is not None:
                return "listed"
            before, last = token(state), state["last"]
            if last.get("code") == goods.label.text and last["outcome"] != "ok":
                raise CannotGoOn(f"{goods.label.text!r} is not taken: {self.station.describe()}")
        raise CannotGoOn(f"no answer to {goods.label.text!r}: {self.station.describe()}")

    # --- the two ways of reading ---------------------------------------------------------------------------

    async def _scan(self, label: Label, *, bounce: bool = False) -> bool:
        """Pull the trigger; False if nobody listens at the other end of the cable."""
        rest = self._answered_at.get(label.text, 0.0) + SAME_LABEL_S - time.monotonic()
        await asyncio.sleep(max(0.0, rest))
        try:
            read = self._scanner.scan_twice if bounce else self._scanner.scan
            await asyncio.to_thread(read, label.text, label.aim_id)
        except Unplugged:
            return False
        mid_scan, self.mid_scan = self.mid_scan, None
        if mid_scan is not None:
            await mid_scan()
        return True

    def _lay_down(self, goods: Goods) -> Path:
        """Put the case below the camera: a picture that appears whole."""
        assert self._camera is not None
        self._pictures += 1
        text = FNC1 + goods.label.text
        drawn = labels.render("gs1-128", text, caption=goods.label.caption, seed=self._pictures)
        picture = self._camera / f"{self._pictures:06d}.png"
        unfinished = picture.with_name(f".{picture.name}")
        unfinished.write_bytes(drawn)
        return unfinished.rename(picture)

    # --- what is no goods ----------------------------------------------------------------------------------

    async def present(self, label: Label, patience_s: float = 0.0) -> None:
        """Scan a badge, a paper or a shelf until the station says OK. Doing so twice does no harm.

        Args:
            label: what is scanned.
            patience_s: how long it may be refused: the station may still be told what it is.

        Raises:
            CannotGoOn: it refuses, or says nothing.
        """
        patient_until, scans = time.monotonic() + patience_s, 0
        while scans < ATTEMPTS_MOST or time.monotonic() < patient_until:
            scans += 1
            await self._plugged()
            before = token(await self._look())
            if not await self._scan(label):
                continue
            state = await self._outcome_after(before, ANSWER_TIMEOUT_S)
            self._answered_at[label.text] = time.monotonic()
            if state is not None and outcome(state) == "ok":
                return
            if state is not None and outcome(state) == "reject" and time.monotonic() > patient_until:
                raise CannotGoOn(f"{label.text!r} is refused: {self.station.describe()}")
        raise CannotGoOn(f"no answer to {label.text!r}: {self.station.describe()}")

    # --- what must not count -------------------------------------------------------------------------------

    async def strange_label(self, label: Label) -> None:
        """Scan something that nobody knows: it must be refused."""
        await self._plugged()
        before = token(await self._look())
        if await self._scan(label):
            self._note(await self._outcome_after(before))

    async def show_again(self, goods: Goods) -> None:
        """Lay a case that is recorded already below the camera once more: it must be a duplicate."""
        before = token(await self._look())
        picture = await asyncio.to_thread(self._lay_down, goods)
        self._note(await self._outcome_after(before))
        picture.unlink(missing_ok=True)

    def _note(self, state: State | None) -> None:
        self.not_counted.append((outcome(state) if state is not None else None) or "no answer")

    async def _outcome_after(self, before: int, timeout_s: float = NOTICE_TIMEOUT_S) -> State | None:
        return await self._until(lambda state: token(state) > before, timeout_s)

    async def _until(self, shown: Callable[[State], bool], timeout_s: float) -> State | None:
        """What the screen shows then; None if the scanner's link broke or it did not come."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._scanner.connected():
            try:
                return await self.station.until("no answer", shown, _GLANCE_S)
            except NoAnswer:
                continue
        return None

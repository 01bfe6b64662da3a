"""The gate of the demo: a reader with two antennas, and a forklift that drives tagged pallets past them.

The one idea: nobody here scans or looks. The reader hears whatever its radio reaches, again and again, and what came
of it is read off the station's screen when the pallet has passed.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from simulators.demo.station import NoAnswer, State, Station, listed
from simulators.demo.warehouse import Goods
from simulators.demo.worker import CannotGoOn, Handled
from simulators.hardware.rig import Rig
from simulators.portal import INSIDE, OUTSIDE, Load, Portal, Tag, pallet

ROUND_S: Final = 0.05
"""The reader changes its antenna after so long."""
SPEED_M_S: Final = 2.0
"""A forklift at a gate; one in a hurry drives HURRY_M_S."""
HURRY_M_S: Final = 3.0
FAR_M: Final = 6.0
"""From here on, nothing is heard of its tags."""
_BEGINS_M: Final = -4.5
STANDS_M: Final = 0.4
"""In the gate, a little inside: some of its tags have passed and others not."""
STANDS_S: Final = 1.0
_PARKED_M: Final = -3.0
PASSED_TIMEOUT_S: Final = 8.0
"""After the pallet has gone: departures are told within seconds, on any machine."""
QUIET_S: Final = 1.5


class Gate:
    """One gate at work. `run` goes on for ever; `drive` moves the pallet."""

    def __init__(self, rig: Rig, station: Station, goods: Sequence[Goods], stray: str, seed: float) -> None:
        rng = random.Random(seed)  # noqa: S311 (simulation)
        self.station, self._rig, self._goods = station, rig, goods
        self.pallet = Load(pallet((one.label.text for one in goods), rng), _BEGINS_M)
        parked = Load((Tag(stray, beside_m=1.0),), _PARKED_M)
        self._portal = Portal(rng, [self.pallet, parked])
        self.times_read: Counter[str] = Counter()
        """By EPC."""

    async def run(self) -> None:
        """Round by round, one antenna after the other."""
        antenna = OUTSIDE
        while True:
            heard = self._portal.round(antenna)
            self.times_read.update(thing.epc for thing in heard if thing.epc is not None)
            if heard:
                await asyncio.to_thread(self._rig.see, *heard)
                self._rig.take_decided()  # nobody asks for this account, and the demo may run for days
            antenna = INSIDE if antenna == OUTSIDE else OUTSIDE
            await asyncio.sleep(ROUND_S)

    async def drive(self, to_m: float, speed_m_s: float = SPEED_M_S) -> None:
        """Straight on."""
        loop, load = asyncio.get_running_loop(), self.pallet
        began, from_m = loop.time(), load.at_m
        way = 1 if to_m > from_m else -1
        while load.at_m != to_m:
            await asyncio.sleep(ROUND_S)
            driven_m = min(abs(to_m - from_m), speed_m_s * (loop.time() - began))
            load.at_m = from_m + way * driven_m if driven_m < abs(to_m - from_m) else to_m

    async def until_listed(self, timeout_s: float) -> int:
        """Wait until the station lists every case, but not for ever; how many it lists."""
        with contextlib.suppress(NoAnswer):
            await self.station.until(
                "not every case was listed", lambda state: not self._missing(state), timeout_s
            )
        return len(self._goods) - len(self._missing(self.station.state))

    def _missing(self, state: State | None) -> set[str]:
        shown = {entry["code"] for entry in listed(state)} if state is not None else set()
        return {one.label.text for one in self._goods} - shown

    async def handled(self) -> list[Handled]:
        """Every case on the pallet, with the event that the station shows for it.

        Raises:
            CannotGoOn: the station does not list them all.
        """
        await self.until_listed(PASSED_TIMEOUT_S)
        state = self.station.state
        if state is None or self._missing(state):
            missing = sorted(self._missing(state))
            raise CannotGoOn(
                f"the gate does not list {len(missing)} cases, such as {missing[0]}: {self.station.describe()}"
            )
        # The oldest of each: what was recorded twice is for the proof to find.
        entries = {entry["code"]: entry for entry in listed(state)}
        return [self._handled(one, entries[one.label.text]) for one in self._goods]

    def _handled(self, goods: Goods, entry: State) -> Handled:
        event_id = str(entry["event_id"])
        unseen = bool(entry["before_restart"]) and event_id not in self.station.oks
        return Handled("received", self.station.name, goods, event_id, rescanned=False, found_listed=unseen)

    async def passed(self) -> Mapping[str, int]:
        """What the screen says of the passage, once nothing passes any more."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PASSED_TIMEOUT_S
        before = None
        while loop.time() < deadline:
            passage = (self.station.state or {}).get("passage") or {}
            counts: Mapping[str, int] = passage.get("counts", {})
            if counts == before:
                break
            before = dict(counts)
            await asyncio.sleep(QUIET_S)
        return before or {}

"""The gate of the demo: a reader with two antennas, and a forklift that drives tagged pallets past them.

The one idea: nobody here scans or looks. The reader hears whatever its radio reaches, again and again, and what came
of it is read off the station's screen when the pallet has passed.
"""

import asyncio
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
_PARKED_M: Final = -3.0
PASSED_TIMEOUT_S: Final = 20.0
"""After the pallet has gone: departures are told within seconds; a restart may fall in between."""
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

    async def handled(self) -> list[Handled]:
        """Every case on the pallet, with the event that the station shows for it.

        Raises:
            CannotGoOn: the station does not list them all.
        """
        codes = {one.label.text for one in self._goods}

        def all_listed(state: State) -> bool:
            return codes <= {entry["code"] for entry in listed(state)}

        try:
            state = await self.station.until("not every case was listed", all_listed, PASSED_TIMEOUT_S)
        except NoAnswer as problem:
            shown = {entry["code"] for entry in listed(self.station.state or {"recorded": []})}
            missing = ", ".join(sorted(codes - shown)[:5])
            raise CannotGoOn(f"{problem}; {len(codes - shown)} are missing, such as {missing}") from problem
        # The oldest of each: what was recorded twice is for the proof to find.
        entries = {entry["code"]: entry for entry in listed(state)}
        oks = self.station.oks
        return [
            Handled(
                "received",
                self.station.name,
                one,
                (event_id := str(entries[one.label.text]["event_id"])),
                rescanned=False,
                found_listed=bool(entries[one.label.text]["before_restart"]) and event_id not in oks,
            )
            for one in self._goods
        ]

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

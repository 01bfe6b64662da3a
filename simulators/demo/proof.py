"""The proof from outside: what was handled or passed the gate, what got an OK, what central says, what stations list.

Four lists that come from four places are compared event by event. Everything that does not fit is named with its
event id and code. The comparison is pure; `gather` reads central through REST and the stations' pages.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from simulators.demo.rest import Central
from simulators.demo.station import NoAnswer, State, Station, listed
from simulators.demo.worker import Handled

FLOWS: Final = ("received", "picked")
DRAIN_TIMEOUT_S: Final = 20.0
"""After the network is whole: reconnecting takes at most a few seconds, draining a few scans much less."""
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Movement:
    """What central booked for one event."""

    event_id: str
    flow: str
    station: str
    """Of the agent that sent it; its station has the same name."""
    sku: str
    quantity: int
    outcome: str
    document: str | None


@dataclass(frozen=True, slots=True)
class Stock:
    """Base units of one item."""

    on_hand: int
    available: int
    picked: int

    def __str__(self) -> str:
        return f"{self.on_hand} on hand, {self.available} available, {self.picked} picked"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is compared."""

    handled: Sequence[Handled]
    """From the workers: what was in their hands; and what was driven through the gate."""
    documents: Mapping[str, str]
    """The document that each station worked for."""
    oks: Mapping[str, str]
    """From the stations' screens: event id → code, of every OK that was shown."""
    movements: Sequence[Movement]
    """From central: every movement of these flows."""
    listed: Mapping[str, str]
    """From the stations' pages now: event id → code."""
    expected_stock: Mapping[str, Stock]
    stock: Mapping[str, Stock]
    """From central: availability by SKU."""
    complaints: Sequence[str] = ()
    """What went wrong while gathering, for example a queue that did not drain."""


@dataclass(frozen=True, slots=True)
class Count:
    """One flow at one station in numbers; `units` are base units."""

    flow: str
    station: str
    scanned: int
    okd: int
    recorded: int
    units_scanned: int
    units_recorded: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison found."""

    counts: tuple[Count, ...]
    listed: int
    """How many of the OK'd events the stations list now."""
    items: int
    """Of how many items central's stock was compared."""
    lost: tuple[str, ...]
    """Each names an event that got an OK and that central or the journal does not have."""
    twice: tuple[str, ...]
    """Each names an event that central booked although nobody handled anything for it, or booked twice."""
    other: tuple[str, ...] = field(default=())
    """Whatever else does not fit."""

    @property
    def proven(self) -> bool:
        """Everything fits."""
        return not self.differences()

    def numbers(self) -> list[str]:
        """What was compared, a line for each flow."""
        return [
            *(
                f"{count.flow} at {count.station}: {count.scanned} scanned, {count.okd} OK'd,"
                f" {count.recorded} recorded"
                f" ({count.units_scanned} units handled, {count.units_recorded} in the books)"
                for count in self.counts
            ),
            f"the stations list {self.listed} events; central's stock of {self.items} items was compared",
        ]

    def summary(self) -> str:
        """The one line that says it all."""
        total = [
            sum(getattr(count, name) for count in self.counts) for name in ("scanned", "okd", "recorded")
        ]
        equal = " = " if len(set(total)) == 1 else " / "
        words, numbers = equal.join(("scanned", "OK'd", "recorded")), equal.join(map(str, total))
        return f"{words}, {len(self.lost)} lost, {len(self.twice)} twice ({numbers})"

    def differences(self) -> tuple[str, ...]:
        """Whatever does not fit, each with its event."""
        return (*self.lost, *self.twice, *self.other)


def compare(evidence: Evidence) -> Verdict:
    """Compare event by event."""
    codes = {one.event_id: one.goods.label.text for one in evidence.handled}
    return Verdict(
        counts=tuple(_count(evidence, flow, station) for flow, station in _jobs(evidence)),
        listed=len(codes.keys() & evidence.listed.keys()),
        items=len(evidence.expected_stock),
        lost=tuple(_lost(evidence, codes)),
        twice=tuple(_twice(evidence, codes)),
        other=(*_wrong(evidence), *_wrong_stock(evidence), *evidence.complaints),
    )


def _jobs(evidence: Evidence) -> Iterable[tuple[str, str]]:
    """Who did what, in order; also what only central knows of."""
    handled = dict.fromkeys((one.flow, one.station) for one in evidence.handled)
    return handled | dict.fromkeys((one.flow, one.station) for one in evidence.movements)


def _count(evidence: Evidence, flow: str, station: str) -> Count:
    handled = [one for one in evidence.handled if (one.flow, one.station) == (flow, station)]
    booked = [one for one in evidence.movements if (one.flow, one.station) == (flow, station)]
    okd = {one.event_id for one in handled if _was_okd(one, evidence)}
    # An OK that belongs to no thing anybody handled counts for the flow that central booked it in.
    okd |= {movement.event_id for movement in booked if movement.event_id in evidence.oks}
    return Count(
        flow,
        station,
        len(handled),
        len(okd),
        len(booked),
        sum(one.goods.quantity for one in handled),
        sum(movement.quantity for movement in booked),
    )


def _was_okd(one: Handled, evidence: Evidence) -> bool:
    """On the screen, or by the list after a restart: then nobody was there to see it."""
    return one.found_listed or one.event_id in evidence.oks


def _lost(evidence: Evidence, codes: Mapping[str, str]) -> Iterable[str]:
    booked = {movement.event_id for movement in evidence.movements}
    for event_id, code in {**evidence.oks, **codes}.items():
        places = [
            place
            for place, known in (("central's movements", booked), ("the station's list", evidence.listed))
            if event_id not in known
        ]
        if places:
            yield f"lost: event {event_id}, code {code}: it got an OK and is not in {' nor in '.join(places)}"


def _twice(evidence: Evidence, codes: Mapping[str, str]) -> Iterable[str]:
    """Booked more than once, or booked for nothing that was in anybody's hands."""
    times = Counter(movement.event_id for movement in evidence.movements)
    for movement in {movement.event_id: movement for movement in evidence.movements}.values():
        what = f"event {movement.event_id}, {movement.flow} {movement.quantity} × {movement.sku}"
        if times[movement.event_id] > 1:
            yield f"twice: {what}: central has {times[movement.event_id]} movements for it"
        if movement.event_id not in codes:
            yield f"twice: {what}: central booked it, and nobody handled anything for it"
    for event_id, code in {**evidence.listed, **evidence.oks}.items():
        if event_id not in codes and event_id not in times:
            yield f"twice: event {event_id}, code {code}: a station recorded it, and nobody handled anything for it"


def _wrong(evidence: Evidence) -> Iterable[str]:
    """No OK was shown, or booked once, as something else."""
    for one in evidence.handled:
        if not _was_okd(one, evidence):
            yield f"unseen: event {one.event_id}, code {one.goods.label.text}: recorded, but no OK was shown"
    booked = {movement.event_id: movement for movement in evidence.movements}
    for one in evidence.handled:
        movement = booked.get(one.event_id)
        if movement is None:
            continue
        goods, document = one.goods, evidence.documents[one.station]
        expected = (one.flow, one.station, goods.sku, goods.quantity, document, "accepted")
        found = (
            movement.flow, movement.station, movement.sku, movement.quantity, movement.document, movement.outcome,
        )  # fmt: skip
        if expected != found:
            yield f"wrong: event {one.event_id}, code {goods.label.text}: expected {expected}, central has {found}"


def _wrong_stock(evidence: Evidence) -> Iterable[str]:
    for sku, expected in evidence.expected_stock.items():
        found = evidence.stock.get(sku)
        if found != expected:
            yield f"stock: {sku}: expected {expected}; central says {found}"


# --- reading ---------------------------------------------------------------------------------------------


async def gather(
    central: Central,
    stations: Sequence[Station],
    handled: Sequence[Handled],
    documents: Mapping[str, str],
    expected_stock: Mapping[str, Stock],
) -> Evidence:
    """Wait until the stations have nothing queued, then ask everybody.

    Raises:
        simulators.demo.rest.Refused: central does not answer.
    """
    states, complaints = await _drained(stations)
    seen = [entry for state in states for entry in listed(state) if entry["type"] in FLOWS]
    return Evidence(
        handled=handled,
        documents=documents,
        oks={event_id: code for station in stations for event_id, code in station.oks.items()},
        movements=[_movement(one) for one in await central.movements() if one["event"] in FLOWS],
        listed={str(entry["event_id"]): str(entry["code"]) for entry in seen},
        expected_stock=expected_stock,
        stock={sku: _stock(await central.availability(sku)) for sku in expected_stock},
        complaints=complaints,
    )


async def _drained(stations: Sequence[Station]) -> tuple[list[State], list[str]]:
    """The stations' states once nothing is queued; and who did not come so far within the bound."""
    deadline = asyncio.get_running_loop().time() + DRAIN_TIMEOUT_S
    while True:
        states: list[State] = []
        complaints: list[str] = []
        for station in stations:
            try:
                state = await station.read()
            except NoAnswer as problem:
                complaints.append(str(problem))
                continue
            states.append(state)
            if state["status"]["queued"]:
                complaints.append(
                    f"station {station.name}: {state['status']['queued']} events are still queued"
                )
        if not complaints or asyncio.get_running_loop().time() > deadline:
            return states, complaints
        await asyncio.sleep(_POLL_S)


def _movement(one: Mapping[str, Any]) -> Movement:
    station = str(one["actor"]).removeprefix("agent:").partition("/")[0]
    return Movement(
        one["event_id"],
        one["event"],
        station,
        one["sku"],
        one["quantity"],
        one["outcome"],
        one.get("document"),
    )


def _stock(levels: Mapping[str, Any]) -> Stock:
    return Stock(levels["on_hand"], levels["available"], levels["picked"])

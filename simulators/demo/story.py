"""What happens in the demo, in order: goods arrive, somebody orders, a picker picks, and everything fails once.

The faults come at set places among the goods (`warehouse.Plan`), not at set times, so that they fall into the
middle of the work on any machine.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Final

from simulators.demo import warehouse
from simulators.demo.gate import FAR_M, HURRY_M_S, PASSED_TIMEOUT_S, STANDS_M, STANDS_S, Gate
from simulators.demo.proof import Evidence, Stock, gather
from simulators.demo.show import Show
from simulators.demo.stage import Agent, Stage, wait_until
from simulators.demo.station import State
from simulators.demo.warehouse import Goods, Label, Plan
from simulators.demo.worker import Handled, Worker

PACE_S: Final = 0.12
"""How long a worker takes for one thing at the least."""
SYNC_TIMEOUT_S: Final = 30.0
"""Until central and a station know the same again; reconnecting may take a few seconds of back-off."""
_LATE_MOST_S: Final = (
    0.02  # SIGKILL falls so long after the last byte of a scan: before, in or after its commit
)


class Story:
    """One run on one stage."""

    def __init__(self, stage: Stage, plan: Plan, show: Show, rng: random.Random) -> None:
        self.stage, self.plan = stage, plan
        self._show, self._rng = show, rng
        self.dock = Worker(
            "received", stage.dock.station, stage.dock_scanner, camera=stage.camera, pace_s=PACE_S
        )
        self.picker = Worker("picked", stage.picker.station, stage.picker_scanner, pace_s=PACE_S)
        self.gate = Gate(stage.reader, stage.gate.station, plan.passing, warehouse.STRAY, seed=rng.random())
        self._passed: list[Handled] = []
        self._cut = asyncio.Event()
        self._restarting: asyncio.Task[None] | None = None

    @property
    def handled(self) -> list[Handled]:
        """Every physical thing that went through somebody's hands, or through the gate."""
        return [*self.dock.handled, *self._passed, *self.picker.handled]

    async def tell(self) -> None:
        """From the first master data to the last pick, faults and all; the network is whole at the end."""
        await self._set_up()
        rounds = asyncio.create_task(self.gate.run())
        try:
            await asyncio.gather(self._receive(), self._pass_the_gate())
            await self._order()
            await asyncio.gather(self._pick(), self._pass_again())
        finally:
            rounds.cancel()
            await asyncio.gather(rounds, return_exceptions=True)

    # --- set-up --------------------------------------------------------------------------------------------

    async def _set_up(self) -> None:
        central = self.stage.central
        for location in warehouse.LOCATIONS:
            await central.put(f"/v1/locations/{location['id']}", location)
        for product in warehouse.PRODUCTS.values():
            await central.put(f"/v1/items/{product.sku}", product.as_item())
        for shelf, product in warehouse.ON_SHELVES.items():
            await central.post(
                "/v1/adjustments",
                {
                    "id": f"opening-{product.sku}", "sku": product.sku, "site": warehouse.SITE,
                    "location": shelf, "delta": warehouse.OPENING_STOCK, "reason": "opening_stock",
                },
            )  # fmt: skip
        bought = {
            warehouse.PURCHASE_ORDER: self.plan.received,
            warehouse.TAGGED_ORDER: self.plan.expected_at_gate,
        }
        for order, units in bought.items():
            lines = [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
            body = {"id": order, "site": warehouse.SITE, "supplier": "Acme Foods", "lines": lines}
            await central.post("/v1/purchase-orders", body)
        over = " and ".join(f"{order} over {units.total()} units" for order, units in bought.items())
        self._show.happened(
            f"{len(warehouse.PRODUCTS)} items, {len(warehouse.LOCATIONS)} locations, opening stock on"
            f" {len(warehouse.ON_SHELVES)} shelves, purchase orders {over}"
        )

    # --- receiving -----------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        order = warehouse.PURCHASE_ORDER
        self._show.stage(f"Receiving {order} at dock-1: a scanner and a camera")
        await self._sign_in(self.dock)
        await self._known(self.dock, order)
        for place, goods in enumerate(self.plan.arriving):
            fault = self.plan.arriving_faults.get(place)
            await self._fault(fault, self.dock, self.stage.dock)
            await self._handle(self.dock, goods, fault, len(self.plan.arriving))
        await self._restarted()
        self._summary(self.dock, "received")

    async def _sign_in(self, worker: Worker) -> None:
        for operator in self.plan.operators[:1]:
            await self._known(worker, operator["badge"])

    async def _known(self, worker: Worker, text: str) -> None:
        """Scan a badge or a paper; a station may not know it before central's reference data arrived."""
        await worker.present(Label(text, warehouse.TEXT), patience_s=SYNC_TIMEOUT_S)

    async def _handle(self, worker: Worker, goods: Goods, fault: str | None, of: int) -> None:
        handled = await worker.handle(goods, bounce=fault == "bounce")
        if handled.rescanned:
            self._show.happened(f"{goods.label.text} was not listed after the restart: scanned again")
        if handled.found_listed:
            self._show.happened(f"{goods.label.text} was listed after the restart: not scanned again")
        status = (worker.station.state or {}).get("status", {})
        away = "" if status.get("online") else f", offline · {status.get('queued')} queued"
        self._show.running(f"{len(worker.handled)} of {of} {worker.flow}{away}")

    def _summary(self, worker: Worker, what: str) -> None:
        units = sum(one.goods.quantity for one in worker.handled)
        refused = ", ".join(f"{n} {outcome}" for outcome, n in Counter(worker.not_counted).items())
        note = f"; double reads and strange labels: {refused}" if refused else ""
        self._show.happened(f"{len(worker.handled)} labels {what}, {units} units{note}")

    # --- the gate ------------------------------------------------------------------------------------------

    async def _pass_the_gate(self) -> None:
        """A pallet comes in; meanwhile the others go on."""
        gate, agent, faults = self.gate, self.stage.gate, self.plan.gate_faults
        cases = len(self.plan.passing)
        await agent.station.until("did not know the order", knows_the_order, SYNC_TIMEOUT_S)
        if "cut" in faults:
            await self._cut.wait()
        self._show.happened(f"gate-1: a pallet of {cases} tagged cases for {warehouse.TAGGED_ORDER} comes in")
        await gate.drive(STANDS_M)
        await asyncio.sleep(STANDS_S)
        if "kill" in faults:
            recorded = (agent.station.state or {}).get("count", 0)
            await agent.program.kill()
            self._show.happened(
                f"gate-1: {recorded} of {cases} are in, and the agent was killed (SIGKILL); the pallet stands there"
            )
            await self._restart(agent)
        await gate.drive(FAR_M)
        self._gate_says(f"{await gate.until_listed(PASSED_TIMEOUT_S)} of {cases} are in")

    async def _pass_again(self) -> None:
        """It is driven out, and in again: nothing that is in already counts."""
        gate = self.gate
        await gate.drive(-FAR_M, HURRY_M_S)
        self._gate_says(f"out again, {_told(await gate.passed())}")
        await gate.drive(FAR_M, HURRY_M_S)
        self._gate_says(f"in again, {_told(await gate.passed())}")
        self._passed = await gate.handled()

    def _gate_says(self, what: str) -> None:
        read = sorted(self.gate.times_read[goods.label.text] for goods in self.plan.passing)
        self._show.happened(f"gate-1: {what} (each was read {read[0]} to {read[-1]} times by now)")

    # --- selling and picking -------------------------------------------------------------------------------

    async def _order(self) -> None:
        """A storefront holds a part, then orders everything; what it holds has arrived today."""
        central = self.stage.central
        sku, quantity = self.plan.reserved

        async def arrived() -> bool:
            if self.stage.dock.station.state is None or self.stage.dock.station.state["status"]["queued"]:
                return False
            return all(
                [(await central.availability(sku))["available"] >= n for sku, n in self.plan.ordered.items()]
            )

        await wait_until(arrived, "central to know what was received", SYNC_TIMEOUT_S)
        reservation = await central.post(
            "/v1/reservations",
            {
                "sku": sku,
                "quantity": quantity,
                "site": warehouse.SITE,
                "channel": warehouse.CHANNEL,
                "ttl_s": 600,
            },
        )
        lines = [{"sku": line, "quantity": number} for line, number in self.plan.ordered.items()]
        await central.post(
            "/v1/orders",
            {
                "id": warehouse.ORDER, "site": warehouse.SITE, "channel": warehouse.CHANNEL, "lines": lines,
                "reservations": [reservation["id"]],
            },
        )  # fmt: skip
        units = sum(self.plan.ordered.values())
        self._show.stage(
            f"The webshop reserved {quantity} × {sku} and ordered {warehouse.ORDER}: {units} units"
        )

    async def _pick(self) -> None:
        worker, station = self.picker, self.stage.picker.station
        await self._sign_in(worker)
        await station.until("no pick task", has_task, SYNC_TIMEOUT_S)
        self._show.stage(f"Picking {warehouse.ORDER} at picker-1: its tasks have arrived")
        while has_task(state := await station.until("was dark", lambda _: True, SYNC_TIMEOUT_S)):
            job = state["job"]
            if job["step"] == "go":
                await worker.present(Label(job["from_location"], warehouse.TEXT))
                continue
            goods = next(warehouse.pieces(job["sku"], job["left"]))
            fault = self.plan.picking_faults.get(len(worker.handled))
            await self._fault(fault, worker, self.stage.picker)
            await self._handle(worker, goods, fault, self.plan.picks)
        await self._restarted()
        self._summary(worker, "picked")

    # --- faults --------------------------------------------------------------------------------------------

    async def _fault(self, fault: str | None, worker: Worker, agent: Agent) -> None:
        """Let happen what the plan says, before the next thing is handled."""
        stage = self.stage
        match fault:
            case "cut":
                await stage.cable.cut()
                self._cut.set()
                self._show.happened("the network of all agents is cut; scanning goes on")
            case "heal":
                queued = (await worker.station.read())["status"]["queued"]
                stage.cable.heal()
                self._show.happened(f"the network is whole again; {queued} events were queued")
            case "kill":
                worker.mid_scan = lambda: self._kill(agent)
            case "broker":
                await worker.station.until("not online", is_online, SYNC_TIMEOUT_S)
                await stage.restart_broker()
                self._show.happened("the broker was killed and started again, without its memory")
            case "strange":
                await worker.strange_label(warehouse.STRANGE_LABEL)
            case "again":
                await worker.show_again(next(goods for goods in self.plan.arriving if goods.on_camera))

    async def _kill(self, agent: Agent) -> None:
        await asyncio.sleep(self._rng.random() * _LATE_MOST_S)
        await agent.program.kill()
        self._show.happened(f"agent {agent.name} was killed (SIGKILL) in the middle of a scan")
        self._restarting = asyncio.create_task(self._restart(agent))

    async def _restart(self, agent: Agent) -> None:
        """What systemd does in a real installation."""
        agent.program.start()
        await self.stage.ready(agent)
        self._show.happened(f"agent {agent.name} is back")

    async def _restarted(self) -> None:
        if self._restarting is not None:
            await self._restarting
            self._restarting = None

    # --- the proof -----------------------------------------------------------------------------------------

    async def evidence(self) -> Evidence:
        """What everybody says about it now."""
        documents = {
            self.stage.dock.name: warehouse.PURCHASE_ORDER,
            self.stage.gate.name: warehouse.TAGGED_ORDER,
            self.stage.picker.name: warehouse.ORDER,
        }
        stations = [agent.station for agent in self.stage.agents]
        return await gather(self.stage.central, stations, self.handled, documents, self._expected_stock())

    def _expected_stock(self) -> Mapping[str, Stock]:
        """From the things in the workers' hands alone, and the order that was placed."""
        shelved = {product.sku for product in warehouse.ON_SHELVES.values()}
        total = Counter(dict.fromkeys(shelved, warehouse.OPENING_STOCK))
        picked: Counter[str] = Counter()
        for one in self.handled:
            (total if one.flow == "received" else picked)[one.goods.sku] += one.goods.quantity
        ordered = self.plan.ordered
        return {
            sku: Stock(total[sku], total[sku] - ordered.get(sku, 0), picked[sku])
            for sku in warehouse.PRODUCTS
        }


def knows_the_order(state: State) -> bool:
    """Whether the gate waits for the tagged cases."""
    return any(order["document"] == warehouse.TAGGED_ORDER for order in state["job"]["orders"])


def _told(counts: Mapping[str, int]) -> str:
    """What the gate's screen says of a passage."""
    return "the screen says: " + ", ".join(f"{count} {tally}" for tally, count in counts.items())


def is_online(state: State) -> bool:
    """Whether the agent is connected to the broker."""
    return bool(state["status"]["online"])


def has_task(state: State) -> bool:
    """Whether a picking station has something to do."""
    return state["job"].get("task") is not None

"""Networks that go away without a word, pass one way only, are slow, cut, repeat and spoil."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from simulators.hardware.transports.certificate import Certificate
from tests.faults.dock import QUICK, Dock
from tests.faults.nursery import START_S, Nursery
from tests.faults.record import Central, healed
from tests.faults.warehouse import warehouse
from tests.support.broker import Broker
from tests.support.networks import Cable
from tests.support.proxy import Proxy, Weather
from tests.support.wait import eventually_async

SOON = {**QUICK, "sync.mqtt.KEEPALIVE_S": 1, "sync.mqtt.CONNECT_TIMEOUT_S": 1.0}
"""In the field a connection that died in silence is noticed after 30 to 60 s."""
TLS = """allow_anonymous true
certfile {directory}/cert.pem
keyfile {directory}/key.pem"""


@pytest.mark.parametrize("fault", ["pulled", "centre", "dock"])
async def test_a_network_that_is_gone_or_deaf_on_one_side_in_silence_costs_nothing(
    fault: Literal["pulled", "centre", "dock"], nursery: Nursery, tmp_path: Path
) -> None:
    with Cable() as cable:
        broker = Broker(network=cable.centre, host=cable.centre_address)
        central = Central(nursery, tmp_path / "central", broker.url, network=cable.centre)
        dock = Dock(nursery, tmp_path / "dock", "dock-1", broker.url, network=cable.dock)
        try:
            broker.start()
            await central.create()
            await central.start(constants=SOON)
            await dock.start(SOON)
            await dock.online()
            await dock.scan(10)
            cable.pull() if fault == "pulled" else cable.deafen(fault)
            await dock.scan(20)
            assert dock.page is not None and dock.page.status.queued
            await eventually_async(
                lambda: dock.page is not None and not dock.page.status.online, START_S, "somebody notices"
            )
            cable.plug() if fault == "pulled" else cable.heal(fault)
            await dock.scan(5)
            await healed(central, [dock])
        finally:
            for part in (dock, central):
                await part.close()
            broker.close()


@pytest.mark.parametrize(
    "weather",
    [Weather(delay_s=0.2), Weather(cut=0.15), Weather(repeat=0.2), Weather(0.02, 0.05, 0.05)],
    ids=["delayed", "cut", "repeated", "all at once"],
)
async def test_bytes_that_are_late_lost_with_their_connection_or_repeated_cost_nothing(
    weather: Weather, nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    proxy = await Proxy(shared_broker.port, seed=5).start()
    try:
        async with warehouse(nursery, tmp_path, proxy.url, docks=2) as (central, docks):
            proxy.becomes(weather)
            await asyncio.gather(*(dock.scan(80) for dock in docks))
            if not weather.delay_s:
                while not proxy.cuts + proxy.repeats > 3:
                    await asyncio.gather(*(dock.scan(10) for dock in docks))
            proxy.becomes(Weather())
            await healed(central, docks)
    finally:
        await proxy.close()


async def test_bytes_that_are_spoiled_under_tls_end_the_connection_and_none_is_believed(
    nursery: Nursery, tmp_path: Path
) -> None:
    with Certificate() as certificate:
        files = {"cert.pem": certificate.file.read_text(), "key.pem": certificate.key.read_text()}
        broker = Broker(TLS, files)
        proxy = Proxy(broker.port, seed=7)
        try:
            broker.start()
            await proxy.start()
            url = proxy.url.replace("mqtt://", "mqtts://")
            async with warehouse(nursery, tmp_path, url, docks=2, mqtt=f'ca_file = "{certificate.file}"') as (
                central,
                docks,
            ):
                proxy.becomes(Weather(spoil=0.2))
                while proxy.spoils < 10:
                    await asyncio.gather(*(dock.scan(10) for dock in docks))
                proxy.becomes(Weather())
                # Where a length was spoiled, TLS waits for the rest of the record until the keep-alive has passed.
                await healed(central, docks, within_s=2 * START_S)
        finally:
            await proxy.close()
            broker.close()


async def test_bytes_that_are_spoiled_without_tls_stop_nobody_for_long(
    nursery: Nursery, tmp_path: Path
) -> None:
    """Plain MQTT has no checksum: what was said meanwhile may be believed as it came. What is said later is right."""
    broker = Broker()
    proxy = Proxy(broker.port, seed=3)
    try:
        broker.start()
        await proxy.start()
        async with warehouse(nursery, tmp_path, proxy.url, docks=2) as (central, docks):
            proxy.becomes(Weather(spoil=0.05))
            while proxy.spoils < 15:
                await asyncio.gather(*(dock.scan(10) for dock in docks))
            proxy.becomes(Weather())
            for dock in docks:
                await dock.settled()
            before = {lot for dock in docks for lot in dock.sent}
            await asyncio.gather(*(dock.scan(20) for dock in docks))
            for dock in docks:
                await dock.settled()
            books = central.books()
            for lot, event_id in (
                (lot, id_) for dock in docks for lot, id_ in dock.ok.items() if lot not in before
            ):
                assert [one for one, _ in books.events[lot]] == [event_id]
                assert books.balances[lot] == 1
            assert not books.problems
            spoiled = [lot for lot in before if len(books.events.get(lot, ())) != 1]
            print(f"{proxy.spoils} bits spoiled in {len(before)} scans, {len(spoiled)} not booked as told")
    finally:
        await proxy.close()
        broker.close()

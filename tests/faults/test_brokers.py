"""Brokers that die, forget, drop and know little: the promises hold without a broker's memory."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.faults.dock import QUICK
from tests.faults.nursery import START_S, Nursery
from tests.faults.record import healed
from tests.faults.warehouse import under_load, warehouse
from tests.support.broker import Broker, running
from tests.support.proxy import Proxy, only_mqtt_311
from tests.support.wait import eventually_async

SMALL = "allow_anonymous true\nmax_queued_messages 1\nmax_inflight_messages 1"


async def test_a_broker_that_is_killed_again_and_again_under_load_costs_nothing(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, broker.url, docks=2) as (central, docks):
        async with under_load(docks):
            for kills in range(4):
                await asyncio.sleep(0.4)
                await asyncio.to_thread(broker.kill if kills % 2 else broker.stop)
                await asyncio.sleep(0.1 * kills)
                await asyncio.to_thread(broker.start)
        await healed(central, docks)


async def test_what_a_broker_drops_because_its_queue_is_full_is_sent_again(
    nursery: Nursery, tmp_path: Path
) -> None:
    with running(SMALL) as broker:
        async with warehouse(nursery, tmp_path, broker.url, docks=3) as (central, docks):
            await central.kill()
            await central.start(
                constants={**QUICK, "sync.mqtt.RECEIVE_MAXIMUM": 2}
            )  # else 100 are on their way
            for dock in docks:
                await dock.scan(1)
                await dock.settled()
            central.signal(signal.SIGSTOP)  # whatever is said to it now waits at the broker, or is dropped
            async with asyncio.timeout(START_S):
                while "Outgoing messages are being dropped" not in broker.said():
                    await asyncio.gather(*(dock.scan(20) for dock in docks))
            central.signal(signal.SIGCONT)
            await healed(central, docks)


async def test_a_broker_that_forgot_centrals_session_takes_events_for_nobody_and_they_are_sent_again(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, broker.url) as (central, [dock]):
        await central.kill()
        await dock.scan(40)  # the broker acknowledges them, and nobody hears them
        await central.start()
        await healed(central, [dock])


async def test_a_broker_that_forgot_the_agents_session_loses_verdicts_and_they_are_asked_for_again(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, broker.url) as (central, [dock]):
        for _ in range(3):
            await dock.scan(10)
            await eventually_async(lambda: len(central.books().events) >= len(dock.ok) - 10, 20)
            await dock.kill()  # with answers on their way to it
            await dock.start()
        await dock.scan(1)
        await healed(central, [dock])


async def test_with_a_broker_that_knows_only_mqtt_311_everything_works(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    old = await Proxy(broker.port, first=only_mqtt_311).start()
    try:
        async with warehouse(nursery, tmp_path, old.url, docks=2) as (central, docks):
            for dock in docks:
                await dock.scan(30)
            await old.cut()
            for dock in docks:
                await dock.scan(30)
            await healed(central, docks)
            assert old.accepted >= 6, "each asks for MQTT 5.0 first"
    finally:
        await old.close()


@pytest.mark.parametrize("point", ["loop:hang:40", "loop:fail:40"])
async def test_a_network_thread_that_hangs_or_dies_is_replaced_and_nothing_is_lost(
    point: str, nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with warehouse(nursery, tmp_path, broker.url) as (central, [dock]):
        await dock.kill()
        await dock.start({**QUICK, "sync.mqtt.WATCH_S": 0.2, "sync.network.HUNG_LOOKS": 3}, die=[point])
        await dock.scan(100)
        await healed(central, [dock])

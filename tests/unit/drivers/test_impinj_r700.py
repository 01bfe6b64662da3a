"""What is special to the R700: its requests, its lines and their bound."""

import json
import time

import pytest

from devices.drivers.impinj_r700 import MAX_LINE, ImpinjR700
from devices.errors import Misconfigured
from devices.reads import BadFrame, TagRead
from devices.registry import set_up
from devices.wire.requests import Request
from tests.support.drivers import Bench, build, held_bytes

EVENT = b'{"eventType":"tagInventory","tagInventoryEvent":{"epcHex":"E2801160"}}\n'


def r700(**options: str) -> ImpinjR700:
    driver = build("impinj-r700", options)
    assert isinstance(driver, ImpinjR700)
    return driver


def asked(requests: tuple[Request, ...]) -> list[str]:
    return [f"{request.method} {request.path}" for request in requests]


def test_what_runs_is_stopped_then_the_stream_is_opened_then_the_inventory_started() -> None:
    driver = r700()
    assert asked(driver.before()) == ["GET /api/v1/system", "POST /api/v1/profiles/stop"]
    assert driver.STREAM == "/api/v1/data/stream"
    assert asked(driver.after()) == ["POST /api/v1/profiles/inventory/start"]
    assert asked(driver.farewell()) == ["POST /api/v1/profiles/stop"]


def test_who_only_listens_starts_and_stops_nothing() -> None:
    driver = r700(start="no")
    assert asked(driver.before()) == ["GET /api/v1/system"]
    assert driver.after() == driver.farewell() == ()


def test_the_options_are_what_the_inventory_is_started_with() -> None:
    options = {"power_dbm": "27", "rf_mode": "1002", "session": "2", "population": "200"}
    [start] = r700(antennas="2,4", search_mode="dual-target", **options).after()
    rest = {
        "transmitPowerCdbm": 2700,
        "rfMode": 1002,
        "inventorySession": 2,
        "inventorySearchMode": "dual-target",
        "estimatedTagPopulation": 200,
    }
    assert start.body == {"antennaConfigs": [{"antennaPort": 2, **rest}, {"antennaPort": 4, **rest}]}


@pytest.mark.parametrize("option", ["power_dbm=34", "antennas=0", "session=4", "search_mode=both"])
def test_what_the_reader_cannot_do_is_refused_at_once(option: str) -> None:
    with pytest.raises(Misconfigured, match=option.partition("=")[0]):
        set_up("gate", "impinj-r700", f"https://reader.example?{option}")


@pytest.mark.parametrize(
    ("answer", "model"),
    [
        (b'{"productModel":"R700","serialNumber":"370"}', "R700"),
        (b'{"productDescription":"Impinj R720"}', "Impinj R720"),
        (b'{"productModel":7}', None),
        (b'{"productModel":"\\u001b[2J"}', None),
        (b'["R700"]', None),
        (b"<html>", None),
        (b"\xff", None),
        (b"[" * 60_000, None),
    ],
)
def test_it_says_what_it_is_or_nothing_that_can_be_used(answer: bytes, model: str | None) -> None:
    driver = r700()
    driver.answered(driver.before()[0], answer)
    assert driver.model == model
    bench = Bench(driver).open()
    assert bench.driver.model == model, "what it said when the port was opened still holds"


def test_other_answers_say_nothing_of_the_model() -> None:
    driver = r700()
    driver.answered(driver.before()[1], b'{"productModel":"R700"}')
    assert driver.model is None


@pytest.mark.parametrize("step", [1, 1000, 100_000])
def test_a_line_over_the_bound_is_told_once_and_skipped(step: int) -> None:
    bench = Bench(r700())
    stream = b"x" * (3 * MAX_LINE) + b"\n" + EVENT
    for place in range(0, len(stream), step):
        bench.feed(stream[place : place + step])
        assert held_bytes(bench.driver) < 2 * MAX_LINE
    bad, tag = bench.reads
    assert isinstance(bad, BadFrame) and f"more than {MAX_LINE} bytes" in bad.reason
    assert isinstance(tag, TagRead)


def test_the_longest_line_is_read_and_one_byte_more_is_not() -> None:
    def line(size: int) -> bytes:
        empty = json.dumps({"tagInventoryEvent": {"epcHex": "E2801160"}, "pad": ""}).encode()
        return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:] + b"\n"

    bench = Bench(r700())
    bench.feed(line(MAX_LINE), line(MAX_LINE + 1), EVENT)
    assert [type(read) for read in bench.reads] == [TagRead, BadFrame, TagRead]


def test_a_line_that_is_nested_without_end_is_a_bad_line() -> None:
    bench = Bench(r700())
    bench.feed(b'{"a":' * 3000 + b"\n" + b'{"tagInventoryEvent":{"epc":' + b"[" * 9000 + b"\n" + EVENT)
    assert [type(read) for read in bench.reads] == [BadFrame, BadFrame, TagRead]


def test_one_byte_at_a_time_costs_the_same_for_each_byte() -> None:
    bench = Bench(r700())

    def seconds(count: int) -> float:
        begin = time.process_time()
        for _ in range(count):
            bench.feed(b"x")
        return time.process_time() - begin

    first = min(seconds(1000) for _ in range(3))
    bench.feed(b"x" * (MAX_LINE - 5000))
    assert min(seconds(1000) for _ in range(3)) < 20 * first


def test_half_a_line_joins_nothing_that_follows_a_reconnect() -> None:
    bench = Bench(r700()).open()
    bench.feed(EVENT[:30])
    [bad] = bench.close()
    assert isinstance(bad, BadFrame) and "in the middle of an event" in bad.reason
    bench.open()
    [read] = bench.feed(EVENT)
    assert isinstance(read, TagRead)


def test_a_recording_may_lack_its_last_line_end() -> None:
    bench = Bench(r700())
    bench.feed(EVENT.rstrip())
    [read] = bench.close()
    assert isinstance(read, TagRead)

"""What is special to Zebra's readers: the count of their events, and objects with nothing between them."""

import json
import time

import pytest

from devices.drivers.zebra_iotc import MAX_EVENT, MAX_READERS, MISSING_S, REMEMBERED
from devices.reads import BadFrame, TagRead
from devices.wire.json_objects import MAX_DEPTH, MAX_TRIES, ObjectScanner, Skipped
from tests.support.drivers import Bench, build, held_bytes

MINUTES = "2026-03-01T10:{:02}:00.000+0000"


def event(
    number: int | None = None, *, mac: str | None = None, minute: int = 0, epc: str = "E2801160"
) -> bytes:
    data: dict[str, object] = {"idHex": epc}
    if number is not None:
        data["eventNum"] = number
    if mac is not None:
        data["MAC"] = mac
    return json.dumps({"type": "SIMPLE", "timestamp": MINUTES.format(minute), "data": data}).encode()


def zebra(**options: str) -> Bench:
    return Bench(build("zebra-iotc", options)).open()


# --- the reader's count ---------------------------------------------------------------------------------------


def test_an_event_that_comes_twice_is_read_once_also_after_a_reconnect() -> None:
    bench = zebra()
    bench.feed(event(1), event(2), event(1))
    bench.close()
    bench.open()
    bench.feed(event(2), event(3))
    assert len(bench.reads) == 3
    assert bench.driver.warning is None


def test_duplicates_are_kept_where_they_are_wanted() -> None:
    bench = zebra(duplicates="keep")
    bench.feed(event(1), event(1))
    assert len(bench.reads) == 2


def test_the_same_number_of_another_tag_time_or_reader_is_another_event() -> None:
    bench = zebra()
    bench.feed(event(1), event(1, epc="E2801161"), event(1, minute=1), event(1, mac="C4:7D:CC:00:00:01"))
    assert len(bench.reads) == 4


def test_a_gap_is_told_once_and_is_old_news_after_a_while() -> None:
    bench = zebra()
    bench.feed(event(1), event(2), event(5))
    assert bench.driver.warning is not None and "from 2 to 5" in bench.driver.warning
    bench.wait(MISSING_S - 1)
    bench.feed(event(9))
    assert "from 2 to 5" in bench.driver.warning, "one message, not one for each gap"
    bench.wait(MISSING_S - 1)
    assert bench.driver.warning is not None
    bench.wait(2)
    assert bench.driver.warning is None
    assert bench.driver.due_ns() is None


def test_a_gap_while_nobody_listened_is_one_too() -> None:
    bench = zebra()
    bench.feed(event(1))
    bench.open()
    bench.feed(event(4))
    assert bench.driver.warning is not None


def test_a_restarted_reader_and_one_without_numbers_miss_nothing() -> None:
    bench = zebra()
    bench.feed(event(7), event(1, minute=1), event(None), event(2, minute=1))
    assert len(bench.reads) == 4
    assert bench.driver.warning is None


def test_readers_on_one_topic_are_counted_apart() -> None:
    bench = zebra()
    bench.feed(event(1, mac="A"), event(50, mac="B"), event(2, mac="A"), event(51, mac="B"))
    assert bench.driver.warning is None
    bench.feed(event(4, mac="A"))
    assert bench.driver.warning is not None


def test_what_is_remembered_is_bounded() -> None:
    bench = zebra()
    bench.feed(*(event(number, mac=f"{number}") for number in range(1, 2 * REMEMBERED + 1)))
    driver = bench.driver
    assert len(getattr(driver, "_known")) == len(getattr(driver, "_order")) == REMEMBERED  # noqa: B009
    assert len(getattr(driver, "_counts")) == MAX_READERS  # noqa: B009


# --- objects in a stream --------------------------------------------------------------------------------------


def found(scanner: ObjectScanner, data: bytes, step: int = 1) -> list[bytes | Skipped]:
    pieces = (data[place : place + step] for place in range(0, len(data), step))
    return [item for piece in pieces for item in scanner.feed(piece)] + scanner.end()


@pytest.mark.parametrize(
    "whole",
    [
        b"{}",
        b'{"a":1}',
        b'{"a":"}{"}',
        b'{"a":"\\""}',
        b'{"a":"\\\\"}',
        b'{"a":"[\\u007b"}',
        b'{"a":[{},{"b":[1,-2.5e+3,true,false,null]}],"c":{}}',
        b'{ "a" :\r\n\t[ ] }',
        b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH,
    ],
)
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_objects_are_found_however_they_are_cut(whole: bytes, step: int) -> None:
    assert found(ObjectScanner(1000), whole * 3, step) == [whole] * 3
    assert found(ObjectScanner(1000), b"[" + whole + b" ,\n" + whole + b"]", step) == [whole] * 2


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        b'{"',
        b'{"a":',
        b'{"a":"',
        b'{"a":"\\',
        b'{"a":[',
        b'{"a":[1,',
        b'{"a":[{"b":1}',
        b'{"a":"line\nend"}',
        b"{a}",
        b'{"a":1]',
        b'{"a" {',
        b"}}]]",
        b"\xff\x00",
        b'"',
        b'{"a":' * (MAX_TRIES - 2),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_what_is_broken_costs_nothing_that_follows(broken: bytes, step: int) -> None:
    good = event(1)
    items = found(ObjectScanner(2000), broken + good + good, step)
    assert [item for item in items if isinstance(item, bytes) and b"idHex" in item and b"data" in item] == [
        good
    ] * 2


def test_an_object_over_the_bound_is_given_up_and_the_next_is_found() -> None:
    scanner = ObjectScanner(1000)
    items = found(scanner, b'{"a":"' + b"x" * 3000 + event(1), 100)
    assert isinstance(items[0], Skipped) and items[0].count >= 1000
    assert items[-1] == event(1)


ATTACKS = {
    "nested": b'{"a":',
    "strings": b'{"x":"{"',
    "braces in strings": b'{"1":"{",',
    "empty objects": b'{"a":[' + b"{}," * 50,
    "braces": b"{",
    "quotes": b'"',
    "escapes": b'{"' + b'\\"' * 50,
    "never closed": b'{"a":[{"b":[{"c":[',
    "white space": b'{"a":' + b" " * 300,
    "digits": b'{"a":' + b"1" * 300,
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("step", [1, 4096])
def test_nobody_can_make_it_slow_or_full(attack: str, step: int) -> None:
    data = (ATTACKS[attack] * 60_000)[:60_000]

    def seconds(size: int) -> float:
        bench = zebra()
        begin = time.process_time()
        for place in range(0, size, step):
            bench.feed(data[place : place + step])
        bench.close()
        return time.process_time() - begin

    # Four times as much takes four times as long; quadratic work would take sixteen times.
    assert min(seconds(60_000) for _ in range(2)) < 10 * max(min(seconds(15_000) for _ in range(3)), 0.01)


def test_the_buffer_has_a_bound() -> None:
    bench = zebra()
    for _ in range(3 * MAX_EVENT // 4096):
        bench.feed(b'"' if not bench.reads else b"", b'{"a":"' + b"x" * 4090)
        assert held_bytes(bench.driver) < 2 * MAX_EVENT


def test_what_never_ends_does_not_hold_up_a_silent_line() -> None:
    bench = zebra()
    bench.feed(b'{"a":' + event(1))
    assert not bench.reads
    bench.wait(2)
    bad, tag = bench.reads
    assert isinstance(bad, BadFrame) and isinstance(tag, TagRead)
    assert bench.driver.due_ns() is None


def test_a_long_run_of_garbage_is_told_in_few_pieces() -> None:
    bench = zebra()
    for _ in range(200):
        bench.feed(b"\x00" * 1000)
    bench.wait(2)
    assert 1 <= len(bench.reads) <= 4
    assert all(isinstance(read, BadFrame) and len(read.sample) <= 64 for read in bench.reads)

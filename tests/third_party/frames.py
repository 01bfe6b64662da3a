"""frames.json: frames of serial protocols, some with wrong checksums.

A list of objects with `hex`, `family`, `dir`, `valid` and `meaning` or `card`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from devices.reads import BadFrame, Read
from devices.wire.checksums import crc_mercury, negative_sum_8, negative_sum_16
from devices.wire.framing import FramedDriver
from tests.support.drivers import Bench, build
from tests.third_party.rows import Row

# Family in frames.json → our driver.
FAMILIES = {
    "chafon_uhfreader": "chafon",
    "m100_r200": "m100",
    "r2000_a0": "a0",
    "rdm6300": "rdm6300",
    "thingmagic": "thingmagic",
    "zebra_ssi": "zebra-ssi",
}


def check(folder: Path) -> Iterator[Row]:
    """Every frame through our driver of its family."""
    path = folder / "frames.json"
    for number, stated in enumerate(json.loads(path.read_text()) if path.exists() else []):
        yield _frame(number, stated)


def _frame(number: int, stated: Mapping[str, Any]) -> Row:
    name = FAMILIES[stated["family"]]
    data = bytes.fromhex(stated["hex"])
    valid = _is_valid(name, data, to_reader=stated.get("dir", "").startswith("host"))
    bench = Bench(build(name))
    bench.feed(data)
    bench.wait(1)
    bench.close()
    reads = [read for read in bench.reads if not isinstance(read, BadFrame)]
    expected = list(_tags(stated))
    found = [_told(read, tag) for read, tag in zip(reads, expected, strict=False)]
    agrees = valid == stated["valid"] and found == expected and len(reads) == len(expected)
    meaning = stated.get("meaning")
    if isinstance(meaning, dict) and (version := meaning.get("fw") or meaning.get("text")):
        agrees = agrees and version in (bench.driver.model or "")
    what = f"{number:>2} {name} {'→' if stated.get('dir', '').startswith('host') else '←'}"
    return Row(what, _words(stated["valid"], expected), _words(valid, found), agrees)


def _tags(stated: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The reads that are stated; only of frames that are valid."""
    meaning = stated.get("meaning")
    if not stated["valid"]:
        return
    if "card" in stated:
        yield {"text": f"{stated['card']:010d}"}
    if not isinstance(meaning, dict):
        return
    for tag in meaning.get("tags", [meaning] if "epc" in meaning and "error" not in meaning else []):
        members = {"epc": tag["epc"].lower()}
        renamed = {
            "rssi": "rssi_raw",
            "rssi_dbm": "rssi_dbm",
            "antenna": "antenna",
            "freq_khz": "frequency_khz",
        }
        yield members | {ours: tag[theirs] for theirs, ours in renamed.items() if theirs in tag}


def _told(read: Read, members: Mapping[str, Any]) -> dict[str, Any]:
    """What we read of the members that are stated."""
    values = {name: getattr(read, name, None) for name in members}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}


def _is_valid(name: str, data: bytes, *, to_reader: bool) -> bool:
    """Whether the checksum holds, in the direction of the frame."""
    driver = build(name)
    assert isinstance(driver, FramedDriver)
    if to_reader and name in COMMANDS:
        return COMMANDS[name](data)
    return driver.measure(data, 0) == len(data)


def _words(valid: bool, tags: list[dict[str, Any]]) -> str:
    return ("valid" if valid else "invalid") + "".join(f" {json.dumps(tag)}" for tag in tags)


# Drivers take what devices say, and no commands. Of these: header, length and checksum.
COMMANDS: dict[str, Callable[[bytes], bool]] = {
    "a0": lambda data: data[0] == 0xA0 and data[1] + 2 == len(data) and negative_sum_8(data) == 0,
    "thingmagic": lambda data: (
        data[0] == 0xFF and data[1] + 5 == len(data) and crc_mercury(data[1:-2]) == _number(data[-2:])
    ),
    "zebra-ssi": lambda data: data[0] + 2 == len(data) and negative_sum_16(data[:-2]) == _number(data[-2:]),
}


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")

"""python -m tests.third_party FOLDER: other people's recordings through our drivers, as a table.

FOLDER holds what is described in each `check_…` below; what is not there is left out. A row says what was stated,
what we read, and whether they agree. The status is 1 if any row does not.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from devices.reads import BadFrame, Read, TagRead
from devices.wire.checksums import crc_mercury, negative_sum_8, negative_sum_16
from devices.wire.framing import FramedDriver
from devices.wire.llrp_messages import Parameter, decode, message
from tests.support.drivers import Bench, build

# Family in frames.json → our driver.
FAMILIES = {
    "chafon_uhfreader": "chafon",
    "m100_r200": "m100",
    "r2000_a0": "a0",
    "rdm6300": "rdm6300",
    "thingmagic": "thingmagic",
    "zebra_ssi": "zebra-ssi",
}


@dataclass(frozen=True)
class Row:
    """One recording."""

    what: str
    stated: str
    found: str
    agrees: bool


def main(folder: Annotated[Path, typer.Argument(help="Where the recordings are.", exists=True)]) -> None:
    """Check our drivers against other people's recordings."""
    rows = [row for check in (check_frames, check_llrp, check_json) for row in check(folder)]
    width = max((len(row.what) for row in rows), default=0)
    for row in rows:
        print(f"{'✓' if row.agrees else '✗'} {row.what:<{width}}  {row.stated}  →  {row.found}")
    wrong = sum(not row.agrees for row in rows)
    print(f"{len(rows)} recordings, {wrong} not as stated")
    raise typer.Exit(1 if wrong or not rows else 0)


# --- frames.json: [{"hex", "family", "dir", "valid", "meaning" or "card"}] -----------------------------------


def check_frames(folder: Path) -> Iterator[Row]:
    """Frames of serial protocols, some with wrong checksums."""
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


# --- llrp/NAME-000.{bytes,json}: bodies without their header -------------------------------------------------


def check_llrp(folder: Path) -> Iterator[Row]:
    """Messages of Impinj readers: what we decode, field by field in their order; reports also through the driver."""
    for path in sorted((folder / "llrp").glob("*.bytes")):
        name, data = path.stem.partition("-")[0], path.read_bytes()
        stated = list(_leaves(json.loads(path.with_suffix(".json").read_text())))
        body = message(MESSAGES[name], 1, data)
        found = [leaf for parameter in decode(body).inside for leaf in _decoded(parameter)]
        # A field that is not there is stated as null, which says nothing, or as nothing: 0, false or empty.
        missing = [leaf for leaf in stated if leaf not in found and leaf[1]]
        in_order = [leaf for leaf in stated if leaf in found]
        agrees = not missing and in_order == found and not decode(body).broken
        if name == "ROAccessReport":
            tags = [read for read in Bench(build("llrp")).feed(body) if isinstance(read, TagRead)]
            read = [base64.b64encode(tag.epc or b"").decode() for tag in tags]
            agrees = agrees and read == [value for leaf, value in stated if leaf == "EPC"]
        yield Row(path.stem, f"{len(stated)} fields", f"{len(found)} fields, {_first(found)}", agrees)


MESSAGES = {
    "CloseConnectionResponse": 4,
    "GetReaderCapabilitiesResponse": 11,
    "GetROSpecsResponse": 36,
    "ROAccessReport": 61,
    "ReaderEventNotification": 63,
}


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that has a value; those of a list by the name of the list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    elif value is not None:
        yield name, value


def _decoded(parameter: Parameter) -> Iterator[tuple[str, Any]]:
    """The same of what we decoded; bytes in base64, as they are stated."""
    for name, value in parameter.values.items():
        for each in value if isinstance(value, tuple) else (value,):
            yield name, base64.b64encode(each).decode() if isinstance(each, bytes) else each
    for inner in parameter.inside:
        yield from _decoded(inner)


def _first(leaves: list[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in leaves[:4])


# --- readers-json/: events of readers that speak JSON --------------------------------------------------------


def check_json(folder: Path) -> Iterator[Row]:
    """What Impinj R700 and Zebra readers send."""
    for path in sorted((folder / "readers-json").glob("*")):
        name = "impinj-r700" if "impinj" in path.name else "zebra-iotc"
        text = path.read_text()
        bench = Bench(build(name))
        bench.feed(text.encode() + b"\n")
        bench.wait(1)
        bench.close()
        stated = re.findall(r'"(?:epcHex|idHex)":\s*"([0-9A-F]+)"', text)
        found = [
            read.epc.hex().upper()
            for read in bench.reads
            if isinstance(read, TagRead) and read.epc is not None
        ]
        yield Row(f"{path.name}", " ".join(stated), " ".join(found), found == stated)


if __name__ == "__main__":
    typer.run(main)

"""llrp/NAME-000.{bytes,json}: message bodies of Impinj readers without their header, and what they say."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devices.reads import TagRead
from devices.wire.llrp_messages import Parameter, decode, message
from tests.support.drivers import Bench, build
from tests.third_party.rows import Row


def check(folder: Path) -> Iterator[Row]:
    """What we decode, field by field in their order; reports also through the driver."""
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

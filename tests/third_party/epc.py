"""epc/hex_to_uri.json: EPCs and what they say.

`[{"hex", "epc_uri", "tag_uri"}]`: a tag's memory, its pure identity URI, and its tag URI. From the tag URI the same
bits must come again, but for the zeros that fill a tag's last word.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from identity import from_uri, read_epc
from tests.third_party.rows import Row


def check(folder: Path) -> Iterator[Row]:
    """Every EPC, there and back."""
    path = folder / "epc" / "hex_to_uri.json"
    for stated in json.loads(path.read_text()) if path.exists() else ():
        found = read_epc(bytes.fromhex(stated["hex"]))
        try:
            again = from_uri(stated["tag_uri"]).hex().upper()
        except ValueError as problem:
            again = str(problem)
        agrees = (found.uri, found.tag_uri) == (stated["epc_uri"], stated["tag_uri"])
        agrees = agrees and again.rstrip("0") == stated["hex"].rstrip("0")
        told = f"{found.uri} {found.tag_uri} {again}"
        yield Row(stated["hex"], f"{stated['epc_uri']} {stated['tag_uri']}", told, agrees)

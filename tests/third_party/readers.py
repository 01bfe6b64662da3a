"""readers-json/: events of readers that speak JSON: Impinj R700 and Zebra."""

import re
from collections.abc import Iterator
from pathlib import Path

from devices.reads import TagRead
from tests.support.drivers import Bench, build
from tests.third_party.rows import Row


def check(folder: Path) -> Iterator[Row]:
    """The EPCs of every event through the driver that its file names."""
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

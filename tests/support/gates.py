"""An agent with a gate: a simulated LLRP reader with an antenna on either side, and tags that pass it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from simulators.hardware.device import Thing
from simulators.hardware.rig import Rig
from tests.support.agents import AgentProgram
from tests.support.wait import eventually

OUTSIDE, INSIDE = 1, 2
# Each antenna hears a passing tag so often; between two of these, a reader goes round all of its antennas.
_TIMES, _EVERY_S = 16, 0.1


def gate_toml(reader: Rig) -> str:
    """What agent.toml says of the gate."""
    tables = [
        f'[[devices]]\nname = "reader"\ndriver = "llrp"\nport = "{reader.url}"',
        '[[stations]]\nname = "gate"\ndevices = ["reader"]\nworkflow = "gate"\nlocation = "DOCK-1"\npassage_s = 3',
    ]
    for side, antenna in (("outside", OUTSIDE), ("inside", INSIDE)):
        tables.append(
            f'[[places]]\nname = "{side}"\ndevices = ["reader"]\nantennas = [{antenna}]\nside = "{side}"\n'
            "departed_s = 1\ndeparted_most_s = 2"
        )
    return "\n".join(tables) + "\n"


@contextmanager
def gate_agent(folder: Path, *, broker: int | None = None) -> Iterator[tuple[AgentProgram, Rig]]:
    """The agent's program, not started yet, and its reader."""
    with Rig("llrp", "tcp:0", options={"antennas": "2"}) as rig:
        program = AgentProgram(folder / "agent", {}, broker=broker)
        with program.config.open("a") as config:
            config.write(gate_toml(rig))
        try:
            yield program, rig
        finally:
            program.close()


def start(program: AgentProgram) -> None:
    """Start it, and wait until its reader reads."""
    program.start()
    eventually(lambda: program.state("gate")["status"]["devices"][0]["status"] == "online", 15, "the reader")


def hear(rig: Rig, tags: Sequence[bytes], antenna: int, rssi_dbm: int = -50, times: int = _TIMES) -> None:
    """The tags stand before one antenna for a while."""
    for _ in range(times):
        rig.see(*(Thing(epc=tag.hex().upper(), antenna=antenna, rssi_dbm=rssi_dbm) for tag in tags))
        time.sleep(_EVERY_S)


def pass_through(rig: Rig, *tags: bytes, outward: bool = False) -> None:
    """The tags go from one side to the other."""
    first, second = (INSIDE, OUTSIDE) if outward else (OUTSIDE, INSIDE)
    hear(rig, tags, first, -58)
    hear(rig, tags, second, -45)

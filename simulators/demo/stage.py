"""The stage: the real programs as processes, the hardware they believe in, and the cable between them.

    scanners on pseudo-terminals, a camera's folder, a gate's reader → agents ── cable ── broker ── central

`Stage.open` is a context manager; on the way out nothing is left, whatever the reason.
"""

import asyncio
import os
import random
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import httpx2

from simulators.cable import Cable
from simulators.demo import warehouse
from simulators.demo.rest import Central
from simulators.demo.station import Station
from simulators.hardware.rig import Rig
from simulators.portal import INSIDE, OUTSIDE
from simulators.processes import Program, Programs, free_port
from simulators.scanner import Scanner

ROOT: Final = Path(__file__).parents[2]
"""Where the programs' modules are, installed or not."""
MOSQUITTO_PLACES: Final = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
"""Debian puts daemons where the PATH of users does not look."""
_HOST: Final = "127.0.0.1"


class NotPossible(Exception):
    """The demo cannot run on this machine as it is; the text says what to do."""


@dataclass(slots=True)
class Agent:
    """One agent: its program and its station."""

    name: str
    program: Program
    config: Path
    base_url: str
    station: Station
    connected: Callable[[], bool]
    """Whether it has its scanner or reader open."""

    @property
    def journal(self) -> Path:
        """Where it keeps what was scanned."""
        return self.config.parent / self.name / "journal.db"


class Stage:
    """Everything that runs. `dock` has a scanner and a camera, `picker` a scanner, `gate` a reader."""

    def __init__(
        self,
        folder: Path,
        http: httpx2.AsyncClient,
        programs: Programs,
        cable: Cable,
        *,
        agents: tuple[Agent, Agent, Agent],
        scanners: tuple[Scanner, Scanner],
        reader: Rig,
    ) -> None:
        self.folder, self._http, self.programs, self.cable = folder, http, programs, cable
        self.agents = agents
        self.dock, self.picker, self.gate = agents
        self.dock_scanner, self.picker_scanner = scanners
        self.reader = reader
        self.camera, self.database, self.logs = _camera(folder), folder / "central.db", _logs(folder)
        self.token = ""
        self.central_url = f"http://{_HOST}:{free_port()}"
        self._at_central = ("--config", self._write_central_config(cable.port))
        broker = ("broker", "--listen", f"{_HOST}:{cable.port}")
        self.broker = programs.add("broker", *_tallyman(*broker))
        self.program = programs.add("central", *_tallyman("central", *self._at_central))
        self.central = Central(http, self.central_url, "")

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, rng: random.Random) -> AsyncIterator[Self]:
        """Everything but running programs; on the way out whatever runs is ended."""
        for place in (folder, _camera(folder), _logs(folder), folder / "ports"):
            place.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as opened:
            http = await opened.enter_async_context(httpx2.AsyncClient(timeout=10.0, trust_env=False))
            cable = Cable(_HOST, free_port())
            opened.push_async_callback(cable.close)
            broker_port = await cable.start()
            scanners = (
                opened.enter_context(_scanner(folder, "dock", rng)),
                opened.enter_context(_scanner(folder, "picker", rng)),
            )
            reader = opened.enter_context(Rig("llrp", f"tcp:{_HOST}:0", options={"antennas": "2"}))
            programs = await opened.enter_async_context(Programs(_logs(folder), _environment()))
            agents = tuple(
                one.set_up(http, programs, broker_port) for one in _agents(folder, scanners, reader)
            )
            dock, picker, gate = agents
            yield cls(
                folder, http, programs, cable, agents=(dock, picker, gate), scanners=scanners, reader=reader
            )

    # --- set-up --------------------------------------------------------------------------------------------

    async def start_all(self, operators: Iterable[dict[str, str]]) -> None:
        """Start every program and wait until each is ready; central knows the operators and one access token.

        Raises:
            ProgramFailed: one of them does not do it.
        """
        self.broker.start()
        for agent in self.agents:
            agent.program.start()
        role = ("--role", "operate", "--name", "demo")
        self.token = await self.programs.output(
            "token", *_tallyman("central", "token", *role, *self._at_central)
        )
        for person in operators:
            options = [f"--{key}={value}" for key, value in person.items()]
            await self.programs.output(
                "operator", *_tallyman("central", "operator", *options, *self._at_central)
            )
        self.program.start()
        self.central = Central(self._http, self.central_url, self.token)
        await self.program.ready(lambda: self._healthy(self.central_url))
        for agent in self.agents:
            await self.ready(agent)

    async def ready(self, agent: Agent) -> None:
        """Wait until an agent answers and has its scanner or reader open. Raises ProgramFailed."""

        async def scans() -> bool:
            return agent.connected() and await self._healthy(agent.base_url)

        await agent.program.ready(scans)

    async def _healthy(self, base_url: str) -> bool:
        try:
            answer = await self._http.get(f"{base_url}/healthz", timeout=2.0)
        except httpx2.TransportError:
            return False
        return answer.is_success

    def _write_central_config(self, broker_port: int) -> Path:
        path = self.folder / "central.toml"
        path.write_text(
            f'[database]\nurl = "sqlite:///{self.database}"\n\n'
            f'[mqtt]\nurl = "mqtt://{_HOST}:{broker_port}"\n\n'
            f'[http]\nlisten = "{self.central_url.removeprefix("http://")}"\n'
        )
        return path

    # --- faults --------------------------------------------------------------------------------------------

    async def restart_broker(self) -> None:
        """Kill the broker and start a new one: it has no memory of sessions, queues or retained messages."""
        await self.broker.kill()
        self.broker.start()


def find_mosquitto() -> None:
    """Raise NotPossible if the broker is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), MOSQUITTO_PLACES])
    if shutil.which("mosquitto", path=path) is None:
        raise NotPossible("mosquitto is not installed. Install it with: sudo apt install mosquitto")


def _tallyman(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "tallyman", *map(str, arguments)]


def _environment() -> dict[str, str]:
    """Ours, so that the programs find their modules, and say at once what they have to say."""
    found = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *([found] if found else [])]),
        "PYTHONUNBUFFERED": "1",
    }


def _camera(folder: Path) -> Path:
    return folder / "camera"


def _logs(folder: Path) -> Path:
    return folder / "logs"


def _scanner(folder: Path, name: str, rng: random.Random) -> Scanner:
    return Scanner(folder / "ports" / f"{name}-scanner", rng=random.Random(rng.random()))  # noqa: S311 (simulation)


@dataclass(frozen=True, slots=True)
class _Agent:
    """What an agent is made of."""

    folder: Path
    name: str
    workflow: str
    location: str
    devices: dict[str, tuple[str, str]]
    """Name → driver and port."""
    connected: Callable[[], bool]
    more: str = ""
    """What else its agent.toml says."""

    def set_up(self, http: httpx2.AsyncClient, programs: Programs, broker_port: int) -> Agent:
        """Write its agent.toml; it sees the broker through the cable."""
        listen = f"{_HOST}:{free_port()}"
        config = self.folder / f"{self.name}.toml"
        config.write_text(self._toml(listen, broker_port))
        program = programs.add(f"agent-{self.name}", *_tallyman("agent", "--config", config))
        base_url = f"http://{listen}"
        station = Station(http, base_url, self.name)
        return Agent(self.name, program, config, base_url, station, self.connected)

    def _toml(self, listen: str, broker_port: int) -> str:
        """agent.toml (contract, "Configuration")."""
        used = ", ".join(f'"{device}"' for device in self.devices)
        tables = [
            f'[agent]\nid = "{self.name}"\nsite = "{warehouse.SITE}"\ndata_dir = "{self.name}"',
            f'[mqtt]\nurl = "mqtt://{_HOST}:{broker_port}"',
            f'[http]\nlisten = "{listen}"',
            *(
                f'[[devices]]\nname = "{device}"\ndriver = "{driver}"\nport = "{port}"'
                for device, (driver, port) in self.devices.items()
            ),
            f'[[stations]]\nname = "{self.name}"\nworkflow = "{self.workflow}"\ndevices = [{used}]',
            f'location = "{self.location}"\n{self.more}',
        ]
        return "\n".join(tables) + "\n"


def _agents(folder: Path, scanners: tuple[Scanner, Scanner], reader: Rig) -> Iterator[_Agent]:
    """The dock's, the picker's and the gate's."""
    dock, picker = scanners
    ports = [("text-line", f"serial://{scanner.path}?baud=9600") for scanner in scanners]
    camera = ("camera", f"file://{_camera(folder)}")
    yield _Agent(
        folder, "dock-1", "receive", warehouse.DOCK, {"scanner": ports[0], "camera": camera}, dock.connected
    )
    yield _Agent(folder, "picker-1", "pick", warehouse.DOCK, {"scanner": ports[1]}, picker.connected)
    devices = {"reader": ("llrp", reader.url)}
    yield _Agent(
        folder, "gate-1", "gate", warehouse.GATE, devices, lambda: reader.open_for_s() is not None, _PLACES
    )


# A forklift is quick: a few readings decide where its tags are, and what nobody hears for seconds has gone.
_PLACES: Final = "passage_s = 2\n\n" + "\n\n".join(
    f'[[places]]\nname = "{side}"\ndevices = ["reader"]\nantennas = [{antenna}]\nside = "{side}"\n'
    "readings = 5\ndeparted_s = 1\ndeparted_most_s = 2"
    for side, antenna in (("outside", OUTSIDE), ("inside", INSIDE))
)


async def wait_until(check: Callable[[], Awaitable[bool]], what: str, timeout_s: float) -> None:
    """Ask `check` until it says yes.

    Raises:
        TimeoutError: it did not; the text says what was waited for.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await check():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        await asyncio.sleep(0.1)

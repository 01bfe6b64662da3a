"""A small site, and an agent on it: as values, as parts in this process, and as a program with real ports."""

import json
import os
import signal
import subprocess
import sys
import time
import tty
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from agent.reference import Stored
from agent.tasks import Known
from sync.messages import Document, DocumentLine, Gtin, Item, Location, Operator, Task
from tests.support.programs import free_port, stop_process, tail
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
START_S = 30.0  # two cores that are busy with other tests

MILK, MILK_CASE = "4006381333931", "14006381333938"
LAMP, LAMP_GS1 = "09521234543213", "]d20109521234543213"
STRANGE = "5901234123457"  # a GTIN that nobody announced
SSCC = "095212345678901235"


def site() -> Stored:
    """Items with each kind of tracking, two aisles, one person, one document of each kind."""
    return Stored(
        version=7,
        as_of=70,
        items=[
            Item(
                sku="MILK",
                name="Oat milk",
                gtins=[Gtin(gtin=MILK, quantity=1), Gtin(gtin=MILK_CASE, quantity=12)],
            ),
            Item(sku="LAMP", name="Lamp", gtins=[Gtin(gtin=LAMP, quantity=1)]),
            Item(sku="PILL", name="Pills", gtins=[Gtin(gtin="09521234543220", quantity=1)], tracking="lot"),
            Item(
                sku="RADIO", name="Radio", gtins=[Gtin(gtin="09521234543237", quantity=1)], tracking="serial"
            ),
        ],
        locations=[
            Location(id="DOCK-1", site="lej1"),
            Location(id="A-01", site="lej1", walk_order=10),
            Location(id="B-02", site="lej1", walk_order=20, gln="9521234543213"),
            Location(id="X-99", site="ber1", walk_order=5),
        ],
        operators=[Operator(id="op-7", name="Ada", badge="BADGE-7")],
        documents=[
            Document(
                id="PO-1",
                type="purchase_order",
                site="lej1",
                lines=[DocumentLine(sku="MILK", quantity=13)],
                supplier="Dairy",
            ),
            Document(id="SO-1", type="order", site="lej1", lines=[DocumentLine(sku="MILK", quantity=2)]),
        ],
    )


def pick(
    task: str, sku: str, quantity: int, place: str | None, *, lot: str | None = None, **more: Any
) -> Task:
    """A pick task of order SO-1."""
    return Task(
        task=task,
        type="pick",
        lease_until=None,
        status=more.get("status", "open"),
        document=more.get("document", "SO-1"),
        sku=sku,
        quantity=quantity,
        from_location=place,
        lot=lot,
    )


class AgentProgram:
    """`tallyman agent` as a process, with one pseudo-terminal for each station's scanner.

    Args:
        folder: its data, configuration and log.
        stations: name → workflow.
        broker: the broker's port; by default one that nobody listens on.
    """

    def __init__(
        self,
        folder: Path,
        stations: dict[str, str],
        *,
        agent: str = "dock-2",
        broker: int | None = None,
        extra: str = "",
    ) -> None:
        self.folder, self.agent = folder, agent
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.scanners = {name: os.openpty() for name in stations}
        for name, (_, slave) in self.scanners.items():
            tty.setraw(slave)
            self._port(name).unlink(missing_ok=True)
            self._port(name).symlink_to(os.ttyname(slave))
        self.config = folder / "agent.toml"
        self.config.write_text(self._toml(stations, broker or free_port(), extra))
        self.log = folder / "agent.log"
        self.environment: dict[str, str] = {}
        """More of it for the process."""
        self.process: subprocess.Popen[bytes] | None = None

    def _toml(self, stations: dict[str, str], broker: int, extra: str) -> str:
        lines = [
            f'[agent]\nid = "{self.agent}"\nsite = "lej1"\ndata_dir = "{self.folder / "data"}"\n{extra}',
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker}"',
            f'[http]\nlisten = "127.0.0.1:{self.port}"',
        ]
        for name, workflow in stations.items():
            lines.append(
                f'[[devices]]\nname = "scan-{name}"\ndriver = "text-line"\nport = "serial://{self._port(name)}"\n'
                f'[[stations]]\nname = "{name}"\ndevices = ["scan-{name}"]\nworkflow = "{workflow}"\n'
                'location = "DOCK-1"\nguard_ms = 60'
            )
        return "\n".join(lines) + "\n"

    def _port(self, name: str) -> Path:
        return self.folder / f"scanner-{name}"

    def unplug(self, name: str) -> None:
        """The name goes first, as udev takes it away: another test may get a terminal of the same number."""
        self._port(name).unlink()
        for end in self.scanners.pop(name):
            os.close(end)

    def know(self, stored: Stored | None = None, tasks: list[Task] | None = None) -> None:
        """What central sent before the network went."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        (data / "reference.json").write_bytes(msgspec.json.encode(stored or site()))
        (data / "tasks.json").write_bytes(msgspec.json.encode([Known(1, task) for task in tasks or ()]))

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "tallyman", "agent", "--config", str(self.config)]
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **self.environment}
            )
        eventually(self._serves, START_S, "the agent serves")
        # What is scanned before the port is open is thrown away when it is opened, as on a real line.
        eventually(self._hears, START_S, "the agent has its scanners open")

    def _serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, tail(self.log)
        try:
            self.get("/healthz")
        except OSError:
            return False
        return True

    def _hears(self) -> bool:
        devices = {
            device["name"]: device["status"]
            for station in self.scanners
            for device in self.state(station)["status"]["devices"]
        }
        return all(devices[f"scan-{name}"] == "online" for name in self.scanners)

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        stop_process(self.process, signal.SIGTERM)
        return int(self.process.returncode)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process is not None:
            stop_process(self.process, signal.SIGTERM)
        for master, slave in self.scanners.values():
            os.close(master)
            os.close(slave)

    def send(self, station: str, content: bytes) -> None:
        """What its scanner sends, terminator and all."""
        os.write(self.scanners[station][0], content)

    def scan(self, station: str, code: str) -> dict[str, Any]:
        """Scan and wait for the outcome."""
        before = self.state(station)["last"]
        token = before["token"] if before else 0
        self.send(station, code.encode() + b"\r\n")

        def outcome() -> dict[str, Any] | None:
            last = self.state(station)["last"]
            return last if last and last["token"] > token else None

        found: dict[str, Any] = eventually(outcome, 10, f"an outcome of {code!r}")
        time.sleep(0.07)  # longer than guard_ms, so that the next scan of the same code is a new one
        return found

    def state(self, station: str) -> dict[str, Any]:
        """What its page shows."""
        found: dict[str, Any] = json.loads(self.get(f"/stations/{station}/state"))
        return found

    def get(self, path: str) -> bytes:
        """The body of a page."""
        with urllib.request.urlopen(self.address + path, timeout=5) as answer:
            return bytes(answer.read())

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        """(status, body), also of a refusal."""
        request = urllib.request.Request(
            self.address + path,
            json.dumps(body).encode(),
            {
                "Content-Type": "application/json",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

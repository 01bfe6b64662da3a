"""Our programs as a user starts them: processes with a configuration file, killed without warning."""

import json
import os
import pty
import signal
import subprocess
import sys
import tty
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.foreign.wire import wait_until
from tests.support.programs import free_port

ROOT = Path(__file__).parents[2]
START_S = 60.0  # two cores that are busy with other tests


def tallyman(*arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "tallyman", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Program:
    """One of our programs, with its log in a file."""

    def __init__(self, command: str, config: Path, http_port: int) -> None:
        self.command, self.config, self.http = command, config, f"http://127.0.0.1:{http_port}"
        self.log = config.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tallyman", self.command, "--config", str(self.config)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        wait_until(self.healthy, f"{self.command} answers at {self.http}", START_S)

    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.http}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and it ends well."""
        if self.process is not None:
            assert self._end(signal.SIGTERM) == 0, self.log.read_text()

    def _end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        status = self.process.wait(20)
        self.process = None
        return status

    def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> tuple[int, Any]:
        """(status, JSON) of one request."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.http + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")


class CentralProgram(Program):
    """`tallyman central` on SQLite, with an administrator's token."""

    def __init__(self, directory: Path, broker_url: str) -> None:
        port = free_port()
        config = directory / "central.toml"
        config.write_text(
            f'[database]\nurl = "sqlite:///{directory}/central.db"\n'
            f'[mqtt]\nurl = "{broker_url}"\n[http]\nlisten = "127.0.0.1:{port}"\n'
        )
        super().__init__("central", config, port)
        self.token = tallyman(
            "central", "token", "--role", "admin", "--name", "test", "--config", str(config)
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request that must succeed."""
        status, answer = self.request(method, path, body, token=self.token)
        assert status in (200, 201), (status, answer)
        return answer


class AgentProgram(Program):
    """`tallyman agent` with one scanner on a pseudo-terminal, at a dock and at a picker's station."""

    def __init__(self, directory: Path, broker_url: str, agent: str) -> None:
        self.agent = agent
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.pick_master, self.pick_slave = pty.openpty()
        tty.setraw(self.pick_slave)
        port = free_port()
        config = directory / f"{agent}.toml"
        config.write_text(
            f'[agent]\nid = "{agent}"\nsite = "lej1"\ndata_dir = "{directory / agent}"\n'
            f'[mqtt]\nurl = "{broker_url}"\n[http]\nlisten = "127.0.0.1:{port}"\n'
            f'[[devices]]\nname = "scanner-1"\ndriver = "text-line"\nport = "serial://{os.ttyname(self.slave)}"\n'
            f'[[devices]]\nname = "scanner-2"\ndriver = "text-line"\nport = "serial://{os.ttyname(self.pick_slave)}"\n'
            '[[stations]]\nname = "dock"\ndevices = ["scanner-1"]\nworkflow = "receive"\nlocation = "DOCK-1"\n'
            '[[stations]]\nname = "picker"\ndevices = ["scanner-2"]\nworkflow = "pick"\nlocation = "PACK-1"\n'
        )
        super().__init__("agent", config, port)
        self.scanned = 0

    def start(self) -> None:
        """Start it, and wait until its scanners are open: what is scanned before is thrown away at the opening."""
        super().start()
        for station in ("dock", "picker"):
            wait_until(lambda station=station: self._hears(station), f"{station} has its scanner", START_S)

    def _hears(self, station: str) -> bool:
        return all(device["status"] == "online" for device in self.state(station)["status"]["devices"])

    def state(self, station: str = "dock") -> Any:
        status, answer = self.request("GET", f"/stations/{station}/state")
        assert status == 200, answer
        return answer

    def scan(self, count: int = 1) -> list[str]:
        """Scan that many units, each with a serial of its own; their event ids, once each has its OK."""
        ids = []
        for _ in range(count):
            self.scanned += 1
            serial = f"U{self.scanned:05d}"
            os.write(self.master, f"]C1010952123454321321{serial}\r\n".encode())
            recorded = wait_until(lambda serial=serial: self._recorded(serial), f"an OK for {serial}")
            ids.append(recorded["event_id"])
        return ids

    def _recorded(self, serial: str) -> Any:
        return next((one for one in self.state()["recorded"] if one.get("serial") == serial), None)

    def close(self) -> None:
        """End it, whatever it does now, and its scanners."""
        if self.process is not None:
            self.kill()
        for descriptor in (self.master, self.slave, self.pick_master, self.pick_slave):
            os.close(descriptor)

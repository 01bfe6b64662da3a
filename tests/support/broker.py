"""A real mosquitto on loopback that tests can stop, kill and start again. It remembers nothing."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.networks import Network
from tests.support.programs import find_program, free_port, stop_process, tail
from tests.support.wait import eventually

_START_S = 10.0
_CONFIG = """\
listener {port} {host}
{access}
persistence false
log_dest file {log}
"""


class Broker:
    """One mosquitto. `start` after `stop` or `kill` gives the same address, without the old memory.

    `access` is what its configuration says of who may do what; `{directory}` in it is where `files` are put, by name.
    """

    def __init__(
        self,
        access: str = "allow_anonymous true",
        files: Mapping[str, str] | None = None,
        *,
        network: Network | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.host, self._network = host, network or Network()
        self.port = free_port()
        self.url = f"mqtt://{self.host}:{self.port}"
        # Started by root, mosquitto drops to its own user and then writes its log: the place must be open to it.
        self._directory = Path(tempfile.mkdtemp(prefix="tallyman-broker-", dir="/tmp"))
        self._directory.chmod(0o777)
        self._log = self._directory / "mosquitto.log"
        self._config = self._directory / "mosquitto.conf"
        access = access.format(directory=self._directory)
        self._config.write_text(_CONFIG.format(host=self.host, port=self.port, log=self._log, access=access))
        for name, content in (files or {}).items():
            (self._directory / name).write_text(content)
            (self._directory / name).chmod(0o644)
        self._config.chmod(0o644)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when connections are accepted."""
        assert self._process is None, "the broker is running already"
        program = find_program("mosquitto", package="mosquitto")
        self._process = subprocess.Popen(
            [*self._network.run, program, "-c", str(self._config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers_or_ended, _START_S, "mosquitto accepts connections")
        assert self._process.poll() is None, f"mosquitto ended at once:\n{tail(self._log)}"

    def stop(self) -> None:
        """End politely: clients are disconnected, wills are not sent by a broker that stops."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End as a power cut would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop and leave nothing behind."""
        self.stop()
        shutil.rmtree(self._directory)

    def said(self) -> str:
        """Its log."""
        return self._log.read_text()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            stop_process(self._process, how)
            self._process = None

    def _answers_or_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or self._network.answers(self.host, self.port)


@contextlib.contextmanager
def running(access: str = "allow_anonymous true") -> Iterator[Broker]:
    """One that is there until the end of the block."""
    broker = Broker(access)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()

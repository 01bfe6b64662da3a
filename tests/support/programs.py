"""Find, start and stop the programs that tests talk to. What is absent fails the test and says how to get it."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

_MORE_PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
# Below the range that Linux takes for outgoing connections (from 32768): a client that reconnects to a
# stopped server must not be given that very port as its own, and find itself connected to itself.
_PORTS = range(15_000, 32_000)
_PORT_ATTEMPTS = 100


def find_program(*names: str, package: str, places: tuple[str, ...] = ()) -> str:
    """Where the first of these commands lives."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_PLACES, *places])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    pytest.fail(
        f"This test needs {' or '.join(names)}, which is not on this machine. "
        f"`make test` installs it where it may; by hand: apt-get install --no-install-recommends {package}",
        pytrace=False,
    )


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    for _ in range(_PORT_ATTEMPTS):
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError(f"no free port found in {_PORT_ATTEMPTS} attempts")


def answers(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def stop_process(process: subprocess.Popen[bytes], how: signal.Signals, patience_s: float = 10) -> None:
    """Ask a process to end, and end it if it does not."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tail(path: Path, lines: int = 20) -> str:
    """The end of a log file, for a failure's message."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"

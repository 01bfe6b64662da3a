"""The life of a program: real processes, real signals, real sockets."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.config import Listen
from service.process import Failure, bind
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import asyncio, sys
from service import log, process
from service.config import ConfigError, Listen, Mistake
log.configure(json=True)
"""
SERVES = """
from service import web
stream = web.EventStream()
app = web.create_app("test", version="1", streams=[stream])

@app.get("/events")
async def events():
    return stream.response(lambda: [(None, "here")])

@app.get("/slow")
async def slow():
    print("asked", flush=True)
    await asyncio.sleep(SLOW_S)
    return "done"

async def main():
    def announce(listen):
        print(listen.authority, flush=True)
        process.ready(f"serving {listen}")
    await process.serve_http(app, Listen("127.0.0.1", PORT), announce=announce)
    return 0
sys.exit(process.run(main))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def start(source: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(source)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def serves(slow_s: float = 0, port: int = 0) -> str:
    return SERVES.replace("SLOW_S", str(slow_s)).replace("PORT", str(port))


def get(authority: str, path: str) -> socket.socket:
    host, _, port = authority.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    return connection


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        part = connection.recv(65536)
        assert part, f"closed before {wanted!r}: {found!r}"
        found += part
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_open_event_stream_does_not_hold_up_the_end(start: Start, number: signal.Signals) -> None:
    process = start(serves())
    with get(line(process), "/events") as connection:
        read_until(connection, b'data: "here"')
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=8)
        assert process.returncode == 0, errors
        assert time.monotonic() - began < 1.5
        while part := connection.recv(65536):
            assert b"0\r\n\r\n" in part  # ended in form, not torn


def test_requests_that_are_being_answered_are_answered(start: Start) -> None:
    process = start(serves(slow_s=0.4))
    with get(line(process), "/slow") as connection:
        assert line(process) == "asked"
        process.terminate()
        assert b"200 OK" in read_until(connection, b'"done"')
    assert process.wait(8) == 0


def test_a_request_that_never_ends_is_given_up(start: Start) -> None:
    process = start(serves(slow_s=3600))
    with get(line(process), "/slow"):
        assert line(process) == "asked"
        process.terminate()
        assert process.wait(8) == 0


def test_connections_without_a_request_do_not_use_up_the_files_of_the_process(start: Start) -> None:
    program = start("import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n" + serves())
    authority = line(program)
    host, _, port = authority.rpartition(":")
    idle = [socket.create_connection((host, int(port)), timeout=10) for _ in range(60)]
    eventually(lambda: sum(map(_is_ended, idle)) >= 60 - 32, 10, "all but 32 are ended")
    for connection in idle:
        connection.close()
    with get(authority, "/events") as connection:
        read_until(connection, b"here")


def _is_ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_port_in_use_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = start(serves(port=other.getsockname()[1]))
        _, errors = process.communicate(timeout=8)
    assert process.returncode == 1
    port = errors.partition("Port ")[2].partition(" ")[0]
    assert errors.strip() == (
        f"tallyman: Port {port} on 127.0.0.1 is in use by another program. "
        "Choose another address in [http] listen."
    )


def test_addresses_that_cannot_be_listened_on() -> None:
    with pytest.raises(Failure, match="not an address of this machine"):
        bind(Listen("192.0.2.1", 0))  # TEST-NET-1, RFC 5737
    with pytest.raises(Failure, match=r"cannot listen on no\.such\.invalid:1"):
        bind(Listen("no.such.invalid", 1))


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (
            'ConfigError("a.toml", [Mistake("a.toml:3", "[x] y", "is missing")], "Correct it.")',
            2,
            "tallyman: a.toml:3: [x] y: is missing\nCorrect it.",
        ),
        ('process.Failure("the disk is full; make room")', 1, "tallyman: the disk is full; make room"),
        ('LookupError("known \\x1b]0;x\\x07")', 1, "tallyman: known \\x1b]0;x\\x07"),
        ('ExceptionGroup("", [ExceptionGroup("", [process.Failure("deep")])])', 1, "tallyman: deep"),
    ],
)
def test_errors_for_people_have_no_traceback(start: Start, raised: str, status: int, said: str) -> None:
    process = start(
        f"""
        async def main():
            raise {raised}
        sys.exit(process.run(main, known=(LookupError,)))
        """
    )
    _, errors = process.communicate(timeout=8)
    assert (process.returncode, errors.strip()) == (status, said)


def test_a_defect_is_logged_with_its_traceback(start: Start) -> None:
    process = start("async def main(): 1 / 0\nsys.exit(process.run(main))")
    _, errors = process.communicate(timeout=8)
    assert process.returncode == 1
    assert "ZeroDivisionError" in errors
    assert "please report it" in errors


def test_the_status_that_main_returns(start: Start) -> None:
    process = start("async def main(): return 1\nsys.exit(process.run(main))")
    assert process.wait(8) == 1


STUBBORN = """
async def main():
    try:
        print("up", flush=True)
        await asyncio.sleep(3600)
    finally:
        {ending}
    return 0
sys.exit(process.run(main, shutdown_timeout_s={timeout_s}))
"""


def test_a_clean_shutdown_is_waited_for(start: Start) -> None:
    ending = 'await asyncio.sleep(0.2); print("closed", flush=True)'
    process = start(STUBBORN.format(ending=ending, timeout_s=5))
    assert line(process) == "up"
    process.terminate()
    assert line(process) == "closed"
    assert process.wait(8) == 0


@pytest.mark.parametrize("ending", ["await asyncio.sleep(3600)", "__import__('time').sleep(3600)"])
def test_a_shutdown_that_hangs_is_ended_with_status_1(start: Start, ending: str) -> None:
    """Also when the event loop itself hangs."""
    process = start(STUBBORN.format(ending=ending, timeout_s=0.3))
    assert line(process) == "up"
    process.terminate()
    _, errors = process.communicate(timeout=8)
    assert process.returncode == 1
    assert "took longer than 0.3 s" in errors


def test_a_second_signal_ends_at_once(start: Start) -> None:
    ending = 'print("closing", flush=True); await asyncio.sleep(3600)'
    process = start(STUBBORN.format(ending=ending, timeout_s=60))
    assert line(process) == "up"
    process.send_signal(signal.SIGINT)
    assert line(process) == "closing"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=8)
    assert process.returncode == 1
    assert "second signal" in errors


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(start: Start, tmp_path: Path, abstract: bool) -> None:
    address = f"tallyman-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address if abstract else address)
        manager.settimeout(8)
        process = start(serves(), NOTIFY_SOCKET="@" + address if abstract else address)
        authority = line(process)
        assert manager.recv(4096).decode() == f"READY=1\nSTATUS=serving {authority}"
        process.terminate()
        assert manager.recv(4096) == b"STOPPING=1"
    assert process.wait(8) == 0


def test_without_systemd_nothing_is_told(start: Start, tmp_path: Path) -> None:
    process = start(serves(), NOTIFY_SOCKET=str(tmp_path / "gone"))
    line(process)
    process.terminate()
    _, errors = process.communicate(timeout=8)
    assert process.returncode == 0
    assert "systemd cannot be told" in errors

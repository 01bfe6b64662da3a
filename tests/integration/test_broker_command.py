"""`tallyman broker`: a real mosquitto, safe, and gone when it is told to go."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from service.broker import PACKET_MAX_BYTES, Refused, configuration, find_mosquitto
from service.config import Listen
from service.process import Failure
from tests.support.programs import answers, free_port
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "tallyman.py"), "broker"]


@pytest.fixture
def running() -> Iterator[tuple["subprocess.Popen[str]", int]]:
    port = free_port()
    process = subprocess.Popen([*COMMAND, "--listen", f"127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: answers("127.0.0.1", port) or process.poll() is not None, 10)
        assert process.poll() is None, process.communicate()[1]
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_messages_pass_up_to_the_size_the_contract_needs(
    running: tuple["subprocess.Popen[str]", int],
) -> None:
    _, port = running
    received: list[int] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda _client, _data, message: received.append(len(message.payload))
    subscribed: list[bool] = []
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        client.subscribe("tallyman/v1/agents/a/reference", qos=1)
        eventually(lambda: subscribed, 5)
        client.publish("tallyman/v1/agents/a/reference", b"x" * 256 * 1024, qos=1)
        eventually(lambda: received == [256 * 1024], 5)
    finally:
        client.disconnect()
        client.loop_stop()
    assert PACKET_MAX_BYTES > 256 * 1024


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_it(running: tuple["subprocess.Popen[str]", int], number: signal.Signals) -> None:
    process, port = running
    process.send_signal(number)
    assert process.wait(10) == 0
    assert not answers("127.0.0.1", port)


def test_it_is_killed_whole(running: tuple["subprocess.Popen[str]", int]) -> None:
    """Nothing stands between the process and the broker, so that SIGKILL leaves no orphan."""
    process, port = running
    process.kill()
    process.wait(10)
    eventually(lambda: not answers("127.0.0.1", port), 5)


def test_it_listens_on_this_machine_only_and_keeps_nothing_on_disk(
    running: tuple["subprocess.Popen[str]", int],
) -> None:
    process, port = running
    tables = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    listening = [row.split()[1] for row in tables.splitlines() if row.split()[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
    assert "persistence false" in configuration(Listen("127.0.0.1", port))
    assert not list(Path("/tmp").glob("*mosquitto*conf*"))
    assert process.poll() is None


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1883", ":1883", "192.168.1.4:1883", "[::]:1883", "broker.example:1883"]
)
def test_other_machines_are_refused_and_the_way_out_named(listen: str) -> None:
    with pytest.raises(Refused, match=r"TLS"):
        configuration(Listen.parse(listen))


def test_wrong_use() -> None:
    refused = run("--listen", "0.0.0.0:1883")
    assert refused.returncode == 2
    assert "Use --listen 127.0.0.1:1883" in refused.stderr
    assert run("--listen", "1883").returncode == 2


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        used = run("--listen", f"127.0.0.1:{port}")
    assert used.returncode == 1
    assert used.stderr == (
        f"tallyman: Port {port} on 127.0.0.1 is in use by another program. "
        "Choose another address in --listen.\n"
    )


def test_without_mosquitto_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.broker._FURTHER_FOLDERS", ())
    with pytest.raises(Failure, match="sudo apt install mosquitto"):
        find_mosquitto("/nowhere")

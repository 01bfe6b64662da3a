"""The link against a real broker, and against brokers that misbehave."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from sync import mqtt, network
from sync.mqtt import Incoming, Link, Settings, SettingsError, Will
from tests.support.broker import Broker
from tests.support.programs import free_port
from tests.support.wait import eventually_async


class Ear:
    """A listener that remembers."""

    def __init__(self, will: Will | None = None, *, acknowledge: bool = True) -> None:
        self.messages: list[Incoming] = []
        self.connects = 0
        self.reasons: list[str] = []
        self._will, self._acknowledge = will, acknowledge

    async def will(self) -> Will | None:
        return self._will

    def connected(self) -> None:
        self.connects += 1

    def received(self, message: Incoming) -> None:
        self.messages.append(message)
        if self._acknowledge:
            message.acknowledge()

    def disconnected(self, reason: str) -> None:
        self.reasons.append(reason)

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]


@contextlib.asynccontextmanager
async def linked(
    url: str, client_id: str, ear: Ear, *topics: str, **settings: Path | str
) -> AsyncIterator[Link]:
    link = Link(Settings(url, **settings), client_id, topics, ear, jitter=lambda: 0.0)  # type: ignore[arg-type]
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_messages_arrive_in_order_between_two_links(broker: Broker) -> None:
    ear, mouth = Ear(), Ear()
    async with linked(broker.url, "ear", ear, "t/+"), linked(broker.url, "mouth", mouth, "nothing") as out:
        assert not Link(Settings(broker.url), "idle", (), ear).publish("t/1", b"lost"), (
            "not connected: says so"
        )
        await eventually_async(lambda: ear.connects and out.online)
        for n in range(300):
            assert out.publish("t/1", b"%d" % n)
        await eventually_async(lambda: len(ear.messages) == 300)
    assert ear.payloads() == [b"%d" % n for n in range(300)]
    assert {m.topic for m in ear.messages} == {"t/1"} and not any(m.retained for m in ear.messages)


async def test_without_acknowledgement_the_broker_hands_over_no_more_than_the_bound(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "RECEIVE_MAXIMUM", 5)
    ear, mouth = Ear(acknowledge=False), Ear()
    async with linked(broker.url, "ear", ear, "t"), linked(broker.url, "mouth", mouth) as out:
        await eventually_async(lambda: ear.connects and out.online)
        for n in range(12):
            out.publish("t", b"%d" % n)
        await eventually_async(lambda: len(ear.messages) == 5)
        await asyncio.sleep(0.2)
        assert len(ear.messages) == 5, "PUBACK is ours to send, after the commit"
        for message in ear.messages[:]:
            message.acknowledge()
        await eventually_async(lambda: len(ear.messages) >= 10)


async def test_what_comes_faster_than_it_can_be_looked_at_is_dropped_at_the_bound(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QoS 0 knows no flow control: only the bound stands between a careless publisher and all memory."""
    monkeypatch.setattr(mqtt, "HANDED_OVER_MAXIMUM", 10)
    ear = Ear()
    async with linked(broker.url, "ear", ear, "t") as link:
        await eventually_async(lambda: link.online)
        hose = paho.Client(paho.CallbackAPIVersion.VERSION2)
        hose.connect("127.0.0.1", broker.port)
        hose.loop_start()
        last = [hose.publish("t", b"x", qos=0) for _ in range(300)][-1]
        last.wait_for_publish(5)
        hose.publish("t", b"x", qos=1).wait_for_publish(5)
        time.sleep(0.5)  # the event loop is busy
        assert len(ear.messages) == 0
        await eventually_async(lambda: ear.messages)
        assert len(ear.messages) == 10
        hose.publish("t", b"later", qos=1)
        await eventually_async(lambda: ear.payloads()[-1] == b"later")
        hose.disconnect()
        hose.loop_stop()


async def test_a_broker_that_restarts_without_its_memory_is_found_again(broker: Broker) -> None:
    ear = Ear()
    async with linked(broker.url, "ear", ear, "t") as link:
        await eventually_async(lambda: link.online)
        broker.kill()
        await eventually_async(lambda: not link.online and ear.reasons)
        assert not link.publish("t", b"x")
        broker.start()
        await eventually_async(lambda: link.online)
        sent = link.publish("t", b"again")
        await eventually_async(lambda: ear.payloads() == [b"again"] and sent is not None and sent.taken)
    assert ear.connects == 2 and any("connection to the broker ended" in reason for reason in ear.reasons)


async def test_the_last_will_is_said_when_the_connection_breaks_and_not_at_a_goodbye(broker: Broker) -> None:
    ear, dying, leaving = Ear(), Ear(Will("w/dying", b"gone")), Ear(Will("w/leaving", b"gone"))
    async with linked(broker.url, "ear", ear, "w/+"):
        await eventually_async(lambda: ear.connects)
        async with linked(broker.url, "leaving", leaving, "x"):
            await eventually_async(lambda: leaving.connects)
        async with linked(broker.url, "dying", dying, "x") as link:
            await eventually_async(lambda: dying.connects)
            assert link._client is not None
            link._client.socket().shutdown(socket.SHUT_RDWR)
            await eventually_async(lambda: ear.messages)
    assert [(m.topic, m.payload) for m in ear.messages] == [("w/dying", b"gone")]


async def test_no_broker_is_a_reason_in_words_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.01)
    port, ear = free_port(), Ear()
    async with linked(f"mqtt://127.0.0.1:{port}", "a", ear, "t"):
        await eventually_async(lambda: len(ear.reasons) > 2)
    assert f"no broker at 127.0.0.1:{port}" in ear.reasons[0]


async def test_an_end_in_the_middle_of_connecting_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected, leave = threading.Event(), threading.Event()
    clients: list[paho.Client] = []
    real = paho.Client.connect

    def slow(self: paho.Client, *arguments: Any, **more: Any) -> Any:
        clients.append(self)
        leave.wait(5)
        try:
            return real(self, *arguments, **more)
        finally:
            connected.set()

    monkeypatch.setattr(paho.Client, "connect", slow)
    async with scripted(lambda _kind, _body: b"") as (url, _):
        link = Link(Settings(url), "a", ("t",), Ear())
        running = asyncio.create_task(link.run())
        await eventually_async(lambda: clients)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        leave.set()
        await eventually_async(connected.is_set)
        await eventually_async(lambda: clients[0].socket() is None or clients[0].socket().fileno() == -1)


async def test_tls_files_that_cannot_be_read_are_a_reason_in_words(tmp_path: Path) -> None:
    ear = Ear()
    async with linked("mqtts://127.0.0.1", "a", ear, "t", ca_file=tmp_path / "ca.pem"):
        await eventually_async(lambda: ear.reasons)
    assert "the TLS files cannot be used" in ear.reasons[0]


# --- brokers of another kind -----------------------------------------------------------------------------------


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind = (await reader.readexactly(1))[0]
    length = (await reader.readexactly(1))[0]
    if length & 0x80:
        length = length & 0x7F | (await reader.readexactly(1))[0] << 7
    return kind, await reader.readexactly(length)


@contextlib.asynccontextmanager
async def scripted(script: Callable[[int, bytes], bytes | None]) -> AsyncIterator[tuple[str, list[int]]]:
    """A broker that answers each packet as `script(kind, body)` says; None hangs up. Also gives the protocol
    levels that clients asked for."""
    levels: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await read_packet(reader)
                if kind == 0x10:
                    levels.append(body[6])
                answer = script(kind, body)
                if answer is None:
                    break
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", levels


async def test_a_broker_that_knows_only_3_1_1_is_spoken_to_in_3_1_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.01)

    def script(kind: int, body: bytes) -> bytes | None:
        if kind == 0x10:  # CONNACK: unacceptable protocol version (MQTT 3.1.1 §3.2.2.3), or accepted
            return b"\x20\x02\x00\x01" if body[6] == 5 else b"\x20\x02\x00\x00"
        return b"\x90\x03" + body[:2] + b"\x01" if kind == 0x82 else b""

    ear = Ear()
    async with scripted(script) as (url, levels), linked(url, "a", ear, "t") as link:
        await eventually_async(lambda: link.online)
    assert levels == [5, 4] and ear.connects == 1


async def test_a_broker_that_hangs_up_when_it_hears_5_0_is_spoken_to_in_3_1_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.01)

    def script(kind: int, body: bytes) -> bytes | None:
        if kind == 0x10:
            return None if body[6] == 5 else b"\x20\x02\x00\x00"
        return b"\x90\x03" + body[:2] + b"\x01" if kind == 0x82 else b""

    ear = Ear()
    async with scripted(script) as (url, levels), linked(url, "a", ear, "t") as link:
        await eventually_async(lambda: link.online)
    assert levels == [5, 4]


async def test_a_broker_is_given_no_more_at_once_than_it_said_it_takes() -> None:
    """Else it hangs up, again and again, and a backlog never gets through (MQTT 5.0 §4.9)."""
    taken: list[bytes] = []

    def script(kind: int, body: bytes) -> bytes | None:
        if kind == 0x10:  # CONNACK, Receive Maximum 3 (MQTT 5.0 §3.2.2.3.3)
            return b"\x20\x06\x00\x00\x03\x21\x00\x03"
        if kind == 0x32:
            taken.append(body[3:5])  # the packet identifier, behind the topic "t"
            return b"\x40\x02" + taken[0] if len(taken) == 3 else b""
        return b""

    async with scripted(script) as (url, _), linked(url, "a", Ear()) as link:
        await eventually_async(lambda: link.online)
        for number in range(10):
            assert link.publish("t", b"%d" % number)
        await eventually_async(lambda: len(taken) >= 4)
        await asyncio.sleep(0.2)
        assert len(taken) == 4, "three, and one more when the first was acknowledged"


async def test_a_broker_that_restarts_again_and_again_is_no_other_program(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.02)
    ear = Ear()
    async with linked(broker.url, "a", ear, "t") as link:
        for connects in range(1, 5):
            await eventually_async(lambda connects=connects: ear.connects == connects and link.online, 30)
            broker.kill()
            await eventually_async(lambda: "no broker" in (ear.reasons or [""])[-1], 30)
            broker.start()
        assert link.contested is None and not any("another program" in reason for reason in ear.reasons)


async def test_a_broker_that_tells_of_another_with_our_name_is_believed_at_once() -> None:
    def script(kind: int, body: bytes) -> bytes | None:
        accepted, suback = b"\x20\x03\x00\x00\x00", b"\x90\x04" + body[:2] + b"\x00\x01"
        return {0x10: accepted, 0x82: suback + b"\xe0\x02\x8e\x00"}.get(kind, b"")  # DISCONNECT: taken over

    ear = Ear()
    async with scripted(script) as (url, _), linked(url, "a", ear, "t") as link:
        await eventually_async(lambda: ear.reasons)
        assert ear.reasons[0] == link.contested
        assert ear.reasons[0] == "another program speaks as 'a' to this broker: give each its own id"


async def test_a_refused_connection_or_subscription_is_a_reason_in_words() -> None:
    def refuse_connect(_kind: int, _body: bytes) -> bytes:
        return b"\x20\x03\x00\x87\x00"  # CONNACK: not authorized (MQTT 5.0 §3.2.2.2)

    def refuse_subscription(kind: int, body: bytes) -> bytes:
        accepted, refused = b"\x20\x03\x00\x00\x00", b"\x90\x04" + body[:2] + b"\x00\x87"
        return {0x10: accepted, 0x82: refused}.get(kind, b"")

    for script, words in ((refuse_connect, "Not authorized"), (refuse_subscription, "subscription to t")):
        ear = Ear()
        async with scripted(script) as (url, _), linked(url, "a", ear, "t"):
            await eventually_async(lambda ear=ear: ear.reasons)
        assert words in ear.reasons[0] and ear.connects == 0


async def test_what_ends_the_network_thread_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.01)
    broken = [b"\x32\x07\x00\x01\xff\x00\x01\x00x"]  # PUBLISH on a topic that is not UTF-8: paho raises

    def script(kind: int, body: bytes) -> bytes:
        accepted = b"\x20\x03\x00\x00\x00"
        if kind == 0x82:
            return b"\x90\x04" + body[:2] + b"\x00\x01" + (broken.pop() if broken else b"")
        return accepted if kind == 0x10 else b""

    ear = Ear()
    async with scripted(script) as (url, _), linked(url, "a", ear, "t") as link:
        await eventually_async(lambda: ear.connects == 2 and link.online)
    assert "UnicodeDecodeError" in ear.reasons[0]


async def test_two_that_take_each_others_name_back_off_and_stay_at_it_and_say_why(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest pause is what a connection lasts in such a duel: that must not look like one that works."""
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(mqtt, "RETRY_MOST_S", 0.3)
    monkeypatch.setattr(mqtt, "STEADY_S", 0.9)  # of the same proportion as in earnest
    one, other = Ear(), Ear()
    async with (
        linked(broker.url, "same", one, "t") as first,
        linked(broker.url, "same", other, "t") as second,
    ):
        await eventually_async(lambda: one.connects >= 5 and other.connects >= 5, 30)
        before = one.connects + other.connects
        await asyncio.sleep(3)
        assert one.connects + other.connects - before <= 3 / 0.15 + 2, (
            "each waits its longest pause every time"
        )
        assert first.contested and second.contested, "also while it is connected"
        assert "another program speak as 'same'" in one.reasons[-1]
    async with linked(broker.url, "same", one, "t") as alone:
        await eventually_async(lambda: alone.online)
        assert alone.contested is None


def _hang_in(place: str, hold: threading.Event, monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """From the next call of this on, the first network thread waits there until `hold` is set."""
    hung: list[threading.Thread] = []
    real = getattr(paho.Client, place)

    def hangs(*arguments: Any) -> Any:
        if threading.current_thread().name == "mqtt-a" and hung in ([], [threading.current_thread()]):
            hung[:] = [threading.current_thread()]
            hold.wait(60)
        return real(*arguments)

    monkeypatch.setattr(paho.Client, place, hangs)
    return hung


@pytest.mark.parametrize("place", ["_handle_on_message", "loop_write", "loop_misc"])
async def test_a_network_thread_that_hangs_is_left_behind_and_another_one_begun(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(mqtt, "WATCH_S", 0.2)
    monkeypatch.setattr(network, "POLL_MS", 50)
    hold, ear = threading.Event(), Ear()
    try:
        async with linked(broker.url, "a", ear, "t") as link:
            await eventually_async(lambda: link.online, 30)
            hung = _hang_in(place, hold, monkeypatch)
            link.publish("t", b"lost")
            await eventually_async(lambda: hung, 30)
            await eventually_async(lambda: ear.connects == 2 and link.online, 30)
            assert "the network thread hangs" in ear.reasons[-1] and link.left_behind == 1
            link.publish("t", b"kept")
            await eventually_async(lambda: ear.payloads()[-1:] == [b"kept"], 30)
            hold.set()
            await eventually_async(lambda: link.left_behind == 0, 30)
    finally:
        hold.set()


async def test_so_many_threads_that_hang_are_left_behind_and_no_more(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(mqtt, "RETRY_MOST_S", 0.02)
    monkeypatch.setattr(mqtt, "WATCH_S", 0.05)
    monkeypatch.setattr(mqtt, "MOST_LEFT_BEHIND", 2)
    hold, ear = threading.Event(), Ear()
    monkeypatch.setattr(paho.Client, "loop_misc", lambda _self: hold.wait(60))
    try:
        async with linked(broker.url, "a", ear, "t") as link:
            await eventually_async(lambda: any("restart this program" in one for one in ear.reasons), 60)
            assert link.left_behind == 2
            hold.set()
    finally:
        hold.set()


@pytest.mark.parametrize("silently", [False, True])
async def test_a_network_thread_that_dies_is_replaced_also_when_it_dies_without_a_word(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, silently: bool
) -> None:
    monkeypatch.setattr(mqtt, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(mqtt, "WATCH_S", 0.2)
    if silently:
        monkeypatch.setattr(mqtt._Attempt, "thread_ended", lambda _self, _error: None)
        monkeypatch.setattr(mqtt._Attempt, "_on_disconnect", lambda *_: None)
    ear = Ear()
    async with linked(broker.url, "a", ear, "t") as link:
        await eventually_async(lambda: link.online, 30)
        [thread] = [one for one in threading.enumerate() if one.name == "mqtt-a"]
        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        await eventually_async(lambda: ear.connects == 2 and link.online, 30)
        assert not thread.is_alive()
        assert ("is gone" if silently else "SystemExit") in ear.reasons[-1]


async def test_the_kernel_watches_for_a_peer_that_is_gone_without_a_word(broker: Broker) -> None:
    async with linked(broker.url, "a", Ear(), "t") as link:
        await eventually_async(lambda: link._client is not None)
        assert link._client is not None
        connection: Any = link._client.socket()
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        timeout_ms = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        idle_s = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert timeout_ms == mqtt.HALF_OPEN_S * 1000 and idle_s < mqtt.HALF_OPEN_S


async def test_a_broker_that_stops_while_its_machine_answers_is_noticed_by_the_ping(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "KEEPALIVE_S", 1)
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT_S", 1)
    ear = Ear()
    async with linked(broker.url, "a", ear, "t") as link:
        await eventually_async(lambda: link.online, 30)
        assert broker._process is not None
        os.kill(broker._process.pid, signal.SIGSTOP)
        try:
            await eventually_async(lambda: not link.online and ear.reasons, 30)
        finally:
            os.kill(broker._process.pid, signal.SIGCONT)
        await eventually_async(lambda: link.online, 30)


async def test_what_was_published_last_reaches_the_broker_before_the_goodbye(broker: Broker) -> None:
    ear, mouth = Ear(), Ear(Will("t", b"will"))
    async with linked(broker.url, "ear", ear, "t") as heard:
        await eventually_async(lambda: heard.online)
        async with linked(broker.url, "mouth", mouth) as link:
            await eventually_async(lambda: link.online)
            for number in range(300):
                assert link.publish("t", b"%d" % number)
            assert link.publish("t", b"goodbye")
        await eventually_async(lambda: b"goodbye" in ear.payloads())


async def test_a_broker_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT_S", 0.2)
    ear = Ear()
    async with scripted(lambda _kind, _body: b"") as (url, _), linked(url, "a", ear, "t"):
        await eventually_async(lambda: ear.reasons)
    assert "does not answer" in ear.reasons[0]


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://host:port", "nonsense"])
def test_a_broker_url_that_names_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="broker url"):
        Settings(url).address()


def test_settings_show_no_password() -> None:
    assert "secret" not in repr(Settings("mqtt://b", username="dock-2", password="secret"))


def test_a_broker_url_without_a_port_has_the_protocols_own() -> None:
    assert Settings("mqtt://b").address() == ("b", 1883, False)
    assert Settings("mqtts://b").address() == ("b", 8883, True)

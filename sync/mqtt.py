"""One MQTT connection at a time, rebuilt for ever. The only paho in this project.

The network thread hands everything over to the event loop; a message is acknowledged (PUBACK) only when its
receiver says so, after the commit. Every attempt is a new client with a clean session and a thread of its own: what
the old one still had queued is gone, and the engine above decides what to send again. The broker's memory is never
relied on, and neither is the thread: it is watched, and one that hangs is left behind (`sync/network.py`).

A connection whose other side is gone without a word is noticed by the kernel within HALF_OPEN_S; one whose broker
has stopped, while its machine still answers, by the ping within two keep-alives.
"""

import asyncio
import contextlib
import math
import random
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from sync.network import MOST_LEFT_BEHIND, NetworkThread

KEEPALIVE_S: Final = 30  # contract, "MQTT"
CONNECT_TIMEOUT_S: Final = 10.0  # TCP and TLS; and as long again for CONNACK and SUBACK together
WATCH_S: Final = 1.0  # the network thread is looked at so often
HALF_OPEN_S: Final = 20  # data or a probe that nobody acknowledged for so long ends the connection
RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 10.0  # a radio cell that comes back is used again soon
# A connection that lasted so long works, and the next pause is short again. Two programs that take each other's name
# come back after 1.5 × RETRY_MOST_S at the latest, so neither ever gets there: they stay at the longest pause.
STEADY_S: Final = 30.0
SHORT_MOST: Final = 3  # connections in a row that did not last; so many make a person look at the names
GOODBYE_S: Final = 1.0  # how long the end waits for what was published last
RECEIVE_MAXIMUM: Final = 100  # messages handed to us and not yet acknowledged (MQTT 5.0 §3.1.2.11.3)
# Messages that wait for the event loop. More than RECEIVE_MAXIMUM come only without QoS 1, or from a broker that
# knows no such bound (MQTT 3.1.1). What is dropped was not acknowledged, and by the contract it is said again.
HANDED_OVER_MAXIMUM: Final = 1000
PACKET_MAXIMUM_BYTES: Final = 512 * 1024  # twice the largest payload of the contract
IN_FLIGHT_MAXIMUM: Final = 20  # of ours that the broker has not acknowledged; less if it says so
OUTGOING_MAXIMUM: Final = 10_000  # messages queued here; above, `publish` says no
UNSUPPORTED_VERSION: Final = (
    132  # MQTT 5.0 §3.2.2.2; 3.1.1 brokers answer 1, which paho translates to the same
)
TAKEN_OVER: Final = 142  # MQTT 5.0 §3.14.2.1: another client took this client id; 3.1.1 says nothing of it

log = structlog.get_logger()


class SettingsError(Exception):
    """These connection settings cannot work; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the broker is and how to prove who we are. `mqtt://host:1883` or `mqtts://host:8883`."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def address(self) -> tuple[str, int, bool]:
        """(host, port, with TLS).

        Raises:
            SettingsError: the URL names none.
        """
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise SettingsError(f"broker url {self.url!r}: {error}") from error
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise SettingsError(f"broker url {self.url!r}: write mqtt://host:1883 or mqtts://host:8883")
        tls = parts.scheme == "mqtts"
        return parts.hostname, port or (8883 if tls else 1883), tls


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says in our name when the connection breaks; retained."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it arrived. It is delivered again until it is acknowledged or the connection ends."""

    topic: str
    payload: bytes
    retained: bool
    acknowledge: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is on its way. What is not taken when the connection ends is lost: say it again."""

    info: paho.MQTTMessageInfo

    @property
    def taken(self) -> bool:
        """The broker has acknowledged it."""
        return self.info.is_published()


class Listener(Protocol):
    """Who uses the link. Everything is called on the event loop and must not block."""

    async def will(self) -> Will | None:
        """Asked before each attempt to connect."""

    def connected(self) -> None:
        """Connected, and every subscription confirmed."""

    def received(self, message: Incoming) -> None:
        """A message of a subscription."""

    def disconnected(self, reason: str) -> None:
        """The connection ended, or an attempt failed; `reason` is for people."""


class Link:
    """Keeps one connection: connects, subscribes, and begins again with jittered back-off whenever it ends."""

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        subscriptions: tuple[str, ...],
        listener: Listener,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._host, self._port, self._tls = settings.address()
        self._settings, self._client_id = settings, client_id
        self._subscriptions, self._listener, self._jitter = subscriptions, listener, jitter
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._client: _Client | None = None
        self._last: paho.MQTTMessageInfo | None = None
        self._up_since = math.inf
        self._contest, self._contested_at, self._short = "", -math.inf, 0
        self._left_behind: list[NetworkThread] = []
        self.connects = 0
        """Connections that were made and subscribed."""

    @property
    def online(self) -> bool:
        """Connected and subscribed."""
        return self._client is not None

    @property
    def contested(self) -> str | None:
        """What to tell people while another program takes this one's name, also when it is our turn; None: nobody
        seems to.
        """
        now = asyncio.get_running_loop().time()
        return self._contest if now - self._contested_at < STEADY_S else None

    def _ended(self, reason: str, *, taken_over: bool) -> str:
        """A connection that had worked is over; returns what to say of it. Not every broker tells that it gave our
        name to another, so connections that end soon, one after the other, are a hint.
        """
        now = asyncio.get_running_loop().time()
        self._short = self._short + 1 if now - self._up_since < STEADY_S else 0
        if taken_over:
            self._contest = (
                f"another program speaks as {self._client_id!r} to this broker: give each its own id"
            )
        elif self._short >= SHORT_MOST:
            self._contest = (
                f"{reason}, {self._short} times in a row: does another program speak as {self._client_id!r}"
                " to this broker?"
            )
        else:
            return reason
        self._contested_at = now
        return self._contest

    @property
    def left_behind(self) -> int:
        """Network threads that hang and could not be ended."""
        self._left_behind = [thread for thread in self._left_behind if thread.alive]
        return len(self._left_behind)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Sent | None:
        """Queue a message, QoS 1. None: not connected, or more is queued than the bound admits."""
        if self._client is None:
            return None
        self._last = self._client.publish(topic, payload, qos=1, retain=retain)
        self._client.wake_soon()
        return Sent(self._last) if self._last.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    async def run(self) -> None:
        """Connect again and again until cancelled; then say goodbye and return."""
        retry_s, clock = RETRY_FIRST_S, asyncio.get_running_loop().time
        while True:
            self._up_since = math.inf
            reason = await self._connection()
            if clock() - self._up_since >= STEADY_S:
                retry_s = RETRY_FIRST_S
            self._listener.disconnected(reason)
            await asyncio.sleep(retry_s * (0.5 + self._jitter()))
            retry_s = min(retry_s * 2, RETRY_MOST_S)

    # --- one connection ------------------------------------------------------------------------------

    async def _connection(self) -> str:
        """One attempt from beginning to end; returns why it ended."""
        if self.left_behind >= MOST_LEFT_BEHIND:
            return f"{self.left_behind} network threads hang and cannot be ended: restart this program"
        try:
            client = self._new_client(await self._listener.will())
        except (OSError, ssl.SSLError) as error:
            return f"the TLS files cannot be used: {error}"
        attempt = _Attempt(client, self._subscriptions, self._listener.received)
        client.thread = NetworkThread(
            client,
            lambda: attempt.connect(lambda: self._connect(client)),
            attempt.thread_ended,
            name=f"mqtt-{self._client_id}",
        )
        client.thread.start()
        watching = asyncio.create_task(self._watch(client.thread, attempt))
        try:
            try:
                async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                    if (refusal := await attempt.ready) is not None:
                        if attempt.version_refused:
                            self._protocol = _OTHER[self._protocol]
                        if attempt.unreached:
                            self._short = 0  # it restarts or cannot be reached: nobody takes our name
                            return f"no broker at {self._host}:{self._port}: {refusal}"
                        return refusal
            except TimeoutError:
                return f"the broker at {self._host}:{self._port} does not answer"
            self._client = client
            self._up_since = asyncio.get_running_loop().time()
            self.connects += 1
            self._listener.connected()
            return self._ended(await attempt.ended, taken_over=attempt.taken_over)
        finally:
            watching.cancel()
            if self._last is not None and attempt.ended.cancelled():  # we were told to stop
                await asyncio.shield(asyncio.to_thread(_wait_for, self._last))
            self._client = self._last = None
            if not attempt.hangs:
                client.disconnect()
                client.thread.wake()
                if attempt.connected:
                    await asyncio.shield(asyncio.to_thread(client.thread.join, GOODBYE_S))
            client.thread.leave()
            self._left_behind.append(client.thread)  # as long as it lives

    async def _watch(self, thread: NetworkThread, attempt: "_Attempt") -> None:
        """A thread that hangs or died without a word ends its connection."""
        while thread.alive:
            await asyncio.sleep(WATCH_S)
            if attempt.connected and thread.hangs():
                log.error("the network thread hangs and is left behind", threads=self.left_behind + 1)
                attempt.end("the network thread hangs; another one is begun", hangs=True)
        attempt.end("the network thread is gone; another one is begun")

    def _new_client(self, will: Will | None) -> "_Client":
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if self._protocol == MQTTProtocolVersion.MQTTv5 else True,
            protocol=self._protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_socket_open = _prepare_socket
        client.on_socket_register_write = _leave_to_the_thread
        client.max_queued_messages_set(OUTGOING_MAXIMUM)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        if self._settings.username is not None:
            client.username_pw_set(self._settings.username, self._settings.password)
        if self._tls:
            files = (self._settings.ca_file, self._settings.cert_file, self._settings.key_file)
            ca, cert, key = (str(file) if file else None for file in files)
            client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
        return client

    def _connect(self, client: "_Client") -> None:
        properties = None
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            properties.MaximumPacketSize = PACKET_MAXIMUM_BYTES
        client.connect(self._host, self._port, KEEPALIVE_S, properties=properties)


class _Attempt:
    """One connection, as paho's thread tells the event loop of it: `ready` (None, or why not) and `ended` (why)."""

    def __init__(
        self, client: "_Client", subscriptions: tuple[str, ...], received: Callable[[Incoming], None]
    ) -> None:
        self._client, self._subscriptions, self._received = client, subscriptions, received
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[str | None] = self._loop.create_future()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self.version_refused = False
        """The broker does not speak this version of MQTT, or hung up without a word when it heard it."""
        self.taken_over = False
        """Another client came with our client id."""
        self.unreached = False
        """There was no connection at all."""
        self.hangs = False
        """The network thread does not move any more."""
        self.connected = False
        """There is a connection, whether the broker has answered on it or not."""
        self._answered = False
        self._room = threading.BoundedSemaphore(HANDED_OVER_MAXIMUM)
        self._dropped = False
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect

    # --- on the event loop ---------------------------------------------------------------------------

    def _subscribed(self, refusal: str | None) -> None:
        if not self.ready.done():
            self.ready.set_result(refusal)

    def end(self, reason: str, *, hangs: bool = False) -> None:
        """The connection is over; the first reason counts."""
        self.hangs = self.hangs or hangs
        self._subscribed(reason)
        if not self.ended.done():
            self.ended.set_result(reason)

    def _take(self, message: Incoming) -> None:
        self._room.release()
        self._received(message)

    # --- on the network thread -----------------------------------------------------------------------

    def connect(self, connect: Callable[[], None]) -> None:
        """Make the connection."""
        connect()
        self.connected = True

    def thread_ended(self, error: BaseException | None) -> None:
        """The thread has moved its last byte."""
        self.unreached = not self.connected and isinstance(error, OSError)
        reason = str(error) if self.unreached else f"the connection to the broker failed: {error!r}"
        self._tell(self.end, "the connection to the broker ended" if error is None else reason)

    def _tell(self, work: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError:
            assert self._loop.is_closed()  # the program is over; nobody is left to be told

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        self._answered = True
        self._client.give_at_once(getattr(properties, "ReceiveMaximum", IN_FLIGHT_MAXIMUM))
        if code.is_failure:
            self.version_refused = code.value == UNSUPPORTED_VERSION
            self._tell(self.end, f"the broker refused the connection: {code}")
        elif not self._subscriptions:
            self._tell(self._subscribed, None)
        elif client.protocol == MQTTProtocolVersion.MQTTv5:
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._subscriptions])
        else:
            client.subscribe([(topic, 1) for topic in self._subscriptions])

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self.version_refused = self.version_refused or not self._answered
        self.taken_over = code.value == TAKEN_OVER
        self._tell(self.end, f"the connection to the broker ended: {code}")

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        refused = [topic for topic, code in zip(self._subscriptions, codes, strict=False) if code.is_failure]
        if refused:
            topics = ", ".join(refused)
            self._tell(self.end, f"the broker refused the subscription to {topics}: check its access list")
        else:
            self._tell(self._subscribed, None)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if not self._room.acquire(blocking=False):
            if not self._dropped:
                log.warning("messages come faster than they can be looked at; the rest is dropped")
            self._dropped = True
            return
        mid, qos = message.mid, message.qos
        incoming = Incoming(
            message.topic,
            bytes(message.payload),
            message.retain,
            lambda: _acknowledge(self._client, mid, qos),
        )
        self._tell(self._take, incoming)


class _Client(paho.Client):
    """paho's state of one connection; the thread that moves its bytes is ours."""

    thread: NetworkThread
    _waking = False

    def give_at_once(self, most: int) -> None:
        """What the broker takes before it has acknowledged the first: above, it hangs up (MQTT 5.0 §4.9). paho does
        not look at it, and lets it be changed before the connection alone: it doubts what comes of 0, which is none.
        """
        self._max_inflight_messages = min(most, IN_FLIGHT_MAXIMUM)

    def wake_soon(self) -> None:
        """Wake the thread, once for all that is said in this turn of the event loop: each time costs the loop a turn
        of the interpreter's lock.
        """
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self.thread.wake()


_OTHER: Final = {
    MQTTProtocolVersion.MQTTv5: MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv311: MQTTProtocolVersion.MQTTv5,
}


def _wait_for(info: paho.MQTTMessageInfo) -> None:
    """Give the broker a moment to take the last message: what was published before it came first."""
    with contextlib.suppress(ValueError, RuntimeError):  # the queue was full, or the connection is gone
        info.wait_for_publish(GOODBYE_S)


def _prepare_socket(_client: paho.Client, _data: Any, connection: Any) -> None:
    """Small packets go at once: else a verdict waits up to 40 ms for the acknowledgement of the packet before it
    (RFC 1122 §4.2.3.4). And a peer that is gone is noticed by the kernel (RFC 5482), where it can do that.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


# Without traffic a probe is sent after half of HALF_OPEN_S, and some more in the other half.
_PROBES: Final = {
    "TCP_USER_TIMEOUT": HALF_OPEN_S * 1000,
    "TCP_KEEPIDLE": HALF_OPEN_S // 2,
    "TCP_KEEPINTVL": HALF_OPEN_S // 4,
    "TCP_KEEPCNT": 2,
}


def _leave_to_the_thread(_client: paho.Client, _data: Any, _connection: Any) -> None:
    """That there is such a callback keeps paho from writing on the event loop; the thread is woken by who writes."""


def _acknowledge(client: "_Client", mid: int, qos: int) -> None:
    client.ack(mid, qos)
    client.wake_soon()

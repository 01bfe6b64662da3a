"""One MQTT connection at a time, rebuilt for ever. The only paho in this project.

paho's network thread hands everything over to the event loop; a message is acknowledged (PUBACK) only when its
receiver says so, after the commit. Every attempt is a new client with a clean session: what the old one still had
queued is gone, and the engine above decides what to send again. The broker's memory is never relied on.
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

KEEPALIVE_S: Final = 30  # contract, "MQTT"
CONNECT_TIMEOUT_S: Final = 10.0  # TCP, and then CONNACK and SUBACK together
RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 10.0  # a radio cell that comes back is used again soon
STEADY_S: Final = 5.0  # a connection that lasted so long works; two that take each other's name never last
GOODBYE_S: Final = 1.0  # how long the end waits for what was published last
RECEIVE_MAXIMUM: Final = 100  # messages handed to us and not yet acknowledged (MQTT 5.0 §3.1.2.11.3)
# Messages that wait for the event loop. More than RECEIVE_MAXIMUM come only without QoS 1, or from a broker that
# knows no such bound (MQTT 3.1.1). What is dropped was not acknowledged, and by the contract it is said again.
HANDED_OVER_MAXIMUM: Final = 1000
PACKET_MAXIMUM_BYTES: Final = 512 * 1024  # twice the largest payload of the contract
OUTGOING_MAXIMUM: Final = 10_000  # messages queued here; above, `publish` says no
UNSUPPORTED_VERSION: Final = (
    132  # MQTT 5.0 §3.2.2.2; 3.1.1 brokers answer 1, which paho translates to the same
)

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

    @property
    def online(self) -> bool:
        """Connected and subscribed."""
        return self._client is not None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Sent | None:
        """Queue a message, QoS 1. None: not connected, or more is queued than the bound admits."""
        if self._client is None:
            return None
        self._last = self._client.publish(topic, payload, qos=1, retain=retain)
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
        try:
            client = self._new_client(await self._listener.will())
        except (OSError, ssl.SSLError) as error:
            return f"the TLS files cannot be used: {error}"
        attempt = _Attempt(client, self._subscriptions, self._listener.received)
        unwanted = threading.Event()
        try:
            await asyncio.to_thread(self._connect, client, unwanted)
        except OSError as error:
            return f"no broker at {self._host}:{self._port}: {error}"
        except asyncio.CancelledError:  # the thread goes on; whoever comes last closes the socket
            unwanted.set()
            _close(client)
            raise
        client.loop_start()
        try:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    if (refusal := await attempt.ready) is not None:
                        if attempt.version_refused:
                            self._protocol = MQTTProtocolVersion.MQTTv311
                        return refusal
            except TimeoutError:
                return f"the broker at {self._host}:{self._port} does not answer"
            self._client = client
            self._up_since = asyncio.get_running_loop().time()
            self._listener.connected()
            return await attempt.ended
        finally:
            if self._last is not None and attempt.ended.cancelled():  # we were told to stop
                await asyncio.shield(asyncio.to_thread(_wait_for, self._last))
            self._client = self._last = None
            client.disconnect()
            await asyncio.shield(asyncio.to_thread(client.loop_stop))

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
        client.on_socket_open = _send_at_once
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

    def _connect(self, client: "_Client", unwanted: threading.Event) -> None:
        properties = None
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            properties.MaximumPacketSize = PACKET_MAXIMUM_BYTES
        client.connect(self._host, self._port, KEEPALIVE_S, properties=properties)
        if unwanted.is_set():
            _close(client)


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
        """The broker does not speak this version of MQTT."""
        self._room = threading.BoundedSemaphore(HANDED_OVER_MAXIMUM)
        self._dropped = False
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = lambda _client, _data, _flags, code, _properties: self._tell(
            self._end, f"the connection to the broker ended: {code}"
        )
        client.on_thread_failed = lambda error: self._tell(
            self._end, f"the connection to the broker failed: {error!r}"
        )

    # --- on the event loop ---------------------------------------------------------------------------

    def _subscribed(self, refusal: str | None) -> None:
        if not self.ready.done():
            self.ready.set_result(refusal)

    def _end(self, reason: str) -> None:
        self._subscribed(reason)
        if not self.ended.done():
            self.ended.set_result(reason)

    def _take(self, message: Incoming) -> None:
        self._room.release()
        self._received(message)

    # --- on paho's thread ----------------------------------------------------------------------------

    def _tell(self, work: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError:
            assert self._loop.is_closed()  # the program is over; nobody is left to be told

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure:
            self.version_refused = code.value == UNSUPPORTED_VERSION
            self._tell(self._end, f"the broker refused the connection: {code}")
        elif not self._subscriptions:
            self._tell(self._subscribed, None)
        elif client.protocol == MQTTProtocolVersion.MQTTv5:
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._subscriptions])
        else:
            client.subscribe([(topic, 1) for topic in self._subscriptions])

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        refused = [topic for topic, code in zip(self._subscriptions, codes, strict=False) if code.is_failure]
        if refused:
            topics = ", ".join(refused)
            self._tell(self._end, f"the broker refused the subscription to {topics}: check its access list")
        else:
            self._tell(self._subscribed, None)

    def _on_message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if not self._room.acquire(blocking=False):
            if not self._dropped:
                log.warning("messages come faster than they can be looked at; the rest is dropped")
            self._dropped = True
            return
        mid, qos = message.mid, message.qos
        incoming = Incoming(
            message.topic, bytes(message.payload), message.retain, lambda: _acknowledge(client, mid, qos)
        )
        self._tell(self._take, incoming)


class _Client(paho.Client):
    """Says so when an exception ends its network thread; paho alone would look connected for ever."""

    on_thread_failed: Callable[[Exception], None]

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """What the network thread runs."""
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as error:  # noqa: BLE001 (whatever it is, the connection is over, and there will be another)
            _close(self)
            self.on_thread_failed(error)
            return MQTTErrorCode.MQTT_ERR_UNKNOWN


def _wait_for(info: paho.MQTTMessageInfo) -> None:
    """Give the broker a moment to take the last message: what was published before it came first."""
    with contextlib.suppress(ValueError, RuntimeError):  # the queue was full, or the connection is gone
        info.wait_for_publish(GOODBYE_S)


def _send_at_once(_client: paho.Client, _data: Any, connection: Any) -> None:
    """Else a verdict waits up to 40 ms for the acknowledgement of the packet before it (RFC 1122 §4.2.3.4)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _close(client: paho.Client) -> None:
    if (connection := client.socket()) is not None:
        connection.close()


def _acknowledge(client: paho.Client, mid: int, qos: int) -> None:
    client.ack(mid, qos)

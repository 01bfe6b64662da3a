"""`mqtt://` and `mqtts://`: devices that publish what they read to a broker.

The one idea: a subscription is a port. Each attempt is one connection with a clean session, and it is open when the
broker has confirmed the subscription; what the broker keeps from before is nothing that we rely on. paho's thread
hands messages over through a queue with a bound, in messages and in bytes: above it the oldest is dropped, and the
port says so for as long as it is open.
"""

import asyncio
import contextlib
import secrets
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from devices.driver import ByteDriver
from devices.errors import Unavailable
from devices.ports import tcp, trust
from devices.ports.link import Ending
from devices.ports.url import Port

KEEPALIVE_S: Final = 30
# The largest message that is taken. A sled's batch of some hundred tags is a tenth of it.
MAX_MESSAGE: Final = 262_144
# The largest that a broker with MQTT 5 may send at all, topic and all; it drops what is larger by itself.
_MAX_PACKET: Final = 4 * MAX_MESSAGE
# What paho may hold of one packet, from a broker that does not know of such limits or does not care.
_MOST_HELD: Final = 16 * 1024 * 1024
# What may wait for the event loop.
MAX_WAITING: Final = 2_000
MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
# So many messages are decoded in one go; then others have their turn.
_AT_ONCE: Final = 100
# Who stops does not wait longer for a broker that takes nothing any more.
GOODBYE_S: Final = 1.0
_QOS: Final = 1
_UNSUPPORTED_VERSION: Final = 132  # MQTT 5.0 §3.2.2.2; paho translates what a 3.1.1 broker says to the same
_BAD_LOGIN: Final = (134, 135)  # MQTT 5.0 §3.2.2.2: bad user name or password; not authorized


async def open_link(port: Port, options: dict[str, Any], _driver: ByteDriver) -> "FeedLink":
    """Connect and subscribe. Raises `Unavailable` with the reason."""
    secret = await trust.login(options)
    context = await trust.tls(options) if port.scheme == "mqtts" else None
    for version in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
        link = FeedLink(port, options, version, secret, context)
        try:
            await link.open()
        except _OtherVersion as problem:
            if version == MQTTProtocolVersion.MQTTv311:
                raise Unavailable(str(problem)) from None
        else:
            return link
    raise AssertionError("unreachable")


class _OtherVersion(Exception):
    """This broker may know another version of MQTT; the text says what it did."""


class FeedLink:
    """One connection to a broker."""

    answers = True

    def __init__(
        self,
        port: Port,
        options: dict[str, Any],
        version: MQTTProtocolVersion,
        secret: tuple[str, str] | None,
        context: ssl.SSLContext | None,
    ) -> None:
        self._port, self._topic, self._wait_s = port, options["topic"], options["connect_s"]
        self._options, self._version = options, version
        self._what = f"the broker at {port.host}:{port.number}"
        self._standing = trust.warning(options)
        self._loop = asyncio.get_running_loop()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self._greeted = False
        self._over: str | None = None
        self._hear: Callable[[bytes], None] | None = None
        self._ended: Callable[[Ending], None] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        # Between the threads: whoever has the lock.
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = self._dropped = self._too_large = 0
        self._draining = False
        self._client = self._new_client(secret, context)

    @property
    def warning(self) -> str | None:
        """How the port is set up, and what was lost on the way to here."""
        lost = (
            f"{self._dropped} messages were dropped: they came faster than they could be read"
            if self._dropped
            else None,
            f"{self._too_large} messages of more than {MAX_MESSAGE} bytes were dropped"
            if self._too_large
            else None,
        )
        return "; ".join(filter(None, (self._standing, *lost))) or None

    async def open(self) -> None:
        """Connect and subscribe. Raises `Unavailable` or `_OtherVersion`; then nothing is left open."""
        try:
            async with asyncio.timeout(self._wait_s):
                self._client.connection = await tcp.connect(self._port.host, self._port.number, self._wait_s)
                self._connecting = asyncio.create_task(asyncio.to_thread(self._greet))
                await asyncio.shield(self._connecting)
            async with asyncio.timeout(self._wait_s):
                self._client.loop_start()
                await self._subscribed
        except OSError as problem:
            await self._let_go()
            raise Unavailable(self._unreachable(problem)) from None
        except BaseException:  # cancelled, too: paho's thread and socket must not stay behind
            await self._let_go()
            raise

    def start(self, hear: Callable[[bytes], None], ended: Callable[[Ending], None]) -> None:
        """Hand over one message after the other."""
        self._hear, self._ended = hear, ended
        self._loop.call_soon(self._drain)

    def send(self, data: bytes) -> None:
        """Nobody is told anything through a subscription."""

    def close(self) -> None:
        """Disconnect."""
        if self._closing is None:
            self._ended = self._hear = None
            self._closing = asyncio.create_task(self._let_go())

    async def closed(self) -> None:
        """Wait until the network thread has ended."""
        if self._closing is not None:
            await self._closing

    async def _let_go(self) -> None:
        self._subscribed.cancel()  # nobody waits for it any more, and nobody is to be told that it failed
        if self._connecting is not None and not self._connecting.done():
            self._client.cut()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._client.disconnect()
        stopping = asyncio.create_task(asyncio.to_thread(self._client.loop_stop))
        if not (await asyncio.wait((stopping,), timeout=GOODBYE_S))[0]:
            self._client.cut()
            await stopping
        self._client.close()

    # --- on the event loop ------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Hand over what waits, some at a time; then, if the connection ended, say so."""
        for _ in range(_AT_ONCE):
            if self._hear is None:  # not yet, or not any more
                return
            with self._lock:
                if not self._waiting:
                    self._draining = False
                    break
                message = self._waiting.popleft()
                self._waiting_bytes -= len(message)
            self._hear(message)
        else:
            self._loop.call_soon(self._drain)
            return
        if self._over is not None and self._ended is not None:
            ended, self._ended, self._hear = self._ended, None, None
            ended(Ending(self._over))

    def _confirmed(self) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(None)

    def _refused(self, problem: Exception) -> None:
        """The end of a connection, before it was one or after."""
        if self._over is None:
            self._over = str(problem)
        if not self._subscribed.done():
            self._subscribed.set_exception(problem)
        elif self._hear is not None:
            self._drain()

    # --- in paho's thread -------------------------------------------------------------------------------------

    def _new_client(self, secret: tuple[str, str] | None, context: ssl.SSLContext | None) -> "_Client":
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"tallyman-{secrets.token_hex(8)}",
            clean_session=None if self._version == MQTTProtocolVersion.MQTTv5 else True,
            protocol=self._version,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._wait_s
        if secret is not None:
            client.username_pw_set(*secret)
        if context is not None:
            client.tls_set_context(context)
            client.context = context
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_thread_failed = lambda problem: self._on_loop(
            self._refused,
            Unavailable(
                f"{self._what} sent {problem}, which is no reader's"
                if isinstance(problem, _TooLarge)
                else f"the connection to {self._what} failed: {problem!r}"
            ),
        )
        return client

    def _greet(self) -> None:
        properties = None
        if self._version == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.MaximumPacketSize = _MAX_PACKET
        self._client.connect(self._port.host, self._port.number, KEEPALIVE_S, properties=properties)

    def _on_loop(self, work: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError:
            assert self._loop.is_closed()  # the program is over; nobody is left to be told

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self._greeted = True
        if code.value == _UNSUPPORTED_VERSION:
            self._on_loop(self._refused, _OtherVersion(f"{self._what} refused the connection: {code}"))
        elif code.is_failure:
            self._on_loop(self._refused, Unavailable(self._not_let_in(code)))
        elif self._version == MQTTProtocolVersion.MQTTv5:
            client.subscribe([(self._topic, SubscribeOptions(qos=_QOS))])
        else:
            client.subscribe([(self._topic, _QOS)])

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        if any(code.is_failure for code in codes):
            problem = (
                f"{self._what} refused the subscription to {self._topic!r}: check its access list, and topic="
            )
            self._on_loop(self._refused, Unavailable(problem))
        else:
            self._on_loop(self._confirmed)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        with self._lock:
            if len(payload) > MAX_MESSAGE:
                self._too_large += 1
                payload = b""
            self._waiting.append(payload)
            self._waiting_bytes += len(payload)
            while len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
                self._waiting_bytes -= len(self._waiting.popleft())
                self._dropped += 1
            wake, self._draining = not self._draining, True
        if wake:
            self._on_loop(self._drain)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if not self._greeted and self._version == MQTTProtocolVersion.MQTTv5:
            # Some brokers that know 3.1.1 alone do not say so, but hang up.
            self._on_loop(self._refused, _OtherVersion(f"{self._what} hung up: {code}"))
        else:
            self._on_loop(self._refused, Unavailable(f"the connection to {self._what} ended: {code}"))

    # --- words ------------------------------------------------------------------------------------------------

    def _not_let_in(self, code: ReasonCode) -> str:
        if code.value not in _BAD_LOGIN:
            return f"{self._what} refused the connection: {code}"
        user = self._options["user"]
        if user is None:
            return (
                f"{self._what} wants a user and a password: add user=NAME and password_file=/path to the port"
            )
        return (
            f"{self._what} does not take user {user!r} with this password: check user=, and the password in"
            f" {self._options['password_file']}"
        )

    def _unreachable(self, problem: OSError) -> str:
        if (why := trust.distrust(trust.root_of(problem))) is not None:
            return f"{self._what}: {why}"
        if isinstance(problem, TimeoutError):
            return f"{self._what} did not answer within {self._wait_s} s: check address, cable and firewall"
        if isinstance(problem, ssl.SSLError):
            return f"{self._what} cannot be used: TLS failed ({problem.reason}); is {self._port.number} its TLS port?"
        return f"{self._what} cannot be reached: {tcp.plain(problem)}; check address, port and cable"


class _TooLarge(Exception):
    """A packet that nobody should send; the text says how large."""


class _Client(paho.Client):
    """Says so when an exception ends its network thread; paho alone would look connected for ever. Its connection is
    made by us, so that whoever stops need not wait for it, and it takes no packet without end.
    """

    on_thread_failed: Callable[[Exception], None]
    connection: socket.socket | None = None
    """What it speaks through: connected, and not yet secure."""
    context: ssl.SSLContext | None = None

    def _create_socket(self) -> socket.socket:
        """What paho connects with; its certificate is verified as the context says."""
        assert self.connection is not None
        self.connection.settimeout(self.connect_timeout)
        if self.context is not None:
            # Kept before it is agreed on, so that it can be cut in the midst of that.
            self.connection = secured = self.context.wrap_socket(
                self.connection, server_hostname=self.host, do_handshake_on_connect=False
            )
            secured.do_handshake()
        return self.connection

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > _MOST_HELD:
            raise _TooLarge(f"a message of {bufsize} bytes")
        return super()._sock_recv(bufsize)

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """What the network thread runs."""
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as problem:  # noqa: BLE001 (whatever it is, the connection is over, and there will be another)
            self.cut()
            self.on_thread_failed(problem)
            return MQTTErrorCode.MQTT_ERR_UNKNOWN

    def cut(self) -> None:
        """End the connection under whoever waits for it, in any thread."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let the connection go, and what its thread was woken with; that has ended."""
        self._reset_sockets()
        if self.connection is not None:
            self.connection.close()

"""A topic of an MQTT broker: what a device says is published, one message for each piece.

Nobody can tell from here who has subscribed and what they have read: in the account, what was published is
`uncertain`.
"""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from simulators.hardware.transports import Confirmation, Gone, Refused

_QUEUED_MOST: Final = 1000


class Mqtt:
    """The transport `mqtt`: `mqtt:HOST:PORT/topic`.

    Args:
        address: `HOST:PORT/topic`.
    """

    def __init__(self, address: str) -> None:
        self.refusal: Callable[[], bytes] = bytes
        place, _, self._topic = address.partition("/")
        self._host, _, port = place.rpartition(":")
        if not self._host or not self._topic or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"an MQTT port is mqtt:HOST:PORT/topic, not 'mqtt:{address}'")
        if set(self._topic) & set("+#"):
            raise ValueError(f"one publishes to one topic, without + and #, not to {self._topic!r}")
        self._port = int(port)
        self._sessions = 0
        self._client: paho.Client | None = None
        self.come_back()

    @property
    def place(self) -> str:
        """The broker and the topic."""
        return f"{self._host}:{self._port}/{self._topic}"

    @property
    def url(self) -> str:
        """The subscription."""
        return f"mqtt://{self._host}:{self._port}?topic={quote(self._topic)}"

    def session(self) -> int | None:
        """Whether the broker is there; that is all that can be known of who listens."""
        return self._sessions if self._client is not None and self._client.is_connected() else None

    def wait_on(self) -> Sequence[int]:
        """Nothing: paho has its own thread."""
        return ()

    def receive(self) -> bytes:
        """A publisher is told nothing."""
        return b""

    def send(self, data: bytes) -> int:
        """One message. Raises Gone."""
        if self._client is None or not self._client.is_connected():
            raise Gone(f"the broker at {self._host}:{self._port} is gone")
        told = self._client.publish(self._topic, data, qos=1)
        return len(data) if told.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else 0

    def confirm(self) -> Confirmation:
        """Nobody can tell."""
        return "unknown"

    def hang_up(self, *, rough: bool) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def come_back(self) -> None:
        """Connect. Raises Refused."""
        if self._client is not None:
            return
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(_QUEUED_MOST)
        try:
            client.connect(self._host, self._port)
        except OSError as error:
            raise Refused(
                f"no broker answers at {self._host}:{self._port} ({error}): is it running?"
            ) from None
        client.loop_start()
        self._client = client
        self._sessions += 1

    def close(self) -> None:
        """Disconnect for good."""
        self.hang_up(rough=False)

"""A plain MQTT client for tests: remembers what it hears."""

import json
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.wait import eventually_async


class Ear:
    """Subscribed to topics; `heard` is what came, as (topic, JSON)."""

    def __init__(self, port: int, *topics: str) -> None:
        self.heard: list[tuple[str, Any]] = []
        self._ready = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
        self._client.on_subscribe = lambda *_: setattr(self, "_ready", True)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _hear(self, _client: Any, _data: Any, message: Any) -> None:
        self.heard.append((message.topic, json.loads(message.payload)))

    async def ready(self) -> "Ear":
        """Once the broker confirmed the subscriptions."""
        await eventually_async(lambda: self._ready, 10)
        return self

    def say(self, topic: str, payload: bytes | Any, *, retain: bool = False) -> None:
        """Publish bytes, or something as JSON."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(topic, body, qos=1, retain=retain)

    def of(self, end: str) -> list[Any]:
        """What came on topics that end so."""
        return [body for topic, body in self.heard if topic.endswith(end)]

    def close(self) -> None:
        """Go away."""
        self._client.disconnect()
        self._client.loop_stop()

"""A stranger's MQTT: one thread that connects, reconnects, receives, and calls back.

Everything a client of this folder does happens on that thread; a test hands work to it with `call`.
"""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import paho.mqtt.client as mqtt

MAX_PAYLOAD_BYTES = 65536


class Wire:
    def __init__(
        self,
        host: str,
        port: int,
        client_id: str,
        topics: list[str],
        *,
        on_message: Callable[[str, bytes], None],
        on_ready: Callable[[], None] = lambda: None,
        on_tick: Callable[[float], None] = lambda now: None,
        before_connect: Callable[["Wire"], None] = lambda wire: None,
    ) -> None:
        self.host, self.port, self.topics = host, port, topics
        self.on_message, self.on_ready, self.on_tick = on_message, on_ready, on_tick
        self.before_connect = before_connect
        self.ready = False
        self._stop = False
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self.mqtt.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
        self.mqtt.on_subscribe = lambda *_: self._subscribed()
        self.mqtt.on_message = self._received
        self.thread = threading.Thread(target=self._run, name=f"wire-{client_id}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Leave without a DISCONNECT, as a crash does: the last will is published."""
        self._stop = True
        self.thread.join(10)
        assert not self.thread.is_alive()

    def publish(self, topic: str, value: Any, *, retain: bool = False) -> bytes:
        """Publish JSON, or bytes as they are; only on the wire's thread. Returns the payload."""
        payload = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        self.mqtt.publish(topic, payload, qos=1, retain=retain)
        return payload

    def call(self, work: Callable[[], Any]) -> Any:
        """Run `work` on the wire's thread and return what it returns."""
        future: Future[Any] = Future()
        self._jobs.put((work, future))
        return future.result(10)

    def _subscribed(self) -> None:
        self.ready = True
        self.on_ready()

    def _received(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self.on_message(message.topic, message.payload)
        client.ack(message.mid, message.qos)

    def _run(self) -> None:
        connected = False
        while not self._stop:
            if not connected:
                try:
                    self.before_connect(self)
                    self.mqtt.connect(self.host, self.port, keepalive=30, clean_start=True)
                    connected = True
                except OSError:
                    time.sleep(0.1)
            elif self.mqtt.loop(0.02) != mqtt.MQTT_ERR_SUCCESS:
                connected = self.ready = False
                time.sleep(0.1)
            with contextlib.suppress(queue.Empty):
                while True:
                    work, future = self._jobs.get_nowait()
                    try:
                        future.set_result(work())
                    except Exception as error:  # noqa: BLE001 (the mistake goes back to whoever asked)
                        future.set_exception(error)
            if self.ready:
                self.on_tick(time.monotonic())
        if (socket := self.mqtt.socket()) is not None:
            socket.close()


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 15.0) -> Any:
    """The condition's first true value; fails with `what` after the deadline."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout_s} s: {what}")

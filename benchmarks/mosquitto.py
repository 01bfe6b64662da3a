"""C libmosquitto, as far as the limits need it: connect, subscribe, publish with QoS 1, on a thread of its own."""

import ctypes
import ctypes.util
import threading
from collections.abc import Callable
from typing import Final

IN_FLIGHT: Final = 20  # messages on their way, its default
_TCP_NODELAY: Final = 11  # enum mosq_opt_t in mosquitto.h
_START_S: Final = 20.0


class _Message(ctypes.Structure):
    """struct mosquitto_message in mosquitto.h."""

    _fields_ = (
        ("mid", ctypes.c_int),
        ("topic", ctypes.c_char_p),
        ("payload", ctypes.c_void_p),
        ("length", ctypes.c_int),
        ("qos", ctypes.c_int),
        ("retain", ctypes.c_bool),
    )


_ON_MESSAGE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(_Message))
_ON_PUBLISH = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_ON_SUBSCRIBE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p
)


class Client:
    """One connection. `received` is called on its thread with (topic, payload)."""

    def __init__(
        self, port: int, name: str, received: Callable[[bytes, bytes], None] = lambda _topic, _payload: None
    ) -> None:
        path = ctypes.util.find_library("mosquitto")
        assert path, "the limit needs C libmosquitto: apt install libmosquitto1"
        self._library = library = ctypes.CDLL(path)
        library.mosquitto_new.restype = ctypes.c_void_p
        library.mosquitto_lib_init()
        self._client = ctypes.c_void_p(library.mosquitto_new(name.encode(), True, None))
        self.taken = 0
        """Messages that the broker has acknowledged."""
        self._subscribed = threading.Semaphore(0)

        def on_message(_client: int, _data: int, message: "ctypes._Pointer[_Message]") -> None:
            it = message.contents
            received(it.topic, ctypes.string_at(it.payload, it.length))

        def on_publish(_client: int, _data: int, _mid: int) -> None:
            self.taken += 1

        def on_subscribe(_client: int, _data: int, _mid: int, _count: int, _granted: int) -> None:
            self._subscribed.release()

        self._callbacks = _ON_MESSAGE(on_message), _ON_PUBLISH(on_publish), _ON_SUBSCRIBE(on_subscribe)
        library.mosquitto_message_callback_set(self._client, self._callbacks[0])
        library.mosquitto_publish_callback_set(self._client, self._callbacks[1])
        library.mosquitto_subscribe_callback_set(self._client, self._callbacks[2])
        library.mosquitto_int_option(self._client, _TCP_NODELAY, 1)
        library.mosquitto_max_inflight_messages_set(self._client, IN_FLIGHT)
        assert library.mosquitto_connect(self._client, b"127.0.0.1", port, 60) == 0
        assert library.mosquitto_loop_start(self._client) == 0

    def subscribe(self, topic: bytes) -> None:
        """Returns when it is confirmed."""
        assert self._library.mosquitto_subscribe(self._client, None, topic, 1) == 0
        assert self._subscribed.acquire(timeout=_START_S)

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Queue a message, QoS 1."""
        sent = self._library.mosquitto_publish(self._client, None, topic, len(payload), payload, 1, False)
        assert sent == 0

    def close(self) -> None:
        """Let go of the connection."""
        self._library.mosquitto_disconnect(self._client)
        self._library.mosquitto_loop_stop(self._client, False)
        self._library.mosquitto_destroy(self._client)

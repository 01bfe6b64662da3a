"""The thread that moves bytes between an MQTT client and its socket, and shows that it lives.

The idea: a thread can be waited for only if it will end, and nobody knows that of one that hangs. So it is watched
from outside by a count that it raises at least once a second; one that stands still is left behind, with its socket
closed, and whoever needs a connection begins another. Nothing is lost with it: what was on its way is said again.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

POLL_MS: Final = 1000  # the client looks at its keep-alive so often
HUNG_LOOKS: Final = 10  # it is looked at once a second: so often without a sign of life, and it is given up
MOST_LEFT_BEHIND: Final = 8  # threads that hang and cannot be ended; above, no more are begun


class Client(Protocol):
    """What moves bytes when it is told to, as paho does for an event loop of somebody else's."""

    def socket(self) -> Any:
        """The connection, a socket; None when there is none (any more)."""

    def want_write(self) -> bool:
        """Something waits to be sent."""

    def loop_read(self) -> object:
        """The socket can be read."""

    def loop_write(self) -> object:
        """The socket can be written."""

    def loop_misc(self) -> object:
        """Some time has passed."""


class NetworkThread:
    """One connection from its beginning to its end, on a thread of its own.

    Args:
        client: whose bytes are moved.
        connect: makes the connection; blocks, and raises what went wrong.
        on_end: called on the thread, once, with what ended it; None: the client ended the connection itself.
    """

    def __init__(
        self,
        client: Client,
        connect: Callable[[], object],
        on_end: Callable[[BaseException | None], None],
        *,
        name: str,
    ) -> None:
        self._client, self._connect, self._on_end = client, connect, on_end
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._rung = False
        self._unwanted = False
        self._beats = self._seen = self._looks = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Connect, and move bytes until the connection ends."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """It has not ended (yet)."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Something waits to be sent. From any thread; never blocks."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):  # it is awake, or has ended
                self._bell.send(b"!")

    def hangs(self) -> bool:
        """To be asked once a second: whether it has stood still for HUNG_LOOKS of these. A process that was stopped
        is not asked meanwhile, so its threads have the same time to show themselves afterwards.
        """
        self._looks = 0 if self._beats != self._seen else self._looks + 1
        self._seen = self._beats
        return self._looks >= HUNG_LOOKS

    def leave(self) -> None:
        """Whatever it does, its connection is not wanted any more."""
        self._unwanted = True
        close(self._client)
        self.wake()

    def join(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        self._thread.join(seconds)

    # --- on the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._connect()
            self._move()
        except BaseException as raised:  # noqa: BLE001 (whatever it is, the connection is over, and somebody must know)
            error = raised
        close(self._client)
        self._alarm.close()
        self._bell.close()
        self._on_end(error)

    def _move(self) -> None:
        client, poll = self._client, select.poll()
        poll.register(self._alarm, select.POLLIN)
        while not self._unwanted and (connection := client.socket()) is not None:
            wanted = select.POLLIN | (select.POLLOUT if client.want_write() else 0)
            poll.register(connection, wanted)
            ready = dict(poll.poll(0 if _has_more(connection) else POLL_MS))
            self._beats += 1
            if ready.pop(self._alarm.fileno(), 0):
                self._alarm.recv(4096)
                self._rung = False  # before the client is asked: who rings later is heard again
            if _has_more(connection) or any(state & ~select.POLLOUT for state in ready.values()):
                client.loop_read()
            if client.want_write():
                client.loop_write()
            client.loop_misc()


def _has_more(connection: Any) -> bool:
    """TLS has decrypted more than was asked for: no poll tells of that."""
    pending: Callable[[], int] | None = getattr(connection, "pending", None)
    return pending is not None and pending() > 0


def close(client: Client) -> None:
    """Close its socket, whatever its thread does with it."""
    if (connection := client.socket()) is not None:
        connection.close()

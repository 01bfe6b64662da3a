"""What carries a simulated device's bytes to the host, and tells what became of them.

The one idea: a transport never waits. It says who is there, takes what fits, hands out what came, and answers the one
question that an exact account needs: has the host read everything? A new transport is one file and one line here.
"""

import difflib
import importlib
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol, runtime_checkable

from simulators.hardware.device import Answer

Confirmation = Literal["read", "unread", "unknown"]
"""`read`: the host took everything that was sent from the kernel. `unread`: not yet. `unknown`: some of it was thrown
away unread, or nobody can tell."""


class Gone(Exception):
    """The host is not there any more: what was to be sent is lost."""


class Refused(Exception):
    """The port cannot be made; the text says which, why and what to do."""


class Transport(Protocol):
    """One device's end of a cable."""

    refusal: Callable[[], bytes]
    """What a second client is told before it is hung up on; set by the rig."""

    @property
    def place(self) -> str:
        """Where it is, for people."""

    @property
    def url(self) -> str:
        """What `tallyman read --port` takes; empty when only this process can open it."""

    def session(self) -> int | None:
        """The number of the host's present session, from 1; None: nobody has the port open. Another number: the host
        was away in between. Notices who came and who went.
        """

    def wait_on(self) -> Sequence[int]:
        """Descriptors that become readable when the host does something; none: look again soon."""

    def receive(self) -> bytes:
        """What the host sent since; empty if nothing."""

    def send(self, data: bytes) -> int:
        """Take as much of it as fits now; how much that was. Raises Gone."""

    def confirm(self) -> Confirmation:
        """Whether all that was sent in this session, or in the one that just ended, was read."""

    def hang_up(self, *, rough: bool) -> None:
        """The plug is pulled (`rough`) or the device goes away in good order; nothing is there until `come_back`."""

    def come_back(self) -> None:
        """Plugged in again: the same name, and nothing of before."""

    def close(self) -> None:
        """Gone for good. May be called twice."""


@runtime_checkable
class Serves(Protocol):
    """A transport whose host asks for answers, besides what it is told."""

    request: Callable[[str, str, bytes, tuple[str, str] | None], Answer]
    """Method, path, body, user and password; set by the rig to `Device.request`."""


# The word before the colon → `module:Class`, called with what is behind the colon ("" if nothing is).
TRANSPORTS: Final[dict[str, str]] = {
    "pty": "simulators.hardware.transports.pty:Pty",
    "tcp": "simulators.hardware.transports.tcp:Tcp",
    "pair": "simulators.hardware.transports.pair:Pair",
    "http": "simulators.hardware.transports.web:Http",
    "https": "simulators.hardware.transports.web:Https",
    "mqtt": "simulators.hardware.transports.mqtt:Mqtt",
}
IN_PROCESS: Final = "pair"
"""Every device can sit on it, and nobody else can open it: for tests."""


def open_transport(port: str, usable: Sequence[str]) -> Transport:
    """Make the transport that `port` names: `pty`, `pty:/path/to/link`, `tcp:4001`, `tcp:HOST:4001` and the like.

    Raises:
        ValueError: no such transport, none that this device has, or its address is none.
        Refused: it cannot be made here.
    """
    word, _, address = port.partition(":")
    if word not in TRANSPORTS:
        near = difflib.get_close_matches(word, TRANSPORTS, 1)
        raise ValueError(
            f"no port {port!r}{f'; did you mean {near[0]}?' if near else ''} ({_choices(usable)})"
        )
    if word not in (*usable, IN_PROCESS):
        raise ValueError(f"this device has no port {word!r} ({_choices(usable)})")
    module, _, name = TRANSPORTS[word].partition(":")
    found: Transport = getattr(importlib.import_module(module), name)(address)
    return found


def _choices(usable: Sequence[str]) -> str:
    return f"it has {' or '.join(usable)}"

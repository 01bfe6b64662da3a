"""What a driver asks of a device that is a web server, as plain data.

The one idea: a driver stays pure. It names the stream that delivers its bytes and the requests around it, and is told
the answers; the port (`devices.ports.web`) does the asking, and turns every refusal into a reason in plain words.
"""

from dataclasses import dataclass
from typing import ClassVar

from devices.driver import ByteDriver


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    name: str
    """What it does, as in "… was refused"."""
    method: str
    path: str
    """From the root of the device's web server."""
    body: object = None
    """Sent as JSON; None: nothing is sent."""
    optional: bool = False
    """A device that refuses it, or does not know it, is used all the same."""


class WebDriver(ByteDriver):
    """A byte driver whose stream may come over HTTP. What it asks there is the same each time the port is opened."""

    STREAM: ClassVar[str]
    """The path of the stream; it is read with GET for as long as it lasts."""

    def before(self) -> tuple[Request, ...]:
        """Asked in this order, before the stream is opened."""
        return ()

    def after(self) -> tuple[Request, ...]:
        """Asked in this order, once the stream is open."""
        return ()

    def farewell(self) -> tuple[Request, ...]:
        """Asked when the port is closed on purpose; each is tried once, and nothing depends on it."""
        return ()

    def answered(self, request: Request, body: bytes) -> None:
        """A request was answered with success. The body is bounded, and from a stranger."""

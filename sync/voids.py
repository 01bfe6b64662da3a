"""The event that stands in for one that central cannot read. Pure.

A void is an event like any other and keeps to its limit, so it holds the original only as far as there is room; what
it cannot hold stays in the journal, and the void says how long that is and what its hash is.
"""

import base64
import hashlib
from typing import Any, Final

import msgspec

from sync import messages
from sync.messages import Event

TYPE: Final = "tallyman.void.v1"


def void_of(event: Event, text: bytes) -> tuple[bytes, bool]:
    """(the void of an event as JSON, whether it holds the whole original).

    Args:
        event: what is replaced; `text`, decoded.
        text: its JSON, as it was sent.
    """
    void = _with(event, {"id": event.id, "original": base64.b64encode(text).decode()})
    if len(void) <= messages.MAX_RECORDED_BYTES:
        return void, True
    told = {"id": event.id, "length": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    room = messages.MAX_RECORDED_BYTES - len(_with(event, {**told, "original": ""}))
    part = text[: room // 4 * 3]  # base64 makes four characters of three bytes
    return _with(event, {**told, "original": base64.b64encode(part).decode()}), False


def _with(event: Event, data: dict[str, Any]) -> bytes:
    if "previous" in event.data:  # of event 1: central looks for it there
        data = {**data, "previous": event.data["previous"]}
    return messages.encode(msgspec.structs.replace(event, type=TYPE, subject=None, data=data))

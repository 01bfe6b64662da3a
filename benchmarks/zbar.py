"""pyzbar with its defaults, in a process of its own: real photographs make it crash."""

import json
import struct
import time
from typing import TYPE_CHECKING

from devices.child import Child, Lost, Parent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEAD = struct.Struct("!II")
# Ten times what the largest photograph takes.
TIMEOUT_S = 10.0


class Zbar:
    """The process, started again when it crashed."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self.crashes = 0

    def look(self, pixels: "NDArray[np.uint8]") -> tuple[list[bytes], float]:
        """(contents, ms) by its own clock; a crash is nothing read."""
        child = self._child = self._child or Child(__name__, what="pyzbar")
        height, width = pixels.shape
        try:
            answer = child.ask(_HEAD.pack(width, height), pixels.tobytes(), timeout_s=TIMEOUT_S)
        except Lost:
            self.crashes += 1
            self.close()
            return [], 0.0
        found, ms = json.loads(bytes(answer))
        return [bytes.fromhex(content) for content in found], ms

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
        self._child = None


def main(parent: Parent) -> None:
    """In the child."""
    from pyzbar import pyzbar  # type: ignore[import-untyped]  # noqa: PLC0415 - loads the system's library

    while True:
        request = parent.wait()
        width, height = _HEAD.unpack_from(request)
        began_s = time.perf_counter()
        found = pyzbar.decode((request[_HEAD.size :], width, height))
        ms = 1000 * (time.perf_counter() - began_s)
        parent.answer(json.dumps([[code.data.hex() for code in found], ms]).encode())

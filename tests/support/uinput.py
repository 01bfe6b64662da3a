"""A keyboard made by /dev/uinput, where the kernel has it: real key events from a real input device."""

import fcntl
import os
import struct
import time
from pathlib import Path

UINPUT = Path("/dev/uinput")
# linux/uinput.h
UI_DEV_CREATE, UI_DEV_DESTROY = 0x5501, 0x5502
UI_SET_EVBIT, UI_SET_KEYBIT = 0x40045564, 0x40045565
UI_GET_SYSNAME_64 = 0x8040552C
EV_KEY = 1
BUS_USB = 3
LAST_KEY = 0xFF
APPEARS_S = 5.0


def there_is_uinput() -> bool:
    return os.access(UINPUT, os.W_OK)


class Keyboard:
    """Types by events; `path` is what a scanner's driver opens."""

    def __init__(self) -> None:
        self._fd = os.open(UINPUT, os.O_WRONLY | os.O_CLOEXEC)
        fcntl.ioctl(self._fd, UI_SET_EVBIT, EV_KEY)
        for key in range(1, LAST_KEY):
            fcntl.ioctl(self._fd, UI_SET_KEYBIT, key)
        # struct uinput_user_dev: name, input_id, ff_effects_max, and four tables of 64 for axes.
        os.write(self._fd, struct.pack("80s4HI256i", b"tallyman test", BUS_USB, 1, 1, 1, 0, *[0] * 256))
        fcntl.ioctl(self._fd, UI_DEV_CREATE)
        name = bytearray(64)
        fcntl.ioctl(self._fd, UI_GET_SYSNAME_64, name)
        self.path = self._node(name.rstrip(b"\0").decode())

    def _node(self, name: str) -> Path:
        deadline = time.monotonic() + APPEARS_S
        while time.monotonic() < deadline:
            for event in Path(f"/sys/devices/virtual/input/{name}").glob("event*"):
                if os.access(node := Path("/dev/input") / event.name, os.R_OK):
                    return node
            time.sleep(0.02)
        raise AssertionError(f"no /dev/input/event… appeared for {name}")

    def send(self, data: bytes) -> None:
        os.write(self._fd, data)

    def unplug(self) -> None:
        if self._fd >= 0:
            fcntl.ioctl(self._fd, UI_DEV_DESTROY)
            os.close(self._fd)
            self._fd = -1

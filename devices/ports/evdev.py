"""`evdev://`: input devices of the kernel, grabbed, so that what a scanner types goes to nobody else.

The one idea: a scanner that plays keyboard types into whatever has the focus, a login prompt as well; grabbing it
(EVIOCGRAB) takes it away from everybody else for as long as the port is open, and the kernel gives it back by itself
when we go, however we go.
"""

import contextlib
import errno
import fcntl
import os
import struct
import time
from typing import Any, Final

from devices.driver import ByteDriver
from devices.errors import Unavailable
from devices.ports.link import UNPLUGGED, DescriptorLink
from devices.ports.node import open_node
from devices.ports.url import Port

# linux/input.h: _IOW('E', 0x90, int) and _IOW('E', 0xa0, int).
_EVIOCGRAB: Final = 0x40044590
_EVIOCSCLOCKID: Final = 0x400445A0


async def open_link(port: Port, options: dict[str, Any], _driver: ByteDriver) -> DescriptorLink:
    """Open and grab the device. Raises `Unavailable` with the reason."""
    fd = open_node(port.path, group="input", listing="/dev/input/by-id")
    with contextlib.ExitStack() as unless_ready:
        unless_ready.callback(os.close, fd)
        if options["grab"]:
            _grab(fd, port.path)
        # Events are stamped by a clock that nobody sets; what is no input device has none.
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, _EVIOCSCLOCKID, struct.pack("i", time.CLOCK_MONOTONIC))
        unless_ready.pop_all()
    return DescriptorLink(fd, lambda: os.close(fd), what=port.path, at_end=UNPLUGGED)


def _grab(fd: int, path: str) -> None:
    try:
        fcntl.ioctl(fd, _EVIOCGRAB, 1)
    except OSError as problem:
        if problem.errno == errno.EBUSY:
            reason = f"{path} is grabbed by another program; stop that, or each of the two would miss codes"
        elif problem.errno in (errno.ENOTTY, errno.EINVAL):
            reason = (
                f"{path} is no input device and cannot be grabbed: name the one under /dev/input/by-id that ends in"
                " -event-kbd, or add grab=no to the port"
            )
        else:
            reason = f"{path} cannot be grabbed: {problem.strerror or problem}"
        raise Unavailable(reason) from None

"""`hidraw://`: reports of a USB or Bluetooth device as they come, and what the device itself says they mean.

The one idea: every HID device carries a description of its reports. The port fetches it and hands it to the driver
before the first report; where there is none to fetch (a pipe, a terminal), the driver goes by the usual layout.
"""

import contextlib
import fcntl
import os
import struct
from typing import Any, Final

from devices.driver import ByteDriver
from devices.ports.link import UNPLUGGED, DescriptorLink
from devices.ports.node import open_node
from devices.ports.url import Port

# linux/hidraw.h: _IOR('H', 0x01, int), and _IOR('H', 0x02, struct hidraw_report_descriptor): a size and 4096 bytes.
_HIDIOCGRDESCSIZE: Final = 0x80044801
_HIDIOCGRDESC: Final = 0x90044802
_DESCRIPTOR_MOST_BYTES: Final = 4096
_SIZE: Final = struct.Struct("I")


async def open_link(port: Port, _options: dict[str, Any], driver: ByteDriver) -> DescriptorLink:
    """Open the device and let the driver know its report descriptor. Raises `Unavailable` with the reason."""
    fd = open_node(port.path, group="input", listing="/dev/hidraw*")
    with contextlib.ExitStack() as unless_ready:
        unless_ready.callback(os.close, fd)
        driver.describe(_descriptor(fd))
        unless_ready.pop_all()
    return DescriptorLink(fd, lambda: os.close(fd), what=port.path, at_end=UNPLUGGED)


def _descriptor(fd: int) -> bytes:
    """The report descriptor; empty where there is none."""
    size = bytearray(_SIZE.size)
    try:
        fcntl.ioctl(fd, _HIDIOCGRDESCSIZE, size)
        (length,) = _SIZE.unpack(size)
        length = min(length, _DESCRIPTOR_MOST_BYTES)
        answer = bytearray(_SIZE.pack(length) + bytes(_DESCRIPTOR_MOST_BYTES))
        fcntl.ioctl(fd, _HIDIOCGRDESC, answer)
    except OSError:
        return b""
    return bytes(answer[_SIZE.size : _SIZE.size + length])

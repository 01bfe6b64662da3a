"""Bytes and pixels in, what was read out.

Drivers are pure decoders; ports are the I/O that feeds them; a `Reader` keeps one device running. Nothing here knows
what a read means.
"""

from devices.driver import Outcome
from devices.errors import DeviceError, Misconfigured, MissingPart, PortError, Unavailable
from devices.ports.link import Ending
from devices.ports.url import Port, parse_port
from devices.reader import PortStatus, Reader
from devices.reads import BadFrame, BarcodeRead, Moment, Read
from devices.registry import DRIVERS, set_up

__all__ = [
    "DRIVERS",
    "BadFrame",
    "BarcodeRead",
    "DeviceError",
    "Ending",
    "Misconfigured",
    "MissingPart",
    "Moment",
    "Outcome",
    "Port",
    "PortError",
    "PortStatus",
    "Read",
    "Reader",
    "Unavailable",
    "parse_port",
    "set_up",
]

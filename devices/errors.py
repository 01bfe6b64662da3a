"""What can go wrong with a device, as a tree.

DeviceError             everything below; its text says what happened, to which port, and what to do next
├── Misconfigured       wrong driver name, URL or option: only a person can mend it, so it is raised at once
│   └── MissingPart     the driver's libraries are not installed
└── Unavailable         the port cannot be opened now or was lost: the reader keeps trying
"""


class DeviceError(Exception):
    """Something is wrong with a device."""


class Misconfigured(DeviceError):
    """This driver, URL or option can never work; the text says which and what would."""


class MissingPart(Misconfigured):
    """A library that this driver needs is not installed; the text names the extra that brings it."""


class Unavailable(DeviceError):
    """The device is not there, is in use or went away. It may come back."""


PortError = Misconfigured
"""What `parse_port` raises."""

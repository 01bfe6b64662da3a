"""A second opinion on a machine without its library."""

import sys

from devices.child import Parent
from devices.vision import second_opinion


def main(parent: Parent) -> None:
    """In the child."""
    sys.modules["pyzbar"] = None  # type: ignore[assignment]
    second_opinion.main(parent)

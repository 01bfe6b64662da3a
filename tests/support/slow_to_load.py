"""A second opinion on a machine that takes its time to load the library."""

import time

from devices.child import Parent
from devices.vision import second_opinion


def main(parent: Parent) -> None:
    """In the child."""
    time.sleep(2)
    second_opinion.main(parent)

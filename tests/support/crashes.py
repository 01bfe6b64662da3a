"""A second opinion that dies of its first picture, as ZBar does of some."""

import os
import signal

from devices.child import Parent


def main(parent: Parent) -> None:
    """In the child."""
    parent.wait()
    parent.answer(b"")
    parent.wait()
    os.kill(os.getpid(), signal.SIGSEGV)

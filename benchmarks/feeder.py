"""The other end of the busy readers, in a process of its own.

    python -m benchmarks.feeder READERS READS_PER_S SECONDS AWAITED

It prints the paths of its ports, and a line when all of them are started (with AWAITED 0: at once). It waits for a
line, writes each frame by itself at that rate, prints how many there were, and waits for the end of its input.
"""

import os
import random
import select
import sys
import time
import tty
from itertools import islice

from simulators.hardware.device import Frame
from simulators.hardware.m100 import M100
from simulators.hardware.things import make

_START = bytes.fromhex("bb0027000322ffff4a7e")  # read for 65,535 rounds


class Port:
    """One module on a pseudo-terminal."""

    def __init__(self, number: int, things: int) -> None:
        self.device = M100(random.Random(number))
        self.things = list(islice(make("epc", seed=number), things))
        self.master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        self.path, self._slave = os.ttyname(slave), slave  # kept open: the terminal lives between two readers

    def converse(self) -> None:
        """Answer what the reader says."""
        now_s = time.monotonic()
        try:
            frames = self.device.hear(os.read(self.master, 4096), now_s)
        except BlockingIOError:
            frames = []
        self.write(frames)

    @property
    def started(self) -> bool:
        """The reader has told it to read."""
        return self.device.due_s() is not None

    def show(self, number: int) -> None:
        """Bring the next thing into the field; write its frame at once."""
        self.write(self.device.see(self.things[number], time.monotonic()))

    def write(self, frames: list[Frame]) -> None:
        """Each by itself; a terminal that is full is waited for."""
        for frame in frames:
            data = frame.data
            while data:
                select.select((), (self.master,), ())
                data = data[os.write(self.master, data) :]


def main(readers: int, reads_per_s: int, seconds: int, *, awaited: bool) -> None:
    """Be read."""
    ports = [Port(number, reads_per_s * seconds) for number in range(readers)]
    print(*(port.path for port in ports), flush=True)
    while awaited and not all(port.started for port in ports):
        for port in ports:
            port.converse()
        time.sleep(0.01)
    if not awaited:
        for port in ports:
            port.device.hear(_START, time.monotonic())
    print("started", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    for number in range(reads_per_s * seconds):
        while (wait_s := begin + number / reads_per_s - time.monotonic()) > 0:
            time.sleep(wait_s)
        for port in ports:
            port.show(number)
    print(readers * reads_per_s * seconds, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    count, rate, duration, wanted = map(int, sys.argv[1:])
    main(count, rate, duration, awaited=bool(wanted))

"""Networks of a test's own: two namespaces of the kernel and one cable between them, which can be cut or go deaf.

Nothing of it touches the machine's own network. Needs root and ip(8).
"""

import contextlib
import ctypes
import os
import socket as sockets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

import pytest

from tests.support.programs import answers, find_program

CLONE_NEWNET = 0x40000000  # setns(2)
NOBODY = "02:00:00:00:00:99"  # a locally administered address that no interface has


class Network:
    """Where sockets are made and programs live: this machine's own network."""

    name: str | None = None
    run: tuple[str, ...] = ()
    """What stands before a command that is to run there."""

    @contextlib.contextmanager
    def visited(self) -> Iterator[None]:
        """Be there for a moment. A socket belongs for ever to the network in which it was made."""
        yield

    def listening(self, port: int) -> sockets.socket:
        """A socket that listens there, on its loopback."""
        with self.visited():
            return sockets.create_server(("127.0.0.1", port), backlog=4)

    def socket(self) -> sockets.socket:
        """A socket there, not connected and not blocking."""
        with self.visited():
            made = sockets.socket()
        made.setblocking(False)
        return made

    def answers(self, host: str, port: int) -> bool:
        """Whether something accepts connections there."""
        with self.visited():
            return answers(host, port)


class Namespace(Network):
    """A network of its own, with its own loopback. Made with `ip netns add`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.run = (find_program("ip", package="iproute2"), "netns", "exec", name)
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")

    @contextlib.contextmanager
    def visited(self) -> Iterator[None]:
        """See `Network`. For the calling thread."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            enter(str(self.name))
            yield
        finally:
            _set(home)
            os.close(home)

    def close(self) -> None:
        """Remove it; what still runs there keeps it until it ends."""
        ip("netns", "delete", str(self.name))


class Cable:
    """Two namespaces, `centre` (10.77.0.1) and `dock` (10.77.0.2), and the cable between them; a context manager."""

    centre_address, dock_address = "10.77.0.1", "10.77.0.2"

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.fail(
                "This test makes networks of its own, and only root may do that: run it as root.",
                pytrace=False,
            )
        tag = f"{os.getpid() % 100_000}"  # names of links have 15 characters at most
        self._link = f"tmv{tag}"
        self.centre = Namespace(f"tmc{tag}")
        self.dock = Namespace(f"tmd{tag}")
        ip("link", "add", self._link, "netns", str(self.centre.name), "type", "veth",
           "peer", "name", self._link, "netns", str(self.dock.name))  # fmt: skip
        for namespace, address in ((self.centre, self.centre_address), (self.dock, self.dock_address)):
            self._on(namespace, "address", "add", f"{address}/24", "dev", self._link)
            self._on(namespace, "link", "set", self._link, "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dock.close()
        self.centre.close()

    def pull(self) -> None:
        """Pull it out at the dock: no packet passes, and no connection hears of it."""
        self._on(self.dock, "link", "set", self._link, "down")

    def plug(self) -> None:
        """Plug it in again."""
        self._on(self.dock, "link", "set", self._link, "up")

    def deafen(self, who: Literal["centre", "dock"]) -> None:
        """What the other side sends to this one gets lost, in silence; what this one sends arrives."""
        sender, address = (
            (self.dock, self.centre_address) if who == "centre" else (self.centre, self.dock_address)
        )
        self._on(
            sender, "neighbour", "replace", address, "lladdr", NOBODY, "nud", "permanent", "dev", self._link
        )

    def heal(self, who: Literal["centre", "dock"]) -> None:
        """It hears again."""
        sender, address = (
            (self.dock, self.centre_address) if who == "centre" else (self.centre, self.dock_address)
        )
        self._on(sender, "neighbour", "delete", address, "dev", self._link)

    def _on(self, namespace: Namespace, *arguments: str) -> None:
        ip("-n", str(namespace.name), *arguments)


def ip(*arguments: str) -> None:
    """ip(8)."""
    command = [find_program("ip", package="iproute2"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()} (tests need root for this)"


def enter(name: str) -> None:
    """Go into the namespace of that name: this thread, and what it starts."""
    file = os.open(Path("/run/netns") / name, os.O_RDONLY)
    try:
        _set(file)
    finally:
        os.close(file)


def _set(file: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "this network cannot be entered: tests need root for that")

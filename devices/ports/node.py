"""Device nodes: opening what the kernel shows under /dev, for ports that only read.

The one idea: whatever is wrong is told before anything is waited for: a node that is not there, may not be opened,
or cannot be waited for on the event loop at all. Pipes and terminals are taken too, for recordings played live and
simulated devices; a terminal is made raw first, for its line discipline would change bytes.
"""

import errno
import os
import select
import stat
import termios
import tty

from devices.errors import Unavailable


def open_node(path: str, *, group: str, listing: str) -> int:
    """A non-blocking descriptor to read from. Raises `Unavailable`.

    Args:
        group: who may usually read such nodes, for the message to who may not.
        listing: where the lasting names of such nodes are.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as problem:
        raise Unavailable(_reason(path, problem, group, listing)) from None
    try:
        _check(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check(fd: int, path: str) -> None:
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise Unavailable(f"{path} is no device; recorded bytes are read from file://{path}")
    try:
        with select.epoll() as epoll:
            epoll.register(fd, select.EPOLLIN)
        if os.isatty(fd):
            tty.setraw(fd, termios.TCSANOW)
    except (OSError, termios.error) as problem:
        raise Unavailable(f"{path} cannot be read like an input device: {problem.args[-1]}") from None


def _reason(path: str, problem: OSError, group: str, listing: str) -> str:
    if problem.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return f"there is no {path}: is the device plugged in and switched on? See: ls -l {listing}"
    if problem.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{path} may not be opened by this user: add it to the group that owns the device (often {group})"
        )
    if problem.errno == errno.EBUSY:
        return f"{path} is in use by another program; close that"
    return f"{path} cannot be opened: {problem.strerror or problem}"

"""A pseudo-terminal: to the host, a serial line that really hangs up.

We keep no handle on the host's side: when the host closes or dies the link is down, as with a real cable, and what
nobody had read is gone. Packet mode (TIOCPKT, ioctl_tty(2)) tells when the host threw away what it had not read, as
serial libraries do after opening; a glance at the host's side tells whether it has read everything.
"""

import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
import tty
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from simulators.hardware.transports import Confirmation, Gone, Refused

_READ_BYTES: Final = 4096
_READS_AT_ONCE: Final = 16
_FLUSH_READ: Final = 1  # TIOCPKT_FLUSHREAD in the first byte of what is read
_ON: Final = struct.pack("i", 1)


class Pty:
    """The transport `pty`; with `pty:/path/to/link`, a name that stays when the device returns as another tty.

    Args:
        link: a symbolic link to the tty, made now and gone while nothing is plugged in; empty: none.
    """

    def __init__(self, link: str | Path = "") -> None:
        self.refusal: Callable[[], bytes] = bytes
        self._link = Path(link) if link else None
        self._master, self.port = _open_pair()
        self._spare: tuple[int, Path] | None = None
        self._sessions, self._open = 0, False
        self._inbox = bytearray()
        self._outstanding = self._flushed = False
        self._last: Confirmation = "read"
        self._alive = True
        try:
            self._show_link()
        except Refused:
            os.close(self._master)
            raise

    @property
    def path(self) -> Path:
        """What the host opens."""
        return self._link or self.port

    @property
    def place(self) -> str:
        """The link, or the tty."""
        return str(self.path)

    @property
    def url(self) -> str:
        """A serial line."""
        return f"serial://{self.path.absolute()}"

    def session(self) -> int | None:
        """Whether a program has the port open; when it went, what it had not read is thrown away."""
        is_open = self._master >= 0 and not self._hung_up()
        if is_open and not self._open:
            self._sessions += 1
        elif self._open and not is_open and self._master >= 0:
            self._last = self._glance()
        self._open = is_open
        if not is_open and self._outstanding and self._master >= 0:
            self._forget()
        return self._sessions if is_open else None

    def wait_on(self) -> Sequence[int]:
        """The terminal while somebody has it open; hung up, it would be ready all the time. What was taken from it by
        the way, while sending, makes it ready no more.
        """
        return (self._master,) if self._open and not self._inbox else ()

    def receive(self) -> bytes:
        """What the host sent, also just before it closed."""
        self._pump()
        data = bytes(self._inbox)
        self._inbox.clear()
        return data

    def send(self, data: bytes) -> int:
        """As much as the terminal's buffer takes. Raises Gone."""
        if self.session() is None:
            raise Gone(f"nobody has {self.path} open")
        if not self._outstanding:
            self._pump()
            self._flushed = False  # what was thrown away before was not ours
        self._outstanding = True
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def confirm(self) -> Confirmation:
        """Exact: looking waits until the kernel has moved everything to where the host reads (n_tty's poll)."""
        if not self._outstanding or not self._open:
            return self._last
        self._last = self._glance()
        if self._last != "unread":
            self._outstanding = False
        return self._last

    def hang_up(self, *, rough: bool) -> None:
        """The host sees a hang-up; the link is gone."""
        if self._master < 0:
            return
        self._spare = _open_pair()  # before the old one goes, so that the number is another
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        os.close(self._master)
        self._master, self._open, self._outstanding = -1, False, False
        self._inbox.clear()

    def come_back(self) -> None:
        """As another tty, under the same link."""
        if self._spare is not None:
            (self._master, self.port), self._spare = self._spare, None
            self._last, self._flushed = "read", False
            self._show_link()

    def close(self) -> None:
        """Pull the plug for good."""
        if not self._alive:
            return
        self._alive, self._open = False, False
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        for master in (self._master, self._spare[0] if self._spare else -1):
            if master >= 0:
                os.close(master)
        self._master, self._spare = -1, None

    # --- the terminal ----------------------------------------------------------------------------------------

    def _show_link(self) -> None:
        if self._link is None:
            return
        try:
            if self._link.is_symlink():
                self._link.unlink()
            self._link.symlink_to(self.port)
        except FileExistsError:
            raise Refused(f"{self._link} exists and is no link; name another place, or remove it") from None
        except OSError as error:
            raise Refused(f"no link can be made at {self._link}: {error.strerror}") from None

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._master, 0)
        return bool(poll.poll(0))

    def _pump(self) -> None:
        """Take what the host sent; the first byte of each piece is the terminal's own news."""
        for _ in range(_READS_AT_ONCE):
            # EIO: hung up. EAGAIN: nothing there. EBADF: unplugged.
            try:
                piece = os.read(self._master, _READ_BYTES)
            except OSError:
                return
            if piece[0]:
                self._flushed = self._flushed or bool(piece[0] & _FLUSH_READ)
            else:
                self._inbox += piece[1:]

    def _glance(self) -> Confirmation:
        """Look at the host's side for a moment. First whether it is empty, then whether it was emptied."""
        try:
            port = os.open(self.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return "unknown"  # the host has it for itself alone (TIOCEXCL)
        try:
            poll = select.poll()
            poll.register(port, select.POLLIN)
            empty = not poll.poll(0)
        finally:
            os.close(port)
        self._pump()
        flushed, self._flushed = self._flushed, False
        return "unknown" if flushed else "read" if empty else "unread"

    def _forget(self) -> None:
        """Throw away what nobody read: the kernel would keep it for the next reader, a cable does not."""
        self._outstanding = False
        try:
            port = os.open(self.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return  # just now a reader opened it for itself alone (TIOCEXCL), and begins anew too
        try:
            termios.tcflush(port, termios.TCIFLUSH)
        finally:
            os.close(port)


def _open_pair() -> tuple[int, Path]:
    """A raw terminal: our end, and the name of the other, which nobody holds."""
    try:
        master, port = os.openpty()
    except OSError as error:
        more = ": end other programs that use them" if error.errno in (errno.ENOSPC, errno.EAGAIN) else ""
        raise Refused(f"the system gives no pseudo-terminal ({error.strerror}){more}") from None
    try:
        tty.setraw(port)
        name = Path(os.ttyname(port))
        fcntl.ioctl(master, termios.TIOCPKT, _ON)
        os.set_blocking(master, False)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(port)
    with contextlib.suppress(OSError):
        os.read(master, _READ_BYTES)
    return master, name

"""A simulated device at work: a thread of its own carries bytes between the device and a port.

The one idea: everything that happens to the device happens in that one thread, in order, and nothing in it waits.
Whoever uses the rig asks the thread; the account is there for everybody.
"""

import contextlib
import difflib
import os
import random
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

from simulators.hardware import KINDS
from simulators.hardware.account import Account, Entry, Ledger
from simulators.hardware.device import Device, Thing
from simulators.hardware.faults import FAULTS, RATE, Cable
from simulators.hardware.line import Line
from simulators.hardware.things import Item
from simulators.hardware.transports import Serves, open_transport

SETTLED_S: Final = 0.2
"""While a serial library opens a port, it throws away what has come: `play` waits so long before it shows a thing."""
HEARD_MOST_BYTES: Final = 1 << 20
"""How much of what the host sent is kept in `heard`; the oldest goes first."""
_LOOK_S: Final = 0.005
"""How often we look at what wakes nobody: a port that nobody has open, bytes that nobody has read."""
_SLEEP_MOST_S: Final = 1.0
_CATCH_UP_S: Final = 0.1
"""So much of a play's delay is made up for: a busy machine, but not a port that was closed."""
_CLOSE_S: Final = 5.0


class Rig:
    """One simulated device, running; use it as a context manager.

    Args:
        kind: a name in `KINDS`.
        port: where it is: `pty`, `pty:/path/to/link`, `tcp:PORT`, `tcp:HOST:PORT`, `pair`, or what else there is.
        seed: of all chance.
        faults: which faults its cable has, from `FAULTS`.
        fault_rate: how many of its frames meet one, 0 to 1.
        options: the kind's own.
        tell: told in a line what happens to the port; called in the rig's thread.

    Raises:
        ValueError: unknown kind, port, fault or option.
        simulators.hardware.transports.Refused: the port cannot be made.
    """

    def __init__(
        self,
        kind: str,
        port: str = "pty",
        *,
        seed: int = 0,
        faults: Sequence[str] = (),
        fault_rate: float = RATE,
        options: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.kind = known("kind of device", kind, KINDS)
        faults = [known("fault", fault, FAULTS) for fault in faults]
        self.device = _build(kind, seed, options or {})
        cable = Cable(seed, faults, fault_rate, self.device.survives)
        self._transport = open_transport(port, self.device.PORTS)
        self._transport.refusal = lambda: self.device.refusal(time.monotonic())
        if isinstance(self._transport, Serves):
            self._transport.request = lambda method, path, body, login: self.device.request(
                method, path, body, login, time.monotonic()
            )
        self._tell = tell
        self._ledger = Ledger()
        self._line = Line(self._transport, cable, self._ledger, self.device.spoils)
        self.heard = bytearray()
        """What the host sent, bounded; written by the rig's thread."""
        self._numbers = 0
        self._commands: SimpleQueue[tuple[Callable[[], None], threading.Event]] = SimpleQueue()
        self._session: int | None = None
        self._opened_s: float | None = None
        self._plugged = True
        self._back_s: float | None = None
        self._holding: frozenset[int] = frozenset()
        self._idle = True
        self._error: Exception | None = None
        self._stop = self._closed = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name=f"simulated {kind}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- where it is -------------------------------------------------------------------------------------------

    @property
    def transport(self) -> Any:
        """The transport itself, for what only one of them has."""
        return self._transport

    @property
    def place(self) -> str:
        """Where the device is: a path or HOST:PORT."""
        return self._transport.place

    @property
    def url(self) -> str:
        """What `tallyman read --port` takes; empty for a socket pair."""
        url: str = self._transport.url
        path = url.removeprefix("serial://")
        return url if path == url else self.device.TERMINAL_URL.format(path)

    # --- what happens to it ------------------------------------------------------------------------------------

    def see(self, *things: Thing) -> list[Thing]:
        """Show things to the device, now, whoever has the port open; the things with their numbers.

        Raises:
            ValueError: the device does not read this kind of thing.
        """
        reads = KINDS[self.kind].reads
        for thing in things:
            if getattr(thing, reads) is None:
                raise ValueError(f"{self.kind} reads things with {reads!r}, and this has none: {thing}")
        numbered = [replace(thing, number=self._numbers + place) for place, thing in enumerate(things, 1)]
        self._numbers += len(things)
        self._ask(lambda: self._see(numbered))
        return numbered

    def play(
        self,
        items: Iterable[Item],
        *,
        patience_s: float | None = None,
        stop: threading.Event | None = None,
    ) -> bool:
        """Show one thing after the other, each while the host has the port open; False if that did not go to the end.

        Args:
            items: the things, and how long after the one before each comes.
            patience_s: how long the port may be closed; None: for ever.
            stop: ends the play when it is set.
        """
        stop = stop or threading.Event()
        due_s = time.monotonic()
        for item in items:
            due_s += item.after_s
            if stop.wait(max(0.0, due_s - time.monotonic())) or not self._until_open(patience_s, stop):
                return False
            self.see(item.thing)
            due_s = max(due_s, time.monotonic() - _CATCH_UP_S)
        return True

    def unplug(self, away_s: float | None = None, *, rough: bool = True) -> None:
        """Pull the plug; it comes back after `away_s`, or with `plug`."""
        self._ask(lambda: self._pull(away_s, rough=rough))

    def plug(self) -> None:
        """Put the plug back."""
        self._ask(self._come_back)

    def close(self) -> None:
        """Pull the plug for good, at once; `settle` before if the host shall have everything.

        Raises what the device failed with, if it did.
        """
        if self._closed:
            return
        self._stop = True
        self._poke()
        self._thread.join(_CLOSE_S)
        self._transport.close()
        os.close(self._wake)
        self._closed = True
        self._check()

    # --- what is to be known -----------------------------------------------------------------------------------

    def open_for_s(self) -> float | None:
        """For how long the host has had the port open; None: it has not."""
        opened_s = self._opened_s
        return None if opened_s is None else time.monotonic() - opened_s

    def wait_open(self, timeout_s: float, settled_s: float = SETTLED_S) -> bool:
        """Wait until the host has had the port open for `settled_s`; False if that took too long."""
        return self._wait(lambda: (self.open_for_s() or 0.0) >= settled_s, timeout_s)

    def settle(self, timeout_s: float) -> bool:
        """Wait until the device has told everything and the host has read it; False if that took too long."""
        return self._wait(lambda: self._idle, timeout_s)

    def account(self) -> Account:
        """What became of the things so far. After `close`, nothing in it is waiting."""
        self._check()
        return self._ledger.account(self._holding, closed=self._closed)

    def take_decided(self) -> list[Entry]:
        """What is decided, once, in order; it is not in the account any more. For those who run for days."""
        self._check()
        return self._ledger.take_decided(self._holding, closed=self._closed)

    # --- between the threads -----------------------------------------------------------------------------------

    def _ask(self, command: Callable[[], None]) -> None:
        """Have the thread do it, and wait until it did."""
        if self._closed:
            self._check()
            raise RuntimeError(f"the simulated {self.kind} is closed")
        done = threading.Event()
        self._commands.put((command, done))
        self._poke()
        while not done.wait(_LOOK_S):
            self._check()

    def _poke(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _wait(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not ready():
            self._check()
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_LOOK_S)
        return True

    def _until_open(self, patience_s: float | None, stop: threading.Event) -> bool:
        deadline_s = None if patience_s is None else time.monotonic() + patience_s
        while (self.open_for_s() or 0.0) < SETTLED_S:
            self._check()
            if stop.wait(_LOOK_S) or (deadline_s is not None and time.monotonic() > deadline_s):
                return False
        return True

    # --- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop:
                self._step()
                self._sleep()
            self._line.end("the device was switched off")
        except Exception as error:  # noqa: BLE001 (a thread's outermost boundary: shown to whoever uses the rig)
            self._error = error

    def _step(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        if self._back_s is not None and time.monotonic() >= self._back_s:
            self._come_back()
        heard = self._transport.receive()
        self._look_who_is_there()
        if heard:
            self.heard += heard
            del self.heard[:-HEARD_MOST_BYTES]
            self._line.put(self.device.hear(heard, time.monotonic()))
        finished = self._obey()
        if self._plugged and (due_s := self.device.due_s()) is not None and time.monotonic() >= due_s:
            self._line.put(self.device.tick(time.monotonic()))
        if (unplug := self._line.advance(time.monotonic())) is not None:
            self._pull(unplug.away_s, rough=unplug.rough)
        if self._session is not None and not self._line.sends and self.device.hangs_up():
            self._transport.hang_up(rough=False)
            self._transport.come_back()
            self._look_who_is_there()
        self._note()
        for done in finished:
            done.set()

    def _look_who_is_there(self) -> None:
        session = self._transport.session() if self._plugged else None
        if session == self._session:
            return
        if self._session is not None:
            self._line.end("the host closed the port")
            self.device.closed(time.monotonic())
            self._tell("the host closed the port")
        self._session, self._line.is_open = session, session is not None
        self._opened_s = None if session is None else time.monotonic()
        if session is not None:
            self._tell("the host opened the port")
            self._line.put(self.device.opened(time.monotonic()))

    def _obey(self) -> list[threading.Event]:
        """Do what was asked; whom to tell once it is noted."""
        finished: list[threading.Event] = []
        while True:
            try:
                command, done = self._commands.get_nowait()
            except Empty:
                return finished
            command()
            finished.append(done)

    def _see(self, things: Sequence[Thing]) -> None:
        for thing in things:
            self._ledger.shown(thing)
            self._line.put(self.device.see(thing, time.monotonic()))

    def _pull(self, away_s: float | None, *, rough: bool) -> None:
        if not self._plugged:
            return
        self._line.end("unplugged")
        self._transport.hang_up(rough=rough)
        self.device.unplugged()
        self._session, self._opened_s, self._plugged, self._line.is_open = None, None, False, False
        self._back_s = None if away_s is None else time.monotonic() + away_s
        self._tell("unplugged")

    def _come_back(self) -> None:
        self._back_s = None
        if not self._plugged:
            self._transport.come_back()
            self._plugged = True
            self._tell(f"plugged in again at {self.place}")

    def _note(self) -> None:
        """Leave word for the other threads of what there is to do yet."""
        for thing in self.device.field.dropped:
            self._ledger.dropped(thing, "left the field before the host asked: too many were there")
        self.device.field.dropped.clear()
        self._holding = frozenset(thing.number for thing in self.device.holding())
        self._idle = self._plugged and not self._holding and not self._line.tells

    def _sleep(self) -> None:
        """Until the host, a user or the time wants something."""
        wake_s = [self._back_s, self.device.due_s() if self._plugged else None]
        waits_s = [_SLEEP_MOST_S, *(at_s - time.monotonic() for at_s in wake_s if at_s is not None)]
        descriptors = self._transport.wait_on() if self._plugged else ()
        if self._line.waits or (self._plugged and (self._session is None or not descriptors)):
            waits_s.append(_LOOK_S)
        poll = select.poll()
        for descriptor in (self._wake, *descriptors):
            poll.register(descriptor, select.POLLIN)
        poll.poll(max(0.0, min(waits_s)) * 1000)


def known(what: str, name: str, table: Iterable[str]) -> Any:
    """The name, if the table has it; else ValueError with the nearest that it has."""
    names = list(table)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there is: {', '.join(names) or 'none'}"
    raise ValueError(f"no {what} {name!r}; {hint}")


def _build(kind: str, seed: int, options: Mapping[str, str]) -> Device:
    cls = KINDS[kind].load()
    for option in options:
        known(f"option of {kind}", option, cls.OPTIONS)
    return cls(random.Random(f"{seed}/device"), **options)  # noqa: S311 (simulation)

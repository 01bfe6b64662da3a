"""Which driver a device needs, found by asking politely.

The one idea: a driver that can be asked has a question that changes nothing (`ASK`), and its answer is decoded by
the driver itself. So a device is listened to for a moment, then asked in one language after the other, at each speed
that the language has, for a bounded short time each, until one is understood. What another program uses is not
opened.
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from devices.driver import ByteDriver
from devices.errors import Unavailable
from devices.finding.attached import Found, Roots, Surety
from devices.ports import serial_line, tcp
from devices.ports.link import ByteLink, Ending
from devices.reader import system_clock
from devices.reads import BadFrame, BarcodeRead, TagRead
from devices.registry import DRIVERS, set_up

LISTEN_S = 0.15
"""How long a device may speak by itself before it is asked, at each speed."""
ANSWER_S = 0.25
"""How long it has for an answer. At 9600 baud a long one takes 60 ms; USB adapters add 16."""
OPEN_S = 3.0
CONNECT_S = 2.0
MOST_HEARD = 65_536
"""Bytes taken at one speed; a device that says more is not answering."""
LINES_AT_ONCE = 8
SHOWN_CHARS = 40

# Asked after the others: these questions have no start byte, and the FF in them is ThingMagic's.
_LAST = ("chafon",)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Guess:
    driver: str
    sure: Surety
    why: str


@dataclass(frozen=True, slots=True)
class Round:
    """What is done at one speed: None where there is no speed to set."""

    baud: int | None
    asked: tuple[str, ...]
    listened: tuple[str, ...] = ()
    """Drivers of devices that cannot be asked, and may speak just now."""


# --- what to ask, and when ----------------------------------------------------------------------------------------


def rounds(scheme: str, allowed: tuple[str, ...] | None = None) -> list[Round]:
    """Every driver of the registry that can sit on such a port, at each of its speeds.

    The usual speed of every driver comes before the second choice of any, as a question in one language may be the
    beginning of a command in another, and what follows it is then not understood for a while.
    """
    table: dict[tuple[int, int | None], tuple[list[str], list[str]]] = {}
    speeds: list[tuple[int, str, int | None, bool]] = []
    for name, entry in DRIVERS.items():
        if entry.images or scheme not in entry.schemes:
            continue
        driver = _build(name, scheme)
        can_be_asked = bool(driver.ASK)
        if allowed is not None and can_be_asked and name not in allowed:
            continue
        bauds: tuple[int | None, ...] = driver.BAUDS if scheme == "serial" else (None,)
        speeds += [(rank, name, baud, can_be_asked) for rank, baud in enumerate(bauds)]
    for rank, name, baud, can_be_asked in sorted(speeds, key=lambda speed: (speed[0], speed[1] in _LAST)):
        table.setdefault((rank, baud), ([], []))[0 if can_be_asked else 1].append(name)
    # Who only speaks is listened for whenever the line has its speed again: somebody may scan at any moment.
    speak = {baud: tuple(heard) for (rank, baud), (_, heard) in table.items() if rank == 0}
    return [Round(baud, tuple(asked), speak.get(baud, ())) for (_, baud), (asked, _) in table.items()]


def _build(name: str, scheme: str) -> ByteDriver:
    url = f"{scheme}:///dev/null" if scheme == "serial" else f"{scheme}://localhost:1"
    driver = set_up("asked", name, url).byte_driver
    assert driver is not None
    return driver


# --- serial lines -------------------------------------------------------------------------------------------------


async def ask_lines(found: list[Found], roots: Roots, tell: Tell) -> list[Found]:
    """Ask every serial line that may be asked, several at once; the rest stays as it is."""
    users = await asyncio.to_thread(in_use, roots, [Path(each.path) for each in found])
    room = asyncio.Semaphore(LINES_AT_ONCE)

    async def ask(each: Found) -> Found:
        user = users.get(each.path)
        if user is not None:
            return replace(each, notes=(*each.notes, f"not asked: it is in use by {user}"))
        if each.ask == ():
            return each
        async with room:
            return await _ask_line(each, tell)

    return list(
        await asyncio.gather(*(ask(each) if each.kind == "serial" else _same(each) for each in found))
    )


async def _same(found: Found) -> Found:
    return found


async def _ask_line(found: Found, tell: Tell) -> Found:
    with contextlib.ExitStack() as held:
        return await _ask_at_each_speed(found, tell, held)


async def _ask_at_each_speed(found: Found, tell: Tell, held: contextlib.ExitStack) -> Found:
    problem = None
    for number, turn in enumerate(rounds("serial", found.ask)):
        tell(f"asking {found.path} at {turn.baud} baud: {', '.join(turn.asked or turn.listened)}")
        setup = set_up("asked", (turn.asked or turn.listened)[0], f"{found.port}?baud={turn.baud}")
        assert setup.byte_driver is not None
        try:
            async with asyncio.timeout(OPEN_S):
                link = await serial_line.open_link(setup.port, setup.options, setup.byte_driver)
        except TimeoutError:
            problem = f"it could not be opened within {OPEN_S:g} s"
            break
        except Unavailable as unavailable:
            problem = str(unavailable)
            break
        if number == 0:
            _hold(found.path, held)
        try:
            guess = await _converse(link, turn)
        finally:
            link.close()
            await link.closed()
        if guess is not None:
            at = f" at {turn.baud} baud"
            port = f"{found.port}?baud={turn.baud}"
            return replace(found, driver=guess.driver, sure=guess.sure, why=guess.why + at, port=port)
    if problem is not None:
        return replace(found, notes=(*found.notes, f"not asked: {problem}"))
    if found.driver is None:
        return replace(
            found,
            driver="text-line",
            sure="guess",
            why="no reader answered, and most scanners only speak: scan something and see",
        )
    return found


def _hold(path: str, held: contextlib.ExitStack) -> None:
    """Keep the line open from one speed to the next. Closing it drops DTR and RTS, which starts many boards anew (and
    hangs a modem up): asked at twelve speeds, such a device would never come to answer.
    """
    with contextlib.suppress(OSError):
        held.callback(os.close, os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))


def in_use(roots: Roots, paths: Iterable[Path]) -> dict[str, str]:
    """Which of these another program has open, or has locked, and which program that is."""
    nodes = {str(path.resolve()): str(path) for path in paths}
    users: dict[str, str] = {}
    for node, path in nodes.items():
        locked_by = _lock_owner(roots, Path(node).name)
        if locked_by is not None:
            users[path] = _program(roots, locked_by)
    for line in _read(roots.proc / "consoles").splitlines():
        name = line.split(" ", 1)[0]
        for node, path in nodes.items():
            if name and Path(node).name == name:
                users[path] = "the system, as its console"
    for process in _numbered(roots.proc):
        if process.name == str(os.getpid()):
            continue
        for descriptor in _entries(process / "fd"):
            with contextlib.suppress(OSError):
                used = nodes.get(str(descriptor.readlink()))
                if used is not None:
                    users.setdefault(used, _program(roots, process.name))
    return users


def _lock_owner(roots: Roots, name: str) -> str | None:
    """The process that has locked a line in the old way (FHS 3.0 §5.9), if it still lives."""
    number = _read(roots.lock / f"LCK..{name}").strip()
    return number if number.isdigit() and (roots.proc / number).exists() else None


def _program(roots: Roots, number: str) -> str:
    name = _read(roots.proc / number / "comm").strip()
    return f"{name} (process {number})" if name.isprintable() and name else f"process {number}"


def _numbered(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.name.isdigit()]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:4096]
    except OSError:
        return ""


# --- the network --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Service:
    """A TCP port that such devices usually listen on."""

    number: int
    what: str
    drivers: tuple[str, ...] | None
    """Whose questions are asked there; None: all, as a terminal server may stand before any device."""
    otherwise: str
    """The driver that is named when somebody listens there and does not answer."""
    sure: Surety = "guess"


# From the makers' manuals: LLRP 1.1 §5 names 5084; Chafon's readers come with 6000 or 27011; SICK and Keyence
# scanners with 2112 and 9004, Datalogic's with 51236; Moxa's and Lantronix's terminal servers with 4001 and 10001.
SERVICES: tuple[Service, ...] = (
    Service(5084, "LLRP", ("llrp",), "llrp", "likely"),
    Service(6000, "Chafon", ("chafon",), "chafon"),
    Service(27011, "Chafon", ("chafon",), "chafon"),
    Service(2101, "a scanner", (), "text-line"),
    Service(2112, "SICK", (), "text-line"),
    Service(9004, "Keyence", (), "text-line"),
    Service(51236, "Datalogic", (), "text-line"),
    Service(4001, "a terminal server", None, "text-line"),
    Service(10001, "a terminal server", None, "text-line"),
)
HTTPS = 443


async def ask_host(
    host: str, tell: Tell, services: tuple[Service, ...] = SERVICES, https: int = HTTPS
) -> list[Found]:
    """What answers at this address on the usual ports. Raises `Unavailable` when nothing does."""
    known = [service for service in services if service.otherwise in DRIVERS]
    numbers = ", ".join(str(number) for number in (*(service.number for service in known), https))
    tell(f"asking {host} on {numbers}")
    asked = [*(_ask_service(host, service) for service in known), _ask_r700(host, https, _any_certificate())]
    found = [each for each in await asyncio.gather(*asked) if each is not None]
    if not found:
        raise Unavailable(
            f"{host} answers on none of the usual ports ({numbers}): check the address, the cable and the device's "
            "own settings, which name its port"
        )
    return found


async def _ask_service(host: str, service: Service) -> Found | None:
    port = f"tcp://{_bracketed(host)}:{service.number}"
    setup = set_up("asked", service.otherwise, port)
    assert setup.byte_driver is not None
    try:
        async with asyncio.timeout(CONNECT_S):
            link = await tcp.open_link(setup.port, setup.options, setup.byte_driver)
    except (Unavailable, TimeoutError):
        return None
    try:
        [turn] = rounds("tcp", service.drivers)
        guess = await _converse(link, turn)
    finally:
        link.close()
    found = Found(kind="network", path=f"{_bracketed(host)}:{service.number}", port=port, about=service.what)
    if guess is not None:
        return replace(found, driver=guess.driver, sure=guess.sure, why=guess.why)
    why = f"somebody listens on port {service.number}, where {service.what} usually does"
    return replace(found, driver=service.otherwise, sure=service.sure, why=why)


def _any_certificate() -> ssl.SSLContext:
    """Readers have certificates of their own making, and nothing secret is said here."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return trusting


async def _ask_r700(host: str, number: int, tls: ssl.SSLContext | None) -> Found | None:
    """Whether the address has Impinj's interface: it asks for a password where that begins. None is sent."""
    if "impinj-r700" not in DRIVERS:
        return None
    request = f"GET /api/v1/system HTTP/1.1\r\nHost: {_bracketed(host)}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(2 * CONNECT_S):
            reader, writer = await asyncio.open_connection(host, number, ssl=tls)
            try:
                writer.write(request.encode("idna" if not host.isascii() else "ascii"))
                status = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError):
        return None
    if status[:5] != b"HTTP/" or status[9:12] not in (b"200", b"401"):
        return None
    at = "" if number == HTTPS else f":{number}"
    return Found(
        kind="network",
        path=f"{_bracketed(host)}:{number}",
        port=f"https://{_bracketed(host)}{at}",
        about="HTTPS",
        driver="impinj-r700",
        sure="likely",
        why="it has something at /api/v1/system, where Impinj's interface begins",
        notes=("it wants a user and a password: see docs/devices.md",),
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# --- one conversation ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Ear:
    """Hears what comes on a link, bounded."""

    link: ByteLink
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        self.link.start(self._hear, self._end)

    def _hear(self, data: bytes) -> None:
        self.data += data[: MOST_HEARD - len(self.data)]
        self.news.set()

    def _end(self, _ending: Ending) -> None:
        self.ended = True
        self.news.set()

    async def more(self) -> bytes:
        """What came since the last time; waits for something."""
        if not self.data and not self.ended:
            self.news.clear()
            await self.news.wait()
        data = bytes(self.data)
        self.data.clear()
        return data


async def _converse(link: ByteLink, turn: Round) -> _Guess | None:
    """Listen, then ask in each language. The caller closes the link."""
    ear = _Ear(link)
    ear.start()
    guess = await _listen(ear, turn)
    if guess is not None:
        return guess
    for name in turn.asked:
        driver = _build(name, "tcp" if turn.baud is None else "serial")
        ear.data.clear()
        link.send(driver.ASK)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                while not ear.ended and driver.model is None:
                    driver.feed(await ear.more(), system_clock())
                    driver.output()  # what it would say now is not said
        if driver.model is not None:
            return _Guess(name, "sure", f"it answers as {_shown(driver.model)}")
        if ear.ended:
            return None
    return None


async def _listen(ear: _Ear, turn: Round) -> _Guess | None:
    """Whether the device speaks by itself, so that a driver understands it."""
    drivers = {
        name: _build(name, "tcp" if turn.baud is None else "serial") for name in (*turn.asked, *turn.listened)
    }
    heard = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LISTEN_S):
            while not ear.ended and heard < MOST_HEARD:
                data = await ear.more()
                heard += len(data)
                for name, driver in drivers.items():
                    reads = driver.feed(data, system_clock())
                    driver.output()
                    for read in reads:
                        if not isinstance(read, BadFrame) and _is_plausible(read):
                            return _Guess(name, "likely", f"it sent {_shown(_content(read))} by itself")
    return None


def _is_plausible(read: BarcodeRead | TagRead) -> bool:
    """Whether a read speaks for its driver: at a wrong speed a line is garbage, and garbage may be a line."""
    return isinstance(read, TagRead) or (
        read.text.isascii() and read.text.isprintable() and len(read.text) > 3
    )


def _content(read: BarcodeRead | TagRead) -> str:
    return read.epc.hex().upper() if isinstance(read, TagRead) and read.epc else read.text or ""


def _shown(text: str) -> str:
    return repr("".join(letter if letter.isprintable() else "�" for letter in text[:SHOWN_CHARS]))

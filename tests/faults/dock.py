"""An agent at a dock, and the person who works there: scans one code after the other and believes what the page says.

What that person was told is the record that everything is held against: `sent` is every code that left the scanner,
each once; `ok` is those of them that the page showed as recorded, with their event ids.
"""

import asyncio
import contextlib
import shutil
import signal
import sqlite3
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.faults.nursery import START_S, Nursery, Ward
from tests.support.networks import Network
from tests.support.programs import free_port, tail
from tests.support.wait import eventually_async

GTIN: Final = "09521234543213"
OUTCOME_S: Final = 60.0  # a scan has its answer by then, however busy this machine is
REFUSED_MOST: Final = 30
QUICK: Final = {
    "sync.engine.HELLO_FIRST_S": 0.3,  # in the field 1 s
    "sync.engine.STALL_FIRST_S": 0.5,  # in the field 5 s
    "sync.engine.STALL_MOST_S": 4.0,  # in the field 60 s
    "sync.mqtt.RETRY_MOST_S": 1.0,  # in the field 10 s
    "sync.mqtt.STEADY_S": 2.0,  # in the field 30 s
}
"""The protocol's waits, shortened, so that healing takes tests a second and not ten."""
FORGETFUL: Final = {
    **QUICK,
    "agent.build.DAY_S": 0.0,  # nothing is kept for its age …
    "agent.build.KEPT": 5,  # … and of the newest only five
    "sync.journal.retention.MARK_S": 0,
    "sync.uplink.KEEP_S": 0.1,
}
"""An agent that lets go at once of whatever it may let go of."""
RETRY_S: Final = 0.02
LONGEST_STATE: Final = 4 * 1024 * 1024


class Last(msgspec.Struct):
    outcome: str
    code: str
    event_id: str | None
    text: str
    token: int


class Entry(msgspec.Struct):
    event_id: str
    lot: str | None
    verdict: str | None


class Status(msgspec.Struct):
    online: bool
    queued: int
    reason: str | None


class Page(msgspec.Struct):
    """What of a station's page matters here."""

    last: Last | None
    recorded: list[Entry]
    status: Status


_hands = count()
_decode = msgspec.json.Decoder(Page).decode


class Dock(Ward):
    """One agent, its scanner and its page. `start`, `scan`, `kill`, `start` …; `close` at the end.

    Args:
        folder: its configuration and log; its journal is in `folder/data`.
        agent: its id; two docks with one id are clones.
        broker: `mqtt://…`.
    """

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        agent: str,
        broker: str,
        *,
        network: Network | None = None,
        mqtt: str = "",
    ) -> None:
        self.nursery, self.folder, self.agent, self.broker = nursery, folder, agent, broker
        self.hand = f"H{next(_hands):03d}"  # a lot has 20 characters at most
        self.network = network or Network()
        folder.mkdir(exist_ok=True, parents=True)
        self.data = folder / "data"
        self.log = folder / "agent.log"
        self.port, self._scanner_port = free_port(), free_port()
        self.config = folder / "agent.toml"
        self._mqtt = mqtt
        self._write_config()
        self.sent: list[str] = []
        self.ok: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        """What was answered with anything but OK, and with what."""
        self.page: Page | None = None
        self.starts = 0
        self.pid: int | None = None
        self._outcome = asyncio.Event()
        self._scanner: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._watching: asyncio.Task[None] | None = None

    def _write_config(self) -> None:
        here = "127.0.0.1"
        self.config.write_text(
            f'[agent]\nid = "{self.agent}"\nsite = "lej1"\ndata_dir = "{self.data}"\n'
            f'[mqtt]\nurl = "{self.broker}"\n{self._mqtt}\n[http]\nlisten = "{here}:{self.port}"\n'
            f'[[devices]]\nname = "scanner"\ndriver = "text-line"\nport = "tcp://{here}:{self._scanner_port}"\n'
            '[[stations]]\nname = "dock"\ndevices = ["scanner"]\nworkflow = "receive"\nlocation = "DOCK-1"\n'
        )

    def dial(self, broker: str) -> None:
        """From the next start on, talk to the broker at this address."""
        self.broker = broker
        self._write_config()

    # --- the program --------------------------------------------------------------------------------------

    async def start(self, constants: dict[str, float] = QUICK, **how: Any) -> None:
        """Start the agent; `how` as for `Nursery.start`. Returns at once: it may be told to die while it starts."""
        assert not self.alive, "it runs already"
        if self._server is None:
            listening = self.network.listening(self._scanner_port)
            self._server = await asyncio.start_server(self._plugged_in, sock=listening)
            self._watching = asyncio.create_task(self._watch())
        self.page = None
        self.starts += 1
        self.pid = self.nursery.start(
            "agent", "--config", str(self.config), log=self.log, network=self.network.name,
            constants=constants, **how,
        )  # fmt: skip

    async def stop(self) -> None:
        """SIGTERM; it ends well."""
        self.signal(signal.SIGTERM)
        assert await self.ended() == 0, tail(self.log)

    async def close(self) -> None:
        """End the program, however it is, and let go of its scanner and page."""
        if self.alive:
            self.signal(signal.SIGCONT)
            await self.kill()
        if self._watching is not None and self._server is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            if self._scanner is not None:
                self._scanner.close()
            self._server.close()

    # --- the person ---------------------------------------------------------------------------------------

    async def scan(self, times: int, *, while_alive: bool = False) -> int:
        """Scan until so many more were told OK, each code once; `while_alive`: or until the program is gone.
        Returns how many were told OK.
        """
        wanted, before, refused = len(self.ok) + times, len(self.ok), len(self.refused)
        while len(self.ok) < wanted and (self.alive or not while_alive):
            await self._scan_once()
            assert len(self.refused) < refused + REFUSED_MOST, list(self.refused.items())[-1]
        return len(self.ok) - before

    async def scan_until(self, over: asyncio.Event, pace_s: float = 0.01) -> None:
        """Scan for ever, whatever becomes of the program, until told that it is over."""
        while not over.is_set():
            await self._scan_once()
            await asyncio.sleep(pace_s)

    async def _scan_once(self) -> None:
        """One code; returns when it has its answer, or when nobody is left to give one."""
        if self._scanner is None or self.page is None:
            await asyncio.sleep(RETRY_S)
            return
        lot = f"{self.hand}-{len(self.sent):06d}"
        self.sent.append(lot)
        self._outcome.clear()
        self._scanner.write(f"]C101{GTIN}10{lot}\r\n".encode())
        ends_at = asyncio.get_running_loop().time() + OUTCOME_S
        while lot not in self.ok and lot not in self.refused and self.page is not None:
            assert asyncio.get_running_loop().time() < ends_at, f"{lot} has no answer:\n{tail(self.log)}"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await self._outcome.wait()
            self._outcome.clear()

    async def _plugged_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The agent has opened its scanner."""
        self._scanner = writer
        try:
            while await reader.read(4096):
                pass
        except OSError:
            pass
        finally:
            if self._scanner is writer:
                self._scanner = None
            writer.close()

    # --- the page -----------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look at the station's page for ever, as a browser does."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._look()
            self.page = None
            self._outcome.set()
            await asyncio.sleep(RETRY_S)

    async def _look(self) -> None:
        sock = self.network.socket()
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        reader, writer = await asyncio.open_connection(sock=sock, limit=LONGEST_STATE)
        try:
            host = f"127.0.0.1:{self.port}"
            writer.write(f"GET /stations/dock/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert b" 200 " in (status := await reader.readline()) or not status, status
            first = True
            while line := await reader.readline():
                if line.startswith(b"data: {") and len(line) > 20:  # a beat has nothing in it
                    self._shown(_decode(line[6:]), first)
                    first = False
        finally:
            writer.transport.abort()

    def _shown(self, page: Page, first: bool) -> None:
        """The person reads the page: the newest outcome; and after a restart, what is listed as recorded."""
        if first:
            for entry in page.recorded:
                if entry.lot is not None and entry.lot.startswith(f"{self.hand}-"):
                    self._told_ok(entry.lot, entry.event_id)
        last = page.last
        if last is not None and self.hand in last.code:
            lot = last.code[-len(self.hand) - 7 :]
            if last.outcome == "ok" and last.event_id is not None:
                self._told_ok(lot, last.event_id)
            elif lot not in self.ok:
                self.refused[lot] = f"{last.outcome}: {last.text}"
        self.page = page
        self._outcome.set()

    def _told_ok(self, lot: str, event_id: str) -> None:
        known = self.ok.setdefault(lot, event_id)
        assert known == event_id, f"{lot} was OK as {known} and is now {event_id}"

    async def online(self, within_s: float = START_S) -> None:
        """Wait until the page says that central answers."""
        await eventually_async(
            lambda: self.page is not None and self.page.status.online,
            within_s,
            f"{self.agent} is online; its page: {self.page and self.page.status}; its log:\n{tail(self.log)}",
        )

    async def settled(self, within_s: float = START_S) -> None:
        """Wait until every event in its journal has a verdict."""
        ends_at = asyncio.get_running_loop().time() + within_s
        while self.page is None or self.page.status.queued or not self.page.status.online:
            assert asyncio.get_running_loop().time() < ends_at, (
                f"{self.agent} is not settled after {within_s:g} s: {self.page and self.page.status}\n"
                f"alive: {self.alive}\n{tail(self.log)}"
            )
            await asyncio.sleep(RETRY_S)

    # --- its disk -----------------------------------------------------------------------------------------

    def copy_disk(self, name: str) -> Path:
        """What is on its disk now, file by file; it must not be running."""
        assert not self.alive
        kept = self.folder / name
        shutil.copytree(self.data, kept)
        return kept

    def held(self) -> int:
        """How many events its journal holds."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/journal.db?mode=ro", uri=True)) as journal:
            return int(journal.execute("SELECT count(*) FROM event").fetchone()[0])

    def snapshot_disk(self, name: str) -> Path:
        """What is on its disk at one instant while it works, as a snapshot of the volume would have it."""
        kept = self.folder / name
        shutil.copytree(self.data, kept, ignore=shutil.ignore_patterns("journal.db*"))
        source = sqlite3.connect(f"file:{self.data}/journal.db?mode=ro", uri=True)
        target = sqlite3.connect(kept / "journal.db")
        with contextlib.closing(source), contextlib.closing(target):
            source.backup(target)
        return kept

    def restore_disk(self, kept: Path) -> None:
        """Put an old copy in the place of what is on the disk."""
        assert not self.alive
        shutil.rmtree(self.data)
        shutil.copytree(kept, self.data)

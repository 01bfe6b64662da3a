"""Wires the agent, starts it and ends it. The only place where its parts meet.

The one idea: stations work as soon as the journal is open. Central, the broker and the scanners may all be away; each
comes back by itself.
"""

import asyncio
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from agent import capture, config, http
from agent.config import AgentConfig, DeviceSection
from agent.disk import Disk
from agent.history import KEPT, History
from agent.places import places
from agent.reference import ReferenceData
from agent.shared import Shared
from agent.smoothing import Smoother
from agent.station import Station
from agent.tags import Tags
from agent.tasks import Board
from devices import registry
from devices.driver import Outcome
from devices.errors import DeviceError
from devices.reader import PortStatus, Reader
from devices.reads import BadFrame, Read, TagRead
from service import log, metrics, process, texts, version
from service.config import Listen
from sync import messages
from sync.journal import Journal, JournalError
from sync.mqtt import Settings, SettingsError
from sync.uplink import Uplink

KNOWN = (JournalError, SettingsError, DeviceError)
"""Failures whose text is for people."""
DAY_S: Final = 86_400
STATE_S: Final = 0.5
"""Central hears of the ports at most so often: one on a bad cable changes several times a second."""


def main(path: Path) -> int:
    """Run the agent that this file configures until it is told to stop; the exit status."""
    return process.run(functools.partial(_configure_and_serve, path), known=KNOWN)


async def _configure_and_serve(path: Path) -> int:
    settings = config.load(path)
    log.configure(settings.log.json_lines, settings.log.level)
    return await serve(settings)


async def serve(settings: AgentConfig) -> int:
    """Run the agent; cancel to stop.

    Raises:
        JournalError: the journal cannot be used.
        service.process.Failure: the pages cannot be served at that address.
    """
    agent = settings.agent
    journal = await Journal.open(agent.journal, agent=agent.id, site=agent.site)
    try:
        parts = Agent(settings, journal)
        await parts.load()
        await parts.run()
    finally:
        await journal.close()
    return process.DONE


class Agent:
    """The parts of a running agent, and what flows between them."""

    def __init__(self, settings: AgentConfig, journal: Journal) -> None:
        self.settings, self.journal = settings, journal
        self.version = version.version()
        self.reference = ReferenceData(settings.agent.reference, self._something_new, self._ask)
        self.board = Board(settings.agent.tasks, self._something_new)
        self.history = History()
        self.disk = Disk(journal, self._status_changed)
        self.registry = metrics.create_registry("agent", self.version)
        self._reads = Counter(
            "tallyman_device_reads",
            "What a device read: codes, and every sighting of a tag.",
            ("device",),
            registry=self.registry,
        )
        self._bad_frames = Counter(
            "tallyman_device_bad_frames",
            "What arrived from a device and was no read.",
            ("device",),
            registry=self.registry,
        )
        self._scans = Counter(
            "tallyman_scans",
            "What stations answered to reads.",
            ("station", "outcome"),
            registry=self.registry,
        )
        smoother = Smoother(places(settings))
        shared = Shared(
            site=settings.agent.site,
            journal=journal,
            reference=self.reference,
            board=self.board,
            history=self.history,
            smoother=smoother,
            texts=texts.catalogue(),
            directory=settings.agent.stations,
            boot=capture.boot_id(),
            now=time.time,
            random_bytes=os.urandom,
            on_change=lambda name, at_once: self.pages.changed(name, at_once=at_once),
            on_outcome=self._outcome,
            gs1_anywhere=frozenset(device.name for device in settings.devices if device.gs1_anywhere),
        )
        self.stations = {station.name: Station(station, shared) for station in settings.stations}
        self.tags = Tags(
            smoother,
            settings.agent.tags,
            self.history,
            {name: station.tag for name, station in self.stations.items()},
        )
        self.readers = {
            device.name: Reader(
                device.name,
                device.driver,
                device.port,
                self._ears(device),
                functools.partial(self._port_changed, device.name),
                seen=settings.agent.images / f"{device.name}.jsonl",
            )
            for device in settings.devices
        }
        self.uplink = self._create_uplink()
        self.pages = http.Pages(self.stations, self.reference, self.status, self.disk)
        self._refreshing = False
        self._telling = False
        _gauges(self.registry, journal, self.uplink)
        self.disk.measure(self.registry)

    def _create_uplink(self) -> Uplink:
        mqtt, agent = self.settings.mqtt, self.settings.agent
        return Uplink(
            self.journal,
            Settings(
                url=mqtt.url,
                username=mqtt.username,
                password=mqtt.password,
                ca_file=mqtt.ca_file,
                cert_file=mqtt.cert_file,
                key_file=mqtt.key_file,
            ),
            agent=agent.id,
            site=agent.site,
            software=f"tallyman {self.version}",
            devices=self.devices,
            reference_version=lambda: self.reference.version,
            on_verdict=self._verdict,
            on_reference=self.reference.receive,
            on_tasks=lambda tasks: self.board.receive(tasks, time.monotonic()),
            on_change=self._status_changed,
            retention_s=agent.retention_days * DAY_S,
            keep_newest=KEPT,
            takes=["pick"] if any(one.workflow == "pick" for one in self.settings.stations) else [],
        )

    async def load(self) -> None:
        """What survived: reference data, tasks, choices, and what the journal tells. No network is needed."""
        self.reference.load()
        self.board.load()
        for station in self.stations.values():
            station.load()
        finished = {name: station.choices.finished for name, station in self.stations.items()}
        self.history.restore(await self.journal.recent(KEPT), finished)
        self.tags.load()
        images = frozenset(self.history.images())
        for reader in self.readers.values():
            reader.recall(images)

    async def run(self) -> None:
        """Everything at once, for ever."""
        app = http.create(self.settings, self.pages, self.registry, self.version)
        async with asyncio.TaskGroup() as group:
            for station in self.stations.values():
                group.create_task(station.run())
            group.create_task(self.reference.run())
            group.create_task(self.board.run())
            group.create_task(self.uplink.run())
            group.create_task(self.pages.beat())
            group.create_task(self.disk.run())
            group.create_task(self.tags.run())
            group.create_task(process.serve_http(app, self.settings.http.listen, announce=_announce))
            for reader in self.readers.values():
                group.create_task(reader.run())

    # --- what flows between them --------------------------------------------------------------------------

    def devices(self) -> list[messages.Device]:
        """What the ports say of themselves, for central."""
        return [
            messages.Device(
                name=device.name,
                driver=device.driver,
                port=device.port,
                status=status.status,
                reason=status.reason,
                since=status.since,
            )
            for device in self.settings.devices
            for status in (self.readers[device.name].status,)
        ]

    def status(self, station: str) -> dict[str, object]:
        """Whether what this station does reaches central, and whether its devices work."""
        used = self.stations[station].settings.devices
        return {
            "online": self.uplink.online,
            "journal": self.disk.told(),
            "queued": self.journal.queued,
            "oldest_queued_at": self.journal.oldest_queued_at,
            "reason": self.uplink.reason,
            "leases_passed": self.board.leases_passed(time.monotonic()),
            "devices": [
                {"name": name, "status": status.status, "reason": status.reason}
                for name in used
                for status in (self.readers[name].status,)
            ],
        }

    def _ears(self, device: DeviceSection) -> Callable[[Read], None]:
        """Counts what the device reads, and hands it to its station; tags, to what smooths them."""
        station = self.stations[_user(self.settings, device.name)]
        reads = self._reads.labels(device=device.name)
        bad_frames = self._bad_frames.labels(device=device.name)
        # Tags are read in the air: a damaged frame is no event there, and its tag comes again in a moment. A code
        # that a person scanned must not vanish: the station says so.
        of_tags = registry.DRIVERS[device.driver].tags
        logger, tags = log.get(__name__), self.tags

        def hear(read: Read) -> None:
            if not isinstance(read, BadFrame):
                reads.inc()
                if isinstance(read, TagRead) and read.epc is not None:
                    tags.hear(read)
                else:
                    station.read(read)
                return
            bad_frames.inc()
            if of_tags:
                sample = read.sample.hex(" ")
                logger.debug("no read", device=read.device, reason=read.reason, sample=sample)
            else:
                station.read(read)

        return hear

    def _port_changed(self, device: str, status: PortStatus) -> None:
        self.tags.port_changed(device, status)
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(STATE_S, self._tell_state)
        self._status_changed()

    def _ask(self) -> None:
        self.uplink.ask()

    def _tell_state(self) -> None:
        self._telling = False
        self.uplink.publish_state()

    def _status_changed(self) -> None:
        for name in self.stations:
            self.pages.changed(name, at_once=False)

    def _verdict(self, verdict: messages.Verdict) -> None:
        entry = self.history.verdict(verdict)
        if entry is not None and entry.station in self.stations:
            self.pages.changed(entry.station, at_once=False)

    def _outcome(self, station: str, device: str | None, outcome: Outcome) -> None:
        self._scans.labels(station=station, outcome=outcome).inc()
        if device is not None:
            self.readers[device].feedback(outcome)

    def _something_new(self) -> None:
        """Reference data or tasks: every station looks again, once for all that came together."""
        if not self._refreshing:
            self._refreshing = True
            asyncio.get_running_loop().call_soon(self._refresh)

    def _refresh(self) -> None:
        self._refreshing = False
        for station in self.stations.values():
            station.refresh()


def _user(settings: AgentConfig, device: str) -> str:
    """The station that the device scans for; the configuration was checked for it."""
    return next(station.name for station in settings.stations if device in station.devices)


def _gauges(registry: CollectorRegistry, journal: Journal, uplink: Uplink) -> None:
    queued = Gauge("tallyman_journal_queued", "Events without a verdict from central.", registry=registry)
    queued.set_function(lambda: journal.queued)
    held = Gauge(
        "tallyman_journal_events", "Events in the journal's file, as of the last minute.", registry=registry
    )
    held.set_function(lambda: journal.held)
    pruned = Gauge(
        "tallyman_journal_pruned",
        "Events that were old and settled, let go of since the start.",
        registry=registry,
    )
    pruned.set_function(lambda: journal.pruned)
    online = Gauge("tallyman_uplink_online", "1 while central answers.", registry=registry)
    online.set_function(lambda: int(uplink.online))


def _announce(listen: Listen) -> None:
    address = f"http://{listen.authority}/"
    log.get(__name__).info("serving stations", address=address)
    process.ready(f"serving stations at {address}")

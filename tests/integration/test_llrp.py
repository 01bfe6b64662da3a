"""LLRP end to end: one client at a time, what waits for the next, hanging up, TLS, and finding a reader."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice

import pytest

from devices import PortStatus, Read, Reader
from devices.finding.asking import Service, ask_host
from devices.reads import TagRead
from simulators.hardware.device import Thing
from simulators.hardware.llrp import Llrp
from simulators.hardware.rig import Rig
from simulators.hardware.things import make
from simulators.hardware.transports.certificate import Certificate
from tests.support.readers import at_work
from tests.support.wait import eventually_async

MESSAGE_HEADER = 10


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig("llrp", "tcp:0", seed=3) as running:
        yield running


@pytest.fixture(scope="module")
def certificate() -> Iterator[Certificate]:
    with Certificate() as made:
        yield made


class Listener:
    """A reader at work, and what it tells."""

    def __init__(self, url: str) -> None:
        self.reads: list[Read] = []
        self.statuses: list[PortStatus] = []
        self.reader = Reader("gate", "llrp", url, self.reads.append, self.statuses.append, jitter=lambda: 0.9)

    @property
    def epcs(self) -> set[str]:
        return {read.epc.hex().upper() for read in self.reads if isinstance(read, TagRead) and read.epc}

    async def until(self, status: str, reason: str = "") -> PortStatus:
        def told() -> PortStatus | None:
            last = self.reader.status
            return last if last.status == status and reason in (last.reason or "") else None

        found = await eventually_async(told, 15, f"{status}: {reason} in {self.statuses}")
        assert found is not None
        return found


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Listener]:
    listener = Listener(url)
    async with at_work(listener.reader):
        yield listener


def tags(count: int) -> list[Thing]:
    return list(islice(make("epc", seed=5), count))


def reader_of(rig: Rig) -> Llrp:
    assert isinstance(rig.device, Llrp)
    return rig.device


async def test_the_second_client_is_told_why_and_gets_in_when_the_first_has_gone(rig: Rig) -> None:
    async with listening(rig.url) as first:
        await first.until("online")
        async with listening(rig.url) as second:
            told = await second.until("failed")
            assert told.reason is not None and "serves another client" in told.reason
            await first.until("online", "another client tried to connect")
    async with listening(rig.url) as third:
        await third.until("online")


async def test_options_reach_the_reader_and_goodbye_removes_the_rospec(rig: Rig) -> None:
    device = reader_of(rig)
    async with listening(f"{rig.url}?antennas=2,3&power_dbm=20&session=2") as listener:
        await listener.until("online")
        [spec] = device.rospecs.values()
        assert (spec.antennas, spec.power, spec.session, spec.every) == ((2, 3), 41, 2, 1)
        assert device.keepalive_s == 5 and device.events == {2, 3, 4, 8}
        rig.see(*(Thing(epc=tag.epc) for tag in tags(3)))
        await eventually_async(lambda: len(listener.epcs) == 3)
        assert {read.antenna for read in listener.reads if isinstance(read, TagRead)} == {2}
        assert all(read.frequency_khz for read in listener.reads if isinstance(read, TagRead))
    await eventually_async(lambda: rig.open_for_s() is None)
    assert device.rospecs == {}


async def test_what_the_reader_cannot_do_is_a_reason(rig: Rig) -> None:
    async with listening(f"{rig.url}?antennas=9") as listener:
        await listener.until("failed", "the reader has 4 antennas: take 9 out of option antennas")


@pytest.mark.parametrize("hold", ["yes", "no"])
async def test_tags_that_came_while_nobody_was_there_are_read_by_the_next(hold: str) -> None:
    with Rig("llrp", "tcp:0", options={"hold": hold}) as rig:
        async with listening(rig.url) as first:
            await first.until("online")
        await eventually_async(lambda: rig.open_for_s() is None)
        shown = rig.see(*tags(20))
        async with listening(rig.url) as second:
            await eventually_async(lambda: len(second.epcs) == len(shown))


async def test_who_does_not_acknowledge_is_hung_up_on(rig: Rig) -> None:
    with socket.create_connection((rig.place.split(":")[0], int(rig.place.split(":")[1]))) as client:
        client.settimeout(5)
        keepalive = struct.pack(">BHHBI", 0, 220, 9, 1, 20)
        client.sendall(struct.pack(">HII", 0x0403, MESSAGE_HEADER + len(keepalive), 1) + keepalive)
        heard = bytearray()

        def until_the_end() -> None:
            with suppress(ConnectionResetError):
                while data := client.recv(4096):
                    heard.extend(data)

        await asyncio.to_thread(until_the_end)
    assert heard.count(b"\x04\x3e\x00\x00\x00\x0a") == 3
    async with listening(rig.url) as listener:
        await listener.until("online")


# --- TLS ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def encrypted(rig: Rig, certificate: Certificate) -> AsyncIterator[int]:
    """The reader behind a port that speaks TLS."""
    host, _, number = rig.place.rpartition(":")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(host, int(number))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, behind_writer), pump(behind_reader, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file, certificate.key)
    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_reader_is_read_over_tls(rig: Rig, certificate: Certificate) -> None:
    shown = tags(50)
    async with encrypted(rig, certificate) as number:
        async with listening(f"tcp://localhost:{number}?tls=yes&ca_file={certificate.file}") as listener:
            assert (await listener.until("online")).reason is None
            rig.see(*shown)
            await eventually_async(lambda: len(listener.epcs) == len(shown))
            rig.unplug(0.2)
            await listener.until("failed", "ended the connection")
            await listener.until("online")
        await eventually_async(lambda: rig.open_for_s() is None)
    assert reader_of(rig).rospecs == {}


async def test_who_answers_over_tls_is_checked_unless_told_otherwise(
    rig: Rig, certificate: Certificate
) -> None:
    async with encrypted(rig, certificate) as number:
        async with listening(f"tcp://localhost:{number}?tls=yes") as listener:
            await listener.until("failed", "its certificate is not trusted")
        async with listening(f"tcp://localhost:{number}?tls=yes&verify=no") as listener:
            await listener.until("online", "verify=no: nobody knows who answers there")


async def test_a_port_without_tls_says_so(rig: Rig) -> None:
    async with listening(f"{rig.url}?tls=yes") as listener:
        await listener.until("failed", "does not speak TLS (WRONG_VERSION_NUMBER): take its port for TLS")


# --- finding one --------------------------------------------------------------------------------------------------


async def test_a_reader_is_found_by_its_own_name(rig: Rig) -> None:
    service = Service(int(rig.place.rpartition(":")[2]), "LLRP", ("llrp",), "llrp", "likely")
    [found] = await ask_host("127.0.0.1", lambda _: None, (service,), https=9)
    assert (found.driver, found.sure) == ("llrp", "sure")
    assert "Impinj Speedway R420, 5.14.0.240" in (found.why or "")

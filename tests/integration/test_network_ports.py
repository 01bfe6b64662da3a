"""Ports on the network against real servers: a reader's web server, and mosquitto; and all that goes wrong."""

import asyncio
import gc
import logging
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from devices import PortStatus, Read, Reader
from devices.ports import mqtt_feed, tcp
from devices.reads import BadFrame
from simulators.hardware.device import Thing
from simulators.hardware.rig import Rig
from simulators.hardware.things import make
from simulators.hardware.transports.certificate import Certificate
from tests.support.broker import Broker
from tests.support.mqtt import Ear
from tests.support.wait import eventually_async

PASSWORD = "hunter2-Größe"
EVENT = b'{"eventType":"tagInventory","tagInventoryEvent":{"epcHex":"%b"}}\n'


class Listener:
    """A reader at work, and what it tells."""

    def __init__(self, driver: str, url: str) -> None:
        self.reads: list[Read] = []
        self.statuses: list[PortStatus] = []
        self.reader = Reader("gate", driver, url, self.reads.append, self.statuses.append, jitter=lambda: 0.9)

    @property
    def epcs(self) -> list[str]:
        assert not [read for read in self.reads if isinstance(read, BadFrame)]
        return [read.epc.hex() for read in self.reads if getattr(read, "epc", None)]

    def told(self, status: str, reason: str = "") -> bool:
        return any(each.status == status and reason in (each.reason or "") for each in self.statuses)

    async def until(self, status: str, reason: str = "") -> None:
        await eventually_async(
            lambda: self.told(status, reason), 15, f"{status}: {reason} in {self.statuses}"
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Listener"]:
        running = asyncio.create_task(self.reader.run())
        try:
            yield self
        finally:
            running.cancel()
            begin = asyncio.get_running_loop().time()
            await asyncio.gather(running, return_exceptions=True)
            assert asyncio.get_running_loop().time() - begin < 3, "closing is prompt"


def tags(count: int) -> list[Thing]:
    return list(islice(make("epc", seed=7), count))


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


@asynccontextmanager
async def simulated(port: str, kind: str = "impinj-r700", **options: str) -> AsyncIterator[Rig]:
    rig = await asyncio.to_thread(lambda: Rig(kind, port, seed=1, options=options))
    try:
        yield rig
    finally:
        await asyncio.to_thread(rig.close)


# --- a reader's web server ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_reader_is_asked_stopped_started_read_and_stopped_again(scheme: str) -> None:
    async with simulated(f"{scheme}:0", power_up="running") as rig:
        url = rig.url + ("&" if "?" in rig.url else "?")
        async with Listener("impinj-r700", f"{url}antennas=1,2&power_dbm=24").run() as listener:
            await listener.until("online")
            await eventually_async(lambda: rig.device.running, 5)
            assert [each["antennaPort"] for each in rig.device.inventory["antennaConfigs"]] == [1, 2]
            shown = rig.see(*tags(300))
            await eventually_async(lambda: len(listener.epcs) == 300, 10)
            assert listener.epcs == [thing.epc.lower() for thing in shown if thing.epc]
            assert bool(listener.reader.status.reason) == (scheme == "https"), (
                "verify=no is told all the time"
            )
        assert not rig.device.running, "whoever goes stops the inventory"
        await eventually_async(lambda: rig.heard.count(b"\n") == 5, 5, "the rig wrote down what it was asked")
        paths = [line.split('"path": "')[1].split('"')[0] for line in rig.heard.decode().splitlines()]
        assert paths == [
            "/api/v1/system",
            "/api/v1/profiles/stop",
            "/api/v1/data/stream",
            "/api/v1/profiles/inventory/start",
            "/api/v1/profiles/stop",
        ]


async def test_tags_that_were_there_before_the_inventory_began_are_read() -> None:
    async with simulated("https:0", power_up="stopped") as rig:
        rig.see(*tags(5))
        async with Listener("impinj-r700", rig.url).run() as listener:
            await eventually_async(lambda: len(listener.epcs) == 5, 10)


async def test_a_reader_that_loses_power_is_started_again() -> None:
    async with (
        simulated("https:0", power_up="stopped") as rig,
        Listener("impinj-r700", rig.url).run() as listener,
    ):
        await eventually_async(lambda: rig.device.running, 10)
        await asyncio.to_thread(rig.unplug, 0.3)
        await listener.until("failed")
        await eventually_async(lambda: rig.device.running, 15)
        await asyncio.to_thread(rig.wait_open, 5)
        rig.see(*tags(1))
        await eventually_async(lambda: listener.epcs, 10)


async def test_its_certificate_is_trusted_where_the_port_names_it() -> None:
    async with simulated("https:0") as rig:
        url = f"https://localhost:{rig.transport.address[1]}?ca_file={rig.transport.certificate}"
        async with Listener("impinj-r700", url).run() as listener:
            await listener.until("online")
            assert listener.reader.status.reason is None


async def test_a_certificate_that_nobody_vouches_for_is_refused_with_what_to_do() -> None:
    async with (
        simulated("https:0") as rig,
        Listener("impinj-r700", rig.url.replace("?verify=no", "")).run() as listener,
    ):
        await listener.until("failed", "self-signed certificate")
        assert listener.told("failed", "ca_file=") and listener.told("failed", "verify=no")
        assert not rig.heard


async def test_a_certificate_of_another_name_is_refused() -> None:
    async with simulated("https:0") as rig:
        url = f"https://127.0.0.2:{rig.transport.address[1]}?ca_file={rig.transport.certificate}"
        async with Listener("impinj-r700", url).run() as listener:
            await listener.until("failed")
            assert listener.told("failed", "mismatch") or listener.told("failed", "refused")


async def test_the_password_comes_from_its_file_and_is_read_anew(password_file: Path) -> None:
    async with simulated("https:0", user="root", password=PASSWORD) as rig:
        password_file.write_text("wrong")
        url = f"{rig.url}&user=root&password_file={password_file}"
        async with Listener("impinj-r700", url).run() as listener:
            await listener.until("failed", f"check user=, and the password in {password_file}")
            password_file.write_text(PASSWORD)
            await listener.until("online")
            assert listener.told("failed", "'root'") and not listener.told("failed", "wrong")


async def test_a_reader_that_wants_a_password_says_so() -> None:
    async with (
        simulated("https:0", user="root", password=PASSWORD) as rig,
        Listener("impinj-r700", rig.url).run() as listener,
    ):
        await listener.until("failed", "add user=NAME and password_file=")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"", "empty"), (b"\xff\xfe", "not UTF-8"), (b"x" * 65_536, "too large")],
)
async def test_a_password_file_that_cannot_be_used_is_named(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    url = f"https://127.0.0.1:1?user=root&password_file={path}"
    async with Listener("impinj-r700", url).run() as listener:
        await listener.until("failed", reason)
        assert listener.told("failed", str(path))


async def test_a_password_may_be_a_systemd_credential(
    password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with simulated("https:0", user="root", password=PASSWORD) as rig:
        url = f"{rig.url}&user=root&password_file={password_file.name}"
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        async with Listener("impinj-r700", url).run() as listener:
            await listener.until("failed", "LoadCredential=")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(password_file.parent))
        async with Listener("impinj-r700", url).run() as listener:
            await listener.until("online")


async def test_no_secret_is_logged_or_told(password_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with simulated("https:0", user="root", password=PASSWORD) as rig:
        for user in ("root", "nobody"):
            url = f"{rig.url}&user={user}&password_file={password_file}"
            async with Listener("impinj-r700", url).run() as listener:
                await listener.until("online" if user == "root" else "failed")
                told = repr(listener.statuses) + caplog.text
                assert "hunter2" not in told and "aHVudGVyMi" not in told and "cm9vdDpod" not in told


async def test_an_installer_sees_reads_and_no_password(password_file: Path) -> None:
    async with simulated("https:0", user="root", password=PASSWORD, power_up="stopped") as rig:
        url = f"{rig.url}&user=root&password_file={password_file}"
        rig.see(*tags(1))
        command = ("-m", "tallyman", "read", "--driver", "impinj-r700", "--port", url, "--count", "1")
        pipe = asyncio.subprocess.PIPE
        reading = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=pipe, stderr=pipe)
        out, err = (text.decode() for text in await reading.communicate())
        assert reading.returncode == 0, err
        assert str(tags(1)[0].epc) in out
        assert "verify=no" in err and "hunter2" not in out + err
        assert not rig.device.running, "the reader was told goodbye"


# --- servers that are not what they should be -----------------------------------------------------------------

Handler = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers as it is told to: path → the bytes of the whole answer, or a handler."""

    def __init__(self, answers: dict[str, bytes | Handler]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.url = ""
        self._connections: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def run(self, context: ssl.SSLContext | None = None) -> AsyncIterator["Server"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections.copy():
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().splitlines()
                sizes = [line for line in lines if line.lower().startswith("content-length:")]
                self.bodies.append(await reader.readexactly(int(sizes[0].split(":")[1]) if sizes else 0))
                self.asked.append(first.rsplit(" ", 1)[0])
                answer = self.answers.get(self.asked[-1], NO_CONTENT)
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(first, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()


def answered(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunks(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies)


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = "GET /api/v1/data/stream"
START = "POST /api/v1/profiles/inventory/start"


@pytest.mark.parametrize(
    ("asked", "answer", "reasons"),
    [
        (STREAM, answered("404 Not Found", b'{"message":"no such"}'), ["has no /api/v1/data/stream", "no such"]),
        (STREAM, answered("302 Found", b"", "Location: https://elsewhere/"), ["sends us on to", "elsewhere"]),
        (START, answered("307 Temporary Redirect", b"", "Location: \x1b[2J"), ["sends us on to"]),
        (START, answered("400 Bad Request", b'{"message":"power \\u001b[2J"}'), ["refused starting", "\\x1b"]),
        (START, answered("403 Forbidden"), ["forbids starting the inventory"]),
        (START, answered("500 Internal Server Error", b"<html>"), ["refused starting the inventory (500)"]),
        (START, answered("200 OK", b"x" * 70_000), ["more than 65536 bytes"]),
        ("GET /api/v1/system", answered("401 Unauthorized"), ["add user=NAME"]),
        (STREAM, answered("200 OK", b"x", "Content-Encoding: gzip"), ["compresses"]),
        (STREAM, b"SSH-2.0-OpenSSH\r\n\r\n", ["cannot be reached"]),
        ("GET /api/v1/system", b"", ["did not answer within 1 s"]),
        (START, b"", ["did not answer within 1 s"]),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_in_plain_words(asked: str, answer: bytes, reasons: list[str]) -> None:
    async with (
        Server({STREAM: HEAD, asked: answer}).run() as server,
        Listener("impinj-r700", f"{server.url}?connect_s=1").run() as listener,
    ):
        await listener.until("failed")
        for reason in reasons:
            assert listener.told("failed", reason), listener.statuses
        assert all((each.reason or "").isprintable() for each in listener.statuses)


async def test_what_a_reader_need_not_know_is_not_missed() -> None:
    refused = answered("409 Conflict", b'{"message":"nothing runs"}')
    answers: dict[str, bytes | Handler] = {
        "GET /api/v1/system": answered("404 Not Found"),
        "POST /api/v1/profiles/stop": refused,
        STREAM: HEAD + chunks(EVENT % b"E2801160"),
    }
    async with Server(answers).run() as server, Listener("impinj-r700", server.url).run() as listener:
        await eventually_async(lambda: listener.epcs == ["e2801160"], 5)


async def test_a_stream_whose_head_comes_with_its_first_event_is_read_too() -> None:
    started = asyncio.Event()

    async def start(_first: str, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(NO_CONTENT)
        started.set()

    async def stream(_first: str, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await started.wait()
        writer.write(HEAD + chunks(EVENT % b"E2801160"))

    async with (
        Server({STREAM: stream, START: start}).run() as server,
        Listener("impinj-r700", server.url).run() as listener,
    ):
        await eventually_async(lambda: listener.epcs == ["e2801160"], 10)


@pytest.mark.parametrize(
    ("rest", "reason"),
    [(b"0\r\n\r\n", "ended the stream"), (b"", "broke off"), (b"nonsense\r\n", "broke off")],
)
async def test_the_end_of_a_stream_is_the_end_of_the_port_and_half_an_event_is_none(
    rest: bytes, reason: str
) -> None:
    async def stream(_first: str, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunks(EVENT % b"E2801160", (EVENT % b"E2801161")[:40]) + rest)
        await writer.drain()
        raise ConnectionError

    async with (
        Server({STREAM: stream}).run() as server,
        Listener("impinj-r700", server.url).run() as listener,
    ):
        await listener.until("failed", reason)
        first, half = listener.reads[:2]
        assert not isinstance(first, BadFrame) and isinstance(half, BadFrame)


async def test_a_silent_stream_ends_where_the_port_says_so() -> None:
    async with (
        Server({STREAM: HEAD}).run() as server,
        Listener("impinj-r700", f"{server.url}?idle_s=1").run() as listener,
    ):
        await listener.until("online")
        await listener.until("failed", "nothing for 1 s")


async def test_tls_where_nobody_speaks_it_and_a_port_where_nobody_listens() -> None:
    async with Server({}).run() as server:
        url = server.url.replace("http:", "https:")
        async with Listener("impinj-r700", f"{url}?connect_s=2").run() as listener:
            await listener.until("failed")
            assert listener.told("failed", "TLS failed") or listener.told("failed", "did not answer")
    async with Listener("impinj-r700", server.url).run() as listener:
        await listener.until("failed", "connection refused")


async def test_a_goodbye_that_is_not_answered_holds_nobody_up() -> None:
    async def silence(_first: str, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with Server({STREAM: HEAD}).run() as server, Listener("impinj-r700", server.url).run() as listener:
        await listener.until("online")
        server.answers["POST /api/v1/profiles/stop"] = silence


async def test_a_slow_host_makes_the_reader_wait_and_loses_nothing() -> None:
    sent = 0
    line = EVENT % b"E2801160"

    async def stream(_first: str, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD)
        while sent < 200_000:
            writer.write(chunks(line * 100))
            await writer.drain()
            sent += 100

    reads = 0
    held: list[int] = []

    def count(_read: Read) -> None:
        nonlocal reads
        reads += 1
        held.append(sent - reads)

    async with Server({STREAM: stream}).run() as server:
        reader = Reader("gate", "impinj-r700", server.url, count, lambda _: None)
        running = asyncio.create_task(reader.run())
        await eventually_async(lambda: reads == 200_000, 60)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    # What fits into the sockets' buffers, asyncio's and one read: some megabytes, not the 14 that were sent.
    assert max(held) * len(line) < 8_000_000


@pytest.mark.parametrize(
    ("driver", "scheme", "option"),
    [("llrp", "tcp", "tls=yes"), ("zebra-iotc", "mqtts", "topic=a")],
)
async def test_whoever_stops_may_do_so_at_any_moment(
    driver: str, scheme: str, option: str, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(1000):
                pass
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file, certificate.key)
    async with await asyncio.start_server(silence, "127.0.0.1", 0, ssl=context) as server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for turns in range(80):
            reader = Reader(
                "gate",
                driver,
                f"{scheme}://{place}?ca_file={certificate.file}&{option}",
                lambda _: None,
                lambda _: None,
            )
            running = asyncio.create_task(reader.run())
            for _ in range(turns):
                await asyncio.sleep(0.001 if turns % 2 else 0)
            running.cancel()
            [end] = await asyncio.gather(running, return_exceptions=True)
            assert isinstance(end, asyncio.CancelledError)
        await asyncio.sleep(0.2)
    gc.collect()
    assert not caplog.records


# --- a broker -------------------------------------------------------------------------------------------------


def zebra(number: int, epc: str = "E2801160") -> bytes:
    return b'{"type":"SIMPLE","timestamp":"t","data":{"eventNum":%d,"idHex":"%b"}}' % (number, epc.encode())


@pytest.fixture
async def ear(broker: Broker) -> AsyncIterator[Ear]:
    ear = await Ear(broker.port, "nothing").ready()
    yield ear
    ear.close()


@pytest.fixture
def certificate() -> Iterator[Certificate]:
    with Certificate() as certificate:
        yield certificate


async def test_what_is_published_is_read_also_in_pieces(broker: Broker, ear: Ear) -> None:
    async with Listener("zebra-iotc", f"{broker.url}?topic=readers/+/tags").run() as listener:
        await listener.until("online")
        ear.say("readers/dock-1/tags", zebra(1) + zebra(2, "E2801161")[:20])
        ear.say("readers/dock-1/tags", zebra(2, "E2801161")[20:])
        ear.say("readers/dock-1/other", zebra(3))
        await eventually_async(lambda: listener.epcs == ["e2801160", "e2801161"], 5)
        assert listener.reader.status.reason is None


async def test_a_simulated_reader_publishes(broker: Broker) -> None:
    async with (
        simulated(f"mqtt:127.0.0.1:{broker.port}/dock/1", "zebra-iotc", model="sled") as rig,
        Listener("zebra-iotc", rig.url).run() as listener,
    ):
        await listener.until("online")
        rig.see(*tags(50))
        await eventually_async(lambda: len(listener.epcs) == 50, 10)


async def test_a_broker_that_goes_ends_the_port_and_one_that_comes_back_is_used(broker: Broker) -> None:
    async with Listener("zebra-iotc", f"{broker.url}?topic=a").run() as listener:
        await listener.until("online")
        await asyncio.to_thread(broker.kill)
        await listener.until("failed", "the connection to the broker")
        await listener.until("failed", "connection refused")
        listener.statuses.clear()
        await asyncio.to_thread(broker.start)
        await listener.until("online")
        ear = await Ear(broker.port, "nothing").ready()
        ear.say("a", zebra(1))
        await eventually_async(lambda: listener.epcs, 5)
        ear.close()


async def test_a_broker_with_tls_and_passwords(certificate: Certificate, password_file: Path) -> None:
    access = "cafile {directory}/cert\ncertfile {directory}/cert\nkeyfile {directory}/key\n"
    access += "allow_anonymous false\npassword_file {directory}/users"
    files = {
        "cert": certificate.file.read_text(),
        "key": certificate.key.read_text(),
        "users": f"dock:{PASSWORD}\n",
    }
    broker = Broker(access, files)
    users = Path(str(getattr(broker, "_directory"))) / "users"  # noqa: B009
    hashing = await asyncio.create_subprocess_exec("mosquitto_passwd", "-U", str(users))
    assert await hashing.wait() == 0
    users.chmod(0o644)
    try:
        await asyncio.to_thread(broker.start)
        url = f"mqtts://127.0.0.1:{broker.port}?topic=a"
        ca = f"&ca_file={certificate.file}"
        login = f"&user=dock&password_file={password_file}"
        async with Listener("zebra-iotc", f"{url}{ca}{login}").run() as listener:
            await listener.until("online")
            assert listener.reader.status.reason is None
        async with Listener("zebra-iotc", f"{url}&verify=no{login}").run() as listener:
            await listener.until("online", "verify=no")
        for wrong, reason in (
            (f"{url}{login}", "self-signed certificate"),
            (f"{url}{ca}", "wants a user and a password"),
            (f"{url}{ca}{login.replace('dock', 'lock')}", f"the password in {password_file}"),
            (f"mqtt://127.0.0.1:{broker.port}?topic=a&connect_s=1", "the broker at"),
        ):
            async with Listener("zebra-iotc", wrong).run() as listener:
                await listener.until("failed", reason)
                assert "hunter2" not in repr(listener.statuses)
    finally:
        await asyncio.to_thread(broker.close)


def packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([kind, len(body)]) + body


@pytest.mark.parametrize("polite", [True, False])
async def test_a_broker_that_knows_only_mqtt_3_is_spoken_to_in_it(polite: bool) -> None:
    versions: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connect = await reader.read(1000)
            versions.append(connect[8])
            if versions[-1] != 4:
                # MQTT 3.1.1 §3.1.2.2: return code 1, and hang up; some only hang up.
                writer.write(packet(0x20, b"\x00\x01") if polite else b"")
                await writer.drain()
                return
            writer.write(packet(0x20, b"\x00\x00"))
            subscribe = await reader.read(1000)
            writer.write(packet(0x90, subscribe[2:4] + b"\x01"))
            writer.write(packet(0x30, b"\x00\x01a" + zebra(1)))
            await reader.read(1000)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}?topic=a"
        async with Listener("zebra-iotc", url).run() as listener:
            await listener.until("online")
            await eventually_async(lambda: listener.epcs, 5)
    assert versions[:2] == [5, 4]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((packet(0x20, b"\x00\x00\x00"), b"\x90\x04%b\x00\x87"), "refused the subscription to 'a'"),
        ((packet(0x20, b"\x00\x88\x00"),), "refused the connection"),
        ((packet(0x20, b"\x00\x00\x00"), b""), "did not answer"),
    ],
)
async def test_what_a_broker_refuses_is_told(answers: Sequence[bytes], reason: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in answers:
                asked = await reader.read(1000)
                writer.write(answer.replace(b"%b", asked[2:4]))
            while await reader.read(1000):
                pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}?topic=a&connect_s=1"
        async with Listener("zebra-iotc", url).run() as listener:
            await listener.until("failed", reason)


def remaining_length(size: int) -> bytes:
    """As MQTT 5.0 §1.5.5 writes it."""
    return bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21])


@asynccontextmanager
async def rogue(
    then: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A broker that confirms a subscription, and then does what none should."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(1000)
            writer.write(packet(0x20, b"\x00\x00\x00"))
            asked = await reader.read(1000)
            writer.write(packet(0x90, asked[2:4] + b"\x00\x01"))
            await then(reader, writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, limit=100) as server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}?topic=a"


async def test_a_packet_without_end_is_not_taken() -> None:
    async def announce(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x30" + remaining_length(200_000_000) + b"\x00\x01a\x00")
        await reader.read(1000)

    async with rogue(announce) as url, Listener("zebra-iotc", url).run() as listener:
        await listener.until("failed", "sent a message of 200000000 bytes")


async def test_a_broker_that_takes_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = tcp.connect

    async def narrow(host: str, number: int, limit_s: float) -> socket.socket:
        connection = await connect(host, number, limit_s)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        return connection

    monkeypatch.setattr(tcp, "connect", narrow)
    over = asyncio.Event()

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        # Each of these must be acknowledged, and no acknowledgement is read.
        while not over.is_set():
            writer.write(packet(0x32, b"\x00\x01a\x00\x01\x00{}") * 100)
            with suppress(TimeoutError):
                await asyncio.wait_for(writer.drain(), 0.1)
        writer.transport.abort()

    async with rogue(flood) as url:
        async with Listener("zebra-iotc", url).run() as listener:
            await listener.until("online")
            await eventually_async(lambda: len(listener.reads) > 5_000, 20)
        over.set()
        await asyncio.sleep(0.2)


async def test_who_stops_need_not_wait_for_tls() -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(1000):
                came.set()
        gone.set()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        url = f"mqtts://127.0.0.1:{server.sockets[0].getsockname()[1]}?topic=a"
        async with Listener("zebra-iotc", url).run():
            await asyncio.wait_for(came.wait(), 5)
        await asyncio.wait_for(gone.wait(), 1)


async def test_messages_that_come_too_fast_or_are_too_large_are_dropped_and_told(
    broker: Broker, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_feed, "MAX_WAITING", 10)
    async with Listener("zebra-iotc", f"{broker.url}?topic=a").run() as listener:
        await listener.until("online")
        ear.say("a", b" " * (mqtt_feed.MAX_MESSAGE + 1))
        ear.say("a", zebra(1))
        await listener.until("online", f"1 messages of more than {mqtt_feed.MAX_MESSAGE} bytes were dropped")
        for number in range(2, 102):
            ear.say("a", zebra(number, f"E2{number:06X}"))
        blocked = asyncio.get_running_loop().time() + 1.5
        while asyncio.get_running_loop().time() < blocked:  # the loop is busy: nobody takes what waits
            pass
        await listener.until("online", "were dropped: they came faster than they could be read")
        await eventually_async(lambda: "e2000065" in listener.epcs, 5, "the newest is kept")
        assert len(listener.epcs) <= 12

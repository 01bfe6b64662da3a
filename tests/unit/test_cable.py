"""The cable between two plain TCP ends."""

import asyncio
import contextlib

import pytest

from simulators import cable
from simulators.cable import Cable


@contextlib.asynccontextmanager
async def echo_behind_a_cable():
    """(cable, its port, the echo server): whatever is sent comes back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    between = Cable("127.0.0.1", server.sockets[0].getsockname()[1])
    port = await between.start()
    try:
        yield between, port, server
    finally:
        await between.close()
        server.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bytes:
    writer.write(data)
    await writer.drain()
    async with asyncio.timeout(5):
        return await reader.readexactly(len(data))


async def test_carries_both_ways_and_the_end():
    async with echo_behind_a_cable() as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ask(reader, writer, b"hello") == b"hello"
        big = bytes(range(256)) * 4096
        assert (await asyncio.gather(reader.readexactly(len(big)), send(writer, big)))[0] == big
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def assert_refused(port: int) -> None:
    """A new connection ends at once: on connecting or on reading, as the kernel likes."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(5):
                assert await reader.read(1) == b""
        finally:
            writer.close()


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_a_cut_resets_what_is_open_and_what_is_new_until_healed():
    async with echo_behind_a_cable() as (between, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ask(reader, writer, b"before") == b"before"
        await between.cut()
        assert between.connections == 0
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
        await assert_refused(port)
        between.heal()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ask(reader, writer, b"after") == b"after"
        writer.close()


async def test_silence_holds_everything_back_and_loses_nothing():
    async with echo_behind_a_cable() as (between, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ask(reader, writer, b"before") == b"before"
        await between.cut("silence")
        await send(writer, b"during")
        late_reader, late_writer = await asyncio.open_connection("127.0.0.1", port)
        await send(late_writer, b"late")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(1)
        between.heal()
        async with asyncio.timeout(5):
            assert await reader.readexactly(6) == b"during"
            assert await late_reader.readexactly(4) == b"late"
        writer.close()
        late_writer.close()


async def test_what_it_holds_is_bounded():
    async with echo_behind_a_cable() as (between, port, _server):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.set_write_buffer_limits(high=0)
        await between.cut("silence")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await send(writer, bytes(64 * 1024 * 1024))
        assert between.bytes_carried == 0
        writer.transport.abort()


async def test_more_connections_than_the_bound_are_reset(monkeypatch):
    monkeypatch.setattr(cable, "CONNECTIONS_MOST", 1)
    async with echo_behind_a_cable() as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ask(reader, writer, b"one") == b"one"
        await assert_refused(port)
        assert await ask(reader, writer, b"still") == b"still"
        writer.close()


async def test_a_far_side_that_is_not_there_is_a_reset():
    async with echo_behind_a_cable() as (between, port, server):
        server.close()
        await server.wait_closed()
        await assert_refused(port)
        assert between.connections == 0


async def test_the_far_side_ending_ends_the_near_one():
    async def rude(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    between = Cable("127.0.0.1", server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", await between.start())
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    await between.close()
    server.close()

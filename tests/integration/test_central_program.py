"""The whole program: it starts without a broker, hears agents when there is one, says what is wrong, ends cleanly."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from central import build, cli, config
from central.opening import DATABASE_TRIES, prepare
from service.config import ConfigError, Listen
from service.process import Failure
from tests.support.broker import Broker
from tests.support.programs import free_port
from tests.support.wait import eventually_async


def write_config(folder: Path, database_url: str, broker_url: str = "mqtt://127.0.0.1:1") -> Path:
    path = folder / "central.toml"
    path.write_text(
        f'[database]\nurl = "{database_url}"\n[mqtt]\nurl = "{broker_url}"\n[http]\nlisten = "127.0.0.1:0"\n'
    )
    return path


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[str]:
    """The program in this process, until the block ends; gives its address."""
    listening: asyncio.Future[Listen] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(build.run(config.load(path), announce=listening.set_result))
    try:
        done, _ = await asyncio.wait([task, listening], return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert listening in done, f"central did not come up: {task}"
        yield f"http://{listening.result().authority}"
    finally:
        task.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 5, "it ends in time"


def token(capsys: pytest.CaptureFixture[str], path: Path, role: str = "operate") -> str:
    assert cli.create_token(path, role, "shop") == 0
    out, told = capsys.readouterr()
    assert "only time" in told
    return out.split()[-1]  # central may log to the same stream


async def test_a_broker_that_is_away_is_not_fatal(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, database_url)
    async with running(path) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:
        health = (await client.get("/healthz")).json()
        assert health == {"status": "ok", "database": "online", "broker": "away"}
        bearer = {"Authorization": f"Bearer {await asyncio.to_thread(token, capsys, path)}"}
        assert (await client.put("/v1/items/A", json={"name": "x"}, headers=bearer)).status_code == 201
        measured = (await client.get("/metrics")).text
        assert "tallyman_broker_up 0.0" in measured
        assert "tallyman_ledger_commands_total" in measured
    async with running(path) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:
        assert (await client.get("/v1/items/A", headers=bearer)).status_code == 200, "kept over a restart"


async def test_it_listens_once_the_broker_is_there(tmp_path: Path, broker: Broker) -> None:
    path = write_config(tmp_path, f"sqlite:///{tmp_path}/central.db", broker.url)
    async with running(path) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:

        async def online() -> bool:
            return bool((await client.get("/healthz")).json()["broker"] == "online")

        await eventually_async(online, 10)
        broker.stop()
        await eventually_async(lambda: _is(online, expected=False), 10)


async def _is(question: Callable[[], Any], *, expected: bool) -> bool:
    return bool(await question() == expected)


async def test_open_streams_do_not_hold_up_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, f"sqlite:///{tmp_path}/central.db")
    secret = await asyncio.to_thread(token, capsys, path)
    async with httpx2.AsyncClient(timeout=10) as client:
        async with running(path) as url:
            bearer = {"Authorization": f"Bearer {secret}"}
            request = client.build_request("GET", f"{url}/v1/events", headers=bearer)
            answer = await client.send(request, stream=True)
            assert answer.status_code == 200
        await answer.aclose()


async def test_a_database_that_is_away_is_waited_for_and_then_named() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    url = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/central"
    engine = build.open_engine(url)
    with pytest.raises(Failure) as raised:
        await prepare(engine, url, sleep)
    assert url in str(raised.value)
    assert "[database] url" in str(raised.value)
    assert waited == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert len(waited) == DATABASE_TRIES - 1


def test_everything_wrong_with_the_configuration_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "central.toml"
    path.write_text(
        '[database]\nurl = "postgresql://me:hunter2@db/central"\n[mqtt]\nurl = "http://broker"\n'
        '[http]\nlisten = "8480"\nrequests_per_s = 0\n[log]\nlevel = "loud"\n[htpp]\n'
    )
    with pytest.raises(ConfigError) as raised:
        config.load(path)
    keys = [mistake.key for mistake in raised.value.mistakes]
    assert keys == [
        "[database] url",
        "[mqtt] url",
        "[http] listen",
        "[http] requests_per_s",
        "[log] level",
        "[htpp]",
    ]
    assert "hunter2" not in str(raised.value)


def test_a_password_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/word\n")
    path = tmp_path / "central.toml"
    path.write_text(
        '[database]\nurl = "postgresql+psycopg://me@db/central"\npassword_file = "password"\n'
        '[mqtt]\nurl = "mqtt://127.0.0.1"\n'
    )
    settings = config.load(path)
    assert settings.database.full_url == "postgresql+psycopg://me:p%40ss%2Fword@db/central"
    assert "p@ss" not in repr(settings)
    assert (settings.http.listen.port, settings.http.requests_per_s) == (8480, 2000)


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("sqlite:///central.db", "sqlite:///central.db"),
        ("postgresql//db/central", "postgresql//db/central"),
        ("mysql://me@db/central", "mysql://me@db/central"),
        ("postgresql://me@db/c?application_name=a@b", "postgresql://me:hunter2@db/c?application_name=a%40b"),
    ],
)
def test_a_password_goes_nowhere_but_to_the_users_place(tmp_path: Path, url: str, full: str) -> None:
    """Not into a URL that will be refused, for the refusal shows it; nor into another part of one."""
    (tmp_path / "password").write_text("hunter2")
    path = tmp_path / "central.toml"
    path.write_text(
        f'[database]\nurl = "{url}"\npassword_file = "password"\n[mqtt]\nurl = "mqtt://127.0.0.1"\n'
    )
    assert config.load(path).database.full_url == full


def test_tokens_and_operators_from_the_command_line(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, database_url)
    assert token(capsys, path, "read").startswith("tly_")
    assert cli.create_token(path, "boss", "shop") == 2
    assert "read, operate, admin" in capsys.readouterr().err
    assert cli.create_token(path, "read", "a\nb") == 2
    capsys.readouterr()
    assert cli.put_operator(path, operator_id="op-7", name="Ada", badge="OP-7", roles=["count"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "id": "op-7",
        "name": "Ada",
        "badge": "OP-7",
        "roles": ["count"],
    }
    assert cli.put_operator(path, operator_id="", name="Ada", badge="OP-7") == 2


async def test_the_program_ends_on_a_signal_with_status_0(tmp_path: Path) -> None:
    path = write_config(tmp_path, f"sqlite:///{tmp_path}/central.db")
    program = Path(__file__).parents[2] / "tallyman.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), "central", "--config", str(path), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            lines = [await process.stderr.readline()]
            while b"central serves" not in lines[-1]:
                assert lines[-1], lines
                lines.append(await process.stderr.readline())
        assert json.loads(lines[-1])["dashboard"].startswith("http://127.0.0.1:")
        process.terminate()
        async with asyncio.timeout(15):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

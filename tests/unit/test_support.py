"""The servers that the other tests lean on behave as those tests assume."""

import socket
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import psycopg
import pytest
import sqlalchemy as sa
from playwright.async_api import Browser

from tests.support.broker import Broker
from tests.support.postgres import Postgres
from tests.support.programs import answers, find_program, free_port
from tests.support.wait import eventually, eventually_async


def test_a_broker_comes_back_at_the_same_address(broker: Broker) -> None:
    for end in (broker.stop, broker.kill):
        assert answers(broker.host, broker.port)
        end()
        assert not answers(broker.host, broker.port)
        broker.start()
    assert broker.url == f"mqtt://127.0.0.1:{broker.port}"


def test_a_broker_that_cannot_start_says_why(broker: Broker) -> None:
    other = Broker()
    other._config.write_text("no_such_setting true\n")
    try:
        with pytest.raises(AssertionError, match="ended at once"):
            other.start()
    finally:
        other.close()


def test_a_database_is_empty_and_writable(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE only_here (number INTEGER)"))
        connection.execute(sa.text("INSERT INTO only_here VALUES (1)"))
    engine.dispose()


def test_databases_are_isolated(postgres: Postgres) -> None:
    names = [postgres.create_database() for _ in range(2)]
    urls = [postgres.url(name).replace("+psycopg", "") for name in names]
    with psycopg.connect(urls[0]) as first, psycopg.connect(urls[1]) as second:
        first.execute("CREATE TABLE only_here (number INTEGER)")
        first.commit()
        found = second.execute("SELECT to_regclass('only_here')").fetchone()
        assert found == (None,)
    for name in names:
        postgres.drop_database(name)


async def test_the_browser_opens_pages_and_runs_scripts(browser: Browser) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "<!doctype html><title>✓</title><script>document.title += ' 1 + 1 = ' + (1 + 1)</script>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            page = await browser.new_page()
            await page.goto(f"http://127.0.0.1:{server.server_port}/")
            assert await page.title() == "✓ 1 + 1 = 2"
        finally:
            server.shutdown()
            thread.join()


def test_a_missing_program_fails_and_says_how_to_get_it() -> None:
    with pytest.raises(
        pytest.fail.Exception, match="apt-get install --no-install-recommends no-such-package"
    ):
        find_program("no-such-program", package="no-such-package")


def test_a_free_port_can_be_listened_on() -> None:
    # As every server does, or connections that have just ended there would keep the port for a minute.
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        listener.listen()


def test_waiting_returns_the_value_and_has_a_deadline() -> None:
    started = time.monotonic()
    assert eventually(lambda: time.monotonic() - started > 0.05 and "there") == "there"
    with pytest.raises(AssertionError, match=r"not within 0\.02 s: the moon \(last value: 0\)"):
        eventually(lambda: 0, 0.02, "the moon")


async def test_waiting_on_the_event_loop_takes_plain_and_async_predicates() -> None:
    async def later() -> str:
        return "there"

    assert await eventually_async(later) == "there"
    assert await eventually_async(lambda: 1) == 1
    with pytest.raises(AssertionError, match="not within"):
        await eventually_async(lambda: None, 0.02)

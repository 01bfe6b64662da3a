"""The real servers that tests talk to: mosquitto, PostgreSQL, SQLite and Chromium.

Each starts when the first test asks for it, on a port of its own. A program that is missing fails the
test with the command that installs it; nothing is ever skipped.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from playwright.async_api import Browser

from tests.support.broker import Broker, running
from tests.support.browser import chromium
from tests.support.postgres import Postgres

# How fast examples are made says how busy the machine is, not whether they hold.
settings.register_profile("tallyman", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `make mutation` wants the same answer to the same change, and no smallest example.
settings.register_profile(
    "mutation",
    settings.get_profile("tallyman"),
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("tallyman")


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A running mosquitto of this test's own."""
    with running() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The run's PostgreSQL cluster. Tests want `postgres_url`."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The address of an empty PostgreSQL database of this test's own."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'central.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium of this test's own."""
    async with chromium() as browser:
        yield browser

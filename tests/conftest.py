"""The real servers that tests talk to: mosquitto, PostgreSQL, SQLite and Chromium.

Each starts when the first test asks for it, on a port of its own. A program that is missing fails the
test with the command that installs it; nothing is ever skipped.
"""

import re
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Final

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

UNIT: Final = Path(__file__).parent / "unit"
NAMES_A_CORE: Final = re.compile(r"^(from|import) (central|sync)\b", re.MULTILINE)
MEASURED_TOO: Final = frozenset({"test_journal_damage.py"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever runs while coverage is measured takes twice as long. Each branch of the pure cores is taken by those
    tests of tests/unit that name them, and where a journal is damaged: the calls of all others run unmeasured.
    pytest-cov heeds the mark only around the call, so what their fixtures run is measured all the same.
    """
    for item in items:
        if not is_measured(item.path):
            item.add_marker(pytest.mark.no_cover)


@cache
def is_measured(path: Path) -> bool:
    """Whether the tests of this file are run while coverage is measured."""
    names_a_core = path.parent == UNIT and NAMES_A_CORE.search(path.read_text()) is not None
    return names_a_core or path.name in MEASURED_TOO


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

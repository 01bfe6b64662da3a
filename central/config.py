"""central.toml: where the database, the broker and the pages are. Every mistake in it is reported at once.

The one idea: only `[database] url` and `[mqtt] url` must be said; everything else has a default that is right
for one machine.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy.engine.url import make_url
from sqlalchemy.exc import ArgumentError

from central.downlink import LEASE_S
from service.config import (
    DatabaseUrl,
    HttpSection,
    Listen,
    MqttSection,
    SecretFile,
    Section,
)
from service.config import (
    load as load_file,
)
from sync.mqtt import Settings


class DatabaseSection(Section):
    """`[database]`: the record of truth."""

    url: Annotated[DatabaseUrl, Field(min_length=1)]
    """`sqlite:////var/lib/tallyman/central.db` or `postgresql+psycopg://user@host/name`."""
    password_file: SecretFile | None = None
    """The password of the database's user; not needed for SQLite or a Unix socket."""

    @property
    def full_url(self) -> str:
        """The URL with the password in it; never to be logged."""
        if self.password_file is None:
            return self.url
        try:
            parsed = make_url(self.url)
        except ArgumentError:
            return self.url  # who opens it says what is wrong with it
        if parsed.get_backend_name() != "postgresql":
            return self.url
        full = parsed.set(username=parsed.username or "", password=self.password_file.reveal())
        return full.render_as_string(hide_password=False)


class CentralHttpSection(HttpSection):
    """`[http]`: the API and the dashboard."""

    listen: Listen = Listen("127.0.0.1", 8480)
    """Address and port; anything but loopback belongs behind a TLS proxy."""
    requests_per_s: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """What one token may ask; above it, 429."""


class TasksSection(Section):
    """`[tasks]`: who works on what."""

    lease_s: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = LEASE_S
    """How long an agent that is not heard of any more keeps its tasks, before another one of its site gets them.
    Idle agents are heard of every 5 minutes.
    """


class LogSection(Section):
    """`[log]`: what is told, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: Annotated[bool | None, Field(alias="json")] = None
    """One JSON object per line; when not said, JSON unless the output is a terminal."""


class CentralConfig(Section):
    """The whole file."""

    database: DatabaseSection
    mqtt: MqttSection
    http: CentralHttpSection = CentralHttpSection()
    tasks: TasksSection = TasksSection()
    log: LogSection = LogSection()

    def broker(self) -> Settings:
        """The connection to the broker."""
        return Settings(
            url=self.mqtt.url,
            username=self.mqtt.username,
            password=self.mqtt.password,
            ca_file=self.mqtt.ca_file,
            cert_file=self.mqtt.cert_file,
            key_file=self.mqtt.key_file,
        )


def load(path: Path) -> CentralConfig:
    """The configuration in the file.

    Raises:
        ConfigError: with every mistake, its line, and what would be right.
    """
    return load_file(path, CentralConfig)

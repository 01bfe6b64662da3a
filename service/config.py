"""Reading a program's TOML file: all mistakes at once, each with its line and what would be right.

The one idea: a configuration is a tree of pydantic `Section`s that allow no unknown key. `load` runs the whole
file through them, turns every complaint into a `Mistake` with a line number, and raises them together. Secrets
never stand in the file: it names files, or systemd credentials, that hold them.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import core_schema

from service.mending import report_further
from service.mistakes import Location, Mistake, Mistakes, Report, shown
from service.toml_lines import locate

__all__ = [
    "AgentId",
    "BrokerUrl",
    "ConfigError",
    "ConfigPath",
    "DatabaseUrl",
    "ExistingFile",
    "HttpSection",
    "Listen",
    "Mistake",
    "Mistakes",
    "MqttSection",
    "SecretFile",
    "Section",
    "load",
    "read_toml",
]

# A configuration is written by people: what is larger was not meant to be one.
FILE_MAX_BYTES = 1024 * 1024
_SYNTAX = re.compile(r"^(?P<what>.*?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


class Section(BaseModel):
    """Base of every table of a configuration file: frozen, strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ConfigError(Exception):
    """The file cannot be used. Its text is what a person reads: every mistake, then what to do next."""

    def __init__(self, path: Path, mistakes: Iterable[Mistake], advice: str) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        self.advice = advice
        super().__init__(path, self.mistakes, advice)

    def __str__(self) -> str:
        if len(self.mistakes) == 1:
            return f"{self.mistakes[0]}\n{self.advice}"
        lines = "".join(f"\n  {mistake}" for mistake in self.mistakes)
        return f"{self.path}: {len(self.mistakes)} mistakes{lines}\n{self.advice}"


# ---------------------------------------------------------------------------------------------- reading a file

ModelType = TypeVar("ModelType", bound=Section)


def load(path: Path, model: type[ModelType]) -> ModelType:
    """The file as a `model`; raises ConfigError with everything that is wrong with it."""
    text, data = read_toml(path)

    def validate(tables: Any) -> ModelType:
        return model.model_validate(tables, context={"directory": path.absolute().parent})

    try:
        return validate(data)
    except ValidationError as error:
        report = Report(path, model, data, locate(text))
        errors = error.errors(include_url=False)
        report.add(errors)
        report_further(report, errors, validate)
        advice = f"Correct the file, then try again with: tallyman check {path}"
        raise ConfigError(path, report.mistakes, advice) from None


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's text and its tables, not yet checked; raises ConfigError when it is not TOML at all."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unusable(path, "there is no such file", "Give the path of your configuration file.") from None
    except IsADirectoryError:
        raise _unusable(path, "this is a directory", "Give the path of the file in it.") from None
    except OSError as error:
        user = f"uid {os.geteuid()}"
        advice = f"Make it readable for the user that runs this program ({user})."
        raise _unusable(path, f"cannot be read: {error.strerror}", advice) from None
    if len(content) > FILE_MAX_BYTES:
        raise _unusable(path, "is larger than 1 MiB", "Is this the right file?")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(path, "is not UTF-8 text", "Save the file as UTF-8.", line) from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(path, text, str(error)) from None


def _unusable(path: Path, what: str, advice: str, line: int | None = None) -> ConfigError:
    where = str(path) if line is None else f"{path}:{line}"
    return ConfigError(path, [Mistake(where, "", what)], advice)


def _syntax_error(path: Path, text: str, message: str) -> ConfigError:
    found = _SYNTAX.match(message)
    what = found["what"] if found else message
    line = int(found["line"]) if found and found["line"] else text.rstrip().count("\n") + 1
    column = f", column {found['column']}" if found and found["column"] else ""
    advice = 'TOML is written like this: key = "text" under a [table]. See https://toml.io for all of it.'
    return _unusable(path, f"this is not valid TOML: {what}{column}", advice, line)


# ------------------------------------------------------------------------------------------------------- types


def _is_host(name: str) -> bool:
    """Whether a resolver takes it at all: it raises no OSError for an empty or over-long part, but UnicodeError."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return "\0" not in name


@dataclass(frozen=True)
class Listen:
    """Where a program listens: `127.0.0.1:8480`, `[::1]:8480`, `:8480` for every address, port 0 for any."""

    host: str
    port: int

    EXAMPLE: ClassVar[str] = "127.0.0.1:8480"

    @classmethod
    def parse(cls, text: object) -> Self:
        """Raises ValueError that says what is wrong with it."""
        if isinstance(text, cls):
            return text
        if not isinstance(text, str):
            raise ValueError(f'must be text like "{cls.EXAMPLE}", not {shown(text)}')
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f'must be host:port like "{cls.EXAMPLE}", not {shown(text)}')
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        if not _is_host(host):
            raise ValueError(f"{shown(host)} is no host name: look at its dots")
        if ":" in host and not bracketed:
            raise ValueError(f'write an IPv6 address in brackets like "[::1]:8480", not {shown(text)}')
        return cls(host or "0.0.0.0", int(port))  # noqa: S104 — ":8480" asks for every address

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def authority(self) -> str:
        """As it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.authority

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


class SecretFile:
    """A secret kept outside the configuration: the path of a file, or the name of a systemd credential.

    A relative name is looked for in `$CREDENTIALS_DIRECTORY` first, then beside the configuration file. It is
    read when the configuration is, so that a missing one is reported with the other mistakes.
    """

    # A password or token; what is longer is some other file.
    MAX_BYTES: ClassVar[int] = 64 * 1024

    def __init__(self, path: Path, value: str) -> None:
        self.path = path
        self._value = value

    def reveal(self) -> str:
        """The secret, without the newline at its end."""
        return self._value

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r})"

    @classmethod
    def open(cls, name: object, directory: Path) -> Self:
        """Raises ValueError when there is no such secret, or it is empty or unreadable."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"must be the path of a file that holds the secret, not {shown(name)}")
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        path = directory / name
        if credentials and (Path(credentials) / name).is_file():
            path = Path(credentials) / name
        try:
            with path.open("rb") as file:
                value = file.read(cls.MAX_BYTES + 1).decode("utf-8").rstrip("\r\n")
        except FileNotFoundError:
            raise ValueError(f"there is no file {path}") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8 text") from None
        if not value or len(value) > cls.MAX_BYTES:
            raise ValueError(f"{path} is {'empty' if not value else 'too large to be a secret'}")
        return cls(path, value)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            lambda name, info: cls.open(name, _directory(info))
        )


def _directory(info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("directory", "."))


def _resolve(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError("must be a path, not empty" if not value else "a path has no NUL in it")
    try:
        return _directory(info) / Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home directory for {shown(value)}; write the whole path") from None


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path} cannot be read by uid {os.geteuid()}")
    return path


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 — reading it checks it
    except ValueError:
        raise ValueError("is not a URL: look at host and port") from None
    if parts.password or "password" in parse_qs(parts.query):
        raise ValueError(
            "secrets are never written into this file; take the password out and use password_file"
        )
    return url


def _broker_url(url: str) -> str:
    parts = urlsplit(_without_password(url))
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError(f'must be like "mqtt://127.0.0.1:1883" or "mqtts://broker:8883", not {shown(url)}')
    if not _is_host(parts.hostname):
        raise ValueError(f"{shown(parts.hostname)} is no host name: look at its dots")
    if parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError("only scheme, host and port belong here; the user is the key username")
    return url


AgentId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
"""What names an agent in topics and client ids (contract, "MQTT")."""

ConfigPath = Annotated[Path, BeforeValidator(_resolve)]
"""A path; a relative one starts at the configuration file's directory."""

ExistingFile = Annotated[ConfigPath, AfterValidator(_existing_file)]
"""A file that must be there and readable."""

DatabaseUrl = Annotated[str, AfterValidator(_without_password)]
"""A URL without a password in it."""

BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
"""`mqtt://host:port` or `mqtts://host:port`."""


class MqttSection(Section):
    """`[mqtt]`: the broker, the same for agents and central. The fields are those of `sync.mqtt.Settings`."""

    url: BrokerUrl
    username: str | None = None
    password_file: SecretFile | None = None
    ca_file: ExistingFile | None = None
    cert_file: ExistingFile | None = None
    key_file: ExistingFile | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        found: list[tuple[Location, str]] = []
        if self.password_file and not self.username:
            found.append((("password_file",), "needs a username beside it"))
        if bool(self.cert_file) != bool(self.key_file):
            lonely = "cert_file" if self.cert_file else "key_file"
            found.append(((lonely,), "cert_file and key_file belong together; add the other one"))
        if not self.url.startswith("mqtts:"):
            found += [
                ((name,), "is only used with an mqtts:// url; change url or leave this out")
                for name in ("ca_file", "cert_file", "key_file")
                if getattr(self, name)
            ]
        if found:
            raise Mistakes(found)
        return self

    @property
    def password(self) -> str | None:
        """The secret from `password_file`."""
        return self.password_file.reveal() if self.password_file else None


class HttpSection(Section):
    """`[http]`: where the pages and the API are served.

    `hosts` are further names under which browsers reach them (see `service.guard.HostNames`).
    """

    listen: Listen
    hosts: tuple[str, ...] = ()

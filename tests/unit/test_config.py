"""Configuration: every mistake at once, each with its line and what would be right."""

import json
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from service.config import (
    AgentId,
    ConfigError,
    ConfigPath,
    DatabaseUrl,
    HttpSection,
    Listen,
    Mistakes,
    MqttSection,
    SecretFile,
    Section,
    load,
)
from service.mistakes import key_text
from service.toml_lines import Path as KeyPath
from service.toml_lines import locate


class Agent(Section):
    id: AgentId
    site: str
    data_dir: ConfigPath = Path("/var/lib/tallyman")


class Limit(Section):
    most: int


class Serial(Section):
    baud: int


class Tcp(Section):
    host: str


class Station(Section):
    name: str
    workflow: Literal["receive", "pick", "put_away"] = "receive"
    devices: tuple[str, ...] = ()
    guard_ms: int = Field(default=400, ge=0, le=10_000)
    as_json: bool = Field(default=False, alias="json")
    limits: dict[str, Limit] = Field(default_factory=dict)
    port: Serial | Tcp | None = None


class Database(Section):
    url: DatabaseUrl
    password_file: SecretFile | None = None


class File(Section):
    agent: Agent
    mqtt: MqttSection = MqttSection(url="mqtt://127.0.0.1:1883")
    http: HttpSection | None = None
    database: Database | None = None
    stations: tuple[Station, ...] = ()

    @model_validator(mode="after")
    def devices_exist(self) -> Self:
        found = [
            (("stations", number, "devices", index), f"there is no device named {device!r}")
            for number, station in enumerate(self.stations)
            for index, device in enumerate(station.devices)
            if device != "scanner-1"
        ]
        if found:
            raise Mistakes(found)
        return self


GOOD = """\
[agent]
id = "dock-2"
site = "lej1"
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "agent.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def mistakes(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(path, File)
    return [str(mistake).removeprefix(str(path)) for mistake in error.value.mistakes]


def test_a_good_file(write: Any, tmp_path: Path) -> None:
    path = write(GOOD + 'data_dir = "data"\n[http]\nlisten = "[::1]:0"\n[[stations]]\nname = "dock-2"\n')
    config = load(path, File)
    assert config.agent.data_dir == tmp_path / "data"
    assert config.http and config.http.listen == Listen("::1", 0)
    assert config.stations[0].guard_ms == 400


def test_all_mistakes_at_once_with_lines_and_nearest_names(write: Any) -> None:
    path = write(
        """\
[agent]
idd = "dock-2"                # the name is misspelt, and so id is missing
site = 7
listen = "127.0.0.1:8481"

[mqtt]
url = "http://broker"

[[stations]]
name = "one"

[[stations]]
name = "two"
workflow = "recieve"
guard_ms = -1
[sations]
"""
    )
    choice = """must be 'receive', 'pick' or 'put_away', not 'recieve'; did you mean "receive"?"""
    assert mistakes(path) == [
        ":1: [agent] id: is missing",
        ':2: [agent] idd: unknown key; did you mean "id"?',
        ":3: [agent] site: should be a valid string, not 7",
        ":4: [agent] listen: unknown key; it belongs into [http]",
        ':7: [mqtt] url: must be like "mqtt://127.0.0.1:1883" or "mqtts://broker:8883", not \'http://broker\'',
        f":14: [[stations]] number 2 workflow: {choice}",
        ":15: [[stations]] number 2 guard_ms: should be greater than or equal to 0, not -1",
        ':16: [sations]: unknown key; did you mean "stations"?',
    ]


def test_the_text_is_for_a_person_and_says_what_to_do(write: Any) -> None:
    path = write("[agent]\nx = 1\n")
    with pytest.raises(ConfigError) as error:
        load(path, File)
    assert str(error.value) == (
        f"{path}: 3 mistakes\n"
        f"  {path}:1: [agent] id: is missing\n"
        f"  {path}:1: [agent] site: is missing\n"
        f"  {path}:2: [agent] x: unknown key; valid here: data_dir, id, site\n"
        f"Correct the file, then try again with: tallyman check {path}"
    )


def test_names_are_found_in_every_shape_of_table(write: Any) -> None:
    path = write(
        GOOD
        + """
[[stations]]
name = "a"
jsn = true
port = { bau = 1 }
[stations.limits.daily]
most = 1
mst = 2
"""
    )
    assert set(mistakes(path)) == {
        ':7: [[stations]] number 1 jsn: unknown key; did you mean "json"?',
        ":8: [[stations]] number 1 port.baud: is missing",
        ":8: [[stations]] number 1 port.host: is missing",
        ':8: [[stations]] number 1 port.bau: unknown key; did you mean "baud"?',
        ':11: [[stations]] number 1 limits.daily.mst: unknown key; did you mean "most"?',
    }


def test_mistakes_behind_mistakes_are_found_too(write: Any) -> None:
    """A cross-reference is checked although other keys are wrong, as far as what they meant can be guessed."""
    path = write(
        """\
[agent]
id = "Dock 2!"

[mqtt]
url = 7
ca_file = "never complained about: who knows what url was meant"

[[station]]
name = "a"
workflow = "recieve"
guard_ms = "long"
device = ["scaner-1", "scanner-1"]
color = "red"
"""
    )
    found = mistakes(path)
    assert ":12: [[stations]] number 1 devices[1]: there is no device named 'scaner-1'" in found
    assert [line.split(": ")[0] for line in found] == [
        ":1",
        ":2",
        ":5",
        ":6",
        ":8",
        ":10",
        ":11",
        ":12",
        ":12",
        ":13",
    ]
    assert "number 1 color: unknown key" in found[-1]


def test_what_was_guessed_is_not_complained_about(write: Any) -> None:
    path = write('[agent]\n[[stations]]\nname = 3\ndevices = ["scaner-1"]\n[mqtt]\n')
    assert mistakes(path) == [
        ":1: [agent] id: is missing",
        ":1: [agent] site: is missing",
        ":3: [[stations]] number 1 name: should be a valid string, not 3",
        ":5: [mqtt] url: is missing",
    ]


def test_a_missing_table_is_named(write: Any) -> None:
    assert mistakes(write("")) == [": [agent]: is missing"]


def test_a_value_where_a_table_belongs(write: Any) -> None:
    assert mistakes(write('agent = "dock-2"\n')) == [":1: [agent]: must be a table, not 'dock-2'"]


def test_cross_references_each_have_their_own_line(write: Any) -> None:
    path = write(GOOD + '[[stations]]\nname = "a"\ndevices = [\n  "scanner-1",\n  "scaner-2", # no such\n]\n')
    assert mistakes(path) == [":8: [[stations]] number 1 devices[2]: there is no device named 'scaner-2'"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[agent]\nid = dock\n", ":2: this is not valid TOML: Invalid value, column 6"),
        ('[agent]\nid = "a"\nid = "b"\n', ":3: this is not valid TOML: Cannot overwrite a value, column 9"),
        ("[agent\n", ":1: this is not valid TOML"),
        ('x = """never closed\n', ":1: this is not valid TOML: Unterminated string"),
        (b"[agent]\nid = '\xff'\n", ":2: is not UTF-8 text"),
        (b"\x00" * (1024 * 1024 + 1), ": is larger than 1 MiB"),
    ],
)
def test_what_is_not_toml(write: Any, text: str | bytes, complaint: str) -> None:
    assert mistakes(write(text))[0].startswith(complaint)


def test_a_file_from_a_windows_editor(write: Any) -> None:
    path = write(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode() + b"oops = 1\r\n")
    assert mistakes(path)[0].startswith(":4: [agent] oops: unknown key")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "agent.toml") == [": there is no such file"]
    with pytest.raises(ConfigError, match="this is a directory"):
        load(tmp_path, File)


@pytest.mark.parametrize("key", ["password", "token", "secret", "api_key"])
def test_secrets_are_refused(write: Any, key: str) -> None:
    [complaint] = mistakes(write(GOOD + f'[mqtt]\nurl = "mqtt://h"\n{key} = "hunter2"\n'))
    assert complaint.startswith(f":6: [mqtt] {key}: secrets are never written into this file")
    assert f"{key}_file" in complaint
    assert "hunter2" not in complaint


@pytest.mark.parametrize(
    "text",
    [
        '[mqtt]\nurl = "mqtt://me:hunter2@host"\n',
        '[database]\nurl = "postgresql+psycopg://me:hunter2@host/db"\n',
        '[database]\nurl = "postgresql+psycopg://host/db?user=me&password=hunter2"\n',
    ],
)
def test_secrets_in_urls_are_refused(write: Any, text: str) -> None:
    [complaint] = mistakes(write(GOOD + text))
    assert "take the password out and use password_file" in complaint
    assert "hunter2" not in complaint


def test_a_secret_from_a_file_beside_the_configuration(write: Any, tmp_path: Path) -> None:
    (tmp_path / "broker.password").write_text("s3cret\n")
    path = write(GOOD + '[mqtt]\nurl = "mqtt://h"\nusername = "u"\npassword_file = "broker.password"\n')
    config = load(path, File)
    assert config.mqtt.password == "s3cret"
    assert "s3cret" not in repr(config)


def test_a_secret_from_systemd_credentials(
    write: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> None:
    credentials = tmp_path_factory.mktemp("credentials")
    (credentials / "broker").write_text("from systemd")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    path = write(GOOD + '[mqtt]\nurl = "mqtt://h"\nusername = "u"\npassword_file = "broker"\n')
    assert load(path, File).mqtt.password == "from systemd"


def test_secrets_that_cannot_be_used(write: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    text = (
        GOOD
        + '[mqtt]\nurl = "mqtt://h"\npassword_file = "{}"\n[database]\nurl = "x://"\npassword_file = "{}"\n'
    )
    first, second = mistakes(write(text.format("missing", "empty")))
    assert first == f":6: [mqtt] password_file: there is no file {tmp_path}/missing"
    assert second == f":9: [database] password_file: {tmp_path}/empty is empty"


def test_broker_settings_that_belong_together(write: Any, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("x")
    found = mistakes(write(GOOD + '[mqtt]\nurl = "mqtt://h"\nca_file = "x.pem"\ncert_file = "x.pem"\n'))
    assert found == [
        ":6: [mqtt] ca_file: is only used with an mqtts:// url; change url or leave this out",
        ":7: [mqtt] cert_file: cert_file and key_file belong together; add the other one",
        ":7: [mqtt] cert_file: is only used with an mqtts:// url; change url or leave this out",
    ]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8480", "127.0.0.1", 8480),
        ("[::1]:1", "::1", 1),
        (":80", "0.0.0.0", 80),
        ("box:0", "box", 0),
    ],
)
def test_listen(text: str, host: str, port: int) -> None:
    assert Listen.parse(text) == Listen(host, port)


@pytest.mark.parametrize("text", ["8480", "127.0.0.1", "h:", "h:65536", "h:-1", "::1:80", "h:٣", 8480, None])
def test_listen_refuses(text: object) -> None:
    with pytest.raises(ValueError, match=r"must be|brackets"):
        Listen.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_loopback(host: str) -> None:
    assert Listen(host, 1).loopback
    assert not Listen("192.168.1.4", 1).loopback
    assert not Listen("example.org", 1).loopback


def test_unreadable_file(write: Any, monkeypatch: Any) -> None:
    path = write(GOOD)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    [complaint] = mistakes(path)
    assert complaint == ": cannot be read: Permission denied"


def test_key_text() -> None:
    assert key_text(()) == ""
    assert key_text(("agent", "id")) == "[agent] id"
    assert key_text(("devices", 0, "port", "baud")) == "[[devices]] number 1 port.baud"
    assert key_text(("stations", 1)) == "[[stations]] number 2"


# ------------------------------------------------------------------------------------------------- the locator

TRICKY = """\
# [not.a.table]
title = "not = a key" # "x" = 1
text = '''
[nor.this]
key = 1
'''
more = \"\"\"a \\\"\"\" still \"\" inside \\\\
b = 2\"\"\"\"\"
"quoted key" . 'lit.eral' = { inner = [ 1, { deep = "}" } ], other = 2 }
[ table . "sub" ]
list = [
  "]", # ]
  [ 2,
    3 ],
]
[[things]]
name = 1
[things.part]
x = 1979-05-27T07:32:00Z
[[things]]
[[things.screws]]
size = 0xdead_beef
"""


def test_strings_and_comments_do_not_fool_the_locator() -> None:
    assert locate(TRICKY) == {
        ("title",): 2,
        ("text",): 3,
        ("more",): 7,
        ("quoted key",): 9,
        ("quoted key", "lit.eral"): 9,
        ("quoted key", "lit.eral", "inner"): 9,
        ("quoted key", "lit.eral", "inner", 0): 9,
        ("quoted key", "lit.eral", "inner", 1): 9,
        ("quoted key", "lit.eral", "inner", 1, "deep"): 9,
        ("quoted key", "lit.eral", "other"): 9,
        ("table",): 10,
        ("table", "sub"): 10,
        ("table", "sub", "list"): 11,
        ("table", "sub", "list", 0): 12,
        ("table", "sub", "list", 1): 13,
        ("table", "sub", "list", 1, 0): 13,
        ("table", "sub", "list", 1, 1): 14,
        ("things",): 16,
        ("things", 0): 16,
        ("things", 0, "name"): 17,
        ("things", 0, "part"): 18,
        ("things", 0, "part", "x"): 19,
        ("things", 1): 20,
        ("things", 1, "screws"): 21,
        ("things", 1, "screws", 0): 21,
        ("things", 1, "screws", 0, "size"): 22,
    }


NASTY = st.text(st.sampled_from("ab#[]{}=,.'\"\\\n\t é"), max_size=12)
BLANK = st.sampled_from(["", " ", "\t "])
FILLER = st.sampled_from(["", " ", "\n", "\n\n  ", ' # ] } = \'x\' """\n'])


class Writer:
    """Writes TOML in some of its many ways, and remembers at which line it wrote what."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self.names = 0

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def key(self) -> str:
        """A new name, bare, quoted or literal; unique by its number."""
        self.names += 1
        style: str = self.draw(st.sampled_from(["bare", "basic", "literal"]))
        name = f"k{self.names}"
        if style == "bare":
            self.text += name
            return name
        name += str(self.draw(NASTY)).replace("\n", "").replace("\t", "")
        if style == "literal":
            name = name.replace("'", "")
            self.text += f"'{name}'"
        else:
            self.text += json.dumps(name, ensure_ascii=self.draw(st.booleans()))
        return name

    def dotted(self, path: KeyPath) -> KeyPath:
        for number in range(self.draw(st.integers(1, 3))):
            self.text += (self.draw(BLANK) + "." if number else "") + self.draw(BLANK)
            line = self.text.count("\n") + 1
            path = (*path, self.key())
            self.lines.setdefault(path, line)
        self.text += self.draw(BLANK)
        return path

    def pair(self, path: KeyPath, depth: int) -> None:
        path = self.dotted(path)
        self.text += "=" + self.draw(BLANK)
        self.value(path, depth)

    def value(self, path: KeyPath, depth: int) -> None:
        kinds = ["scalar", "basic", "literal", "long basic", "long literal"]
        kind = self.draw(st.sampled_from([*kinds, *(["array", "table"] if depth else [])]))
        nasty = self.draw(NASTY)
        if kind == "scalar":
            self.text += self.draw(
                st.sampled_from(["1", "-2.5e3", "true", "07:32:00", "1979-05-27 07:32:00", "inf"])
            )
        elif kind == "basic":
            self.text += json.dumps(nasty)
        elif kind == "literal":
            self.text += "'" + nasty.replace("'", "").replace("\n", "") + "'"
        elif kind == "long basic":
            self.text += (
                '"""'
                + nasty.replace("\\", "\\\\").replace('"', '""\\"')
                + self.draw(st.sampled_from(['"""', '""""', '"""""']))
            )
        elif kind == "long literal":
            self.text += "'''" + nasty.replace("'", "") + self.draw(st.sampled_from(["'''", "''''", "'''''"]))
        elif kind == "array":
            self.text += "[" + self.draw(FILLER)
            for index in range(self.draw(st.integers(0, 3))):
                self.text += ("," if index else "") + self.draw(FILLER)
                self.note((*path, index))
                self.value((*path, index), depth - 1)
                self.text += self.draw(FILLER)
            self.text += "]"
        else:
            self.text += "{" + self.draw(BLANK)
            for index in range(self.draw(st.integers(0, 3))):
                self.text += ("," if index else "") + self.draw(BLANK)
                self.pair(path, depth - 1)
            self.text += "}"

    def body(self, path: KeyPath) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.text += self.draw(FILLER)
            self.pair(path, 2)
            self.text += self.draw(st.sampled_from(["\n", " # x = [\n", "\n\n"]))

    def table(self) -> None:
        self.text += "["
        path = self.dotted(())
        self.text += "]\n"
        self.body(path)

    def tables(self) -> None:
        self.names += 1
        name = f"k{self.names}"
        for index in range(self.draw(st.integers(1, 3))):
            path: KeyPath = (name, index)
            self.note((name,))
            self.note(path)
            self.text += f"[[{name}]]\n"
            self.body(path)
            if self.draw(st.booleans()):
                self.note((*path, "sub"))
                self.text += f"[{name}.sub] # of the last one\n"
                self.body((*path, "sub"))


@st.composite
def documents(draw: Any) -> tuple[str, dict[KeyPath, int]]:
    writer = Writer(draw)
    writer.body(())
    for _ in range(draw(st.integers(0, 3))):
        (writer.tables if draw(st.booleans()) else writer.table)()
    return writer.text, writer.lines


def paths(value: Any, path: KeyPath) -> set[KeyPath]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} | {found for step, inner in steps for found in paths(inner, (*path, step))}


@given(documents())
def test_every_key_of_any_toml_is_found_at_its_line(document: tuple[str, dict[KeyPath, int]]) -> None:
    text, expected = document
    found = locate(text)
    assert set(found) == paths(tomllib.loads(text), ()) - {()}
    assert found == expected


def test_permissions_of_a_secret(write: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    path = write(GOOD + '[mqtt]\nurl = "mqtt://h"\nusername = "u"\npassword_file = "secret"\n')
    [complaint] = mistakes(path)
    assert complaint == f":7: [mqtt] password_file: {secret} cannot be read: {os.strerror(21)}"


KEYS = st.sampled_from(
    [
        "agent",
        "id",
        "site",
        "stations",
        "staton",
        "mqtt",
        "url",
        "ca_file",
        "name",
        "devices",
        "workflow",
        "port",
        "baud",
        "limits",
        "most",
        "json",
        "x",
    ]
)
VALUES: Any = st.recursive(
    st.sampled_from([1, -1, True, "x", "", "mqtt://h", "recieve", "scanner-1", "../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_whatever_the_file_says_the_answer_is_a_list_of_mistakes(tables: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.toml"
        path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in tables.items()))
        try:
            load(path, File)
        except ConfigError as error:
            assert all(str(mistake).startswith(str(path)) for mistake in error.mistakes)
            assert len(set(error.mistakes)) == len(error.mistakes) > 0


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('data_dir = "~nobody-of-that-name/x"', "[agent] data_dir: there is no home directory for"),
        ('data_dir = "a\\u0000b"', "[agent] data_dir: a path has no NUL in it"),
        ('[mqtt]\nurl = "mqtt://broker..example:1883"', "[mqtt] url: 'broker..example' is no host name"),
        ('[http]\nlisten = "dock..local:8481"', "[http] listen: 'dock..local' is no host name"),
        (f'[http]\nlisten = "{"a" * 64}:8481"', "is no host name: look at its dots"),
        ('stations = "dock-2"', "[stations]: must be an array like [\"…\"], not 'dock-2'"),
    ],
)
def test_what_no_system_call_would_take_is_a_mistake_in_the_file(write: Any, line: str, what: str) -> None:
    path = write(line + "\n" + GOOD if line.startswith("stations") else GOOD + line + "\n")
    [mistake] = mistakes(path)
    assert what in mistake


def test_a_missing_array_is_one_mistake(write: Any) -> None:
    class Full(Section):
        stations: tuple[Station, ...] = Field(min_length=1)

    with pytest.raises(ConfigError) as error:
        load(write(""), Full)
    assert [mistake.what for mistake in error.value.mistakes] == ["is missing"]

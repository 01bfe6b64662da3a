"""Logging: one chain for everybody, no secrets, nothing that steers a terminal."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from service import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def entry(**values: Any) -> dict[str, Any]:
    out = io.StringIO()
    log.configure(stream=out)
    log.get("test").info("happened", **values)
    [line] = out.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_json_lines_when_nobody_watches() -> None:
    found = entry(station="dock-2", queued=3)
    assert found.pop("timestamp").endswith("Z")
    assert found == {"event": "happened", "level": "info", "logger": "test", "station": "dock-2", "queued": 3}


def test_key_and_value_on_a_terminal() -> None:
    out = Terminal()
    log.configure(stream=out)
    log.get("test").warning("happened", station="dock-2")
    assert "happened" in out.getvalue()
    assert "dock-2" in out.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(out.getvalue())


def test_libraries_say_it_through_the_same_chain() -> None:
    out = io.StringIO()
    log.configure(stream=out)
    logging.getLogger("uvicorn.error").error("cannot do %s", "that", extra={})
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("somebody").info("password=%s", "not by name")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["level"], first["logger"]) == ("cannot do that", "error", "uvicorn.error")
    assert second["logger"] == "somebody"


def test_configured_twice_says_it_once() -> None:
    log.configure(stream=io.StringIO())
    assert entry()["event"] == "happened"


@pytest.mark.parametrize(
    "key",
    ["password", "Authorization", "access_token", "session_cookie", "client_secret", "api_key", "pin_hash"],
)
def test_secrets_are_known_by_their_name(key: str) -> None:
    assert entry(**{key: "hunter2"})[key] == "[redacted]"
    assert entry(headers={"x": [{key: b"hunter2"}]})["headers"] == {"x": [{key: "[redacted]"}]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtts://agent:hunter2@broker:8883", "mqtts://agent:[redacted]@broker:8883"),
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer [redacted]"),
        ("mqtt://broker:1883", "mqtt://broker:1883"),
    ],
)
def test_secrets_are_known_by_their_form(text: str, shown: str) -> None:
    assert entry(what=text)["what"] == shown
    assert entry(what=RuntimeError(text))["what"] == shown


BARCODE = "\x1d01\x1b]0;owned\x07\x9b31m\r\nlevel=error \u202e\u2028"
ESCAPED = "\\x1d01\\x1b]0;owned\\x07\\x9b31m\\x0d\\x0alevel=error \\u202e\\u2028"


def test_a_barcode_never_reaches_a_terminal_raw() -> None:
    out = Terminal()
    log.configure(stream=out)
    try:
        raise ValueError(f"bad {BARCODE}")
    except ValueError:
        log.get("test").exception(f"read {BARCODE}", code=BARCODE, raw=[BARCODE.encode()], **{BARCODE: 1})
    shown = out.getvalue().replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert not set(shown) & set("\x1d\x1b\x07\x9b\r\u202e\u2028")
    entry, *traceback = shown.splitlines()
    assert entry.count(ESCAPED) == 3  # the event, a value, a key; the list shows its repr
    assert {line[:4] for line in traceback} == {"  | "}
    assert "\\x1b]0;owned" in "".join(traceback)


def test_json_lines_stay_one_line_each() -> None:
    assert entry(code=BARCODE)["code"] == BARCODE


def test_printable() -> None:
    assert log.printable(BARCODE) == ESCAPED
    assert log.printable("Käse · 12 €") == "Käse · 12 €"


def test_entries_are_bounded() -> None:
    assert len(entry(code="x" * 100_000)["code"]) < 9000
    deep: Any = "bottom"
    for _ in range(50):
        deep = [deep]
    assert "bottom" in str(entry(deep=deep))


def test_level() -> None:
    out = io.StringIO()
    log.configure(stream=out, level="warning")
    log.get("test").info("not said")
    log.get("test").warning("said", tuple_of=(1, None, True, 2.5))
    [line] = out.getvalue().splitlines()
    assert json.loads(line)["tuple_of"] == [1, None, True, 2.5]

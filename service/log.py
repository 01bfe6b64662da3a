"""Logging: key and value on a terminal, one JSON object per line otherwise.

The one idea: everything that is said, by us or by a library through stdlib `logging`, passes the same chain,
which takes secrets out and makes control characters visible. A barcode is text from a stranger: it must
neither steer a terminal nor forge a line.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

get = structlog.get_logger
"""`log = get(); log.info("what happened", key=value)`"""

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

# Libraries that tell at "info" what only their developers want to know.
_QUIET: Final = ("uvicorn", "sqlalchemy", "alembic", "paho", "asyncio", "multipart", "httpx2")

_REDACTED = "[redacted]"
_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)|token|authorization|cookie|secret|api_?key|pin_hash", re.IGNORECASE
)
_SECRET_TEXT = (
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@"), rf"\1:{_REDACTED}@"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE), rf"\1 {_REDACTED}"),
)
# C0 and C1 controls, DEL, line and paragraph separators, the marks that reorder text on a screen, and the halves of
# surrogate pairs, which no UTF-8 can say (a file name that is none brings them).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PLAIN = re.compile(r"[^\s=\"']+")
_COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
# Deeper or longer than this is not a log entry but a document.
_DEPTH_MAX = 6
_TEXT_MAX_CHARS = 8192


def configure(json: bool | None = None, level: str = "info", stream: TextIO | None = None) -> None:
    """Sets up logging for the process; `json=None` means JSON unless the stream is a terminal."""
    out = sys.stderr if stream is None else stream
    as_json = not out.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = structlog.processors.JSONRenderer(ensure_ascii=True, default=repr)
    if not as_json:
        renderer = Console(colours=out.isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
        ],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, LEVELS[level]))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def redact(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Takes out what is secret by its name (`password`, `token` …) or by its form (a URL's password)."""
    return {
        key: _without_secrets(key, value, 0) if not key.startswith("_") else value
        for key, value in entry.items()
    }


def _without_secrets(key: str, value: Any, depth: int) -> Any:
    if _SECRET_KEY.search(key):
        return _REDACTED
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        for pattern, replacement in _SECRET_TEXT:
            value = pattern.sub(replacement, value)
        return value if len(value) <= _TEXT_MAX_CHARS else f"{value[:_TEXT_MAX_CHARS]}…"
    if isinstance(value, Mapping) and depth < _DEPTH_MAX:
        return {str(name): _without_secrets(str(name), inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < _DEPTH_MAX:
        return [_without_secrets("", inner, depth + 1) for inner in value]
    if isinstance(value, (int, float, bool, type(None))):
        return value
    return _without_secrets("", str(value), depth)


class Console:
    """One line for a person: time, level, what happened, `key=value`; below it the traceback, if there is one.

    Everything in it is made printable. The lines of a traceback begin with a bar, so that a text with line
    breaks in it cannot pose as an entry of its own.
    """

    def __init__(self, *, colours: bool) -> None:
        self.colours = colours

    def __call__(self, _logger: WrappedLogger, _method: str, entry: EventDict) -> str:
        """The renderer at the end of the chain."""
        time, level = str(entry.pop("timestamp", ""))[11:19], str(entry.pop("level", ""))
        event, traceback = printable(str(entry.pop("event", ""))), entry.pop("exception", None)
        name = entry.pop("logger", None)
        values = [f"{printable(key)}={_console_value(value)}" for key, value in entry.items()]
        words = [
            time,
            self._coloured(level),
            event,
            *values,
            *([f"[{printable(str(name))}]"] if name else []),
        ]
        lines = [f"  | {printable(line)}" for line in str(traceback).split("\n")] if traceback else []
        return "\n".join([" ".join(words), *lines])

    def _coloured(self, level: str) -> str:
        padded = f"{level:<8}"
        return f"\x1b[{_COLOURS[level]}m{padded}\x1b[0m" if self.colours and level in _COLOURS else padded


def _console_value(value: Any) -> str:
    text = printable(value if isinstance(value, str) else repr(value))
    return text if not isinstance(value, str) or _PLAIN.fullmatch(text) else f'"{text}"'


def printable(text: str) -> str:
    """The text with every control character written as `\\x1d` or `\\u202e`: safe on any terminal."""
    return _CONTROL.sub(_code, text)


def _code(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

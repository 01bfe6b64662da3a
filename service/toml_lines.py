"""Where in a TOML file a key stands: the positions that `tomllib` does not give.

The one idea: `tomllib` has already said that the text is valid TOML, so this scanner only has to walk it. It
skips strings and comments by their quotes, and notes the line at which each key, table and element begins.
"""

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
# Longest delimiters first: a multi-line string may begin like an empty one.
_STRINGS = (
    re.compile(r'"""(?:\\.|(?!"""(?!")).)*"""', re.DOTALL),
    re.compile(r"'''(?:(?!'''(?!')).)*'''", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def locate(text: str) -> dict[Path, int]:
    """Line numbers (from 1) of every key path of a valid TOML text; elements of arrays carry their index."""
    return _Scanner(text).document()


class _Scanner:
    """A cursor over the text, and the lines it has met."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.line = 1
        self._counted = 0
        self._counts: dict[Path, int] = {}  # arrays of tables: how many elements so far

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self.skip(_FILLER)
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self.header()
            else:
                self.pair(table)
            self.skip(_FILLER)
        return self.lines

    def header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: names after an array of tables mean its last element."""
        repeated = self.text.startswith("[[", self.at)
        line = self.line_now()
        self.at += 2 if repeated else 1
        path: Path = ()
        names = list(self.dotted())
        for position, name in enumerate(names):
            path = (*path, name)
            self.note(path, line)
            last = position == len(names) - 1
            if repeated and last:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self.note(path, line)
        self.skip(_BLANK)
        self.at += 2 if repeated else 1
        if not repeated:
            # A table that an earlier dotted header only implied is best shown where it is opened itself.
            self.lines[path] = line
        return path

    def pair(self, table: Path) -> None:
        """`key.key = value`"""
        line = self.line_now()
        path = table
        for name in self.dotted():
            path = (*path, name)
            self.note(path, line)
        self.at += 1  # the "="
        self.skip(_BLANK)
        self.value(path)

    def dotted(self) -> Iterator[str]:
        """The names of a dotted key; the cursor ends behind the last one and the blanks after it."""
        while True:
            self.skip(_BLANK)
            yield self.name()
            self.skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return
            self.at += 1

    def name(self) -> str:
        bare = _BARE_KEY.match(self.text, self.at)
        if bare is not None:
            self.at = bare.end()
            return bare.group()
        quoted = self.string()
        return _unescape(quoted[1:-1]) if quoted.startswith('"') else quoted[1:-1]

    def value(self, path: Path) -> None:
        opening = self.text[self.at]
        if opening == "[":
            self.array(path)
        elif opening == "{":
            self.inline_table(path)
        elif opening in "\"'":
            self.string()
        else:
            self.skip(_SCALAR)

    def array(self, path: Path) -> None:
        self.at += 1
        index = 0
        self.skip(_FILLER)
        while not self.text.startswith("]", self.at):
            self.note((*path, index), self.line_now())
            self.value((*path, index))
            index += 1
            self.separator()
        self.at += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        self.skip(_FILLER)
        while not self.text.startswith("}", self.at):
            self.pair(path)
            self.separator()
        self.at += 1

    def separator(self) -> None:
        self.skip(_FILLER)
        if self.text.startswith(",", self.at):
            self.at += 1
            self.skip(_FILLER)

    def string(self) -> str:
        for pattern in _STRINGS:
            found = pattern.match(self.text, self.at)
            if found is not None:
                self.at = found.end()
                return found.group()
        raise AssertionError(f"no string at line {self.line_now()}: only valid TOML may be located")

    def skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()

    def note(self, path: Path, line: int) -> None:
        self.lines.setdefault(path, line)

    def line_now(self) -> int:
        """Counted from where the last count ended, so that a long file is counted once."""
        self.line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self.line


def _unescape(body: str) -> str:
    def character(found: re.Match[str]) -> str:
        digits = found[1] or found[2]
        return chr(int(digits, 16)) if digits else _ESCAPES[found[3]]

    return _ESCAPE.sub(character, body)

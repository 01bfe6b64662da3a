"""What is wrong with a configuration, in words: where, what, and what would be right.

The one idea: pydantic says what it stumbled over by a path into its models. Here that path becomes a line of
the file, and the complaint a sentence for the person who wrote it.
"""

import difflib
import re
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_SECRET_NAME = re.compile(r"pass(word|wd|phrase)?|secret|token|api_?key|private_?key", re.IGNORECASE)

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong, where it stands, and what would be right."""

    where: str  # "agent.toml:4"
    key: str  # "[agent] id", empty for the file as a whole
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.what) if part)


class Mistakes(ValueError):
    """What a model validator raises to complain about several keys at once, each by its path from that model.

    `raise Mistakes([(("stations", 0, "devices"), "there is no device named …")])`
    """

    def __init__(self, found: Iterable[tuple[Location, str]]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(text for _, text in self.found))


class Report:
    """Turns pydantic's complaints about one file into mistakes with lines."""

    def __init__(
        self, path: Path, model: type[BaseModel], data: dict[str, Any], lines: Mapping[Location, int]
    ) -> None:
        self.path, self.model, self.data, self.lines = path, model, data, dict(lines)
        self._found: dict[tuple[Location, str], int] = {}

    @property
    def mistakes(self) -> list[Mistake]:
        """All that was added, by line; what several members of a union say of one key stands there once."""
        by_line = sorted(self._found.items(), key=lambda item: item[1])
        return [
            Mistake(f"{self.path}:{line}" if line else str(self.path), key_text(loc), what)
            for (loc, what), line in by_line
        ]

    def add(self, errors: Iterable[ErrorDetails], quiet: Collection[Location] = ()) -> None:
        """Adds complaints, except about what lies in one of the `quiet` places."""
        located = [(self.key_path(error["loc"]), error) for error in errors]
        for loc, error in located:
            inner = any(other[: len(loc)] == loc and other != loc for other, _ in located)
            if error["type"] == "too_short" and inner:
                continue  # elements that are wrong were not counted
            for where, what in self._texts(error, loc):
                if not any(where[: len(place)] == place for place in quiet):
                    self._found.setdefault((where, what), self._line(where))

    def renamed(self, old: Location, new: Location) -> None:
        """The file says `old` where `new` was meant: what is found there keeps its lines."""
        for loc, line in list(self.lines.items()):
            if loc[: len(old)] == old:
                self.lines.setdefault((*new, *loc[len(old) :]), line)

    def near_name(self, loc: Location) -> str | None:
        """The valid key that is nearest to this one; none for a secret, whose value is not looked at."""
        if _SECRET_NAME.fullmatch(str(loc[-1])):
            return None
        near = difflib.get_close_matches(
            str(loc[-1]), sorted(_names_at(self.model, loc[:-1])), n=1, cutoff=0.6
        )
        return near[0] if near else None

    def near_choice(self, error: ErrorDetails) -> str | None:
        """The valid value that is nearest to a wrong one."""
        choices = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected")))
        near = difflib.get_close_matches(str(error["input"]), choices, n=1, cutoff=0.5)
        return near[0] if near else None

    def key_path(self, loc: Location) -> Location:
        """pydantic's path without the names of union members and validators that it mixes in."""
        path: Location = ()
        here: Any = self.data
        for position, step in enumerate(loc):
            if _holds(here, step):
                here = here[step]
            elif isinstance(here, dict) and position == len(loc) - 1 and isinstance(step, str):
                here = None  # a key that is missing
            else:
                continue
            path = (*path, step)
        return path

    def _line(self, loc: Location) -> int:
        """The line of the key, else of the nearest table around it; 0 when the file has none of them."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.lines:
                return self.lines[loc[:length]]
        return 0

    def _texts(self, error: ErrorDetails, loc: Location) -> list[tuple[Location, str]]:
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, Mistakes):
            return [((*loc, *path), text) for path, text in cause.found]
        return [(loc, self._text(error, loc))]

    def _text(self, error: ErrorDetails, loc: Location) -> str:
        context = error.get("ctx", {})
        message = error["msg"].removeprefix("Input ")
        text = f"{message[:1].lower()}{message[1:]}, not {shown(error['input'])}"
        match error["type"]:
            case "missing":
                text = "is missing"
            case "extra_forbidden":
                text = self._unknown_key(loc)
            case "literal_error" | "enum":
                near = self.near_choice(error)
                hint = f'; did you mean "{near}"?' if near else ""
                text = f"must be {context['expected']}, not {shown(error['input'])}{hint}"
            case "too_short":
                text = f"needs at least {context['min_length']}, and there are {context['actual_length']}"
            case "tuple_type" | "list_type":
                text = f'must be an array like ["…"], not {shown(error["input"])}'
            case "model_type" | "model_attributes_type" | "dict_type":
                text = f"must be a table, not {shown(error['input'])}"
            case "value_error":
                text = str(context["error"])
        return text

    def _unknown_key(self, loc: Location) -> str:
        name = str(loc[-1])
        if _SECRET_NAME.fullmatch(name):
            return (
                "secrets are never written into this file; "
                f'put it into a file that only the program can read and write {name}_file = "path"'
            )
        for section in sorted(_fields(self.model)):
            if len(loc) == 2 and section != loc[0] and name in _names_at(self.model, (section,)):
                return f"unknown key; it belongs into [{section}]"
        near = self.near_name(loc)
        if near is not None:
            return f'unknown key; did you mean "{near}"?'
        valid = sorted(_names_at(self.model, loc[:-1]))
        return f"unknown key; valid here: {', '.join(valid)}" if valid else "unknown key; none is valid here"


def _holds(container: object, step: str | int) -> bool:
    if isinstance(container, dict):
        return step in container
    return isinstance(container, list) and isinstance(step, int) and step < len(container)


def _names_at(model: type[BaseModel], loc: Location) -> set[str]:
    """The keys that are valid at a path, found by walking the annotations of the model."""
    kinds: list[Any] = [model]
    for step in loc:
        kinds = [found for kind in kinds for inner in _inside(kind, step) for found in _members(inner)]
    return {name for kind in kinds for name in _fields(kind)}


def _fields(kind: Any) -> dict[str, Any]:
    """Key → type of a model, as the file spells the key; nothing for any other type."""
    fields = getattr(kind, "model_fields", {})
    return {field.alias or name: field.annotation for name, field in fields.items()}


def _inside(kind: Any, step: str | int) -> list[Any]:
    """The types that a key or an index of this type may have."""
    fields = _fields(kind)
    if fields:
        return [fields[step]] if step in fields else []
    arguments = typing.get_args(kind)
    return list(arguments) if isinstance(step, int) else list(arguments[1:])


def _members(annotation: Any) -> Iterator[Any]:
    """A type, or the members of a union, without `Annotated` around them."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def shown(value: object) -> str:
    """A value as it may be shown: bounded, control characters escaped."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def key_text(loc: Location) -> str:
    """A path as people write it: `[agent] id`, `[[devices]] 2 port`; elements count from 1."""
    if not loc:
        return ""
    if len(loc) == 1:
        return f"[{loc[0]}]" if isinstance(loc[0], str) else str(loc[0] + 1)
    head, rest = loc[0], list(loc[1:])
    words = [f"[{head}]"]
    if isinstance(rest[0], int):
        words = [f"[[{head}]]", f"number {int(rest.pop(0)) + 1}"]
    tail = ""
    for step in rest:
        tail += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if tail else step
    return " ".join([*words, tail] if tail else words)

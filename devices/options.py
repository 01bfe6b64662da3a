"""Options of ports and drivers, as tables.

A port URL carries them in its query (`?baud=9600&terminator=cr`). Every port and driver declares a tuple of `Option`;
`take` turns the strings into values or says, all at once, what is wrong and what would be right.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devices.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, how its text becomes a value (raising ValueError with what is allowed), its default."""

    name: str
    read: Callable[[str], Any]
    default: Any
    meaning: str


def choice(*allowed: str) -> Callable[[str], str]:
    """One of these words."""

    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {text!r}")
        return text.lower()

    return read


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number within these bounds, both included."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return read


def numbers(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    """Whole numbers within these bounds, with commas between them; each once, in the order given."""

    def read(text: str) -> tuple[int, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isascii() and part.isdigit() and len(part) <= 12 for part in parts):
            raise ValueError(f"must be whole numbers with commas between them, such as 1,2; not {text!r}")
        found = tuple(dict.fromkeys(int(part) for part in parts))
        if not all(low <= value <= high for value in found):
            raise ValueError(f"must be whole numbers from {low} to {high}, not {text!r}")
        return found

    return read


def yes_or_no(text: str) -> bool:
    """A switch: yes or no, also as 1 and 0, true and false."""
    words = {"yes": True, "1": True, "true": True, "no": False, "0": False, "false": False}
    if text.lower() not in words:
        raise ValueError(f"must be yes or no, not {text!r}")
    return words[text.lower()]


def take(given: Mapping[str, str], known: tuple[Option, ...], *, what: str) -> dict[str, Any]:
    """The value of every known option. Raises `Misconfigured` naming every unknown or impossible one in `given`."""
    table = {option.name: option for option in known}
    values = {option.name: option.default for option in known}
    wrong = []
    for name, text in given.items():
        if name not in table:
            wrong.append(f"unknown option {name!r}{nearest(name, table)}")
            continue
        try:
            values[name] = table[name].read(text)
        except ValueError as problem:
            wrong.append(f"option {name!r} {problem}")
    if wrong:
        raise Misconfigured(f"{what}: {'; '.join(wrong)}")
    return values


def nearest(name: str, known: Mapping[str, object]) -> str:
    """`; did you mean …?` where a known name is near, else the list of those there are."""
    near = difflib.get_close_matches(name[:64], known, n=2, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are: {', '.join(sorted(known))}" if known else "; it has none"

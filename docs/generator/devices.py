"""The tables of options in docs/devices.md: from the drivers and ports themselves, between two comments each.

`<!-- options of NAME -->` … `<!-- end -->`; NAME is a driver, `port KIND`, `every port` or `stills`. What stands
between them is written by `make contract`, the rest of the page by people.
"""

import importlib
import re
from typing import Any

from devices.options import Option
from devices.ports.url import OPTIONS, SILENCE, STILLS
from devices.registry import DRIVERS

_PLACE = re.compile(r"(<!-- options of ([a-z0-9 -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Said by every option of what it refuses: "must be one of a, b, not 'x'".
_REFUSAL = re.compile(r"must be (?:one of |a |an )?(.*), not .*", re.DOTALL)
_IMPOSSIBLE = "\x00"


def fill(page: str) -> str:
    """The page with its tables as they must be now."""
    return _PLACE.sub(lambda match: f"{match[1]}{_table(options(match[2]))}{match[3]}", page)


def named(page: str) -> set[str]:
    """The names whose options stand on the page."""
    return {match[2] for match in _PLACE.finditer(page)}


def options(name: str) -> tuple[Option, ...] | None:
    """The options of a driver, `port KIND`, `every port` or `stills`; None for what is not in this release."""
    if name == "every port":
        return (SILENCE,)
    if name == "stills":
        return STILLS
    if name.startswith("port "):
        return OPTIONS.get(name.removeprefix("port "))
    if name not in DRIVERS:
        return None
    module, _, cls = DRIVERS[name].target.partition(":")
    found: tuple[Option, ...] = getattr(importlib.import_module(module), cls).OPTIONS
    return found


def _table(known: tuple[Option, ...] | None) -> str:
    if known is None:
        return "Not in this release.\n"
    if not known:
        return "It has no options of its own.\n"
    rows = [
        f"| `{option.name}` | {_allowed(option)} | {_default(option.default)} | {_cell(option.meaning)} |\n"
        for option in known
    ]
    return "".join(["| option | may be | left out | |\n|---|---|---|---|\n", *rows])


def _allowed(option: Option) -> str:
    try:
        option.read(_IMPOSSIBLE)
    except ValueError as refusal:
        match = _REFUSAL.fullmatch(str(refusal))
        if match is not None:
            return _cell(match[1])
    return ""


def _default(value: Any) -> str:
    match value:
        case None | () | b"" | "":
            return ""
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ",".join(str(member) for member in value)
        case _:
            return _cell(str(value))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")

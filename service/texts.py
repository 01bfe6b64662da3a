"""The one catalogue of everything the pages say: `texts.toml`.

The one idea: a page never contains a sentence, only the key of one, `section.key`. A key that does not exist
is a defect and raises; a test finds keys that nobody uses.
"""

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

CATALOGUE: Final = Path(__file__).parent / "texts.toml"


class Texts:
    """Texts by dotted key, with `{values}` filled in."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree
        self.flat: dict[str, str] = dict(_flatten(tree, ""))

    @classmethod
    def read(cls, path: Path = CATALOGUE) -> "Texts":
        """The catalogue in a TOML file."""
        return cls(tomllib.loads(path.read_text(encoding="utf-8")))

    def t(self, key: str, **values: object) -> str:
        """The text under `section.key`; raises KeyError when it, or one of its values, is missing."""
        try:
            template = self.flat[key]
        except KeyError:
            raise KeyError(f"texts.toml has no text {key!r}; add it there") from None
        try:
            return template.format_map(values) if values or "{" in template else template
        except KeyError as missing:
            raise KeyError(f"the text {key!r} needs the value {missing}") from None

    def sections(self, *names: str) -> dict[str, str]:
        """All texts of some sections by full key, for scripts: see `data-texts` in base.html."""
        for name in names:
            if name not in self._tree:
                raise KeyError(f"texts.toml has no section [{name}]")
        return {key: text for key, text in self.flat.items() if key.split(".", 1)[0] in names}


def _flatten(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found += _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            found.append((prefix + name, value))
        else:
            raise TypeError(f"texts.toml: {prefix}{name} must be text")
    return found


@functools.cache
def catalogue() -> Texts:
    """The shipped catalogue, read once."""
    return Texts.read()

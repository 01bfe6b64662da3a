"""The examples in docs/contract.md: every fenced block whose info string is `json NAME` is one of schema NAME."""

import json
import re
from typing import Any

_FENCE = re.compile(r"^```(\w+) ([\w-]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> dict[str, list[str]]:
    """The fenced blocks of one language by the name beside it, in the page's order."""
    found: dict[str, list[str]] = {}
    for match in _FENCE.finditer(text):
        if match[1] == language:
            found.setdefault(match[2], []).append(match[3])
    return found


def examples(text: str) -> dict[str, list[Any]]:
    """The JSON examples of the page by the name of their schema.

    Raises:
        ValueError: a block is no JSON; the text says which.
    """
    found: dict[str, list[Any]] = {}
    for name, texts in blocks(text, "json").items():
        for number, block in enumerate(texts, 1):
            try:
                found.setdefault(name, []).append(json.loads(block))
            except json.JSONDecodeError as error:
                raise ValueError(f"docs/contract.md, example {number} of {name}: {error}") from error
    return found

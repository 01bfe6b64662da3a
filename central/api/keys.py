"""Idempotency keys: a request that is sent again under its key is done once and answered alike.

The one idea: the ledger stores the answer in the transaction of the write, under a hash of who asked where with
which key. Here are the hashes, and which of them are running in this process just now.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import rfc8785
from pydantic import BaseModel

from central.api.problems import refuse
from central.ledger.commands import Key

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
"""Tells that this answer was given before."""
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")


def read_key(value: str | None) -> str | None:
    """The header's value, checked.

    Raises:
        Problem: `invalid`, when it is not 1 to 200 visible ASCII characters.
    """
    if value is None:
        return None
    if not _KEY.fullmatch(value):
        what = "must be 1 to 200 visible ASCII characters, without spaces"
        raise refuse(
            "invalid", f"header.{HEADER}: {what}", errors=[{"where": f"header.{HEADER}", "what": what}]
        )
    return value


def key_for(*, token_hash: str, method: str, path: str, key: str, body: BaseModel | None) -> Key:
    """The key as the ledger stores it. What the body leaves out counts as its default."""
    # Only the path may hold a newline, and only one part can be it: no two requests share a text.
    scope = "\n".join((token_hash, method, path, key))
    content = b"" if body is None else rfc8785.dumps(body.model_dump(mode="json", exclude_defaults=True))
    return Key(
        scope=hashlib.sha256(scope.encode()).hexdigest(), body_hash=hashlib.sha256(content).hexdigest()
    )


class Running:
    """Keys whose request is being answered now. As many as requests are: the server bounds them."""

    def __init__(self) -> None:
        self._scopes: set[str] = set()

    @contextmanager
    def claim(self, key: Key | None) -> Iterator[None]:
        """Hold the key while the request runs.

        Raises:
            Problem: `in-progress`, when another request holds it.
        """
        if key is None:
            yield
            return
        if key.scope in self._scopes:
            raise refuse(
                "in-progress",
                "A request with this Idempotency-Key is still running. Wait for its answer, or try again.",
                headers={"Retry-After": "1"},
            )
        self._scopes.add(key.scope)
        try:
            yield
        finally:
            self._scopes.discard(key.scope)

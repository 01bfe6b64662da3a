"""What "the same content" means: the SHA-256 of an event's canonical JSON (RFC 8785).

Content is `type`, `time` and `data`, without nulls and without `data.previous`: the envelope's place in a
stream may change when an event is entered again, its content may not.
"""

import hashlib
import json
from typing import Any, Final

import msgspec
import rfc8785

EXACT: Final = 2**53 - 1  # the largest integer that every JSON reader keeps exact (RFC 8259 §6)


class _Unusual(Exception):
    """Canonical JSON of this needs more than Python's own encoder."""


def without_nulls(value: Any) -> Any:
    """The value with every null member of every object removed: absent and null mean the same."""
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(member) for member in value]
    return value


def content_hash(*, type: str, time: str, data: dict[str, Any]) -> str:  # noqa: A002 (the contract's word)
    """The hash that two deliveries of one id must share. 64 hex digits."""
    content = {"type": type, "time": time, "data": {key: data[key] for key in data if key != "previous"}}
    try:
        text = _plain(content)
    except (_Unusual, UnicodeEncodeError):
        text = _canonical(without_nulls(content))
    return hashlib.sha256(text).hexdigest()


def _plain(content: dict[str, Any]) -> bytes:
    """Canonical JSON of strings, small integers and ASCII names: there msgspec's sorted encoding and RFC 8785 agree,
    and it is thirty times as fast.
    """
    return msgspec.json.encode(_checked(content), order="sorted")


def _checked(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is bool:
        return value
    if kind is int and -EXACT <= value <= EXACT:
        return value
    if kind is dict and "".join(value).isascii():
        return {
            key: member if type(member) is str else _checked(member)
            for key, member in value.items()
            if member is not None
        }
    if kind is list:
        return [None if member is None else _checked(member) for member in value]
    raise _Unusual


def _canonical(content: dict[str, Any]) -> bytes:
    try:
        return rfc8785.dumps(content)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        # An integer beyond 2^53 or a lone surrogate has no canonical form. Such data is rejected later, but two
        # deliveries of it must still compare equal.
        return json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()

"""Who may ask: access tokens with a role. Only their SHA-256 is stored, so a stolen database opens nothing.

The one idea: a token is 256 random bits, so its plain hash cannot be guessed and the hash is the key of its row;
what was found is remembered for a few seconds, so that a busy storefront costs no query per request.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal, get_args

import sqlalchemy as sa

from central import tables
from central.database import now_us

Role = Literal["read", "operate", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)  # each may do what those before it may

TOKEN_PREFIX: Final = "tly_"  # noqa: S105 (not a secret: it lets people and scanners see what a leaked text is)
TOKEN_BYTES: Final = 32
TOKEN_MAX_CHARS: Final = 200
REMEMBERED_MAX: Final = 10_000
REMEMBERED_S: Final = 5.0
"""A revoked token works for so long at most."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token it is."""

    token_hash: str
    name: str
    role: Role

    @property
    def actor(self) -> str:
        """As movements name them."""
        return f"token:{self.name}"

    def may(self, role: Role) -> bool:
        """Whether the token's role includes this one."""
        return ROLES.index(self.role) >= ROLES.index(role)


def hashed(secret: str) -> str:
    """What is stored of a token or a session."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create(connection: sa.Connection, *, name: str, role: Role) -> str:
    """A new token; this is the only time that it is known."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    row = {"hash": hashed(token), "name": name, "role": role, "created_us": now_us(connection)}
    connection.execute(sa.insert(tables.token).values(row))
    return token


def find(connection: sa.Connection, token_hash: str) -> Caller | None:
    """Whose token has this hash, unless it was revoked."""
    t = tables.token.c
    query = sa.select(t.hash, t.name, t.role).where(t.hash == token_hash, t.revoked_us.is_(None))
    row = connection.execute(query).one_or_none()
    if row is None or not hmac.compare_digest(row.hash, token_hash):
        return None
    return Caller(row.hash, row.name, row.role)


class Remembered:
    """Tokens that were found lately. Unknown ones are not remembered: nobody can fill this with guesses."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    def get(self, token_hash: str, now_s: float) -> Caller | None:
        """The caller, if the database said so within REMEMBERED_S."""
        found = self._found.get(token_hash)
        if found is None:
            return None
        caller, until_s = found
        if now_s >= until_s:
            del self._found[token_hash]
            return None
        return caller

    def put(self, caller: Caller, now_s: float) -> None:
        """The database said so now."""
        self._found[caller.token_hash] = (caller, now_s + REMEMBERED_S)
        self._found.move_to_end(caller.token_hash)
        if len(self._found) > REMEMBERED_MAX:
            self._found.popitem(last=False)

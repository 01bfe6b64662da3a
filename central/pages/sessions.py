"""Who is signed in at the dashboard: a cookie holds a random secret, the database its hash.

The one idea: a session is worth no more than the token that it was opened with, so it is looked up together with
that token and ends with it.
"""

import secrets
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from central import tables
from central.api.tokens import Caller, hashed
from central.database import now_us

COOKIE: Final = "tallyman_session"
LIFETIME_S: Final = 12 * 3600  # a shift


@dataclass(frozen=True, slots=True)
class Session:
    """A person at the dashboard."""

    hash: str
    caller: Caller


def begin(connection: sa.Connection, caller: Caller) -> str:
    """A new session's secret, for the cookie. Sessions that have ended are swept on the way."""
    now = now_us(connection)
    secret = secrets.token_urlsafe(32)
    s = tables.session.c
    connection.execute(sa.delete(tables.session).where(s.expires_us <= now))
    connection.execute(
        sa.insert(tables.session).values(
            hash=hashed(secret),
            token_hash=caller.token_hash,
            created_us=now,
            expires_us=now + LIFETIME_S * 1_000_000,
        )
    )
    return secret


def find(connection: sa.Connection, secret: str) -> Session | None:
    """The session with this secret, while it lasts and its token was not revoked."""
    s, t = tables.session.c, tables.token.c
    query = (
        sa.select(s.hash, t.hash.label("token_hash"), t.name, t.role)
        .join(tables.token, t.hash == s.token_hash)
        .where(s.hash == hashed(secret), s.expires_us > now_us(connection), t.revoked_us.is_(None))
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Session(row.hash, Caller(row.token_hash, row.name, row.role))


def end(connection: sa.Connection, secret: str) -> None:
    """Sign out."""
    connection.execute(sa.delete(tables.session).where(tables.session.c.hash == hashed(secret)))

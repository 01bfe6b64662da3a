"""Opening the database at start: wait a little for one that is starting too, then bring its tables up to date."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa

from central.database import migrate
from service import log, process

DATABASE_TRIES: Final = 6
DATABASE_RETRY_FIRST_S: Final = 0.5
"""Doubles with every try: a database that starts beside us has 15 s for it."""
_ADVICE_SERVER: Final = "Start it, or correct [database] url in the configuration, then try again."
_ADVICE_FILE: Final = (
    "Its directory has to be there, and this user has to be able to write to it and to the file; or correct "
    "[database] url in the configuration."
)
_AWAY: Final = (sa.exc.OperationalError, sa.exc.InterfaceError)

_log = log.get("central")


async def prepare(
    engine: sa.Engine, url: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Bring the tables up to date, once the database answers.

    Raises:
        Failure: it did not answer in time, or cannot be used.
    """
    for attempt in range(DATABASE_TRIES):
        try:
            await asyncio.to_thread(migrate, engine)
        except _AWAY as error:
            reason = " ".join(str(error.orig or error).split())
            if attempt + 1 == DATABASE_TRIES:
                advice = _ADVICE_FILE if url.startswith("sqlite") else _ADVICE_SERVER
                raise process.Failure(f"The database {url} does not answer: {reason}\n{advice}") from error
            pause_s = DATABASE_RETRY_FIRST_S * 2**attempt
            _log.warning("the database does not answer yet", reason=reason, again_in_s=pause_s)
            await sleep(pause_s)
        else:
            return

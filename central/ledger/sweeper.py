"""Writes down that holds have expired. Nobody depends on it: readings and claims look at the clock themselves.

A dead sweeper locks nothing; a hold that is past its time is let go whenever its SKU is touched.
"""

import asyncio
from typing import Final

from central.ledger.commands import ExpireReservations
from central.ledger.service import Ledger, LedgerBusy, LedgerDown, LedgerError
from service import log

_log = log.get("central.ledger")

EVERY_S: Final = 1.0
LIMIT: Final = 500  # holds in one transaction; when it was full, the next follows at once


async def sweep(ledger: Ledger, *, every_s: float = EVERY_S) -> None:
    """Expire what is overdue, for ever. Cancel to stop."""
    while True:
        expired = 0
        try:
            expired = (await ledger.submit(ExpireReservations(LIMIT))).body["expired"]
        except (LedgerBusy, LedgerDown) as error:
            _log.debug("sweeping holds later", reason=str(error))
        except LedgerError:
            _log.exception("sweeping holds failed; readings are right all the same")
        if expired < LIMIT:
            await asyncio.sleep(every_s)

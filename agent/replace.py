"""The operator's word for a damaged journal: `tallyman journal replace`."""

import os
import sqlite3
from pathlib import Path

from agent import config
from service import log, process
from sync.journal import salvage
from sync.journal.recorded import JournalError


def main(path: Path) -> int:
    """Put the damaged journal of this agent aside, and start a new one with all that can be read; the exit status.

    Raises:
        service.config.ConfigError: the configuration has mistakes.
        service.process.Failure: it was not done, and why; the journal is as it was.
    """
    agent = config.load(path).agent
    log.configure(json=False)  # how far a long check has come
    try:
        done = salvage.replace(agent.journal, agent=agent.id, site=agent.site, random_bytes=os.urandom)
    except JournalError as error:
        raise process.Failure(str(error)) from None
    except (sqlite3.Error, OSError) as error:
        text = f"{agent.journal}: no new journal can be made ({error}). The old one is where it was. Check the disk"
        raise process.Failure(text) from None
    process.say(
        f"{agent.journal}: a new journal begins with what was found in the damaged one and may not be at central"
        f" (scans: {done.entered}). At central for certain: {done.settled}.\n"
        + (f"Stretches that could not be read: {done.unreadable}.\n" if done.unreadable else "")
        + (
            f"The damaged journal is kept: {done.aside}. Keep it until the stock is counted.\n"
            if done.aside
            else "Of the old journal nothing was left to keep. Count the stock.\n"
        )
        + "Start the agent again."
    )
    return process.DONE

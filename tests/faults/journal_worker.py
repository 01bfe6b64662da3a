"""A program with a journal and nothing else, that does what its standard input says: the journal's own tests kill it.

    python -m tests.faults.journal_worker PATH BALLAST_BYTES

One JSON object a line comes in, one goes out. Whatever was told to be recorded is also written into the file `told`
beside the journal before it is said: there it stands in a recording of what the program did to the disk.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import structlog

from sync.engine import Record
from sync.journal import Draft, Journal, JournalError
from sync.journal.recorded import JournalDamaged
from sync.messages import Verdict


class Worker:
    def __init__(self, path: Path, journal: Journal) -> None:
        self.journal = journal
        self._told = (path.parent / "told").open("a")

    async def append(self, ids: list[str], size: int = 10, at_once: bool = False) -> dict[str, Any]:
        drafts = [Draft(i, "tallyman.received.v1", "2026-11-20T08:15:30Z", {"sku": "x" * size}) for i in ids]
        for group in [drafts] if at_once else [[draft] for draft in drafts]:
            recorded = await self.journal.append(group)
            for one in recorded:
                self._told.write(f"{one.event.id}\n")
            self._told.flush()
        return {"sequence": recorded[-1].sequence if recorded else 0}

    async def settle(self, ids: dict[str, int]) -> dict[str, Any]:
        """Central's verdict on these events of the current incarnation."""
        incarnation = self.journal.incarnation
        verdicts = tuple(
            (incarnation, Verdict(sequence=sequence, id=id_, outcome="accepted"))
            for id_, sequence in ids.items()
        )
        await self.journal.record(Record(verdicts=verdicts))
        return {"queued": self.journal.queued}

    async def held(self) -> dict[str, Any]:
        recent = await self.journal.recent(1_000_000)
        return {"ids": [one.event.id for one in reversed(recent)], "at": [one.recorded_ms for one in recent]}

    async def state(self) -> dict[str, Any]:
        condition = self.journal.condition
        return {
            "kind": condition.kind if condition else None,
            "text": condition.text if condition else "",
            "refuses": bool(condition and condition.refuses),
            "queued": self.journal.queued,
            "moved_from": self.journal.moved_from,
        }


async def main(path: Path, ballast_bytes: int) -> None:
    def say(**answer: Any) -> None:
        print(json.dumps(answer), flush=True)

    try:
        journal = await Journal.open(path, agent="dock-1", site="lej1", ballast_bytes=ballast_bytes)
    except JournalError as error:
        say(error=str(error), damaged=isinstance(error, JournalDamaged))
        return
    worker = Worker(path, journal)
    say(incarnation=journal.incarnation)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        do = order.pop("do")
        if do == "close":
            break
        try:
            say(**await getattr(worker, do)(**order))
        except JournalError as error:
            say(error=str(error))
    await journal.close()
    say(closed=True)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

"""Kills agents and central at random moments under load, many times, and then counts: `make torture`.

    python -m tests.faults.torture --agent-kills 1000 --central-kills 200

Several docks scan without a pause. Their agents die by SIGKILL at random moments, also while they start, and central
dies beside them. Every code is scanned once, and every OK that a page showed is written down here. At the end nobody
dies any more; when all journals are settled, each OK must be in the ledger exactly once, and what had no OK at most
once. Exit status 0: so it is; 1: it is not, and what is missing or doubled is printed; 130: Ctrl-C.

The moments come from the seed. What a program does at that moment does not: the same seed is another run.
"""

import argparse
import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.dock import Dock
from tests.faults.nursery import Nursery
from tests.faults.record import Central, complaints
from tests.support.broker import Broker
from tests.support.wait import eventually_async

AGENT_STARTS_S = 0.5  # one of four agents dies so early: while it opens its journal, or says its first hello
AGENT_WORKS_S = 0.8  # the others live so long at most after their page was there: they scan, drain, are told
CENTRAL_LIVES_S = 2.0
PACE_S = 0.004  # between two scans of one dock
HEAL_S = 600.0
TOLD = 40  # of what is wrong


class Torture:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.chance = random.Random(options.seed)
        self.agents_killed = self.central_killed = 0
        self.broker = Broker()
        self.nursery = Nursery()
        self.central = Central(self.nursery, folder / "central", self.broker.url)
        self.docks = [
            Dock(self.nursery, folder / f"dock-{number}", f"dock-{number}", self.broker.url)
            for number in range(1, options.agents + 1)
        ]
        self.over = asyncio.Event()
        self.began = time.monotonic()

    async def run(self) -> int:
        """Torture, heal, count; the exit status."""
        options = self.options
        try:
            self.broker.start()
            self.nursery.open()
            await self.central.create()
            async with asyncio.timeout(options.minutes * 60):
                await self._torture()
            self._say("nobody dies any more; waiting until every journal is settled")
            healed_at = time.monotonic()
            await asyncio.gather(*(dock.settled(HEAL_S) for dock in self.docks))
            return await self._count(time.monotonic() - healed_at)
        finally:
            for part in (*self.docks, self.central):
                await part.close()
            self.nursery.close()
            self.broker.close()

    async def _torture(self) -> None:
        telling = asyncio.create_task(self._tell())
        scanning = [asyncio.create_task(dock.scan_until(self.over, PACE_S)) for dock in self.docks]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._kill_central())
                for dock in self.docks:
                    group.create_task(self._kill_agent(dock))
            self.over.set()
            await asyncio.gather(*scanning)
        finally:
            for task in (telling, *scanning):
                task.cancel()

    async def _kill_agent(self, dock: Dock) -> None:
        """Start it and kill it, again and again; at the end it lives."""
        while self.agents_killed < self.options.agent_kills:
            self.agents_killed += 1
            await dock.start({})
            if self.chance.random() < 0.25:
                await asyncio.sleep(self.chance.random() * AGENT_STARTS_S)
            else:
                await eventually_async(lambda: dock.page is not None, HEAL_S, f"{dock.agent} serves")
                await asyncio.sleep(self.chance.random() * AGENT_WORKS_S)
            await dock.kill()
        await dock.start({})

    async def _kill_central(self) -> None:
        while self.central_killed < self.options.central_kills:
            await self.central.start(wait=False, constants={})
            while self._share(self.central_killed, "central_kills") > self._share(
                self.agents_killed, "agent_kills"
            ):
                await asyncio.sleep(0.05)  # both are done at the same time
            await asyncio.sleep(self.chance.random() * CENTRAL_LIVES_S)
            await self.central.kill()
            self.central_killed += 1
        await self.central.start(constants={})

    def _share(self, done: int, what: str) -> float:
        """How much of it is done; all, if nothing was wanted."""
        wanted: int = getattr(self.options, what)
        return done / wanted if wanted else 1.0

    async def _count(self, heal_s: float) -> int:
        books = await asyncio.to_thread(self.central.books)
        wrong = complaints(books, self.docks)
        sent, ok = (
            sum(len(each) for each in (getattr(dock, name) for dock in self.docks)) for name in ("sent", "ok")
        )
        refused = sum(len(dock.refused) for dock in self.docks)
        print(
            f"seed {self.options.seed}: {self.agents_killed} kills of {len(self.docks)} agents,"
            f" {self.central_killed} of central, in {time.monotonic() - self.began:.0f} s\n"
            f"{sent} codes scanned, {ok} told OK, {refused} refused, {len(books.events)} in the ledger;"
            f" settled {heal_s:.1f} s after the last kill\n"
            f"histories: {', '.join(books.histories)}; discrepancies: {', '.join(sorted(books.alarms)) or 'none'}"
        )
        if not ok:
            wrong.append("nothing was told OK: this proves nothing")
        for line in wrong[:TOLD]:
            print(f"WRONG: {line}")
        print(f"{len(wrong)} promises broken" if wrong else "every OK is in the ledger once")
        return 1 if wrong else 0

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self.options.tell_s)
            ok = sum(len(dock.ok) for dock in self.docks)
            self._say(
                f"{self.agents_killed}/{self.options.agent_kills} kills of agents,"
                f" {self.central_killed}/{self.options.central_kills} of central, {ok} scans told OK"
            )

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.torture", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--agent-kills", type=int, default=1000, help="how many, in all (1000)")
    parser.add_argument("--central-kills", type=int, default=200, help="how many (200)")
    parser.add_argument("--agents", type=int, default=4, help="how many die beside one another")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(10**6),
        help="of the moments; left out: any",
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="fail if the kills take longer")
    parser.add_argument("--tell-s", type=float, default=10.0, help="how often to say how far it is")
    parser.add_argument(
        "--keep", action="store_true", help="leave the journals, the database and the logs there"
    )
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="tallyman-torture-"))
    print(f"seed {options.seed}; journals, database and logs are in {folder}", file=sys.stderr, flush=True)
    status = 1
    try:
        status = asyncio.run(Torture(options, folder).run())
    except KeyboardInterrupt:
        print("ended by Ctrl-C: nothing was counted", file=sys.stderr)
        status = 130
    except (AssertionError, TimeoutError) as error:
        print(f"WRONG: {error or 'the kills took too long'}")
    finally:
        if status in (0, 130) and not options.keep:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

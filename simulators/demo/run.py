"""Runs the demo from start to end: the folder, the signals, the exit status."""

import asyncio
import logging
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from simulators.demo import warehouse
from simulators.demo.proof import Verdict, compare
from simulators.demo.rest import Refused
from simulators.demo.show import Show
from simulators.demo.stage import NotPossible, Stage, find_mosquitto
from simulators.demo.station import NoAnswer
from simulators.demo.story import Story
from simulators.demo.warehouse import Plan
from simulators.demo.worker import CannotGoOn
from simulators.processes import ProgramFailed

PROVEN, FAILED, WRONG_USE = 0, 1, 2
"""Exit statuses."""
SEED: Final = 7
_WATCH_S: Final = 0.5

BeforeProof = Callable[[Stage, Story], Awaitable[None]]


def main(
    exit_when_proven: bool = False,
    *,
    folder: Path | None = None,
    plan: Plan | None = None,
    before_proof: BeforeProof | None = None,
    show: Show | None = None,
) -> int:
    """Run the demo; the exit status.

    Args:
        exit_when_proven: end after the proof; otherwise serve until Ctrl-C.
        folder: where everything is kept; None: a temporary one that is removed at the end.
        plan: what happens; None: everything.
        before_proof: called when all is done and before the proof looks: a proof that cannot fail proves nothing.
        show: where to tell about it; None: standard output.
    """
    show = show or Show()
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # not a line for each request
    try:
        find_mosquitto()
    except NotPossible as problem:
        sys.stderr.write(f"tallyman demo: {problem}\n")
        return FAILED
    if folder is not None and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        sys.stderr.write(f"tallyman demo: {folder} is there already: name a directory that is new or empty\n")
        return WRONG_USE
    place = (folder or Path(tempfile.mkdtemp(prefix="tallyman-demo-"))).resolve()
    run = _Run(place, plan, before_proof, show)
    try:
        status = asyncio.run(_until_signalled(run, exit_when_proven))
    except (ProgramFailed, CannotGoOn, Refused, NoAnswer, TimeoutError) as problem:
        run.failed, status = True, FAILED
        show.result(False, f"the demo stopped: {problem}")
    if folder is not None or run.failed:
        show.plain(f"Journals, ledger and logs are kept in {place}")
    else:
        shutil.rmtree(place)
    return status


async def _until_signalled(run: "_Run", exit_when_proven: bool) -> int:
    """A signal cancels the run, which closes everything on its way out; then the status of what was proven."""
    task = asyncio.ensure_future(run.to_the_end(exit_when_proven))
    signalled = False

    def stop() -> None:
        nonlocal signalled
        signalled = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not signalled:
            raise
        return run.status
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


class _Run:
    """One run, and how it stands."""

    def __init__(self, folder: Path, plan: Plan | None, before_proof: BeforeProof | None, show: Show) -> None:
        self._rng = random.Random(SEED)  # noqa: S311 (a simulation that can be repeated)
        self._folder, self._before_proof, self._show = folder, before_proof, show
        self._plan = plan or warehouse.full_plan(self._rng)
        self.status = FAILED
        """Until the proof says otherwise."""
        self.failed = False
        """Something went wrong that a person will want to look into."""

    async def to_the_end(self, exit_when_proven: bool) -> int:
        """Everything; returns the exit status, or serves for ever."""
        self._show.stage("Starting the broker, central and three agents")
        async with Stage.open(self._folder, self._rng) as stage:
            try:
                await stage.start_all(self._plan.operators)
                self._addresses(stage)
                await self._until_the_work_is_done(stage, exit_when_proven)
            finally:
                self._show.stage("Ending all programs")
        return self.status

    async def _until_the_work_is_done(self, stage: Stage, exit_when_proven: bool) -> None:
        """The others run for ever: whichever ends first is the work that is done, or a failure."""
        tasks = [
            asyncio.create_task(self._work(stage, exit_when_proven)),
            asyncio.create_task(_watch(stage)),
            *(asyncio.create_task(agent.station.follow()) for agent in stage.agents),
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, stage: Stage, exit_when_proven: bool) -> None:
        await self._tell(stage)
        if not exit_when_proven:
            self._show.plain()
            self._show.plain("Everything keeps running: open the pages above. Ctrl-C ends it.")
            await asyncio.Event().wait()

    async def _tell(self, stage: Stage) -> None:
        story = Story(stage, self._plan, self._show, self._rng)
        await story.tell()
        self._show.stage("The proof, from outside: hands, screens, central's REST API, the agents' lists")
        if self._before_proof is not None:
            await self._before_proof(stage, story)
        self._report(compare(await story.evidence()))

    def _report(self, verdict: Verdict) -> None:
        self.status, self.failed = (PROVEN, False) if verdict.proven else (FAILED, True)
        for line in verdict.numbers():
            self._show.happened(line)
        self._show.result(verdict.proven, verdict.summary())
        for line in verdict.differences():
            self._show.result(False, line)

    def _addresses(self, stage: Stage) -> None:
        self._show.happened("they are up:")
        for agent in stage.agents:
            self._show.address(f"station {agent.name}", agent.station.page)
        self._show.address("dashboard", f"{stage.central_url}/")
        self._show.address("sign in with", stage.token)
        self._show.address("logs", str(stage.logs))


async def _watch(stage: Stage) -> None:
    """For ever; a program that ends by itself ends the demo."""
    while True:
        stage.programs.check()
        await asyncio.sleep(_WATCH_S)

"""python -m tests.fuzz [DRIVER…] --seconds 60: fuzz decoders, and print what the corpora reach.

Each target starts from its seeds and from what earlier runs found, which is kept in `.fuzz/`. A run fails on the
first finding, with the input's file and how to play it again, and where less than 95 % of the branches were reached.
"""

import asyncio
import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tests.fuzz.seeds import seeds
from tests.support.drivers import BYTE_DRIVERS

KEPT = Path(".fuzz")
ENOUGH_PERCENT = 95.0
LONGEST_INPUT_BYTES = 20_000
SLOWEST_INPUT_S = 10


@dataclass(frozen=True)
class Outcome:
    """What one target came to."""

    driver: str
    runs: int
    inputs: int
    percent: float
    missing: str
    finding: str

    @property
    def good(self) -> bool:
        return not self.finding and self.percent >= ENOUGH_PERCENT


def main(
    drivers: Annotated[list[str] | None, typer.Argument(help="Which; default: all.")] = None,
    seconds: Annotated[int, typer.Option(help="How long each.", min=1)] = 60,
) -> None:
    """Fuzz decoders with coverage feedback."""
    unknown = sorted(set(drivers or ()) - set(BYTE_DRIVERS))
    if unknown:
        raise typer.BadParameter(f"no driver {', '.join(unknown)}; there are: {', '.join(BYTE_DRIVERS)}")
    outcomes = asyncio.run(_all(drivers or list(BYTE_DRIVERS), seconds))
    print(f"\n{'driver':<16}{'inputs run':>12}{'corpus':>8}{'branches':>10}  finding")
    for outcome in outcomes:
        print(
            f"{outcome.driver:<16}{outcome.runs:>12,}{outcome.inputs:>8}{outcome.percent:>9.1f}%"
            f"  {outcome.finding or 'none'}"
        )
    for outcome in outcomes:
        if outcome.percent < ENOUGH_PERCENT:
            print(f"\n{outcome.driver} reaches less than {ENOUGH_PERCENT:.0f} %:\n{outcome.missing}")
    raise typer.Exit(0 if all(outcome.good for outcome in outcomes) else 1)


async def _all(drivers: list[str], seconds: int) -> list[Outcome]:
    cores = asyncio.Semaphore(os.cpu_count() or 1)

    async def one(driver: str) -> Outcome:
        async with cores:
            print(f"{driver}: fuzzing for {seconds} s", file=sys.stderr, flush=True)
            return await _fuzz(driver, seconds)

    return await asyncio.gather(*(one(driver) for driver in drivers))


async def _fuzz(driver: str, seconds: int) -> Outcome:
    corpus, findings = KEPT / driver / "corpus", KEPT / driver / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds(driver):
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    status, said = await _run(
        "tests.fuzz.target",
        driver,
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT_BYTES}",
        f"-timeout={SLOWEST_INPUT_S}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
        str(corpus),
    )
    log = KEPT / driver / "log"
    log.write_text(said)
    runs = re.search(r"number_of_executed_units: (\d+)", said)
    finding = ""
    if status:
        artifact = re.search(r"Test unit written to (\S+)", said)
        where = artifact[1] if artifact else "no input"
        finding = f"{where}; see {log}; again: python -m tests.fuzz.target {driver} {where}"
    reached, missing = 0.0, said[-2000:]
    if not finding:
        status, said = await _run("tests.fuzz.measure", driver, str(corpus))
        lines = said.splitlines()
        figures = [line for line in lines if re.fullmatch(r"\d+\.\d", line)]
        if status or not figures:
            finding = f"the corpus could not be played again: {lines[-1] if lines else 'no output'}"
        else:
            reached, missing = float(figures[0]), said
    inputs = sum(1 for _ in corpus.iterdir())
    return Outcome(driver, int(runs[1]) if runs else 0, inputs, reached, missing, finding)


async def _run(module: str, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode(errors="replace")


if __name__ == "__main__":
    typer.run(main)

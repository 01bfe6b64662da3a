"""`python -m tests.simulation`: many seeds over all cores, or one of them again with its trace. `make simulate`."""

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from tests.simulation import mistakes
from tests.simulation.play import Outcome, play, shrink
from tests.simulation.pool import played
from tests.simulation.scenario import NOISE, Cut

SHOWN = 5  # failing seeds that are shrunk and shown; the rest is counted
EVERY_S = 10.0


def main() -> int:
    """The exit status: 0 when every promise was kept in every run."""
    options = _options()
    if options.seed is not None:
        return _one(options)
    return _many(options.first, options.seeds, options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    many = parser.add_argument_group("many seeds")
    many.add_argument("--seeds", type=int, default=500, help="how many (default 500)")
    many.add_argument("--from", dest="first", type=int, default=0, help="the first one (default 0)")
    many.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="processes (default: one for each core)"
    )
    one = parser.add_argument_group("one seed, with its trace")
    one.add_argument("--seed", type=int)
    one.add_argument("--off", default="", help=f"without this noise: {','.join(NOISE)}")
    one.add_argument("--faults", help="these faults alone, by their numbers; none")
    one.add_argument("--agents", type=int)
    one.add_argument("--workers", type=int)
    one.add_argument("--scans", type=int)
    one.add_argument("--mistake", choices=sorted(mistakes.MISTAKES), help="with this mistake planted")
    one.add_argument("--shrink", action="store_true", help="look for less that fails the same way")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds: at least 1, or nothing is shown")
    return options


def _one(options: argparse.Namespace) -> int:
    only = None
    if options.faults is not None:
        only = frozenset(int(number) for number in options.faults.split(",") if number.isdigit())
    off = frozenset(name for name in options.off.split(",") if name)
    by = Cut(off, only, options.agents, options.workers, options.scans)
    with mistakes.planted(options.mistake):
        outcome = play(options.seed, by)
        if options.shrink and outcome.wrong:
            outcome = shrink(outcome)
        outcome = play(outcome.seed, outcome.cut, tracing=True)
    print("\n".join(outcome.lines))
    print(f"\n{outcome.wrong or 'every promise was kept'}\n{outcome.command}")
    return 1 if outcome.wrong else 0


# --- many ------------------------------------------------------------------------------------------


def _many(first: int, seeds: int, jobs: int) -> int:
    began, shown_s, done, steps = time.monotonic(), 0.0, 0, 0
    counts: Counter[str] = Counter()
    failed: list[Outcome] = []
    try:
        for outcomes in played(first, seeds, jobs):
            for outcome in outcomes:
                done, steps = done + 1, steps + outcome.steps
                counts.update(outcome.counts)
                if outcome.wrong:
                    failed.append(outcome)
                    print(f"\nseed {outcome.seed}: {outcome.wrong}", flush=True)
            took_s = time.monotonic() - began
            if took_s - shown_s >= EVERY_S:
                shown_s = took_s
                print(
                    f"{done} of {seeds} seeds, {done / took_s:.0f} a second, {len(failed)} failed", flush=True
                )
    except KeyboardInterrupt:
        print("\nstopped")
    _summary(done, steps, time.monotonic() - began, counts)
    for outcome in failed[:SHOWN]:
        small = shrink(outcome)
        print(f"\nseed {outcome.seed}: {small.wrong}\n  {small.command}")
    if len(failed) > SHOWN:
        print(f"\nand {len(failed) - SHOWN} more: {' '.join(str(one.seed) for one in failed[SHOWN:])}")
    return 1 if failed or done < seeds else 0


def _summary(done: int, steps: int, took_s: float, counts: Counter[str]) -> None:
    print(f"\n{done} seeds, {steps} steps, {took_s:.0f} s. What befell them:")
    names = sorted(counts, key=lambda name: (-counts[name], name))
    for start in range(0, len(names), 4):
        print("  " + "".join(f"{name:22}{counts[name]:>8}   " for name in names[start : start + 4]).rstrip())


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(main())

"""A seed is a run: the same everywhere, and small when it fails."""

import os
import re
import subprocess
import sys

import pytest

from tests.simulation.mistakes import planted
from tests.simulation.play import Outcome, play, shrink
from tests.simulation.scenario import Cut, draw

PLAY = """
from tests.simulation.play import play
for seed in (9, 14):
    print(*play(seed, tracing=True).lines, sep="\\n")
"""


def traces(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", PLAY],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        timeout=300,
        check=True,
    ).stdout


def test_two_processes_see_the_same_runs_of_two_seeds() -> None:
    first = traces("1")
    assert first == traces("2")
    assert len(first.splitlines()) > 100


def test_two_runs_in_one_process_are_the_same_whatever_was_played_between() -> None:
    first = play(9, tracing=True)
    play(10)
    assert play(9, tracing=True) == first


def test_a_failing_run_is_shrunk_to_what_it_takes_and_told_as_a_command() -> None:
    with planted("verdict_changed"):
        found = next(
            outcome
            for outcome in map(play, range(2000))
            if outcome.wrong and len(draw(outcome.seed).faults) > 3
        )
        small = shrink(found)
    assert small.wrong
    assert small.cut.only is not None and len(small.cut.only) < len(draw(found.seed).faults)
    assert re.fullmatch(r"python -m tests\.simulation --seed \d+ .*--faults \S+.*", small.command)


def test_shrinking_keeps_the_faults_without_which_it_does_not_fail() -> None:
    def player(seed: int, by: Cut) -> Outcome:
        kept = by.only if by.only is not None else numbers
        wrong = "Violation: both" if {first, second} <= kept else ""
        return Outcome(seed, by, wrong, play_nothing, 0)

    seed = next(seed for seed in range(100) if len(draw(seed).faults) >= 6)
    numbers = frozenset(fault.number for fault in draw(seed).faults)
    first, second = sorted(numbers)[1], sorted(numbers)[-1]
    play_nothing = play(seed, Cut(only=frozenset(), scans=0)).counts
    assert shrink(player(seed, Cut()), player).cut.only == {first, second}


@pytest.mark.parametrize("seed", [3, 9])
def test_a_fault_that_is_switched_off_leaves_the_others_as_they_were(seed: int) -> None:
    scenario = draw(seed)
    by = Cut(only=frozenset(fault.number for fault in scenario.faults[1:]))
    lines = play(seed, by, tracing=True).lines
    for fault in scenario.faults[1:]:
        assert any(f"FAULT {fault.number} {fault.kind}" in line for line in lines)

"""`python -m tests.faults.torture` as a process, with few kills."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHORT = ("--agent-kills", "10", "--central-kills", "3", "--agents", "2", "--seed", "7", "--tell-s", "1")


def torture(*more: str) -> "subprocess.Popen[str]":
    """Start it; `more` overrides. It heeds Ctrl-C also where whoever runs the tests does not: a shell's background
    processes ignore it.
    """
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "tests.faults.torture", *SHORT, *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

"""Programs that the demo starts: ready, killed, explained, and never left behind."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from simulators.processes import Program, ProgramFailed, Programs

# Starts a child of its own, says both process ids, and ignores SIGTERM if told so.
PARENT = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether it runs; what is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def pids(program: Program) -> list[int]:
    async def said() -> bool:
        return program.log.read_text().count(" ") == 1

    await program.ready(said, 20)
    return [int(word) for word in program.log.read_text().split()]


async def gone(numbers: list[int]) -> None:
    deadline = time.monotonic() + 5
    while any(map(alive, numbers)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
def environment() -> dict[str, str]:
    return dict(os.environ)


async def test_killing_one_kills_what_it_started_and_it_can_start_again(tmp_path, environment):
    async with Programs(tmp_path, environment) as programs:
        program = programs.add("parent", sys.executable, "-c", PARENT)
        program.start()
        first = await pids(program)
        await program.kill()
        await gone(first)
        programs.check()
        program.log.unlink()
        program.start()
        second = await pids(program)
        assert program.pid == second[0]
    await gone(second)


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError, KeyboardInterrupt])
async def test_nothing_is_left_when_something_goes_wrong(tmp_path, environment, error):
    numbers: list[int] = []
    with pytest.raises(error):
        async with Programs(tmp_path, environment) as programs:
            program = programs.add("parent", sys.executable, "-c", PARENT)
            program.start()
            numbers = await pids(program)
            raise error
    await gone(numbers)


async def test_what_does_not_end_is_killed(tmp_path, environment):
    program = Program("parent", [sys.executable, "-c", PARENT, "stubborn"], tmp_path / "log", environment)
    program.start()
    numbers = await pids(program)
    await program.stop(timeout_s=0.2)
    await gone(numbers)


async def test_a_program_that_ends_by_itself_is_explained(tmp_path, environment):
    async def never() -> bool:
        return False

    async with Programs(tmp_path, environment) as programs:
        program = programs.add("broken", sys.executable, "-c", "raise SystemExit('the disk is full')")
        program.start()
        with pytest.raises(
            ProgramFailed, match=r"broken ended by itself with status 1(.|\n)*the disk is full"
        ):
            await program.ready(never, 20)


async def test_a_program_that_does_not_get_ready_is_explained(tmp_path, environment):
    async def never() -> bool:
        return False

    async with Programs(tmp_path, environment) as programs:
        program = programs.add("slow", sys.executable, "-c", "import time; time.sleep(60)")
        program.start()
        with pytest.raises(ProgramFailed, match=r"slow is not ready after 0\.1 s"):
            await program.ready(never, 0.1)


async def test_the_output_of_a_command(tmp_path, environment):
    programs = Programs(tmp_path, environment)
    assert await programs.output("said", sys.executable, "-c", "print('secret')") == "secret"
    assert (tmp_path / "said.log").read_text() == ""
    with pytest.raises(ProgramFailed, match=r"said ended with status 1(.|\n)*no such thing"):
        await programs.output("said", sys.executable, "-c", "raise SystemExit('no such thing')")
    with pytest.raises(ProgramFailed, match=r"did not end within 0\.1 s"):
        await programs.output("said", sys.executable, "-c", "import time; time.sleep(60)", timeout_s=0.1)

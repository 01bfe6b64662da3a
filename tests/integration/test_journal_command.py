"""`tallyman journal` as its user has it: the command line, beside an agent at work, and after it was killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.journal import Draft, Journal
from tests.support.agents import LAMP_GS1, MILK, ROOT, AgentProgram
from tests.support.wait import eventually


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProgram]:
    program = AgentProgram(tmp_path / "agent", {"dock": "receive"}, extra="retention_days = 0\n")
    program.know()
    program.start()
    yield program
    program.close()


def journal(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tallyman", "journal", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_each_command_works_beside_an_agent_and_after_it_was_killed(
    agent: AgentProgram, tmp_path: Path
) -> None:
    agent.scan("dock", MILK)
    agent.scan("dock", LAMP_GS1)
    config = ("--config", agent.config)
    status = json.loads(journal("status", "--json", *config).stdout)
    assert agent.process is not None
    assert (status["events"], status["queued"], status["in_use_by"]) == (2, 2, agent.process.pid)
    assert journal("verify", *config).stdout.endswith("sound, 2 events\n")

    lines: list[str] = []
    command = [sys.executable, "-m", "tallyman", "journal", "tail", "-n", "1", "-f", *map(str, config)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as follower:
        assert follower.stdout is not None and follower.stderr is not None
        reading = threading.Thread(target=lines.extend, args=(follower.stdout,), daemon=True)
        reading.start()
        try:
            eventually(lambda: lines, 60, "the newest event is shown")
            agent.scan("dock", MILK)
            eventually(lambda: len(lines) == 2, 60, "and the one that came")
        finally:
            follower.send_signal(signal.SIGINT)
        reading.join()
        assert (follower.wait(30), follower.stderr.read()) == (0, "")
    assert "LAMP × 1" in lines[0] and "MILK × 1" in lines[1] and "waits for central" in lines[1]

    agent.kill()
    held = journal("status", "--data-dir", agent.folder / "data")
    assert "3 kept since" in held.stdout and "not in use by an agent" in held.stdout
    assert "recorded for a while" in held.stdout and held.returncode == 0
    target = tmp_path / "rescue.json"
    done = journal("export", *config, "--unsettled", "--format", "cloudevents", "-o", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"tallyman: 3 events written to {target}\n")
    assert [event["data"]["sku"] for event in json.loads(target.read_text())] == ["MILK", "LAMP", "MILK"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()
    agent.start()  # what looked at the file meanwhile left nothing in its way
    assert agent.scan("dock", MILK)["outcome"] == "ok"
    metrics = agent.get("/metrics").decode()
    assert "tallyman_journal_events 3.0" in metrics and "tallyman_journal_pruned 0.0" in metrics


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_is_wrong_is_said_with_what_to_do_and_the_right_status(tmp_path: Path) -> None:
    nowhere = journal("status", "--data-dir", tmp_path)
    assert nowhere.returncode == 1
    assert f"tallyman: {tmp_path / 'journal.db'}: there is no journal. An agent makes it" in nowhere.stderr
    neither = journal("tail")
    assert neither.returncode == 2 and "say which journal: --config agent.toml" in neither.stderr
    missing = journal("verify", "--config", tmp_path / "no.toml")
    assert missing.returncode == 2 and "there is no such file" in missing.stderr


def test_who_reads_no_more_ends_it_without_noise(tmp_path: Path) -> None:
    async def fill() -> None:
        journal = await Journal.open(tmp_path / "journal.db", agent="dock-2", site="lej1")
        await journal.append([Draft(f"e{n}", "tallyman.received.v1", "", {"sku": "A"}) for n in range(2000)])
        await journal.close()

    asyncio.run(fill())
    command = f"{sys.executable} -m tallyman journal export --data-dir {tmp_path} | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "{" and "nobody reads the output any more" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1

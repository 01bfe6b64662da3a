"""Processes that hang, crash and talk too much: whoever asks waits no longer than it said, and learns why."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devices import child
from devices.child import MOST_HANGING, Child, Late, Lost, Stopped
from tests.support.wait import eventually

ODD = "tests.support.odd_child"


def odd() -> Child:
    return Child(ODD, what="odd thing")


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_request_has_one_answer_whatever_its_size() -> None:
    thing = odd()
    large = os.urandom(3 << 20)
    try:
        assert bytes(thing.ask(b"abc", timeout_s=20)) == b"cba"
        assert bytes(thing.ask(memoryview(large), b"", b"tail", timeout_s=20)) == (large + b"tail")[::-1]
        assert bytes(thing.ask(b"", timeout_s=20)) == b""
    finally:
        thing.close()
        thing.close()


def test_one_that_hangs_is_late_and_gone_after_its_end() -> None:
    thing = odd()
    pid = int(bytes(thing.ask(b"deaf", timeout_s=20)))
    started = time.monotonic()
    with pytest.raises(Late, match=r"no answer for 0\.3 s"):
        thing.ask(b"", timeout_s=0.3)
    thing.close()
    assert time.monotonic() - started < 2 and not is_there(pid)


def test_who_does_not_want_the_answer_any_more_gets_away_at_once() -> None:
    thing = odd()
    started = time.monotonic()
    with pytest.raises(Stopped):
        thing.ask(b"hang", timeout_s=60, stopped=lambda: time.monotonic() > started + 0.2)
    thing.close()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("does", "told"),
    [
        (b"crash", r"^its process ended \(SIGABRT\)"),
        (b"give up", r"^its process ended \(status 1\): ValueError: nobody at http://…@camera.example/\[2J$"),
        (b"nonsense", r"^its process answers nonsense"),
    ],
)
def test_one_that_ends_says_how(does: bytes, told: str) -> None:
    thing = odd()
    with pytest.raises(Lost, match=told):
        thing.ask(does, timeout_s=20)
    thing.close()


def test_a_request_to_one_that_has_ended_is_lost() -> None:
    thing = odd()
    with pytest.raises(Lost):
        thing.ask(b"crash", timeout_s=20)
    with pytest.raises(Lost, match="SIGABRT"):
        thing.ask(b"x" * (3 << 20), timeout_s=20)
    thing.close()


def test_what_libraries_say_never_holds_it_up_and_is_bounded() -> None:
    thing = odd()
    assert bytes(thing.ask(b"flood", timeout_s=30)) == b"still here"
    assert thing.said in ("one more warning", "written to standard output by a library")
    assert len(thing._said) <= 4096
    thing.close()


def test_it_ends_with_its_parent_even_if_that_is_killed() -> None:
    program = (
        "import os, time\nfrom devices.child import Child\n"
        f"print(bytes(Child({ODD!r}, what='x').ask(b'deaf', timeout_s=20)).decode(), flush=True)\ntime.sleep(3600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(child.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_there(pid)
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: not is_there(pid))


def test_of_those_that_cannot_be_killed_few_are_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits inside a driver does not go when it is killed; a stopped one stands for it."""
    with monkeypatch.context() as stubborn:
        stubborn.setattr(child, "KILL_S", 0.05)
        stubborn.setattr(subprocess.Popen, "kill", lambda process: process.send_signal(signal.SIGSTOP))
        for _ in range(MOST_HANGING):
            stuck = odd()
            assert bytes(stuck.ask(b"deaf", timeout_s=20))
            stuck.close()
    with pytest.raises(Lost, match="3 processes hang in its driver and cannot be ended: unplug it"):
        odd()
    other = Child(ODD, what="another thing")
    assert bytes(other.ask(b"abc", timeout_s=20)) == b"cba"
    other.close()
    for process in child._hanging["odd thing"]:
        process.kill()
        process.wait(5)
    odd().close()
    assert "odd thing" not in child._hanging

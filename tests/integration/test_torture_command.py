"""`make torture` itself: Ctrl-C ends it, and it sees what is missing or doubled."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.record import Books, complaints
from tests.support.torture import torture


def test_ctrl_c_ends_a_torture_and_all_that_it_started() -> None:
    with torture("--agent-kills", "100000") as process:
        assert process.stderr is not None
        folder = Path(process.stderr.readline().split()[-1])
        while "told OK" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not folder.exists()
    commands = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    assert not any(str(folder).encode() in command for command in commands)


class Scanned:
    """A dock of which only the record is left."""

    def __init__(self) -> None:
        self.sent = ["A-1", "A-2", "A-3"]
        self.ok = {"A-1": "e1", "A-2": "e2"}


def books(**more: list[tuple[str, str]]) -> Books:
    events = {"A-1": [("e1", "accepted")], "A-2": [("e2", "discrepant")]}
    events |= {name.replace("_", "-"): found for name, found in more.items()}
    return Books(events, {lot: len(found) for lot, found in events.items()})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, []),
        ({"A_3": [("e3", "accepted")]}, []),  # recorded, and killed before anybody was told
        ({"A_1": []}, ["A-1 was OK as e1; the ledger has []"]),
        ({"A_1": [("e9", "accepted")]}, ["A-1 was OK as e1; the ledger has [('e9', 'accepted')]"]),
        ({"A_3": [("e3", "accepted"), ("e4", "accepted")]}, ["A-3 was sent once"]),
        ({"A_2": [("e2", "rejected")]}, ["A-2 was refused"]),
        ({"B_1": [("e5", "accepted")]}, ["B-1 was never scanned"]),
    ],
)
def test_what_is_missing_doubled_refused_or_invented_is_said(found: Any, said: list[str]) -> None:
    wrong = complaints(books(**found), [Scanned()])  # type: ignore[list-item]
    assert len(wrong) == len(said)
    assert all(line.startswith(start) for line, start in zip(wrong, said, strict=True)), wrong


def test_a_balance_that_says_something_else_than_the_movements_is_said() -> None:
    torn = books()
    torn.balances["A-1"] = 2
    assert complaints(torn, [Scanned()]) == ["A-1: the balance is 2, booked is 1"]  # type: ignore[list-item]

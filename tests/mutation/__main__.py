"""make mutation [ARGS='sync.engine*']: change the code in one place at a time; does a test notice?

mutmut makes the changes (where, and which tests are asked: [tool.mutmut] in pyproject.toml). A change that no test
notices is a survivor. Each survivor has to stand in `equivalent.toml` with the reason why it changes nothing that
anybody could see; and all of them together have to stay below five in a hundred.

    --children N    so many changes at once (2)
    --judge         run nothing: judge what the runs before have found, room by room

Exit status 0: so it is. 1: a survivor is not listed, or there are too many; they are printed with their change.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mutmut.mutation.diff_apply import get_diff_for_mutant

LISTED: Final = Path(__file__).parent / "equivalent.toml"
MOST_SURVIVORS: Final = 0.05
SURVIVED: Final = ("survived", "no tests")
MUTMUT: Final = str(Path(sys.executable).parent / "mutmut")
# Of the booking only what decides about cursors. The rest is arithmetic of goods, which other tests hold.
CURSOR: Final = (
    "book_batch", "_carry_out", "_verdict", "ack_of", "_look_back", "_alarm_set_back", "answer_hello", "_alarm_two",
    "record_state",
)  # fmt: skip
ALL: Final = (
    "sync.*", "central.streams.*", "central.parking.*", *(f"central.ledger.booking.x_{name}__*" for name in CURSOR),
)  # fmt: skip
MEMORY: Final = Path("/dev/shm")
_NAME = re.compile(r"(?P<module>.+)\.x(?:ǁ(?P<owner>.+)ǁ|_)(?P<function>.+)__mutmut_\d+")


@dataclass(frozen=True)
class Change:
    """One place changed: the lines that went and the lines that came, without their indentation."""

    where: str
    was: str
    now: str


def main() -> int:
    """Run mutmut on the functions that match, or on all, and judge what survived."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("patterns", nargs="*")
    options.add_argument("--children", default="2")
    options.add_argument("--judge", action="store_true")
    asked = options.parse_args()
    if not asked.judge:
        _run(asked.patterns or ALL, asked.children)
    results = _results()
    if not results:
        print("mutmut made no changes: see what it says above", file=sys.stderr)
        return 1
    survivors = {name: _change(name) for name, status in results.items() if status in SURVIVED}
    listed = {Change(one["where"], one["was"], one["now"]) for one in _listed()}
    unlisted = {name: change for name, change in survivors.items() if change not in listed}
    for name, change in unlisted.items():
        print(f"\n{name}\n  where = {change.where!r}\n  was = {change.was!r}\n  now = {change.now!r}")
    rooms = {_place(name)[0] for name in results}
    gone = sorted(
        one.where
        for one in listed - set(survivors.values())
        if not asked.patterns and any(one.where.startswith(f"{room}.") for room in rooms)
    )
    for where in gone:
        print(f"\nlisted in {LISTED.name} and no survivor any more: {where}")
    _show_rooms(results)
    share = len(survivors) / len(results)
    print(
        f"{len(survivors)} survived ({share:.1%}), {len(unlisted)} of them without a reason in {LISTED.name}"
    )
    return int(bool(unlisted or gone) or share >= MOST_SURVIVORS)


def _run(patterns: "tuple[str, ...] | list[str]", children: str) -> None:
    command = [sys.executable, "-m", "tests.mutation.changes", "run", "--max-children", children, *patterns]
    # Whether a test notices is asked, not how fast the disk is. What is left of tests that were ended goes with it.
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="tallyman-mutation-", dir=memory) as folder:
        subprocess.run(command, check=False, env={**os.environ, "PYTEST_DEBUG_TEMPROOT": folder})


def _results() -> dict[str, str]:
    done = subprocess.run([MUTMUT, "results", "--all", "true"], check=True, capture_output=True, text=True)
    rows = (line.strip().rsplit(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    return {name: status for name, status in rows if status != "not checked"}


def _show_rooms(results: dict[str, str]) -> None:
    rooms: dict[str, Counter[str]] = defaultdict(Counter)
    for name, status in results.items():
        rooms[_place(name)[0]][status] += 1
    rooms["all"] = Counter(results.values())
    print(f"\n{'':32} changes  survived")
    for room, counted in rooms.items():
        survived, changes = sum(counted[status] for status in SURVIVED), counted.total()
        others = ", ".join(
            f"{number} {status}" for status, number in counted.items() if status not in SURVIVED
        )
        print(f"{room:32} {changes:7}  {survived:4} {survived / changes:6.1%}   ({others})")


def _place(name: str) -> tuple[str, str]:
    """(module, class and function) of a change, from mutmut's name for it."""
    match = _NAME.fullmatch(name)
    assert match is not None, name
    return match.group("module"), ".".join(part for part in match.group("owner", "function") if part)


def _change(name: str) -> Change:
    module, function = _place(name)
    shown = get_diff_for_mutant(name, path=module.replace(".", "/") + ".py")
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]

    def side(sign: str) -> str:
        return "\n".join(line[1:].strip() for line in lines if line.startswith(sign))

    return Change(f"{module}.{function}", side("-"), side("+"))


def _listed() -> list[dict[str, str]]:
    listed: list[dict[str, str]] = tomllib.loads(LISTED.read_text("utf-8")).get("equivalent", [])
    for one in listed:
        assert one.keys() == {"where", "was", "now", "why"} and one["why"], f"{LISTED.name}: {one}"
    return listed


if __name__ == "__main__":
    sys.exit(main())

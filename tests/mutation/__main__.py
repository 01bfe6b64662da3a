"""make mutation [ARGS='sync.engine*']: change the code in one place at a time; does a test notice?

mutmut makes the changes (what, and which tests are asked: [tool.mutmut] in pyproject.toml). A change that no test
notices is a survivor. Each survivor has to stand in `equivalent.toml` with the reason why it changes nothing that
anybody could see; and all of them together have to stay below five in a hundred.

Exit status 0: so it is. 1: a survivor is not listed, or there are too many; they are printed with their change.
"""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LISTED: Final = Path(__file__).parent / "equivalent.toml"
MOST_SURVIVORS: Final = 0.05
SURVIVED: Final = ("survived", "no tests")
MUTMUT: Final = str(Path(sys.executable).parent / "mutmut")
_NAME = re.compile(r"(?P<module>.+)\.x(?:ǁ(?P<owner>.+)ǁ|_)(?P<function>.+)__mutmut_\d+")


@dataclass(frozen=True)
class Change:
    """One place changed: the lines that went and the lines that came, without their indentation."""

    where: str
    was: str
    now: str


def main(patterns: list[str]) -> int:
    """Run mutmut on the functions that match, or on all, and judge what survived."""
    subprocess.run([MUTMUT, "run", "--max-children", "2", *patterns], check=False)
    results = dict(_results())
    if not results:
        print("mutmut made no changes: see what it says above", file=sys.stderr)
        return 1
    survivors = {name: _change(name) for name, status in results.items() if status in SURVIVED}
    listed = {Change(one["where"], one["was"], one["now"]) for one in _listed()}
    unlisted = {name: change for name, change in survivors.items() if change not in listed}
    for name, change in unlisted.items():
        print(f"\n{name}\n  where = {change.where!r}\n  was = {change.was!r}\n  now = {change.now!r}")
    gone = sorted(one.where for one in listed - set(survivors.values())) if not patterns else []
    for where in gone:
        print(f"\nlisted in {LISTED.name} and no survivor any more: {where}")
    counted = Counter(results.values())
    share = len(survivors) / len(results)
    print(
        f"\n{len(results)} changes: "
        + ", ".join(f"{number} {status}" for status, number in counted.most_common())
        + f"\n{len(survivors)} survived ({share:.1%}), {len(unlisted)} of them without a reason in {LISTED.name}"
    )
    return int(bool(unlisted or gone) or share >= MOST_SURVIVORS)


def _results() -> list[tuple[str, str]]:
    done = subprocess.run([MUTMUT, "results", "--all", "true"], check=True, capture_output=True, text=True)
    rows = (line.strip().rsplit(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    return [(name, status) for name, status in rows if status != "not checked"]


def _change(name: str) -> Change:
    shown = subprocess.run([MUTMUT, "show", name], check=True, capture_output=True, text=True).stdout
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]

    def side(sign: str) -> str:
        return "\n".join(line[1:].strip() for line in lines if line.startswith(sign))

    match = _NAME.fullmatch(name)
    assert match is not None, name
    where = ".".join(part for part in match.group("module", "owner", "function") if part)
    return Change(where, side("-"), side("+"))


def _listed() -> list[dict[str, str]]:
    listed: list[dict[str, str]] = tomllib.loads(LISTED.read_text("utf-8")).get("equivalent", [])
    for one in listed:
        assert one.keys() == {"where", "was", "now", "why"} and one["why"], f"{LISTED.name}: {one}"
    return listed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

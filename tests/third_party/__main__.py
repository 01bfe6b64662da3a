"""python -m tests.third_party FOLDER: other people's cases through our code, as a table.

A module beside this one per kind of case says in its first lines what it looks for in FOLDER; what is not there is
left out. A row says what was stated, what we found, and whether they agree. Where we disagree on purpose, the row
says why. The status is 1 if any other row disagrees.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tests.third_party import epc, frames, gs1, images, llrp, readers
from tests.third_party.rows import Row

CHECKS = {
    "frames": frames.check,
    "llrp": llrp.check,
    "readers": readers.check,
    "gs1": gs1.check,
    "epc": epc.check,
    "images": images.check,
}

WIDTH = 72
"""Of the first column; longer names move the others."""


def main(folder: Annotated[Path, typer.Argument(help="Where the cases are.", exists=True)]) -> None:
    """Check our code against other people's cases."""
    wrong = total = 0
    for name, check in CHECKS.items():
        rows = list(check(folder))
        _print(rows)
        marks = Counter(_mark(row) for row in rows)
        if rows:
            print(
                f"{name}: {len(rows)} cases, {marks['≠']} otherwise on purpose, {marks['✗']} not as stated\n"
            )
        total, wrong = total + len(rows), wrong + marks["✗"]
    print(f"{total} cases, {wrong} not as stated")
    raise typer.Exit(1 if wrong or not total else 0)


def _print(rows: list[Row]) -> None:
    width = min(max((len(row.what) for row in rows), default=0), WIDTH)
    for row in rows:
        reason = f"  ({row.reason})" if row.reason else ""
        print(f"{_mark(row)} {row.what:<{width}}  {row.stated}  →  {row.found}{reason}")


def _mark(row: Row) -> str:
    """As stated, otherwise on purpose, or not as stated."""
    return "✓" if row.agrees else "≠" if row.reason else "✗"


if __name__ == "__main__":
    typer.run(main)

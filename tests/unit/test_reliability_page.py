"""docs/reliability.md and the fault tests say the same: each row names a test, each test has a row."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAULTS = ROOT / "tests" / "faults"


def rows() -> list[list[str]]:
    """The table's rows, without its head and the lines that part it."""
    page = (ROOT / "docs" / "reliability.md").read_text()
    table = page[page.index("<!-- faults -->") : page.index("<!-- end -->")]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if any(row[1:])]


def fault_tests() -> set[str]:
    """Every test function of the fault tests, as `file::function`."""
    return {
        f"{file.name}::{node.name}"
        for file in FAULTS.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_each_row_of_the_fault_table_names_a_test_and_each_fault_test_has_a_row() -> None:
    named = [name for row in rows() for name in re.findall(r"`(test_\w+\.py::\w+)`", row[2])]
    assert len(named) == len(set(named)) == len(rows()), "one test to a row, and none twice"
    assert set(named) == fault_tests()


def test_each_row_says_what_was_done_and_what_was_seen() -> None:
    assert all(len(row) == 4 and all(row) for row in rows())

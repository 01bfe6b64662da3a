"""How much of a decoder a corpus reaches: `python -m tests.fuzz.measure DRIVER CORPUS`, branch coverage in percent.

Played without the fuzzer, so the figure is that of coverage.py, and every input is checked once more.
"""

import contextlib
import importlib
import io
import sys
from pathlib import Path

import coverage

from devices.registry import DRIVERS


def files_of(name: str) -> list[str]:
    """The decoder's own files: its module, or all modules of its package."""
    spec = importlib.util.find_spec(DRIVERS[name].target.partition(":")[0])
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin)
    return (
        [str(each) for each in sorted(path.parent.glob("*.py"))]
        if path.name == "__init__.py"
        else [str(path)]
    )


def main(name: str, corpus: Path) -> None:
    measured = coverage.Coverage(branch=True, config_file=False, data_file=None, include=files_of(name))
    measured.start()
    from tests.fuzz.play import Player

    player = Player(name)
    for file in sorted(corpus.iterdir()):
        player.play(file.read_bytes())
    measured.stop()
    report = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        percent = measured.report(file=report, show_missing=True, skip_covered=False)
    print(f"{percent:.1f}")
    print(report.getvalue(), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""python -m benchmarks [NAME…] [--json] [--directory DIR] [--images DIR]: measure; each figure with its limit."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.figures import Figure, Tally, machine
from service import log

BENCHMARKS = {
    "journal": "benchmarks.journal",
    "sync": "benchmarks.sync",
    "end-to-end": "benchmarks.end_to_end",
    "devices": "benchmarks.devices",
    "smoothing": "benchmarks.smoothing",
    "camera": "benchmarks.camera",
}

Run = Callable[..., Iterator[Figure | Tally]]


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Which: {', '.join(BENCHMARKS)}. Default: all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    directory: Annotated[
        Path, typer.Option(help="Where files go: on the disk that is to be measured.")
    ] = Path(),
    images: Annotated[
        Path | None,
        typer.Option(help="For camera: photographs, as SYMBOLOGY/NAME.png beside NAME.txt.", exists=True),
    ] = None,
) -> None:
    """Measure Tallyman against the limits of this machine, in the same run."""
    unknown = [name for name in names or [] if name not in BENCHMARKS]
    if unknown:
        raise typer.BadParameter(
            f"there is no benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}"
        )
    log.configure(level="warning")  # figures go to standard output, and nothing else does
    print(f"measured on {machine()}", file=sys.stderr)
    for name in names or list(BENCHMARKS):
        run: Run = import_module(BENCHMARKS[name]).run
        if name == "camera":
            run = partial(run, images=images)
        for figure in run(directory.resolve()):
            print(figure.as_json() if json else figure.as_text(), flush=True)


if __name__ == "__main__":
    typer.run(main)

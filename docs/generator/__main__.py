"""`python -m docs.generator` writes docs/schemas/, asyncapi.json, openapi.json and the tables in devices.md.

With `--check` it only compares.
"""

import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

from docs.generator import asyncapi, devices, openapi, schemas
from docs.generator.examples import examples

DOCS = Path(__file__).resolve().parent.parent


def files() -> dict[str, str]:
    """Every generated file: its path under docs/, and its text."""
    with (DOCS.parent / "pyproject.toml").open("rb") as project:
        version = tomllib.load(project)["project"]["version"]
    shapes = schemas.build()
    shown = examples((DOCS / "contract.md").read_text(encoding="utf-8"))
    found = {f"schemas/{name}.json": schema for name, schema in shapes.items()}
    found["asyncapi.json"] = asyncapi.build(shapes, shown, version)
    found["openapi.json"] = openapi.build(version)
    page = devices.fill((DOCS / "devices.md").read_text(encoding="utf-8"))
    return {"devices.md": page, **{path: _text(value) for path, value in found.items()}}


def differences() -> list[str]:
    """The paths under docs/ that are not what the models give now, missing and surplus ones included."""
    wanted = files()
    present = {str(path.relative_to(DOCS)) for path in (DOCS / "schemas").glob("*")}
    surplus = present - wanted.keys()
    changed = [
        path
        for path, text in wanted.items()
        if not (DOCS / path).is_file() or (DOCS / path).read_text(encoding="utf-8") != text
    ]
    return sorted([*changed, *surplus])


def write() -> None:
    """Write every generated file, and remove schemas that no model has any more."""
    wanted = files()  # all of it before anything goes: a mistake in a model must not cost the files there are
    shutil.rmtree(DOCS / "schemas", ignore_errors=True)
    for path, text in wanted.items():
        (DOCS / path).parent.mkdir(exist_ok=True)
        (DOCS / path).write_text(text, encoding="utf-8")


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """0 done, 1 the files differ (with --check), 2 wrong usage."""
    if arguments == ["--check"]:
        if changed := differences():
            sys.stderr.write(
                f"docs/ is not what the models say: {', '.join(changed)}. Run `make contract`.\n"
            )
            return 1
        return 0
    if arguments:
        sys.stderr.write("usage: python -m docs.generator [--check]\n")
        return 2
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The house keeps its rules: who imports whom, what is pinned, and that documents name what exists."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agent import config as agent_config
from central import config as central_config

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-fuzz.lock")

ROOMS = ("agent", "benchmarks", "central", "devices", "identity", "service", "simulators", "sync")
# What can be imported from the root of a checkout; a package that installed one of these would hide it, or be hidden.
OURS = {*ROOMS, "docs", "scripts", "systemd", "tallyman", "tests"}

# Which lock must hold which extras.
EXTRAS = {
    "requirements.lock": {"agent", "build", "camera", "central", "demo"},
    "requirements-dev.lock": {"agent", "build", "camera", "central", "demo", "dev"},
    "requirements-fuzz.lock": {"agent", "build", "fuzz"},
}


def locked(lock: str) -> dict[str, tuple[Requirement, int]]:
    """Name → the requirement as locked, and how many hashes it has."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        words, *hashes = line.split(" --hash=")
        requirement = Requirement(words)
        found[canonicalize_name(requirement.name)] = (requirement, len(hashes))
    return found


def direct(extras: set[str]) -> dict[str, Requirement]:
    """Every requirement of ours, but for the extras that name each other."""
    groups = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [line for extra in extras for line in groups[extra]]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in requirements if r.name != PROJECT["name"]}


def committed_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_rooms_import_only_whom_they_may_know() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_by_hash_and_names_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"--(?:extra-)?index|--find-links|@ ", text)
    for name, (requirement, hashes) in locked(lock).items():
        pins = [clause.operator for clause in requirement.specifier]
        assert pins == ["=="], f"{lock}: {name} is not pinned to one version"
        assert hashes, f"{lock}: {name} has no hash"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_agrees_with_what_we_ask_for(lock: str) -> None:
    have = locked(lock)
    for name, requirement in direct(EXTRAS[lock]).items():
        assert name in have, f"{lock} lacks {name}: run `make lock`"
        (pin,) = have[name][0].specifier
        assert pin.version in requirement.specifier, f"{lock} pins {name} {pin.version}: run `make lock`"


def test_the_locks_agree_with_each_other() -> None:
    demo, dev, fuzz = (locked(lock) for lock in LOCKS)
    assert demo.items() <= dev.items()
    assert {name: pin for name, pin in fuzz.items() if name in dev}.items() <= dev.items()


def test_no_package_installs_a_name_of_ours() -> None:
    for name, (requirement, _) in locked("requirements-dev.lock").items():
        if requirement.marker and not Marker(str(requirement.marker)).evaluate():
            continue  # not for this machine
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            pytest.fail(f"{name} is locked but not installed: run `make test`")
        tops = {
            Path(file.parts[0]).stem
            for file in installed.files or ()
            if file.suffix in {".py", ".so", ".pth"}
        }
        assert not tops & OURS, f"{name} installs {tops & OURS}"


DOCUMENTS = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/README.md",
    "docs/install.md",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_files_that_exist(document: str) -> None:
    path = ROOT / document
    text = path.read_text()
    linked = [path.parent / name for name in re.findall(r"\]\((?!https?:)([^)#]+)", text)]
    named = [ROOT / name for name in re.findall(r"`((?:[a-z_]+/)+[\w.-]*)`", text)]
    missing = [str(path) for path in linked + named if not path.exists()]
    assert not missing, f"{document} names what does not exist: {missing}"


@pytest.mark.parametrize(
    ("name", "program"),
    [("agent.toml", agent_config), ("gate.toml", agent_config), ("central.toml", central_config)],
)
def test_the_example_configurations_are_right(name: str, program: ModuleType) -> None:
    program.load(ROOT / "docs/examples" / name)


def test_every_room_is_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for room in ROOMS:
        assert (ROOT / room / "__init__.py").exists(), room
        assert f"`{room}/`" in text, f"ARCHITECTURE.md does not say what {room}/ is for"


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    place = re.compile(rb"(?<![\w.])/(?:work|root|home/\w+)/\w")
    named = [path for path in committed_files() if place.search(path.read_bytes())]
    assert not named, f"these files name a path of one machine: {named}"


def test_nothing_is_left_out_of_what_is_measured() -> None:
    """Coverage counts every line: no comment takes one out, and every file of the list exists."""
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]
    assert coverage["report"]["fail_under"] == 100
    for name in coverage["run"]["include"]:
        assert "pragma: no" not in (ROOT / name).read_text(), name


def test_no_test_is_set_aside() -> None:
    aside = re.compile(r"pytest\.(?:mark\.)?(?:skip|xfail|importorskip)" + r"\b")
    found = [path for path in (ROOT / "tests").rglob("*.py") if aside.search(path.read_text())]
    assert not found, found

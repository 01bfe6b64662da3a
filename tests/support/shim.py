"""Libraries that are preloaded into a program to make the system around it lie: its clock, its disk.

Each is one C file beside this one, compiled when a test first asks for it. `LD_PRELOAD` puts it in front of the C
library, so that the program itself is the one that users run.
"""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from tests.support.programs import find_program

HERE = Path(__file__).parent


def compiled(name: str) -> Path:
    """The library made of `tests/support/NAME.c`; made once for each content of it."""
    source = HERE / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    made = Path(tempfile.gettempdir()) / f"tallyman-{os.getuid()}-{name}-{digest}.so"
    if not made.exists():
        compiler = find_program("cc", "gcc", "clang", package="gcc libc6-dev")
        half = made.with_suffix(f".{os.getpid()}")
        command = [
            compiler,
            "-O1",
            "-Wall",
            "-Werror",
            "-shared",
            "-fPIC",
            "-o",
            str(half),
            str(source),
            "-ldl",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
        half.rename(made)  # another test process may have made it meanwhile: the same bytes
    return made


def preloaded(*names: str) -> dict[str, str]:
    """The environment that puts these libraries in front of the C library."""
    return {"LD_PRELOAD": ":".join(str(compiled(name)) for name in names)}

"""Small files that must be whole after a power loss: written beside the old one, synced, then put in its place."""

import os
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

log = structlog.get_logger()
Value = TypeVar("Value")


def replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file; after a power loss either the old or the new one is there.

    Raises:
        OSError: the disk does not take it; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load(path: Path, as_type: type[Value]) -> Value | None:
    """What the file holds; None when there is none, or when it is damaged.

    A damaged file is kept aside as `NAME.damaged` (the newest such one) and reported: what central sent comes from
    central again, what was chosen at a station is chosen anew.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=as_type)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.error(
            "a file is damaged and was put aside; going on without what it held",
            file=str(path),
            error=str(error),
        )
        try:
            path.replace(path.with_name(path.name + ".damaged"))
        except OSError as failure:
            log.error("it cannot be put aside and will be overwritten", file=str(path), error=str(failure))
        return None

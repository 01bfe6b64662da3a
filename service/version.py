"""Which software this is, for `--version`, hellos, metrics and the API's document."""

import importlib.metadata


def version() -> str:
    """The installed version; `checkout` when the program runs from a checkout that nobody installed."""
    try:
        return importlib.metadata.version("tallyman")
    except importlib.metadata.PackageNotFoundError:
        return "checkout"

"""What one case comes to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One case of somebody else's."""

    what: str
    stated: str
    found: str
    agrees: bool
    reason: str = ""
    """Why we do not do as stated, where we mean not to: such a row is listed, and fails nothing."""

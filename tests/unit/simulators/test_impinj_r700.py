"""The simulated R700 knows which noise costs an event."""

import random

import pytest

from simulators.hardware.impinj_r700 import ImpinjR700


@pytest.mark.parametrize("stray", [b"", b"\n", b"noise\n", b" \t\r", b"noise\n \r"])
def test_what_ended_or_is_white_space_spoils_no_line(stray: bytes) -> None:
    assert not ImpinjR700(random.Random(1)).spoils(stray)


@pytest.mark.parametrize("stray", [b"x", b"\nx", b"x ", b"\0"])
def test_what_has_no_end_spoils_the_line_behind_it(stray: bytes) -> None:
    assert ImpinjR700(random.Random(1)).spoils(stray)

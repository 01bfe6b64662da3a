"""The short form of `make torture`."""

from tests.support.torture import torture


def test_ten_kills_of_agents_and_three_of_central_at_random_moments_lose_and_double_nothing() -> None:
    with torture() as process:
        told, progress = process.communicate(timeout=300)
    assert process.returncode == 0, told + progress
    assert "10 kills of 2 agents, 3 of central" in told
    assert "every OK is in the ledger once" in told
    assert "scans told OK" in progress

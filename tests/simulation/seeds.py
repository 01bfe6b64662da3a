"""The seeds that CI plays, in blocks: each test file plays some of them, so that two workers share the work."""

from tests.simulation.play import play, shrink

BLOCK = 25


def blocks(first: int, last: int) -> list[range]:
    """The seeds from `first` to before `last`."""
    return [range(start, min(start + BLOCK, last)) for start in range(first, last, BLOCK)]


def every_promise_is_kept(seeds: range) -> None:
    """Play them; the first that fails is shrunk and shown with the command that plays it again."""
    for seed in seeds:
        outcome = play(seed)
        if outcome.wrong:
            small = shrink(outcome)
            raise AssertionError(f"seed {seed}: {small.wrong}\nplay it again with: {small.command}")

"""Each fault does what it says, to the frame that the seed chose, and to no other."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from simulators.hardware.device import Frame, Thing
from simulators.hardware.faults import (
    AWAY_S,
    DELAY_S,
    FAULTS,
    NOISE_MOST_BYTES,
    PAUSE_MOST_S,
    PIECES_MOST,
    UNPLUG_SHARE,
    Cable,
    End,
    Pause,
    Step,
    Stray,
    Unplug,
    Write,
)

DATA = bytes(range(40))


def tag(number: int, data: bytes = DATA) -> Frame:
    return Frame(data, (Thing(epc="3000", number=number),))


def steps_of(fault: str, seeds: int = 300) -> list[list[Step]]:
    """What the fault does, many times over."""
    return [FAULTS[fault](random.Random(seed), DATA) for seed in range(seeds)]  # type: ignore[index]


def written(steps: Sequence[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Write))


def sent(steps: Sequence[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Write | Stray))


def ends(steps: Sequence[Step]) -> list[str]:
    return [step.lost for step in steps if isinstance(step, End)]


def test_split_sends_every_byte_in_pieces_with_small_pauses() -> None:
    for steps in steps_of("split"):
        pieces = [step.data for step in steps if isinstance(step, Write)]
        assert b"".join(pieces) == DATA
        assert 2 <= len(pieces) <= PIECES_MOST
        pauses = [step.wait_s for step in steps if isinstance(step, Pause)]
        assert len(pauses) == len(pieces) - 1
        assert all(0 <= pause <= PAUSE_MOST_S for pause in pauses)
        assert ends(steps) == [""]
    assert len({tuple(map(str, steps)) for steps in steps_of("split")}) > 200


def test_a_frame_of_one_byte_cannot_be_split() -> None:
    assert FAULTS["split"](random.Random(1), b"x") == [Write(b"x"), End()]


def test_drop_sends_nothing() -> None:
    for steps in steps_of("drop"):
        assert steps == [End("dropped")]


def test_corrupt_changes_exactly_one_byte() -> None:
    spots = set()
    for steps in steps_of("corrupt"):
        wrong = [place for place, byte in enumerate(sent(steps)) if byte != DATA[place]]
        assert len(sent(steps)) == len(DATA)
        assert len(wrong) == 1
        assert written(steps) == b""
        assert "damaged" in ends(steps)[0]
        spots.add(wrong[0])
    assert spots == set(range(len(DATA)))


def test_delay_waits_before_the_frame_and_never_in_it() -> None:
    for steps in steps_of("delay"):
        pause, *rest = steps
        assert isinstance(pause, Pause)
        assert DELAY_S[0] <= pause.wait_s <= DELAY_S[1]
        assert rest == [Write(DATA), End()]


def test_duplicate_sends_the_frame_twice() -> None:
    for steps in steps_of("duplicate"):
        assert steps == [Write(DATA), End(), Write(DATA), End()]


def test_noise_leaves_the_frame_as_it_is() -> None:
    places = Counter()
    for steps in steps_of("noise"):
        where = steps.index(Write(DATA))
        assert steps[where + 1] == End()
        around = [*steps[:where], *steps[where + 2 :]]
        assert all(isinstance(step, Stray) and 1 <= len(step.data) <= NOISE_MOST_BYTES for step in around)
        places[where, len(steps)] += 1
    assert set(places) == {(1, 3), (0, 3), (1, 4)}  # before, after, both


def test_unplug_comes_before_in_or_after_the_frame_and_the_device_comes_back() -> None:
    fates = Counter()
    for steps in steps_of("unplug"):
        away = steps[-1]
        assert isinstance(away, Unplug)
        assert AWAY_S[0] <= away.away_s <= AWAY_S[1]
        fates[ends(steps)[0], away.rough] += 1
        half = sent(steps)
        assert DATA.startswith(half)
        assert (ends(steps) == [""]) == (written(steps) == DATA)
        assert ("middle" in ends(steps)[0]) == (0 < len(half) < len(DATA))
    assert len(fates) == 6


# --- who meets a fault ---------------------------------------------------------------------------------------


def test_a_good_cable_changes_nothing() -> None:
    assert Cable(1).plan(tag(1)).steps == [Write(DATA), End()]
    assert Cable(1, list(FAULTS), 0.0).plan(tag(1)).steps == [Write(DATA), End()]


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_the_rate_is_the_share_of_frames_that_meet_a_fault(rate: float) -> None:
    cable = Cable(4, ["drop", "split"], rate)
    hit = Counter(cable.plan(tag(number)).fault for number in range(2000))
    assert (hit["drop"] + hit["split"]) / 2000 == pytest.approx(rate, abs=0.03)
    assert hit["drop"] == pytest.approx(hit["split"], rel=0.2)


def test_unplugging_happens_now_and_then() -> None:
    cable = Cable(4, ["unplug"], 1.0)
    hit = Counter(cable.plan(tag(number)).fault for number in range(2000))
    assert hit["unplug"] / 2000 == pytest.approx(UNPLUG_SHARE, abs=0.03)


def test_the_same_thing_meets_the_same_fault_whatever_came_in_between() -> None:
    names = list(FAULTS)
    one, other = Cable(9, names, 0.5), Cable(9, names[::-1], 0.5)
    answers = random.Random(2)
    for number in range(300):
        for _ in range(answers.randrange(3)):
            other.plan(Frame(b"answer"))
        assert one.plan(tag(number)) == other.plan(tag(number))
        assert one.plan(tag(number), 1) == other.plan(tag(number), 1)
    assert any(one.plan(tag(number)) != Cable(10, names, 0.5).plan(tag(number)) for number in range(50))


def test_a_frame_that_is_sent_again_draws_again() -> None:
    cable = Cable(9, ["drop"], 0.5)
    faults = {tuple(cable.plan(tag(number), attempt).fault for attempt in range(3)) for number in range(100)}
    assert len(faults) == 8


def test_answers_are_never_unplugged_and_never_damaged_twice_in_a_row() -> None:
    cable = Cable(3, list(FAULTS), 1.0)
    faults = [cable.plan(Frame(b"answer")).fault for _ in range(1000)]
    assert "unplug" not in faults
    damage = [fault in ("drop", "corrupt", "noise") for fault in faults]
    assert any(damage)
    assert not any(first and second for first, second in pairwise(damage))


def test_damage_that_may_not_matter_is_doubted() -> None:
    cable = Cable(3, ["corrupt"], 1.0, survives=lambda data, damaged: data[:-1] == damaged[:-1])
    found = {cable.plan(tag(number)).steps[-1] for number in range(500)}
    unsure = {step for step in found if isinstance(step, End) and step.unsure}
    assert unsure == {End(unsure="byte 40 of 40 was damaged")}
    assert len(found) == 40


def test_a_device_is_not_asked_whether_an_answer_survives_which_may_have_no_place_for_a_thing() -> None:
    cable = Cable(3, ["corrupt"], 1.0, survives=lambda data, _damaged: bool(data[20]))
    assert {cable.plan(Frame(b"answer")).fault for _ in range(50)} == {"corrupt", None}


def test_a_rate_is_a_probability() -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1, not 1\.5"):
        Cable(1, [], 1.5)

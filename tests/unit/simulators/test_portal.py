"""The simulated gate is one: tags rise and fall on one side after the other, and what stands aside stays there."""

import random
from collections import Counter

from simulators.portal import ANTENNAS_M, INSIDE, OUTSIDE, ROUND_MOST, Load, Portal, Tag, pallet, strength
from simulators.tags import SERIALS, sgtin_96


def test_a_tag_rises_and_falls_at_one_antenna_after_the_other():
    way = [metres / 10 for metres in range(-60, 61)]
    loudest = {antenna: max(way, key=lambda at: strength(antenna, at, 1.2)) for antenna in (OUTSIDE, INSIDE)}
    assert loudest[OUTSIDE] < -0.5 < 0.5 < loudest[INSIDE]
    for antenna, peak in loudest.items():
        before = [strength(antenna, at, 1.2) for at in way if at <= peak]
        after = [strength(antenna, at, 1.2) for at in way if at >= peak]
        assert before == sorted(before) and after == sorted(after, reverse=True)
    assert strength(OUTSIDE, -1.0, 1.0) > strength(OUTSIDE, -1.0, 2.0)


def test_a_pallet_is_read_many_times_by_both_and_not_always():
    load = Load(pallet((f"{number:024X}" for number in range(50)), random.Random(1)), 0.0)
    portal = Portal(random.Random(2), [load])
    for antenna, load.at_m in ANTENNAS_M.items():
        heard = [portal.round(antenna) for _ in range(40)]
        times = Counter(thing.epc for one in heard for thing in one)
        assert len(times) == 50
        assert 1 <= min(times.values()) < max(times.values()) < 40
        assert all(thing.antenna == antenna for one in heard for thing in one)
        assert max(len(one) for one in heard) <= ROUND_MOST
    load.at_m = 6.0
    assert not any(portal.round(antenna) for antenna in (OUTSIDE, INSIDE) for _ in range(40))


def test_what_is_parked_outside_is_heard_there_alone():
    portal = Portal(random.Random(3), [Load((Tag("30" * 12, beside_m=1.0),), -3.0)])
    assert any(portal.round(OUTSIDE) for _ in range(40))
    assert not any(portal.round(INSIDE) for _ in range(400))


def test_tags_are_written_as_the_standard_says():
    """The example of the EPC Tag Data Standard: urn:epc:tag:sgtin-96:3.0614141.812345.6789."""
    assert sgtin_96("80614141123458", 6789, filter_value=3) == "3074257BF7194E4000001A85"
    assert sgtin_96("80614141123458", SERIALS - 1, filter_value=3) == "3074257BF7194E7FFFFFFFFF"

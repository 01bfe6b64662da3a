"""Many sightings of a tag become one arrived, moved, departed: every rule, as an example."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.smoothing import Kept, Place, Smoother, keep, restore
from agent.smoothing import smoother as module
from agent.smoothing.agenda import LEAST_STALE
from agent.smoothing.hearing import GLANCE_NS, Hearing, margin_db
from devices.reads import TagRead
from tests.support.smoothing import MS, TAG, Bench, S, gate, place

# --- believing ---------------------------------------------------------------------------------------------


def test_a_tag_arrives_once_however_often_it_is_read():
    assert Bench(place("p")).see(1, times=500).said() == ["arrived p"]


def test_where_nothing_competes_it_arrives_with_the_read_that_makes_it_believed():
    bench = Bench(place("p"))
    assert bench.see(1).said() == []
    assert bench.see(1).said() == ["arrived p"]


def test_two_stations_that_hear_it_compete():
    bench = Bench(place("a", station="x"), place("b", device="q", station="y"))
    assert bench.see(1, -60.0).see(1, -56.0, device="q").said() == []
    assert bench.wait(1000).said() == ["arrived b"]


def test_one_strong_read_is_enough():
    assert Bench(place("p")).see(1, -55.0).said() == ["arrived p"]


def test_a_reader_that_puts_several_sightings_into_one_read_is_believed():
    assert Bench(place("p")).see(1, None, count=7).said() == ["arrived p"]


def test_a_read_now_and_then_is_none():
    bench = Bench(place("p", believe_reads=3, believe_within_ms=1000))
    assert bench.see(1, times=50, every_ms=600).said() == []
    assert bench.see(1, times=2, every_ms=100).said() == ["arrived p"]


def test_what_is_weaker_than_the_floor_is_not_there_but_what_is_there_may_become_weak():
    bench = Bench(place("p", floor_dbm=-65))
    assert bench.see(1, -66.0, times=100).said() == []
    assert bench.see(1, -64.0, times=2).said() == ["arrived p"]
    assert bench.see(1, -70.0, times=1000).said() == []


def test_what_is_weaker_than_the_floor_moves_nothing():
    bench = Bench(place("a", 1), place("b", 2, floor_dbm=-45)).see(1, -60.0, times=3).wait(1000)
    bench.said()
    assert bench.see(2, -46.0, times=5).said() == []
    assert bench.see(2, -44.0, times=2).said() == ["moved b"]


def test_it_must_dwell():
    bench = Bench(place("p", dwell_ms=2000))
    assert bench.see(1, -40.0, times=10).said() == []
    assert bench.see(1, -40.0).said() == ["arrived p"]


def test_a_ghost_is_forgotten_and_memory_of_ghosts_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_UNBELIEVED", 10)
    bench = Bench(place("p"))
    bench.see(1, times=2, epc=b"real")
    for number in range(1000):
        bench.see(1, epc=number.to_bytes(4, "big"), every_ms=1)
    assert len(bench.smoother._unbelieved) == 10
    assert bench.wait(5000).said() == ["arrived p"]
    assert (len(bench.smoother._unbelieved), len(bench.smoother)) == (0, 1)


def test_ghosts_do_not_push_out_what_is_believed(monkeypatch):
    """It only waits to come nearer."""
    monkeypatch.setattr(module, "MOST_UNBELIEVED", 10)
    bench = gate().see(1, -60.0, times=2, every_ms=100).see(2, -58.0, times=2, every_ms=100)
    for number in range(11):
        bench.see(1, -70.0, epc=number.to_bytes(4, "big"), every_ms=1)
    assert bench.said() == ["arrived out", "moved in in"]


def test_what_is_gone_is_not_held_until_its_time_would_have_come(monkeypatch):
    monkeypatch.setattr(module, "MOST_UNBELIEVED", 10)
    bench = Bench(place("p", settle_ms=60_000, believe_within_ms=600_000))
    for number in range(20_000):
        bench.see(1, epc=number.to_bytes(4, "big"), every_ms=1)
    assert len(bench.smoother._agenda) <= LEAST_STALE


# --- which place -------------------------------------------------------------------------------------------


def test_where_places_compete_it_arrives_when_it_came_no_nearer():
    bench = Bench(place("a", 1), place("b", 2))
    for dbm in range(-68, -60):
        bench.see(1, dbm, every_ms=500)
    assert bench.said() == []
    assert bench.wait(999).said() == []
    assert bench.wait(1).said() == ["arrived a"]


def test_it_arrives_where_it_is_heard_best():
    bench = Bench(place("a", 1), place("b", 2))
    bench.see(1, -67.0).see(2, -58.0).see(1, -66.0)
    assert bench.wait(1000).said() == ["arrived b"]


def test_a_strong_read_waits_for_nothing_unless_another_place_is_as_strong():
    assert Bench(place("a", 1), place("b", 2)).see(1, -40.0).said() == ["arrived a"]
    bench = Bench(place("a", 1), place("b", 2)).see(2, -42.0).see(1, -40.0)
    assert bench.said() == ["arrived b"]
    for _ in range(50):
        bench.see(1, -40.0).see(2, -42.0)
    assert bench.said() == []


def test_it_moves_when_another_place_hears_it_better():
    bench = Bench(place("a", 1), place("b", 2)).see(1, -50.0, times=5)
    bench.said()
    assert bench.see(2, -43.0).said() == [], "one glance says nothing"
    assert bench.see(2, -43.0).said() == ["moved b"]


def test_between_two_antennas_it_does_not_flap():
    bench = Bench(place("a", 1), place("b", 2)).see(1, -50.0, times=5)
    bench.said()
    for number in range(200):
        bench.see(1, -50.0 - number % 5, every_ms=100).see(2, -52.0 + number % 7, every_ms=100)
    assert bench.said() == []


def test_many_reads_of_one_look_are_one_glance():
    bench = Bench(place("a", 1), place("b", 2)).see(1, -50.0, times=5)
    bench.said()
    assert bench.see(2, -30.0, times=9, every_ms=10).said() == []
    assert GLANCE_NS == 100 * MS


def test_two_gates_of_two_stations_are_one_field():
    bench = Bench(place("a", device="r", station="x"), place("b", device="q", station="y"))
    bench.see(1, -48.0, times=3)
    assert bench.said() == ["arrived a"]
    assert bench.see(1, -45.0, device="q", times=2).see(1, -48.0).said() == []
    assert bench.see(1, -35.0, device="q", times=3).said() == ["moved b"]


def test_the_margin_shrinks_with_silence_in_units_of_what_is_usual_there_and_has_a_floor():
    hearing = Hearing(place("a", 1), TagRead("r", b"", TAG, 0.0, 0, 1))
    gap_ns = hearing.gap_ns
    assert [margin_db(hearing, gaps * gap_ns) for gaps in (0, 2, 4, 14, 1000)] == [6, 6, 5, 0, -20]


def test_a_tag_that_is_carried_off_is_where_it_is_heard_however_weakly():
    bench = Bench(place("a", 1), place("b", 2)).see(1, -30.0, times=20)
    bench.said()
    assert bench.see(2, -68.0, times=120, every_ms=500).said() == ["moved b"]


def test_what_was_heard_long_ago_says_nothing():
    bench = Bench(place("a", 1), place("b", 2)).see(1, -50.0, times=5).see(2, -30.0).see(1, -50.0, times=300)
    bench.said()
    assert bench.see(2, -48.0).see(1, -50.0).said() == []


def test_what_is_known_for_long_does_not_move_for_an_echo():
    bench = Bench(place("a", 1), place("b", 2)).see(1, -50.0, times=80).see(1, -70.0, times=3)
    bench.said()
    assert bench.see(2, -60.0, times=2).see(1, -50.0).said() == []


def test_what_is_far_weaker_than_its_best_moves_nothing():
    bench = Bench(place("a", 1), place("b", 2)).see(1, -35.0, times=5)
    bench.see(1, -66.0, times=5)
    bench.said()
    assert bench.see(2, -56.0, times=5).said() == []
    assert bench.see(2, -49.0, times=5).said() == ["moved b"]


def test_places_have_parameters_of_their_own():
    bench = Bench(place("a", 1, move_margin_db=20), place("b", 2)).see(1, -60.0, times=3).wait(1000)
    bench.said()
    assert bench.see(2, -48.0, times=3).see(1, -60.0).said() == []
    bench = Bench(place("a", 1), place("b", 2, move_reads=5)).see(1, -60.0, times=3).wait(1000)
    bench.said()
    assert bench.see(2, -48.0, times=4).see(1, -60.0).said() == []


# --- readers that tell less --------------------------------------------------------------------------------


def test_strengths_without_a_unit_are_compared_by_rank():
    bench = Bench(place("a", 1), place("b", 2)).see(1, None, times=5, rssi_raw=100).wait(1000)
    assert bench.said() == ["arrived a"]
    assert bench.see(2, None, times=3, rssi_raw=99).see(1, None, rssi_raw=100).said() == []
    assert bench.see(2, None, times=2, rssi_raw=101).said() == [], "two of three are not enough"
    assert bench.see(2, None, rssi_raw=101).said() == ["moved b"]


def test_without_any_strength_silence_decides():
    bench = Bench(place("a", 1), place("b", 2)).see(1, None, times=5).wait(1000)
    assert bench.said() == ["arrived a"]
    bench.see(1, None)
    for _ in range(50):
        bench.see(2, None).see(1, None)
    assert bench.said() == []
    assert bench.see(2, None, times=30, every_ms=500).said() == ["moved b"]


def test_units_are_not_mixed():
    bench = Bench(place("a", 1), place("b", 2)).see(1, -50.0, times=5)
    bench.said()
    assert bench.see(2, None, times=3, rssi_raw=200).see(1, -50.0).said() == []


def test_units_of_one_place_are_not_mixed():
    both = Place("b", "dock", (("r", 2), ("q", None)))
    bench = Bench(place("a", 1), both).see(1, -50.0, times=5)
    bench.said()
    assert bench.see(None, None, times=3, rssi_raw=200, device="q").see(1, -50.0).said() == []
    assert bench.see(2, -60.0, times=3).said() == []


# --- departing ---------------------------------------------------------------------------------------------


def test_it_departs_after_some_times_as_long_as_it_stayed_within_bounds():
    for stayed_s, given_s in ((1, 30), (20, 80), (1000, 600)):
        bench = Bench(place("p")).see(1, times=stayed_s * 5 + 1)
        assert bench.wait(given_s * 1000 - 1).said() == ["arrived p"], stayed_s
        assert bench.wait(1).said() == ["departed p"], stayed_s
        assert bench.see(1, times=2).said() == ["arrived p"]


def test_two_places_that_are_silent_do_not_hand_a_tag_to_each_other_for_ever():
    """What a place takes for present may be longer than the patience of the one that it is in."""
    bench = gate(departed_s=1, departed_most_s=1)
    for _ in range(30):
        bench.see(1, every_ms=300).see(2, every_ms=300)
    bench.said()
    assert bench.wait(10_000).said()[-1].startswith("departed")


def test_a_pallet_that_is_read_now_and_then_stays():
    bench = Bench(place("p")).see(1, times=60, every_ms=1000)
    assert bench.see(1, times=100, every_ms=100_000).said() == ["arrived p"]


def test_a_stopped_reader_is_no_evidence():
    bench = Bench(place("a", device="r"), place("b", device="q"))
    bench.see(1, -45.0, times=10)
    bench.said()
    bench.smoother.stopped("r")
    for _ in range(100):
        bench.see(1, -50.0, device="q", every_ms=30_000)
    assert bench.said() == []
    bench.smoother.resumed("r", bench.now_ns)
    bench.smoother.resumed("r", bench.now_ns + 1000 * S)  # it was there already
    assert bench.wait(29_000).said() == []
    assert bench.see(1, -45.0).wait(29_000).said() == [], "it is still there"


def test_a_tag_that_was_carried_off_meanwhile_moves():
    bench = Bench(place("a", device="r"), place("b", device="q"))
    bench.see(1, -45.0, times=10)
    bench.smoother.stopped("r")
    bench.wait(60_000).said()
    assert bench.see(1, -38.0, device="q", times=3).said() == ["moved b"]


def test_what_left_while_its_reader_was_away_departs_after_that():
    bench = Bench(place("p")).see(1, times=3)
    bench.smoother.stopped("r")
    bench.wait(3_600_000).said()
    bench.smoother.resumed("r", bench.now_ns)
    assert bench.wait(60_000).said() == ["departed p"]


def test_after_its_reader_was_away_a_tag_is_given_the_time_in_which_it_is_usually_heard():
    bench = Bench(place("p", departed_s=1, departed_most_s=1)).see(1, times=5, every_ms=500)
    bench.smoother.stopped("r")
    bench.wait(60_000).smoother.resumed("r", bench.now_ns)
    assert bench.wait(9_000).said() == ["arrived p"]
    assert bench.wait(2_000).said() == ["departed p"]


# --- always ------------------------------------------------------------------------------------------------

SIGHTINGS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(1, 4),
        st.one_of(st.none(), st.integers(-75, -30)),
        st.sampled_from([0, 20, 200, 2_000, 40_000]),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(SIGHTINGS)
def test_what_is_told_of_a_tag_is_a_story_and_memory_is_bounded(sightings):
    bench = gate()
    bench.smoother = Smoother(
        [place("a", 1, 2, side="outside"), place("b", 3, side="inside"), place("c", station="other")], 4
    )
    for tag, antenna, dbm, after_ms in sightings:
        bench.see(antenna, dbm, every_ms=after_ms, epc=bytes([tag]))
        assert len(bench.smoother) <= 4
    bench.wait(10_000_000)
    at: dict[bytes, Place | None] = {}
    for change in bench.told:
        was = at.get(change.epc)
        if change.kind == "arrived":
            assert was is None
        elif change.kind == "moved":
            assert was is change.before is not None
            assert change.place is not was
        else:
            assert was is change.place
        at[change.epc] = None if change.kind == "departed" else change.place
    assert not any(at.values()), "whatever comes goes"
    assert (len(bench.smoother), bench.smoother.due_ns()) == (0, None)


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(8)))
def test_the_order_of_tags_within_one_look_is_irrelevant(order):
    def story(tags: Any) -> list[str]:
        bench = gate()
        for antenna, dbm in ((1, -60), (1, -45), (1, -44), (2, -50), (2, -40), (2, -41), (2, -60)):
            bench.wait(250)
            reads = [TagRead("r", b"", bytes([tag]), 0.0, bench.now_ns, antenna, dbm) for tag in tags]
            bench.told += bench.smoother.feed(reads)
        bench.wait(1_000_000)
        return sorted(f"{change.epc.hex()} {change.kind} {change.place.name}" for change in bench.told)

    assert story(order) == story(range(8))


def test_an_antenna_that_no_place_names_is_the_device():
    bench = Bench(place("door", 1), place("r"))
    assert bench.see(7, -40.0).said() == ["arrived r"]
    assert bench.smoother.place_of("r", 1) is bench.smoother.place("door")
    assert bench.smoother.place_of("r", None) is bench.smoother.place("r")
    assert bench.smoother.place_of("x", 1) is None


@pytest.mark.parametrize("text", ["3f" * 62, "00"])
def test_any_epc_is_kept(text: str):
    bench = Bench(place("p"))
    restore(bench.smoother, Kept(None, [(text, "p", 0, None)]), bench.now_ns)
    assert [tag[0] for tag in keep(bench.smoother.snapshot(), None).tags] == [text]

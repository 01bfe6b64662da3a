"""What a gate's two sides say of a tag's way: every rule, as an example."""

from tests.support.smoothing import Bench, gate, place

# --- gates -------------------------------------------------------------------------------------------------


def test_through_a_gate():
    bench = gate().see(1, -45.0, times=5).see(1, -55.0).see(2, -55.0).see(2, -40.0, times=4)
    assert bench.said() == ["arrived out", "moved in in"]
    bench.see(2, -56.0).see(1, -50.0).see(1, -38.0, times=4)
    assert bench.said() == ["moved out out"]


def test_a_fast_pass_is_told_in_the_order_in_which_it_happened():
    bench = gate().see(1, -60.0, times=2, every_ms=150).see(2, -57.0, times=3, every_ms=150)
    assert bench.wait(1000).said() == ["arrived out", "moved in in"]


def test_what_falls_silent_behind_the_gate_went_through():
    bench = gate().see(1, -40.0, times=4).see(2, -55.0)
    assert bench.said() == ["arrived out"]
    assert bench.wait(1500).said() == ["moved in in"]


def test_what_comes_back_is_another_passage_however_well_it_was_heard_before():
    bench = gate().see(1, -40.0, times=4).see(2, -33.0, times=4)
    assert bench.said() == ["arrived out", "moved in in"]
    assert bench.see(2, -38.0, times=10).see(1, -50.0).wait(1500).said() == ["moved out out"]
    bench = gate().see(1, -60.0, times=2, every_ms=150).see(2, -57.0, times=3, every_ms=150).wait(1000)
    assert bench.said() == ["arrived out", "moved in in"]
    assert bench.see(2, -57.0, times=5).see(1, -66.0).wait(1500).said() == ["moved out out"]


def test_what_was_nearest_outside_last_is_outside():
    bench = gate().see(1, -50.0, times=3).see(2, -49.0).see(1, -40.0, times=4)
    assert bench.wait(1500).said() == ["arrived out"]


def test_the_tail_of_what_was_heard_well_before_is_no_way_back():
    bench = gate().see(1, -40.0, times=4).see(2, -42.0).wait(1500)
    assert bench.said() == ["arrived out", "moved in in"]
    assert bench.see(1, -58.0).wait(1500).said() == []


def test_an_echo_outside_is_no_way_in():
    bench = gate().see(1, -70.0).see(2, -40.0, times=2)
    assert bench.said() == ["arrived in"]
    assert bench.see(1, -33.0, times=4).said() == ["moved out out"]


def test_a_pallet_that_turns_round_before_the_gate_did_not_come_in():
    bench = gate().see(1, -40.0, times=4).see(2, -66.0, times=3).see(1, -50.0, times=3).see(1, -62.0, times=3)
    assert bench.wait(600_000).said() == ["arrived out", "departed out"]


def test_what_is_first_seen_inside_may_be_on_its_way_out():
    bench = gate().see(2, -40.0, times=3)
    assert bench.said() == ["arrived in"]
    bench.see(2, -55.0).see(1, -40.0, times=3).wait(1500)
    assert bench.said() == ["moved out out"]
    assert bench.wait(600_000).said() == ["departed out"]


def test_what_was_seen_inside_only_came_in_when_it_goes_on_from_there():
    assert gate().see(2, -40.0, times=3).wait(600_000).said() == ["arrived in", "departed in in"]


def test_what_goes_on_from_inside_to_another_place_came_in():
    """As the next gate of the same wall hears it better, or a place without a side."""
    sides = [place("out", 1, side="outside"), place("in", 2, side="inside")]
    neighbour = [place("in2", 3, side="inside", station="x"), place("out2", 4, side="outside", station="x")]
    bench = Bench(*sides, *neighbour).see(2, -50.0, times=3).see(3, -38.0, times=5)
    assert bench.wait(600_000).said() == ["arrived in", "moved in2", "departed in2 in"]
    bench = Bench(*sides, place("hall", 3)).see(2, -50.0, times=3).see(3, -38.0, times=5)
    assert bench.wait(600_000).said() == ["arrived in", "moved hall", "departed hall in"]


def test_between_the_sides_there_may_be_a_place_without_a_side():
    bench = Bench(place("out", 1, side="outside"), place("r"), place("in", 2, side="inside"))
    bench.see(1, -50.0, times=3).see(3, -38.0, times=5).see(2, -30.0, times=5)
    assert bench.said() == ["arrived out", "moved r", "moved in in"]
    bench.see(3, -20.0, times=5).see(1, -12.0, times=9)
    assert bench.said() == ["moved r", "moved out out"]


def test_what_was_at_no_side_before_is_judged_as_if_it_arrived():
    sides = [place("out", 1, side="outside"), place("in", 2, side="inside")]
    bench = Bench(*sides, place("r")).see(3, -50.0, times=3).see(2, -30.0, times=5)
    assert bench.wait(600_000).said() == ["arrived r", "moved in", "departed in in"]
    bench = Bench(place("in", 2, side="inside"), place("r")).see(3, -50.0, times=3).see(2, -30.0, times=5)
    assert bench.wait(600_000).said() == ["arrived r", "moved in in", "departed in"]
    assert bench.smoother.gates == {"dock"}


def test_where_nothing_looks_outside_inside_is_in():
    assert Bench(place("in", side="inside")).see(1, times=2).said() == ["arrived in in"]

"""What the smoothing holds: at its bounds, while what it told waits to be dealt with, and over a restart."""

from agent.smoothing import Kept, keep, restore
from agent.smoothing import smoother as module
from tests.support.smoothing import TAG, Bench, gate, place

# --- bounds ------------------------------------------------------------------------------------------------


def test_at_the_bound_the_one_that_would_depart_first_departs():
    bench = Bench(place("p"), most=2)
    bench.see(1, -40.0, epc=b"a", times=50).see(1, -40.0, epc=b"b").see(1, -40.0, epc=b"x")
    departed = [change.epc for change in bench.told if change.kind == "departed"]
    assert (departed, len(bench.smoother)) == ([b"b"], 2)
    assert module.MOST_TAGS == 100_000


def test_at_the_bound_what_fell_silent_behind_the_gate_has_come_in():
    bench = Bench(
        *(place(side, number, side=side) for number, side in enumerate(("outside", "inside"))), most=1
    )
    bench.see(0, -40.0, times=4).see(1, -55.0)
    bench.said()
    bench.see(0, -40.0, epc=b"next")
    assert bench.said() == ["moved inside in", "departed inside", "arrived outside"]


def test_at_the_bound_nobody_else_is_kept_waiting():
    bench = gate(departed_s=600)
    bench.smoother._most = 3
    bench.see(1, -40.0, epc=b"old").see(1, -40.0, epc=b"x", times=50)
    bench.see(1, -40.0, times=4).see(2, -55.0).see(1, -40.0, epc=b"new")
    bench.said()
    assert bench.wait(1500).said() == ["moved in in"]


def test_the_bound_holds_also_while_a_reader_is_away():
    bench = Bench(place("p"), most=3)
    bench.see(1, -40.0, epc=b"0")
    bench.smoother.stopped("r")
    for number in range(20):
        bench.see(1, -40.0, epc=bytes([number]), every_ms=40_000)
    assert len(bench.smoother) == 3


def test_so_many_places_are_kept_of_one_tag():
    bench = Bench(*(place(f"p{number}", number) for number in range(1, 20)))
    bench.see(1, -40.0, times=5)
    for number in range(2, 20):
        bench.see(number, -60.0)
    (tag,) = bench.smoother.snapshot()
    assert {other.place.name for other in tag.others} == {f"p{number}" for number in range(12, 20)}


# --- what came of it, and restarts -------------------------------------------------------------------------


def test_what_led_to_nothing_is_told_again_while_it_stays():
    bench = Bench(place("p")).see(1, -40.0)
    (change,) = bench.told
    bench.said()
    bench.smoother.retry(change, 500)
    bench.smoother.settled(change)
    assert keep(bench.smoother.snapshot(), None).tags == []
    assert bench.wait(499).said() == []
    assert bench.wait(1).said() == ["arrived p"]
    assert bench.wait(5000).said() == []


def test_what_is_told_again_has_the_newest_read_and_is_told_when_it_was_asked_for_last():
    bench = Bench(place("p")).see(1, -40.0)
    (change,) = bench.told
    bench.see(1, -45.0).said()
    bench.smoother.retry(change, 500)
    bench.smoother.retry(change, 2000)
    assert bench.wait(1999).said() == []
    bench.wait(1)
    assert [told.read.rssi_dbm for told in bench.told] == [-45.0]


def test_what_has_gone_is_not_told_again():
    bench = Bench(place("p")).see(1, -40.0)
    (change,) = bench.told
    bench.smoother.retry(change, 60_000)
    bench.said()
    assert bench.wait(40_000).wait(40_000).said() == ["departed p"]
    bench.smoother.retry(change, 1)
    bench.smoother.settled(change)
    assert bench.wait(1000).said() == []


def test_what_passed_a_gate_is_told_again_though_it_has_gone_on():
    bench = gate().see(2, -40.0, times=3).wait(60_000)
    (_, change) = bench.told
    bench.smoother.retry(change, 500)
    bench.smoother.settled(change)
    assert bench.said() == ["arrived in", "departed in in"]
    assert bench.wait(499).said() == []
    assert bench.wait(1).said() == ["departed in in"]
    assert bench.wait(60_000).said() == []
    bench = gate().see(1, -45.0, times=5).see(2, -33.0, times=4)
    bench.smoother.retry(bench.told[-1], 120_000)
    bench.said()
    assert bench.wait(119_000).said() == ["departed in"]
    assert bench.wait(1_000).said() == ["moved in in"]


def test_what_is_told_again_is_told_once_and_bounded():
    bench = gate()
    bench.smoother._most = 3
    changes = []
    for number in range(5):
        bench.see(2, -40.0, epc=bytes([number])).wait(60_000)
        changes.append(bench.told[-1])
    bench.said()
    for change in (*changes, *changes):
        bench.smoother.retry(change, 500)
    bench.wait(10_000)
    assert [change.epc for change in bench.told] == [b"\2", b"\3", b"\4"]


def test_a_restart_goes_on_where_it_was():
    bench = gate().see(1, -40.0, times=100)
    for change in bench.told:
        bench.smoother.settled(change)
    kept = keep(bench.smoother.snapshot(), "e7")
    assert kept == Kept("e7", [(TAG.hex(), "out", 19, None)])
    again = gate()
    again.now_ns = 5  # another boot
    assert restore(again.smoother, kept, again.now_ns) == set()
    assert again.see(1, -40.0, times=3).said() == []
    assert again.see(2, -33.0, times=4).said() == ["moved in in"]


def test_what_was_inside_only_came_in_also_over_a_restart():
    bench = gate().see(2, -40.0, times=3)
    for change in bench.told:
        bench.smoother.settled(change)
    again = gate()
    restore(again.smoother, keep(bench.smoother.snapshot(), None), again.now_ns)
    assert again.see(2, -40.0, times=3).wait(600_000).said() == ["departed in in"]


def test_what_was_not_dealt_with_before_a_restart_is_told_again():
    bench = gate().see(1, -45.0, times=5)
    for change in bench.told:
        bench.smoother.settled(change)
    bench.see(2, -35.0, times=4)
    assert bench.said() == ["arrived out", "moved in in"]
    kept = keep(bench.smoother.snapshot(), None)
    again = gate()
    restore(again.smoother, kept, again.now_ns)
    assert again.see(2, -35.0, times=4).wait(3000).said() == ["moved in in"]


def test_what_had_stayed_for_long_is_given_as_much_time_after_a_restart():
    bench = Bench(place("p"))
    restore(bench.smoother, Kept(None, [(TAG.hex(), "p", 100, None)]), bench.now_ns)
    assert bench.wait(399_999).said() == []
    assert bench.wait(1).said() == ["departed p"]


def test_a_snapshot_is_another_one_as_long_as_the_stay_makes_a_difference():
    bench = Bench(place("p")).see(1, times=200, every_ms=1000)
    before = bench.smoother.revision
    assert before >= 2, "when it might have departed"
    bench.see(1, times=1500, every_ms=1000)
    before = bench.smoother.revision
    bench.see(1, times=3000, every_ms=1000)
    assert bench.smoother.revision == before


def test_what_is_gone_after_a_restart_departs():
    bench = Bench(place("p"))
    restore(bench.smoother, Kept(None, [(TAG.hex(), "p", 5, None)]), bench.now_ns)
    assert bench.wait(29_999).said() == []
    assert bench.wait(1).said() == ["departed p"]


def test_a_file_that_says_nonsense_is_no_reason_not_to_start():
    bench = Bench(place("p"), most=2)
    told = [
        ("zz", "p", 1),
        ("00", "gone", 1),
        ("01", "p", -5),
        ("01", "p", 1),
        ("02", "p", 1),
        ("03", "p", 1),
    ]
    tags = [(*one, None) for one in told]
    assert restore(bench.smoother, Kept(None, tags), bench.now_ns) == {b"\0"}
    assert len(bench.smoother) == 2

"""The double-read guard."""

from agent.guard import DoubleReadGuard

MS = 1_000_000


def test_the_same_code_within_the_time_is_a_repeat():
    guard = DoubleReadGuard(400)
    assert not guard.is_repeat("a", b"1", 0)
    assert guard.is_repeat("a", b"1", 399 * MS)


def test_after_the_time_it_is_a_new_scan():
    guard = DoubleReadGuard(400)
    guard.is_repeat("a", b"1", 0)
    assert not guard.is_repeat("a", b"1", 400 * MS)


def test_an_item_left_in_front_of_a_reader_is_counted_once():
    guard = DoubleReadGuard(400)
    assert [guard.is_repeat("a", b"1", place * 300 * MS) for place in range(20)] == [False] + [True] * 19


def test_other_codes_and_other_devices_are_other_scans():
    guard = DoubleReadGuard(400)
    guard.is_repeat("a", b"1", 0)
    assert not guard.is_repeat("a", b"2", 1)
    assert not guard.is_repeat("b", b"1", 1)
    assert guard.is_repeat("a", b"1", 2), "a code in between does not make it new"


def test_a_scan_that_came_to_nothing_has_no_repeat():
    guard = DoubleReadGuard(400)
    guard.is_repeat("a", b"1", 0)
    guard.forget("a", b"1")
    guard.forget("a", b"never seen")
    assert not guard.is_repeat("a", b"1", 1 * MS)


def test_no_time_means_no_guard():
    guard = DoubleReadGuard(0)
    assert not guard.is_repeat("a", b"1", 5)
    assert not guard.is_repeat("a", b"1", 5)


def test_memory_is_bounded_and_the_oldest_is_forgotten():
    guard = DoubleReadGuard(400, most_remembered=2)
    for code in (b"1", b"2", b"3"):
        guard.is_repeat("a", code, 0)
    assert not guard.is_repeat("a", b"1", 1), "forgotten"
    assert guard.is_repeat("a", b"3", 1)

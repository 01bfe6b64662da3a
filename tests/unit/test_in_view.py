"""Tags in view: one scan for each coming, however often they are read."""

from agent.in_view import MOST_TAGS, InView

MS = 1_000_000


def test_a_tag_in_view_comes_once_however_often_it_is_read():
    view = InView(1000)
    assert [view.comes(b"a", at * 10 * MS) for at in range(500)] == [True] + [False] * 499


def test_it_comes_again_when_it_was_away_for_long_enough():
    view = InView(1000)
    assert view.comes(b"a", 0)
    assert not view.comes(b"a", 999 * MS)
    assert not view.comes(b"a", 1998 * MS), "it counts from when it was last read"
    assert view.comes(b"a", 2998 * MS)


def test_others_do_not_make_it_new():
    view = InView(1000)
    assert view.comes(b"a", 0) and view.comes(b"b", 1 * MS)
    assert not view.comes(b"a", 2 * MS)


def test_memory_holds_what_is_in_view_and_no_more():
    view = InView(1000)
    for number in range(10_000):
        view.comes(number.to_bytes(4, "big"), number * MS)
    assert len(view) == 1000


def test_at_the_bound_the_one_read_longest_ago_counts_as_away():
    view = InView(1000, most=2)
    assert [view.comes(tag, 1) for tag in (b"a", b"b", b"a", b"c")] == [True, True, False, True]
    assert len(view) == 2
    assert not view.comes(b"a", 2)
    assert view.comes(b"b", 3)
    assert MOST_TAGS == 100_000


def test_what_led_to_nothing_is_tried_again_while_it_stays():
    view = InView(1000)
    view.comes(b"a", 0)
    view.retry(b"a", 500 * MS)
    view.retry(b"never seen", 0)
    assert not view.comes(b"a", 499 * MS)
    assert view.comes(b"a", 500 * MS)
    assert not view.comes(b"a", 501 * MS)


def test_a_retry_is_forgotten_with_its_tag():
    view = InView(1000, most=1)
    view.comes(b"a", 0)
    view.retry(b"a", 5 * MS)
    assert view.comes(b"b", 1 * MS)
    assert view.comes(b"a", 2 * MS), "new, as it was forgotten"
    assert not view.comes(b"a", 6 * MS)
    view.retry(b"a", 8 * MS)
    assert view.comes(b"a", 5000 * MS)
    assert not view.comes(b"a", 5001 * MS)


def test_what_was_recorded_before_a_restart_may_be_in_view_still():
    view = InView(1000, most=2)
    view.recall([b"a", b"b", b"c"], 0)
    assert not view.comes(b"a", 500 * MS)
    assert view.comes(b"b", 1000 * MS), "that one had gone"
    assert not view.comes(b"a", 1400 * MS)
    assert view.comes(b"c", 1400 * MS), "over the bound"

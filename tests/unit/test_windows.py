"""Windows: a budget that senders share, 0 while nothing is taken, and told again when there is room."""

from central.windows import LEAST, SENDING_S, WINDOW, Windows


def test_few_senders_get_the_whole_window() -> None:
    windows = Windows()
    assert windows.granted() == WINDOW
    for number in range(50):
        windows.heard(f"a-{number}", 0.0)
    assert windows.granted() == WINDOW


def test_many_senders_share_and_what_waits_is_taken_from_it() -> None:
    windows = Windows(budget=1000)
    for number in range(10):
        windows.heard(f"a-{number}", 0.0)
    assert windows.granted() == 100
    windows.waiting = 500
    assert windows.granted() == 50
    windows.waiting = 1000 - 10 * LEAST + 1
    assert windows.granted() == 0, "less than it is worth"
    windows.waiting = 2000
    assert windows.granted() == 0


def test_who_was_quiet_for_long_is_no_sender() -> None:
    windows = Windows(budget=1000)
    for number in range(10):
        windows.heard(f"a-{number}", float(number))
    windows.heard("a-0", SENDING_S + 8.5)
    assert windows.granted() == 500
    windows.heard("a-0", 100.0)
    assert windows.granted() == WINDOW


def test_nothing_is_granted_while_the_ledger_is_shut() -> None:
    windows = Windows()
    windows.open = False
    assert (windows.granted(), windows.opened(5)) == (0, [])


def test_who_was_told_to_wait_is_told_when_there_is_room_the_longest_waiting_first() -> None:
    windows = Windows(budget=100)
    for agent in ("b", "a", "c", "b"):
        windows.told(agent, 0)
    windows.waiting = 90
    assert windows.opened(2) == []
    windows.waiting = 0
    assert windows.granted() == 33, "those who wait are senders too"
    assert windows.opened(2) == ["b", "a"]
    windows.told("b", 33)
    windows.told("never", 33)
    assert windows.opened(2) == ["a", "c"]

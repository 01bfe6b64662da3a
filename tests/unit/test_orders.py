"""What central asks of the agent's program."""

import pytest

from sync.orders import MOST, PERIOD_S, Order, Orders

WHO = {"agent": "dock-1", "site": "lej1", "software": "test"}


@pytest.mark.parametrize(
    ("command", "ok", "says"),
    [
        ("identify", True, WHO),
        ("diagnostics", True, {**WHO, "queued": 3}),
        ("reload", False, "an agent reads its configuration when it starts: check it, and restart the agent"),
        ("x" * 99, False, f"unknown command {'x' * 50!r}"),
    ],
)
def test_each_command_has_its_answer(command: str, ok: bool, says: object) -> None:
    reply = Orders(WHO).answer(Order("c-1", command), {"queued": 3}, 0.0)
    assert reply is not None
    assert (reply.id, reply.ok, reply.result if ok else reply.error) == ("c-1", ok, says)


def test_nobody_keeps_an_agent_busy_with_answers() -> None:
    orders = Orders(WHO)
    order = Order("c-1", "identify")
    answers = [orders.answer(order, {}, 100.0) for _ in range(MOST + 5)]
    assert [answer is None for answer in answers] == [False] * MOST + [True] * 5
    assert orders.answer(order, {}, 100.0 + PERIOD_S) is not None


def test_any_ten_seconds_have_at_most_ten_answers() -> None:
    orders, order = Orders(WHO), Order("c-1", "identify")
    asked = [0.0, *(5.0 + n / 10 for n in range(MOST - 1)), PERIOD_S - 0.1, PERIOD_S, PERIOD_S + 0.1]
    answers = [orders.answer(order, {}, at) for at in asked]
    assert [answer is None for answer in answers] == [False] * MOST + [True, False, True]

"""Who is given which task, and what changes that."""

from typing import Any

import pytest

from central.ledger import leases
from central.ledger.books import Books, Lease, Task
from central.ledger.commands import Move, MoveTasks, Present, RenewLeases
from central.ledger.leases import Group, plan
from central.ledger.transitions import Fact

NOW_US = 1_000_000_000
BOTH = {"ada": ("pick",), "ben": ("pick",)}


def group(document: str, holder: str | None = None, tasks: int = 1, **more: Any) -> Group:
    found = {"type": "pick", "begun": False, "changed_us": 1, **more}
    return Group(found["type"], document, holder, tasks, found["begun"], found["changed_us"])


def planned(groups: list[Group], present: dict[str, tuple[str, ...]]) -> list[tuple[str, str | None, str]]:
    return [(one.document, one.holder, one.to) for one in plan("lej1", groups, present)]


class TestPlan:
    def test_one_agent_has_everything_and_keeps_it(self):
        groups = [group("O-1"), group("O-2", "ada")]
        assert planned(groups, {"ada": ("pick",)}) == [("O-1", None, "ada")]
        assert planned([group("O-1", "ada")], {"ada": ("pick",)}) == []

    def test_two_agents_share_and_the_oldest_goes_first(self):
        groups = [group(f"O-{n}", changed_us=9 - n, tasks=n) for n in (1, 2, 3, 4)]
        given = planned(groups, BOTH)
        assert given == [
            ("O-4", None, "ada"),
            ("O-3", None, "ben"),
            ("O-2", None, "ben"),
            ("O-1", None, "ada"),
        ]

    def test_what_nobody_is_there_for_stays(self):
        assert planned([group("O-1", "gone")], {}) == []
        assert planned([group("O-1")], {"dock": ()}) == []

    def test_whoever_has_a_document_gets_the_rest_of_it(self):
        groups = [group("O-1", "ada", 50, begun=True), group("O-1", changed_us=5), group("O-2", "ben")]
        assert planned(groups, BOTH) == [("O-1", None, "ada")]

    def test_tasks_of_one_who_is_gone_go_to_one_who_is_there(self):
        assert planned([group("O-1", "gone", begun=True)], BOTH) == [("O-1", "gone", "ada")]

    def test_a_type_goes_to_who_works_on_it(self):
        groups = [group("O-1", type="count"), group("O-1")]
        present = {"ada": ("pick",), "ben": ("count",)}
        assert planned(groups, present) == [("O-1", None, "ben"), ("O-1", None, "ada")]
        assert planned([group("O-1", "ben")], present) == [("O-1", "ben", "ada")]

    def test_who_comes_later_gets_what_nobody_has_begun_and_the_youngest_first(self):
        groups = [
            group("O-1", "ada", 4, changed_us=1),
            group("O-2", "ada", 2, begun=True, changed_us=2),
            group("O-3", "ada", 3, changed_us=3),
            group("O-4", "ada", 1, changed_us=4),
        ]
        assert planned(groups, BOTH) == [("O-4", "ada", "ben"), ("O-3", "ada", "ben")]
        assert planned(groups, {**BOTH, "dock": ()}) == planned(groups, BOTH)
        assert planned(groups, {"ada": ("pick",), "ben": ("count",)}) == []

    def test_a_single_document_stays_with_one(self):
        assert planned([group("O-1", "ada", 9)], BOTH) == []
        shared = [group("O-1", "ada", 9), group("O-1", "ben", 1), group("O-2", "ada", 1)]
        assert planned(shared, {**BOTH, "cay": ("pick",)}) == [("O-2", "ada", "cay")]


def books(**tasks: Task) -> Books:
    found = Books(lambda: "id", now_us=NOW_US, history="H1")
    for name, row in tasks.items():
        found.tasks.load(name, row)
    found.leases.load("ada", Lease("lej1", '["pick"]', NOW_US + 1))
    found.leases.load("ben", Lease("lej1", '["pick"]', NOW_US))
    found.leases.load("cay", None)
    return found


def task(holder: str | None = None, **more: Any) -> Task:
    return Task("pick", "lej1", "O-1", "MUG", 2, "A-01", **{"holder": holder, **more})


def moved(holder: str | None, to: str, **more: Any) -> str | None:
    """Who has the task afterwards."""
    found = books(t=task(holder, **more))
    leases.move(found, MoveTasks((Move("lej1", "pick", "O-1", holder, to),)))
    return found.tasks["t"].holder


class TestMove:
    def test_it_goes_to_one_whose_lease_lasts(self):
        assert moved(None, "ada") == "ada"
        assert moved(None, "ben") is None, "passed meanwhile"
        assert moved(None, "cay") is None, "never heard of"

    def test_what_somebody_has_begun_stays_while_the_lease_lasts(self):
        found = books(t=task("ada", done=1))
        found.leases.load("cay", Lease("lej1", '["pick"]', NOW_US + 1))
        step = MoveTasks((Move("lej1", "pick", "O-1", "ada", "cay"),))
        leases.move(found, step)
        assert found.tasks["t"].holder == "ada"
        found.tasks.put("t", task("ada"))
        leases.move(found, step)
        assert found.tasks["t"].holder == "cay"
        assert moved("ben", "ada", done=1) == "ada", "his lease has passed"

    def test_what_changed_since_it_was_planned_stays(self):
        found = books(t=task("ben"), over=task(None, status="done"))
        leases.move(found, MoveTasks((Move("lej1", "pick", "O-1", None, "ada"),)))
        assert (found.tasks["t"].holder, found.tasks["over"].holder) == ("ben", None)

    def test_another_site_or_type_is_no_reason(self):
        found = books()
        assert leases.holds(found, "ada", Move("lej1", "pick", "", None, ""))
        assert not leases.holds(found, "ada", Move("ber1", "pick", "", None, ""))
        assert not leases.holds(found, "ada", Move("lej1", "count", "", None, ""))


def test_renewing_keeps_what_is_known_of_an_agent():
    found = books()
    told = (Present("ben", "lej1", None), Present("cay", "lej1", None))
    leases.renew(found, RenewLeases(told, 60))
    assert found.leases["ben"] == Lease("lej1", '["pick"]', NOW_US + 60_000_000)
    assert found.leases.get("cay") is None
    leases.renew(found, RenewLeases((Present("cay", "ber1", ("count",)),), 1.5))
    assert found.leases["cay"] == Lease("ber1", '["count"]', NOW_US + 1_500_000)


@pytest.mark.parametrize(
    ("row", "fact", "holder"),
    [
        (task("ada"), Fact("picked", "lej1", task="t"), "ben"),
        (task(None), Fact("picked", "lej1", task="t"), "ben"),
        (task("ada", done=1), Fact("picked", "lej1", task="t"), "ada"),
        (task("ada", status="done"), Fact("picked", "lej1", task="t"), "ada"),
        (task("ada"), Fact("unpicked", "lej1", task="t"), "ada"),
        (task("ada"), Fact("picked", "lej1"), "ada"),
        (Task("resolve", "lej1", "", "", 0, ""), Fact("picked", "lej1", task="t"), None),
        (task("ben"), Fact("picked", "lej1", task="t"), "ben"),
    ],
)
def test_the_first_pick_for_a_task_that_nobody_has_begun_takes_it(row: Task, fact: Fact, holder: str | None):
    found = books(t=row)
    leases.take_up(found, "ben", fact)
    assert found.tasks["t"].holder == holder


def test_a_pick_for_a_task_that_nobody_knows_takes_nothing():
    found = books()
    found.tasks.load("t", None)
    leases.take_up(found, "ben", Fact("picked", "lej1", task="t"))
    assert found.tasks.get("t") is None

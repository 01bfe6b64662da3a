"""Who works on which task: each open pick or count task is with one agent of its site. Pure.

The idea: a task names its holder, and a holder's lease has one end for all of its tasks, so that renewing it is one
row. It is renewed while the agent is heard of, by the database's clock. A task whose holder's lease has passed goes
to another agent, if there is one: with one agent at a site everything stays where it is. Leases decide who is sent,
not what is true: what anybody did for a task is a fact, and the first pick for a task that nobody has begun takes it.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from central.ledger.books import Books, Lease
from central.ledger.commands import Done, Move, MoveTasks, RenewLeases
from central.ledger.facts import storable
from central.ledger.transitions import Fact

Finish = Callable[[Mapping[str, int | None]], Any]

LEASED: Final = ("pick", "count")  # types of tasks; the others are everybody's
MOST_GIVEN: Final = 1000  # groups that are given in one plan; the others with the next, which follows at once
MOST_LOOKED_AT: Final = 100  # groups of whoever has most, for one who has nothing


class Group(NamedTuple):
    """The open tasks of one type and document that one agent holds, or nobody."""

    type: str
    document: str
    holder: str | None
    tasks: int
    begun: bool
    """Something was done for one of them."""
    changed_us: int
    """When the one changed that has not for longest."""


# --- who gets what ---------------------------------------------------------------------------------


def plan(site: str, groups: Iterable[Group], present: Mapping[str, Collection[str]]) -> list[Move]:
    """Give what nobody holds to somebody. `present`: the agents whose lease lasts, and the types that each takes.

    The tasks of a document stay together where they can. Else the oldest go first, to whoever has least; an agent
    that has nothing is given documents that nobody has begun, the youngest first, from whoever has most.
    """
    load: Counter[str] = Counter(dict.fromkeys(present, 0))
    keepers: dict[str, Counter[str]] = {}
    kept: list[Group] = []
    loose: list[Group] = []
    for group in groups:
        if group.holder is not None and group.type in present.get(group.holder, ()):
            _give(group, group.holder, load, keepers)
            kept.append(group)
        else:
            loose.append(group)
    moves = []
    loose.sort(key=lambda one: (one.changed_us, one.document, one.type, one.holder or ""))
    for group in loose[:MOST_GIVEN]:
        able = [agent for agent, takes in present.items() if group.type in takes]
        if able:
            held = keepers.get(group.document, Counter())
            to = min(able, key=lambda agent: (-held[agent], load[agent], agent))
            _give(group, to, load, keepers)
            moves.append(Move(site, group.type, group.document, group.holder, to))
    return moves + _even_out(site, kept, load, keepers, present)


def _give(group: Group, to: str, load: Counter[str], keepers: dict[str, Counter[str]]) -> None:
    load[to] += group.tasks
    keepers.setdefault(group.document, Counter())[to] += group.tasks


def _even_out(
    site: str,
    kept: Sequence[Group],
    load: Counter[str],
    keepers: Mapping[str, Counter[str]],
    present: Mapping[str, Collection[str]],
) -> list[Move]:
    begun = {group.document for group in kept if group.begun}
    free: dict[str, list[Group]] = {}
    for group in sorted(kept, key=lambda one: (one.changed_us, one.document, one.type)):
        if group.holder is not None and group.document not in begun and len(keepers[group.document]) == 1:
            free.setdefault(group.holder, []).append(group)  # the youngest last
    moves = []
    for idle in sorted(agent for agent, tasks in load.items() if tasks == 0 and present[agent]):
        rich = max(sorted(load), key=load.__getitem__)
        for group in free.get(rich, [])[: -MOST_LOOKED_AT - 1 : -1]:
            fits = load[rich] - group.tasks >= load[idle] + group.tasks
            if fits and group.type in present[idle]:
                free[rich].remove(group)
                load[rich] -= group.tasks
                load[idle] += group.tasks
                moves.append(Move(site, group.type, group.document, rich, idle))
    return moves


# --- commands --------------------------------------------------------------------------------------


def renew(books: Books, command: RenewLeases) -> Finish:
    """These agents were heard of: their leases last from now."""
    until_us = books.now_us + round(command.lease_s * 1_000_000)
    for one in command.agents:
        old = books.leases.get(one.agent)
        takes = json.dumps(one.takes) if one.takes is not None else old.takes if old is not None else None
        if takes is not None:  # else nobody knows yet what it works on: its hello will say
            books.leases.put(one.agent, Lease(storable(one.site), takes, until_us))
    return lambda _numbers: Done({})


def move(books: Books, command: MoveTasks) -> Finish:
    """Carry out what was planned, as far as it is still so."""
    moved = 0
    for one in command.moves:
        group = {
            name: task
            for name, task in books.tasks.of(one.document)
            if (task.site, task.type, task.status, task.holder) == (one.site, one.type, "open", one.holder)
        }
        begun = any(task.done > 0 for task in group.values())
        if holds(books, one.to, one) and not (begun and holds(books, one.holder, one)):
            for name, task in group.items():
                books.tasks.put(name, task._replace(holder=one.to, changed_us=books.now_us))
                moved += 1
    return lambda _numbers: Done({"moved": moved})


def holds(books: Books, agent: str | None, move: Move) -> bool:
    """Whether the agent's lease lasts, at that site and for such tasks."""
    lease = books.leases.get(agent) if agent is not None else None
    return (
        lease is not None
        and lease.until_us > books.now_us
        and lease.site == move.site
        and move.type in json.loads(lease.takes)
    )


def take_up(books: Books, agent: str, fact: Fact) -> None:
    """The first pick for a task that nobody has begun takes it: whoever else was sent there is called back."""
    task = books.tasks.get(fact.task) if fact.task is not None else None
    if task is None or fact.event != "picked" or task.status != "open" or task.type not in LEASED:
        return
    if task.done <= 0 and task.holder != agent:
        assert fact.task is not None
        books.tasks.put(fact.task, task._replace(holder=agent, changed_us=books.now_us))

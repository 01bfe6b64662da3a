"""What goes wrong once: each kind is a function of the world and of numbers of its own; False: there was nothing."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.machine import Machine, Process
    from tests.simulation.world import World

MOST_MACHINES = 5
TEN_YEARS_S = 10 * 365 * 86400


def _one(world: "World", dice: random.Random) -> "Machine":
    return dice.choice(world.machines)


# --- machines --------------------------------------------------------------------------------------


def kill(world: "World", dice: random.Random) -> bool:
    _one(world, dice).end()
    return True


def power(world: "World", dice: random.Random) -> bool:
    _one(world, dice).end(power=True)
    return True


def commit_crash(world: "World", dice: random.Random) -> bool:
    _one(world, dice).disk.armed = dice.choice(("before", "after"))
    return True


def commit_fails(world: "World", dice: random.Random) -> bool:
    """And often the machine goes down soon after."""
    machine = _one(world, dice)
    machine.disk.armed = dice.choice(("refused", "half", "half"))
    for ends in (False, True):
        if dice.random() < 0.5:
            world.after(
                dice.uniform(0.5, 6.0), lambda power: None if world.calm else machine.end(power=power), ends
            )
    return True


def disk_broken(world: "World", dice: random.Random, why: str = "disk I/O error") -> bool:
    machine = _one(world, dice)
    machine.disk.broken = why

    def mend() -> None:
        machine.disk.broken = None

    world.after(dice.uniform(0.5, 5.0), mend)
    return True


def disk_full(world: "World", dice: random.Random) -> bool:
    return disk_broken(world, dice, "database or disk is full")


def disk_back(world: "World", dice: random.Random) -> bool:
    """The disk of now comes back a little later."""
    machine = _one(world, dice)
    image, memory = machine.disk.image(), machine.memory()
    lives = world.promises.lives_on(machine)

    def back() -> None:
        if not world.calm:
            world.trace(machine.name, "its disk is set back")
            machine.stop()
            machine.disk.set_back(image)
            machine.remember(memory)
            world.promises.set_back(machine, lives)
            machine.start_again()

    world.after(dice.uniform(0.5, 8.0), back)
    return True


def copy(world: "World", dice: random.Random) -> bool:
    """A second machine starts on a copy of the disk."""
    machine = _one(world, dice)
    if len(world.machines) >= MOST_MACHINES:
        return False
    twin = _twin(world, machine)
    world.promises.copied(machine, twin)
    twin.start_again()
    return True


def fork(world: "World", dice: random.Random) -> bool:
    """A second machine goes on where the first one is, memory and all."""
    machine = _one(world, dice)
    process = machine.process
    if process is None or not process.quiet() or len(world.machines) >= MOST_MACHINES:
        return False
    twin = _twin(world, machine)
    world.promises.goes_on(twin)
    process.copy_to(twin).thaw()
    return True


def _twin(world: "World", machine: "Machine") -> "Machine":
    from tests.simulation.machine import Machine

    twin = Machine(world, f"{machine.name}'{len(world.machines)}", machine.agent, machine.disk.image())
    twin.remember(machine.memory())
    twin.clock_ms = machine.clock_ms
    twin.plan_scans()
    world.machines.append(twin)
    world.trace(machine.name, "is copied to", twin.name)
    return twin


def freeze(world: "World", dice: random.Random) -> bool:
    """The machine goes back to this moment a little later, memory and all."""
    from tests.simulation.machine import Machine

    machine = _one(world, dice)
    process = machine.process
    if process is None or not process.quiet():
        return False
    shelf = Machine(world, f"{machine.name}-frozen", machine.agent, machine.disk.image())
    frozen: Process = process.copy_to(shelf)
    memory = machine.memory()

    def thaw() -> None:
        if world.calm:
            return
        world.trace(machine.name, "is set back while it runs")
        machine.stop()
        machine.disk.set_back(shelf.disk.image())
        machine.remember(memory)
        world.promises.goes_on(machine)
        again = frozen.copy_to(machine)
        again.machine = machine
        machine.starting = False
        again.thaw()

    world.after(dice.uniform(0.5, 8.0), thaw)
    return True


def clock(world: "World", dice: random.Random) -> bool:
    _one(world, dice).clock_ms = int(dice.uniform(-1, 1) * TEN_YEARS_S * 1000)
    return True


# --- the network -----------------------------------------------------------------------------------


def thief(world: "World", dice: random.Random) -> bool:
    process = _one(world, dice).process
    if process is None or not process.online:
        return False
    process.lost_connection("somebody took its name")
    return True


def broker(world: "World", dice: random.Random) -> bool:
    world.network.restart(dice.uniform(0.1, 3.0))
    return True


def _block(world: "World", dice: random.Random, side: str) -> bool:
    ways = [(side, way) for way in dice.choice((("up",), ("down",), ("up", "down")))]
    world.network.blocked.update(ways)

    def pass_again() -> None:
        world.network.blocked.difference_update(ways)

    world.after(dice.choice((1.0, 6.0, 15.0)), pass_again)
    return True


def cut_agent(world: "World", dice: random.Random) -> bool:
    machine = _one(world, dice)
    _block(world, dice, machine.name)
    if dice.random() < 0.5 and machine.process is not None:
        machine.process.lost_connection("nothing passes")
    return True


def cut_central(world: "World", dice: random.Random) -> bool:
    return _block(world, dice, dice.choice(world.centre.workers).name)


def overflow(world: "World", dice: random.Random) -> bool:
    world.network.short_queues = True

    def end() -> None:
        world.network.short_queues = False

    world.after(dice.uniform(1.0, 6.0), end)
    return True


# --- central ---------------------------------------------------------------------------------------


def central_clock(world: "World", dice: random.Random) -> bool:
    world.centre.clock_s = dice.uniform(-1, 1) * TEN_YEARS_S
    return True


def central_crash(world: "World", dice: random.Random) -> bool:
    worker = dice.choice(world.centre.workers)
    if worker.up:
        worker.end()
    return worker.up or True


def central_commit_crash(world: "World", dice: random.Random) -> bool:
    world.centre.raw.armed = dice.choice(("before", "after"))
    return True


def central_commit_fails(world: "World", dice: random.Random) -> bool:
    world.centre.raw.armed = dice.choice(("fails", "half"))
    return True


def backup(world: "World", dice: random.Random) -> bool:
    world.centre.backup(tells=dice.random() < 0.5)
    return True


def central_back(world: "World", dice: random.Random, *, told: bool = True) -> bool:
    if not world.centre.backups:
        return False
    world.centre.restore(dice.choice(world.centre.backups), told=told)
    return True


def central_back_untold(world: "World", dice: random.Random) -> bool:
    return central_back(world, dice, told=False)


def window(world: "World", dice: random.Random) -> bool:
    centre = world.centre
    centre.window = dice.choice((0, 1, 2, 5))
    centre.tell_all()

    def open_again() -> None:
        if centre.window is not None:
            centre.window = None
            centre.tell_all()

    world.after(dice.uniform(0.5, 8.0), open_again)
    return True


def misread(world: "World", dice: random.Random) -> bool:
    dice.choice(world.centre.workers).misreads = dice.choice((1, 2, 3))
    return True


FAULTS: dict[str, Callable[[Any, random.Random], bool]] = {
    one.__name__: one
    for one in (
        kill, power, commit_crash, commit_fails, disk_broken, disk_full, disk_back, copy, fork, freeze, clock, thief,
        central_clock, central_crash, central_commit_crash, central_commit_fails, central_back, central_back_untold,
        backup, broker, cut_agent, cut_central, overflow, window, misread,
    )
}  # fmt: skip

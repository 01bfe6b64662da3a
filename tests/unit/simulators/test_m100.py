"""The simulated M100: frames as the maker's manual prints them, in both framings."""

import random

import pytest

from simulators.hardware.device import Frame, Thing
from simulators.hardware.m100 import M100

TAG = Thing(epc="30751FEB705C5904E3D50D70", rssi_dbm=-55, number=1)
# The manual's tag has the user-memory indicator in its protocol control word (3400); ours has none.
NOTIFICATION = "BB 02 22 00 11 C9 30 00 30751FEB705C5904E3D50D70"
NO_TAG = bytes.fromhex("BB 01 FF 00 01 15 16 7E")
STOP, STOPPED = bytes.fromhex("BB 00 28 00 00 28 7E"), bytes.fromhex("BB 01 28 00 01 00 2A 7E")
FOR_EVER = bytes.fromhex("BB 00 27 00 03 22 FF FF 4A 7E")
SINGLE = bytes.fromhex("BB 00 22 00 00 22 7E")


@pytest.fixture
def module() -> M100:
    return M100(random.Random(1))


def answers(device: M100, *asked: bytes, now_s: float = 0.0) -> list[bytes]:
    return [frame.data for data in asked for frame in device.hear(data, now_s)]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("BB 00 03 00 01 00 04 7E", "BB 01 03 00 0B 00 4D 31 30 30 20 56 31 2E 30 30 22 7E"),  # version
        ("BB 00 B7 00 00 B7 7E", "BB 01 B7 00 02 07 D0 91 7E"),  # power: 20.00 dBm
        ("BB 00 B6 00 02 07 D0 8F 7E", "BB 01 B6 00 01 00 B8 7E"),
        ("BB 00 07 00 01 03 0B 7E", "BB 01 07 00 01 00 09 7E"),  # region: EU
        ("BB 00 28 00 00 28 7E", "BB 01 28 00 01 00 2A 7E"),  # stop
        ("BB 00 22 00 00 22 7E", "BB 01 FF 00 01 15 16 7E"),  # nobody there
        ("BB 00 99 00 00 99 7E", "BB 01 FF 00 01 17 18 7E"),  # no such command
        ("BB 00 03 00 01 09 0D 7E", "BB 01 FF 00 01 17 18 7E"),  # no such version
        ("BB 00 B7 00 01 00 B8 7E", "BB 01 FF 00 01 17 18 7E"),  # a parameter too many
    ],
)
def test_commands_and_answers_of_the_manual(module: M100, asked: str, answered: str) -> None:
    assert answers(module, bytes.fromhex(asked)) == [bytes.fromhex(answered)]


def test_the_other_framing_differs_in_two_bytes() -> None:
    module = M100(random.Random(1), framing="aa")
    asked, answered = (
        bytes.fromhex("AA 00 B7 00 00 B7 DD"),
        bytes.fromhex("AA 01 B7 00 02 07 D0 91 DD"),
    )
    assert answers(module, asked) == [answered]
    assert answers(module, SINGLE) == []
    with pytest.raises(ValueError, match="bb, aa"):
        M100(random.Random(1), framing="cc")


def test_a_tag_with_its_signal_its_epc_and_its_own_checksum(module: M100) -> None:
    module.see(TAG, 0.0)
    [frame] = module.hear(SINGLE, 0.0)
    assert frame.things == (TAG,)
    assert frame.data[:-4] == bytes.fromhex(NOTIFICATION)
    assert frame.data[-2:] == bytes([sum(frame.data[1:-2]) & 0xFF, 0x7E])
    assert answers(module, SINGLE) == [NO_TAG]


def test_the_length_follows_the_epc(module: M100) -> None:
    for epc, length, pc in (("30" * 16, 0x15, 0x4000), ("30" * 4, 0x09, 0x1000)):
        module.see(Thing(epc=epc), 0.0)
        [data] = answers(module, SINGLE)
        assert data[3:5] == length.to_bytes(2, "big")
        assert data[6:8] == pc.to_bytes(2, "big")


def test_an_inventory_goes_on_until_its_rounds_are_over(module: M100) -> None:
    assert module.due_s() is None
    assert answers(module, bytes.fromhex("BB 00 27 00 03 22 00 03 4F 7E")) == []
    said: list[Frame] = []
    now_s = 0.0
    while (due_s := module.due_s()) is not None:
        assert module.tick(due_s - 0.001) == []
        now_s = due_s
        said += module.tick(now_s)
    assert [frame.data for frame in said] == [NO_TAG] * 3
    assert module.tick(now_s + 9) == []


def test_a_running_inventory_finds_a_tag_at_once_and_stops_when_told(module: M100) -> None:
    module.see(TAG, 0.0)
    [frame] = module.hear(FOR_EVER, 0.0)
    assert frame.things == (TAG,)
    [frame] = module.see(TAG, 0.0)
    assert frame.things == (TAG,)
    assert answers(module, STOP) == [STOPPED]
    assert module.see(TAG, 0.0) == []
    assert module.due_s() is None
    assert module.holding() == (TAG,)


def test_without_power_it_forgets_the_inventory_and_its_settings(module: M100) -> None:
    module.hear(FOR_EVER + bytes.fromhex("BB 00 B6 00 02 0A 28 EA 7E"), 0.0)
    assert module.power_cdbm == 2600
    module.unplugged()
    assert module.due_s() is None
    assert module.power_cdbm == 2000


def test_commands_are_found_in_any_pieces_and_between_noise(module: M100) -> None:
    noise = bytes.fromhex("00 BB FF FF 7E BB BB 7E")
    asked = noise + STOP + noise + STOP
    assert answers(module, asked) == [STOPPED, STOPPED]
    assert answers(module, *[bytes([byte]) for byte in asked]) == [STOPPED, STOPPED]
    broken = STOP[:-2] + b"\x29\x7e"
    assert answers(module, broken, STOP) == [STOPPED]


def test_a_command_that_stops_in_its_middle_is_given_up(module: M100) -> None:
    half = bytes.fromhex("BB 00 27 00 20 22")
    assert answers(module, half) == []
    assert answers(module, STOP, now_s=0.05) == []
    assert answers(module, STOP, now_s=0.5) == [STOPPED]


def test_what_is_heard_is_bounded(module: M100) -> None:
    rng = random.Random(1)
    for _ in range(200):
        module.hear(rng.randbytes(1000), 0.0)
        assert len(module._heard) < 100

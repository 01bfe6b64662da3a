"""The account, from frames and a transport that does exactly what the test says."""

from collections.abc import Callable, Sequence

import pytest

from simulators.hardware.account import Account, Ledger
from simulators.hardware.device import Field, Frame, Thing
from simulators.hardware.faults import Cable, End, Pause, Plan, Step, Stray, Unplug, Write
from simulators.hardware.line import FAREWELL_S, QUEUE_MOST, WINDOW_BYTES, WRITE_TIMEOUT_S, Line
from simulators.hardware.transports import Confirmation, Gone


class Wire:
    """A transport in the hands of the test."""

    refusal: Callable[[], bytes] = staticmethod(lambda: b"")
    place = url = "a wire"

    def __init__(self) -> None:
        self.sent = b""
        self.room = 1_000_000
        self.answer: Confirmation = "unread"
        self.there = True

    def session(self) -> int | None:
        return 1 if self.there else None

    def wait_on(self) -> Sequence[int]:
        return ()

    def receive(self) -> bytes:
        return b""

    def send(self, data: bytes) -> int:
        if not self.there:
            raise Gone("nobody")
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def confirm(self) -> Confirmation:
        return self.answer

    def hang_up(self, *, rough: bool) -> None:
        self.there = False

    def come_back(self) -> None:
        self.there = True

    def close(self) -> None: ...


class Script(Cable):
    """A cable that does to each frame what the test says; what it does not say goes through."""

    def __init__(self) -> None:
        super().__init__(0)
        self.plans: list[list[Step]] = []
        self.attempts: list[int] = []

    def plan(self, frame: Frame, attempt: int = 0) -> Plan:
        self.attempts.append(attempt)
        steps = self.plans.pop(0) if self.plans else [Write(frame.data), End()]
        return Plan(None, list(steps))


class Bench:
    def __init__(self, spoils: Callable[[bytes], bool] = lambda _: False) -> None:
        self.wire, self.cable, self.ledger = Wire(), Script(), Ledger()
        self.line = Line(self.wire, self.cable, self.ledger, spoils)
        self.line.is_open = True
        self.numbers = 0
        self.now_s = 0.0

    def thing(self) -> Thing:
        self.numbers += 1
        thing = Thing(code=f"c{self.numbers}", number=self.numbers)
        self.ledger.shown(thing)
        return thing

    def send(self, data: bytes, *things: Thing, part: int = 1, parts: int = 1) -> None:
        self.line.put([Frame(data, things, part, parts)])
        self.advance()

    def advance(self, seconds: float = 0.0) -> Unplug | None:
        self.now_s += seconds
        return self.line.advance(self.now_s)

    def account(self, *, holding: Sequence[int] = (), closed: bool = False) -> Account:
        return self.ledger.account(frozenset(holding), closed=closed)

    def fates(self, *, closed: bool = False) -> list[str]:
        return [entry.fate for entry in self.account(closed=closed).entries]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_whole_is_what_was_sent_and_read(bench: Bench) -> None:
    bench.send(b"a", bench.thing())
    assert bench.fates() == ["waiting"]
    assert bench.line.tells
    assert bench.line.waits
    bench.wire.answer = "read"
    bench.advance()
    assert bench.fates() == ["whole"]
    assert not bench.line.tells
    assert not bench.line.waits


def test_a_closed_port_loses_the_thing_at_once(bench: Bench) -> None:
    bench.line.is_open = False
    bench.send(b"a", bench.thing())
    [entry] = bench.account().entries
    assert (entry.fate, entry.why, entry.times) == ("lost", "nobody had the port open", 0)
    assert bench.wire.sent == b""


def test_what_was_sent_and_not_read_when_it_ended_is_uncertain(bench: Bench) -> None:
    bench.send(b"a", bench.thing())
    bench.wire.answer = "read"
    bench.advance()
    bench.wire.answer = "unread"
    bench.send(b"b", bench.thing())
    bench.wire.room = 1
    bench.send(b"cc", bench.thing())
    bench.send(b"d", bench.thing())
    bench.line.end("unplugged")
    assert bench.fates() == ["whole", "uncertain", "lost", "lost"]
    assert {entry.why for entry in bench.account().entries} == {"", "unplugged"}
    assert not bench.line.waits
    assert not bench.line.tells


def test_what_was_read_when_it_ended_is_whole(bench: Bench) -> None:
    bench.send(b"a", bench.thing())
    bench.wire.answer = "read"
    bench.line.end("unplugged")
    assert bench.fates() == ["whole"]


def test_what_the_host_threw_away_is_uncertain_also_a_frame_that_is_half_out(bench: Bench) -> None:
    bench.send(b"a", bench.thing())
    bench.wire.room = 1
    bench.send(b"bb", bench.thing())
    bench.wire.answer = "unknown"
    bench.advance()
    bench.wire.answer, bench.wire.room = "read", 100
    bench.advance()
    bench.send(b"c", bench.thing())
    assert bench.wire.sent == b"abbc"
    assert bench.fates() == ["uncertain", "uncertain", "whole"]


def test_what_the_cable_lost_is_lost_with_its_reason(bench: Bench) -> None:
    bench.wire.answer = "read"
    bench.cable.plans = [
        [End("dropped")],
        [Stray(b"x"), End("damaged")],
        [Stray(b"y"), End(unsure="perhaps")],
    ]
    for _ in range(4):
        bench.send(b"a", bench.thing())
    assert bench.fates() == ["lost", "lost", "uncertain", "whole"]
    assert [entry.why for entry in bench.account().entries] == ["dropped", "damaged", "perhaps", ""]
    assert bench.account().counts() == {"lost": 2, "uncertain": 1, "whole": 1}


def test_copies_are_counted(bench: Bench) -> None:
    bench.wire.answer = "read"
    bench.cable.plans = [[Write(b"a"), End(), Write(b"a"), End()]]
    thing = bench.thing()
    bench.send(b"a", thing)
    bench.send(b"a", thing)
    [entry] = bench.account().entries
    assert (entry.fate, entry.times) == ("whole", 3)
    assert bench.cable.attempts == [0, 2]


def test_a_thing_is_whole_when_it_was_sent_again_whole(bench: Bench) -> None:
    bench.wire.answer = "read"
    bench.cable.plans = [[End("dropped")]]
    thing = bench.thing()
    bench.send(b"a", thing)
    assert bench.account(holding=[thing.number]).of("waiting") == [thing]
    assert bench.account().lost == [thing]
    bench.send(b"a", thing)
    assert bench.account().whole == [thing]


@pytest.mark.parametrize(
    ("parts", "fate"),
    [
        ("1 2 3", "whole"),
        ("1 -2 2 3", "whole"),
        ("-1 1 2 3", "whole"),
        ("1 1 2 3", "whole"),
        ("1 2 2 3", "whole"),
        ("1 2 1 2 3", "whole"),
        ("1 2", "lost"),
        ("1 -2 3", "lost"),
        ("2 3", "lost"),
        ("1 2 -3", "lost"),
        ("1 -2 -1 2 3", "lost"),
    ],
)
def test_a_thing_in_parts_is_whole_when_all_came_in_order(bench: Bench, parts: str, fate: str) -> None:
    bench.wire.answer = "read"
    thing = bench.thing()
    for part in map(int, parts.split()):
        if part < 0:
            bench.cable.plans = [[End("dropped")]]
        bench.send(b"a", thing, part=abs(part), parts=3)
    assert bench.fates() == [fate]


def test_one_frame_tells_several_things(bench: Bench) -> None:
    bench.cable.plans = [[End("dropped")]]
    bench.wire.answer = "read"
    things = [bench.thing(), bench.thing()]
    bench.send(b"ab", *things)
    assert bench.account().lost == things
    bench.send(b"ab", *things)
    assert bench.account().whole == things


def test_what_the_device_never_told_is_lost_at_the_end(bench: Bench) -> None:
    bench.thing()
    assert bench.fates() == ["waiting"]
    [entry] = bench.account(closed=True).entries
    assert (entry.fate, entry.why) == ("lost", "the device never told it")


def test_a_full_field_drops_the_oldest_and_the_account_says_so(bench: Bench) -> None:
    field = Field(most=2)
    things = [bench.thing() for _ in range(3)]
    for thing in things:
        field.put(thing)
    assert field.dropped == [things[0]]
    assert field.things == tuple(things[1:])
    bench.ledger.dropped(field.dropped[0], "left")
    assert [entry.why for entry in bench.account().entries if entry.fate == "lost"] == ["left"]
    assert field.take(5) == things[1:]
    assert len(field) == 0


def test_decided_things_are_handed_out_once_and_in_order(bench: Bench) -> None:
    bench.wire.answer = "read"
    first, second, third = bench.thing(), bench.thing(), bench.thing()
    bench.send(b"b", second)
    assert bench.ledger.take_decided((), closed=False) == []
    bench.send(b"a", first)
    assert [entry.thing for entry in bench.ledger.take_decided((), closed=False)] == [first, second]
    bench.send(b"a", first)  # told again after it was handed out
    assert [entry.thing for entry in bench.ledger.take_decided((), closed=True)] == [third]
    assert bench.account().entries == ()


# --- the line ------------------------------------------------------------------------------------------------


def test_a_pause_holds_what_is_behind_it_and_nothing_else(bench: Bench) -> None:
    bench.cable.plans = [[Write(b"a"), Pause(0.5), Write(b"b"), End()]]
    bench.send(b"ab", bench.thing())
    bench.send(b"c", bench.thing())
    assert bench.wire.sent == b"a"
    bench.advance(0.4)
    assert bench.wire.sent == b"a"
    bench.advance(0.2)
    assert bench.wire.sent == b"abc"


def test_the_plug_is_pulled_where_the_cable_says(bench: Bench) -> None:
    bench.cable.plans = [[Stray(b"a"), End("unplugged in the middle of it"), Unplug(0.1, rough=True)]]
    bench.line.put([Frame(b"ab", (bench.thing(),)), Frame(b"cd", (bench.thing(),))])
    assert bench.advance() == Unplug(0.1, rough=True)
    bench.line.end("unplugged")
    assert bench.wire.sent == b"a"
    assert bench.fates() == ["lost", "lost"]


def test_in_good_order_the_plug_waits_a_moment_for_the_host(bench: Bench) -> None:
    steps: list[Step] = [Write(b"a"), End(), Unplug(0.1, rough=False)]
    bench.cable.plans = [steps, steps]
    bench.line.put([Frame(b"a", (bench.thing(),))])
    assert bench.advance() is None
    bench.wire.answer = "read"
    assert bench.advance() is not None
    bench.wire.answer = "unread"
    bench.line.put([Frame(b"a", (bench.thing(),))])
    assert bench.advance() is None
    assert bench.advance(FAREWELL_S) is not None
    bench.line.end("unplugged")
    assert bench.fates() == ["whole", "uncertain"]


def test_where_a_frame_has_no_start_strays_spoil_the_next_and_no_more() -> None:
    bench = Bench(spoils=lambda stray: not stray.endswith(b"\n"))
    bench.wire.answer = "read"
    bench.cable.plans = [[Stray(b"#"), Write(b"a\n"), End(), Stray(b"#")]]
    for _ in range(3):
        bench.send(b"a\n", bench.thing())
    assert bench.wire.sent == b"#a\n#a\na\n"
    assert bench.fates() == ["lost", "lost", "whole"]
    bench.cable.plans = [[Stray(b"#\n"), Write(b"a\n"), End()], [Stray(b"b#"), End("damaged")]]
    for _ in range(2):
        bench.send(b"a\n", bench.thing())
    bench.line.end("unplugged")  # what follows a hang-up follows nothing
    bench.send(b"a\n", bench.thing())
    assert bench.fates()[3:] == ["whole", "lost", "whole"]


def test_what_is_unread_is_bounded_by_a_window(bench: Bench) -> None:
    for _ in range(WINDOW_BYTES // 100 + 10):
        bench.send(b"x" * 100, bench.thing())
    assert WINDOW_BYTES <= len(bench.wire.sent) < WINDOW_BYTES + 100
    bench.wire.answer = "read"
    bench.advance()
    bench.advance()
    assert set(bench.fates()) == {"whole"}


def test_a_host_that_reads_nothing_loses_what_waits(bench: Bench) -> None:
    bench.wire.room = 3
    bench.send(b"aa", bench.thing())
    bench.send(b"bb", bench.thing())
    bench.send(b"cc", bench.thing())
    bench.advance(WRITE_TIMEOUT_S - 0.1)
    assert bench.fates() == ["waiting"] * 3
    bench.advance(0.2)
    bench.wire.room, bench.wire.answer = 100, "read"
    bench.send(b"dd", bench.thing())
    assert bench.fates() == ["whole", "lost", "lost", "whole"]
    assert bench.account().entries[1].why == "the host read nothing for a while"


def test_the_queue_is_bounded(bench: Bench) -> None:
    bench.wire.room = 0
    for _ in range(QUEUE_MOST // 2 + 5):
        bench.line.put([Frame(b"x", (bench.thing(),))])
    [*_, last] = bench.account().entries
    assert (last.fate, last.why) == ("lost", "too much waited to be sent")


def test_a_host_that_went_is_left_to_the_rig(bench: Bench) -> None:
    bench.wire.there = False
    bench.send(b"a", bench.thing())
    assert bench.fates() == ["waiting"]
    bench.line.end("the host closed the port")
    assert bench.fates() == ["lost"]

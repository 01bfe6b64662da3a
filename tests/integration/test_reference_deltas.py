"""Reference data from central's tables to an agent's file, by snapshots and deltas, through whatever is lost."""

import random
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.reference import Collector, Stored, advance
from central import reference, tables
from central.database import migrate, open_engine, reading
from central.ledger import changes, writer
from central.ledger.commands import (
    CancelOrder,
    ClosePurchaseOrder,
    OpenOrder,
    OpenPurchaseOrder,
    PutItem,
    PutLocation,
    PutOperator,
)
from sync.messages import DocumentLine, Gtin, Reference, ReferenceDelta, decode_reference
from tests.support.ledger import Stream

KNOWN_BYTES = 10**9  # a snapshot so large that a delta is always the smaller way


def run(engine: sa.Engine, *commands: Any) -> None:
    for command in commands:
        (result,), _ = writer.run(engine, [command], lambda: uuid.uuid4().hex)
        assert not isinstance(result, writer.Failed), result.error


def item(number: int, name: str = "Mug", *gtins: str) -> PutItem:
    return PutItem("t", f"SKU-{number}", name, tuple(Gtin(gtin=one, quantity=1) for one in gtins))


def place(name: str) -> PutLocation:
    return PutLocation("t", name, "lej1", "A", 1)


def purchase(number: int) -> OpenPurchaseOrder:
    return OpenPurchaseOrder("t", f"PO-{number}", "lej1", "ACME", (DocumentLine(sku="SKU-0", quantity=3),))


def order(number: int, quantity: int = 1) -> OpenOrder:
    return OpenOrder("t", f"O-{number}", "lej1", "web", (DocumentLine(sku="SKU-0", quantity=quantity),))


def told(engine: sa.Engine, has: int | None, known_bytes: int | None = KNOWN_BYTES) -> reference.Update:
    with reading(engine) as connection:
        return reference.update(connection, has, known_bytes)


class Agent:
    """What an agent makes of the messages: the program's own parts without its disk."""

    def __init__(self) -> None:
        self.stored: Stored | None = None
        self.gaps = 0
        self._collector = Collector()

    @property
    def version(self) -> int | None:
        return self.stored.version if self.stored else None

    def hear(self, *payloads: bytes) -> None:
        for payload in payloads:
            message = decode_reference(payload)
            one = self._collector.add(message) if isinstance(message, Reference) else message
            if one is not None:
                self.stored, gap = advance(self.stored, [one])
                self.gaps += gap

    def crash(self) -> None:
        """What was not durable is gone: the parts of an unfinished snapshot."""
        self._collector = Collector()

    def has(self) -> dict[str, dict[str, Any]]:
        assert self.stored is not None
        return {
            "items": {one.sku: one for one in self.stored.items},
            "locations": {one.id: one for one in self.stored.locations},
            "operators": {one.id: one for one in self.stored.operators},
            "documents": {one.id: one for one in self.stored.documents},
        }


def of_central(engine: sa.Engine) -> Agent:
    """Somebody who has everything as central has it."""
    fresh = Agent()
    fresh.hear(*told(engine, None).payloads)
    return fresh


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = open_engine(database_url)
    migrate(engine)
    run(engine, *(item(number) for number in range(3)), place("A-01"), PutOperator("t", "op", "Ada", "B-1"))
    run(engine, Stream().said("received", sku="SKU-0", quantity=50, to_location="A-01"))
    yield engine
    engine.dispose()


def kinds(update: reference.Update) -> list[str]:
    return [
        "delta" if isinstance(decode_reference(one), ReferenceDelta) else "part" for one in update.payloads
    ]


def test_who_is_up_to_date_is_told_nothing(engine: sa.Engine) -> None:
    agent = of_central(engine)
    assert told(engine, agent.version).payloads == ()


def test_a_change_is_told_alone(engine: sa.Engine) -> None:
    agent = of_central(engine)
    run(engine, item(1, "Bowl", "9521234543213"), place("A-02"))
    (payload,) = told(engine, agent.version).payloads
    message = decode_reference(payload)
    assert isinstance(message, ReferenceDelta)
    assert [one.name for one in message.upsert.items] == ["Bowl"]
    agent.hear(payload)
    assert (agent.has(), agent.version) == (of_central(engine).has(), of_central(engine).version)


def test_a_code_that_is_given_or_taken_away_is_told(engine: sa.Engine) -> None:
    agent = of_central(engine)
    for gtins in (("9521234543213",), ("9521234543220",), ()):
        run(engine, item(1, "Mug", *gtins))
        (payload,) = told(engine, agent.version).payloads
        message = decode_reference(payload)
        assert isinstance(message, ReferenceDelta)
        [changed] = message.upsert.items
        assert (changed.sku, [one.gtin for one in changed.gtins]) == ("SKU-1", list(gtins))
        agent.hear(payload)
        assert agent.has() == of_central(engine).has()
    run(engine, item(1, "Mug"))
    assert told(engine, agent.version).payloads == ()


def test_documents_go_when_nothing_is_left_to_do(engine: sa.Engine) -> None:
    run(engine, purchase(1), order(1), order(2, 2))
    agent = of_central(engine)
    assert sorted(agent.has()["documents"]) == ["O-1", "O-2", "PO-1"]
    dock = Stream()
    gone = {"sku": "SKU-0", "document": "O-2", "container": "095212345678901235"}
    run(engine, ClosePurchaseOrder("t", "PO-1"), CancelOrder("t", "O-1"))
    run(engine, dock.said("picked", sku="SKU-0", quantity=2, document="O-2", from_location="A-01"))
    run(engine, dock.said("shipped", **gone))
    assert "O-2" in of_central(engine).has()["documents"]
    shipped = dock.event("shipped", gone)
    run(engine, dock.batch(shipped))
    agent.hear(*told(engine, agent.version).payloads)
    assert agent.has()["documents"] == {} == of_central(engine).has()["documents"]
    run(engine, dock.said("corrected", corrects=shipped.id))
    agent.hear(*told(engine, agent.version).payloads)
    assert sorted(agent.has()["documents"]) == ["O-2"]
    assert agent.gaps == 0


def test_what_facts_alone_have_named_is_not_told(engine: sa.Engine) -> None:
    agent = of_central(engine)
    run(engine, Stream("dock-9").said("received", sku="NEW", to_location="NOWHERE", document="PO-9"))
    assert told(engine, agent.version).payloads == ()


def test_a_large_delta_comes_as_deltas_that_follow_each_other(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = of_central(engine)
    run(engine, purchase(1), *(item(number, "x" * 150) for number in range(12)))
    run(engine, ClosePurchaseOrder("t", "PO-1"))
    monkeypatch.setattr(reference, "ROOM_BYTES", 600)
    update = told(engine, agent.version)
    assert kinds(update) == ["delta"] * len(update.payloads)
    assert len(update.payloads) >= 5
    for payload in update.payloads:  # each is durable alone, and the next goes on from there
        agent.hear(payload)
        again = of_this_version(agent)
        monkeypatch.setattr(reference, "ROOM_BYTES", 10_000)
        again.hear(*told(engine, again.version).payloads)
        assert again.has() == of_central(engine).has()
        monkeypatch.setattr(reference, "ROOM_BYTES", 600)
    assert agent.has() == of_central(engine).has()
    assert agent.gaps == 0


def of_this_version(agent: Agent) -> Agent:
    copy = Agent()
    copy.stored = agent.stored
    return copy


def test_the_smaller_way_is_taken(engine: sa.Engine) -> None:
    agent = of_central(engine)
    for _ in range(10):
        run(engine, *(item(number, "x" * 100) for number in range(3)), place("A-01"))
    assert kinds(told(engine, agent.version, None)) == ["delta"]
    run(engine, *(purchase(number) for number in range(10)))
    run(engine, *(ClosePurchaseOrder("t", f"PO-{number}") for number in range(10)))
    small = told(engine, agent.version, 100)
    assert small.size <= min(told(engine, None).size, told(engine, agent.version).size)


def test_what_is_too_long_ago_or_too_much_gets_the_snapshot(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = of_central(engine)
    monkeypatch.setattr(changes, "KEPT_CHANGES", 2)
    run(engine, item(1, "Bowl"))
    assert kinds(told(engine, agent.version)) == ["delta"]
    before = of_central(engine).version
    run(engine, item(1, "Cup"), item(2, "Cup"))
    assert kinds(told(engine, agent.version)) == ["part"]
    with reading(engine) as connection:
        assert len(connection.execute(sa.select(tables.reference_change)).all()) <= 3
    run(engine, item(2, "Cup"))
    monkeypatch.setattr(reference, "MOST_CHANGES", 1)
    assert kinds(told(engine, before)) == ["part"]


def test_a_version_of_another_database_gets_the_snapshot(engine: sa.Engine) -> None:
    """Versions never come again with other content, also when a restored central counts on from a backup."""
    version = of_central(engine).version
    assert version is not None
    for other in (0, version - 1, version + 1, 2**53 - 1):
        assert kinds(told(engine, other)) == ["part"]


# --- whatever is lost ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "template.sqlite"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    run(
        engine,
        item(0),
        place("A-01"),
        Stream().said("received", sku="SKU-0", quantity=50, to_location="A-01"),
    )
    engine.dispose()
    return path


def test_a_restored_central_never_gives_a_version_again(template: Path, tmp_path: Path) -> None:
    """It counts on from its backup: an agent with a lost version of the same count is not taken for current."""
    path, backup = tmp_path / "central.sqlite", tmp_path / "backup.sqlite"
    for copy in (path, backup):
        shutil.copy(template, copy)
    engine = open_engine(f"sqlite:///{path}")
    run(engine, item(1, "lost"), item(2))
    agent = of_central(engine)
    engine.dispose()
    shutil.copy(backup, path)
    engine = open_engine(f"sqlite:///{path}")
    run(engine, item(3), item(4), item(5))
    agent.hear(*told(engine, agent.version).payloads)
    assert agent.has() == of_central(engine).has()
    engine.dispose()


CHANGE = st.one_of(
    st.builds(item, st.integers(0, 5), st.sampled_from(["a", "b" * 150])),
    st.builds(place, st.sampled_from(["A-01", "A-02", "A-03"])),
    st.builds(lambda n: PutOperator("t", f"op-{n}", "Ada", f"B-{n}"), st.integers(0, 2)),
    st.builds(purchase, st.integers(0, 3)),
    st.builds(lambda n: ClosePurchaseOrder("t", f"PO-{n}"), st.integers(0, 3)),
    st.builds(order, st.integers(0, 3)),
    st.builds(lambda n: CancelOrder("t", f"O-{n}"), st.integers(0, 3)),
)
ROUND = st.tuples(  # what is done, what central tells, what comes of all that is on its way
    st.one_of(CHANGE, CHANGE, CHANGE, st.sampled_from(["crash", "back up", "restore"])),
    st.sampled_from(["changes", "changes", "hello", "nothing"]),
    st.sampled_from(["comes", "comes", "waits", "is lost", "some", "some"]),
)


@settings(max_examples=60)
@given(rounds=st.lists(ROUND, max_size=15), seed=st.integers(0, 2**32))
def test_after_changes_losses_repeats_and_restores_a_hello_makes_them_equal(
    template: Path, rounds: list[tuple[Any, str, str]], seed: int
) -> None:
    rng = random.Random(seed)
    patch = pytest.MonkeyPatch()
    patch.setattr(reference, "ROOM_BYTES", 700)
    patch.setattr(changes, "KEPT_CHANGES", 8)
    folder = template.parent / uuid.uuid4().hex
    folder.mkdir()
    path, backup = folder / "central.sqlite", folder / "backup.sqlite"
    shutil.copy(template, path)
    shutil.copy(template, backup)
    engine, agent, on_their_way = open_engine(f"sqlite:///{path}"), Agent(), list[bytes]()
    believed: int | None = (
        None  # what central takes the agent to have, from its hello and from what was sent since
    )
    try:
        for act, tell, fate in rounds:
            if act == "crash":
                agent.crash()
            elif act in ("back up", "restore"):
                engine.dispose()  # the last connection carries the log into the file
                shutil.copy(*((path, backup) if act == "back up" else (backup, path)))
                engine = open_engine(f"sqlite:///{path}")
            else:
                run(engine, act)
            if tell != "nothing":
                update = told(engine, agent.version if tell == "hello" else believed, None)
                believed = update.version
                on_their_way += update.payloads
            if fate != "waits":
                agent.hear(*_arriving(on_their_way, fate, rng))
                on_their_way.clear()
        agent.hear(*told(engine, agent.version, None).payloads)
        central = of_central(engine)
        assert (agent.has(), agent.version) == (central.has(), central.version)
    finally:
        patch.undo()
        engine.dispose()
        shutil.rmtree(folder)


def _arriving(payloads: list[bytes], fate: str, rng: random.Random) -> list[bytes]:
    """All, none, or: some are lost, some come twice or overtake others."""
    if fate != "some":
        return payloads if fate == "comes" else []
    late = [one for one in payloads for _ in range(rng.choice((0, 1, 1, 2)))]
    rng.shuffle(late)
    return late

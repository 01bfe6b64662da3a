"""What fuzzing begins with: seeds that can be played, the devices' own frames, and promises that are checked."""

from typing import Any

import pytest

from devices.drivers.m100 import M100
from devices.reads import BadFrame, Moment, Read
from tests.fuzz.frames import FRAMES
from tests.fuzz.play import FRAMED, OPENED, Player, read, write
from tests.fuzz.seeds import conversation, seeds
from tests.support.drivers import BYTE_DRIVERS


@pytest.mark.parametrize("name", BYTE_DRIVERS)
def test_every_seed_is_played_without_a_finding_and_some_are_read(name: str) -> None:
    player = Player(name)
    reads = [each for seed in seeds(name) for each in player.play(seed)]
    assert any(not isinstance(each, BadFrame) for each in reads)


@pytest.mark.parametrize("name", FRAMES)
def test_a_body_becomes_the_frame_that_it_was_taken_from(name: str) -> None:
    frames = FRAMES[name]
    said = {data for _, data in conversation(name, 0)}
    same = {data for data in said if frames.around(frames.body(data)) == data}
    assert len(same) >= 3 and len(same) >= len(said) - 1  # the first of an RDM6300 lacks a byte
    for data in (b"", b"\xff", bytes(30_000)):
        assert frames.around(data)


def test_a_transcript_is_what_was_written_and_any_bytes_are_one() -> None:
    pieces = [(3, b"abc"), (FRAMED, b""), (0, b"x" * 300)]
    assert read(write(pieces, 2, opened=True)) == (2, OPENED, pieces)
    assert read(b"") == (0, 0, [])
    assert read(b"\1\0\5\xff\xffxy") == (1, 0, [(5, b"xy")])


def played(monkeypatch: pytest.MonkeyPatch, method: str, planted: Any, *pieces: tuple[int, bytes]) -> None:
    """Play one transcript to an M100 in which this fault was planted."""
    monkeypatch.setattr(M100, method, planted)
    Player("m100").play(write(pieces))


TAG = bytes.fromhex("bb02220011c9340030751feb705c5904e3d50d703a76ef7e")


def test_a_driver_that_keeps_too_much_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(self: Any, data: bytes, now: Moment) -> list[Read]:
        self.hoard = getattr(self, "hoard", b"") + data * 1000
        return []

    with pytest.raises(AssertionError, match="keeps"):
        played(monkeypatch, "feed", keep, (0, TAG))


def test_a_driver_that_reads_otherwise_when_bytes_are_cut_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = M100.feed

    def forget(self: M100, data: bytes, now: Moment) -> list[Read]:
        self._rest = b""
        return whole(self, data, now)

    with pytest.raises(AssertionError, match="in one piece"):
        played(monkeypatch, "feed", forget, (0, TAG[:9]), (0, TAG[9:]))


def test_a_driver_that_trusts_what_has_a_checksum_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def trust(self: M100, frame: bytes, now: Moment, reads: list[Read]) -> None:
        frame[30]

    with pytest.raises(IndexError):
        played(monkeypatch, "frame", trust, (FRAMED, b"\2\x22short"))

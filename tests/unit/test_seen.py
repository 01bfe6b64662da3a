"""Which images were read, over restarts."""

from pathlib import Path

import pytest

from devices.errors import Unavailable
from devices.ports.seen import Seen


def opened(file: Path | None) -> Seen:
    seen = Seen(file)
    assert seen.load() and not seen.load()
    return seen


def test_an_image_is_noted_when_all_that_was_read_in_it_has_come_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "new" / "eye.jsonl"
    seen = opened(file)
    seen.take("a.png", "1")
    seen.handed_over(2)
    seen.take("b.png", "1")  # looked at while the reads of the first one are still on their way
    seen.settled()
    seen.write()
    assert not opened(file).knows("a.png", "1")
    seen.settled()
    seen.write()
    again = opened(file)
    assert again.knows("a.png", "1") and not again.knows("a.png", "2") and not again.knows("b.png", "1")


def test_an_image_written_anew_is_another_one(tmp_path: Path) -> None:
    seen = opened(tmp_path / "eye.jsonl")
    for version in ("1", "2"):
        assert not seen.knows("a.png", version)
        seen.take("a.png", version)
        seen.handed_over(1)
        seen.settled()
        seen.write()
    assert opened(tmp_path / "eye.jsonl").knows("a.png", "2")


def test_what_was_recorded_is_not_read_again_though_it_was_not_noted(tmp_path: Path) -> None:
    seen = opened(tmp_path / "eye.jsonl")
    seen.recall([("a.png", "1")])
    assert seen.knows("a.png", "1") and not seen.knows("a.png", "2")
    seen.write()
    assert opened(tmp_path / "eye.jsonl").knows("a.png", "1")


def test_a_line_cut_short_by_a_power_loss_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "eye.jsonl"
    file.write_bytes(b'["a.png", "1"]\n\x00\x00[1]\n7\n["b.p')
    seen = opened(file)
    seen.take("c.png", "1")
    seen.handed_over(1)
    seen.settled()
    seen.write()
    again = opened(file)
    assert again.knows("a.png", "1") and again.knows("c.png", "1") and not again.knows("b.png", "1")


def test_what_cannot_be_noted_is_an_error_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    seen = Seen(tmp_path / "file" / "eye.jsonl")
    seen.take("a.png", "1")
    seen.handed_over(1)
    seen.settled()
    for _ in range(2):
        with pytest.raises(Unavailable, match="check the disk"):
            seen.write()
    (tmp_path / "file").unlink()
    seen.write()
    assert opened(tmp_path / "file" / "eye.jsonl").knows("a.png", "1")


def test_what_is_not_there_any_more_can_be_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "eye.jsonl"
    file.write_bytes(b'["a.png", "1"]\n["b.png", "1"]\n')
    seen = opened(file)
    seen.forget_all_but({"b.png"})
    for known in (seen, opened(file)):
        assert len(known) == 1 and known.knows("b.png", "1")

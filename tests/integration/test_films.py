"""Films: every picture in order and by the film's own time; what is missing in one is said, with the place."""

import asyncio
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from devices import BarcodeRead
from devices.cli import read as read_command
from devices.ports import eye
from devices.ports.eye import End, Facts, Picture
from devices.ports.film import Film
from tests.support.pictures import CODECS, Bench, film, jpeg, scene

A, B, NOTHING = scene("A"), scene("B"), scene(None)


async def played(path: Path, options: str = "") -> Bench:
    bench = Bench(f"file://{path}{options}", reopen=False)
    await asyncio.wait_for(bench.reader.run(), 30)
    return bench


@pytest.mark.parametrize("suffix", [*CODECS, ".mjpeg"])
async def test_each_code_is_read_once_while_it_is_in_view(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"walk{suffix}", [A, A, A, NOTHING, B, B])
    bench = await played(path)
    assert bench.texts == ["A", "B"]
    assert [status for status, _ in bench.said] == ["connecting", "online", "silent"]
    assert bench.has_said("silent", f"{path} was read: 6 pictures, 0.")
    first, second = [read.source for read in bench.reads if isinstance(read, BarcodeRead)]
    assert first == f"{path}#t=0.00"
    assert second == f"{path}#t={0.16 if suffix == '.mjpeg' else 0.4:.2f}"


async def test_what_is_in_view_goes_by_the_time_of_the_film(tmp_path: Path) -> None:
    path = film(tmp_path / "walk.avi", [A, *[NOTHING] * 5, A, *[NOTHING] * 15, A])
    assert (await played(path)).texts == ["A", "A"]
    assert (await played(path, "?again_ms=300")).texts == ["A", "A", "A"]


async def test_pictures_may_change_their_size(tmp_path: Path) -> None:
    large = np.full((1400, 1400), 255, np.uint8)
    large[:80, :80] = cv2.resize(scene("FINE"), (80, 80), interpolation=cv2.INTER_NEAREST)
    path = film(tmp_path / "walk.mjpeg", [A, A, large, large])
    assert (await played(path)).texts == ["A", "FINE"]


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
async def test_a_film_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    path = cut(film(tmp_path / f"walk{suffix}", [A] * 20 + [B] * 20), 0.6)
    bench = await played(path)
    assert bench.texts[0] == "A"
    status, reason = bench.said[-1]
    assert status == "failed" and reason is not None
    assert reason.startswith(f"{path} is cut short: ") and "of its 40 pictures could be decoded" in reason
    assert "of 4.0 s" in reason


async def test_a_film_that_is_damaged_in_its_middle_says_so(tmp_path: Path) -> None:
    path = film(tmp_path / "walk.avi", [A] * 20 + [B] * 20)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8000] = b"\xff" * 8000
    path.write_bytes(data)
    bench = await played(path)
    assert bench.texts == ["A", "B"]
    assert bench.has_said("failed", f"{path} is damaged: ") and bench.has_said("failed", "of its 40 pictures")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.mp4", b""),
        ("text.mkv", b"a letter\n" * 100),
        ("label.avi", jpeg(A)[:30]),
        ("zero.mjpeg", bytes(4000)),
    ],
)
def test_what_is_no_film_is_said_so(
    tmp_path: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_command("camera", f"file://{tmp_path / name}") == 1
    err = capsys.readouterr().err
    assert f"failed: {tmp_path / name} " in err and "0 reads" in err
    assert "it is damaged, cut short, or no film" in err or "0 of its" in err


def test_a_film_cannot_make_the_reader_call_somebody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A playlist under a film's name: what it names on the network or elsewhere on the disk is not fetched."""
    secret = film(tmp_path / "secret.ts.avi", [A, A])
    listing = tmp_path / "list.ts"
    for target in ("http://127.0.0.1:1/x.ts", f"concat:{secret}|{secret}"):
        listing.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{target}\n#EXT-X-ENDLIST\n")
        assert read_command("camera", f"file://{listing}") == 1
    out, err = capsys.readouterr()
    assert out == "" and "Connection refused" not in err


def test_the_command_plays_a_film_and_sums_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = film(tmp_path / "walk.mp4", [A, NOTHING, B])
    assert read_command("camera", f"file://{path}", "eye-1") == 0
    out, err = capsys.readouterr()
    shown = [json.loads(line) for line in out.splitlines()]
    assert [(read["text"], read["source"]) for read in shown] == [
        ("A", f"{path}#t=0.00"),
        ("B", f"{path}#t=0.20"),
    ]
    assert f"silent: {path} was read: 3 pictures, 0.3 s" in err and "2 reads, 2 distinct, 0 bad frames" in err


def test_the_command_ends_in_a_film_after_as_many_reads_as_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = film(tmp_path / "walk.avi", [A, B] * 20)
    assert read_command("camera", f"file://{path}", count=1) == 0
    assert "1 reads, 1 distinct" in capsys.readouterr().err


def test_a_film_that_crashes_its_decoder_ends_the_film_alone() -> None:
    class Crashes:
        facts = Facts(320, 320, 10.0, "H264", 100)

        def __init__(self) -> None:
            self.left = 3

        def look(self, timeout_s: float) -> Picture | End:
            self.left -= 1
            if self.left:
                return Picture(A, 2.0 - self.left)
            raise eye.Lost("its process ended (SIGSEGV)")

        def close(self) -> None: ...

    played = Film(Crashes(), "walk.mp4")
    assert played.next() is not None and played.next() is not None
    ending = played.next()
    assert ending == played.next()
    assert "walk.mp4 cannot be read beyond 1.0 s: its process ended (SIGSEGV)" in str(ending)


def test_what_may_not_be_read_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("loop.mp4", "loop.png", "loop"):
        (tmp_path / name).symlink_to(name)
        assert read_command("camera", f"file://{tmp_path / name}") == 1
        assert f"{tmp_path / name} cannot be opened: Too many levels" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe.mp4")
    assert read_command("camera", f"file://{tmp_path / 'pipe.mp4'}") == 1
    assert "is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "there is no image in {}: names must end in .png, "),
        (("walk.mp4",), "passed over: walk.mp4; a film is given by its own path"),
        (("b.txt", "a.doc", ".hidden.png"), "passed over: a.doc and 1 more\n"),
    ],
)
def test_a_folder_without_images_says_what_it_holds(
    tmp_path: Path, names: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert read_command("camera", f"file://{tmp_path}") == 1
    err = capsys.readouterr().err
    assert told.format(tmp_path) in err and "0 reads, 0 distinct, 0 bad frames" in err

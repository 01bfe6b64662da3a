"""Stills: named by time, camera and hash; bounded; and whatever the disk does, reading goes on."""

import hashlib
import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from devices.driver import Frame
from devices.ports import opencv, stills
from devices.ports.stills import MAX_WAITING, SPARE_MB, Stills
from devices.ports.url import STILLS
from devices.reads import BadFrame, BarcodeRead, Read
from tests.support.wait import eventually

WHEN = 1_790_000_000.25  # 2026-09-21 14:13:20.25 UTC
NOISE = np.random.default_rng(1).integers(0, 256, (240, 320), np.uint8)
FRAME = Frame(NOISE, None, live=True)


def code(raw: bytes = b"A-01", at: float = WHEN) -> BarcodeRead:
    return BarcodeRead("eye-1", raw, raw.decode("latin-1"), "]C0", at, 0)


def kept(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def stills_of(reads: list[Read]) -> list[str | None]:
    return [read.still for read in reads if isinstance(read, BarcodeRead)]


class Camera(NamedTuple):
    directory: Path
    stills: Stills

    def see(self, *reads: Read, frame: Frame = FRAME) -> list[str | None]:
        return stills_of(self.stills.keep(frame, reads))

    def end(self) -> list[str]:
        self.stills.close()
        return kept(self.directory)


class Written(NamedTuple):
    """Waits until each still is dealt with."""

    eye: Camera

    def see(self, read: Read) -> None:
        [still] = self.eye.see(read)
        eventually(lambda: Path(still or "").is_file() or self.eye.stills.warning is not None)


def camera(directory: Path, device: str = "eye-1", *, most: int = 1000, most_mb: int = 500) -> Camera:
    return Camera(directory, Stills(device, directory, most=most, most_mb=most_mb))


def test_a_still_is_the_picture_under_a_name_of_time_camera_and_hash(tmp_path: Path) -> None:
    eye = camera(tmp_path / "a" / "stills")
    digest = hashlib.sha256(b"A-01").hexdigest()[:16]
    name = f"20260921T141320.250000Z-eye-1-{digest}.jpg"
    assert eye.see(code()) == [str(eye.directory / name)]
    assert eye.end() == [name] and eye.stills.warning is None
    picture = cv2.imread(str(eye.directory / name), cv2.IMREAD_UNCHANGED)
    assert picture is not None and picture.shape == NOISE.shape
    assert eye.directory.stat().st_mode & 0o777 == 0o700
    assert (eye.directory / name).stat().st_mode & 0o777 == 0o600


def test_codes_of_one_picture_share_its_still_and_what_is_no_code_has_none(tmp_path: Path) -> None:
    eye = camera(tmp_path)
    bad = BadFrame("eye-1", "no code was found", b"", WHEN)
    first, second = eye.see(code(b"A"), bad, code(b"B"))
    assert first == second and first is not None
    assert eye.see(bad) == []
    assert len(eye.end()) == 1


@pytest.mark.parametrize("text", [b"../../etc/passwd", b"\x00\x1b[2J/", b"x" * 7000, "عربي".encode()])
def test_nothing_of_a_label_or_a_strange_name_gets_into_a_file_name(tmp_path: Path, text: bytes) -> None:
    eye = camera(tmp_path / "stills", "../eye 1\n")
    [still] = eye.see(code(text))
    digest = hashlib.sha256(text).hexdigest()[:16]
    assert eye.end() == [f"20260921T141320.250000Z-.._eye_1_-{digest}.jpg"]
    assert still == str(eye.directory / eye.end()[0])


def test_the_oldest_goes_first_and_only_this_cameras(tmp_path: Path) -> None:
    others = [
        "notes.txt",
        "20200101T000000.000000Z-eye-2-0123456789abcdef.jpg",
        "20200101T000000.000000Z-eye-1.jpg",
    ]
    for name in others:
        (tmp_path / name).write_bytes(b"not ours")
    (tmp_path / ".20200101T000000.000000Z-eye-1-0123456789abcdef.jpg.part").write_bytes(b"half a picture")
    for session in range(2):
        eye = camera(tmp_path, most=3)
        for number in range(3):
            eye.see(code(at=WHEN + 10 * session + number))
        eye.end()
    found = [name for name in kept(tmp_path) if name not in others]
    assert [name[:15] for name in found] == ["20260921T141330", "20260921T141331", "20260921T141332"]
    assert set(others) < set(kept(tmp_path))


def test_they_take_no_more_room_than_they_may(tmp_path: Path) -> None:
    frame = Frame(np.random.default_rng(1).integers(0, 256, (600, 800), np.uint8), None)
    size = len(opencv.encode_jpeg(frame.pixels, 90))
    assert 2 * size < 1 << 20 < 6 * size
    for number in range(8):
        eye = camera(tmp_path, most_mb=1)
        eye.see(code(at=WHEN + number), frame=frame)
        found = eye.end()
        assert sum((tmp_path / name).stat().st_size for name in found) <= 1 << 20
    assert found[-1].startswith("20260921T141327")


def test_one_that_is_larger_than_all_may_be_is_not_kept(tmp_path: Path) -> None:
    eye = camera(tmp_path, most_mb=1)
    eye.see(code())
    eye.see(
        code(at=WHEN + 1),
        frame=Frame(np.random.default_rng(1).integers(0, 256, (1400, 1400), np.uint8), None),
    )
    assert [name[:15] for name in eye.end()] == ["20260921T141320"]
    assert (eye.stills.warning or "").endswith(
        "a picture takes more than the 1 MB that they may: raise stills_mb"
    )


def test_a_directory_that_was_taken_away_is_made_anew_and_counted_anew(tmp_path: Path) -> None:
    eye = camera(tmp_path / "stills", most=2)
    written = Written(eye)
    written.see(code())
    shutil.rmtree(tmp_path / "stills")
    written.see(code(at=WHEN + 1))
    for number in range(2, 6):
        written.see(code(at=WHEN + number))
    assert len(eye.end()) == 2 and eye.stills.warning is None


@pytest.mark.parametrize("trouble", ["in the way", "full", "almost full"])
def test_a_disk_that_takes_nothing_is_said_and_reading_goes_on(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "stills"
    told = {
        "in the way": "File exists",
        "full": "No space left on device",
        "almost full": f"less than {SPARE_MB} MB are free there",
    }[trouble]
    with monkeypatch.context() as patch:
        if trouble == "in the way":
            directory.write_bytes(b"")
        elif trouble == "full":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=SPARE_MB << 20))
        eye = camera(directory)
        assert None not in eye.see(code())
        eye.stills.close()
        assert eye.stills.warning == f"no still could be kept in {directory}: {told}"
    if trouble == "in the way":
        directory.unlink()
    else:
        assert kept(directory) == []
    again = camera(directory)
    again.see(code())
    assert len(again.end()) == 1 and again.stills.warning is None


def full(_fd: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_disk_that_hangs_costs_stills_and_no_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "CLOSE_S", 0.1)
    disk = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _fd: disk.wait(20))
    eye = camera(tmp_path)
    names = [eye.see(code(at=WHEN + number))[0] for number in range(MAX_WAITING + 5)]
    assert None in names[MAX_WAITING:] and None not in names[:MAX_WAITING]
    missed = names.count(None)
    assert eye.stills.warning == f"{missed} stills were not kept: the disk is too slow"
    eye.stills.close()
    disk.set()
    assert eye.stills._writer is not None
    eye.stills._writer.join(5)
    assert not eye.stills._writer.is_alive()


def test_a_directory_that_others_may_look_into_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    eye = camera(tmp_path)
    eye.see(code())
    eye.end()
    assert eye.stills.warning == f"others may look into {tmp_path}: chmod 700 {tmp_path}"


def test_a_picture_that_is_no_jpeg_is_said(tmp_path: Path) -> None:
    eye = camera(tmp_path)
    eye.see(code(), frame=Frame(np.zeros((1, 70_000), np.uint8), None))
    eye.stills.close()
    assert "no still could be kept" in (eye.stills.warning or "") and kept(tmp_path) == []


def test_without_the_option_there_are_none(tmp_path: Path) -> None:
    options = {option.name: option.default for option in STILLS}
    assert stills.of_options("eye-1", options) is None
    found = stills.of_options("eye-1", {**options, "stills": tmp_path})
    assert found is not None and found._most == 1000

"""Cameras and images: symbols drawn for the test, decoded for real, from files and directories."""

import asyncio
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from devices import BadFrame, BarcodeRead, Moment, Read
from devices.driver import Frame
from devices.drivers.camera import Camera
from devices.ports import images, opencv
from identity import parse
from tests.support.pictures import Bench, Image, png, rows, symbol, watching
from tests.support.wait import eventually_async

FULL = "(01)09521234543213(17)261231(10)ABC123(21)SER456"
NOW = Moment(1_790_000_000.0, 0)


def side_by_side(*pictures: Image) -> Image:
    height = max(image.shape[0] for image in pictures)
    padded = [
        cv2.copyMakeBorder(image, 0, height - image.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=255)
        for image in pictures
    ]
    return np.hstack(padded).astype(np.uint8)


@pytest.mark.parametrize(
    ("text", "format_", "gs1", "symbology", "expected"),
    [
        ("A-01-03", "Code128", False, "]C0", "A-01-03"),
        ("(00)106141412345678908", "Code128", True, "]C1", "00106141412345678908"),
        (FULL, "DataMatrix", True, "]d2", "01095212345432131726123110ABC123\x1d21SER456"),
        (FULL, "QRCode", True, "]Q3", "01095212345432131726123110ABC123\x1d21SER456"),
        ("Größe", "QRCode", False, "]Q1", "Größe"),
        ("5901234123457", "EAN13", False, "]E0", "5901234123457"),
        ("96385074", "EAN8", False, "]E4", "96385074"),
        ("036000291452", "UPCA", False, "]E0", "0036000291452"),
        ("15400141288763", "ITF14", False, "]I1", "15400141288763"),
        ("09501101530003", "DataBarOmni", False, "]e0", "0109501101530003"),
        ("LOC-8", "Code39", False, "]A0", "LOC-8"),
    ],
)
def test_a_symbol_gives_the_same_read_as_a_scanner(
    text: str, format_: str, gs1: bool, symbology: str, expected: str
) -> None:
    reads = Camera("eye-1").see(Frame(symbol(text, format_, gs1=gs1), "label.png"), NOW)
    assert rows(reads) == [(symbology, expected)]
    [found] = reads
    assert isinstance(found, BarcodeRead) and found.source == "label.png" and found.device == "eye-1"


def test_a_camera_reads_an_identity() -> None:
    [found] = Camera("eye-1").see(Frame(symbol(FULL, "DataMatrix", gs1=True), None), NOW)
    assert isinstance(found, BarcodeRead)
    assert parse(found.text, found.symbology).as_dict() == {
        "kind": "gtin",
        "gtin": "09521234543213",
        "lot": "ABC123",
        "serial": "SER456",
        "expiry": "2026-12-31",
    }


def test_every_code_in_an_image_is_read_once() -> None:
    twice = symbol("TWICE", "Code128")
    image = side_by_side(twice, symbol("OTHER", "QRCode"), twice)
    reads = Camera("eye-1").see(Frame(image, "pallet.png"), NOW)
    assert sorted(text for _, text in rows(reads)) == ["OTHER", "TWICE"]


def test_in_a_moving_picture_a_code_is_read_when_it_comes_into_view() -> None:
    camera = Camera("eye-1", again_ms=1000)
    label, nothing = symbol("A", "QRCode"), np.full((200, 200), 255, np.uint8)

    def texts(image: Image, at_ms: int) -> list[str]:
        return [
            text
            for _, text in rows(camera.see(Frame(image, None, live=True), Moment(0.0, at_ms * 1_000_000)))
        ]

    assert texts(label, 0) == ["A"]
    assert texts(label, 900) == []
    assert texts(nothing, 1200) == []
    assert texts(label, 1800) == []  # one missed frame is no departure
    assert texts(nothing, 3000) == []
    assert texts(label, 3100) == ["A"]


def test_transparent_paper_is_white() -> None:
    label = symbol("GLASS", "QRCode")
    ink = np.zeros((*label.shape, 4), np.uint8)
    ink[:, :, 3] = 255 - label
    image = opencv.decode(png(ink))
    assert image is not None
    assert rows(Camera("eye-1").see(Frame(image, None), NOW))[0][1] == "GLASS"


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_sensor_of_more_than_8_bits_loses_the_lowest(bits: int) -> None:
    """Industrial cameras write 10 and 12 bits into 16, as they are."""
    levels = (symbol("DEEP", "QRCode").astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    image = opencv.decode(cv2.imencode(".png", levels)[1].tobytes())
    assert image is not None and int(image.max()) == 255
    assert rows(Camera("eye-1").see(Frame(image, None), NOW))[0][1] == "DEEP"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pgm", ".bmp"])
async def test_one_image_is_read_and_that_is_the_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"label{suffix}"
    cv2.imwrite(str(path), symbol("A-01", "Code128"))
    bench = Bench(f"file://{path}")
    ending = await asyncio.wait_for(bench.reader.run(), 20)
    assert ending.finished and bench.texts == ["A-01"]
    assert [status.status for status in bench.statuses] == ["connecting", "online", "silent"]


async def test_a_directory_is_read_in_name_order_and_then_watched(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.png").write_bytes(png(symbol(name.upper(), "QRCode")))
    (tmp_path / "notes.txt").write_text("not an image, and not asked for")
    async with watching(f"file://{tmp_path}") as bench:
        await eventually_async(lambda: bench.texts == ["A", "B", "C"], 10)
        new = tmp_path / ".d.part"
        new.write_bytes(png(symbol("D", "QRCode")))
        new.rename(tmp_path / "d.png")
        await eventually_async(lambda: bench.texts == ["A", "B", "C", "D"], 10)
        # Written anew under an old name, it is another image.
        (tmp_path / "a.png").write_bytes(png(symbol("A2", "QRCode")))
        await eventually_async(lambda: bench.texts[4:] == ["A2"], 10)
        await asyncio.sleep(0.5)
    assert bench.texts == ["A", "B", "C", "D", "A2"]
    assert not [read for read in bench.reads if isinstance(read, BadFrame)]


async def test_a_half_written_image_is_waited_for(tmp_path: Path) -> None:
    data = png(symbol("WHOLE", "QRCode"))
    async with watching(f"file://{tmp_path}") as bench:
        with (tmp_path / "slow.png").open("wb", buffering=0) as file:
            for start in range(0, len(data), len(data) // 3 + 1):
                file.write(data[start : start + len(data) // 3 + 1])
                await asyncio.sleep(0.5)
        await eventually_async(lambda: bench.texts == ["WHOLE"], 10)
    assert not [read for read in bench.reads if isinstance(read, BadFrame)]


async def test_what_is_no_image_is_reported_once_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(symbol("A", "QRCode"))[:100])
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.png").write_bytes(png(symbol("C", "QRCode")))
    async with watching(f"file://{tmp_path}") as bench:
        await eventually_async(lambda: bench.texts == ["C"], 10)
        await eventually_async(lambda: len(bench.reads) == 3, 10)
        await asyncio.sleep(0.5)
    bad = [read.reason for read in bench.reads if isinstance(read, BadFrame)]
    assert len(bad) == 2 and "a.png is no image" in bad[0] and "b.jpg is no image" in bad[1]


async def test_images_already_there_can_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(png(symbol("OLD", "QRCode")))
    async with watching(f"file://{tmp_path}?existing=skip") as bench:
        await eventually_async(lambda: bench.reader.status.status == "online")
        await asyncio.sleep(0.3)
        (tmp_path / "new.png").write_bytes(png(symbol("NEW", "QRCode")))
        await eventually_async(lambda: bench.texts == ["NEW"], 10)


async def test_a_directory_that_is_not_there_fails_clearly_and_is_read_when_it_comes(tmp_path: Path) -> None:
    place = tmp_path / "images"
    async with watching(f"file://{place}") as bench:
        await eventually_async(lambda: bench.reader.status.status == "failed")
        assert f"there is no {place}" in (bench.reader.status.reason or "")
        place.mkdir()
        (place / "a.png").write_bytes(png(symbol("A", "QRCode")))
        await eventually_async(lambda: bench.texts == ["A"], 10)


async def test_a_directory_that_was_away_for_a_while_is_not_read_again(tmp_path: Path) -> None:
    place, away = tmp_path / "share", tmp_path / "away"
    place.mkdir()
    (place / "a.png").write_bytes(png(symbol("A", "QRCode")))
    async with watching(f"file://{place}") as bench:
        await eventually_async(lambda: bench.texts == ["A"], 10)
        place.rename(away)
        await eventually_async(lambda: bench.reader.status.status == "failed", 10)
        (away / "b.png").write_bytes(png(symbol("B", "QRCode")))
        away.rename(place)
        await eventually_async(lambda: bench.texts == ["A", "B"], 10)


async def test_what_is_no_regular_file_is_passed_over(tmp_path: Path) -> None:
    """A pipe would hold the reader, and the program that ends, for ever."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    (tmp_path / "c.png").write_bytes(png(symbol("C", "QRCode")))
    async with watching(f"file://{tmp_path}") as bench:
        await eventually_async(lambda: bench.texts == ["C"], 10)
    assert len(bench.reads) == 1


async def test_a_file_that_is_too_large_is_reported_once_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 1 << 20)
    (tmp_path / "a.png").write_bytes(png(symbol("A")) + bytes(1 << 20))
    (tmp_path / "b.png").write_bytes(png(symbol("B")))
    async with watching(f"file://{tmp_path}") as bench:
        await eventually_async(lambda: bench.texts == ["B"], 10, "B read")
        reasons = [read.reason for read in bench.reads if isinstance(read, BadFrame)]
        assert reasons == [f"{tmp_path}/a.png cannot be read: it is larger than 1 MiB"]


async def test_a_directory_of_too_many_files_fails_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_FILES", 2)
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(png(symbol(name)))
    async with watching(f"file://{tmp_path}") as bench:
        told = f"{tmp_path} holds more than 2 files: move away those that were read"
        await eventually_async(lambda: bench.has_said("failed", told), 10, "too many files")
        assert bench.texts == []
        (tmp_path / "a.png").unlink()
        await eventually_async(lambda: bench.texts == ["b.png", "c.png"], 10, "the others read")


async def test_a_name_that_is_no_text_is_told_as_text(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.png"))).write_bytes(png(symbol("A", "QRCode")))
    async with watching(f"file://{tmp_path}") as bench:
        await eventually_async(lambda: bench.texts == ["A"], 10)
    [read] = bench.reads
    assert isinstance(read, BarcodeRead) and read.source == f"{tmp_path}/a\\xff.png"


async def test_a_picture_that_breaks_the_decoder_is_reported_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see = Camera.see

    def break_at_the_first(self: Camera, frame: Frame, now: Moment) -> list[Read]:
        if frame.source is not None and frame.source.endswith("a.png"):
            raise RuntimeError("a defect")
        return see(self, frame, now)

    monkeypatch.setattr(Camera, "see", break_at_the_first)
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(png(symbol(name.upper(), "QRCode")))
    async with watching(f"file://{tmp_path}") as bench:
        await eventually_async(lambda: bench.texts == ["B"], 10)
    assert isinstance(bench.reads[0], BadFrame) and "a defect" in bench.reads[0].reason


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (2, 2)])
def test_odd_images_hold_no_codes(shape: tuple[int, int]) -> None:
    [bad] = Camera("eye-1").see(Frame(np.zeros(shape, np.uint8), "odd.png"), NOW)
    assert isinstance(bad, BadFrame) and bad.reason == "no code was found in odd.png"
    assert Camera("eye-1").see(Frame(np.zeros(shape, np.uint8), None, live=True), NOW) == []


async def test_a_camera_that_is_not_there_fails_clearly(capfd: pytest.CaptureFixture[str]) -> None:
    async with watching("camera://200") as bench:
        await eventually_async(lambda: bench.reader.status.status == "failed", 10)
    reason = bench.reader.status.reason or ""
    assert reason.startswith("camera 200 cannot be opened: there is no /dev/video200: is it plugged in?")
    assert capfd.readouterr().err == ""

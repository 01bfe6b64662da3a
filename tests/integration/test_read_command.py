"""`tallyman read`: what an installer sees, from images, pseudo-terminals and mistakes."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zxingcpp

from devices.cli import read as read_command
from simulators.hardware.device import Thing
from simulators.hardware.rig import Rig

CONTENT = "01095212345432131726123110ABC123\x1d21SER456"


def label() -> bytes:
    code = zxingcpp.create_barcode(
        "(01)09521234543213(17)261231(10)ABC123(21)SER456", zxingcpp.BarcodeFormat.DataMatrix, gs1=True
    )
    drawn = cv2.copyMakeBorder(
        np.array(code.to_image(scale=4)), 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=255
    )
    return cv2.imencode(".png", drawn)[1].tobytes()


def test_the_command_prints_one_object_per_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.png").write_bytes(label())
    (tmp_path / "2.png").write_bytes(b"half")
    assert read_command("camera", f"file://{tmp_path}", "eye-1") == 0
    out, err = capsys.readouterr()
    [shown] = [json.loads(line) for line in out.splitlines()]
    at = shown.pop("at")
    assert at.endswith("Z") and at[10] == "T"
    assert shown == {
        "device": "eye-1",
        "kind": "barcode",
        "text": CONTENT,
        "raw": CONTENT.encode().hex(),
        "symbology": "]d2",
        "identity": {
            "kind": "gtin",
            "gtin": "09521234543213",
            "lot": "ABC123",
            "serial": "SER456",
            "expiry": "2026-12-31",
        },
        "source": str(tmp_path / "1.png"),
    }
    assert "2.png is no image" in err and "online" in err


@pytest.mark.parametrize(
    ("driver", "port", "status", "message"),
    [
        ("text-line", "serial:///no/such/port", 1, "there is no /no/such/port"),
        ("camera", "file:///no/such/image.png", 1, "there is no /no/such/image.png"),
        ("text-line", "serial:/dev/x", 2, None),
        ("text-lime", "tcp://127.0.0.1:1", 2, "did you mean text-line?"),
        ("camera", "/dev/video0", 2, "a path alone is no port; write camera:///dev/video0"),
        ("text-line", "/dev/ttyACM0", 2, "write serial:///dev/ttyACM0"),
        ("camera", "/tmp/walk.mp4", 2, "write file:///tmp/walk.mp4"),
        ("text-line", "tcp://127.0.0.1:1?bad=1", 2, "unknown option 'bad'"),
    ],
)
def test_the_command_says_what_is_wrong(
    driver: str, port: str, status: int, message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if message is None:
        port, message = "serial://dev/x", "three slashes"
    assert read_command(driver, port) == status
    out, err = capsys.readouterr()
    assert out == "" and message in err


def run_read(*arguments: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; from devices.cli import read; sys.exit(read{arguments!r})"]


async def test_the_command_follows_a_port_until_interrupted(tmp_path: Path) -> None:
    master, slave = os.openpty()
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = await asyncio.create_subprocess_exec(
        *run_read("text-line", f"serial://{os.ttyname(slave)}", "scanner-1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        while b"online" not in await asyncio.wait_for(process.stderr.readline(), 20):
            pass
        os.write(master, b"]E05901234123457\r\x1b[2J\x9b\r")
        first, second = [json.loads(await asyncio.wait_for(process.stdout.readline(), 20)) for _ in range(2)]
        assert first["identity"] == {"kind": "gtin", "gtin": "05901234123457"}
        assert first["raw"] == b"]E05901234123457".hex()
        assert second["text"] == "\x1b[2J\x9b" and second["identity"] == {"kind": "plain"}
        process.send_signal(2)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(master)
        os.close(slave)


async def test_the_command_ends_quietly_when_nobody_listens_any_more(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    recording.write_bytes(b"A-01\r" * 50_000)
    arguments = run_read("text-line", f"file://{recording}")
    listening, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    os.close(writing)
    assert process.stderr is not None
    assert b"A-01" in await asyncio.to_thread(os.read, listening, 100_000)
    os.close(listening)
    err = await asyncio.wait_for(process.stderr.read(), 20)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert b"Traceback" not in err and b"Exception" not in err


SGTIN = "3074257BF7194E4000001A85"
OF_THE_TAG = {"kind": "gtin", "gtin": "80614141123458", "serial": "6789"}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_tags_are_shown_with_what_their_epc_says(capsys: pytest.CaptureFixture[str]) -> None:
    with Rig("m100", "pty") as rig:
        rig.see(*(Thing(epc=SGTIN, rssi_dbm=-55) for _ in range(3)), Thing(epc="E28068940000500A9D2298C6"))
        assert read_command("m100", rig.url, "gate", count=4) == 0
    out, err = capsys.readouterr()
    first, *_, last = lines(out)
    assert (first["kind"], first["epc"], first["rssi_dbm"]) == ("tag", SGTIN, -55)
    assert first["epc_uri"] == "urn:epc:id:sgtin:0614141.812345.6789"
    assert first["identity"] == OF_THE_TAG
    assert last["identity"] == {"kind": "plain"} and "epc_uri" not in last
    assert "4 reads, 2 distinct, 0 bad frames in" in err.splitlines()[-1]


def test_it_ends_after_as_many_reads_as_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "recording"
    recording.write_bytes(b"A\rB\rC\rD\r")
    assert read_command("text-line", f"file://{recording}", count=2) == 0
    out, err = capsys.readouterr()
    assert [read["text"] for read in lines(out)] == ["A", "B"]
    assert "2 reads, 2 distinct" in err


def test_it_ends_after_the_time_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with Rig("text-line", "pty") as rig:
        assert read_command("text-line", rig.url, seconds=0.3) == 0
    assert "0 reads, 0 distinct, 0 bad frames in 0." in capsys.readouterr().err


def test_of_many_bad_frames_a_few_are_shown_and_all_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "recording"
    recording.write_bytes((b"\x00" * 8000 + b"\r") * 500 + b"A\r")
    assert read_command("text-line", f"file://{recording}") == 0
    out, err = capsys.readouterr()
    assert [read["text"] for read in lines(out)] == ["A"]
    assert err.count("not a read") < 100
    hidden = sum(int(more) for more in re.findall(r"… and (\d+) more", err))
    assert err.count("not a read") + hidden == 500
    assert "1 reads, 1 distinct, 500 bad frames" in err


def test_different_things_are_told_apart_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("devices.cli.MOST_DISTINCT", 3)
    recording = tmp_path / "recording"
    recording.write_bytes(b"A\rB\rC\rD\r")
    assert read_command("text-line", f"file://{recording}") == 0
    assert "4 reads, at least 3 distinct" in capsys.readouterr().err


def test_output_that_nobody_can_take_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    recording.write_bytes(b"A-01\r")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            run_read("text-line", f"file://{recording}"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert "what was read cannot be printed: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr

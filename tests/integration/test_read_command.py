"""`tallyman read`: what an installer sees, from images, pseudo-terminals and mistakes."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zxingcpp

from devices.cli import read as read_command

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

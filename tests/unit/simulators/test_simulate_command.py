"""`tallyman simulate` as a process: where it says it is, what it prints, how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = (sys.executable, str(ROOT / "tallyman.py"), "simulate")
TIMEOUT_S = 30


class Simulated:
    """The process, and a host that reads its port to the end."""

    def __init__(self, *arguments: str, stdin: int | None = subprocess.DEVNULL) -> None:
        self.process = subprocess.Popen(
            (*PROGRAM, *arguments),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.said: list[str] = []
        self.read = bytearray()
        self._reading: threading.Thread | None = None

    @property
    def stderr(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def place(self) -> str:
        """Where it says it is."""
        while not (found := re.search(r"--port '?([^'\s]+)", self._next())):
            pass
        return found[1]

    def _next(self) -> str:
        line = self.stderr.readline()
        assert line, f"it ended: {self.said}"
        self.said.append(line.rstrip())
        return line

    def open(self) -> None:
        """Be its host until it ends."""
        self._reading = threading.Thread(target=self._host, args=(self.place(),))
        self._reading.start()

    def _host(self, url: str) -> None:
        scheme, _, place = url.partition("://")
        if scheme == "tcp":
            host, _, port = place.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as client:
                while data := client.recv(4096):
                    self.read += data
            return
        port = os.open(place, os.O_RDWR | os.O_NOCTTY)
        with suppress(OSError):  # EIO: hung up
            while data := os.read(port, 4096):
                self.read += data
        os.close(port)

    def end(self) -> tuple[int, list[dict[str, Any]], str]:
        """Its status, what it printed, and what it said."""
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        if self._reading is not None:
            self._reading.join(TIMEOUT_S)
        return (
            self.process.returncode,
            [json.loads(line) for line in out.splitlines()],
            "\n".join(self.said) + err,
        )


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulated]]:
    begun: list[Simulated] = []

    def begin(*arguments: str, **more: Any) -> Simulated:
        begun.append(Simulated(*arguments, **more))
        return begun[-1]

    yield begin
    for one in begun:
        one.process.kill()
        one.process.communicate()


def once(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (*PROGRAM, *arguments), capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT, check=False
    )


def test_a_script_is_played_accounted_for_and_ends(
    simulate: Callable[..., Simulated], tmp_path: Path
) -> None:
    script = tmp_path / "goods.jsonl"
    script.write_text('{"code": "9521234543213", "aim": "]E0"}\n# a pause\n{"code": "A", "after_s": 0.01}\n')
    simulated = simulate("text-line", "--port", f"pty:{tmp_path / 'link'}", "--script", str(script))
    simulated.open()
    status, printed, said = simulated.end()
    assert status == 0, said
    assert printed == [
        {"number": 1, "fate": "whole", "code": "9521234543213", "aim": "]E0"},
        {"number": 2, "fate": "whole", "code": "A"},
    ]
    assert bytes(simulated.read) == b"]E09521234543213\r\nA\r\n"
    assert f"text-line is at {tmp_path / 'link'}" in said
    assert f"tallyman read --driver text-line --port serial://{tmp_path / 'link'}" in said
    assert said.endswith("2 things were shown: 2 whole\n")


def test_the_same_seed_gives_the_same_bytes_and_fates_over_tcp(simulate: Callable[..., Simulated]) -> None:
    arguments = (
        "text-line", "--port", "tcp:0", "--rate", "300", "--count", "40", "--seed", "5",
        "--faults", "split,drop,duplicate,corrupt", "--fault-rate", "0.5",
    )  # fmt: skip
    runs = []
    for _ in range(2):
        simulated = simulate(*arguments)
        simulated.open()
        status, printed, said = simulated.end()
        assert status == 0, said
        assert len(printed) == 40
        runs.append((bytes(simulated.read), printed))
    assert runs[0] == runs[1]
    assert {one["fate"] for one in runs[0][1]} >= {"whole", "lost"}
    assert all(one["why"] for one in runs[0][1] if one["fate"] == "lost")


def test_lines_of_standard_input_are_shown_as_they_come(simulate: Callable[..., Simulated]) -> None:
    simulated = simulate("text-line", "--port", "tcp:0", "--script", "-", stdin=subprocess.PIPE)
    simulated.open()
    for code in ("A", "B"):
        simulated.say(json.dumps({"code": code}))
        assert simulated.process.stdout is not None
        assert json.loads(simulated.process.stdout.readline())["code"] == code
    simulated.say('{"kode": "C"}')
    status, printed, said = simulated.end()
    assert status == 2
    assert printed == []
    assert "standard input:3: no member 'kode'; did you mean code?" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("more", [(), ("--script", "-")])
def test_it_ends_cleanly_when_told_to(
    simulate: Callable[..., Simulated], number: signal.Signals, more: Sequence[str]
) -> None:
    simulated = simulate("m100", *more, stdin=subprocess.PIPE)
    simulated.place()
    simulated.process.send_signal(number)
    status, printed, said = simulated.end()
    assert (status, printed) == (0, [])
    assert said.endswith("0 things were shown\n")
    assert "Traceback" not in said


def test_a_duration_ends_it_also_if_nobody_came(simulate: Callable[..., Simulated]) -> None:
    status, printed, said = simulate("text-line", "--port", "pty", "--duration-s", "0.2").end()
    assert (status, printed) == (0, [])
    assert "0 things" in said


def test_what_a_reader_of_our_output_leaves_is_left(simulate: Callable[..., Simulated]) -> None:
    simulated = simulate("text-line", "--port", "tcp:0", "--rate", "100")
    simulated.open()
    assert simulated.process.stdout is not None
    simulated.process.stdout.readline()
    os.close(os.dup(simulated.process.stdout.fileno()))
    simulated.process.stdout.close()
    simulated.process.stdout = None
    assert simulated.process.wait(TIMEOUT_S) == 0
    assert "Traceback" not in simulated.stderr.read()


def test_the_kinds_are_listed() -> None:
    for shown in (once(), once("--list")):
        assert shown.returncode == 0
        assert re.search(r"^m100 +a UHF module", shown.stdout, re.MULTILINE)
        assert re.search(r"^text-line +a barcode", shown.stdout, re.MULTILINE)
        assert "split, drop, corrupt" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        ("m10", 2, "no kind of device 'm10'; did you mean m100?"),
        ("m100 --port usb", 2, "no port 'usb'"),
        ("m100 --port pair", 2, "try --port pty"),
        ("m100 --port tcp:x", 2, "a TCP port is tcp:PORT"),
        ("m100 --faults drip", 2, "no fault 'drip'; did you mean drop?"),
        ("m100 --option framing", 2, "an option is NAME=VALUE"),
        ("m100 --option framing=cc", 2, "framing is one of bb, aa"),
        ("m100 --rate 0", 2, "--rate is more than 0"),
        ("m100 --rate 1 --script -", 2, "does not go with --rate"),
        ("m100 --script /nowhere.jsonl", 2, "/nowhere.jsonl: No such file"),
        ("m100 --script {script}", 2, "{script}:2: epc is missing"),
        ("m100 --port pty:/nowhere/link", 1, "no link can be made at /nowhere/link"),
        ("m100 --port tcp:no.such.host.invalid:1", 1, "is no address"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, arguments: str, status: int, problem: str) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"epc": "3000"}\n{"code": "1"}\n')
    shown = once(*arguments.format(script=script).split())
    assert shown.returncode == status
    assert shown.stdout == ""
    assert problem.format(script=script) in shown.stderr
    assert len(shown.stderr.splitlines()) == 1

"""The command line: every command explains itself, wrong usage is status 2 and says what to do."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tallyman as front_door

ROOT = Path(__file__).parents[2]
COMMANDS = [
    "",
    "demo",
    "agent",
    "central",
    "central backup",
    "central restore",
    "central new-history",
    "central token",
    "central operator",
    "journal",
    "journal status",
    "journal tail",
    "journal verify",
    "journal export",
    "journal replace",
    "broker",
    "check",
    "read",
    "devices",
    "simulate",
]
AGENT = """\
[agent]
id = "dock-2"
site = "lej1"
data_dir = "data"
[mqtt]
url = "mqtt://127.0.0.1:1883"
[http]
listen = "127.0.0.1:0"
[[devices]]
name = "scanner-1"
driver = "text-line"
port = "tcp://127.0.0.1:2112"
[[stations]]
name = "dock-2"
devices = ["scanner-1"]
workflow = "receive"
location = "DOCK-2"
"""
CENTRAL = """\
[database]
url = "sqlite:///central.db"
[mqtt]
url = "mqtt://127.0.0.1:1883"
[http]
listen = "127.0.0.1:0"
"""


Tallyman = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tallyman(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tallyman:
    """Runs the command line in this process: quick, for what starts nothing."""

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["tallyman", *arguments])
        monkeypatch.setattr("service.log.configure", lambda: None)  # this process logs as pytest wants it
        with pytest.raises(SystemExit) as end:
            front_door.main()
        shown = capsys.readouterr()
        assert end.value.code is None or isinstance(end.value.code, int)
        return subprocess.CompletedProcess(arguments, end.value.code or 0, shown.out, shown.err)

    return call


def apart(*arguments: str, without: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs the command line as a process; `without` makes a library look as if it were not installed."""
    block = f"sys.modules[{without!r}] = None; " if without else ""
    program = f"import sys; {block}import tallyman; tallyman.main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(tallyman: Tallyman, command: str) -> None:
    shown = tallyman(*command.split(), "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Usage:" in shown.stdout
    assert "..." not in shown.stdout.replace("[ARGS]...", ""), "a summary is too long for its line"


def test_version(tallyman: Tallyman) -> None:
    shown = tallyman("--version")
    assert (shown.returncode, shown.stdout.split()[0]) == (0, "tallyman")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["agent"], "Missing option '--config'"),
        (["central"], "tallyman central --config central.toml"),
        (["central", "token"], "Missing option"),
        (["read", "--port", "tcp://127.0.0.1:1"], "Missing option '--driver'"),
        (["check"], "Missing argument"),
        (["check", "/nowhere/agent.toml"], "/nowhere/agent.toml: there is no such file"),
        (["broker", "--listen", "nonsense"], "must be host:port"),
    ],
)
def test_wrong_usage_is_status_2(tallyman: Tallyman, arguments: list[str], said: str) -> None:
    shown = tallyman(*arguments)
    assert shown.returncode == 2, shown.stderr
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("program", ["agent", "central"])
def test_a_program_without_its_file(program: str) -> None:
    shown = apart(program, "--config", "/nowhere/some.toml")
    assert shown.returncode == 2
    assert shown.stderr.startswith("tallyman: /nowhere/some.toml: there is no such file\n")
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(("text", "program"), [(AGENT, "agent"), (CENTRAL, "central")])
def test_check_says_ok(tallyman: Tallyman, tmp_path: Path, text: str, program: str) -> None:
    path = tmp_path / "some.toml"
    path.write_text(text)
    shown = tallyman("check", str(path))
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == f"{path}: OK, a configuration for tallyman {program}\n"
    assert list(tmp_path.iterdir()) == [path], "checking changes nothing"


@pytest.mark.parametrize("text", [AGENT, CENTRAL])
def test_check_says_every_mistake(tallyman: Tallyman, tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.toml"
    path.write_text(text.replace("url = ", "urll = ").replace("listen", "lisen"))
    shown = tallyman("check", str(path))
    assert shown.returncode == 2
    assert 'unknown key; did you mean "url"?' in shown.stderr
    assert 'unknown key; did you mean "listen"?' in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("text", ["", AGENT + CENTRAL.partition("[mqtt]")[0]])
def test_check_wants_one_program_per_file(tallyman: Tallyman, tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.toml"
    path.write_text(text)
    shown = tallyman("check", str(path))
    assert shown.returncode == 2
    assert "one file per program" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "library", "extra"),
    [
        (["agent", "--config", "x"], "fastapi", "agent"),
        (["central", "--config", "x"], "fastapi", "central"),
        (["read", "--driver", "text-line", "--port", "tcp://127.0.0.1:1"], "biip", "agent,camera"),
    ],
)
def test_a_library_that_is_not_installed(arguments: list[str], library: str, extra: str) -> None:
    shown = apart(*arguments, without=library)
    assert shown.returncode == 2, shown.stderr
    assert f"tallyman[{extra}]" in shown.stderr
    assert library in shown.stderr
    assert "Traceback" not in shown.stderr


def test_help_needs_no_room() -> None:
    """`tallyman --help` is quick and works without any extra: it imports no library of a room."""
    program = (
        "import sys, tallyman\n"
        "heavy = {'fastapi', 'uvicorn', 'sqlalchemy', 'paho', 'biip', 'cv2', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr

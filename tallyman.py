"""The front door: one command line that opens the rooms.

The one idea: a command imports its room when it is called, so that `tallyman --help` is quick and a machine
needs only the libraries of what it runs. Exit status: 0 done, 1 a real failure, 2 wrong usage or configuration.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Final

import typer

from service import log, process
from service.config import ConfigError, Listen, Mistake, read_toml
from service.version import version

# Which extra brings the libraries of a room.
_EXTRAS: Final = {
    "agent": "agent",
    "central": "central",
    "devices": "agent,camera",
    "simulators": "demo",
    "service": "agent",
}
# The table that only one program's file has, and that program's configuration.
_PROGRAMS: Final = {"agent": "agent.config", "database": "central.config"}

app = typer.Typer(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Counts goods at the warehouse door: loses nothing, counts nothing twice.\n\n"
    "Begin with: tallyman demo. Every command explains itself with --help.",
)
central_app = typer.Typer(rich_markup_mode=None, add_completion=False)
app.add_typer(central_app, name="central", invoke_without_command=True)
journal_app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="Look after an agent's journal."
)
app.add_typer(journal_app, name="journal")

AgentConfig = Annotated[
    Path, typer.Option("--config", "-c", help="The agent's TOML file.", metavar="FILE", show_default=False)
]
CentralConfig = Annotated[
    Path, typer.Option("--config", "-c", help="Central's TOML file.", metavar="FILE", show_default=False)
]


class MissingLibrary(Exception):
    """A room's libraries are not installed, or cannot be loaded."""


def room(module: str) -> ModuleType:
    """Imports a room's module; raises MissingLibrary with what to install when a library is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or "a library").partition(".")[0]
        owner = module.partition(".")[0]
        if missing in _EXTRAS or missing == "sync":
            raise
        broken = (
            "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        )
        raise MissingLibrary(
            f"this command needs {missing}, which {broken}. "
            f"Install it with: pip install 'tallyman[{_EXTRAS[owner]}]'"
        ) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tallyman {version()}")
        raise typer.Exit


@app.callback()
def front_door(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Nothing of its own: the commands do the work."""


@app.command()
def demo(
    exit_when_proven: Annotated[
        bool, typer.Option("--exit", help="End after the proof: status 0, or 1 and the difference.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep journals, ledger and logs here.", metavar="DIRECTORY", show_default=False),
    ] = None,
) -> None:
    """Run a small warehouse here and prove that nothing is lost.

    Starts a broker, central and three agents with simulated scanners and a gate, cuts the network, kills agents
    and the broker while work goes on, and compares what was scanned with what the ledger says.
    """
    raise typer.Exit(room("simulators.demo").main(exit_when_proven=exit_when_proven, folder=folder))


@app.command()
def agent(config: AgentConfig) -> None:
    """Run an agent: what reads scanners on site.

    Every scan is in the journal before anybody sees OK; what happened is synced to central.

    \b
    Example:
      tallyman agent --config agent.toml
    """
    raise typer.Exit(room("agent.build").main(config))


JournalConfig = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The agent's TOML file.", metavar="FILE", show_default=False),
]
JournalDirectory = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Or the directory it is in.", metavar="DIRECTORY", show_default=False),
]
JournalJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]


def _journal(command: str, config: Path | None, data_dir: Path | None, **wishes: object) -> typer.Exit:
    """Asks something of a journal; whatever cannot be meant is wrong usage."""
    module = room("agent.journal_cli")
    try:
        return typer.Exit(getattr(module, command)(module.journal_of(config, data_dir), **wishes))
    except module.WrongUse as error:
        raise typer.BadParameter(str(error)) from None


@journal_app.command("status")
def journal_status(
    *, config: JournalConfig = None, data_dir: JournalDirectory = None, as_json: JournalJson = False
) -> None:
    """Say what a journal holds, and for how long there is room.

    Events and verdicts, file and disk, how long scanning can go on without central, and each life of the agent. The
    agent may go on beside it.

    \b
    Examples:
      tallyman journal status --config agent.toml
      tallyman journal status --data-dir /var/lib/tallyman/agent --json
    """
    raise _journal("status", config, data_dir, as_json=as_json)


@journal_app.command("tail")
def journal_tail(
    *,
    config: JournalConfig = None,
    data_dir: JournalDirectory = None,
    number: Annotated[
        int, typer.Option("-n", "--number", min=0, max=100_000, help="How many.", metavar="N")
    ] = 10,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with those to come, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
) -> None:
    """Print the newest events, each with central's verdict.

    A line says when, where in the journal, what, and what central said. The agent may go on beside it.

    \b
    Examples:
      tallyman journal tail --config agent.toml
      tallyman journal tail -n 0 --follow --config agent.toml
    """
    raise _journal("tail", config, data_dir, number=number, follow=follow, as_json=as_json)


@journal_app.command("verify")
def journal_verify(
    *, config: JournalConfig = None, data_dir: JournalDirectory = None, as_json: JournalJson = False
) -> None:
    """Look through a whole journal: is it sound?

    Every page, place, id, text and verdict. Exit status 0: it is sound. 1: a list of what is wrong. It changes
    nothing, and the agent may go on beside it. A million events take ten seconds or more; their ids are noted in a
    temporary file, 30 bytes for each.

    \b
    Example:
      tallyman journal verify --config agent.toml
    """
    raise _journal("verify", config, data_dir, as_json=as_json)


@journal_app.command("export")
def journal_export(
    *,
    config: JournalConfig = None,
    data_dir: JournalDirectory = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The new file; left out: standard output. Nothing is overwritten.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="jsonl: a JSON object per event, with its verdict. cloudevents: one array of what was published.",
            metavar="FORMAT",
        ),
    ] = "jsonl",
    since: Annotated[
        str | None,
        typer.Option(
            help="Recorded at this day or time (UTC) or later, by the agent's clock.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    incarnation: Annotated[
        str,
        typer.Option(help="Only of this one; its beginning is enough.", metavar="NAME", show_default=False),
    ] = "",
    unsettled: Annotated[
        bool,
        typer.Option("--unsettled", help="Only what central may lack: without a verdict, or not yet safe."),
    ] = False,
) -> None:
    """Copy events out of a journal, in order.

    The file is whole, or it is not there. The agent may go on beside it.

    \b
    Examples:
      tallyman journal export --config agent.toml --output events.jsonl
      tallyman journal export --config agent.toml --unsettled --format cloudevents -o rescue.json
      tallyman journal export --data-dir /var/lib/tallyman/agent --since 2026-11-20 | jq .event.data.sku
    """
    wishes = {
        "output": output,
        "form": form,
        "since": since,
        "incarnation": incarnation,
        "unsettled": unsettled,
    }
    raise _journal("export", config, data_dir, **wishes)


@journal_app.command("replace")
def journal_replace(config: AgentConfig) -> None:
    """Put a damaged journal aside, and begin a new one.

    The new one begins with every scan that can still be read and that central may not have; central counts none of
    them twice. The damaged file is kept under another name. A journal that is sound or in use is not touched.

    \b
    Example:
      tallyman journal replace --config agent.toml
    """
    raise typer.Exit(room("agent.replace").main(config))


@central_app.callback()
def central(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Central's TOML file.", metavar="FILE", show_default=False),
    ] = None,
) -> None:
    """Run central, the record of truth, or look after it.

    \b
    Examples:
      tallyman central --config central.toml
      tallyman central token --role operate --name shop --config central.toml
      tallyman central backup --config central.toml /backups/central-monday
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("say which: tallyman central --config central.toml", param_hint="--config")
    raise typer.Exit(room("central.build").main(config))


@central_app.command()
def token(
    config: CentralConfig,
    role: Annotated[str, typer.Option(help="What it may do: read, operate or admin.", show_default=False)],
    name: Annotated[str, typer.Option(help="Who it is for, as the audit trail shows it.")] = "command line",
) -> None:
    """Print a new access token. It is shown once; central keeps only its hash.

    \b
    Example:
      tallyman central token --role operate --name shop --config central.toml
    """
    raise typer.Exit(room("central.cli").create_token(config, role=role, name=name))


@central_app.command()
def operator(
    config: CentralConfig,
    operator_id: Annotated[
        str, typer.Option("--id", help="The operator's id, for example op-7.", show_default=False)
    ],
    name: Annotated[str, typer.Option(help="The name that stations show.", show_default=False)],
    badge: Annotated[str, typer.Option(help="The text on the badge they scan.", show_default=False)],
    role: Annotated[list[str] | None, typer.Option(help="A role; may be given several times.")] = None,
) -> None:
    """Add an operator, or change one: who scans at stations.

    \b
    Example:
      tallyman central operator --id op-7 --name "Ada" --badge OP-7 --config central.toml
    """
    main = room("central.cli").put_operator
    raise typer.Exit(main(config, operator_id=operator_id, name=name, badge=badge, roles=role or []))


@central_app.command()
def backup(
    config: CentralConfig,
    file: Annotated[
        Path | None, typer.Argument(help="Where the backup goes.", metavar="FILE", show_default=False)
    ] = None,
    keep: Annotated[
        int,
        typer.Option(
            min=1,
            max=1000,
            metavar="N",
            help="Count on so many, the newest: agents keep what one of them lacks.",
        ),
    ] = 7,
    begin: Annotated[
        str | None,
        typer.Option(
            help="A copy by other means is about to be made: print its mark.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    finish: Annotated[
        str | None,
        typer.Option(help="The copy with this mark is whole and proved.", metavar="MARK", show_default=False),
    ] = None,
) -> None:
    """Back up central's database, also while central runs.

    The copy is read through before it counts. Only an earlier backup of that name is replaced. Agents keep whatever
    one of the backups that count does not hold. Older ones are named when they are no longer needed; none is ever
    removed. For PostgreSQL, pg_dump is used.

    \b
    Examples:
      tallyman central backup --config central.toml /backups/central-monday
      tallyman central backup --config central.toml --begin "disk snapshot"
      tallyman central backup --config central.toml --finish 8f2c1b0a9d3e4f57
    """
    given = [
        name for name, one in (("FILE", file), ("--begin", begin), ("--finish", finish)) if one is not None
    ]
    if len(given) != 1:
        raise typer.BadParameter("give one of FILE, --begin and --finish", param_hint="FILE")
    commands = room("central.cli")
    if file is not None:
        raise typer.Exit(commands.back_up(config, file, keep))
    if begin is not None:
        raise typer.Exit(commands.begin_backup(config, begin))
    raise typer.Exit(commands.finish_backup(config, finish, keep))


@central_app.command()
def restore(
    config: CentralConfig,
    file: Annotated[
        Path,
        typer.Argument(
            help="A backup made by `tallyman central backup`.", metavar="FILE", show_default=False
        ),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Also when the database is not empty.")] = False,
) -> None:
    """Bring a backup back. Central must not be running.

    A new history begins, so that agents send again what they have recorded since. What was written over the API
    since is lost; the command says from which moment.

    \b
    Example:
      tallyman central restore --config central.toml /backups/central-monday
    """
    raise typer.Exit(room("central.cli").restore(config, file, replace=replace))


@central_app.command("new-history")
def new_history(config: CentralConfig) -> None:
    """Have agents send again what the database may lack.

    For a replica that was promoted, and a database that was brought back by other means: a new history begins, under
    which agents send again whatever this database may lack. It costs time, never goods.

    \b
    Example:
      tallyman central new-history --config central.toml
    """
    raise typer.Exit(room("central.cli").new_history(config))


@app.command()
def broker(
    listen: Annotated[
        str, typer.Option(help="Where to listen: an address of this machine only.", metavar="HOST:PORT")
    ] = "127.0.0.1:1883",
) -> None:
    """Run the broker mosquitto for this machine.

    In the foreground, with a safe configuration: it serves this machine only, needs no passwords and
    remembers nothing on disk.
    """
    module = room("service.broker")
    try:
        address = Listen.parse(listen)
        module.become(address)
    except (ValueError, module.Refused) as error:
        raise typer.BadParameter(str(error), param_hint="--listen") from None


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="An agent's or central's TOML file.", show_default=False)],
) -> None:
    """Check a configuration file: OK, or every mistake in it.

    \b
    Example:
      tallyman check agent.toml
    """
    _, tables = read_toml(config)
    programs = [module for table, module in _PROGRAMS.items() if table in tables]
    if len(programs) != 1:
        what = "has both [agent] and [database]" if programs else "has neither [agent] nor [database]"
        advice = "An agent's file has [agent], central's has [database]: one file per program."
        raise ConfigError(config, [Mistake(str(config), "", what)], advice)
    room(programs[0]).load(config)
    typer.echo(f"{config}: OK, a configuration for tallyman {programs[0].partition('.')[0]}")


@app.command()
def read(
    *,
    driver: Annotated[
        str, typer.Option(help="How the device speaks, for example text-line or camera.", show_default=False)
    ],
    port: Annotated[
        str,
        typer.Option(
            help="Where it is, for example serial:///dev/ttyACM0?baud=9600.",
            metavar="URL",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="What to call the device in the output.")] = "device",
    keep: Annotated[bool, typer.Option("--keep", help="Open the port again whenever it comes back.")] = False,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after so many reads.", metavar="N", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, max=1e6, help="End after so long.", metavar="S", show_default=False),
    ] = None,
    gs1_anywhere: Annotated[
        bool,
        typer.Option("--gs1-anywhere", help="Codes hold GS1 element strings also where no AIM id says so."),
    ] = False,
) -> None:
    """Print what a device reads, one JSON object per read.

    It ends with its source, after --count or --seconds, or with Ctrl-C, and says on standard error how many
    reads there were. What drivers there are, and their options: docs/devices.md.

    \b
    Examples:
      tallyman read --driver text-line --port 'serial:///dev/ttyACM0?baud=9600'
      tallyman read --driver m100 --port serial:///dev/ttyUSB0 --seconds 10
      tallyman read --driver text-line --port tcp://192.168.1.20:2112 --count 1
      tallyman read --driver camera --port file:///photos/label.png
    """
    command = room("devices.cli").read
    raise typer.Exit(
        command(
            driver=driver,
            port=port,
            name=name,
            keep=keep,
            count=count,
            seconds=seconds,
            gs1_anywhere=gs1_anywhere,
        )
    )


@app.command()
def devices(
    *,
    no_ask: Annotated[
        bool, typer.Option("--no-ask", help="Only look: open nothing and send nothing.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(help="Ask this address on the usual ports instead.", metavar="H", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs.")] = False,
) -> None:
    """List what is attached, and which driver each device needs.

    Serial lines that no other program uses are asked, politely: the questions change nothing. Each device is shown
    with a guess, how sure that is, and the lines for agent.toml.

    \b
    Examples:
      tallyman devices
      tallyman devices --host 192.0.2.7
    """
    raise typer.Exit(room("devices.finding.listing").devices(ask=not no_ask, host=host, as_json=as_json))


@app.command()
def simulate(
    *,
    kind: Annotated[
        str | None,
        typer.Argument(help="What to simulate, by its driver's name; none: list them.", show_default=False),
    ] = None,
    port: Annotated[
        str,
        typer.Option(help="Where it is: pty, pty:/path/to/link, tcp:PORT or tcp:HOST:PORT.", metavar="PORT"),
    ] = "",
    script: Annotated[
        str | None,
        typer.Option(
            help="What it reads: a file of JSON lines; -: standard input.", metavar="FILE", show_default=False
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Or so many things per second, made from the seed. [default: 1]", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides what is made and what goes wrong.")] = 0,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after so many things.", show_default=False)
    ] = None,
    faults: Annotated[
        str,
        typer.Option(
            help="What its cable does: split,drop,corrupt,delay,duplicate,noise,unplug.",
            metavar="LIST",
            show_default=False,
        ),
    ] = "",
    fault_rate: Annotated[
        float, typer.Option(min=0, max=1, help="How many of its frames meet a fault, of 1.")
    ] = 0.1,
    duration_s: Annotated[
        float | None, typer.Option("--duration-s", help="End after so many seconds.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the device; may be given several times.", metavar="NAME=VALUE"),
    ] = None,
    list_kinds: Annotated[bool, typer.Option("--list", help="List what can be simulated.")] = False,
) -> None:
    """Be a scanner or a reader, on a cable as bad as you like.

    It sits on a pseudo-terminal or on a network port, and works without hardware.

    Prints one JSON object for each thing with its fate: whole, lost or uncertain. The same seed and script give the
    same bytes and the same fates.

    \b
    Examples:
      tallyman simulate --list
      tallyman simulate text-line --port pty --rate 2
      tallyman simulate m100 --port tcp:4001 --faults split,drop,unplug --seed 7
      echo '{"code": "9521234543213", "aim": "]E0", "after_s": 1}' | tallyman simulate text-line --script -
    """
    command = room("simulators.hardware.command")
    if list_kinds or kind is None:
        raise typer.Exit(command.list_kinds())
    order = command.Order(
        kind=kind,
        port=port,
        script=script,
        per_s=rate,
        seed=seed,
        count=count,
        faults=faults,
        fault_rate=fault_rate,
        duration_s=duration_s,
        options=tuple(option or ()),
    )
    raise typer.Exit(command.main(order))


def main() -> None:
    """Runs the command line: errors become one clear message and an exit status."""
    log.configure()
    try:
        app()
    except (ConfigError, MissingLibrary) as error:
        process.say(str(error))
        sys.exit(process.WRONG_USE)
    except process.Failure as error:
        process.say(str(error))
        sys.exit(process.FAILED)


if __name__ == "__main__":
    main()

"""`tallyman journal`: what an operator asks of a journal, beside the agent that uses it or without one.

Answers go to standard output, everything else (progress, counts, mistakes) to standard error. Each command takes a
configuration or a data directory, and with `--json` speaks to programs.
"""

import base64
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from agent import config
from service import process
from sync.events import event_name
from sync.journal.lives import Life
from sync.journal.proof import MOST_FOUND, Fault, Proof
from sync.journal.recorded import JournalError, rfc3339
from sync.journal.survey import Held, Room, Status, Survey
from sync.messages import Event

MOST_LISTED: Final = 20  # incarnations, for people; --json lists all
MOST_HOURS: Final = 100_000  # 11 years: a larger figure says no more to anybody; --json has it
FOLLOW_S: Final = 0.3  # between two looks for what is new
PROGRESS_S: Final = 2.0  # between two signs of life of a long work, and before the first

_event = msgspec.json.Decoder(Event)
_any = msgspec.json.Decoder(msgspec.Raw)


class WrongUse(Exception):
    """Something was asked that cannot be meant; the text says what to give instead. Exit status 2."""


def journal_of(config_file: Path | None, data_dir: Path | None) -> Path:
    """Where the journal is.

    Raises:
        WrongUse: not exactly one of the two was given.
        service.config.ConfigError: the configuration has mistakes.
    """
    if (config_file is None) == (data_dir is None):
        raise WrongUse("say which journal: --config agent.toml, or --data-dir and the directory it is in")
    return (
        config.load(config_file).agent.journal
        if config_file is not None
        else Path(data_dir or "", "journal.db")
    )


@contextmanager
def _looking_at(path: Path, *, whole: bool = False) -> Iterator[Survey]:
    """What is lost is said, unless `whole`: then who asks says it. Failures of the journal become texts for people; a
    reader of ours that has gone away ends us quietly.
    """
    try:
        with Survey(path) as survey:
            if not whole and (lost := survey.lost()):
                process.say(
                    f"{path}: the journal is damaged: {lost}. The agent says at its start what can be done"
                )
            yield survey
    except JournalError as error:
        raise process.Failure(str(error)) from None
    except BrokenPipeError:
        # The interpreter would complain of it once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise process.Failure("nobody reads the output any more; it is not whole") from None


# --- status -------------------------------------------------------------------------------------------------------


def status(path: Path, *, as_json: bool) -> int:
    """Say what the journal holds, how it does, and for how much scanning there is room."""
    with _looking_at(path) as survey:
        found = survey.status()
        _print(json.dumps(_status_json(path, found), indent=2) if as_json else _status_text(path, found))
    return process.DONE


def _status_json(path: Path, found: Status) -> dict[str, Any]:
    room = found.room
    return {
        "journal": str(path),
        "agent": found.agent,
        "format": int(found.format),
        "in_use_by": found.in_use_by,
        "history": found.history,
        "events": found.events,
        "queued": found.queued,
        "oldest_queued_at": _time(found.oldest_queued_ms),
        "oldest_at": _time(found.oldest_ms),
        "last_write_at": _time(found.newest_ms),
        "ran_hours": round(found.ran_s / 3600, 2),
        "file_bytes": found.file_bytes,
        "unused_bytes": found.unused_bytes,
        "log_bytes": found.log_bytes,
        "disk_free_bytes": found.disk_free_bytes,
        "ballast": found.ballast,
        "room": {
            "usable_bytes": room.usable_bytes,
            "bytes_per_event": round(room.bytes_per_event, 1),
            "measured": room.measured,
            "events": int(room.usable_bytes / room.bytes_per_event),
            "events_per_hour": _rounded(room.mean_per_hour),
            "busiest_per_hour": _rounded(room.busiest_per_hour),
            "hours": _rounded(room.hours(room.mean_per_hour)),
            "busiest_hours": _rounded(room.hours(room.busiest_per_hour)),
        },
        "kept_aside": [str(file) for file in found.kept_aside],
        "incarnations": [_life_json(life, current=life is found.lives[-1]) for life in found.lives],
    }


def _life_json(life: Life, *, current: bool) -> dict[str, Any]:
    return {
        "incarnation": life.incarnation,
        "current": current,
        "first_kept": life.first,
        "last_sequence": life.last,
        "events": life.held,
        "queued": life.queued,
        "acked": life.acked,
        "safe": life.safe,
        "answered": life.answered,
        "left": life.left,
    }


def _status_text(path: Path, found: Status) -> str:
    used = f"in use by process {found.in_use_by}" if found.in_use_by else "not in use by an agent"
    since = _time(found.oldest_queued_ms)
    queued = f"{found.queued:,} without a verdict, the oldest since {since}" if since else "none"
    lines = [
        f"{path}",
        f"  agent    {found.agent or '?'}; {used}",
        f"  central  {'history ' + found.history if found.history else 'has not answered yet'}",
        f"  events   {found.events:,} kept" + (f" since {_time(found.oldest_ms)}" if found.events else ""),
        *([f"           last one recorded {_time(found.newest_ms)}"] if found.newest_ms else []),
        f"  queued   {queued}",
        f"  file     {_size(found.file_bytes)}, of which {_size(found.unused_bytes)} are free for new events",
        f"           log {_size(found.log_bytes)}; format {found.format}",
        f"  disk     {_size(found.disk_free_bytes)} free; "
        + ("ballast held" if found.ballast == "held" else "ballast given up: is the disk full?"),
        *_room_lines(found.room),
        *(f"  aside    {file} is kept: a journal that was damaged or failing" for file in found.kept_aside),
        "",
        *_life_lines(found.lives),
    ]
    return "\n".join(lines)


def _room_lines(room: Room) -> list[str]:
    each = f"{room.bytes_per_event:,.0f} bytes each" + ("" if room.measured else ", assumed")
    events = f"{int(room.usable_bytes / room.bytes_per_event):,} more events ({each})"
    mean, busiest = room.hours(room.mean_per_hour), room.hours(room.busiest_per_hour)
    if mean is None:
        return [f"  room     for {events}; the hours can be told when it has recorded for a while"]
    lines = [
        f"  room     for {_hours(mean)} of scanning at the usual {room.mean_per_hour:,.0f} events an hour,"
    ]
    if busiest is not None and room.busiest_per_hour is not None:
        lines.append(f"           {_hours(busiest)} at the busiest, {room.busiest_per_hour:,.0f} an hour;")
    return [*lines, f"           that is {events}"]


def _life_lines(lives: list[Life]) -> list[str]:
    if not lives:
        return ["  no agent has used it yet"]
    header = ("incarnation", "kept", "queued", "acked", "safe", "")
    rows = [
        (
            life.incarnation,
            f"{life.first:,} … {life.last:,}" if life.held else f"none of {life.last:,}",
            f"{life.queued:,}",
            f"{life.acked:,}",
            f"{life.safe:,}",
            "current" if life is lives[-1] else "left" if life.left else "",
        )
        for life in lives[-MOST_LISTED:]
    ]
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    table = [
        "  "
        + "  ".join(cell.ljust(width) if n in (0, 5) else cell.rjust(width) for n, (cell, width) in cells)
        for cells in (list(enumerate(zip(row, widths, strict=True))) for row in [header, *rows])
    ]
    older = len(lives) - MOST_LISTED
    return [line.rstrip() for line in table] + (
        [f"  and {older} older incarnations; --json lists them all"] if older > 0 else []
    )


# --- tail ---------------------------------------------------------------------------------------------------------


def tail(path: Path, *, number: int, follow: bool, as_json: bool) -> int:
    """Print the newest events, and with `follow` those to come, until Ctrl-C."""
    line = _json_line if as_json else _line
    with _looking_at(path) as survey, suppress(KeyboardInterrupt):
        newest = survey.newest(max(number, 1))
        for held in newest[len(newest) - min(number, len(newest)) :]:
            _print(line(held))
        if not newest and not follow:
            process.say(f"{path}: no events are kept")
        last = newest[-1].key if newest else 0
        seen = -1
        while follow:
            if (now := survey.changed()) == seen:
                time.sleep(FOLLOW_S)
                if not survey.is_in_place():
                    raise process.Failure(
                        f"{path}: the journal has got another file. Start this again to follow it"
                    )
                continue
            seen = now
            for held in survey.after(last):
                _print(line(held))
                last = held.key
    return process.DONE


def _line(held: Held) -> str:
    at, place = rfc3339(held.recorded_ms), f"{held.incarnation[:8]}/{held.sequence}"
    outcome = held.outcome or "waits for central"
    reason = f" ({held.reason})" if held.reason else ""
    try:
        event = _event.decode(held.text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return f"{at}  {place:<14}  cannot be read; tallyman journal verify says more"
    data = event.data
    about = next(
        (str(data[key]) for key in ("sku", "gtin", "sscc", "epc", "raw", "corrects") if data.get(key)), "-"
    )
    number = f" × {data['quantity']}" if "quantity" in data else ""
    rest = [
        str(data[key])
        for key in ("from_location", "to_location", "location", "document", "operator")
        if data.get(key)
    ]
    name = event_name(event.type) or event.type
    said = f"{at}  {place:<14}  {name:<10}  {about}{number}  {' '.join(rest)}".rstrip()
    return "".join(c if c.isprintable() else "�" for c in f"{said}  {outcome}{reason}")


def _record(held: Held) -> dict[str, Any]:
    """An event with what the journal knows of it, as JSON."""
    record = {
        "incarnation": held.incarnation,
        "sequence": held.sequence,
        "recorded_at": rfc3339(held.recorded_ms),
        "outcome": held.outcome,
        "reason": held.reason,
        "movement": held.movement,
    }
    if _is_json(held.text):
        return {**record, "event": msgspec.Raw(held.text)}
    return {**record, "event": None, "unreadable": base64.b64encode(held.text).decode()}


def _is_json(text: bytes) -> bool:
    try:
        _any.decode(text.decode())
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _json_line(held: Held) -> str:
    return msgspec.json.encode(_record(held)).decode()


# --- verify -------------------------------------------------------------------------------------------------------


def verify(path: Path, *, as_json: bool) -> int:
    """Look through the whole journal; 1 and a list when something is wrong."""
    found: list[Fault] = []
    number = 0
    with _looking_at(path, whole=True) as survey:
        proof = Proof(survey.connection(), _Progress())
        lost = survey.lost()
        try:
            for fault in chain([Fault(lost, path.name)] if lost else [], proof.faults()):
                number += 1
                if number <= MOST_FOUND:
                    found.append(fault)
                    if not as_json:
                        _print(f"{fault.where}: {fault.what}")
        finally:
            proof.close()
    if as_json:
        faults = [{"where": fault.where, "what": fault.what} for fault in found]
        told = {
            "journal": str(path),
            "sound": not number,
            "events": proof.events,
            "wrong": number,
            "found": faults,
        }
        _print(json.dumps(told, indent=2))
    elif number:
        more = f", of which {MOST_FOUND} are shown" if number > MOST_FOUND else ""
        process.say(
            f"{path}: {number} things are wrong{more}, in {proof.events:,} events. Copy the whole data directory to a"
            " safe place before anything else. An agent that is refused this journal says what to do next"
        )
    else:
        _print(f"{path}: sound, {proof.events:,} events")
    return process.FAILED if number else process.DONE


class _Progress:
    """A line on standard error now and then, when something takes long."""

    def __init__(self) -> None:
        self._next_at = time.monotonic() + PROGRESS_S

    def __call__(self, text: str) -> None:
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + PROGRESS_S
            process.say(f"… {text}")


# --- export -------------------------------------------------------------------------------------------------------


def export(
    path: Path, *, output: Path | None, form: str, since: str | None, incarnation: str, unsettled: bool
) -> int:
    """Write events to a file that is whole or not there, or to standard output; say how many.

    Raises:
        WrongUse: `since` is no time, or `form` no format.
    """
    since_ms = 0 if since is None else _since_ms(since)
    if form not in _FORMS:
        raise WrongUse(f"--format is {' or '.join(_FORMS)}, not {form}")
    with _looking_at(path) as survey:
        if incarnation and not any(life.incarnation.startswith(incarnation) for life in survey.known()):
            raise process.Failure(
                f"{path}: no incarnation begins with {incarnation}. `tallyman journal status` lists them"
            )
        progress, count = _Progress(), 0

        def chosen() -> Iterator[Held]:
            nonlocal count
            for held in survey.after(0, unsettled=unsettled, incarnation=incarnation):
                if held.recorded_ms >= since_ms:
                    count += 1
                    yield held
                progress(f"{count:,} events written")

        if output is None:
            _FORMS[form](chosen(), sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            _write_whole(output, lambda file: _FORMS[form](chosen(), file))
    process.say(f"{count:,} events" + (f" written to {output}" if output else ""))
    return process.DONE


def _as_lines(events: Iterable[Held], file: IO[bytes]) -> None:
    for held in events:
        file.write(_json_line(held).encode() + b"\n")


def _as_cloudevents(events: Iterable[Held], file: IO[bytes]) -> None:
    """What agents publish, in one array; what cannot be read as JSON would make all of it unreadable."""
    between = b"["
    for held in events:
        if not _is_json(held.text):
            process.say(f"{held.incarnation}/{held.sequence} cannot be read and is left out")
            continue
        file.write(between + b"\n" + held.text)
        between = b","
    file.write(b"[]\n" if between == b"[" else b"\n]\n")


_FORMS: Final[dict[str, Callable[[Iterable[Held], IO[bytes]], None]]] = {
    "jsonl": _as_lines,
    "cloudevents": _as_cloudevents,
}


def _write_whole(output: Path, write: Callable[[IO[bytes]], None]) -> None:
    """The name appears when all of it is on the disk, and never in place of another file."""
    if output.exists():
        raise process.Failure(
            f"{output}: there is such a file already. Give another name; nothing is overwritten"
        )
    made = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with made.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _name(made, output)
    except FileExistsError:
        raise process.Failure(f"{output}: somebody has just made it. Give another name") from None
    except OSError as error:
        raise process.Failure(
            f"{output}: cannot be written ({error.strerror}). Give a name on a disk that has room and takes writes"
        ) from None
    finally:
        made.unlink(missing_ok=True)


def _name(made: Path, output: Path) -> None:
    """Give it its name, durably."""
    try:
        os.link(made, output)  # unlike a rename it refuses to replace what somebody made meanwhile
    except PermissionError:  # FAT and its like, on sticks, know no second name (link(2): EPERM)
        if output.exists():
            raise FileExistsError from None
        made.rename(output)
    directory = os.open(output.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _since_ms(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUse(
            f"--since is a day or a time like 2026-11-20 or 2026-11-20T08:15:00Z, not {text}"
        ) from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


# --- words --------------------------------------------------------------------------------------------------------


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def _hours(hours: float) -> str:
    if hours > MOST_HOURS:
        return f"more than {MOST_HOURS:,} hours"
    return f"{hours:,.0f} hours" if hours >= 10 else f"{hours:.1f} hours"


def _size(size_bytes: int) -> str:
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    if size_bytes >= 1_000_000_000:
        return f"{size_bytes / 1e9:,.1f} GB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1_000_000 else f"{size_bytes / 1e3:.1f} kB"

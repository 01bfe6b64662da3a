"""`tallyman devices`: what is attached, which driver it needs, and the TOML to paste."""

import asyncio
import json
import sys
from typing import Any

from devices.cli import print_no_more
from devices.errors import Misconfigured, Unavailable
from devices.finding.asking import ask_host, ask_lines
from devices.finding.attached import Found, Roots, attached
from devices.ports.url import parse_port

DONE, FAILED, WRONG = 0, 1, 2

NOTHING = """\
Nothing is attached that could be a scanner, a reader or a camera.
- Is it plugged in and switched on? See: ls -l /dev/serial/by-id /dev/input/by-id /dev/v4l/by-id
- A cable that only charges carries no data: try another one.
- May this user see it? Serial lines belong to the group dialout, keyboards and HID to input, cameras to video.
  See: id; and for all three: sudo usermod -aG dialout,input,video $USER, then sign in anew.
- What stands on the network is asked with: tallyman devices --host ADDRESS"""

# What names in the TOML begin with, by driver; readers of tags have the other one.
_NAMES = {
    "camera": "camera",
    **dict.fromkeys(("text-line", "zebra-ssi", "keyboard-wedge", "hid-pos"), "scanner"),
}


def devices(
    *, ask: bool = True, host: str | None = None, as_json: bool = False, roots: Roots | None = None
) -> int:
    """List what is attached, or what answers at `host`; the exit status.

    0 done, also when there is nothing; 1 nothing answers at that address, or nothing can be printed; 2 it is no
    address.
    """
    try:
        found = asyncio.run(_find(ask, host, roots or Roots()))
    except Misconfigured as problem:
        _say(str(problem))
        return WRONG
    except Unavailable as problem:
        _say(str(problem))
        return FAILED
    except KeyboardInterrupt:
        return DONE
    try:
        _list(found, as_json=as_json)
    except BrokenPipeError:
        print_no_more()  # whoever read our output has seen enough
    except OSError as problem:
        print_no_more()
        _say(f"the list cannot be printed: {problem.strerror}")
        return FAILED
    return DONE


def _list(found: list[Found], *, as_json: bool) -> None:
    tables = _tables(found)
    if as_json:
        _print(
            json.dumps([_described(each, table) for each, table in zip(found, tables, strict=True)], indent=2)
        )
    elif found:
        blocks = [
            _block(number, each, table)
            for number, (each, table) in enumerate(zip(found, tables, strict=True), 1)
        ]
        _print("\n\n".join(blocks))
    if not found:
        _say(NOTHING)


async def _find(ask: bool, host: str | None, roots: Roots) -> list[Found]:
    if host is not None:
        if not ask:
            raise Misconfigured("--host asks that address: leave out --no-ask")
        name = host.removeprefix("[").removesuffix("]")
        try:
            parsed = parse_port(f"tcp://[{name}]:1" if ":" in name else f"tcp://{name}:1")
            if parsed.host != name.lower() or not name.isprintable() or " " in name:
                raise Misconfigured(name)
        except Misconfigured:
            raise Misconfigured(
                f"--host {host!r} is no address: give a name or a number, such as 192.0.2.7, without a port"
            ) from None
        return await ask_host(name, _say)
    found = await asyncio.to_thread(attached, roots)
    return await ask_lines(found, roots, _say) if ask else found


def _tables(found: list[Found]) -> list[str | None]:
    """The TOML for each, with names that differ; None where no driver can be named."""
    counts: dict[str, int] = {}
    tables: list[str | None] = []
    for each in found:
        if each.driver is None:
            tables.append(None)
            continue
        kind = _NAMES.get(each.driver, "reader")
        counts[kind] = counts.get(kind, 0) + 1
        tables.append(toml(f"{kind}-{counts[kind]}", each.driver, each.port))
    return tables


def toml(name: str, driver: str, port: str) -> str:
    """One `[[devices]]` table of agent.toml."""
    # A JSON string is a TOML basic string.
    members = {"name": name, "driver": driver, "port": port}
    return "\n".join(["[[devices]]", *(f"{key} = {json.dumps(value)}" for key, value in members.items())])


def _described(found: Found, table: str | None) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "path": found.path,
        "node": found.node,
        "lasting": found.lasting,
        "about": found.about,
        "usb": found.usb,
        "driver": found.driver,
        "sure": found.sure,
        "why": found.why,
        "notes": list(found.notes),
        "port": found.port,
        "toml": table,
    }


def _block(number: int, found: Found, table: str | None) -> str:
    details = [
        found.node if found.node != found.path else "",
        found.about,
        f"USB {found.usb}" if found.usb else "",
    ]
    described = ", ".join(detail for detail in details if detail)
    lines = [f"{number}. {found.path}" + (f"  ({described})" if described else "")]
    guess = f"{found.driver}, {found.sure}: {found.why}" if found.driver else found.why or "not known"
    lines += [f"   {guess}", *(f"   note: {note}" for note in found.notes)]
    if table is not None:
        lines += ["", *(f"   {line}" for line in table.splitlines())]
    return "\n".join(lines)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is the command's output


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for the person at the terminal

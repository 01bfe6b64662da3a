"""A broker for people who have none: mosquitto, with a configuration that is safe to start with.

The one idea: this process *becomes* mosquitto (exec), with a configuration in memory. Signals reach it directly,
nothing stands between it and its supervisor, and nothing is left behind, not even after SIGKILL.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from service.config import Listen
from service.process import Failure, bind, say

# Debian puts daemons where the PATH of users does not look.
_FURTHER_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

# 256 KiB of payload downward (contract, "MQTT"), the topic and the properties.
PACKET_MAX_BYTES: Final = 320 * 1024
CONNECTIONS_MAX: Final = 2000
QUEUED_MESSAGES_MAX: Final = 10_000
QUEUED_MAX_BYTES: Final = 64 * 1024 * 1024
INFLIGHT_MAX: Final = 100

_CONFIGURATION = """\
# Reachable from this machine only, hence without passwords.
per_listener_settings false
listener {port} {host}
allow_anonymous true
# Programs that speak the contract never rely on the broker's memory: it keeps none on disk.
persistence false
max_packet_size {packet_max_bytes}
max_connections {connections_max}
max_queued_messages {queued_messages_max}
max_queued_bytes {queued_max_bytes}
max_inflight_messages {inflight_max}
max_keepalive 300
persistent_client_expiration 1d
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
log_type notice
"""


class Refused(Exception):
    """Wrong usage: such a listener would be open to strangers."""


def find_mosquitto(path: str | None = None) -> Path:
    """The program, on the PATH or where systems keep daemons; raises Failure that says how to install it."""
    searched = os.pathsep.join([os.environ.get("PATH", "") if path is None else path, *_FURTHER_FOLDERS])
    found = shutil.which("mosquitto", path=searched)
    if found is None:
        raise Failure(
            "the broker mosquitto is not installed on this machine. Install it with: sudo apt install mosquitto"
        )
    return Path(found)


def configuration(listen: Listen) -> str:
    """mosquitto.conf(5) for a listener on this machine; raises Refused for any other."""
    if not listen.loopback:
        raise Refused(
            f"{listen} can be reached from other machines, and this broker asks nobody for a password. "
            "Use --listen 127.0.0.1:1883. For other machines, run mosquitto with TLS and a user per agent; "
            "agents and central reach it by an mqtts:// url under [mqtt]."
        )
    return _CONFIGURATION.format(
        host=listen.host,
        port=listen.port,
        packet_max_bytes=PACKET_MAX_BYTES,
        connections_max=CONNECTIONS_MAX,
        queued_messages_max=QUEUED_MESSAGES_MAX,
        queued_max_bytes=QUEUED_MAX_BYTES,
        inflight_max=INFLIGHT_MAX,
    )


def become(listen: Listen) -> None:
    """Checks everything that can be checked, then replaces this process by mosquitto in the foreground.

    Port 0 takes any free one. Raises Refused, or Failure when mosquitto is missing or the port is in use.
    """
    configuration(listen)
    program = find_mosquitto()
    with bind(listen, key="--listen") as probe:
        real = Listen(listen.host, probe.getsockname()[1])
    # A file in memory: no directory to clean up, and root's file can be read after mosquitto has become its user.
    file = os.memfd_create("mosquitto.conf", 0)
    os.fchmod(file, 0o444)
    os.write(file, configuration(real).encode())
    say(f"{program} serves mqtt://{real}, for this machine only; Ctrl-C ends it")
    sys.stderr.flush()
    sys.stdout.flush()
    os.execv(program, [str(program), "-c", f"/proc/self/fd/{file}"])  # noqa: S606 — found above, no shell

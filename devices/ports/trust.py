"""Who we are to a device on the network, and whom we trust: passwords and certificates, from files.

The one idea: a secret is read when a port is opened and goes nowhere but to the device. A port URL names its file; no
error, status or log ever holds it. Files are read anew each time, so that a mended one is used without a restart.
"""

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any

from devices.errors import Unavailable

# A password or token; what is longer is some other file, and more than MQTT can say (MQTT 5.0 §1.5.4).
MAX_SECRET = 65_535
_CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=


async def login(options: dict[str, Any]) -> tuple[str, str] | None:
    """As `login_now`, on the event loop."""
    return await asyncio.to_thread(login_now, options)


def login_now(options: dict[str, Any]) -> tuple[str, str] | None:
    """User and password, if the port has them. Raises `Unavailable` naming the file."""
    user, file = options.get("user"), options.get("password_file")
    return None if user is None or file is None else (user, _secret(file))


async def tls(options: dict[str, Any]) -> ssl.SSLContext:
    """As the options say. Raises `Unavailable` naming the file that cannot be used."""
    return await asyncio.to_thread(_context, options)


def warning(options: dict[str, Any]) -> str | None:
    """What somebody should know for as long as the port is like this."""
    if options.get("verify") is False:
        return "verify=no: nobody knows who answers there; ca_file= with its certificate would tell"
    if options.get("plain") and options.get("user") is not None:
        return "plain=yes: the password can be read by anybody on the network"
    return None


def _path(name: str, option: str) -> Path:
    """An absolute path is itself; a bare name is a credential that systemd hands to this program."""
    if Path(name).is_absolute():
        return Path(name)
    directory = os.environ.get(_CREDENTIALS)
    if not directory:
        raise Unavailable(
            f"{option}={name} is the name of a systemd credential, and there are none here: write the whole path of"
            f" a file, or add LoadCredential={name}:/path/of/the/file to the unit"
        )
    return Path(directory) / name


def _secret(name: str) -> str:
    path = _path(name, "password_file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET + 1)
        secret = content.decode("utf-8").rstrip("\r\n")
    except OSError as problem:
        raise Unavailable(f"password_file {path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise Unavailable(f"password_file {path} is not UTF-8 text") from None
    if not secret or len(content) > MAX_SECRET:
        raise Unavailable(f"password_file {path} is {'too large for a password' if secret else 'empty'}")
    return secret


def _context(options: dict[str, Any]) -> ssl.SSLContext:
    files = {
        option: _path(options[option], option)
        for option in ("ca_file", "cert_file", "key_file")
        if options.get(option) is not None
    }
    for option, path in files.items():
        try:
            with path.open("rb"):
                pass
        except OSError as problem:
            raise Unavailable(f"{option} {path} cannot be read: {problem.strerror}") from None
    try:
        context = ssl.create_default_context(cafile=files.get("ca_file"))
    except ssl.SSLError:
        raise Unavailable(f"ca_file {files['ca_file']} holds no certificate in PEM") from None
    if "cert_file" in files:
        try:
            # Without a password for the key, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(files["cert_file"], files["key_file"], password=lambda: "")
        except (ssl.SSLError, ValueError):
            raise Unavailable(
                f"cert_file {files['cert_file']} and key_file {files['key_file']} are not a certificate and its own"
                " key in PEM, the key without a password"
            ) from None
    if not options["verify"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def root_of(problem: BaseException | None) -> BaseException | None:
    """Libraries wrap what went wrong in errors of their own: the system's or OpenSSL's own error behind this one."""
    found = None
    for _ in range(16):
        if problem is None:
            break
        if isinstance(problem, ssl.SSLError) or (isinstance(problem, OSError) and problem.errno):
            found = problem
        if isinstance(problem, BaseExceptionGroup):
            problem = problem.exceptions[0]
        else:
            problem = problem.__cause__ or problem.__context__
    return found


def distrust(problem: BaseException | None) -> str | None:
    """If the other side's certificate is not trusted: why, and what to do."""
    if not isinstance(problem, ssl.SSLCertVerificationError):
        return None
    return (
        f"its certificate is not trusted ({problem.verify_message}): get its certificate, or that of who issued it,"
        " name that with ca_file=, and use the host name that is in it; verify=no trusts whoever answers"
    )

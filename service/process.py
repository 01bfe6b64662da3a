"""The life of a program: start, signals, exit status, and serving HTTP inside our own event loop.

The one idea: a signal cancels the main task and nothing else. Whatever `main` opened, it closes while the
cancellation travels through it; a watchdog thread ends the process when that takes too long.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from service import log
from service.config import ConfigError, Listen

if TYPE_CHECKING:
    from uvicorn import Server

DONE, FAILED, WRONG_USE = 0, 1, 2
"""Exit statuses: done; a real failure; wrong usage or configuration."""

# Longer than anything a program does when it ends: the last batch to the database, the last message to the broker.
SHUTDOWN_TIMEOUT_S = 10.0
# Requests that are still being answered get this long; event streams are ended at once.
HTTP_SHUTDOWN_TIMEOUT_S = 2
# Connections that wait to be accepted, and requests that are answered at once. Above: 503 by uvicorn.
HTTP_BACKLOG = 256
HTTP_CONCURRENCY_MAX = 1000
# A connection that asks nothing for so long is ended.
HTTP_FIRST_REQUEST_S = 10.0


class Failure(Exception):
    """What a person can mend: its text says what happened, where, and what to do next. Exit status 1."""


def run(
    main: Callable[[], Awaitable[int]],
    *,
    known: tuple[type[Exception], ...] = (),
    shutdown_timeout_s: float = SHUTDOWN_TIMEOUT_S,
) -> int:
    """Runs `main` until it returns or a SIGTERM or SIGINT cancels it, and returns the exit status.

    Exceptions of the `known` types, `Failure` and `ConfigError` are printed as their text alone; any other is
    a defect and is logged with its traceback. A second signal, or a shutdown longer than `shutdown_timeout_s`,
    ends the process at once with status 1.
    """
    import uvloop  # noqa: PLC0415 (an extra of the programs; `tallyman read` does without)

    # Each durable scan crosses from the event loop to the journal's thread and back: uvloop halves that.
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_signalled(main, shutdown_timeout_s))
    except BaseExceptionGroup as group:
        return _explain(_single(group), known)
    except Exception as error:  # noqa: BLE001 — the outermost boundary: every failure becomes an exit status
        return _explain(error, known)


async def _until_signalled(main: Callable[[], Awaitable[int]], shutdown_timeout_s: float) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main())
    signalled: list[int] = []

    def stop(number: int) -> None:
        signalled.append(number)
        if len(signalled) > 1:
            _end_now("a second signal: ending at once, without waiting for what is open")
        notify("STOPPING=1")
        watchdog = threading.Timer(
            shutdown_timeout_s,
            _end_now,
            [f"the shutdown took longer than {shutdown_timeout_s:g} s: ending at once"],
        )
        watchdog.daemon = True
        watchdog.start()
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if signalled:
            return DONE
        raise


def _end_now(reason: str) -> None:
    log.get().error(reason)
    sys.stderr.flush()
    os._exit(FAILED)


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in a group, when it is one; task groups wrap what a person should read."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found


def _explain(error: BaseException, known: tuple[type[Exception], ...]) -> int:
    if isinstance(error, ConfigError):
        say(str(error))
        return WRONG_USE
    if isinstance(error, (Failure, *known)):
        say(str(error))
        return FAILED
    log.get().critical("the program failed by a defect of its own; please report it", exc_info=error)
    return FAILED


def say(text: str) -> None:
    """One message for the person at the terminal, on stderr, safe to show."""
    lines = (log.printable(line) for line in f"tallyman: {text}".split("\n"))
    sys.stderr.write("\n".join(lines) + "\n")


def ready(status: str = "") -> None:
    """Tells systemd that the program serves now. What was built until here stays: the garbage collector need not look
    at it again and again, which takes it longer than a scan may wait.
    """
    gc.collect()
    gc.freeze()
    notify("READY=1" + (f"\nSTATUS={log.printable(status)}" if status else ""))


def notify(state: str) -> None:
    """One sd_notify message (sd_notify(3)); nothing when systemd did not ask for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.send(state.encode())
        except OSError as error:
            log.get().warning("systemd cannot be told", state=state, error=str(error))


# ------------------------------------------------------------------------------------------------ serving HTTP


def bind(listen: Listen, key: str = "[http] listen") -> socket.socket:
    """A listening socket; raises Failure that names the configuration key to change."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise Failure(
            f"cannot listen on {listen}: {error.strerror}. Choose another address in {key}."
        ) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(HTTP_BACKLOG)
    except OSError as error:
        listener.close()
        raise Failure(f"{_bind_problem(listen, error)} Choose another address in {key}.") from None
    listener.setblocking(False)
    return listener


def _bind_problem(listen: Listen, error: OSError) -> str:
    match error:
        case PermissionError():
            return f"Port {listen.port} needs privileges that this program does not have."
        case OSError(errno=98):  # EADDRINUSE on Linux
            return f"Port {listen.port} on {listen.host} is in use by another program."
        case OSError(errno=99):  # EADDRNOTAVAIL
            return f"{listen.host} is not an address of this machine."
    return f"Cannot listen on {listen}: {error.strerror}."


async def serve_http(
    app: Any,
    listen: Listen,
    *,
    announce: Callable[[Listen], None] = lambda _: None,
    key: str = "[http] listen",
    shutdown_timeout_s: int = HTTP_SHUTDOWN_TIMEOUT_S,
) -> None:
    """Serves an ASGI application for ever; cancel to stop.

    `announce` is told the real address once requests are answered. When cancelled, the event streams in
    `app.state.streams` (see `service.web.create_app`) are ended, open requests get `shutdown_timeout_s`.
    Raises Failure when the address cannot be used.
    """
    listener = bind(listen, key)
    real = Listen(listen.host, listener.getsockname()[1])
    started = asyncio.Event()
    server = _server(app, shutdown_timeout_s, started)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    serving.add_done_callback(lambda _: started.set())
    try:
        await started.wait()
        if server.started:
            announce(real)
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        for stream in getattr(getattr(app, "state", None), "streams", ()):
            stream.close()
        await serving
        listener.close()


def _connections_max() -> int:
    """Open connections, asking or not; one more is ended at once. Half of the files that this process may open: the
    rest is for the journal, the devices and the broker, whatever strangers do.
    """
    return min(HTTP_CONCURRENCY_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


def _server(app: Any, shutdown_timeout_s: int, started: asyncio.Event) -> "Server":
    # Only programs that serve pages need it installed.
    from uvicorn import Config, Server  # noqa: PLC0415
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415

    connections_max = _connections_max()

    class Bounded(H11Protocol):
        """A connection that costs little while nobody asks anything on it."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections_max:
                transport.abort()
                return
            # Unset by the first byte, like the wait between two requests.
            self.timeout_keep_alive_task = self.loop.call_later(
                HTTP_FIRST_REQUEST_S, self.timeout_keep_alive_handler
            )

    class Quiet(Server):
        """A server that leaves signals to `run`."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    config = Config(
        app,
        http=Bounded,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=HTTP_CONCURRENCY_MAX,
        backlog=HTTP_BACKLOG,
        timeout_graceful_shutdown=shutdown_timeout_s,
    )
    return Quiet(config)

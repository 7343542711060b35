"""A server process: one address, until it is told to stop."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from zarrv3.errors import ConfigurationError
from zarrv3.opening.stores import StoreLike
from zarrv3_serve.application import Application, app


def serve(
    application: Application,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    grace: float = 10,
    ready: "socket.socket | None" = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; what is being answered then has `grace` seconds to be sent. From the main thread.

    Args:
        application: what `app` has made.
        host: the address to listen on.
        port: the port; 0 for one that is free.
        grace: how many seconds running requests have when the server is to stop.
        ready: a socket that listens already, instead of an address.
    """
    listening = ready or listen(host, port)
    before = signal.signal(signal.SIGTERM, _ended)
    server = _server(application, grace)
    try:
        server.run(sockets=[listening])
    except _Ended:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()
    if server.interrupted:  # the event loop may have taken for done what uvicorn raises again
        raise KeyboardInterrupt


@contextmanager
def served(store: StoreLike, *, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[str]:
    """A block in which a thread of this process serves a store; yields the URL. The options are those of `app`."""
    application = app(store, **options)
    with listen(host, port) as listening:
        server = _server(application, 10)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        name = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{name}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """A server that remembers that it was told to stop by Ctrl-C."""

    interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn does."""
        self.interrupted |= sig == signal.SIGINT
        super().handle_exit(sig, frame)


def _server(application: Application, grace: float) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            lifespan="on",
            access_log=False,  # the application has its own
            log_config=None,
            proxy_headers=False,  # anybody could claim to be somebody else
            server_header=False,
            timeout_graceful_shutdown=max(1, round(grace)),
            ws="none",
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host!r}, port {port}: {error.strerror}") from error


class _Ended(BaseException):
    """SIGTERM, which uvicorn raises again when all has been answered."""


def _ended(_: int, __: FrameType | None) -> None:
    raise _Ended

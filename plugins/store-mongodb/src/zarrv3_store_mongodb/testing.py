"""A server for tests and demonstrations: SecantusDB, MongoDB's protocol over WiredTiger, from its wheel."""

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from zarrv3.errors import StoreUnavailableError

START = """
import json, sys
from secantus import SecantusDBServer
server = SecantusDBServer(port=int(sys.argv[1]), storage_path=sys.argv[2], **json.loads(sys.argv[3]))
server.start()
server.wait()
"""


class Server:
    """A server process of our own, on a port; it soon undoes the transactions of clients that died.

    Args:
        folder: where its data and its log go.
        options: of `SecantusDBServer`.
    """

    def __init__(self, folder: str, **options: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder = folder
        self.options: dict[str, Any] = {"transaction_lifetime_seconds": 3, **options}
        self.url = f"mongodb://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, again on the same port and data, and wait until it answers."""
        arguments = [str(self.port), str(Path(self.folder, "data")), json.dumps(self.options)]
        with Path(self.folder, "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own text
                [sys.executable, "-c", START, *arguments], stdout=log, stderr=log, cwd=self.folder
            )
        end = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise StoreUnavailableError(
                    f"the server does not start: {Path(self.folder, 'log').read_text()}"
                )

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """A plain pymongo client."""
        return MongoClient(self.url, **options)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        with self.client(serverSelectionTimeoutMS=300) as client, suppress(PyMongoError):
            client.admin.command("hello")
            return True
        return False


@contextmanager
def server() -> Iterator[str]:
    """The URL of a new server, which is stopped at the end."""
    if find_spec("secantus") is None:
        raise ImportError("a MongoDB server for tests is in the package 'secantusdb': pip install secantusdb")
    with tempfile.TemporaryDirectory(prefix="zarrv3-mongodb-", ignore_cleanup_errors=True) as folder:
        started = Server(folder)
        try:
            yield f"{started.url}/example"
        finally:
            started.kill()

"""Servers for the tests: moto's S3, Azurite, and web servers with and without ranges."""

import base64
import functools
import hashlib
import hmac
import http.server
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.utils import formatdate
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from zarrv3_store_obstore import ObjectStore
from zarrv3_store_obstore.testing import make_bucket, moto

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""What every Azurite has; Microsoft's documentation says so."""


class S3Server:
    """A server of our own, and what it was asked."""

    def __init__(self, address: str, log: Path) -> None:
        self.address = address
        self.bucket = make_bucket(address)
        self.log = log
        self.options: dict[str, Any] = {
            "endpoint_url": f"http://{address}",
            "conditional_writes": True,
            "key": "zarrv3-key",
            "secret": "zarrv3-secret",
        }

    def requests(self, call: Callable[[], object]) -> list[str]:
        """What a call asks of the server: one line a request."""
        before = len(self.log.read_text().splitlines())
        call()
        return self.log.read_text().splitlines()[before:]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server."""
    log = tmp_path_factory.mktemp("moto") / "log"
    log.touch()
    with moto(log) as address:
        yield S3Server(address, log)


@pytest.fixture
def s3_store(s3: S3Server) -> Callable[..., ObjectStore]:
    """Opens a folder in the bucket that nobody else has; every call the same one."""
    return partial(ObjectStore, f"s3://{s3.bucket}/test-{uuid.uuid4().hex}", **s3.options)


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """The address of Microsoft's emulator, which npm installs; the first run on a machine fetches it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("Azurite comes with npm, which is not on this machine")
    fcntl = pytest.importorskip("fcntl", reason="what installs Azurite once waits for a lock of POSIX")
    folder = Path(__file__).parents[3] / ".nox" / "azurite"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", folder, "azurite@3"]
            installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            if installed.returncode:
                pytest.skip(f"npm cannot install Azurite here: {installed.stderr[-300:]}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--blobPort", str(port), "--inMemoryPersistence", "--silent", "--skipApiVersionCheck"]
    process = subprocess.Popen(
        [program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.05)
        else:
            return


def make_container(address: str) -> str:
    """Make a container on an Azurite; returns its name."""
    name, date, version = f"c{uuid.uuid4().hex}", formatdate(usegmt=True), "2021-08-06"
    signed = "\n".join(
        ["PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{version}", f"/{ACCOUNT}/{ACCOUNT}/{name}"]
    )
    text = f"{signed}\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Length": "0",
    }
    connection = HTTPConnection(address, timeout=30)
    try:
        connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
    finally:
        connection.close()
    return name


@pytest.fixture
def azure_store(azurite: str) -> Callable[..., ObjectStore]:
    """Opens a folder in a container that nobody else has; every call the same one."""
    return partial(
        ObjectStore,
        f"az://{make_container(azurite)}/test",
        account_name=ACCOUNT,
        account_key=KEY,
        endpoint_url=f"http://{azurite}/{ACCOUNT}",
        conditional_writes=True,
    )


@pytest.fixture(scope="session")
def google() -> Iterator[str]:
    """The address of a server that speaks the XML API of Google's storage."""
    script = Path(__file__).with_name("google_server.py")
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def google_store(google: str) -> Callable[..., ObjectStore]:
    """Opens a folder in a bucket that nobody else has; every call the same one."""
    return partial(
        ObjectStore,
        f"gs://bucket/test-{uuid.uuid4().hex}",
        endpoint_url=google,
        anon=True,
        conditional_writes=True,
    )


_WITH_RANGES = """
import sys
from aiohttp import web
app = web.Application()
app.router.add_static("/", sys.argv[1])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None)
"""


@pytest.fixture(scope="session", params=["ranges", "no ranges"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The URL of a web server that knows ranges, or of one that does not, and the folder that it serves."""
    folder = tmp_path_factory.mktemp("served")
    if request.param == "ranges":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-c", _WITH_RANGES, folder, str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}", folder
        finally:
            process.kill()
            process.wait()
        return
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{plain.server_port}", folder
        plain.shutdown()


@pytest.fixture
def web(server: tuple[str, Path]) -> tuple[str, Path]:
    """The URL of a new folder on a web server, and the folder."""
    url, folder = server
    name = uuid.uuid4().hex
    (folder / name).mkdir()
    return f"{url}/{name}", folder / name


@contextmanager
def _answering(status: int, headers: dict[str, str], body: str = "") -> Iterator[tuple[str, list[Any]]]:
    """The address of a server that always answers the same, and the heads of the requests that it got."""
    seen: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            seen.append(self.headers)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            for name, text in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_HEAD = do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - what the base class looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


@pytest.fixture
def answering() -> Callable[..., AbstractContextManager[tuple[str, list[Any]]]]:
    """Starts a server for a block that answers every request with a status, headers and a body."""
    return _answering


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""

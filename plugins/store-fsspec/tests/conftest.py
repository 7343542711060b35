"""Servers for the tests: moto's S3 server, an FTP server and web servers, and the user's own S3."""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import asyncssh
import pytest
import smbclient
from cheroot.wsgi import Server as WSGIServer
from s3fs import S3FileSystem
from webdav4.fsspec import WebdavFileSystem
from wsgidav.wsgidav_app import WsgiDAVApp

import zarrv3
from zarrv3_store_fsspec import FSStore

OWN = "ZARRV3_TEST_S3_ENDPOINT"
"""An environment variable: the endpoint of an S3 server to test instead; keys as boto finds them."""
OWN_BUCKET = "ZARRV3_TEST_S3_BUCKET"
"""The bucket there that may be written to."""

_MOTO = """
import sys
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

class Quiet(WSGIRequestHandler):
    def log(self, *_): pass

moto = create_backend_app("s3")
log = open(sys.argv[1], "a", buffering=1)

def app(environ, start):
    payer = environ.get("HTTP_X_AMZ_REQUEST_PAYER", "")
    log.write(environ["REQUEST_METHOD"] + " " + environ["PATH_INFO"] + "?" + environ["QUERY_STRING"] + payer + "\\n")
    return moto(environ, start)

server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=Quiet)  # one at a time: moto checks, then acts
print(server.port, flush=True)
server.serve_forever()
"""


class S3Server:
    """A server of our own, and what it was asked."""

    def __init__(self, endpoint: str, bucket: str, log: Path | None) -> None:
        self.bucket = bucket
        self.log = log
        self.options: dict[str, Any] = {"endpoint_url": endpoint, "conditional_writes": True}
        if log is not None:
            self.options |= {"key": "zarrv3-key", "secret": "zarrv3-secret"}

    def requests(self, call: Callable[[], object]) -> list[str]:
        """What a call asks of the server: one line a request."""
        assert self.log is not None
        before = len(self.log.read_text().splitlines())
        call()
        return self.log.read_text().splitlines()[before:]

    def plain(self) -> Any:
        """A file system of s3fs with nothing of ours."""
        options = {k: v for k, v in self.options.items() if k != "conditional_writes"}
        return S3FileSystem(**options, use_listings_cache=False)


_LONG = (
    "killed_writers",
    "processes_at_once",
    "counting_processes",
    "threads_in_different_folders",
    "failing_store",
)
"""Tests of the kit that take long over moto's server, which answers one request at a time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long ones."""
    for item in items:
        if "TestS3FSStore" in item.nodeid and item.name.removeprefix("test_") in _LONG:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _fsspec() -> Iterator[None]:
    """Plain `s3://` is fsspec's here, whatever else is installed."""
    with zarrv3.config.set(prefer="fsspec"):
        yield


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The user's server, or ours."""
    own = os.environ.get(OWN)
    if own:
        yield S3Server(own, os.environ[OWN_BUCKET], None)
        return
    log = tmp_path_factory.mktemp("moto") / "log"
    log.touch()
    process = subprocess.Popen(
        [sys.executable, "-c", _MOTO, str(log)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    server = S3Server(f"http://127.0.0.1:{process.stdout.readline().strip()}", "bucket", log)
    server.plain().mkdir(server.bucket)
    yield server
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def folder(s3: S3Server) -> str:
    """A URL in the bucket that nobody else has."""
    return f"s3://{s3.bucket}/test-{uuid.uuid4().hex}"


@pytest.fixture
def s3_store(s3: S3Server, folder: str) -> Callable[..., FSStore]:
    """Opens a store there."""
    return partial(FSStore, folder, **s3.options)


# ---------------------------------------------------------------- the web


class Web(BaseHTTPRequestHandler):
    """A server of a few values that treats ranges as its `manner` says."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    manner: str
    seen: list[tuple[str, str, str | None]]
    logins: list[str | None]

    def do_GET(self) -> None:
        """A value, or a part of it."""
        wanted = self.headers.get("Range")
        self.seen.append((self.command, unquote(self.path), wanted))
        self.logins.append(self.headers.get("Authorization"))
        value = self.files.get(unquote(self.path))
        if self.manner.isdecimal():
            self._answer(int(self.manner), b"no value")
        elif value is None:
            self._answer(404, b"not here")
        elif wanted is None or self.manner == "ignores":
            self._answer(200, value)
        else:
            self._part(value, wanted.removeprefix("bytes="))

    do_HEAD = do_GET  # noqa: N815 - what the base class looks for

    def _part(self, value: bytes, wanted: str) -> None:
        first, _, last = wanted.partition("-")
        start = int(first) if first else max(0, len(value) - int(last))
        stop = min(len(value), int(last) + 1 if first and last else len(value))
        if self.manner == "shifts":
            start, stop = 0, stop - start
        if start >= stop:
            self._answer(416, b"", {"Content-Range": f"bytes */{len(value)}"})
        else:
            size = "*" if self.manner == "knows no size" else len(value)
            self._answer(206, value[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{size}"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        if self.manner != "has no etags":
            self.send_header("ETag", f'"{hash(self.files.get(unquote(self.path)))}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class WebServer:
    """A running server."""

    def __init__(self, manner: str, files: dict[str, bytes]) -> None:
        self.seen: list[tuple[str, str, str | None]] = []
        self.logins: list[str | None] = []
        members = {"manner": manner, "files": files, "seen": self.seen, "logins": self.logins}
        handler = type("Handler", (Web,), members)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def web() -> Iterator[Callable[..., WebServer]]:
    """Start a web server with a manner and files."""
    started: list[WebServer] = []

    def start(manner: str, files: dict[str, bytes]) -> WebServer:
        started.append(WebServer(manner, files))
        return started[-1]

    yield start
    for server in started:
        server.stop()


# ---------------------------------------------------------------- servers of files


@pytest.fixture(scope="session")
def webdav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavFileSystem]:
    """A WebDAV server, which refuses to move a file over another one."""
    settings = {
        "provider_mapping": {"/": str(tmp_path_factory.mktemp("webdav"))},
        "simple_dc": {"user_mapping": {"*": True}},
        "verbose": 0,
        "logging": {"enable_loggers": []},
    }
    logging.getLogger("wsgidav").disabled = True
    server = WSGIServer(("127.0.0.1", 0), WsgiDAVApp(settings))
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    fs = WebdavFileSystem(f"http://127.0.0.1:{server.bind_addr[1]}", skip_instance_cache=True)
    yield fs
    fs.client.http.close()
    server.stop()
    thread.join()


@pytest.fixture(scope="session")
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a folder that Samba shows, where it is installed and may be started."""
    if shutil.which("smbd") is None or os.geteuid() != 0:
        pytest.skip("smbd (Debian: samba) is not installed, or it may not be started by this user")
    place = tmp_path_factory.mktemp("samba")
    folders = ("private", "lock", "state", "cache", "pid", "ncalrpc")
    for name in ("share", *folders):
        (place / name).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (place / "conf").write_text(
        f"""
        [global]
        server role = standalone server
        interfaces = 127.0.0.1
        bind interfaces only = yes
        smb ports = {port}
        {chr(10).join(f"{name} dir{'ectory' if name in {'lock', 'state', 'cache', 'pid'} else ''} = {place / name}" for name in folders)}
        log file = {place / "log"}
        disable netbios = yes
        load printers = no
        [data]
        path = {place / "share"}
        read only = no
        force user = root
        """
    )
    conf = ["-s", str(place / "conf")]
    login = ["-a", "-u", "root", "-t"]
    subprocess.run(["pdbedit", *conf, *login], input=b"s3cret\ns3cret\n", capture_output=True, check=True)
    server = subprocess.Popen(["smbd", *conf, "-F"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    yield f"smb://root:s3cret@127.0.0.1:{port}/data"
    smbclient.reset_connection_cache(fail_on_error=False)
    server.communicate()  # it ends with its input


class SSHServer(NamedTuple):
    """A server, the folder that it shows, and a file with a key that it takes."""

    place: str
    folder: Path
    key: Path


class _SSH(asyncssh.SSHServer):
    """Who may come in, beside those with a key; knows who has come."""

    def __init__(self, come: list[asyncssh.SSHServerConnection]) -> None:
        self._come = come

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Take note of a connection."""
        self._come.append(conn)

    def password_auth_supported(self) -> bool:
        """Whether there are passwords."""
        return True

    def validate_password(self, username: str, password: str) -> bool:
        """Whether that is the one."""
        return (username, password) == ("eve@lab.org", "p@ss#1/%41")


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[SSHServer]:
    """A server of files over SSH."""
    folder, key = tmp_path / "files", tmp_path / "key"
    folder.mkdir()
    own = asyncssh.generate_private_key("ssh-ed25519")
    own.write_private_key(key)
    (tmp_path / "known").write_bytes(own.export_public_key())
    come: list[asyncssh.SSHServerConnection] = []
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=partial(_SSH, come),
            server_host_keys=[own],
            authorized_client_keys=str(tmp_path / "known"),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=bytes(folder)),
        )

    async def close() -> None:
        server.close()
        await server.wait_closed()
        for connection in come:
            connection.abort()
            await connection.wait_closed()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    yield SSHServer(f"127.0.0.1:{server.get_port()}", folder, key)
    asyncio.run_coroutine_threadsafe(close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# ---------------------------------------------------------------- FTP


class FTPServer(NamedTuple):
    """A server and the folder that it shows."""

    url: str
    folder: Path


@pytest.fixture(scope="session")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FTPServer]:
    """An FTP server."""
    program = """
import sys, logging
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer
logging.disable()
FTPHandler.authorizer = DummyAuthorizer()
for name, word in (("user", "s3cret-ftp"), ("eve@lab.org", "p@ss#1/%41")):
    FTPHandler.authorizer.add_user(name, word, sys.argv[1], perm="elradfmwMT")
server = ThreadedFTPServer(("127.0.0.1", 0), FTPHandler)
print(server.address[1], flush=True)
server.serve_forever(0.01)
"""
    place = tmp_path_factory.mktemp("ftp")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = f"ftp://user:s3cret-ftp@127.0.0.1:{process.stdout.readline().strip()}"
    (place / "data" / "f").mkdir(parents=True)
    (place / "data" / "k").write_bytes(b"value")
    (place / "data" / "f" / "k").write_bytes(bytes(range(100)))
    yield FTPServer(url, place)
    process.kill()
    process.wait()
    process.stdout.close()

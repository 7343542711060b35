"""A server for tests and demonstrations: moto's S3, over real HTTP."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

_MOTO = """
import sys
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

class Quiet(WSGIRequestHandler):
    def log(self, *_): pass

moto = create_backend_app("s3")
log = open(sys.argv[1], "a", buffering=1) if sys.argv[1:] else None

def app(environ, start):
    if log:
        who = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/20")[0]
        token, payer = (environ.get(f"HTTP_X_AMZ_{name}", "") for name in ("SECURITY_TOKEN", "REQUEST_PAYER"))
        path = environ["PATH_INFO"] + "?" + environ["QUERY_STRING"]
        log.write(" ".join(filter(None, (environ["REQUEST_METHOD"], path, who, token, payer))) + "\\n")
    return moto(environ, start)

server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=Quiet)  # one at a time: moto checks, then acts
print(server.port, flush=True)
server.serve_forever()
"""


@contextmanager
def moto(log: Path | None = None) -> Iterator[str]:
    """Start a server in a process of its own; yields its address. The log gets a line for each request: what is asked for, and by whom."""
    process = subprocess.Popen(  # noqa: S603 - a program of this module
        [sys.executable, "-c", _MOTO, *([] if log is None else [str(log)])],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def make_bucket(address: str) -> str:
    """Make a bucket on a server; returns its name."""
    name = f"zarrv3-{uuid.uuid4().hex}"
    connection = HTTPConnection(address, timeout=30)
    try:
        connection.request("PUT", f"/{name}", headers={"Content-Length": "0"})
        connection.getresponse().read()
    finally:
        connection.close()
    return name


@contextmanager
def server() -> Iterator[str]:
    """Start a server; yields a URL with a new bucket; the server and its data go at the end."""
    with moto() as address:
        place = f"obstore+s3://{make_bucket(address)}/example.zarr"
        yield f"{place}?key=testing&secret=testing&endpoint_url=http://{address}&conditional_writes=true"

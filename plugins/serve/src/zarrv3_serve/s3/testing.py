"""A server for tests and demonstrations: a store as S3, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SERVER = """
import json, socket, sys
import uvicorn, zarrv3
from zarrv3_serve.s3 import s3_app

app = s3_app(zarrv3.open_store(sys.argv[1]), **json.loads(sys.argv[2]))
listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(app, access_log=False, log_config=None, server_header=False)
uvicorn.Server(config).run(sockets=[listening])
"""


@contextmanager
def server(url: str, **options: Any) -> Iterator[str]:
    """Serve the store at a URL, with the options of `s3_app`; yields the server's URL."""
    process = subprocess.Popen(  # noqa: S603 - a program of this module
        [sys.executable, "-c", _SERVER, url, json.dumps(options)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

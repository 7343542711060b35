"""zarrita.js: run by Node, over HTTP, against stores of this project that a small server of the test serves.

The server is what any web server does for a folder: GET with byte ranges, HEAD, and for writing PUT.
"""

import atexit
import base64
import json
import re
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from interop_peers import Case

import zarrv3
from zarrv3 import ByteRange

HERE = Path(__file__).parent / "zarrita"

HAS_NODE = shutil.which("node") is not None and shutil.which("npm") is not None


@cache
def node_version() -> int:
    """The major version of Node; a large one without it, where no gap of a version is looked at."""
    if not HAS_NODE:
        return 999
    found = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(found.removeprefix("v").split(".")[0])


class ZarritaError(Exception):
    """What zarrita.js has thrown."""


class _Handler(BaseHTTPRequestHandler):
    """One store below `/`, by the number that is the first part of a path."""

    stores: dict[str, zarrv3.BaseStore]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a value or a range of it."""
        store, key = self._place()
        given = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if given is None:
            self._answer(200, store.get(key))
            return
        first, last = given.groups()
        wanted = ByteRange(int(first), int(last) + 1) if first else ByteRange(-int(last), None)
        (value,) = store.get_many([(key, wanted)])
        self._answer(206, value)

    def do_HEAD(self) -> None:
        """Answer with a length."""
        self.do_GET()

    def do_PUT(self) -> None:
        """Store a value."""
        store, key = self._place()
        store[key] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"")

    def _place(self) -> tuple[zarrv3.BaseStore, str]:
        _, number, key = unquote(self.path).split("/", 2)
        return self.stores[number], key

    def _answer(self, status: int, value: Any) -> None:
        body = b"" if value is None else bytes(value)
        self.send_response(404 if value is None else status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Takes as many connections at once as Node opens."""

    daemon_threads = True
    request_queue_size = 512


class _Node:
    """A process of Node with zarrita.js in it, and the server it asks; one a test process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="zarrita-"))
        for name in ("package.json", "peer.mjs"):
            shutil.copy(HERE / name, self.folder)
        install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
        subprocess.run(install, cwd=self.folder, check=True, capture_output=True, timeout=300)
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"stores": {}}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.process = subprocess.Popen(
            ["node", "peer.mjs"], cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.lock = threading.Lock()
        atexit.register(self.close)

    def ask(self, store: zarrv3.BaseStore, **command: Any) -> dict[str, Any]:
        """The answer to a command about a store."""
        stores = self.server.RequestHandlerClass.stores  # type: ignore[attr-defined]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self.lock:
            number = str(len(stores))
            stores[number] = store
            url = f"http://127.0.0.1:{self.server.server_port}/{number}"
            self.process.stdin.write(json.dumps({**command, "url": url}, default=repr) + "\n")
            self.process.stdin.flush()
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ZarritaError(f"{answer['error']}: {answer['text']}")
        return answer

    def close(self) -> None:
        """End both."""
        self.server.shutdown()
        self.server.server_close()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


node = cache(_Node)
"""The process, started when it is first needed."""


def decoded(answer: dict[str, Any]) -> np.ndarray:
    """The array that zarrita.js has read."""
    shape = tuple(answer["shape"])
    dtype = np.dtypes.StringDType() if answer["dtype"] == "string" else np.dtype(answer["dtype"])
    if not shape:
        (item,) = answer["items"]
        return np.array({"true": True, "false": False}.get(item, item)).astype(dtype)
    if "items" in answer:
        return np.array(answer["items"], dtype).reshape(shape)
    flat = np.frombuffer(base64.b64decode(answer["data"]), dtype)
    strides = [step * dtype.itemsize for step in answer["stride"]]
    return np.lib.stride_tricks.as_strided(flat, shape, strides).copy()


class Zarrita:
    """zarrita.js."""

    name = "zarrita"

    def write(self, folder: Path, case: Case) -> None:
        """Write the values as a document says, which is there already."""
        (folder / "zarr.json").write_text(json.dumps(case.document))
        self.assign(folder, case.values)

    def assign(self, folder: Path, values: np.ndarray) -> None:
        """Write all values of an array that is there."""
        given: dict[str, Any] = (
            {"items": values.reshape(-1).tolist()}
            if values.dtype.kind in "OTU"
            else {"data": base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()}
        )
        self.ask(folder, do="write", **given)

    def read(self, folder: Path) -> np.ndarray:
        """The values of the array at the root of a folder."""
        return decoded(self.ask(folder, do="read"))

    def ask(self, folder: Path, **command: Any) -> dict[str, Any]:
        """The answer of zarrita.js to a command about the folder, served."""
        return node().ask(zarrv3.open_store(str(folder)), **command)

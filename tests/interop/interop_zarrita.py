"""zarrita.js: run by Node, over HTTP, against stores of this project that `zarrv3-serve` serves."""

import atexit
import base64
import json
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from interop_peers import Case

import zarrv3
import zarrv3_serve
from zarrv3_serve.running import listen

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


TOKEN = "of zarrita"
"""What `peer.mjs` brings to be allowed to write."""


class _Stores(dict[str, zarrv3_serve.Application]):
    """An application in which stores are mounted, each below the number that is the first part of a path."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let the store's own application answer."""
        number = scope["path"].split("/")[1]
        await self[number]({**scope, "root_path": f"/{number}"}, receive, send)


class _Node:
    """A process of Node with zarrita.js in it, and the server it asks; one a test process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="zarrita-"))
        for name in ("package.json", "peer.mjs"):
            shutil.copy(HERE / name, self.folder)
        install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
        subprocess.run(install, cwd=self.folder, check=True, capture_output=True, timeout=300)
        self.stores = _Stores()
        self.socket = listen("127.0.0.1", 0)
        self.server = uvicorn.Server(
            uvicorn.Config(self.stores, lifespan="off", access_log=False, log_config=None)
        )
        threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True).start()
        self.process = subprocess.Popen(
            ["node", "peer.mjs"], cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.lock = threading.Lock()
        atexit.register(self.close)

    def ask(self, store: zarrv3.BaseStore, **command: Any) -> dict[str, Any]:
        """The answer to a command about a store."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self.lock:
            number = str(len(self.stores))
            self.stores[number] = zarrv3_serve.app(store, write=True, token=TOKEN, public=True, workers=2)
            url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/{number}"
            self.process.stdin.write(json.dumps({**command, "url": url}, default=repr) + "\n")
            self.process.stdin.flush()
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ZarritaError(f"{answer['error']}: {answer['text']}")
        return answer

    def close(self) -> None:
        """End both."""
        self.server.should_exit = True
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

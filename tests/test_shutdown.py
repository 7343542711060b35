"""The interpreter ends while threads are still writing: it ends, by no signal, and what was acknowledged is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zarrv3
from zarrv3 import registry

OPENING = "from zarrv3 import open_store; store = open_store(sys.argv[1])"
FOREIGN = """
from zarr.storage import LocalStore
from zarrv3_bridge_zarr import from_zarr_store
store = from_zarr_store(LocalStore(sys.argv[1].removeprefix("file://")))
"""
PROGRAM = """
import os, sys, threading
from zarrv3.errors import StoreError
%s

def write(name, count):
    for number in range(count):
        store[f"{name}/{number}"] = b"%%d" %% number
        os.write(1, f"{name}/{number}\\n".encode())

def write_on(name):
    try:
        write(name, 1_000_000)
    except StoreError:
        pass  # told

for number in range(2):
    threading.Thread(target=write_on, args=[f"daemon-{number}"], daemon=True).start()
    threading.Thread(target=write, args=[f"waited-{number}", %d]).start()
write("main", 8)
"""


def kinds() -> list[str]:
    """The stores that need no server, obstore with its own, and a store of zarr-python."""
    found = {
        cls.kind: cls
        for cls in (registry.load("stores", plugin.name) for plugin in registry.plugins("stores"))
    }
    return [*(kind for kind, cls in found.items() if cls.example_url("/folder")), "obstore", "zarr-python"]


@pytest.fixture(params=kinds())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str, int]]:
    """How the program opens its store, the URL by which others find it, and how often threads write that are waited for.

    zarr-python's own stores write by a pool, which `concurrent.futures` closes as soon as the main thread has ended.
    """
    if request.param == "zarr-python":
        yield FOREIGN, f"file://{tmp_path}/x.zarr", 0
    elif request.param == "obstore":
        with registry.load("stores", "obstore").example_server() as url:
            yield OPENING, url, 8
    else:
        yield OPENING, registry.load("stores", request.param).example_url(str(tmp_path)), 8


@pytest.mark.parametrize("times", [1, pytest.param(40, marks=pytest.mark.slow)])
def test_the_interpreter_ends_while_threads_write(place: tuple[str, str, int], times: int) -> None:
    """Threads that it waits for and others, which go on and on: it ends as if there were none, and nothing acknowledged is lost."""
    opening, url, writes = place
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM % (opening, writes), url],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, "")
        acknowledged = done.stdout.split()
        assert len([key for key in acknowledged if not key.startswith("daemon")]) == 8 + 2 * writes
        with zarrv3.open_store(url) as store:
            if store.capabilities.persistent and store.capabilities.durable:
                lost = [key for key in acknowledged if store.get(key) != key.rpartition("/")[2].encode()]
                assert lost == []

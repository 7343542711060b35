"""Every backend of the repository as a fixture, and what lets zarr-python's asynchronous tests run."""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from zarrv3 import BaseStore, open_store, registry

LOCAL = ("memory", "directory", "zip", "sqlite", "lmdb", "dbm", "fsspec")
SERVED = ("redis", "mongodb", "postgresql")
OWN = {
    "redis": "ZARRV3_TEST_REDIS_URL",
    "mongodb": "ZARRV3_TEST_MONGODB_URL",
    "postgresql": "ZARRV3_TEST_POSTGRESQL_URL",
}
"""Environment variables: the URL of a server to test instead, with a place that may be emptied."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in an event loop of its own: zarr-python's suite has many."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def served() -> Iterator[Callable[[str], str]]:
    """The URL of a server, started when it is first asked for and stopped in the end."""
    urls: dict[str, str] = {}
    with ExitStack() as servers:

        def url(name: str) -> str:
            if name not in urls:
                server = registry.load("stores", name).example_server
                urls[name] = os.environ.get(OWN[name]) or servers.enter_context(server())
            return urls[name]

        yield url


Opener = Callable[[], BaseStore]


@pytest.fixture
def opener_of(served: Callable[[str], str], tmp_path: Path) -> Callable[[str], Opener]:
    """What opens one empty place of a backend, as a new store object each time."""

    def make(name: str) -> Opener:
        if name in SERVED:
            opener = partial(open_store, served(name))
            with opener() as store:
                store.clear()
            return opener
        return partial(open_store, registry.load("stores", name).example_url(str(tmp_path)))

    return make


@pytest.fixture(params=[*LOCAL, *SERVED])
def opener(request: pytest.FixtureRequest, opener_of: Callable[[str], Opener]) -> Opener:
    """What opens one empty place, for every backend."""
    return opener_of(request.param)

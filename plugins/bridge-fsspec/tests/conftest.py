"""What lets zarr-python's asynchronous tests run, and a server."""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from zarrv3 import registry

OWN = "ZARRV3_TEST_REDIS_URL"
"""An environment variable: the URL of a server to test instead, with a database that may be emptied."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in an event loop of its own: zarr-python's suite has many."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The patterns of fsspec's suite, some 150 tests, are run on one store; on the other one they are slow tests."""
    for item in items:
        if "glob_edge_cases[directory" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[Callable[[], str]]:
    """What starts a server when it is first asked for, and gives its URL: that of a socket, which needs `zarrv3://` before it."""
    with ExitStack() as servers:
        urls: list[str] = []

        def url() -> str:
            if not urls:
                server = registry.load("stores", "redis").example_server
                urls.append(f"zarrv3://{os.environ.get(OWN) or servers.enter_context(server())}")
            return urls[0]

        yield url

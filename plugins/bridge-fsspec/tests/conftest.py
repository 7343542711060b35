"""What lets zarr-python's asynchronous tests run, and servers: the user's own (`ZARRV3_TEST_REDIS_URL`, …), or ours."""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from urllib.parse import urlsplit

import pytest
from redis import Redis

from zarrv3 import registry


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
def server_url() -> Iterator[Callable[[str], str]]:
    """What starts the server of a kind of store when it is first asked for, and gives its URL.

    MySQL's is started where it is installed.
    """
    with ExitStack() as servers:

        @cache
        def url(kind: str) -> str:
            if own := os.environ.get(f"ZARRV3_TEST_{kind.upper()}_URL"):
                return f"{own}/test" if kind == "mongodb" else own
            if kind != "mysql":
                started = servers.enter_context(registry.load("stores", kind).example_server())
                return by_port(started) if kind == "redis" else str(started)
            testing = pytest.importorskip("zarrv3_store_sql.testing")
            if not testing.program("mariadbd"):
                pytest.skip(
                    "ZARRV3_TEST_MYSQL_URL names no MySQL or MariaDB server, and mariadbd is not installed"
                )
            return str(servers.enter_context(testing.mariadb()))

        yield url


def by_port(url: str) -> str:
    """The URL `redis://…` of a server that is known by its socket."""
    parts = urlsplit(url)
    with Redis(unix_socket_path=parts.path) as client:
        port = client.config_get("port")["port"]
    return f"redis://127.0.0.1:{port}?{parts.query}"

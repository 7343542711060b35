"""A cluster of two worker processes, and stores of every kind that workers may share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import dask
import pytest
from distributed import Client, LocalCluster

import zarrv3
from zarrv3.store.base import BaseStore
from zarrv3_store_redis.testing import server as redis_server
from zarrv3_store_sql.testing import server as postgresql_server

WORKERS = 2

MEMORY = 400 * 2**20
"""The bytes that a worker may use before it is killed."""


class Clusters:
    """One cluster of two processes with one thread each, made when it is first needed, and again when it has lost one."""

    def __init__(self, folder: Path) -> None:
        self.settings = {
            "distributed.comm.timeouts.connect": "60s",
            "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": 1,
            "distributed.scheduler.allowed-failures": 10,
            "distributed.logging.distributed": "critical",
            "temporary-directory": str(folder),
        }
        self.cluster: LocalCluster | None = None

    def whole(self) -> LocalCluster:
        """The cluster, with both of its workers."""
        if self.cluster is not None and len(self.cluster.scheduler_info["workers"]) < WORKERS:
            self.close()
        if self.cluster is None:
            with dask.config.set(self.settings):
                self.cluster = LocalCluster(
                    n_workers=WORKERS,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=MEMORY,
                    dashboard_address=":0",
                )
        return self.cluster

    def close(self) -> None:
        """End the processes."""
        if self.cluster is not None:
            self.cluster.close()
            self.cluster = None


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """The cluster of this run; its processes go at the end."""
    made = Clusters(tmp_path_factory.mktemp("dask"))
    yield made
    made.close()


@pytest.fixture
def client(clusters: Clusters) -> Iterator[Client]:
    """A client of the cluster, which computes what dask computes until the end of the test."""
    with dask.config.set(clusters.settings), Client(clusters.whole()) as made:
        yield made


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], str]]:
    """The URL of a server, started when it is first asked for."""
    with ExitStack() as stack:
        running: dict[str, str] = {}

        def url(name: str) -> str:
            if name not in running:
                start = {"redis": redis_server, "postgresql": postgresql_server}[name]
                running[name] = stack.enter_context(start())
            return running[name]

        yield url


@pytest.fixture
def new_store(servers: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[[str], BaseStore]]:
    """Open an empty place in a store of a kind; all are closed in the end."""
    with ExitStack() as stack:

        def new(backend: str) -> BaseStore:
            own = uuid4().hex
            if backend == "directory":
                url = f"file://{tmp_path}/{own}"
            elif backend == "sqlite":
                url = f"sqlite:///{tmp_path}/{own}.db"
            else:
                url = f"{servers(backend)}|prefix:{own}"
            return stack.enter_context(zarrv3.open_store(url))

        yield new

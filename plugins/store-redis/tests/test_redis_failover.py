"""Another server takes over while writers work; which one has the address is said by a link, as elsewhere by a name."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from zarrv3.errors import StoreUnavailableError
from zarrv3.testing.processes import PATIENCE
from zarrv3.testing.restarts import restarted
from zarrv3_store_redis import RedisStore


class Pair:
    """A server and its replica, and an address that leads to the former."""

    def __init__(self, new_server: Callable[..., Any], folder: Path) -> None:
        settings = {"repl-diskless-sync-delay": 0}
        self.master, self.replica = new_server(**settings), new_server(**settings)
        self.address = folder / "s"
        self._lead()
        self._follow()

    def hand_over(self) -> None:
        """Let the replica take over when it has everything; the master becomes the replica and keeps its connections."""
        with self.master.client() as admin:
            admin.execute_command("FAILOVER", "TO", "127.0.0.1", str(self.replica.port))
            self._wait(lambda: admin.info("replication")["role"] == "slave")
        self._swap()

    def crash(self) -> None:
        """Kill the master, and let the replica take over with what it has; the dead one comes back as its replica."""
        self.master.kill()
        with self.replica.client() as admin:
            admin.execute_command("REPLICAOF", "NO", "ONE")
        self._swap()
        self.replica.start()
        self._follow()

    def _swap(self) -> None:
        self.master, self.replica = self.replica, self.master
        self._lead()

    def _lead(self) -> None:
        link = self.address.with_name("new")
        link.symlink_to(self.master.socket)
        link.replace(self.address)

    def _follow(self) -> None:
        with self.replica.client() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", str(self.master.port))
            self._wait(lambda: admin.info("replication")["master_link_status"] == "up")

    @staticmethod
    def _wait(is_so: Callable[[], bool]) -> None:
        latest = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < latest
            time.sleep(0.01)


@pytest.fixture
def pair(new_server: Callable[..., Any]) -> Any:
    """A pair of its own, at an address that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="zv") as folder:
        yield Pair(new_server, Path(folder))


@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_a_server_that_hands_over(pair: Pair, rounds: int) -> None:
    """Writers go to the new master, nothing acknowledged is lost, and no swap is done twice."""
    opener = partial(RedisStore, url=f"unix://{pair.address}")
    assert restarted(opener, pair.hand_over, rounds).acknowledged >= 3 * rounds


def test_who_is_connected_to_the_old_server_finds_the_new_one(pair: Pair) -> None:
    """A call that the old server refuses, because it is a replica now, is done by the new one."""
    with RedisStore(url=f"unix://{pair.address}") as store:
        store["k"] = b"old"
        pair.hand_over()
        store["k"] = b"new"
        pair.hand_over()
        ((_, version),) = store.get_versioned(["k"])
        assert not store.swap_many({"k": (version, b"newer")})
        assert store["k"] == b"newer"


def test_a_server_that_dies(pair: Pair) -> None:
    """Writers go on with the replica, with errors of ours in between; what it had not got yet is lost, and nothing is done twice."""
    with RedisStore(url=f"unix://{pair.address}") as store:
        acknowledged = 0
        for number in range(1, 201):
            if number % 80 == 0:
                pair.crash()
            with suppress(StoreUnavailableError):
                ((value, version),) = store.get_versioned(["k"])
                count = int(bytes(value or b"0"))
                assert count < number
                acknowledged += not store.swap_many({"k": (version, b"%d" % (count + 1))})
        assert acknowledged > 100
        assert int(store["k"]) <= 200

"""The command, and what a server process does when it is asked to stop, forks, or is asked for more than it can do at once."""

import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3_serve import served
from zarrv3_serve.workers import Workers

Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `zarrv3 serve`, and read from its log what it says of itself."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **variables: str) -> tuple[subprocess.Popen[str], int]:
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "zarrv3_cli",
            "serve",
            *map(str, arguments),
            "--port",
            "0",
        ]
        environment = {**os.environ, **variables}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if match := re.match(r"serving .* at http://[^/]*:(\d+)/$", line):
                process.args = lines  # what was said
                return process, int(match[1])
        raise AssertionError(lines)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_stops_when_it_has_answered(start: Start, tmp_path: Path) -> None:
    """On SIGTERM a server sends what was asked for before, takes nothing new, and ends with 0; its log has a line a request."""
    store = zarrv3.open_store(str(tmp_path))
    value = os.urandom(30_000_000)
    store["a/v"] = value
    process, port = start(f"{tmp_path}|zarr3:a")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/v?token=x")
    answer = connection.getresponse()
    begun = answer.read(1000)
    process.send_signal(signal.SIGTERM)
    assert begun + answer.read() == value
    connection.close()
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.search(r'INFO 127.0.0.1 "GET /v" 200 30000000 [\d.]+ ms\n', log), log
    assert "token" not in log


def test_writing_needs_the_token_that_is_shown(start: Start, tmp_path: Path) -> None:
    """With `--write` a token is made and shown, one is taken from the environment; on this machine reading needs none. Ctrl-C ends."""
    process, port = start(f"sqlite:///{tmp_path}/a.db", "--write", ZARRV3_SERVE_TOKEN="")
    said: Any = process.args
    (token,) = re.findall(r"^token: (\S+)$", said[0])
    for given in ("wrong", token):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/a/v", b"1", {"Authorization": f"Bearer {given}"}, method="PUT"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert (given, answer.status) == (token, 204)
        except urllib.error.HTTPError as error:
            error.close()
            refused = given, error.code
    assert refused == ("wrong", 401)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/a/v", timeout=60) as answer:
        assert answer.read() == b"1"
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130
    assert token not in log


def test_an_address_that_is_taken(start: Start) -> None:
    """A port that another program listens on is an error of one line."""
    with served(zarrv3.open_store()) as url:
        port = url.rpartition(":")[2]
        command = [sys.executable, "-m", "zarrv3_cli", "serve", "memory://x", "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"zarrv3: cannot listen on '127.0.0.1', port {port}: ")
    assert ended.stderr.count("\n") == 1


class Counted:
    """A driver that counts how many calls there are at once, and lets them end when so many have come."""

    capabilities = zarrv3.Capabilities()

    def __init__(self, number: int) -> None:
        self.together = threading.Barrier(number)
        self.lock = threading.Lock()
        self.now = self.most = 0

    def get_many(self, requests: Any) -> Any:
        """Answer when others have come too."""
        if requests[0].key != "v":  # what is there is looked at before
            return [None] * len(requests)
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.together.wait(60)
        with self.lock:
            self.now -= 1
        return [b"x"] * len(requests)


def test_calls_at_once() -> None:
    """The store gets as many calls at once as there are workers, however many requests there are."""
    driver = Counted(3)
    with served(driver, workers=3, requests=9) as url:
        found: list[int] = []

        def ask() -> None:
            with urllib.request.urlopen(f"{url}/v", timeout=60) as answer:
                found.append(answer.status)

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [200] * 12
    assert driver.most == 3


FORKED = """
import asyncio, os, zarrv3, zarrv3_serve

store = zarrv3.open_store()
store["v"] = b"x"
app = zarrv3_serve.app(store)

def ask():
    said = []

    async def send(message):
        said.append(message)

    scope = {"type": "http", "method": "GET", "path": "/v", "raw_path": b"/v", "headers": [(b"host", b"localhost")]}
    asyncio.run(app(scope, None, send))
    return said[0]["status"]

assert ask() == 200
if (child := os.fork()) == 0:
    os._exit(ask() - 200)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forks() -> None:
    """An application that has answered before a fork answers in the child too, with threads of its own."""
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=60)


def test_workers_begin_again() -> None:
    """Workers that were stopped answer again, and their threads end."""
    workers, before = Workers(2), {*threading.enumerate()}
    for _ in range(2):
        assert asyncio.run(workers.run(lambda: 5)) == 5
        with pytest.raises(ZeroDivisionError):
            asyncio.run(workers.run(lambda: 1 // 0))
        mine = [thread for thread in {*threading.enumerate()} - before if thread.name == "zarrv3-serve"]
        assert len(mine) == 2
        workers.stop()
        for thread in mine:
            thread.join()

"""A TCP proxy on this machine that makes a link slow: every byte arrives later, and as fast as it came.

    client ──> reader ──(due time, bytes)──> queue ──> writer ──> server        and the same back

What was read is due half of the latency later, whatever else waits: pieces queue with their times, so bandwidth stays what
it is and many pieces in a row cost the latency once. A round trip is counted when a connection's client sends after the
server has answered (or first): what the client had to wait for.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from urllib.parse import urlsplit

PIECE = 1 << 20
"""How many bytes are passed on at once at most."""

Address = str | tuple[str, int]
"""The path of a socket, or host and port."""


@dataclass(kw_only=True)
class Counts:
    """What went through, of all connections."""

    connections: int = 0
    round_trips: int = 0
    to_server: int = 0
    to_client: int = 0


@dataclass
class Proxy:
    """A port before a server.

    Args:
        target: where the server is.
        delay: seconds that every byte takes in each direction; half of what a round trip takes.
    """

    target: Address
    delay: float
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> Counts:
        """What was counted; counting starts again from nothing."""
        with self._lock:
            counted, self.counts = self.counts, Counts()
            return counted

    def close(self) -> None:
        """Break everything off."""
        with self._lock:
            for one in (self._listener, *self._open):
                _end(one)
                one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        time.sleep(2 * self.delay)  # a connection costs a round trip before it is used
        far = _connected(self.target)
        for one in (near, far):
            if one.family != socket.AF_UNIX:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open += [near, far]
            self.counts.connections += 1
        asking, pair, ended = threading.Event(), (near, far), list[socket.socket]()
        for source, sink, passed in (
            (near, far, lambda size: self._asked(asking, size)),
            (far, near, lambda size: self._answered(asking, size)),
        ):
            waiting: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
            threading.Thread(target=self._read, args=(source, waiting, passed), daemon=True).start()
            threading.Thread(target=self._write, args=(waiting, sink, pair, ended), daemon=True).start()

    def _asked(self, asking: threading.Event, size: int) -> None:
        with self._lock:
            self.counts.to_server += size
            if not asking.is_set():
                self.counts.round_trips += 1
                asking.set()

    def _answered(self, asking: threading.Event, size: int) -> None:
        with self._lock:
            self.counts.to_client += size
            asking.clear()

    def _read(
        self, source: socket.socket, waiting: SimpleQueue[tuple[float, bytes]], passed: Callable[[int], None]
    ) -> None:
        while True:
            try:
                data = source.recv(PIECE)
            except OSError:
                data = b""
            if data:
                passed(len(data))
            waiting.put((time.monotonic() + self.delay, data))
            if not data:
                return

    def _write(
        self,
        waiting: SimpleQueue[tuple[float, bytes]],
        sink: socket.socket,
        pair: tuple[socket.socket, socket.socket],
        ended: list[socket.socket],
    ) -> None:
        """Pass on what is waiting, then end the connection; who ends it second closes both of its sockets."""
        _pass_on(waiting, sink)
        _end(sink)
        with self._lock:
            ended.append(sink)
            if len(ended) == len(pair):
                for one in pair:
                    self._open.remove(one)
                    one.close()


def _pass_on(waiting: SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
    """Send what is waiting, each when it is due, until the end or as long as anybody listens."""
    while True:
        due, data = waiting.get()
        rest = due - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        if not data:
            return
        try:
            sink.sendall(data)
        except OSError:
            return


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _connected(target: Address) -> socket.socket:
    if isinstance(target, tuple):
        return socket.create_connection(target)
    found = socket.socket(socket.AF_UNIX)
    found.connect(target)
    return found


@contextmanager
def slow(target: Address, latency: float) -> Iterator[Proxy]:
    """A proxy that adds `latency` seconds to every round trip."""
    proxy = Proxy(target, latency / 2)
    try:
        yield proxy
    finally:
        proxy.close()


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port

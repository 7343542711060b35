"""Which keys there are: a sorted set beside the values, so that listing costs what it returns.

All members have the score 0, so the set is in the order of the keys' bytes, and a folder is a range of it. Every write of
ours changes value and index in one step. Two kinds of member are not keys: the empty one says that the index is complete,
and those that begin with `/` are tokens of clients that are building it.

An index is not complete, or not there, in a database that zarr-python 2 wrote, in an empty one, and when the
server has evicted it. Then listing looks through the whole database (SCAN), and the next write builds the
index. While it is built others may write: their keys enter it with their values, and the builder enters a key
only in the same step in which it sees its value. So nothing is missing, and nothing is in it that was erased
meanwhile.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

from zarrv3.store.helpers import children
from zarrv3_store_redis import scripts
from zarrv3_store_redis.exchange import Exchange
from zarrv3_store_redis.names import Names, bounds

PAGE = 1000
"""How many keys one round trip of a listing brings, and how many one step of the server erases."""

SCANNED = 5000
"""How many entries of the database one SCAN looks at."""

_ATTEMPTS = 3  # how often building starts again when the index is dropped in the meantime


class Index:
    """The sorted set of a prefix; thread-safe."""

    def __init__(self, exchange: Exchange, names: Names) -> None:
        self.exchange = exchange
        self.names = names
        self.building = threading.Lock()

    # ------------------------------------------------------------ reading

    def keys(self, folder: str) -> Iterator[str]:
        """Every key below a folder."""
        for page in self._pages(folder, sized=False):
            yield from map(bytes.decode, page)

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Every key below a folder with the length of its value."""
        for page in self._pages(folder, sized=True):
            for key, size in zip(page[::2], page[1::2], strict=True):
                yield key.decode(), size

    def names_in(self, folder: str) -> Iterator[str]:
        """The keys and sub-folders directly below a folder."""
        start, end = bounds(folder)
        seen: set[str] = set()
        while start:
            reply = self.run(scripts.DIRECTORY, start, end, len(folder.encode()), PAGE)
            if reply is None:  # not complete, or dropped in the meantime
                yield from (name for name in children(self.keys(folder), folder) if name not in seen)
                return
            start, page = reply
            names = [*map(bytes.decode, page)]
            seen.update(names)
            yield from names

    def scan(self, folder: str) -> Iterator[list[str]]:
        """Every key below a folder in lists, by looking through the whole database."""
        cursor: int | bytes = 0
        seen: set[bytes] = set()
        options = ("MATCH", self.names.pattern(folder), "COUNT", SCANNED, "TYPE", "string")
        while True:
            cursor, names = self.exchange.one("SCAN", cursor, *options)
            fresh = [name for name in dict.fromkeys(names) if name not in seen]
            seen.update(fresh)
            keys = [key for key in map(self.names.key, fresh) if key is not None]
            if keys:
                yield keys
            if int(cursor) == 0:
                return

    # ------------------------------------------------------------ building

    def build(self) -> None:
        """Complete the index if necessary."""
        with self.building:
            for _ in range(_ATTEMPTS):
                if self.exchange.one("ZSCORE", self.names.index, b"") is not None or self._build():
                    return

    def renew(self) -> None:
        """Enter what other programs have written, and remove what they have erased."""
        with self.building:
            self._build()
            start, end = bounds("")
            while last := self.run(scripts.PRUNE, start, end, PAGE):
                start = b"(" + last

    def _build(self) -> bool:
        token = f"/{uuid.uuid4().hex}".encode()
        self.exchange.one("ZADD", self.names.index, 0, token)
        for keys in self.scan(""):
            for i in range(0, len(keys), PAGE):
                self.run(scripts.ENTER, *map(str.encode, keys[i : i + PAGE]))
        return bool(self._eval(scripts.FINISH, token))

    # ------------------------------------------------------------ scripts

    def run(self, script: bytes, *arguments: Any) -> Any:
        """Run a script over the index and the values."""
        return self._eval(script, self.names.prefix, *arguments)

    def _eval(self, script: bytes, *arguments: Any) -> Any:
        return self.exchange.one("EVAL", script, 1, self.names.index, *arguments)

    def _pages(self, folder: str, *, sized: bool) -> Iterator[list[Any]]:
        start, end = bounds(folder)
        last = b""
        while True:
            reply = self.run(scripts.PAGE, start, end, PAGE, int(sized))
            if reply is None:  # not complete, or dropped since the last page
                yield from self._scanned(folder, last, sized=sized)
                return
            last, page = reply
            yield page
            if not last:
                return
            start = b"(" + last

    def _scanned(self, folder: str, after: bytes, *, sized: bool) -> Iterator[list[Any]]:
        for keys in self.scan(folder):
            names = [name for name in map(str.encode, keys) if name > after]
            if sized:
                pairs = zip(names, self.run(scripts.SIZES, *names), strict=True)
                yield [item for pair in pairs if pair[1] >= 0 for item in pair]
            else:
                yield names

"""Dicts by name as stores of zarrv3: `example://name`."""

from collections.abc import Collection, Iterator, Sequence
from threading import RLock
from typing import Any

from zarrv3 import Backend, Buffer, Capabilities, Request
from zarrv3.options.urls import Url
from zarrv3.store import helpers
from zarrv3.store.contract import Changes, Swaps, Versioned

DICTS: dict[str, dict[str, bytes]] = {}
LOCK = RLock()


class ExampleDriver:
    """The contract over one dict: three methods make a store, two more let many writers share it."""

    capabilities = Capabilities(write=True, erase=True, list=True, swap=True, swap_erases=True)

    def __init__(self, name: str) -> None:
        self.values = DICTS.setdefault(name, {})

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        with LOCK:
            return [helpers.cut(self.values.get(request.key), request.range) for request in requests]

    def write_many(self, changes: Changes, /) -> None:
        with LOCK:
            for key, value in changes.items():
                if value is None:
                    self.values.pop(key, None)
                else:
                    self.values[key] = bytes(value)

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        with LOCK:
            return iter([key for key in self.values if key.startswith(folder)])

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        with LOCK:
            return helpers.by_digest([self.values.get(key) for key in keys])

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        with LOCK:
            versions = [version for _, version in self.get_versioned([*swaps])]
            changes, refused = helpers.unchanged(swaps, versions)
            self.write_many(changes)
            return refused


class ExampleStore(Backend):
    """A dict of this process as a store: `ExampleStore("first")`, `example://first`."""

    kind = "example"

    def __init__(self, name: str) -> None:
        super().__init__(name=name)

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        return {"name": url.authority} if url.authority else {}

    def connect(self) -> ExampleDriver:
        return ExampleDriver(self.option("name"))

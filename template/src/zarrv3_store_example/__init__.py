"""Dicts by name as stores of zarrv3: `example://name`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any

from zarrv3 import Backend, Buffer, Capabilities, Request
from zarrv3.options.urls import Url
from zarrv3.store import helpers

DICTS: dict[str, dict[str, bytes]] = {}
LOCK = RLock()


class ExampleDriver:
    """The contract over one dict."""

    capabilities = Capabilities(shared=False, persistent=False)

    def __init__(self, name: str) -> None:
        self.values = DICTS.setdefault(name, {})

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        with LOCK:
            return [helpers.cut(self.values.get(key), wanted) for key, wanted in requests]

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        with LOCK:
            self.values.update({key: bytes(value) for key, value in items.items()})

    def erase_many(self, keys: Collection[str], /) -> None:
        with LOCK:
            for key in keys:
                self.values.pop(key, None)

    def erase_prefix(self, folder: str, /) -> None:
        with LOCK:
            self.erase_many([*self.list_prefix(folder)])

    def rename_prefix(self, source: str, target: str, /) -> None:
        with LOCK:
            helpers.rename_by_copy(self, source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        with LOCK:
            if self.values.get(key) != old:
                return False
            self.erase_many([key]) if new is None else self.set_many({key: new})
            return True

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        with LOCK:
            keys = [*self.list_prefix(where)] if where[-1:] in ("", "/") else [where]
            return iter([(key, len(self.values[key])) for key in keys if key in self.values])

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        with LOCK:
            return iter([key for key in self.values if key.startswith(folder)])

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        return helpers.children(self.list_prefix(folder), folder)

    def flush(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""


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

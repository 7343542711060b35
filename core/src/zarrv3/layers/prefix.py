"""The layer that shows one folder of a store as a store of its own."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any

from zarrv3.layers.base import Layer
from zarrv3.options.declared import Option
from zarrv3.options.environment import Template
from zarrv3.options.urls import Url
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, Capabilities, Changes, Request, Swaps, Versioned
from zarrv3.store.keys import check_folder


def _folder_of(prefix: str) -> str:
    return check_folder(f"{prefix.strip('/')}/")


class Prefix(Layer):
    """What lies below `prefix` in another store, with keys that start there; adapter `|prefix:a/b`.

    No key leaves the prefix: `..` is not a key.
    """

    kind = "prefix"

    def __init__(
        self,
        store: object,
        prefix: Annotated[str, Option("the folder; no slash at its ends is needed", check=_folder_of)],
    ) -> None:
        super().__init__(store, prefix=prefix)
        if not isinstance(self.given_options["prefix"], Template):
            self.given_options = {"prefix": prefix.strip("/")}

    @cached_property
    def _folder(self) -> str:
        return _folder_of(self.option("prefix"))

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The prefix in `|prefix:a/b`."""
        return {"prefix": (url.authority or "") + url.path}

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store, with keys shorter by the prefix."""
        inner = self.inner.capabilities
        most = inner.limits.key_bytes
        if most is None:
            return inner
        room = max(0, most - len(self._folder.encode()))
        return replace(inner, limits=replace(inner.limits, key_bytes=room))

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        folder = self._folder
        return self.inner.get_many([Request(folder + key, wanted) for key, wanted in requests])

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return self.inner.stat_many([self._folder + key for key in keys])

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        return self.inner.get_versioned([self._folder + key for key in keys])

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        skip = len(self._folder)
        return (key[skip:] for key in self.inner.list_prefix(self._folder + prefix))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        skip = len(self._folder)
        return (name[skip:] for name in self.inner.list_dir(self._folder + folder))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        skip = len(self._folder)
        return ((key[skip:], size) for key, size in self.inner.list_sizes(self._folder + folder))

    def write_many(self, changes: Changes, /) -> None:
        self.inner.write_many({self._folder + key: value for key, value in changes.items()})

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        skip = len(self._folder)
        refused = self.inner.swap_many({self._folder + key: swap for key, swap in swaps.items()})
        return [key[skip:] for key in refused]

    def apply_many(self, changes: Changes, /) -> None:
        self.inner.apply_many({self._folder + key: value for key, value in changes.items()})

    def erase_prefix(self, folder: str, /) -> None:
        self.inner.erase_prefix(self._folder + folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        self.inner.rename_prefix(self._folder + source, self._folder + target)

    def below(self, folder: str) -> tuple[BaseStore, str]:
        """The folder with the prefix."""
        return self.inner, self._folder + folder

"""The layer that shows one folder of a store as a store of its own."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any

from zarrv3.layers.base import Layer
from zarrv3.options.declared import Option
from zarrv3.options.environment import Template
from zarrv3.options.urls import Url
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, Capabilities, Limits, Request
from zarrv3.store.keys import check_folder, check_keys, check_where, split_prefix


def _folder_of(prefix: str) -> str:
    return check_folder(f"{prefix.strip('/')}/")


class Prefix(Layer):
    """What lies below `prefix` in another store, with keys that start there; adapter `|prefix:a/b`.

    No key leaves the prefix: `..` is no key.
    """

    kind = "prefix"

    def __init__(
        self,
        store: object,
        prefix: Annotated[str, Option("the folder; no slash at its ends is needed", check=_folder_of)],
    ) -> None:
        super().__init__(store, prefix=prefix)
        if not isinstance(self._options["prefix"], Template):
            self._options = {"prefix": prefix.strip("/")}

    @cached_property
    def _folder(self) -> str:
        return _folder_of(self.option("prefix"))

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The prefix in `|prefix:a/b`."""
        return {"prefix": (url.authority or "") + url.path}

    @property
    def capabilities(self) -> Capabilities:
        """The same; keys may be shorter by the prefix."""
        inner = self.inner.capabilities
        if inner.limits.key_bytes is None:
            return inner
        room = Limits(key_bytes=max(0, inner.limits.key_bytes - len(self._folder.encode())))
        return replace(inner, limits=inner.limits.meet(room))

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        check_keys([key for key, _ in requests])
        return self.inner.get_many([(self._folder + key, wanted) for key, wanted in requests])

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        check_keys(items.keys())
        self.inner.set_many({self._folder + key: value for key, value in items.items()})

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        check_keys(keys)
        self.inner.erase_many([self._folder + key for key in keys])

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        self.inner.erase_prefix(self._folder + check_folder(folder))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract."""
        self.inner.rename_prefix(self._folder + check_folder(source), self._folder + check_folder(target))

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        check_keys([key])
        return self.inner.compare_and_set(self._folder + key, old, new)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract."""
        check_keys(changes.keys())
        self.inner.apply_many({self._folder + key: value for key, value in changes.items()})

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""
        where = check_where(where)
        skip = len(self._folder)
        return ((key[skip:], size) for key, size in self.inner.sizes(self._folder + where))

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""
        skip = len(self._folder)
        return (key[skip:] for key in self.inner.list_prefix(self._folder + split_prefix(prefix)[1]))

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        keys, folders = self.inner.list_dir(self._folder + check_folder(folder))
        skip = len(self._folder)
        return [key[skip:] for key in keys], [name[skip:] for name in folders]

    def below(self, folder: str) -> tuple[BaseStore, str]:
        """The folder with the prefix."""
        return self.inner, self._folder + folder

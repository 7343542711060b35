"""The contract over paths."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from urllib.parse import quote

from zarrv3.errors import InvalidKeyError
from zarrv3.store.contract import Buffer, Capabilities, Request
from zarrv3.store.helpers import rename_by_copy
from zarrv3_store_fsspec.access import Access, Entry
from zarrv3_store_fsspec.files import SCRATCH
from zarrv3_store_fsspec.reading import Part, read_all


class FSDriver:
    """Keys as files below a path.

    Args:
        files: the file system.
        base: what stands before every key in a path: `""`, or it ends in `/`.
        capabilities: what the store can do.
        lower: lower-case all keys.
        quoted: paths are URLs.
    """

    def __init__(
        self, files: Access, base: str, capabilities: Capabilities, *, lower: bool, quoted: bool
    ) -> None:
        self.files = files
        self.base = base
        self.lower = lower
        self.quoted = quoted
        self.capabilities = capabilities

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract: one batch of reads; ranges that depend on the size cost a batch of `info` more."""
        return read_all(self.files, [Part(self.path(key), wanted) for key, wanted in requests])

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract: one batch of writes."""
        self.files.write({self.path(key): value for key, value in items.items()})

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract: one batch."""
        self.files.erase([*dict.fromkeys(self.path(key) for key in keys)])

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract: one listing, one batch; of S3, what other tools put there as markers of folders goes too."""
        with self.files.locked():
            self.files.erase([entry.path for entry in self._below(folder)])

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: by copying."""
        rename_by_copy(self, source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        return self.files.swap(
            self.path(key), None if old is None else bytes(old), None if new is None else bytes(new)
        )

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract: from the listing."""
        if where and not where.endswith("/"):
            (size,) = self.files.sizes([self.path(where)])
            return iter([] if size is None else [(where, size)])
        return ((self._key(entry, where), entry.size or 0) for entry in self._below(where))

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract."""
        return (self._key(entry, folder) for entry in self._below(folder))

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        found = [*self._proper(self.files.inside(self._folder(folder)), folder)]
        keys = {self._key(entry, folder) for entry in found if entry.size is not None}
        folders = {f"{self._key(entry, folder)}/" for entry in found if entry.size is None}
        return sorted(keys), sorted(folders - {SCRATCH})

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The file system object is fsspec's, which may give it to others too."""

    def path(self, key: str) -> str:
        """The path of a key."""
        if key.startswith(SCRATCH) or key == SCRATCH[:-1]:
            raise InvalidKeyError(f"key {key!r} is reserved: {SCRATCH!r} holds what is being written")
        key = key.lower() if self.lower else key
        return self.base + (quote(key) if self.quoted else key)

    def _folder(self, folder: str) -> str:
        return self.path(folder) if folder else self.base or "/"

    def _below(self, folder: str) -> Iterator[Entry]:
        found = self._proper(self.files.below(self._folder(folder)), folder)
        return found if folder else (e for e in found if not e.path.startswith(self.base + SCRATCH))

    def _proper(self, entries: Iterator[Entry], folder: str) -> Iterator[Entry]:
        """Those that lie in the folder and whose path is one of a key: others may have written `a//b`."""
        start = self.path(folder) if folder else self.base
        return (
            e
            for e in entries
            if e.path.startswith(start) and len(e.path) > len(start) and "//" not in e.path[len(start) - 1 :]
        )

    def _key(self, entry: Entry, folder: str) -> str:
        """The key of a path, below a folder in the caller's spelling."""
        start = self.path(folder) if folder else self.base
        return folder + entry.path[len(start) :]

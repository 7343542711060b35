"""The contract over paths."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from urllib.parse import quote

from zarrv3.errors import InvalidKeyError
from zarrv3.store.contract import Buffer, Capabilities, Changes, Request, Swaps, Versioned
from zarrv3.store.undisturbed import methods_undisturbed
from zarrv3_store_fsspec.access import Access, Entry, SwappingAccess, change
from zarrv3_store_fsspec.files import SCRATCH
from zarrv3_store_fsspec.reading import Part, read_all


@methods_undisturbed
class FSDriver:
    """Keys as files below a path. An interrupt would leave the events that fsspec and others wait for locked.

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
        """As the contract says: one batch of reads; ranges that depend on the size cost one more batch, of `info`."""
        return read_all(self.files, [Part(self.path(key), wanted) for key, wanted in requests])

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return self.files.sizes([self.path(key) for key in keys])

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: one batch of writes, and one that erases."""
        change(self.files, {self.path(key): value for key, value in changes.items()})

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says: one listing, one batch; on S3, other tools' folder markers are erased too."""
        self.files.erase([entry.path for entry in self._below(folder)])

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        return (self._key(entry, folder) for entry in self._below(folder))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        return ((self._key(entry, folder), entry.size or 0) for entry in self._below(folder))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        entries = self._proper(self.files.inside(self._folder(folder)), folder)
        names = dict.fromkeys(self._key(e, folder) + "/" * (e.size is None) for e in entries)
        return (name for name in names if name != SCRATCH)

    def path(self, key: str) -> str:
        """The path of a key."""
        if key.startswith(SCRATCH) or key == SCRATCH[:-1]:
            raise InvalidKeyError(f"key {key!r} is reserved: {SCRATCH!r} holds what is being written")
        key = key.lower() if self.lower else key
        return self.base + (quote(key) if self.quoted else key)

    def _folder(self, folder: str) -> str:
        return self.path(folder) if folder else self.base or "/"

    def _below(self, folder: str) -> Iterator[Entry]:
        entries = self._proper(self.files.below(self._folder(folder)), folder)
        return entries if folder else (e for e in entries if not e.path.startswith(self.base + SCRATCH))

    def _proper(self, entries: Iterator[Entry], folder: str) -> Iterator[Entry]:
        """The entries in the folder whose path is that of a key: other tools may have written `a//b`.

        Whether paths in listings begin with `/` says nothing: obstore's do, though it takes others.
        """
        start = self.path(folder) if folder else self.base
        for path, size in entries:
            name = path.lstrip("/").removeprefix(start.lstrip("/"))
            if 0 < len(name) == len(path.lstrip("/")) - len(start.lstrip("/")) and "//" not in f"/{name}":
                yield Entry(start + name, size)

    def _key(self, entry: Entry, folder: str) -> str:
        """The key of a path, below a folder in the caller's spelling."""
        start = self.path(folder) if folder else self.base
        return folder + entry.path[len(start) :]


@methods_undisturbed
class SwappingFSDriver(FSDriver):
    """The driver of files that can be replaced conditionally."""

    files: SwappingAccess

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        return self.files.versioned([self.path(key) for key in keys])

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        keys = {self.path(key): key for key in swaps}
        return [keys[path] for path in self.files.swap({path: swaps[key] for path, key in keys.items()})]

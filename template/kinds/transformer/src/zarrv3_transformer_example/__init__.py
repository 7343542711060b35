"""Chunks whose bits are flipped: `storage_transformers=[{"name": "example"}]`."""

from collections.abc import Collection, Sequence
from typing import Any

from zarrv3 import BaseStore, Buffer, Request, StorageTransformer
from zarrv3.store.contract import Changes, Swaps, Versioned

TABLE = bytes(255 - byte for byte in range(256))


class Example(StorageTransformer):
    """A layer that an array's metadata names, for its chunks: it changes their values on every way in and out."""

    extension_uri = "example"
    _keys: tuple[str, Any, int]
    """What the keys of the array's chunks are made from: the folder, the chunk key encoding, the number of dimensions."""

    def bind(self, store: BaseStore, folder: str, metadata: Any) -> "Example":
        bound = super().bind(store, folder, metadata)
        bound._keys = folder, metadata.chunk_key_encoding, len(metadata.shape)
        return bound

    def flipped(self, key: str, value: Buffer | None) -> Buffer | None:
        """The value of a chunk with its bits flipped; what is not a chunk stays as it is."""
        folder, encoding, ndim = self._keys
        is_chunk = key.startswith(folder) and encoding.decode(key[len(folder) :], ndim) is not None
        return bytes(value).translate(TABLE) if is_chunk and value is not None else value

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        values = self.inner.get_many(requests)
        return [self.flipped(one.key, value) for one, value in zip(requests, values, strict=True)]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        found = self.inner.get_versioned(keys)
        return [
            (self.flipped(key, value), version) for key, (value, version) in zip(keys, found, strict=True)
        ]

    def write_many(self, changes: Changes, /) -> None:
        self.inner.write_many({key: self.flipped(key, value) for key, value in changes.items()})

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        flipped = {key: (version, self.flipped(key, new)) for key, (version, new) in swaps.items()}
        return self.inner.swap_many(flipped)

    def apply_many(self, changes: Changes, /) -> None:
        self.inner.apply_many({key: self.flipped(key, value) for key, value in changes.items()})

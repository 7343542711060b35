"""The conformance kit over branches of Icechunk, through a layer by which they hold any key."""

# ruff: noqa: D102 - the contract says what the methods do

import json
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from zarrv3 import BaseStore, open_store
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Buffer, ByteRange, Changes, Request, Swaps, Versioned
from zarrv3.testing import InterruptConformance, StoreConformance
from zarrv3.testing.checks.table import Opener

DOCUMENT = json.dumps(
    {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [1],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
    }
).encode()
GROUP = b'{"zarr_format": 3, "node_type": "group"}'
CHUNK, END = "/c/0", "/zarr.json"


class AnyKeys(Layer):
    """The kit's keys over a store that takes only Zarr's; a value begins with one more byte, since no chunk may be empty."""

    kind = "any-keys"

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        found = self.inner.get_many([Request(array(key) + CHUNK, behind(wanted)) for key, wanted in requests])
        values = []
        for value, (_, wanted) in zip(found, requests, strict=True):
            if value is not None and wanted is not None and wanted.start < 0:
                value = cut(value, wanted)  # noqa: PLW2901
            elif value is not None and wanted is None:
                value = value[1:]  # noqa: PLW2901
            values.append(value)
        return values

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        found = self.inner.stat_many([array(key) + CHUNK for key in keys])
        return [None if size is None else size - 1 for size in found]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        found = self.inner.get_versioned([array(key) + CHUNK for key in keys])
        return [(None if value is None else value[1:], version) for value, version in found]

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        folder = prefix[: prefix.rfind("/") + 1]
        for key in self.inner.list_prefix(below(folder)):
            if key.endswith(CHUNK) and (found := plain(key)).startswith(prefix):
                yield found

    def list_dir(self, folder: str, /) -> Iterator[str]:
        for name in self.inner.list_dir(below(folder)):
            own = name.rstrip("/").rpartition("/")[2]
            if own[0] == "d" and next(self.list_prefix(f"{folder}{part(own)}/"), None) is not None:
                yield f"{folder}{part(own)}/"
            elif own[0] == "k" and f"{folder}{part(own)}" in self:
                yield f"{folder}{part(own)}"

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        for key, size in self.inner.list_sizes(below(folder)):
            if key.endswith(CHUNK):
                yield plain(key), size - 1

    def write_many(self, changes: Changes, /) -> None:
        documents = dict(chain(*(made(key) for key, value in changes.items() if value is not None)))
        chunks = {array(key) + CHUNK: longer(value) for key, value in changes.items()}
        self.inner.write_many({**documents, **chunks})

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        names = {array(key) + CHUNK: key for key in swaps}
        documents = dict(chain(*(made(key) for key, (version, _) in swaps.items() if version is None)))
        self.inner.write_many(documents)
        chunks = {name: (swaps[key][0], longer(swaps[key][1])) for name, key in names.items()}
        return [names[name] for name in self.inner.swap_many(chunks)]

    def apply_many(self, changes: Changes, /) -> None:
        raise NotImplementedError

    def erase_prefix(self, folder: str, /) -> None:
        self.inner.erase_prefix(below(folder))

    def rename_prefix(self, source: str, target: str, /) -> None:
        self.inner.write_many(dict(groups(below(target)[:-1])))
        self.inner.rename_prefix(below(source), below(target))


def array(key: str) -> str:
    """The array that stands for a key."""
    folder, _, own = key.rpartition("/")
    return f"{below(folder + '/' if folder else '')}k{own.encode().hex()}"


def made(key: str) -> Iterator[tuple[str, bytes]]:
    """The documents of a key's array and of the groups around it."""
    yield from groups(array(key))
    yield array(key) + END, DOCUMENT


def groups(path: str) -> Iterator[tuple[str, bytes]]:
    """The documents of the groups around a node: Icechunk lists no node whose group is missing."""
    parts = path.split("/")
    yield from (("/".join([*parts[:depth], "zarr.json"]), GROUP) for depth in range(len(parts)))


def below(folder: str) -> str:
    """The folder that stands for a folder."""
    return "".join(f"d{name.encode().hex()}/" for name in folder.split("/")[:-1])


def part(name: str) -> str:
    """One part of a key."""
    return bytes.fromhex(name[1:]).decode()


def plain(chunk: str) -> str:
    """The key that a chunk stands for."""
    return "/".join(map(part, chunk.removesuffix(CHUNK).split("/")))


def longer(value: Buffer | None) -> Buffer | None:
    """A value with the byte before it."""
    return None if value is None else b"\0" + bytes(value)


def behind(wanted: ByteRange | None) -> ByteRange | None:
    """A range of a value that has a byte before it; the whole one where it counts from the end."""
    if wanted is None or wanted.start < 0:
        return None
    start, stop = wanted
    return ByteRange(start + 1, stop + 1 if stop is not None and stop >= 0 else stop)


def cut(value: Buffer, wanted: ByteRange) -> Buffer:
    """The part of a whole value."""
    return value[1:][wanted.start : wanted.stop]


def opened(url: str) -> BaseStore:
    """Any keys in a branch."""
    return AnyKeys(open_store(url))


class TestBranch(InterruptConformance, StoreConformance):
    """A branch whose store commits when it is flushed or closed."""

    examples = 8
    steps = 20

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """What opens one new repository in a folder."""
        return partial(opened, f"icechunk+{(tmp_path / 'repository').as_uri()}?commit=kit")


class TestReading(StoreConformance):
    """A tag and a branch that are only read: what they hold, and that they refuse all else."""

    @pytest.fixture(params=["tag=v1", "mode=r"])
    def opener(self, request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
        """What opens one with an array in it."""
        url = f"icechunk+{(tmp_path / 'repository').as_uri()}"
        with open_store(url) as store:
            store.write_many({"zarr.json": GROUP, "a/zarr.json": DOCUMENT, "a/c/0": b"value"})
            store.commit("kit")  # type: ignore[attr-defined]
            store.create_tag("v1")  # type: ignore[attr-defined]
        return partial(open_store, f"{url}?{request.param}")

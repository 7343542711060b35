"""The conformance kit through the transformer: its keys are chunk keys here, in shards of a few."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

import zarrv3
from zarrv3 import BaseStore
from zarrv3.testing import InterruptConformance, LayerConformance, Opener
from zarrv3_transformer_sharding import ShardingTransformer


def bound(
    store: BaseStore, *, folder: str, shape: tuple[int, ...], keys: str, per_shard: tuple[int, ...]
) -> BaseStore:
    """The store that an array below `folder` has, whose chunks have one element each."""
    array = zarrv3.create_array(
        zarrv3.MemoryStore(), shape=shape, chunks=1, dtype="u1", chunk_key_encoding=(
            {"name": keys, "configuration": {"separator": "/"}}
        )
    )  # fmt: skip
    return ShardingTransformer("indexed", per_shard).bind(store, folder, array.metadata)


class TestShardsOfTheMachine(InterruptConformance, LayerConformance):
    """The keys `a/c/0/0`, `a/c/0/1`, `a/c/1/0` of the kit lie in one shard, with a place that stays empty."""

    examples = 15

    @pytest.fixture
    def layer(self) -> Callable[[BaseStore], BaseStore]:
        """The transformer of an array at `a`."""
        return functools.partial(bound, folder="a/", shape=(2, 2), keys="default", per_shard=(2, 2))


class TestShardsAtTheEdge(InterruptConformance, LayerConformance):
    """The keys in two shards that reach over the edge of the array."""

    examples = 15

    @pytest.fixture
    def layer(self) -> Callable[[BaseStore], BaseStore]:
        """The transformer of an array at `a`."""
        return functools.partial(bound, folder="a/", shape=(1, 2), keys="default", per_shard=(1, 3))


class TestShardsOfBatches(InterruptConformance, LayerConformance):
    """The keys `f/0` to `f/19` of the kit lie in five shards."""

    examples = 10

    @pytest.fixture
    def layer(self) -> Callable[[BaseStore], BaseStore]:
        """The transformer of an array at `f`."""
        return functools.partial(bound, folder="f/", shape=(20,), keys="v2", per_shard=(4,))


class TestShardsInFiles(InterruptConformance, LayerConformance):
    """Over a folder of files, which has ranges of its own."""

    examples = 15

    @pytest.fixture
    def layer(self) -> Callable[[BaseStore], BaseStore]:
        """The transformer of an array at `a`."""
        return functools.partial(bound, folder="a/", shape=(2, 2), keys="default", per_shard=(1, 2))

    @pytest.fixture
    def inner(self, tmp_path: Path) -> Opener:
        """A folder."""
        return functools.partial(zarrv3.DirectoryStore, tmp_path / "data")

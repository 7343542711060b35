"""The conformance class for storage transformers: derive, give one fixture, and every check is a test of yours.

    class TestMyTransformer(TransformerConformance):
        @pytest.fixture
        def transformer(self):
            return MyTransformer("fast", level=3)

The transformer has to be installed. Besides the tests of every layer, with keys that are chunks of the array and
others, arrays are written and read through it.
"""

import pickle
from functools import partial
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.api import create_array, open_array
from zarrv3.chunks.transformers import Coords, StorageTransformer
from zarrv3.errors import MetadataError
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy.array import Array
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer
from zarrv3.store.memory import MemoryStore
from zarrv3.testing.conformance import LayerConformance, LayerMaker
from zarrv3.testing.processes import threads_together
from zarrv3.testing.rules import (
    CONFIGURATION,
    PICKLE,
    RACE,
    TRANSFORMERS,
    only_our_errors,
    require,
    same,
)
from zarrv3.testing.samples import check_document, check_refusals, steady

SHAPE = (7, 9)
CHUNKS = (2, 3)
GRID = (4, 3)
PLACES: tuple[Coords, ...] = tuple(product(range(GRID[0]), range(GRID[1])))
"""The chunks of the array that is tried; at the edge they reach over it."""

parts = st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted) for n in SHAPE))
contents = st.one_of(st.none(), st.binary(min_size=1, max_size=20))


class TransformerConformance(LayerConformance):
    """Everything a storage transformer has to do; the subclass gives the fixture `transformer`."""

    histories: ClassVar[int] = 40
    """How many sequences of changes each test tries."""

    @pytest.fixture
    def transformer(self) -> StorageTransformer:
        """Return the transformer, not bound to an array: override this."""
        pytest.fail(
            f"{type(self).__name__} has to define the fixture `transformer`; see zarrv3.testing.transformers"
        )

    @pytest.fixture
    def layer(self, transformer: StorageTransformer) -> LayerMaker:
        """The transformer of an array at `a`, whose chunks are some of the keys that all layers are tried with."""
        return partial(_bound, transformer, "a/")

    # ------------------------------------------------------------ the description

    def test_document(self, transformer: StorageTransformer) -> None:
        """The transformer comes back from its document, and an array records it there."""
        again = check_document(transformer, what=transformer.describe())
        below = MemoryStore()
        _bound(transformer, "x/", below).write_many({"x/c/0/0": b"some content"})
        found = _bound(again, "x/", below).get("x/c/0/0")
        same(found, b"some content", CONFIGURATION, "a chunk, read through what comes back from the document")
        array = _array(transformer)
        opened = open_array(array.store)
        recorded = [named.to_json() for named in opened.metadata.storage_transformers]
        same(
            recorded, [_named(transformer)], CONFIGURATION, "the storage transformers of the array's document"
        )
        require(
            opened == array, CONFIGURATION, "the array that was opened is not equal to the one that was made"
        )

    def test_malformed_configurations(self, transformer: StorageTransformer) -> None:
        """A wrong configuration raises `MetadataError`, at the latest when an array binds it."""

        def use(accepted: StorageTransformer) -> None:
            with only_our_errors(CONFIGURATION, f"binding {accepted.to_json()}", MetadataError):
                _bound(accepted, "", MemoryStore())

        check_refusals(transformer, use, what=transformer.describe())

    def test_block_shape(self, transformer: StorageTransformer) -> None:
        """`block_shape` is `None`, or positive integers for some dimensions at most."""
        block = transformer.block_shape
        right = block is None or all(type(n) is int and n > 0 for n in block)
        require(right, TRANSFORMERS, f"block_shape is {block!r}")

    def test_pickling_descriptions(self, transformer: StorageTransformer) -> None:
        """A transformer survives pickling, bound to a store or not."""
        copy = pickle.loads(pickle.dumps(transformer))  # noqa: S301 - our own
        require(copy == transformer, PICKLE, "the copy of a transformer is not equal to it")
        array = _array(transformer)
        array[...] = 1
        again = pickle.loads(pickle.dumps(array))  # noqa: S301
        require(bool((again[...] == 1).all()), PICKLE, "the copy of an array reads other values")

    # ------------------------------------------------------------ arrays

    def test_arrays(self, transformer: StorageTransformer) -> None:
        """Parts written in any order, filled with the fill value, or resized read as in numpy."""

        @steady(self.histories)
        @given(st.lists(st.tuples(parts, st.integers(0, 3)), min_size=1, max_size=8))
        def check(changes: list[tuple[Any, int]]) -> None:
            array, expected = _array(transformer), np.zeros(SHAPE, "u2")
            for ((top, bottom), (left, right)), value in changes:
                array[top:bottom, left:right] = value
                expected[top:bottom, left:right] = value
            for read in (array, open_array(array.store)):
                same(read[...].tolist(), expected.tolist(), TRANSFORMERS, f"the array after {changes}")
                part = read[1:5, 2:8]
                same(part.tolist(), expected[1:5, 2:8].tolist(), TRANSFORMERS, f"a part after {changes}")
            array.resize(5, 5)
            array.resize(*SHAPE)
            expected[5:] = expected[:, 5:] = 0
            same(array[...].tolist(), expected.tolist(), TRANSFORMERS, f"cut off and grown after {changes}")

        check()

    def test_chunks_like_a_dict(self, transformer: StorageTransformer) -> None:
        """Chunks that are changed by their coordinates read like a dict, each way of reading them."""

        @steady(self.histories)
        @given(
            st.lists(st.dictionaries(st.sampled_from(PLACES), contents, min_size=1, max_size=6), max_size=6)
        )
        def check(changes: list[dict[Coords, bytes | None]]) -> None:
            store = MemoryStore()
            bound, model = _bound(transformer, "x/", store), dict[Coords, bytes]()
            for number, news in enumerate(changes):
                read = [*news] if number % 2 else []

                def make(some: Any, olds: Any, news: Any = news, read: Any = read) -> Any:
                    for place in olds:
                        same(
                            _bytes(olds[place]),
                            model.get(place),
                            TRANSFORMERS,
                            f"the old value of chunk {place}",
                        )
                    require({*some} <= {*news}, TRANSFORMERS, f"asked for {some}, of {[*news]}")
                    require({*olds} >= {*some} & {*read}, TRANSFORMERS, "chunks to be read were not")
                    return {place: news[place] for place in some}

                bound.change_chunks([*news], read, make)
                model.update({place: value for place, value in news.items() if value is not None})
                for place in [place for place, value in news.items() if value is None]:
                    model.pop(place, None)
                _shows(bound, model)
            _shows(_bound(transformer, "x/", store), model)

        check()

    def test_other_keys_are_passed_on(self, transformer: StorageTransformer) -> None:
        """Documents, and keys that belong to no chunk, are the same above and below."""
        below = MemoryStore()
        bound = _bound(transformer, "x/", below)
        others = {"x/zarr.json": b"{}", "x/note": b"mine", "y/zarr.json": b"{}", "x/c/no/chunk": b"at all"}
        bound.write_many({**others})
        same(dict(below.items()), others, TRANSFORMERS, "what was written below")
        same(bound.getitems([*others]), others, TRANSFORMERS, "what is read above")

    def test_threads_lose_no_chunk(self, transformer: StorageTransformer) -> None:
        """Threads that write chunks of their own, stored together or not, through objects of their own, lose nothing."""
        store = _array(transformer).store

        def write(number: int) -> None:
            array = open_array(store)
            for turn in range(1, 6):
                for row, column in PLACES[number::4]:
                    array[row * 2 : row * 2 + 2, column * 3 : column * 3 + 3] = turn + 10 * number

        threads_together([partial(write, number) for number in range(4)])
        found = open_array(store)[...]
        for number in range(4):
            for row, column in PLACES[number::4]:
                chunk = found[row * 2 : row * 2 + 2, column * 3 : column * 3 + 3]
                require(
                    bool((chunk == 5 + 10 * number).all()),
                    RACE,
                    f"chunk {row, column} has lost a write: {chunk}",
                )


def _metadata() -> ArrayMetadata:
    return create_array(MemoryStore(), shape=SHAPE, chunks=CHUNKS, dtype="u2").metadata


def _bound(transformer: StorageTransformer, folder: str, store: BaseStore) -> StorageTransformer:
    return transformer.bind(store, folder, _metadata())


def _array(transformer: StorageTransformer) -> Array:
    return create_array(
        MemoryStore(),
        shape=SHAPE,
        chunks=CHUNKS,
        dtype="u2",
        compressors=None,
        storage_transformers=[transformer],
    )


def _named(transformer: StorageTransformer) -> Any:
    document = transformer.to_json()
    return {"name": document} if isinstance(document, str) else document


def _bytes(value: Buffer | None) -> bytes | None:
    return None if value is None else bytes(value)


def _shows(bound: StorageTransformer, model: dict[Coords, bytes]) -> None:
    """Chunks read as in the model, by their coordinates and by their keys."""
    expected = [model.get(place) for place in PLACES]
    same([*map(_bytes, bound.get_chunks(PLACES))], expected, TRANSFORMERS, "get_chunks")
    keys = ["x/c/" + "/".join(map(str, place)) for place in PLACES]
    there = {key: value for key, value in zip(keys, expected, strict=True) if value is not None}
    same(bound.getitems(keys), there, TRANSFORMERS, "get_many")
    sizes = [None if value is None else len(value) for value in expected]
    same([*bound.stat_many(keys)], sizes, TRANSFORMERS, "stat_many")
    same([_bytes(value) for value, _ in bound.get_versioned(keys)], expected, TRANSFORMERS, "get_versioned")
    same(sorted(bound.list_prefix("x/")), sorted(there), TRANSFORMERS, "list_prefix")
    lengths = {key: len(value) for key, value in there.items()}
    same(dict(bound.list_sizes("x/")), lengths, TRANSFORMERS, "list_sizes")


__all__ = ["TransformerConformance"]

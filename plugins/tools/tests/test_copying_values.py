"""Copies that change how arrays are stored, and copies of any hierarchy."""

import json
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import Array, Counting, Group, Layer, MemoryStore
from zarrv3.errors import ConfigurationError, CorruptDataError, MetadataError
from zarrv3.format.documents import dump_document
from zarrv3.store.contract import Buffer, Changes, Request, Swaps, Versioned
from zarrv3.store.helpers import children, size_of
from zarrv3_tools.copying import passing, values

GZIP = {"name": "gzip", "configuration": {"level": 1}}
TRANSPOSE = {"name": "transpose", "configuration": {"order": [1, 0]}}


def assert_equal(one: Group | Array, other: Group | Array) -> None:
    """Both hierarchies have the same nodes, attributes, dimension names, fill values and elements, bit by bit."""
    assert dict(one.attrs) == dict(other.attrs)
    if isinstance(one, Array):
        assert isinstance(other, Array)
        assert (one.shape, one.dtype, one.dimension_names) == (
            other.shape,
            other.dtype,
            other.dimension_names,
        )
        assert np.array_equal(one.fill_value, other.fill_value, equal_nan=one.dtype.kind in "fc")
        assert one[...].tobytes() == other[...].tobytes()
        return
    assert isinstance(other, Group)
    ours, theirs = dict(one.members(None)), dict(other.members(None))
    assert ours.keys() == theirs.keys()
    for path, node in ours.items():
        if isinstance(node, Array):
            assert_equal(node, theirs[path])
        else:
            assert dict(node.attrs) == dict(theirs[path].attrs)


@st.composite
def trees(draw: st.DrawFn) -> Group:
    """A hierarchy of up to six nodes with values in some chunks."""
    root = zarrv3.group(attributes={"top": draw(st.integers())})
    for path in draw(st.lists(st.sampled_from(["a", "a/b", "c/d/e", "a/f", "g"]), unique=True)):
        shape = tuple(draw(st.lists(st.integers(0, 9), max_size=3)))
        chunks = tuple(draw(st.integers(1, 5)) for _ in shape)
        arguments: dict[str, Any] = {"dtype": draw(st.sampled_from(["i2", "f8", "U2", "?"]))}
        if arguments["dtype"] == "f8":
            arguments["fill_value"] = draw(st.sampled_from([0.0, float("nan"), -1.5]))
        try:
            array = root.create_array(
                path, shape=shape, chunks=chunks, attributes={"path": path}, **arguments
            )
        except zarrv3.errors.NodeError:  # an array is there already, or above
            continue
        if draw(st.booleans()) and array.size:
            at = tuple(slice(0, draw(st.integers(1, n))) for n in shape)
            array[at] = np.ones(1, array.dtype)[0] if array.dtype.kind != "U" else "xy"
    return root


changes = st.fixed_dictionaries(
    {},
    optional={
        "chunks": st.sampled_from(["keep", 2, True, 4, lambda array: tuple(n + 1 for n in array.shape)]),
        "compressors": st.sampled_from(["keep", None, GZIP, [GZIP, "crc32c"]]),
    },
)


@given(trees(), changes, st.booleans())
def test_any_tree_with_any_change(root: Group, change: dict[str, Any], verify: bool) -> None:
    """Whatever the hierarchy and whatever is to change, the copy has equal values, and so has a resumed second copy."""
    if isinstance(change.get("chunks"), int) and any(
        a.ndim == 0 for _, a in root.members(None) if isinstance(a, Array)
    ):
        change = {**change, "chunks": lambda array: (3,) * array.ndim}
    dest = Counting(MemoryStore())
    plan = zarrv3.copy(root, dest, dry_run=True, **change)
    assert len(dest) == 0
    report = zarrv3.copy(root, dest, verify=verify, **change)
    copied = zarrv3.open_group(dest, mode="r")
    assert_equal(root, copied)
    assert (plan.arrays, plan.groups, plan.recoded) == (report.arrays, report.groups, report.recoded)
    assert plan.documents == report.documents == 1 + copied.nmembers(None)
    assert plan.bytes == report.bytes
    assert len(dest) == report.documents + report.chunks
    before = dict(dest.inner.items())
    dest.reset()
    again = zarrv3.copy(root, dest, resume=True, **change)
    assert (again.chunks, again.documents) == (0, 0)
    assert dict(dest.inner.items()) == before
    assert dest.requested["write_many"] == 2 * again.recoded  # the marks, set and erased
    assert not dest.requested["swap_many"]


def test_rechunked_resharded_recompressed() -> None:
    """New chunks, shards and compressors are those of the copy, everything else stays as it was."""
    root = zarrv3.group()
    data = np.arange(60).reshape(6, 10)
    root.create_array("x", data=data, chunks=(4, 3), dimension_names=["a", "b"], attributes={"k": [1]}, fill_value=7,
                      chunk_key_encoding="v2", filters=[TRANSPOSE])  # fmt: skip
    report = zarrv3.copy(root, store := MemoryStore(), chunks=(2, 5), compressors=GZIP)
    made = zarrv3.open(store, path="x")
    assert isinstance(made, Array)
    assert (made.chunks, [codec.to_json() for codec in made.compressors]) == ((2, 5), [GZIP])
    assert [codec.to_json() for codec in made.filters] == [TRANSPOSE]
    assert "x/1.1" in store
    assert_equal(root["x"], made)
    assert (report.recoded, report.chunks, report.bytes - report.documents) > (1, 6, data.nbytes)


def test_per_array() -> None:
    """A function decides for each array; arrays for which it says `keep` pass through byte for byte."""
    root = zarrv3.group()
    root.create_array("large", data=np.arange(100), chunks=10)
    root.create_array("small", data=np.arange(10), chunks=10)
    store = MemoryStore()
    report = zarrv3.copy(root, store, chunks=lambda array: 50 if array.size > 50 else "keep")
    assert zarrv3.open_array(store, path="large").chunks == (50,)
    assert {key: store[key] for key in store if key.startswith("small")} == {
        key: root.store[key] for key in root.store if key.startswith("small")
    }
    assert (report.arrays, report.recoded) == (2, 1)


def test_what_agrees_passes_through() -> None:
    """Arrays that are already what is wanted are not decoded: bytes that no codec understands arrive as they are."""
    root = zarrv3.group()
    array = root.create_array("x", data=np.arange(10), chunks=5, compressors=GZIP)
    array.store["x/c/1"] = b"no gzip"
    store = MemoryStore()
    assert zarrv3.copy(root, store, chunks=5, compressors=GZIP).recoded == 0
    assert store["x/c/1"] == b"no gzip"
    with pytest.raises(CorruptDataError, match="x/c/1"):
        zarrv3.copy(root, MemoryStore(), chunks=10)


def test_missing_chunks_stay_missing() -> None:
    """Chunks that are not stored are not stored in the copy either, whatever the setting for empty chunks."""
    root = zarrv3.group()
    root.create_array("x", shape=100, chunks=10, fill_value=3)[15] = 1
    with zarrv3.config.set(write_empty_chunks=True):
        zarrv3.copy(root, store := MemoryStore(), chunks=5)
    assert sorted(key for key in store if "/c/" in key) == ["x/c/3"]


def test_large_empty_arrays_cost_their_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an array with very many chunks only those that are stored are looked at."""
    monkeypatch.setattr(values, "BOX_BYTES", 8 * 100)
    root = zarrv3.group()
    array = root.create_array("x", shape=10**12, chunks=300, dtype="f8")
    array[5 * 10**11 : 5 * 10**11 + 400] = 1.0
    source = Counting(root.store)
    store = MemoryStore()
    report = zarrv3.copy(source, store, chunks=100)
    assert report.chunks == 4
    assert source.calls["get_many"] < 20
    assert (zarrv3.open_array(store, path="x")[5 * 10**11 - 1 : 5 * 10**11 + 401] == [0, *[1] * 400, 0]).all()


def test_what_does_not_fit() -> None:
    """An array that cannot become what is wanted stops the copy, or is left out and told; nothing of it is a node."""
    root = zarrv3.group()
    root.create_array("g/x", data=np.arange(10))
    root.create_array("y", data=np.ones((4, 4)))
    store = MemoryStore()
    with pytest.raises(MetadataError, match=r"/x.*cannot be stored so: .*more entries"):
        zarrv3.copy(root, store, chunks=(2, 2))
    assert "zarr.json" not in store
    store.clear()
    report = zarrv3.copy(root, store, chunks=(2, 2), on_error="report")
    assert [(failed.path, "more entries" in failed.reason) for failed in report.not_carried] == [
        ("g/x", True)
    ]
    assert (report.arrays, report.groups) == (1, 2)
    assert sorted(name for name, _ in zarrv3.open_group(store).members(None)) == ["g", "y"]


def test_wrong_arguments() -> None:
    """Arguments that contradict each other or make no sense are refused before anything is opened."""
    with pytest.raises(ConfigurationError, match="on_error"):
        zarrv3.copy({}, {}, on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="not both"):
        zarrv3.copy({}, {}, overwrite=True, resume=True)


# ---------------------------------------------------------------- verification


class Forgetful(Layer):
    """Stores some values wrong."""

    kind = "forgetful"

    def write_many(self, changes: Changes, /) -> None:
        """Change one value."""
        super().write_many(
            {k: bytes(len(v)) if v is not None and k.endswith("c/3") else v for k, v in changes.items()}
        )

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Nothing is swapped that is copied."""
        return super().swap_many(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        """Nor is there a transaction."""
        super().apply_many(changes)


@pytest.mark.parametrize("change", [{}, {"chunks": 5, "compressors": None}])
def test_verification_finds_what_differs(change: dict[str, Any]) -> None:
    """A value that does not read back as it was written is named, and its node gets no document."""
    root = zarrv3.group()
    root.create_array("x", data=np.arange(1, 101), chunks=10)
    root.create_array("y", data=np.arange(3), chunks=10)
    store = MemoryStore()
    with pytest.raises(CorruptDataError, match=r"'x/c/3'"):
        zarrv3.copy(root, Forgetful(store), verify=True, **change)
    assert "x/zarr.json" not in store
    store.clear()
    report = zarrv3.copy(root, Forgetful(store), verify=True, on_error="report", **change)
    assert [failed.path for failed in report.not_carried] == ["x"]
    assert [*zarrv3.open_group(store)] == ["y"]
    assert not [key for key in store if key.startswith("x/")]


def test_verified_resumption_repairs() -> None:
    """With `verify`, values that are there with the right size and another content are copied again."""
    root = zarrv3.group()
    root.create_array("x", data=np.arange(100), chunks=10, compressors=None)
    zarrv3.copy(root, store := MemoryStore())
    store["x/c/3"] = bytes(80)
    assert zarrv3.copy(root, store, resume=True).chunks == 0
    report = zarrv3.copy(root, store, resume=True, verify=True)
    assert (report.chunks, report.skipped) == (1, 11)
    assert store["x/c/3"] == root.store["x/c/3"]


# ---------------------------------------------------------------- memory


class Measuring(Layer):
    """Knows how many bytes were read and not yet written."""

    kind = "measuring"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.guard = threading.Lock()
        self.flying = self.most = self.keys = self.largest = 0

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Count what is taken."""
        found = super().get_many(requests)
        size = sum(len(v) for v in found if v is not None)
        self.add(size)
        self.largest = max(self.largest, size)
        self.keys = max(self.keys, len(requests))
        return found

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Nothing is swapped in what is copied from."""
        raise AssertionError

    def add(self, count: int) -> None:
        """Count."""
        with self.guard:
            self.flying += count
            self.most = max(self.most, self.flying)


class Landing(Layer):
    """Tells the source's counter what has arrived."""

    kind = "landing"

    def __init__(self, store: object, source: Measuring) -> None:
        super().__init__(store)
        self.source = source

    def write_many(self, changes: Changes, /) -> None:
        """Count what has arrived."""
        super().write_many(changes)
        self.source.add(-sum(map(size_of, changes.values())))

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Count what has arrived."""
        refused = super().swap_many(swaps)
        self.source.add(-sum(size_of(new) for _, new in swaps.values()))
        return refused

    def apply_many(self, changes: Changes, /) -> None:
        """Count what has arrived."""
        super().apply_many(changes)
        self.source.add(-sum(map(size_of, changes.values())))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread holds one window of 64 keys and at most `WINDOW_BYTES`, however much there is to copy."""
    monkeypatch.setattr(passing, "WINDOW_BYTES", 20_000)
    root = zarrv3.group()
    root.create_array("x", data=np.ones(200_000), chunks=500, compressors=None)
    root.create_array("tiny", data=np.ones(500), chunks=1, compressors=None)
    source = Measuring(root.store)
    with zarrv3.config.set(threads=3):
        zarrv3.copy(source, Landing(MemoryStore(), source))
    documents = sum(len(root.store[key]) for key in root.store if key.endswith("zarr.json"))
    assert 0 < source.most <= 3 * 20_000 + 2 * documents  # which are looked at once more before
    assert source.keys == 64


def test_nothing_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where boxes of whole chunks of both sides fit, each chunk is read once and written once, in calls of one box."""
    monkeypatch.setattr(values, "BOX_BYTES", 20_000)
    root = zarrv3.group()
    root.create_array("x", data=np.ones(20_000), chunks=400, compressors=None)
    source, dest = Measuring(Counting(root.store)), Counting(MemoryStore())
    zarrv3.copy(source, dest, chunks=1000)
    assert source.inner.requested["get_many"] == 50 + 3  # chunks, documents, the first one twice
    written = dest.requested["write_many"] + dest.requested["swap_many"]
    assert written == 20 + 2 + 2  # chunks, documents, a mark that is erased again
    assert source.largest <= 20_000


def test_listings_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of an array are taken from the listing as windows have room, not all at once."""
    ahead: list[int] = []

    class Lazy(Layer):
        kind = "lazy"
        given = taken = 0

        def list_sizes(self, folder: str, /) -> Any:
            for item in self.inner.list_sizes(folder):
                self.given += 1
                ahead.append(self.given - self.taken)
                yield item

        def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
            self.taken += len(requests)
            return super().get_many(requests)

        def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
            return super().get_versioned(keys)

    root = zarrv3.group()
    root.create_array("x", data=np.arange(5000), chunks=1)
    with zarrv3.config.set(threads=1):
        zarrv3.copy(Lazy(root.store), MemoryStore())
    assert len(ahead) == 5000
    assert max(ahead) <= 66


# ---------------------------------------------------------------- sources of other kinds


class Unlisted(Layer):
    """A store that cannot list, as a web server."""

    kind = "unlisted"

    @property
    def capabilities(self) -> Any:
        """Without listing."""
        return self.inner.capabilities.without("list")


@pytest.mark.parametrize("change", [{}, {"chunks": 4}])
def test_sources_that_cannot_list(change: dict[str, Any]) -> None:
    """What a store holds that cannot list follows from its consolidated metadata and the chunk grids."""
    root = zarrv3.group()
    root.create_array("g/x", data=np.arange(100).reshape(10, 10), chunks=3)[:3, :3] = 0
    root.create_array("empty", shape=(5,), chunks=2)
    with pytest.raises(zarrv3.errors.UnsupportedError, match="consolidate_metadata"):
        zarrv3.copy(Unlisted(root.store), MemoryStore())
    single = zarrv3.copy(Unlisted(root.store), store := MemoryStore(), source_path="g/x", **change)
    assert single.arrays == 1
    assert_equal(root["g/x"], zarrv3.open(store))
    zarrv3.consolidate_metadata(root)
    seen: list[tuple[int, int | None]] = []
    zarrv3.copy(Unlisted(root.store), store := MemoryStore(), progress=lambda *a: seen.append(a), **change)
    assert {total for _, total in seen} == {None}
    assert_equal(root, zarrv3.open_group(store, use_consolidated=False))
    assert_equal(root, zarrv3.open_group(store, use_consolidated=True, mode="r"))
    zarrv3.copy(Unlisted(root.store), store, resume=True, **change)


def test_groups_that_were_not_consolidated() -> None:
    """A group that consolidated metadata leave out is told, with what lies below, and not passed over."""
    root = zarrv3.group()
    root.create_array("g/x", data=np.arange(3))
    root.create_array("y", data=np.arange(3))
    zarrv3.consolidate_metadata(root)
    document = zarrv3.open_group(root.store, use_consolidated=False).metadata.to_document()
    del document["consolidated_metadata"]["metadata"]["g"]
    root.store["zarr.json"] = json.dumps(document).encode()
    with pytest.raises(MetadataError, match=r"below 'g/zarr\.json'"):
        zarrv3.copy(Unlisted(root.store), MemoryStore())
    report = zarrv3.copy(Unlisted(root.store), store := MemoryStore(), on_error="report")
    assert [failed.path for failed in report.not_carried] == ["g"]
    assert [*zarrv3.open_group(store, use_consolidated=True)] == ["y"]


def test_consolidated_metadata_stay_true() -> None:
    """A copy that changes documents consolidates again where the source was; one that does not keeps every byte."""
    root = zarrv3.group()
    root.create_array("g/x", data=np.arange(10), chunks=2)
    zarrv3.consolidate_metadata(root, "g")
    zarrv3.consolidate_metadata(root)
    zarrv3.copy(root.store, store := MemoryStore())
    assert dict(store.items()) == dict(root.store.items())
    zarrv3.copy(root.store, store := MemoryStore(), chunks=5)
    for path in ("", "g"):
        group = zarrv3.open_group(store, path=path, mode="r", use_consolidated=True)
        assert [node.chunks for _, node in group.members(None) if isinstance(node, Array)] == [(5,)]
    assert zarrv3.copy(root.store, store, chunks=5, resume=True).documents == 0


def test_unknown_extensions_pass_through() -> None:
    """Nodes that cannot be understood here are copied with everything below them; only changing them is impossible."""
    root = zarrv3.group()
    root.create_array("known", data=np.arange(3))
    document = root["known"].metadata.to_document()
    root.store["other/zarr.json"] = (
        b'{"zarr_format": 3, "node_type": "group", "new": {"must_understand": true}}'
    )
    root.store["other/deep/zarr.json"] = b"{}"
    root.store["other/deep/c/0"] = b"bytes"
    root.store["foreign/zarr.json"] = dump_document({**document, "data_type": "decimal1024"})
    root.store["foreign/c/0"] = b"bytes"
    root.store["notes.txt"] = b"beside"
    root.store["folder/notes.txt"] = b"below no node"
    plan = zarrv3.copy(root.store, MemoryStore(), dry_run=True)
    report = zarrv3.copy(root.store, store := MemoryStore())
    assert dict(store.items()) == dict(root.store.items())
    assert report.chunks + report.documents == len(store)
    assert (plan.chunks, plan.documents, plan.bytes) == (report.chunks, report.documents, report.bytes)
    zarrv3.copy(root.store, store, resume=True, verify=True)
    store["other/zarr.json"] = b"no JSON"
    with pytest.raises(zarrv3.errors.NodeExistsError, match="/other in"):
        zarrv3.copy(root.store, store, resume=True)
    with pytest.raises(MetadataError, match="decimal1024"):
        zarrv3.copy(root.store, MemoryStore(), chunks=2)
    report = zarrv3.copy(root.store, store := MemoryStore(), chunks=2, on_error="report")
    assert sorted(failed.path for failed in report.not_carried) == ["foreign", "other"]
    assert [*zarrv3.open_group(store)] == ["known"]
    zarrv3.copy(root.store, Unlisted(MemoryStore()))
    with pytest.raises(MetadataError, match=r"'foreign/zarr\.json' cannot be understood"):
        zarrv3.copy(Unlisted(root.store), MemoryStore(), source_path="foreign")


class Keeping(Layer):
    """A store that cannot erase."""

    kind = "keeping"

    @property
    def capabilities(self) -> Any:
        """Without erasing."""
        return self.inner.capabilities.without("erase")


@pytest.mark.parametrize("change", [{}, {"chunks": 7}])
def test_destinations_that_cannot_erase(change: dict[str, Any]) -> None:
    """They get copies too, resumed ones and ones from which a node is left out."""
    root = zarrv3.group()
    root.create_array("x", data=np.arange(1, 50), chunks=5)
    root.create_array("y", data=np.arange(1, 50), chunks=5, compressors=GZIP)
    zarrv3.copy(root, Keeping(store := MemoryStore()), **change)
    assert_equal(root, zarrv3.open_group(store))
    zarrv3.copy(root, Keeping(store), resume=True, **change)
    root.store["y/c/3"] = b"not gzip"
    report = zarrv3.copy(root, Keeping(store := MemoryStore()), chunks=7, on_error="report")
    assert [failed.path for failed in report.not_carried] == ["y"]
    assert [*zarrv3.open_group(store)] == ["x"]


def test_texts_of_any_length() -> None:
    """Elements that differ in length are re-encoded and verified; the missing ones stay missing."""
    root = zarrv3.group()
    array = root.create_array("x", shape=20, chunks=3, dtype="string")
    array[:10] = np.array([f"text {n}" * n for n in range(10)], dtype=object)
    report = zarrv3.copy(root, store := MemoryStore(), chunks=4, verify=True)
    assert zarrv3.open_array(store, path="x")[...].tolist() == array[...].tolist()
    assert report.chunks == 3


def test_the_first_failure_of_an_array_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of many boxes that fails is told once and given up; others go on."""
    monkeypatch.setattr(values, "BOX_BYTES", 40)
    root = zarrv3.group()
    for name in ("x", "y"):
        root.create_array(name, data=np.arange(1, 101), chunks=5, compressors=GZIP)
    for number in range(3, 20):
        root.store[f"x/c/{number}"] = b"not gzip"
    with zarrv3.config.set(threads=1):
        report = zarrv3.copy(root, store := MemoryStore(), compressors=None, on_error="report")
    assert [failed.path for failed in report.not_carried] == ["x"]
    assert "x/c/3" in report.not_carried[0].reason
    assert not [key for key in store if key.startswith("x/")]
    assert report.arrays == 1


def test_a_layer_that_cannot_translate_a_node() -> None:
    """Where a layer fails to show one document, that node is told and the others are copied."""

    class Picky(Layer):
        kind = "picky"

        def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
            if ("bad/zarr.json", None) in requests:
                raise MetadataError("'bad/zarr.json' has the data type pickle")
            if any(key == "worse/c/1" for key, _ in requests):
                raise CorruptDataError("'worse/c/1' is cut short")
            return super().get_many(requests)

        def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
            return super().get_versioned(keys)

    root = zarrv3.group()
    for name in ("bad", "good", "worse"):
        root.create_array(name, data=np.arange(4), chunks=1)
    with pytest.raises(MetadataError, match="pickle"):
        zarrv3.copy(Picky(root.store), MemoryStore())
    store = MemoryStore()
    report = zarrv3.copy(Picky(root.store), store, on_error="report")
    assert Counter(failed.path for failed in report.not_carried) == {"bad": 1, "worse": 1}
    assert [name for name in children(store.list(), "") if name[-1] == "/"] == ["good/"]
    assert report.arrays == 1
    zarrv3.consolidate_metadata(root)
    zarrv3.copy(Picky(root.store), store := MemoryStore(), on_error="report")
    assert [*zarrv3.open_group(store, use_consolidated=True)] == ["good"]


# ---------------------------------------------------------------- shards


@pytest.mark.parametrize(
    "change",
    [
        {"shards": None},
        {"shards": (8, 8)},
        {"compressors": GZIP},
        {"chunks": 2},
        {"chunks": 1, "shards": 3},
    ],
)
def test_shards(change: dict[str, Any]) -> None:
    """Arrays get shards, lose them and keep them; interrupted or from a store that cannot list they are the same."""
    pytest.importorskip("zarrv3_transformer_sharding")
    root = zarrv3.group()
    array = root.create_array("x", data=np.arange(1, 145).reshape(12, 12), chunks=2, shards=4)
    array[:4, 4:8] = 0
    zarrv3.copy(root, store := MemoryStore())
    assert dict(store.items()) == dict(root.store.items())
    zarrv3.consolidate_metadata(root)
    for source in (root.store, Unlisted(root.store)):
        store = MemoryStore()
        report = zarrv3.copy(source, store, verify=True, **change)
        made = zarrv3.open_array(store, path="x")
        assert_equal(array, made)
        wanted = {"chunks": (2, 2), "shards": (4, 4), **change}
        assert (made.chunks, made.shards) == tuple(
            None if wanted[n] is None else (wanted[n],) * 2 if isinstance(wanted[n], int) else wanted[n]
            for n in ("chunks", "shards")
        )
        assert report.chunks == sum(1 for key in store if "/c/" in key)
        assert report.recoded == (change != {"chunks": 2})
        again = zarrv3.copy(source, store, resume=True, **change)
        assert (again.chunks, again.documents) == (0, 0)


def test_storage_transformers() -> None:
    """They are kept with what they store; where keys cannot be listed the elements go through them."""
    sharding = pytest.importorskip("zarrv3_transformer_sharding")
    root = zarrv3.group()
    transformer = sharding.ShardingTransformer("indexed", chunks_per_shard=(2, 2))
    array = root.create_array(
        "x", data=np.arange(1, 65).reshape(8, 8), chunks=2, storage_transformers=[transformer]
    )
    zarrv3.copy(root, store := MemoryStore())
    assert dict(store.items()) == dict(root.store.items())
    zarrv3.consolidate_metadata(root)
    zarrv3.copy(Unlisted(root.store), store := MemoryStore())
    assert {key: store[key] for key in store if "/c/" in key} == {
        key: root.store[key] for key in root.store if "/c/" in key
    }
    for change, shards in [
        ({"compressors": GZIP}, (4, 4)),
        ({"chunks": 4}, (8, 8)),
        ({"shards": None}, None),
    ]:
        zarrv3.copy(root, store := MemoryStore(), **change)
        made = zarrv3.open_array(store, path="x")
        assert_equal(array, made)
        assert made.shards == shards


def test_lengths_by_the_names_of_dimensions() -> None:
    """Dimensions that are named get new lengths, others keep theirs, and arrays without them pass through."""
    store = zarrv3.MemoryStore()
    group = zarrv3.create_group(store)
    group.create_array("v", data=np.arange(24).reshape(6, 4), chunks=(2, 4), dimension_names=["time", "lat"])
    group.create_array("lat", data=np.arange(4), chunks=2, dimension_names=["lat"])
    group.create_array("plain", data=np.arange(4), chunks=2)
    dest = zarrv3.MemoryStore()
    report = zarrv3.copy(store, dest, chunks={"time": 3}, shards={"time": 6})
    assert report.recoded == 1
    copied = zarrv3.open_group(dest)
    assert (copied["v"].chunks, copied["v"].shards) == ((3, 4), (6, 4))
    assert (copied["lat"].chunks, copied["plain"].chunks) == ((2,), (2,))
    for is_dry in (False, True):
        unused = zarrv3.MemoryStore()
        with pytest.raises(zarrv3.errors.ConfigurationError, match="no array has a dimension 'tiem'"):
            zarrv3.copy(store, unused, chunks={"tiem": 3}, dry_run=is_dry)
        assert not [*unused]

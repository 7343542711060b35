"""The adapter `|zip:`: archives in other stores, read by ranges."""

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pytest

import zarrv3
from zarrv3 import Counting, MemoryStore
from zarrv3.errors import (
    ConfigurationError,
    CorruptDataError,
    ReadOnlyError,
    StoreAccessError,
    StoreClosedError,
)
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Buffer, ByteRange, Request, Versioned, whole
from zarrv3.testing import Opener, StoreConformance
from zarrv3_store_zip import ZipReader, ZipStore


def archive(items: dict[str, bytes], method: int = 0) -> bytes:
    """An archive with some values."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for key, value in items.items():
            made.writestr(key, value)
    return buffer.getvalue()


class TestZipReader(StoreConformance):
    """A `ZipReader` over memory."""

    @pytest.fixture
    def opener(self, request: pytest.FixtureRequest) -> Opener:
        """Every call opens the same archive, which holds something."""
        name = f"archives-{request.node.name}"
        MemoryStore(name=name)["d/a.zip"] = archive({"zarr.json": b"{}", "a/c/0/1": b"chunk", "a/c/0/0": b""})
        return partial(zarrv3.open_store, f"memory://{name}|zip:?archive=d/a.zip")


class Ranges(Layer):
    """Notes the ranges that are asked for."""

    kind = "ranges"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.batches: list[list[int]] = []

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Whole values are not what is counted here."""
        return self.inner.get_versioned(keys)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Read, and note how much."""
        values = self.inner.get_many(requests)
        assert all(wanted is not None for _, wanted in requests), "the whole archive was fetched"
        self.batches.append([len(value) for value in values if value is not None])
        return values


Below = Callable[[dict[str, bytes]], tuple[ZipReader, Ranges]]


@pytest.fixture
def reader() -> Below:
    """Makes a reader over a store that notes ranges."""

    def make(items: dict[str, bytes], method: int = 0) -> tuple[ZipReader, Ranges]:
        below = Ranges(MemoryStore({"a.zip": archive(items, method)}))
        return ZipReader(below, "a.zip"), below

    return make


# ---------------------------------------------------------------- what it costs


def test_opening_reads_the_end(reader: Below) -> None:
    """A small directory comes with the first read, of the last 64 KiB; a large one with one more, exactly."""
    small, below = reader({f"c/{i}": bytes(10_000) for i in range(100)})
    assert len(small.list()) == 100
    assert below.batches == [[65_634], [98]]
    large, below = reader({f"chunk/{i:0100}": b"x" for i in range(2000)})
    assert len(large.list()) == 2000
    assert [len(batch) for batch in below.batches] == [1, 1, 1]
    assert below.batches[1][0] + 65_634 == 2000 * (46 + 106) + 22


def test_a_batch_is_one_batch(reader: Below) -> None:
    """Values that are neighbours come by one range, others by one each, all in one batch, and little besides."""
    store, below = reader({f"c/{i}": bytes([i]) * 50_000 for i in range(20)})
    store.list()
    below.batches.clear()
    found = store.get_many(whole(f"c/{i}" for i in (7, 3, 4, 5, 3, 12)))
    assert [len(value or b"") for value in found] == [50_000] * 6
    assert found[0] == bytes([7]) * 50_000
    (sizes,) = below.batches
    assert len(sizes) == 4  # the end, by which the archive is recognised, is one
    assert sum(sizes) < 5 * 50_000 + 5_000


def test_parts_of_large_values(reader: Below) -> None:
    """A range of a large stored value costs its header, once, and the range."""
    store, below = reader({f"c/{i}": bytes([i]) * 1_000_000 for i in range(5)})
    store.list()
    below.batches.clear()
    requests = [Request(f"c/{i}", ByteRange(i * 1000, i * 1000 + 10)) for i in range(5)]
    for batches in (2, 1):
        assert [*store.get_many(requests)] == [bytes([i]) * 10 for i in range(5)]
        assert len(below.batches) == batches
        assert sum(map(sum, below.batches)) < 10_000
        below.batches.clear()
    assert store.get_many([Request("c/1", ByteRange(-3))]) == [b"\1\1\1"]
    assert len(below.batches) == 1


def test_listing_costs_a_look(reader: Below) -> None:
    """Listing and sizes come from the directory; the archive is only looked at, whether it is the same."""
    store, below = reader({"a/b/k": b"1", "a/l": b"22", "m": b"333"})
    assert dict(store.list_sizes("")) == {"a/b/k": 1, "a/l": 2, "m": 3}
    below.batches.clear()
    assert sorted(store.list_dir("a/")) == ["a/b/", "a/l"]
    assert sorted(store.list_prefix("a/")) == ["a/b/k", "a/l"]
    assert store.stat_many(["m", "none", "a/l"]) == [3, None, 2]
    assert below.batches == [[98]] * 3


def test_arrays_cost_a_batch_a_window(reader: Below) -> None:
    """Reading an array of many chunks costs as many batches as from any other store."""
    with zarrv3.open_store("memory://reader-array") as source:
        array = zarrv3.create_array(source, shape=(64, 64), chunks=(4, 4), dtype="f8", compressors=None)
        array[...] = np.arange(64 * 64).reshape(64, 64)
        plain = Counting(source)
        zarrv3.open_array(plain)[...]
        store, _ = reader(dict(source.items()))
    store.list()
    counting = Counting(store)
    assert np.array_equal(zarrv3.open_array(counting)[...], np.arange(64 * 64).reshape(64, 64))
    assert counting.calls == plain.calls


# ---------------------------------------------------------------- archives that change


def test_a_replaced_archive_is_noticed(reader: Below) -> None:
    """After the archive was replaced, values, ranges, missing keys and listings are those of the new one."""
    for method in (0, 8):
        below = MemoryStore({"a.zip": archive({f"c/{i}": bytes([i]) * 1000 for i in range(9)}, method)})
        store = ZipReader(below, "a.zip")
        assert store["c/3"] == b"\3" * 1000
        below["a.zip"] = archive({f"c/{i}": bytes([i]) * 2000 for i in range(3, 12)}, method)
        assert store.get_partial_values([("c/3", (1500, 10)), ("c/1", None), ("c/11", None)]) == [
            b"\3" * 10,
            None,
            b"\x0b" * 2000,
        ]
        below["a.zip"] = archive({"d/1": b"1"})
        assert store.list() == ["d/1"]
        del below["a.zip"]
        with pytest.raises(StoreAccessError, match=r"there is no archive 'a\.zip' in MemoryStore"):
            store.get("d/1")


def test_an_archive_that_never_rests() -> None:
    """An archive that is another one with each read ends in an error, not in a mixture."""

    class Restless(Layer):
        kind = "restless"
        turn = 0

        def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
            return self.inner.get_versioned(keys)

        def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
            self.turn += 1
            self.inner["a.zip"] = archive({f"{self.turn}/{i}": b"x" for i in range(self.turn)} | {"k": b"v"})
            return self.inner.get_many(requests)

    with pytest.raises((StoreAccessError, CorruptDataError)):
        ZipReader(Restless(MemoryStore()), "a.zip").get("k")


# ---------------------------------------------------------------- as a layer, by URL


@pytest.fixture
def named() -> Iterator[str]:
    """A named memory store with an archive in it."""
    store = MemoryStore(name="zips")
    store["d/a.zip"] = archive({"g/k": b"v"})
    yield "memory://zips"
    store.clear()


def test_urls(named: str) -> None:
    """The archive is named by `archive`, or by a prefix; a path after `|zip:` is a folder in it."""
    for url in (
        f"{named}|zip:?archive=d/a.zip",
        f"{named}|prefix:d/a.zip|zip:",
        f"{named}|zip:?archive=d/a.zip&mode=r",
    ):
        store = zarrv3.open_store(url)
        assert store["g/k"] == b"v"
        assert store == ZipReader(MemoryStore(name="zips"), "d/a.zip")
    assert zarrv3.open_store(f"{named}|prefix:d|zip:g?archive=a.zip")["k"] == b"v"
    assert zarrv3.open_store(store.spec()) == store
    with pytest.raises(ConfigurationError, match=r"say which of them is one: \|zip:\?archive=KEY"):
        zarrv3.open_store(f"{named}|zip:")
    with pytest.raises(ConfigurationError, match="can only be read"):
        zarrv3.open_store(f"{named}|zip:?archive=d/a.zip&mode=a")
    with pytest.raises(ConfigurationError, match="no option 'compression'"):
        zarrv3.open_store(f"{named}|zip:?archive=d/a.zip&compression=8")


def test_stores_without_a_name() -> None:
    """An archive in a store that was made in code is read too."""
    items = {"a.zip": archive({"k": b"v"})}
    assert zarrv3.open_store(items)["a.zip"] == items["a.zip"]
    assert ZipReader.around(items, {"archive": "a.zip"})["k"] == b"v"
    with pytest.raises(ConfigurationError, match="say which of them"):
        ZipReader.around(items, {})


def test_a_root_that_names_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fsspec`'s stores are opened at the archive itself: its folder and name are taken from the URL."""

    class Remote(MemoryStore):
        kind = "fsspec"

        def __init__(self, url: str, anon: bool = False) -> None:
            super().__init__(name=url)
            self.given_options = {"url": url, "anon": anon}

        def describe(self) -> str:
            return f"Remote({self.given_options})"

    Remote("s3://bucket/d", anon=True)["a.zip"] = archive({"k": b"v"})
    store = ZipReader.around(Remote("s3://bucket/d/a.zip", anon=True), {})
    assert store["k"] == b"v"
    assert store.spec() == {
        "store": "fsspec",
        "url": "s3://bucket/d",
        "anon": True,
        "layers": [{"layer": "zip", "archive": "a.zip"}],
    }
    with pytest.raises(ConfigurationError, match="say which of them"):
        ZipReader.around(Remote("s3://bucket"), {})


def test_it_only_reads(named: str) -> None:
    """Every change is refused; it pickles, closes the store below, and is equal on equal stores only."""
    store = ZipReader(MemoryStore(name="zips"), "d/a.zip")
    with pytest.raises(ReadOnlyError):
        store["g/k"] = b"w"
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert copy["g/k"] == b"v"
    assert ZipReader(MemoryStore(name="zips"), "other") != store
    assert ZipReader(MemoryStore(name="others"), "d/a.zip") != store
    store.close()
    with pytest.raises(StoreClosedError):
        store.inner.get("d/a.zip")


def test_listing_needs_the_archive_only(named: str) -> None:
    """An archive in a store that cannot list, such as a web server, can be listed: it says itself what it holds."""

    class Web(Layer):
        kind = "web"

        @property
        def capabilities(self) -> zarrv3.Capabilities:
            return self.inner.capabilities.without("list", "write")

    store = ZipReader(Web(MemoryStore(name="zips")), "d/a.zip")
    assert store.capabilities.list
    assert store.list() == ["g/k"]


def test_where_it_lies(named: str) -> None:
    """A reader tells in what of the store below its folders lie: the archive, not a folder of the same name."""
    store = zarrv3.open_store(f"{named}|prefix:d|zip:?archive=a.zip")
    inner, folder = store.below("g/")
    assert inner.below(folder) == (MemoryStore(name="zips"), "d/a.zip/g/")


def test_an_archive_in_an_archive(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A stored archive in an archive is read by ranges of ranges."""
    path = tmp_path_factory.mktemp("nested") / "outer.zip"
    with ZipStore(path) as store:
        store["d/inner.zip"] = archive({"k": b"v" * 100})
    assert zarrv3.open_store(f"{path}|zip:d/inner.zip|zip:")["k"] == b"v" * 100

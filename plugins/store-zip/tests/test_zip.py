"""Archives in files: the conformance kit, modes, options, arrays."""

import io
import json
import pickle
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zip_archives import content, names

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    LimitError,
    ReadOnlyError,
    StoreAccessError,
)
from zarrv3.store.contract import ByteRange, Request
from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3_store_zip import ZipStore, archive, driver
from zarrv3_store_zip.members import encode
from zarrv3_store_zip.spool import File

METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])


class TestZipStore(InterruptConformance, StoreConformance):
    """A `ZipStore` that does not compress."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same archive, which does not exist at first."""
        return partial(ZipStore, tmp_path / "new" / "data.zip")


class TestDeflatingZipStore(InterruptConformance, StoreConformance):
    """A `ZipStore` that deflates."""

    examples = 5

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same archive, which does not exist at first."""
        return partial(ZipStore, tmp_path / "data.zip", zipfile.ZIP_DEFLATED)


class TestPackingZipStore(InterruptConformance, StoreConformance):
    """A `ZipStore` in the classic format that packs its spool all the time and does not wait for the disk."""

    examples = 5

    @pytest.fixture
    def opener(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
        """Every call opens the same archive, which does not exist at first."""
        monkeypatch.setattr(archive, "SLACK", 100)
        return partial(ZipStore, tmp_path / "data.zip", allowZip64=False, fsync=False)


class TestReadOnlyZipStore(StoreConformance):
    """A `ZipStore` of mode `r`."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same archive, which holds something."""
        path = tmp_path / "data.zip"
        with ZipStore(path) as store:
            store.update({"zarr.json": b"{}", "a/c/0/1": b"chunk", "a/c/0/0": b""})
        return partial(ZipStore, path, mode="r")


# ---------------------------------------------------------------- entries


@given(
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    value=st.binary(),
    method=METHODS,
)
def test_members_are_zipfiles(key: str, value: bytes, method: int) -> None:
    """Header and data are, byte by byte, what the standard library writes; stored values are not copied."""
    info, pieces = encode(key, memoryview(value), method)
    plain = zipfile.ZipInfo(key)
    plain.compress_type, plain.external_attr = method, info.external_attr
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(plain, value)
        end = archive.start_dir
    assert b"".join(pieces) == file.getvalue()[:end]
    for name in ("filename", "flag_bits", "CRC", "compress_size", "file_size", "extra"):
        assert getattr(info, name) == getattr(plain, name)
    assert method != zipfile.ZIP_STORED or pieces[-1].obj is value  # type: ignore[union-attr]


def test_one_entry_per_key(path: Path) -> None:
    """A key is the name of an entry, stored as it is, that unzips to a readable file; other files are not left."""
    with ZipStore(path) as store:
        store.update({"zarr.json": b"{}", "a/é/0": b"chunk"})
    assert content(path) == {"zarr.json": b"{}", "a/é/0": b"chunk"}
    with zipfile.ZipFile(path) as opened:
        info = opened.getinfo("a/é/0")
        assert (info.compress_type, info.external_attr >> 16, info.flag_bits) == (0, 0o644, 0x800)
    assert names(path.parent) == ["data.zip"]


def test_nothing_is_created_by_reading(path: Path) -> None:
    """Opening, reading, listing and erasing what is not there leave no trace (defect 19)."""
    with ZipStore(path) as store:
        assert (store.get("k"), store.list(), store.getsize()) == (None, [], 0)
        assert (store.stat_many(["k"]), [*store.list_dir("a/")]) == ([None], [])
        store.delitems(["a/k"])
        store.erase_prefix("a/")
        store.rename_prefix("a/", "b/")
        store.clear()
        assert store.get_versioned(["k"]) == [(None, None)]
        assert store.swap_many({"k": (b"old", b"new"), "l": (None, None)}) == ["k"]
        store.flush()
    assert names(path.parent) == []


def test_replacing_and_erasing(path: Path) -> None:
    """Replaced and erased values are gone from the flushed archive, with their bytes and without a warning (defect 17)."""
    with ZipStore(path) as store:
        for number in range(5):
            store.update({f"a/{name}": bytes([number]) * 10_000 for name in range(5)})
            if number % 2:
                store.flush()
        store.delitems(["a/0", "a/1"])
        store.rename("a", "b")
        del store["b/2"]
    assert content(path) == {"b/3": b"\4" * 10_000, "b/4": b"\4" * 10_000}
    assert path.stat().st_size < 20_500
    with ZipStore(path) as store:
        store.clear()
    assert content(path) == {}


def test_the_same_values_make_the_same_archive(tmp_path: Path) -> None:
    """An archive depends on nothing but what was written."""
    for name in ("one", "two"):
        with ZipStore(tmp_path / name) as store:
            store.update({"zarr.json": b"{}", "c/0": b"chunk"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("method", [0, 8, 12, 14])
def test_every_compression(path: Path, method: int) -> None:
    """Values are compressed by the method asked for, in whole and in part they come back, and sizes are their own."""
    value = b"0123456789" * 1000
    with ZipStore(path, method) as store:
        store["k"] = value
        assert store.get_partial_values([("k", (5, 10)), ("k", (-3, None))]) == [b"5678901234", b"789"]
        assert store.capabilities.native_ranges is (method == 0)
    with zipfile.ZipFile(path) as opened:
        assert opened.getinfo("k").compress_type == method
    with ZipStore(path, method, mode="r") as store:
        assert store["k"] == value
        assert (store.getsize(), store.stat_many(["k", "none"])) == (len(value), [len(value), None])
    assert content(path) == {"k": value}


def test_ranges_of_stored_values_read_ranges(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range of a stored value costs its header, once, and the range; nothing else is read."""
    with ZipStore(path) as store:
        store["big"] = bytes(1_000_000)
    reads: list[int] = []
    read = File.read
    monkeypatch.setattr(File, "read", lambda self, at, size: reads.append(size) or read(self, at, size))
    with ZipStore(path, mode="r") as store:
        assert store.capabilities.native_ranges
        assert [*store.get_many([Request("big", ByteRange(10, 30)), Request("big", ByteRange(-5))])] == [
            bytes(20),
            bytes(5),
        ]
    assert reads == [20, 5]


def test_sizes_and_listings_read_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes of any number of keys, and listings, come from the directory."""
    with ZipStore(path) as store:
        store.update({f"a/{i}": bytes(i) for i in range(200)})
    with ZipStore(path) as store:
        for name in ("read", "peek"):
            monkeypatch.setattr(File, name, None)
        assert store.stat_many(["a/7", "none", "a/0"]) == [7, None, 0]
        assert dict(store.list_sizes("a/")) == {f"a/{i}": i for i in range(200)}
        assert [*store.list_dir("")] == ["a/"]


# ---------------------------------------------------------------- swaps


def test_swaps(path: Path) -> None:
    """Of a batch of swaps those whose entry is another one are refused, the others made; a flush changes no version."""
    with ZipStore(path) as store:
        store.update({"a": b"1", "b": b"2", "c": b""})
    with ZipStore(path) as store:
        versions = dict(zip("abcd", (version for _, version in store.get_versioned([*"abcd"])), strict=True))
        store["b"] = b"2"  # the value of before, written again
        store.flush()
        new = {"a": b"new", "b": b"new", "c": None, "d": b"new"}
        assert store.swap_many({key: (versions[key], value) for key, value in new.items()}) == ["b"]
        assert store.swap_many({"a": (versions["a"], None), "d": (None, b"again")}) == ["a", "d"]
        assert store.swap_many({"b": (store.get_versioned(["b"])[0][1], b"3")}) == []
    assert content(path) == {"a": b"new", "b": b"3", "d": b"new"}


def test_refused_swaps_leave_the_archive_alone(path: Path) -> None:
    """When nothing of a batch can be swapped nothing is locked, left behind or flushed."""
    with ZipStore(path) as store:
        store.update({"a": b"1"})
    before = path.stat()
    with ZipStore(path) as store:
        assert store.swap_many({"a": (None, b"new"), "b": ("of another store", b"new")}) == ["a", "b"]
        assert names(path.parent) == ["data.zip"]
    assert path.stat() == before


# ---------------------------------------------------------------- modes and options


def test_mode_r(path: Path) -> None:
    """Without an archive it says so and creates nothing; with one it reads, without a `zarr.json` too (defect 19)."""
    with pytest.raises(StoreAccessError, match=r"there is no archive .*data\.zip"):
        ZipStore(path, mode="r").get("k")
    assert names(path.parent) == []
    with ZipStore(path) as store:
        store["k"] = b"v"
    with ZipStore(path, mode="r") as store:
        assert store["k"] == b"v"
        with pytest.raises(ReadOnlyError):
            store["k"] = b"w"
        with pytest.raises(KeyError, match="nothing"):
            zarrv3.open_array(store, path="nothing")
    before = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)


def test_mode_w_starts_over_with_the_flush(path: Path) -> None:
    """`w` shows an empty store; the old archive is whole until the flush, and gone after it."""
    with ZipStore(path) as store:
        store["old"] = b"v"
    store = ZipStore(path, mode="w")
    assert store.list() == []
    store["new"] = b"w"
    assert content(path) == {"old": b"v"}
    store.flush()
    assert content(path) == {"new": b"w"}
    store["more"] = b"x"
    store.close()
    assert content(path) == {"new": b"w", "more": b"x"}
    ZipStore(path, mode="w").close()  # never used
    assert content(path) == {"new": b"w", "more": b"x"}
    waiting, empty = ZipStore(path), ZipStore(path, mode="w")
    waiting["big"] = bytes(5000)
    empty["k"] = b"v"
    waiting.close()
    assert content(path) == {"k": b"v"}
    assert path.stat().st_size < 500


def test_mode_x_creates_only(path: Path) -> None:
    """`x` refuses an archive that exists, also one that comes into being meanwhile."""
    with ZipStore(path, mode="x") as store:
        store["k"] = b"v"
        store.flush()
        store["l"] = b"w"
    with pytest.raises(StoreAccessError, match="exists; mode 'x'"):
        ZipStore(path, mode="x").get("k")
    assert content(path) == {"k": b"v", "l": b"w"}
    late = ZipStore(path.with_name("late.zip"), mode="x")
    late["k"] = b"mine"
    Path(late.path).write_bytes(path.read_bytes())
    with pytest.raises(StoreAccessError, match="changed by another program"):
        late.flush()
    Path(late.path).unlink()
    late.close()
    assert content(Path(late.path)) == {"k": b"mine"}


@pytest.mark.parametrize("mode", ["w", "x"])
def test_starting_over_happens_once(path: Path, mode: Any) -> None:
    """Pickles and specs of a store that has started over, or would, open what is there."""
    store = ZipStore(path, mode=mode)
    store["k"] = b"v"
    store.flush()
    for again in (pickle.loads(pickle.dumps(store)), zarrv3.open_store(store.spec())):
        assert again == store
        assert again["k"] == b"v"
    store.close()
    assert pickle.loads(pickle.dumps(ZipStore(path, mode="w")))["k"] == b"v"
    assert "mode" not in ZipStore(path, mode="w").spec()
    assert ZipStore(path, mode="r").spec()["mode"] == "r"


def test_bad_options(path: Path) -> None:
    """Unknown modes, methods and options are refused with the known ones."""
    with pytest.raises(ConfigurationError, match="'r' or 'w' or 'a' or 'x'"):
        ZipStore(path, mode="rw")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"8 \(deflated\)"):
        ZipStore(path, compression=93)
    for text in ("?level=3", "?compression=zstd", "?mode=q"):
        with pytest.raises(ConfigurationError, match=r"level|zstd|'q'"):
            zarrv3.open_store(f"zip://{path}{text}")
    with pytest.raises(ConfigurationError, match="names a host"):
        zarrv3.open_store("zip://host/a.zip")


def test_url_and_spec(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """URL, adapter on a file, options and spec lead to equal stores."""
    monkeypatch.setenv("ZIP_FOLDER", str(path.parent).strip("/"))
    store = ZipStore(path, 8, False, "a", "/", fsync=False)
    options = "compression=deflated&allowZip64=no&dimension_separator=/&fsync=no"
    for url in (
        f"zip://{path}?{options}",
        f"{path.as_uri()}|zip:?{options}&mode=a",
        f"{path}|zip:?{options}",
        f"{path.parent}|zip:?archive={path.name}&{options}",
        f"file:///${{ZIP_FOLDER}}/data.zip|zip:?{options}",
    ):
        assert zarrv3.open_store(url) == store
    assert zarrv3.open_store(store.spec()) == store
    assert store.dimension_separator == "/"
    assert ZipStore(path) != store
    assert ZipStore(path, mode="r") == ZipStore(str(path))
    json.dumps(store.spec())


def test_adapter_on_a_folder_inside(path: Path) -> None:
    """What stands after `|zip:` is a folder in the archive."""
    with zarrv3.open_store(f"{path}|zip:a/b") as store:
        store["k"] = b"v"
    assert content(path) == {"a/b/k": b"v"}
    assert zarrv3.open_store(f"{path}|zip:a|prefix:b")["k"] == b"v"
    with pytest.raises(ConfigurationError, match="'normalize_keys' of a folder has no meaning"):
        zarrv3.open_store(f"{path.as_uri()}?normalize_keys=yes|zip:")


def test_backslashes_are_refused(path: Path) -> None:
    """A key with a backslash, a separator for many zip programs, is refused for writing and missing for reading."""
    store = ZipStore(path)
    with pytest.raises(InvalidKeyError, match="backslash"):
        store["a\\b"] = b"v"
    assert store.get("a\\b") is None


# ---------------------------------------------------------------- limits


def test_without_zip64(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `allowZip64` a write beyond 2 GiB or 65,535 entries is refused at once; nothing is lost, room can be made."""
    for module in (zipfile, driver.zipfile):
        monkeypatch.setattr(module, "ZIP64_LIMIT", 5000)
        monkeypatch.setattr(module, "ZIP_FILECOUNT_LIMIT", 10)
    store = ZipStore(path, allowZip64=False)
    store.update({"a": bytes(2000), "b": bytes(2000)})
    for refused in ({"c": bytes(2000)}, {"b": bytes(6000)}, {f"c/{i}": b"" for i in range(9)}):
        with pytest.raises(LimitError):
            store.update(refused)
    store["b"] = bytes(2100)
    assert {key: len(value) for key, value in store.items()} == {"a": 2000, "b": 2100}
    store.delitems(["a"])
    store["c"] = bytes(2000)
    store.close()
    assert {key: len(value) for key, value in content(path).items()} == {"b": 2100, "c": 2000}


def test_with_zip64(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With it the archive grows on: values, places and numbers beyond the classic format are written and read."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 5000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
    items = {f"c/{i}": bytes([i]) * 3000 for i in range(15)} | {"big": b"b" * 9000}
    with ZipStore(path) as store:
        store.update(items)
    with ZipStore(path) as store:
        assert dict(store.items()) == items
        store.rename("c", "d")
        store["new"] = b"n"
    renamed = {key.replace("c/", "d/"): value for key, value in items.items()} | {"new": b"n"}
    assert content(path) == renamed
    assert b"PK\6\6" in path.read_bytes()[-300:]


# ---------------------------------------------------------------- arrays


def test_array_costs_a_read_per_chunk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array is written with one header and one value per chunk, and copied nowhere; read with one read per chunk.

    Of an archive that was opened again the header of each is read too.
    """
    calls: list[str] = []
    for name in ("read", "peek", "write", "copy"):
        plain = getattr(File, name)
        monkeypatch.setattr(
            File, name, lambda *args, name=name, plain=plain: (calls.append(name), plain(*args))[1]
        )
    with ZipStore(path) as store:
        array = zarrv3.create_array(store, shape=(1600,), chunks=(1,), dtype="u2")
        calls.clear()
        array[...] = np.arange(1, 1601, dtype="u2")
        assert calls == ["write"] * 3200
        calls.clear()
        assert (array[...] == np.arange(1, 1601)).all()
        assert calls == ["read"] * 1600
        calls.clear()
    assert calls == []  # the file with the values becomes the archive
    with ZipStore(path, mode="r") as store:
        array = zarrv3.open_array(store)
        calls.clear()
        assert (array[...] == np.arange(1, 1601)).all()
    assert (len(calls), calls.count("read"), calls.count("peek")) == (3200, 1600, 1600)


def test_array_round_trip(tmp_path: Path) -> None:
    """A compressed, a sharded-size and an uncompressed array come back by a new store, whatever the order of writing."""
    url = f"zip://{tmp_path}/arrays.zip"
    data = np.arange(1000, dtype="f8").reshape(20, 50)
    with zarrv3.open_store(url) as store:
        for name, options in {"plain": {"compressors": None}, "packed": {}}.items():
            array = zarrv3.create_array(
                store, name=name, shape=data.shape, chunks=(7, 20), dtype="f8", **options
            )
            array[3:15, 10:40] = 1.0  # not aligned with chunks, and written twice
            array[...] = data
            array.attrs["unit"] = "m"
    with zarrv3.open_store(url, mode="r") as store:
        for name in ("plain", "packed"):
            array = zarrv3.open_array(store, path=name)
            assert np.array_equal(array[...], data)
            assert array.attrs["unit"] == "m"
        assert len(store) == 3 + 2 * 9
        del array
    with zarrv3.open_store(url) as store:
        del zarrv3.open_group(store)["plain"]
    assert {name.split("/")[0] for name in content(tmp_path / "arrays.zip")} == {"packed", "zarr.json"}


def test_sizes_print_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`getsize` and `info` only return (defect 17)."""
    with ZipStore(path) as store:
        array = zarrv3.create_array(store, shape=4, chunks=2, dtype="i4")
        array[...] = 1
        assert store.getsize() > 0
        assert "No. bytes stored" in str(array.info)
    assert capsys.readouterr() == ("", "")

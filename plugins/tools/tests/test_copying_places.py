"""Copying to where the source is: refused by any spelling, and nothing is lost."""

from pathlib import Path

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import NodeExistsError

URLS = {
    "folder": "{}/src.zarr",
    "sqlite": "sqlite:///{}/src.db",
    "zip": "zip://{}/src.zip",
    "lmdb": "lmdb://{}/src.lmdb",
    "dbm": "dbm://{}/src.dbm?module=dumb",
}


def made(url: str) -> None:
    """A hierarchy with two arrays."""
    with zarrv3.open_store(url) as store:
        group = zarrv3.create_group(store)
        group["temp"] = np.arange(10)
        group["other"] = np.arange(5)


@pytest.mark.parametrize(
    ("source", "dest"),
    [
        ("src.zarr", "src.zarr"),
        ("src.zarr", "link.zarr"),
        ("link.zarr", "src.zarr"),
        ("src.zarr", "sub/up/src.zarr"),
        ("src.zarr/temp", "src.zarr"),
        ("src.zarr", "src.zarr/temp"),
        ("src.zarr", "fsspec+file://{}/link.zarr"),
        ("fsspec+file://{}/src.zarr", "src.zarr"),
        ("src.zarr", "file://{}|prefix:src.zarr"),
        ("src.zarr", "file://{}|zarr3:src.zarr"),
        ("file://{}|zarr3:src.zarr/temp", "src.zarr"),
        ("sqlite:///{}/src.db", "sqlite:///{}/link.db"),
        ("sqlite:///{}/src.db|prefix:temp", "sqlite:///{}/link.db"),
        ("zip://{}/src.zip", "zip://{}/link.zip"),
        ("file://{}/src.zip|zip:", "zip://{}/link.zip"),
        ("lmdb://{}/src.lmdb", "lmdb://{}/link.lmdb"),
    ],
)
def test_copying_to_the_source(
    source: str, dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that shows the source's data by a link, another class, a layer or a path within is refused before anything is erased."""
    monkeypatch.chdir(tmp_path)
    for url in URLS.values():
        made(url.format(tmp_path))
    for name in ("zarr", "db", "zip", "lmdb"):
        (tmp_path / f"link.{name}").symlink_to(f"src.{name}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to("..")
    with pytest.raises(NodeExistsError, match=r"same place.*nothing was changed.*move"):
        zarrv3.copy(source.format(tmp_path), dest.format(tmp_path), overwrite=True)
    for url in URLS.values():
        with zarrv3.open_store(url.format(tmp_path)) as store:
            group = zarrv3.open_group(store, mode="r")
            np.testing.assert_array_equal(group["temp"][:], np.arange(10))
            np.testing.assert_array_equal(group["other"][:], np.arange(5))


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_other_chunks_where_it_is(url: str, tmp_path: Path) -> None:
    """To give an array other chunks in its place is refused, and what the refusal says to do does it."""
    url = url.format(tmp_path)
    made(url)
    with zarrv3.open_store(url) as store:
        with pytest.raises(NodeExistsError, match="new path"):
            zarrv3.copy(store, store, source_path="temp", dest_path="temp", chunks=5, overwrite=True)
        zarrv3.copy(store, store, source_path="temp", dest_path="new", chunks=5)
        group = zarrv3.open_group(store)
        del group["temp"]
        group.move("new", "temp")
        assert group["temp"].chunks == (5,)
        np.testing.assert_array_equal(group["temp"][:], np.arange(10))


def test_through_the_bridge(tmp_path: Path) -> None:
    """A store of zarr-python over the same folder, and there and back again, is the same place."""
    bridge = pytest.importorskip("zarrv3_bridge_zarr")
    storage = pytest.importorskip("zarr.storage")
    url = f"{tmp_path}/src.zarr"
    made(url)
    for foreign in (
        storage.LocalStore(url),
        storage.LoggingStore(storage.LocalStore(url)),
        storage.FsspecStore.from_url(f"file://{url}"),
        bridge.as_zarr_store(url),
        storage.LocalStore(f"{url}/temp"),
    ):
        theirs = bridge.from_zarr_store(foreign)
        for source, dest in ((theirs, url), (url, theirs)):
            with pytest.raises(NodeExistsError):
                zarrv3.copy(source, dest, overwrite=True)
    assert sorted(zarrv3.open_group(url, mode="r")) == ["other", "temp"]


def test_memory_of_fsspec() -> None:
    """A path below another one in the same memory of fsspec is found by a probe."""
    made("fsspec+memory://places/src.zarr")
    with pytest.raises(NodeExistsError):
        zarrv3.copy("fsspec+memory://places/src.zarr/temp", "fsspec+memory://places/src.zarr", overwrite=True)
    with pytest.raises(NodeExistsError):
        zarrv3.copy("fsspec+memory://places/src.zarr", "fsspec+memory://places", overwrite=True)
    zarrv3.copy("fsspec+memory://places/src.zarr", "fsspec+memory://places/dst.zarr", overwrite=True)
    store = zarrv3.open_store("fsspec+memory://places")
    assert not [key for key in store if "probe" in key]
    store.clear()


def test_a_dry_run_writes_no_probe() -> None:
    """Nothing is written to find out about a copy that is only planned."""
    source, dest = zarrv3.MemoryStore(), zarrv3.Counting(zarrv3.MemoryStore())
    zarrv3.create_group(source)
    zarrv3.copy(source, dest, overwrite=True, dry_run=True)
    assert "write_many" not in dest.calls


def test_overwriting_by_a_copy_spares_what_is_not_zarrs(tmp_path: Path) -> None:
    """A copy that overwrites erases the nodes that are there, and nothing else."""
    made(f"{tmp_path}/src.zarr")
    dest = zarrv3.open_store(f"{tmp_path}/dst.zarr")
    zarrv3.create_group(dest)["gone"] = np.arange(3)
    dest.update({"notes.txt": b"n", "gone/notes.txt": b"n"})
    zarrv3.copy(f"{tmp_path}/src.zarr", dest, overwrite=True)
    assert sorted(zarrv3.open_group(dest)) == ["other", "temp"]
    assert dest["notes.txt"] == dest["gone/notes.txt"] == b"n"
    assert not [*dest.list_prefix("gone/c/")]


def test_what_could_not_be_copied_leaves_only_what_is_not_zarrs(tmp_path: Path) -> None:
    """Where a node is given up, and where a copy goes on, foreign keys at the destination stay."""
    source = zarrv3.open_store(f"{tmp_path}/src.zarr")
    zarrv3.create_array(source, name="bad", data=np.arange(10), chunks=2)
    source["bad/c/4"] = b"damaged"
    dest = zarrv3.open_store(f"{tmp_path}/dst.zarr")
    dest["bad/notes.txt"] = b"n"
    zarrv3.copy(source, dest, overwrite=True, chunks=5, on_error="report")
    assert sorted(dest) == ["bad/notes.txt", "zarr.json"]
    dest["bad/c/0"] = b"left by something else"
    dest["bad/zarr.json.copying"] = b"{}"
    zarrv3.copy(source, dest, resume=True)
    assert dest["bad/notes.txt"] == b"n"
    assert dest["bad/c/4"] == b"damaged"
    dest["bad/c/9"] = b"stray"
    zarrv3.copy(source, dest, resume=True)
    assert (dest.get("bad/c/9"), dest["bad/notes.txt"]) == (None, b"n")

"""`verify`: stores with something wrong, and what is said of it."""

import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
import zarrv3_tools
from zarrv3 import registry
from zarrv3.errors import NodeNotFoundError, StoreAccessError, StoreUnavailableError
from zarrv3.store.memory import MappingDriver
from zarrv3.store.wrapping import DriverStore
from zarrv3_tools import Problem, VerifyReport, verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A hierarchy: `a/t` (100, 60) int16 in 30 chunks, `a/empty`, `s` texts, `z` in 8 chunks."""
    path = tmp_path / "data.zarr"
    group = zarrv3.create_group(path)
    array = group.create_array("a/t", shape=(100, 60), chunks=(10, 20), dtype="i2", compressors=None)
    array[:] = np.arange(6000).reshape(100, 60)
    group.create_array("a/empty", shape=(5,), chunks=(2,), dtype="f4")
    group.create_array("s", data=np.array(["a", "ü"], dtype=object), dtype=str)
    group.create_array("z", data=np.arange(24.0).reshape(2, 3, 4) + 1, chunks=(1, 2, 2))
    return path


def found(store: Any, path: str = "", **options: Any) -> set[tuple[str, str]]:
    """The problems of a hierarchy by kind and key."""
    return {(problem.kind, problem.key) for problem in verify(store, path, **options).problems}


def test_a_sound_store(folder: Path) -> None:
    """What was read is counted: stored chunks only, each once."""
    size = sum(path.stat().st_size for path in folder.rglob("c/**/*") if path.is_file())
    assert verify(folder) == VerifyReport(groups=2, arrays=4, chunks=39, bytes=size)
    part = verify(folder, "z")
    assert (part.arrays, part.groups, part.chunks, part.problems) == (1, 0, 8, ())


def test_whatever_names_a_node(folder: Path) -> None:
    """A path, a URL, a store, a group and an array are verified alike; what is the caller's stays open."""
    assert zarrv3.verify is verify is zarrv3_tools.verify
    store = zarrv3.open_store(folder)
    group = zarrv3.open_group(store, path="a")
    expected = verify(folder, "a/t")
    assert expected.chunks == 30
    for given in (
        (f"file://{folder}", "a/t"),
        (store, "a/t"),
        (group, "t"),
        (group["t"], ""),
        (store.spec(), "a/t"),
    ):
        assert verify(*given) == expected
    assert [*group] == ["empty", "t"]
    with pytest.raises(NodeNotFoundError, match="/nothing"):
        verify(store, "nothing")


def test_reserved_names(folder: Path) -> None:
    """What lies below a reserved name is not a node, be it somebody's or left over by an unfinished replacement."""
    sound = verify(folder)
    for name in ("__mine", "__new-0123abcd/node", "a/__new-0123abcd/node/t"):
        shutil.copytree(folder / "z", folder / name)
    assert verify(folder) == sound
    assert sound.problems == ()


def test_nothing_is_written(folder: Path) -> None:
    """A read-only store is verified, and nothing changes."""
    counting = zarrv3.Counting(zarrv3.open_store(folder, read_only=True))
    verify(counting)
    assert set(counting.calls) <= {"get_many", "list_prefix", "list_dir", "sizes"}


def test_corrupt_chunks(folder: Path) -> None:
    """Every chunk that does not decode is named with its key, sorted, and nothing else is."""
    (folder / "z/c/1/1/0").write_bytes(b"no zstd")
    (folder / "a/t/c/3/1").write_bytes(b"short")
    first, second = verify(folder).problems
    assert (first.kind, first.key) == ("corrupt", "a/t/c/3/1")
    assert (second.kind, second.key) == ("corrupt", "z/c/1/1/0")
    assert found(folder, "a") == {("corrupt", "a/t/c/3/1")}
    assert found(folder, "s") == set()


def test_every_chunk_is_tried(folder: Path) -> None:
    """A chunk that is corrupt hides no other."""
    chunks = [path for path in (folder / "a/t/c").rglob("*") if path.is_file()]
    for path in chunks:
        path.write_bytes(b"")
    assert found(folder) == {("corrupt", path.relative_to(folder).as_posix()) for path in chunks}


def test_many_chunks(tmp_path: Path) -> None:
    """Chunks are read some dozens at a time: a few calls for hundreds of them, and progress is told up to the end."""
    array = zarrv3.create_array(tmp_path / "many", shape=(300,), chunks=(1,), dtype="i2")
    array[:] = range(1, 301)
    store = zarrv3.Counting(zarrv3.open_store(tmp_path / "many"))
    seen: list[tuple[int, int | None]] = []
    report = verify(store, progress=lambda done, total: seen.append((done, total)))
    assert (report.chunks, report.problems) == (300, ())
    assert seen[-1] == (300, 300)
    assert store.calls["get_many"] <= 10
    assert store.calls["list_prefix"] <= 2


def test_missing_chunks(folder: Path) -> None:
    """A missing chunk is the fill value; with `complete` it is a problem."""
    (folder / "a/t/c/3/1").unlink()
    assert found(folder) == set()
    missing = {("missing", "a/t/c/3/1"), *(("missing", f"a/empty/c/{number}") for number in range(3))}
    assert found(folder, complete=True) == missing


def test_shards(tmp_path: Path) -> None:
    """The chunks within a shard are verified one by one, under the key of the shard."""
    store = zarrv3.MemoryStore()
    zarrv3.create_array(store, data=np.arange(1, 13), chunks=2, shards=6, compressors="crc32c")
    assert verify(store).chunks == 6
    value = bytearray(store["c/1"])
    value[0] ^= 1
    store["c/1"] = bytes(value)
    assert found(store) == {("corrupt", "c/1")}


def test_damaged_documents(folder: Path) -> None:
    """Documents that cannot be read, or that should be there, are problems, and what lies below is still verified."""
    (folder / "a/zarr.json").write_text("{")
    (folder / "a/t/c/0/0").write_bytes(b"short")
    assert found(folder) == {("corrupt", "a/zarr.json"), ("corrupt", "a/t/c/0/0")}
    (folder / "a/zarr.json").unlink()
    assert found(folder) == {("missing", "a/zarr.json"), ("corrupt", "a/t/c/0/0")}
    assert "nodes lie below it" in next(
        problem.message for problem in verify(folder).problems if problem.kind == "missing"
    )


def test_an_unreadable_root(folder: Path) -> None:
    """The document of the node itself may be the corrupt one."""
    (folder / "zarr.json").write_text("[]")
    assert found(folder) == {("corrupt", "zarr.json")}


def test_consolidated_metadata_of_nothing(folder: Path) -> None:
    """A node that consolidated metadata tell of has to be there."""
    zarrv3.consolidate_metadata(folder)
    assert found(folder) == set()
    zarrv3.open_store(folder).erase_prefix("z/")
    (problem,) = verify(folder).problems
    assert problem == Problem("missing", "z/zarr.json", problem.message)
    assert "consolidated" in problem.message


def test_malformed_consolidated_metadata(folder: Path) -> None:
    """Malformed consolidated metadata are a problem of the document that has them."""
    document = json.loads((folder / "zarr.json").read_text())
    inline = {"kind": "inline", "must_understand": False, "metadata": {"../outside": {}}}
    (folder / "zarr.json").write_text(json.dumps({**document, "consolidated_metadata": inline}))
    assert found(folder) == {("corrupt", "zarr.json")}


def test_what_is_not_installed(folder: Path) -> None:
    """An array whose codec or transformer is not known cannot be verified, and that is said."""
    path = folder / "z/zarr.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "storage_transformers": [{"name": "unknown.here"}]}))
    assert found(folder) == {("unreadable", "z/zarr.json")}
    path.write_text(json.dumps({**document, "codecs": [{"name": "unknown.here"}]}))
    assert found(folder) == {("unreadable", "z/zarr.json")}


def test_transformed_keys(tmp_path: Path) -> None:
    """Below a storage transformer chunks are found through it."""

    class Turned(zarrv3.StorageTransformer):
        extension_uri = "example.turned"

        def get_many(self, requests: Any, /) -> Any:
            return [turned(value) for value in self.inner.get_many(requests)]

        def get_versioned(self, keys: Any, /) -> Any:
            return [(turned(value), version) for value, version in self.inner.get_versioned(keys)]

        def write_many(self, changes: Any, /) -> None:
            self.inner.write_many({key: turned(value) for key, value in changes.items()})

        def swap_many(self, swaps: Any, /) -> Any:
            return self.inner.swap_many({key: (old, turned(value)) for key, (old, value) in swaps.items()})

        def apply_many(self, changes: Any, /) -> None:
            self.inner.apply_many({key: turned(value) for key, value in changes.items()})

    def turned(value: Any) -> bytes | None:
        return None if value is None else bytes(value)[::-1]

    registry.register("storage_transformers", "example.turned", Turned)
    array = zarrv3.create_array(
        tmp_path / "a", shape=(6,), chunks=(2,), dtype="i4", storage_transformers=[{"name": "example.turned"}]
    )
    array[:] = range(6)
    report = verify(tmp_path / "a")
    assert (report.groups, report.arrays, report.chunks, report.problems) == (0, 1, 3, ())


class Failing(zarrv3.Layer):
    """Fails where a key with a text in it is read."""

    kind = "failing"

    def __init__(self, store: object, text: str, error: type[Exception]) -> None:
        super().__init__(store)
        self.text, self.error = text, error

    def get_many(self, requests: Any, /) -> Any:
        """Values, or the error."""
        self._check([key for key, _ in requests])
        return self.inner.get_many(requests)

    def get_versioned(self, keys: Any, /) -> Any:
        """Values and versions, or the error."""
        self._check(keys)
        return self.inner.get_versioned(keys)

    def _check(self, keys: list[str]) -> None:
        if any(self.text in key for key in keys):
            raise self.error("no")


def test_a_store_that_goes_away(folder: Path) -> None:
    """When the store cannot be reached any more verifying stops with its error, instead of reporting every key."""
    with pytest.raises(StoreUnavailableError):
        verify(Failing(zarrv3.open_store(folder), "/c/", StoreUnavailableError))


def test_keys_that_cannot_be_read(folder: Path) -> None:
    """Where the store fails for single keys, those are reported and the others are read."""
    seen: list[tuple[int, int | None]] = []
    report = verify(
        Failing(zarrv3.open_store(folder), "a/t/c/4/2", StoreAccessError),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [(problem.kind, problem.key) for problem in report.problems] == [("unreadable", "a/t/c/4/2")]
    assert report.chunks == 38
    assert seen[-1] == (39, 39)


def test_stores_that_cannot_list(folder: Path) -> None:
    """Where keys cannot be listed every chunk of the grid is asked for, of the nodes that consolidated metadata tell of."""
    zarrv3.consolidate_metadata(folder)
    driver = MappingDriver(dict(zarrv3.open_store(folder).items()))
    driver.capabilities = zarrv3.Capabilities()
    driver.write_many({"a/t/c/0/0": b"short"})
    report = verify(DriverStore(driver), "a/t")
    assert [problem.key for problem in report.problems] == ["a/t/c/0/0"]
    assert (report.arrays, report.groups, report.chunks) == (1, 0, 30)
    report = verify(DriverStore(driver))
    assert (report.arrays, report.groups) == (4, 2)
    assert [problem.key for problem in report.problems] == ["a/t/c/0/0"]


def test_many_threads(folder: Path) -> None:
    """Several threads verify one store at once, each with a report of its own."""
    store = zarrv3.open_store(folder)
    expected = verify(store)
    reports: list[VerifyReport] = []
    threads = [threading.Thread(target=lambda: reports.append(verify(store))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reports == [expected] * 4


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, `zarrv3.copy` and `zarrv3.verify` say what to install; `dir` lists both."""
    for name in ("copy", "verify"):
        monkeypatch.delitem(vars(zarrv3), name, raising=False)
        assert name in dir(zarrv3)
    monkeypatch.setitem(sys.modules, "zarrv3_tools", None)
    for name in ("copy", "verify"):
        with pytest.raises(AttributeError, match="pip install zarrv3-tools"):
            getattr(zarrv3, name)

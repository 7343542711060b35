"""Killed writers, full disks, failing flushes: the last flushed archive stays."""

import errno
import gc
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from zip_archives import content, fill, names

from zarrv3.errors import StoreAccessError, ZarrError
from zarrv3.testing.interrupts import interrupted
from zarrv3.testing.processes import Child, dies
from zarrv3_store_zip import ZipStore, archive

# ---------------------------------------------------------------- crashes and full disks


def _write_for_ever(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    store = ZipStore(path, fsync=False)
    for number in range(1 << 30):
        store.update(
            {f"k/{rng.randrange(30)}": b"%d" % number * 2000 for _ in range(5)}
            | {"n": b"%d/%d" % (seed, number)}
        )
        store.delitems([f"k/{rng.randrange(30)}"])
        store.flush()


def test_a_killed_flush_leaves_an_archive(path: Path) -> None:
    """However a writer is killed, any program reads the last flushed archive, and the next writer goes on from there."""
    fill(path, n=b"none")
    last = b"none"
    for seed in range(12):
        child = Child(_write_for_ever, path, seed)
        while content(path)["n"] == last:
            time.sleep(0.01)
        time.sleep(seed * 0.003)
        os.kill(child.process.pid, signal.SIGKILL)
        child.kill()
        last = content(path)["n"]
        with ZipStore(path, fsync=False) as store:
            assert store["n"] == last
            store.update({f"k/{number}": b"" for number in range(3)})
        assert names(path.parent) == ["data.zip"]


def _die_in(path: Path, name: str) -> None:
    store = ZipStore(path)
    store.update({"k": b"never seen", "l": b"never seen"})
    setattr(os, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    if name == "replace":
        Path.replace = os.replace  # type: ignore[method-assign]
    store.flush()


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_crash_just_before_the_end(path: Path, name: str) -> None:
    """A writer that dies with everything written but the rename has changed nothing; what it left goes with the next."""
    fill(path, k=b"old")
    dies(_die_in, path, name, rule="")
    assert content(path) == {"k": b"old"}
    assert len(names(path.parent)) > 1
    fill(path, m=b"new")
    assert content(path) == {"k": b"old", "m": b"new"}
    assert names(path.parent) == ["data.zip"]


@pytest.mark.parametrize("existing", [True, False])
def test_a_failed_flush_can_be_repeated(path: Path, existing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a flush fails the old archive stays, changes are still there and can be added to, and the next flush succeeds."""
    if existing:
        fill(path, k=b"old")
    store = ZipStore(path)
    store["l"] = b"new"

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(StoreAccessError, match=r"cannot flush ZipStore\(.*Input/output error"):
            store.flush()
    assert path.exists() is existing
    assert len(names(path.parent)) == 2 + existing
    store["m"] = b"more"
    assert store["l"] == b"new"
    store.close()
    assert content(path) == {"l": b"new", "m": b"more", **({"k": b"old"} if existing else {})}


def test_a_failed_close_leaves_no_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When closing fails the error says so, the old archive stays, and the unflushed changes go."""
    fill(path, k=b"old")
    store = ZipStore(path)
    store["k"] = b"new"

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(ZarrError, match="cannot close"):
            store.close()
    gc.collect()
    assert content(path) == {"k": b"old"}
    assert names(path.parent) == ["data.zip"]


# ---------------------------------------------------------------- interrupts and planted links

OLD, NEW = b"old", b"new" * 100


def _swap(store: ZipStore) -> None:
    (_, first), (_, second) = store.get_versioned(["a/k", "c/k"])
    store.swap_many({"a/k": (first, NEW), "c/k": (second, None)})


CALLS: dict[str, Callable[[ZipStore], Any]] = {
    "read": lambda store: store.get_many([("a/k", None), ("c/k", None)]),
    "write": lambda store: store.write_many({"a/k": NEW, "a/l": NEW, "c/k": NEW, "n/k": NEW}),
    "swap": _swap,
    "erase": lambda store: store.erase_prefix("a/"),
    "rename": lambda store: store.rename_prefix("a/", "d/"),
    "flush": lambda store: (store.write_many({"a/k": NEW, "c/k": None}), store.flush()),
}


# in `zipfile`, which is interrupted too
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_an_interrupt_anywhere(step: int, call: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever Ctrl-C strikes, changes are all there or none is, also for others, and flushing, writing and listing go on."""
    monkeypatch.setattr(archive, "SLACK", 500)
    store = ZipStore(path, fsync=False)
    for point in count(1, step):
        store.clear()
        store.update({"a/k": OLD, "a/l": OLD, "c/k": OLD})
        store.flush()
        before = content(path)
        ended = interrupted(partial(CALLS[call], store), point) is None
        after = dict(store.items())
        changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        assert changed in ({*()}, *WHOLE[call])
        assert content(path) in (before, after)
        assert sorted(after) == sorted(
            f"{folder}{name}" for folder in [*store.list_dir("")] for name in _names(store, folder)
        )
        store["more"] = b"more"
        store.flush()
        assert content(path) == {**after, "more": b"more"}
        assert names(path.parent) == ["data.zip"]
        if ended:
            break


def _names(store: ZipStore, folder: str) -> list[str]:
    return [key.removeprefix(folder) for key in store.list_dir(folder)]


WHOLE: dict[str, list[set[str]]] = {
    "read": [],
    "write": [{"a/k", "a/l", "c/k", "n/k"}],
    "swap": [{"a/k", "c/k"}],
    "erase": [{"a/k", "a/l"}],
    "rename": [{"a/k", "a/l", "d/k", "d/l"}],
    "flush": [{"a/k", "c/k"}],
}
"""The keys that are changed when a call is done."""


@pytest.mark.parametrize("name", [".data.zip.zarrv3", ".data.zip.zarrv3-1", ".data.zip.zarrv3-2"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_planted_links_lead_nowhere(name: str, link: Callable[..., None], path: Path) -> None:
    """Where somebody has put a link under the name of a file that is needed beside the archive, its target stays as it is."""
    victim = path.with_name("victim")
    victim.write_bytes(b"precious")
    fill(path, k=b"old")
    link(victim, path.with_name(name))
    with suppress(StoreAccessError):
        fill(path, k=b"new")
    fill(path, **({} if path.with_name(name).exists() else {"k": b"newer"}))
    assert victim.read_bytes() == b"precious"
    assert content(path)["k"] in {b"old", b"newer"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small disk here; see test_too_large_a_file")
    yield place
    gc.collect()
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    """On a full disk a write fails with its key, a flush fails, the old archive stays; with room again both succeed."""
    path = small_disk / "data.zip"
    (small_disk / "ballast").write_bytes(bytes(300_000))
    fill(path, old=bytes(300_000))
    store = ZipStore(path)
    store["k"] = b"1"
    with pytest.raises(StoreAccessError, match=r"cannot write 'k' in .*No space left"):
        store["k"] = bytes(900_000)
    assert store["k"] == b"1"
    store["l"] = bytes(200_000)
    with pytest.raises(StoreAccessError, match=r"cannot flush .*No space left"):
        store.flush()
    assert [*content(path)] == ["old"]
    (small_disk / "ballast").unlink()
    store.delitems(["old"])
    store.close()
    assert {key: len(value) for key, value in content(path).items()} == {"k": 1, "l": 200_000}
    assert names(small_disk) == ["data.zip"]


def _write_too_much(path: Path) -> tuple[str, bytes]:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    store = ZipStore(path)
    store["k"] = b"old"
    try:
        store["k"] = bytes(5000)
    except StoreAccessError as error:
        text = str(error)
    store.close()
    return text, content(path)["k"]


def test_too_large_a_file(path: Path) -> None:
    """A value that the system does not let grow fails half-way; the old one stays."""
    pytest.importorskip("resource", reason="this system has no resource limits")
    child = Child(_write_too_much, path)
    text, value = child.result()
    child.kill()
    assert text.startswith("cannot write 'k' in ZipStore(")
    assert value == b"old"

"""The format of `dbm.dumb`: read and written as Python's own module does, and whole whenever the process dies."""

import dbm.dumb
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import StoreAccessError
from zarrv3.testing.processes import Writer, generation_of, stamped
from zarrv3_store_dbm import DBMStore
from zarrv3_store_dbm import dumb as dumb_module
from zarrv3_store_dbm.space import BLOCK, Space, blocks

KEYS = ("f/a", "f/b", "g")


def content(path: Path) -> dict[bytes, bytes]:
    """What Python's own module finds."""
    with dbm.dumb.open(str(path), "r") as database:
        return {key: database[key] for key in database}


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5 * BLOCK), st.booleans()), max_size=60))
def test_no_place_is_given_twice(steps: list[tuple[str, int, bool]]) -> None:
    """Places of values never overlap, not even with one that was given back and not settled (compared with a set)."""
    space, held, idle = Space((), 0), dict[str, tuple[int, int]](), list[tuple[int, int]]()

    def covered(places: Any) -> list[int]:
        return [position // BLOCK + i for position, size in places for i in range(blocks(size))]

    for name, size, settles in steps:
        if name in held:
            idle.append(held[name])
            space.give(*held.pop(name))
        if settles:
            space.settle()
            idle.clear()
        held[name] = space.take(size), size
        used = covered([*held.values(), *idle])
        assert len(used) == len({*used})
    again = Space(held.values(), 0)
    free = [again.take(BLOCK) // BLOCK for _ in range(10)]
    assert not {*free} & {*covered(held.values())}


def test_space_is_used_again(tmp_path: Path) -> None:
    """Values that are replaced again and again do not make the file grow without end."""
    with DBMStore(tmp_path / "d") as store:
        for turn in range(50):
            store.update({f"{i}": bytes([turn]) * 5000 for i in range(10)})
            store.flush()
        assert (tmp_path / "d.dat").stat().st_size <= 3 * 10 * 5120
        assert len((tmp_path / "d.dir").read_bytes().splitlines()) <= 1100
    assert content(tmp_path / "d") == {b"%d" % i: bytes([49]) * 5000 for i in range(10)}


def test_one_line_per_write(tmp_path: Path) -> None:
    """A write adds to the index, and a folder is renamed without copying a value."""
    with DBMStore(tmp_path / "d") as store:
        store.update({f"a/{i}": b"v" * 1000 for i in range(20)})
        values, index = (tmp_path / "d.dat").stat(), (tmp_path / "d.dir").stat()
        store["a/0"] = b"w" * 1000
        assert (tmp_path / "d.dir").stat().st_ino == index.st_ino
        store.rename("a", "b")
        assert (tmp_path / "d.dat").stat().st_size <= values.st_size + 1024
        assert [*store.list_dir("")] == ["b/"]
    assert content(tmp_path / "d")[b"b/0"] == b"w" * 1000


@pytest.mark.parametrize("tail", [b"'l", b"'l', (512", b"'l', (512, 1)", b"\0\0\0"])
def test_half_a_line(tmp_path: Path, tail: bytes) -> None:
    """Defect 31: an index that was cut off in the middle of a line opens, without that line, and can be added to."""
    with DBMStore(tmp_path / "d") as store:
        store["k"] = b"v"
        store["l"] = b"w"
    lines = (tmp_path / "d.dir").read_bytes().splitlines(keepends=True)
    (tmp_path / "d.dir").write_bytes(lines[0] + tail)
    whole = {"k": b"v", **({"l": b"w"} if tail.endswith(b")") else {})}
    with DBMStore(tmp_path / "d", flag="r") as store:
        assert dict(store.items()) == whole
    with DBMStore(tmp_path / "d") as store:
        store["m"] = b"x"
    assert content(tmp_path / "d") == {key.encode(): v for key, v in {**whole, "m": b"x"}.items()}


def test_interrupted_by_pythons_module(tmp_path: Path) -> None:
    """Where Python's own module was killed while it replaced its index, its backup is read."""
    for left in (None, b"", b"'k', (0, 1)\n'l"):
        with DBMStore(tmp_path / "d", flag="n") as store:
            store.update({"k": b"v", "l": b"w"})
        (tmp_path / "d.dir").rename(tmp_path / "d.bak")
        if left is not None:
            (tmp_path / "d.dir").write_bytes(left)
        if left == b"":
            continue  # an empty index is what an empty database has
        with DBMStore(tmp_path / "d", flag="r") as store:
            assert dict(store.items()) == {"k": b"v", "l": b"w"}
        with DBMStore(tmp_path / "d") as store:
            store["m"] = b"x"
        assert content(tmp_path / "d") == {b"k": b"v", b"l": b"w", b"m": b"x"}
        assert not (tmp_path / "d.bak").exists()


def _replace_all(store: Any, number: int) -> None:
    gone = KEYS[number % 3]
    store.apply_many({**{key: stamped(key, number) for key in KEYS}, gone: None})


def test_killed_transactions(tmp_path: Path) -> None:
    """Of a transaction that was killed in the middle all is there, or nothing; acknowledged ones are there."""
    opener = partial(DBMStore, tmp_path / "d")
    first = 1
    for _ in range(15):
        writer = Writer(_replace_all, opener, first)
        try:
            writer.wait_for_first()
        finally:
            last = writer.kill()
        with opener() as store:
            found = {key: generation_of(key, value) for key, value in store.items()}
        assert found in [{k: n for k in KEYS if k != KEYS[n % 3]} for n in (last, last + 1)]
        first = last + 2


def test_failing_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a line cannot be written whole, the index is as before, and the next write adds to it."""
    with DBMStore(tmp_path / "d") as store:
        store["k"] = b"old"
        real = dumb_module._write

        def failing(file: Any, value: Any, position: int) -> None:
            if b"'k'" in bytes(value):
                file.seek(position)
                file.write(bytes(value)[:5])
                raise OSError(28, "No space left on device")
            real(file, value, position)

        monkeypatch.setattr(dumb_module, "_write", failing)
        with pytest.raises(StoreAccessError, match="No space left"):
            store.update({"k": b"new", "l": b"new"})
        store["other"] = b"o"
        with pytest.raises(StoreAccessError, match="No space left"):
            store.delitems(["other"])  # writes the line of k again
        assert store["k"] == b"old"
        monkeypatch.undo()
        store["m"] = b"x"
    assert content(tmp_path / "d") == {b"k": b"old", b"other": b"o", b"m": b"x"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.dat", "d.dir"]


@pytest.mark.parametrize("name", ["d.dir.new", "d.lock", "d.dat", "d.dir", "d.bak"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_planted_links_lead_nowhere(name: str, link: Callable[..., None], tmp_path: Path) -> None:
    """Where somebody has put a link under the name of a helper file, its target stays as it is, and is not made."""
    theirs = tmp_path / "theirs"
    theirs.write_text("precious")
    for target in (theirs, tmp_path / "missing") if link is os.symlink else (theirs,):
        link(target, tmp_path / name)
        with suppress(StoreAccessError), DBMStore(tmp_path / "d", module="dumb") as store:
            store.update({"k": b"v", "l": b"w"})
            del store["k"]
        assert theirs.read_text() == "precious"
        assert not (tmp_path / "missing").exists()
        (tmp_path / name).unlink(missing_ok=True)


def test_what_a_flush_brings_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing, erasing and renaming alike: the values, the index, and the name of the index in the folder."""
    synced: set[str] = set()
    sync = os.fsync

    def watched(fd: int) -> None:
        synced.add(Path(f"/proc/self/fd/{fd}").readlink().name)
        sync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    changes: list[Callable[[DBMStore], object]] = [
        lambda store: store.update({"a/k": b"v", "b/k": b"w"}),
        lambda store: store.write_many({"b/k": None}),
        lambda store: store.rename_prefix("a/", "c/"),
        lambda store: store.erase_prefix("c/"),
    ]
    with DBMStore(tmp_path / "d", module="dumb") as store:
        for change in changes:
            synced.clear()
            change(store)
            store.flush()
            assert {"d.dat", tmp_path.name} <= synced
            assert {"d.dir", "d.dir.new"} & synced

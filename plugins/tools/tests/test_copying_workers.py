"""Copies that an executor's workers make."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Group, MemoryStore
from zarrv3.errors import ConfigurationError, CorruptDataError, StoreAccessError, UnsupportedError
from zarrv3.store.contract import Changes, Swaps
from zarrv3_tools.copying import workers
from zarrv3_tools.copying.workers import Work, Workers

DATA = np.arange(1, 64 * 64 + 1, dtype="i4").reshape(64, 64)
SMALL = 4 * 4 * 64 * 2
"""So much memory that rows become columns in two passes."""


class Counting(ProcessPoolExecutor):
    """Two new processes; knows how many tasks it got."""

    submitted = 0

    def __init__(self) -> None:
        super().__init__(2, mp_context=multiprocessing.get_context("spawn"))

    def submit(self, *arguments: Any, **options: Any) -> Any:
        """Count."""
        self.submitted += 1
        return super().submit(*arguments, **options)


@pytest.fixture(scope="module")
def pool() -> Iterator[Counting]:
    """Processes that copy."""
    with Counting() as executor:
        yield executor


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Group:
    """A hierarchy in a folder; what lies between passes has a folder of its own."""
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    group = zarrv3.create_group(tmp_path / "source", attributes={"a": 1})
    group.create_array("rows", data=DATA, chunks=(1, 64), compressors=None)
    group.create_array("g/other", data=np.arange(10), chunks=3)
    return group


def is_whole(group: Group, tmp_path: Path) -> bool:
    """Whether a hierarchy has all values and nothing that a copy needs only while it is made."""
    files = [path.name for path in (tmp_path / "dest").rglob("zarr.json*")]
    return (
        (group["rows"][:] == DATA).all()
        and (group["g/other"][:] == np.arange(10)).all()
        and {*files} == {"zarr.json"}
        and not [*(tmp_path / "temporary").iterdir()]
    )


def by_name(array: Any) -> Any:
    """Rows become columns; other arrays pass through."""
    return (64, 1) if array.ndim == 2 else "keep"


def test_workers_copy(pool: Counting, root: Group, tmp_path: Path) -> None:
    """Values and both passes of re-chunking are done by workers; what is reported and told is what threads report and tell."""
    told: list[tuple[int, int | None]] = []
    before = pool.submitted
    report = zarrv3.copy(
        root, tmp_path / "dest", chunks=by_name, memory=SMALL, verify=True, executor=pool,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert pool.submitted - before == 1 + 32 + 32
    assert report == zarrv3.copy(root, tmp_path / "threads", chunks=by_name, memory=SMALL)
    assert told[-1] == (report.bytes, report.bytes)
    copied = zarrv3.open_group(tmp_path / "dest", mode="r")
    assert is_whole(copied, tmp_path)
    assert copied["rows"].chunks == (64, 1)
    zarrv3.copy(root, tmp_path / "dest", overwrite=True, executor=pool)
    assert zarrv3.open_array(tmp_path / "dest/rows", mode="r").chunks == (1, 64)


def test_stores_of_one_process(pool: Counting, root: Group, tmp_path: Path) -> None:
    """Where workers would see another store, and where there are none, that is an error and nothing is written."""
    dest = MemoryStore()
    with pytest.raises(UnsupportedError, match="several processes at once: copy without executor="):
        zarrv3.copy(root, dest, executor=pool)
    assert not len(dest)
    source = MemoryStore()
    zarrv3.create_array(source, name="x", data=DATA)
    with pytest.raises(UnsupportedError, match="several processes at once"):
        zarrv3.copy(source, tmp_path / "dest", executor=pool)
    assert not [path for path in (tmp_path / "dest").rglob("*") if path.is_file()]
    with pytest.raises(ConfigurationError, match="get_executor"):
        zarrv3.copy(root, tmp_path / "dest", executor=object())  # type: ignore[arg-type]


def test_errors_of_workers(pool: Counting, root: Group, tmp_path: Path) -> None:
    """What goes wrong in a worker comes out with the key and how to go on, or is reported while the rest is copied."""
    Path(tmp_path, "source/rows/c/63/0").write_bytes(b"short")
    with pytest.raises(CorruptDataError, match="rows/c/63/0") as caught:
        zarrv3.copy(root, tmp_path / "dest", chunks=by_name, executor=pool)
    assert "resume=True goes on" in caught.value.__notes__[-1]
    root["rows"][63] = DATA[63]
    assert zarrv3.copy(root, tmp_path / "dest", chunks=by_name, executor=pool, resume=True).arrays == 2
    assert is_whole(zarrv3.open_group(tmp_path / "dest", mode="r"), tmp_path)
    Path(tmp_path, "source/rows/c/63/0").write_bytes(b"short")
    report = zarrv3.copy(root, tmp_path / "rest", chunks=by_name, executor=pool, on_error="report")
    assert [failed.path for failed in report.not_carried] == ["rows"]
    assert report.arrays == 1


class Deadly(zarrv3.Layer):
    """Kills the process that writes one of the last chunks."""

    kind = "deadly"

    def write_many(self, changes: Changes, /) -> None:
        """Write, or not."""
        if "rows/c/0/60" in changes:
            os.kill(os.getpid(), signal.SIGKILL)
        super().write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Pass on."""
        return super().swap_many(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        """Pass on."""
        super().apply_many(changes)


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_killed_workers(
    how: str, pool: Counting, root: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a worker is killed, or the copy is interrupted, nothing is lost, and resuming completes it."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # where workers find the store of this module

    def interrupt(done: int, _: int | None) -> None:
        if done > 1000:
            raise KeyboardInterrupt

    dest: zarrv3.BaseStore = zarrv3.open_store(str(tmp_path / "dest"))
    with ExitStack() as stack:
        if how == "killed":
            pool, dest = stack.enter_context(Counting()), Deadly(dest)
        with pytest.raises((BrokenExecutor, KeyboardInterrupt)) as caught:
            zarrv3.copy(
                root, dest, chunks=by_name, memory=SMALL, executor=pool,
                progress=None if how == "killed" else interrupt,
            )  # fmt: skip
    assert "resume=True goes on" in caught.value.__notes__[-1]
    partly = {*(tmp_path / "dest").rglob("c/*")}
    assert not (tmp_path / "dest/zarr.json.workers").exists()
    report = zarrv3.copy(root, tmp_path / "dest", chunks=by_name, memory=SMALL, resume=True)
    assert is_whole(zarrv3.open_group(tmp_path / "dest", mode="r"), tmp_path)
    assert {*(tmp_path / "dest").rglob("c/*")} >= partly
    assert report.chunks + report.skipped >= 64


def nothing(_: object) -> dict[str, int]:
    """A task that must not be done."""
    raise AssertionError


def test_tasks_look_around(tmp_path: Path) -> None:
    """A task does nothing when its copy has ended, or where a worker sees other places than the process that copies."""
    dest = zarrv3.open_store(str(tmp_path))
    hirer = Workers(ProcessPoolExecutor(), dest, "x")
    with hirer.hired():
        packed = hirer._packed(Work(do=nothing, source=dest, dest=dest, sees=((dest, "x/zarr.json"),)))
        with pytest.raises(StoreAccessError, match=r"does not find 'x/zarr\.json'"):
            workers._do(packed, None)
        dest["x/zarr.json"] = b"{}"
        with pytest.raises(AssertionError):
            workers._do(packed, None)
    with pytest.raises(StoreAccessError, match="the copy has ended"):
        workers._do(packed, None)
    with Workers(ProcessPoolExecutor(), dest, "x").hired(), pytest.raises(StoreAccessError, match="ended"):
        workers._do(packed, None)
    assert [*dest] == ["x/zarr.json"]


def test_what_killed_copies_leave(root: Group, tmp_path: Path) -> None:
    """The key by which workers know that a copy is under way is not copied, and a copy that goes on takes it away."""
    (tmp_path / "source/zarr.json.workers").write_text("of a killed copy")
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest/zarr.json.workers").write_text("of a killed copy")
    zarrv3.copy(root, tmp_path / "dest", resume=True)
    assert is_whole(zarrv3.open_group(tmp_path / "dest", mode="r"), tmp_path)

"""What takes several steps is cut off, by a kill or by Ctrl-C, in folders, shards, archives and databases; then it is looked at.

Every value is old or new as a whole, the hierarchy opens, what was acknowledged is there, and what the dead leave behind
disturbs nobody and goes.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import zarrv3
from zarrv3.testing.interrupts import interrupted
from zarrv3.testing.processes import Writer, open_files

SIZE, KEPT = 120, 30
PLACES = {
    "folder": ("file://{}/x.zarr", {"chunks": 10}),
    "shards": ("file://{}/x.zarr", {"chunks": 5, "shards": 20}),
    "archive": ("zip://{}/x.zip", {"chunks": 10}),
}
DATABASES = {
    "SQLite": ("sqlite://{}/x.db", {"chunks": 10}),
    "LMDB": ("lmdb://{}/x.lmdb", {"chunks": 10}),
    "DBM": ("dbm://{}/x.dbm", {"chunks": 10}),
}


class Work(NamedTuple):
    """What the process does that is killed; each function is given the root group and the number of the turn."""

    turn: Callable[[zarrv3.Group, int], object]
    check: Callable[[zarrv3.Group, int], object]
    """What must be so when this turn was the last one acknowledged; the next one had perhaps begun."""


def array_of(group: zarrv3.Group, path: str) -> zarrv3.Array:
    """An array in the hierarchy."""
    found = group[path]
    assert isinstance(found, zarrv3.Array)
    return found


def values(group: zarrv3.Group, path: str) -> list[Any]:
    """The values of an array."""
    found: list[Any] = array_of(group, path)[...].tolist()
    return found


def resize(group: zarrv3.Group, turn: int) -> None:
    """In odd turns an array is made shorter, in even ones longer, with values of the turn."""
    array = array_of(group, "a")
    array.resize((KEPT if turn % 2 else SIZE,))
    if turn % 2 == 0:
        array[KEPT:] = turn


def check_resized(group: zarrv3.Group, turn: int) -> None:
    """What was cut off does not come back when the array grows."""
    array = array_of(group, "a")
    was_short = array.shape == (KEPT,)
    array.resize((SIZE,))
    first, rest = values(group, "a")[:KEPT], values(group, "a")[KEPT:]
    assert first == [-7] * KEPT
    assert {*rest} <= ({0, turn + 1} if turn % 2 else {0} if was_short else {0, turn})


def append(group: zarrv3.Group, turn: int) -> None:
    """A row is appended that says its turn three times."""
    array_of(group, "rows").append(np.full((1, 3), turn))


def check_appended(group: zarrv3.Group, turn: int) -> None:
    """What was acknowledged is there, in order; a row that was cut off has fill values where a chunk was not written."""
    rows = values(group, "rows")
    assert all(len({*row} - {0}) <= 1 for row in rows)
    found = [row[0] for row in rows if row[0] and len({*row}) == 1]
    assert found == sorted({*found})
    assert turn in found
    assert {*found} >= {*group.attrs.get("found", [])}
    group.attrs["found"] = found
    assert len(rows) <= turn + 1


def write(group: zarrv3.Group, turn: int) -> None:
    """An array is written over, chunk by chunk, and an attribute set."""
    array_of(group, "a")[...] = turn
    group.attrs["turn"] = turn


def check_written(group: zarrv3.Group, turn: int) -> None:
    """Every chunk is of one of two turns."""
    found = array_of(group, "a")[...].reshape(-1, 5)
    assert (found == found[:, :1]).all()
    assert {*found.flat} <= {turn, turn + 1}
    assert group.attrs["turn"] in {turn, turn + 1}


def move(group: zarrv3.Group, turn: int) -> None:
    """A group with an array goes from one name to another, and back."""
    group.move(*(("one", "two") if "one" in group else ("two", "one")))


def check_moved(group: zarrv3.Group, turn: int) -> None:
    """It has one of the names, with all its values."""
    (name,) = {"one", "two"} & {*group}
    assert values(group, f"{name}/b") == [*range(1, SIZE + 1)]


def copy(group: zarrv3.Group, turn: int) -> None:
    """An array is copied over its copy."""
    zarrv3.copy(group["one"], group.store, dest_path="copied", overwrite=True)


def check_copied(group: zarrv3.Group, turn: int) -> None:
    """The source is as it was, and the copy is whole: this one or the one before."""
    assert values(group, "one/b") == values(group, "copied/b") == [*range(1, SIZE + 1)]


def replace(group: zarrv3.Group, turn: int) -> None:
    """An array is replaced by another one, with values of the turn."""
    group.create_array("a", data=np.full(SIZE, turn, "i4"), chunks=5, overwrite=True)


def check_replaced(group: zarrv3.Group, turn: int) -> None:
    """It is the old or the new one as a whole."""
    assert {*values(group, "a")} in ({turn}, {turn + 1})


def save(group: zarrv3.Group, turn: int) -> None:
    """The whole hierarchy is replaced by three arrays with values of the turn."""
    zarrv3.save(group.store, **dict.fromkeys("xyz", np.full(SIZE, turn, "i4")), overwrite=True)


def check_saved(group: zarrv3.Group, turn: int) -> None:
    """All three are of one turn."""
    found = [values(group, name) for name in "xyz"]
    assert found in [[[turn] * SIZE] * 3, [[turn + 1] * SIZE] * 3]
    assert {*group} == {*"xyz"}


def consolidate(group: zarrv3.Group, turn: int) -> None:
    """The metadata of a hierarchy are consolidated again and again."""
    zarrv3.consolidate_metadata(group.store)


def check_consolidated(group: zarrv3.Group, turn: int) -> None:
    """It opens with them and without."""
    for use in (True, False):
        opened = zarrv3.open_group(group.store, mode="r", use_consolidated=use)
        assert {*opened} == {"a", "rows", "one"}


WORK = {
    "resize": Work(resize, check_resized),
    "append": Work(append, check_appended),
    "write": Work(write, check_written),
    "move": Work(move, check_moved),
    "copy": Work(copy, check_copied),
    "replace": Work(replace, check_replaced),
    "save": Work(save, check_saved),
    "consolidate": Work(consolidate, check_consolidated),
}


def prepare(store: zarrv3.BaseStore, **layout: Any) -> None:
    """The hierarchy that is worked on."""
    store.clear()
    group = zarrv3.create_group(store)
    group.create_array("a", shape=SIZE, dtype="i4", **layout)[...] = -7
    group.create_array("one/b", data=np.arange(1, SIZE + 1), **layout)
    group.create_array("rows", shape=(0, 3), chunks=(4, 2), dtype="i4")
    group.attrs["turn"] = 0


def turn_of(work: str, url: str, turn: int) -> None:
    """What the process does in one turn; what is acknowledged is flushed."""
    with zarrv3.open_store(url) as store:
        WORK[work].turn(zarrv3.open_group(store, mode="r+", use_consolidated=False), turn)


def is_killed(place: str, work: str, folder: Path, kills: int, seed: int) -> None:
    """Let a process be killed so many times at random moments, and look each time."""
    rng = random.Random(seed)
    form, layout = (PLACES | DATABASES)[place]
    url = form.format(folder)
    with zarrv3.open_store(url) as store:
        prepare(store, **layout)
    turn_of(work, url, 1)
    last = 0
    for _ in range(kills):
        writer = Writer(partial(turn_of, work), partial(str, url), last + 2)
        try:
            writer.wait_for_first()
            time.sleep(rng.uniform(0, 0.03))
        finally:
            last = writer.kill()
        with zarrv3.open_store(url) as store:
            WORK[work].check(zarrv3.open_group(store, mode="r+", use_consolidated=False), last)
    with zarrv3.open_store(url) as store:
        store.clear()
    if place in PLACES:
        assert {path.name for path in folder.rglob("*")} <= {"x.zarr", "x.zip"}


@pytest.mark.parametrize("place", PLACES | DATABASES)
@pytest.mark.parametrize("work", WORK)
def test_what_is_killed_leaves_all_in_order(place: str, work: str, tmp_path: Path) -> None:
    """Whatever takes several steps may be cut off anywhere: values are whole, what was acknowledged is there, nothing is left."""
    is_killed(place, work, tmp_path, 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES | DATABASES)
@pytest.mark.parametrize("work", WORK)
def test_what_is_killed_often_leaves_all_in_order(place: str, work: str, tmp_path: Path) -> None:
    """So it is after two thousand kills, shared by all kinds of work and places."""
    is_killed(place, work, tmp_path, 1000 // len(WORK) // len(PLACES) + 1, 1)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # in `zipfile` and `os.scandir`
@pytest.mark.parametrize("kernels", ["native", "none"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("step", [1511, pytest.param(13, marks=pytest.mark.slow)])
def test_what_is_interrupted_leaves_all_in_order(
    step: int, work: str, place: str, kernels: str, tmp_path: Path
) -> None:
    """So it is where Ctrl-C cuts something off: what comes next works at once, and no file stays open."""
    form, layout = PLACES[place]
    url = form.format(tmp_path)
    last = 1
    with zarrv3.config.set(kernels=kernels):
        with zarrv3.open_store(url) as store:
            prepare(store, **layout)
        turn_of(work, url, last)
        for point in count(1, step):
            ended = interrupted(partial(turn_of, work, url, last + 1), point) is None
            with zarrv3.open_store(url) as store:
                WORK[work].check(zarrv3.open_group(store, mode="r+", use_consolidated=False), last)
            last += 2
            turn_of(work, url, last)
            if open_files(tmp_path):
                gc.collect()  # what was interrupted may refer to itself
            assert open_files(tmp_path) == []
            assert not [path for path in tmp_path.rglob("*") if ".zarrv3" in path.name]
            if ended:
                break

"""One thread writes all chunks of an array again and again, eight write single ones: everybody gets on, counted in writes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3

SHORT_WRITERS = 8
CHUNKS = 64
PATIENCE = 300.0
"""Seconds in which all have done what they have to; on an idle machine it takes less than one."""

PLACES = {
    "memory": "memory://",
    "folder": "file://{}/x.zarr",
    "SQLite": "sqlite://{}/x.db",
    "LMDB": "lmdb://{}/x.lmdb",
    "DBM": "dbm://{}/x.dbm",
}

WIDTH = SHORT_WRITERS + 1
LONG: dict[str, Any] = {"whole chunks": np.s_[...], "parts of chunks": np.s_[:, 0]}
"""What the long writer writes: all that the short ones write too, or a column of its own."""


class Progress:
    """What each writer has done so far, the long one last; the work ends when each has done as many writes as it is to."""

    def __init__(self, long: int, short: int) -> None:
        self.wanted = [short] * SHORT_WRITERS + [long]
        self.done = [0] * len(self.wanted)
        self.stop = threading.Event()
        self.all_done = threading.Event()

    def count(self, writer: int) -> None:
        """One more write has returned."""
        self.done[writer] += 1
        if all(done >= wanted for done, wanted in zip(self.done, self.wanted, strict=True)):
            self.all_done.set()


def get_on_together(url: str, what: str, long: int, short: int) -> None:
    """Let all write, and nobody stop, until the long writer has done `long` writes and each short one `short`."""
    progress = Progress(long, short)
    with zarrv3.open_store(url) as store:
        array = zarrv3.create_array(store, shape=(CHUNKS, WIDTH), chunks=(1, WIDTH), dtype="i4")

        def write_all() -> None:
            while not progress.stop.is_set():
                array[LONG[what]] = progress.done[-1] + 1
                progress.count(SHORT_WRITERS)

        def write_one(writer: int) -> None:
            while not progress.stop.is_set():
                turn = progress.done[writer] + 1
                array[turn % CHUNKS, writer + 1] = turn
                progress.count(writer)

        with ThreadPoolExecutor(WIDTH) as pool:
            working = [pool.submit(write_one, writer) for writer in range(SHORT_WRITERS)]
            working.append(pool.submit(write_all))
            progress.all_done.wait(PATIENCE)
            progress.stop.set()
        for writer in working:
            writer.result()
        assert progress.all_done.is_set(), progress.done
        values = array[...]
        assert (values[:, 0] == progress.done[-1]).all()
        if what == "parts of chunks":
            for column, done in enumerate(progress.done[:-1], 1):
                last = {turn % CHUNKS: turn for turn in range(max(1, done - CHUNKS + 1), done + 1)}
                assert {row: values[row, column] for row in last} == last


@pytest.mark.parametrize("what", LONG)
@pytest.mark.parametrize("place", PLACES)
def test_nobody_is_starved(place: str, what: str, tmp_path: Path) -> None:
    """The long writer ends twice and each short one thirty times, though nobody pauses meanwhile."""
    get_on_together(PLACES[place].format(tmp_path), what, 2, 30)


@pytest.mark.slow
@pytest.mark.parametrize("what", LONG)
@pytest.mark.parametrize("place", PLACES)
def test_nobody_is_starved_for_long(place: str, what: str, tmp_path: Path) -> None:
    """So it is until the long writer has ended fifty times, and each short one five hundred."""
    get_on_together(PLACES[place].format(tmp_path), what, 50, 500)

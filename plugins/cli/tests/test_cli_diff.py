"""`zarrv3 diff`: what it writes, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3

Run = Callable[..., Any]


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """An overlay with an array that was changed in part, one that was erased and a new one."""
    base = zarrv3.create_group(str(tmp_path / "published"))
    base.create_array("x", data=np.arange(1, 7, dtype="u1"), chunks=2, compressors=None)
    base.create_array("y", data=np.arange(1, 3, dtype="u1"), chunks=1, compressors=None)
    url = f"{tmp_path}/mine|overlay:base={tmp_path}/published"
    group = zarrv3.open_group(url, mode="r+")
    group["x"][0] = 9  # type: ignore[index]
    del group["y"]
    group.create_array("z", data=np.arange(1, 3, dtype="u1"), compressors=None)
    return url


def test_an_overlay(mine: str, run: Run) -> None:
    """Nodes with numbers of chunks and bytes, keys on request; the exit code is 1."""
    ended = run("diff", mine)
    assert (ended.code, ended.err) == (1, "")
    rows = [line.split("\t") for line in ended.out.splitlines()]
    assert [row[:6] for row in rows] == [
        ["changed", "/x", "", "", "1", ""],
        ["erased", "/y", "document", "", "", "2"],
        ["added", "/z", "document", "1", "", ""],
    ]
    assert rows[0][6:] == ["2", "2"]
    keys = run("diff", mine, "--keys", "-p", "y").out.splitlines()
    assert [line.split("\t")[:2] for line in keys] == [
        ["erased", "c/0"],
        ["erased", "c/1"],
        ["erased", "zarr.json"],
    ]
    assert run("diff", f"{mine}|zarr3:z", "--keys").out.splitlines()[0] == "added\tc/0\t\t2"


def test_json(mine: str, run: Run) -> None:
    """Programs get the differences in one document, also if there are none."""
    ended = run("diff", mine, "--json")
    assert ended.code == 1
    first = json.loads(ended.out)["nodes"][0]
    assert first == {
        "path": "x",
        "kind": "changed",
        "document": False,
        "chunks": {"added": 0, "changed": 1, "erased": 0},
        "bytes": {"before": 2, "now": 2},
    }
    keys = json.loads(run("diff", mine, "--keys", "--json", "-p", "x").out)
    assert keys == {"keys": [{"kind": "changed", "key": "c/0", "before": 2, "now": 2}]}
    assert run("diff", mine, mine, "--json") == (0, '{"nodes": []}\n', "")


def test_two_hierarchies(mine: str, run: Run, tmp_path: Path) -> None:
    """Two that are the same give nothing and 0; a copy of an overlay is the same as the overlay."""
    zarrv3.copy(mine, str(tmp_path / "flat"))
    assert run("diff", mine, tmp_path / "flat") == (0, "", "")
    ended = run("diff", tmp_path / "published", tmp_path / "flat")
    assert ended.code == 1
    assert ended.out == run("diff", mine).out


def test_trouble(run: Run, tmp_path: Path, mine: str) -> None:
    """Where nothing can be compared the exit code is 2, whatever the reason, and nothing is made."""
    for arguments in (
        (tmp_path / "published",),
        (tmp_path / "published", tmp_path / "typo"),
        (tmp_path / "published", "nonsense://x"),
        (mine, "-p", "x", "--unknown"),
        ("redis://user:hunter2@localhost:1/0", mine),
    ):
        ended = run("diff", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("zarrv3: ")
        assert len(ended.err.splitlines()) == 1
        assert "hunter2" not in ended.err
    assert not (tmp_path / "typo").exists()

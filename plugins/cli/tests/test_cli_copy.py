"""`copy`: between stores, with changes, as told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3

Run = Callable[..., Any]


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_copy_byte_for_byte(url: str, run: Run, tmp_path: Path) -> None:
    """Without changes the copy has the same keys and bytes; what was done is told, also as JSON."""
    there = tmp_path / "copy.zarr"
    ended = run("copy", url, there)
    assert ended.code == 0, ended.err
    assert files(there) == files(Path(url))
    total = sum(map(len, files(there).values()))
    assert ended.out == f"copied 4 arrays and 2 groups: 39 chunks, 6 documents, {total} bytes\n"
    found = json.loads(run("copy", url, tmp_path / "again.zarr", "--json").out)
    assert (found["arrays"], found["chunks"], found["bytes"], found["not_carried"]) == (4, 39, total, [])


def test_copy_of_a_node_into_another_store(url: str, run: Run, tmp_path: Path) -> None:
    """Source and destination are named by URLs with paths in them, each with its options."""
    there = f"{tmp_path / 'all.zip'}|zip:"
    ended = run("copy", f"{url}|zarr3:a", f"{there}|zarr3:x/y", "-o", "fsync=false", "-O", "fsync=true")
    if ended.code:  # the zip adapter is another package's
        assert "pip install" in ended.err
        pytest.skip("no zip store here")
    assert np.array_equal(zarrv3.load(there, "x/y/t"), zarrv3.load(url, "a/t"))


def test_copy_that_changes(url: str, run: Run, tmp_path: Path) -> None:
    """Chunks and compressors become what is asked for, the values stay."""
    there = tmp_path / "copy.zarr"
    ended = run("copy", f"{url}/a/t", there, "--chunks", "50,30", "--compressor", "gzip:level=9", "--verify")
    assert ended.code == 0, ended.err
    assert "(1 re-encoded)" in ended.out
    copied = zarrv3.open_array(there, mode="r")
    assert copied.chunks == (50, 30)
    assert [codec.to_json() for codec in copied.compressors] == [
        {"name": "gzip", "configuration": {"level": 9}}
    ]
    assert np.array_equal(copied[:], zarrv3.load(url, "a/t"))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["none"], []),
        (["auto"], ["zstd"]),
        (["zstd"], ["zstd"]),
        (["numcodecs.zlib:level=1"], ["numcodecs.zlib"]),
        (
            [
                '{"name": "blosc", "configuration": {"cname": "lz4", "clevel": 1, "shuffle": "noshuffle", "blocksize": 0}}'
            ],
            ["blosc"],
        ),
        (["blosc:cname=zstd,clevel=1,shuffle=shuffle", "crc32c"], ["blosc", "crc32c"]),
    ],
    ids=str,
)
def test_spelling_of_compressors(
    url: str, run: Run, tmp_path: Path, given: list[str], names: list[str]
) -> None:
    """A compressor is a name, a name with its configuration, or JSON; several are applied in order."""
    there = tmp_path / "copy.zarr"
    ended = run("copy", f"{url}/a/t", there, *[word for text in given for word in ("--compressor", text)])
    assert ended.code == 0, ended.err
    document = json.loads((there / "zarr.json").read_text())
    assert [codec["name"] for codec in document["codecs"][1:]] == names
    assert np.array_equal(zarrv3.load(there), zarrv3.load(url, "a/t"))


def test_filters_and_serializer(url: str, run: Run, tmp_path: Path) -> None:
    """Filters and the serializer are spelled as compressors are, a list in them as JSON; `none` takes filters away."""
    there, back = tmp_path / "there", tmp_path / "back"
    given = ("--filter", "transpose:order=[1,0]", "--serializer", "bytes:endian=big")
    ended = run("copy", f"{url}/a/t", there, *given, "--verify")
    assert ended.code == 0, ended.err
    copied = zarrv3.open_array(there, mode="r")
    assert [codec.to_json() for codec in copied.codecs] == [
        {"name": "transpose", "configuration": {"order": [1, 0]}},
        {"name": "bytes", "configuration": {"endian": "big"}},
    ]
    assert np.array_equal(copied[:], zarrv3.load(url, "a/t"))
    assert run("copy", there, back, "--filter", "none", "--serializer", "auto").code == 0
    assert files(back) == files(Path(url, "a/t"))


def test_copy_to_shards_and_back(url: str, run: Run, tmp_path: Path) -> None:
    """`--shards` stores chunks together; `none` takes them apart again, byte for byte as before."""
    pytest.importorskip("zarrv3_transformer_sharding")
    sharded, plain = tmp_path / "sharded.zarr", tmp_path / "plain.zarr"
    assert run("copy", f"{url}/a/t", sharded, "--shards", "50,60").code == 0
    assert zarrv3.open_array(sharded, mode="r").shards == (50, 60)
    assert run("verify", sharded).out.startswith("0 groups, 1 array, 30 chunks of 12000 bytes")
    assert run("copy", sharded, plain, "--shards", "none").code == 0
    assert files(plain).keys() == files(Path(url, "a/t")).keys()
    assert np.array_equal(zarrv3.load(plain), zarrv3.load(url, "a/t"))


def test_corrupt_shards(url: str, run: Run, tmp_path: Path) -> None:
    """A shard with a damaged index is one problem, a damaged chunk within a shard is one; both name the shard's key."""
    pytest.importorskip("zarrv3_transformer_sharding")
    sharded = tmp_path / "sharded.zarr"
    run("copy", f"{url}/a/t", sharded, "--shards", "50,60", "--compressor", "crc32c")
    first, second = sharded / "c/0/0", sharded / "c/1/0"
    content = bytearray(first.read_bytes())
    content[-3] ^= 255
    first.write_bytes(content)
    content = bytearray(second.read_bytes())
    content[7] ^= 255
    second.write_bytes(content)
    ended = run("verify", sharded, "--json")
    problems = json.loads(ended.out)["problems"]
    assert ended.code == 1
    assert [(problem["kind"], problem["key"]) for problem in problems] == [
        ("corrupt", "c/0/0"),
        ("corrupt", "c/1/0"),
    ]
    assert problems[1]["message"].startswith("chunk (5, 0): ")


def test_dry_run(url: str, run: Run, tmp_path: Path) -> None:
    """A dry run writes nothing and tells what would be copied."""
    there = tmp_path / "copy.zarr"
    ended = run("copy", url, there, "--dry-run")
    assert ended.code == 0
    assert ended.out.startswith("would copy ")
    assert "39 chunks" in ended.out
    assert not there.exists()


def test_what_is_there(url: str, run: Run, tmp_path: Path) -> None:
    """What is at the destination is replaced only with `--overwrite`, as far as it is Zarr's, and completed with `--resume`."""
    there = tmp_path / "copy.zarr"
    run("copy", url, there)
    (there / "z/c/0/0/0").unlink()
    refused = run("copy", url, there)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    resumed = run("copy", url, there, "--resume")
    assert resumed.code == 0, resumed.err
    assert ": 1 chunk, " in resumed.out
    assert "already there" in resumed.out
    assert files(there) == files(Path(url))
    (there / "stray").write_text("x")
    (there / "z/c/0/0/7").write_text("a chunk that is not in the source")
    assert run("copy", url, there, "--overwrite").code == 0
    assert files(there) == {**files(Path(url)), "stray": b"x"}


def test_nodes_that_cannot_be_copied(url: str, run: Run, tmp_path: Path) -> None:
    """A node that fails stops the copy; with `--keep-going` it is told, the others are copied, and the exit code is 1."""
    Path(url, "z/c/0/0/0").write_bytes(b"no zstd")
    stopped = run("copy", url, tmp_path / "one", "--compressor", "none")
    assert (stopped.code, stopped.err.count("\n")) == (1, 1)
    assert stopped.err.startswith("zarrv3: cannot copy /z in ")
    assert "--keep-going leaves it out and copies the rest" in stopped.err
    assert stopped.err.endswith("the same command with --resume goes on from there.\n")
    ended = run("copy", url, tmp_path / "two", "--compressor", "none", "--keep-going")
    assert ended.code == 1
    assert ended.out.startswith("not copied: /z: ")
    assert np.array_equal(zarrv3.load(tmp_path / "two", "a/t"), zarrv3.load(url, "a/t"))
    assert not (tmp_path / "two/z/zarr.json").exists()


def test_copy_by_the_names_of_dimensions(run: Run, tmp_path: Path) -> None:
    """Lengths are given by name, or as JSON; arrays without the dimension pass through, and a name of none is an error."""
    source, there = tmp_path / "old.zarr", tmp_path / "new.zarr"
    group = zarrv3.create_group(source)
    group.create_array("v", data=np.arange(24).reshape(6, 4), chunks=(2, 4), dimension_names=["time", "lat"])
    group.create_array("lat", data=np.arange(4), chunks=2, dimension_names=["lat"])
    ended = run("copy", source, there, "--chunks", "time=3", "--shards", "time=6")
    assert ended.code == 0, ended.err
    assert "(1 re-encoded)" in ended.out
    copied = zarrv3.open_group(there, mode="r")
    assert (copied["v"].chunks, copied["v"].shards, copied["lat"].chunks) == ((3, 4), (6, 4), (2,))
    ended = run("copy", source, tmp_path / "no.zarr", "--chunks", "tiem=3")
    assert (ended.code, ended.err) == (
        1, "zarrv3: no array has a dimension 'tiem'; named dimensions: lat, time\n"
    )  # fmt: skip
    assert run("copy", f"{source}/v", tmp_path / "lists.zarr", "--chunks", "[[1,5],4]").code == 0
    info = json.loads(run("info", tmp_path / "lists.zarr", "--json").out)
    assert info["chunk_shape"] == [[[1, 1], [5, 1]], 4]
    assert run("copy", source, there, "--chunks", "time=x").code == 2


def test_texts_speak_of_options(url: str, run: Run, tmp_path: Path) -> None:
    """What errors call arguments in Python are options here."""
    there = tmp_path / "copy.zarr"
    run("copy", url, there)
    ended = run("copy", url, there)
    assert "give --overwrite to replace it, or --resume to go on" in ended.err


def test_another_format_is_not_copied_as_if_it_were_this(run: Run, tmp_path: Path) -> None:
    """A hierarchy of another format, without its layer, is an error that names it, and nothing is written."""
    old = tmp_path / "old"
    old.mkdir()
    core = "https://purl.org/zarr/spec/protocol/core/3.0"
    (old / "zarr.json").write_text(json.dumps({"zarr_format": core, "metadata_encoding": core}))
    ended = run("copy", old, tmp_path / "new")
    assert ended.code == 1
    assert "draft" in ended.err
    assert "auto=True" not in ended.err
    assert not (tmp_path / "new").exists()

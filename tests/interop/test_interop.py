"""Arrays and groups written here are read by zarr-python, zarrs and TensorStore with equal values, and the other way round.

`interop_cases` has the arrays, `interop_peers` the libraries, `interop_gaps` what each of them cannot do: that they
still cannot is asserted, nothing is skipped.
"""

import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import interop_matrix
import ml_dtypes
import numpy as np
import pytest
import zarr
from interop_cases import FILLS, codec, every_case, filled
from interop_gaps import UNSUPPORTED, Gap, gaps
from interop_peers import LITTLE, OURS, PEERS, Case, check_same, load_document, quiet
from interop_zarrita import HAS_NODE, Zarrita

import zarrv3
from zarrv3.format.codecs.zstd import frames

CASES = {case.name: case for case in every_case()}
PARTNERS = {"zarrv3": OURS, **PEERS, "zarrita": Zarrita()}
PAIRS = [("zarrv3", "zarrv3"), *(("zarrv3", name) for name in PEERS), *((name, "zarrv3") for name in PEERS)]
IN_NODE = [("zarrv3", "zarrita"), ("zarrita", "zarrv3")]

needs_node = pytest.mark.skipif(not HAS_NODE, reason="zarrita.js runs in Node, which is not here")

ATTRIBUTES: dict[str, Any] = {"title": "żółw", "levels": [1, 2.5, None, True], "nested": {"a": {"b": []}}}


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        *(pytest.param(*pair, id=" to ".join(pair)) for pair in PAIRS),
        *(pytest.param(*pair, id=" to ".join(pair), marks=needs_node) for pair in IN_NODE),
    ],
)
def test_exchange(writer: str, reader: str, case: Case, tmp_path: Path) -> None:
    """What one library writes another reads with equal bits, or fails as its table of gaps says."""
    expected = gaps(writer, "writes", case) + gaps(reader, "reads", case)
    try:
        PARTNERS[writer].write(tmp_path, case)
        check_same(PARTNERS[reader].read(tmp_path), case.values)
    except Exception as error:
        if not any(gap.explains(error) for gap in expected):
            raise
    else:
        assert not expected, f"{writer} to {reader} works now: take it out of interop_gaps ({expected})"


@pytest.mark.parametrize("key", UNSUPPORTED, ids=[f"{peer} {feature}" for peer, feature in UNSUPPORTED])
def test_every_gap_is_seen(key: tuple[str, str]) -> None:
    """No entry of the table of gaps is dead: some case has the feature, in each direction it is listed for."""
    peer, feature = key

    def seen(gap: Gap) -> bool:
        return all(any(gap in gaps(peer, when, case) for case in CASES.values()) for when in gap.when)

    assert all(map(seen, UNSUPPORTED[key])), feature


@pytest.mark.parametrize("case", filled(), ids=lambda case: case.name)
def test_chunks_of_the_fill_value_are_left_out(case: Case, tmp_path: Path) -> None:
    """The exchange of fill values tests those of the documents: we store no chunk that holds nothing else."""
    OURS.write(tmp_path, case)
    assert "1" not in {path.name for path in (tmp_path / "c").iterdir()}


@pytest.mark.parametrize("name", FILLS)
def test_document_keeps_fill_value(name: str, tmp_path: Path) -> None:
    """The document holds the very fill value that was asked for, hex and all."""
    for number, case in enumerate(case for case in filled() if case.data_type == name):
        folder = tmp_path / str(number)
        OURS.write(folder, case)
        found = load_document(folder)["fill_value"]
        assert repr(found) == repr(case.fill_value) or (found, case.fill_value) == (0.0, 0)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
@pytest.mark.parametrize(
    "name",
    [
        "float64",
        "keys-v2/-3d",
        "keys-default.-0d",
        "zstd3-checksum-int32",
        "blosc-lz4-shuffle-int32",
        "crc32c-int32",
    ],
)
def test_one_array_two_writers(peer: Any, name: str, tmp_path: Path) -> None:
    """A peer overwrites an array of ours and we one of the peer's, both with their own codecs on the other's document."""
    case = CASES[name]
    other = np.ascontiguousarray(case.values[::-1]) if case.values.ndim else case.values + 1
    for folder, creator, second in ((tmp_path / "a", OURS, peer), (tmp_path / "b", peer, OURS)):
        folder.mkdir()
        creator.write(folder, case)
        second.assign(folder, other)
        check_same(creator.read(folder), other)
        check_same(second.read(folder), other)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
@pytest.mark.parametrize(
    "name",
    [
        "sharded-end-crc32c",
        "sharded-start-crc32c",
        "sharded-end-plain",
        "sharded-start-plain",
        "sharded-gzip",
    ],
)
def test_one_shard_two_writers(peer: Any, name: str, tmp_path: Path) -> None:
    """A peer and we change parts of each other's shards in turn; both always read what was written, gaps and all."""
    case = CASES[name]
    rng = np.random.default_rng(0)
    for folder, creator in ((tmp_path / "a", OURS), (tmp_path / "b", peer)):
        folder.mkdir()
        creator.write(folder, case)
        values = case.values.copy()
        for turn in range(6):
            corner = [int(rng.integers(0, length)) for length in values.shape]
            part = tuple(
                slice(c, min(length, c + 1 + int(rng.integers(0, 6))))
                for c, length in zip(corner, values.shape, strict=True)
            )
            values[part] = 0 if turn > 3 else rng.integers(1, 2**30, values[part].shape)
            (OURS if turn % 2 else peer).change(folder, part, values[part])
            check_same(OURS.read(folder), values)
            check_same(peer.read(folder), values)


def test_tensorstore_fills_our_raw_bytes(tmp_path: Path) -> None:
    """TensorStore cannot create raw bytes that it reads again, but writes into an array of ours."""
    case = CASES["raw_bytes"]
    OURS.write(tmp_path, case)
    PEERS["tensorstore"].assign(tmp_path, case.values[::-1])
    check_same(OURS.read(tmp_path), np.ascontiguousarray(case.values[::-1]))


def test_tensorstore_streams_zstd(tmp_path: Path) -> None:
    """We read zstd frames that do not say what they hold: TensorStore writes them for what it does not know the size of."""
    values = np.arange(10**6)
    chain = (LITTLE, codec("gzip", level=1), codec("zstd", level=1, checksum=True))
    PEERS["tensorstore"].write(tmp_path, Case("stream", "int64", values, 0, values.shape, chain))
    assert [frame.size for frame in frames((tmp_path / "c" / "0").read_bytes())] == [None]
    check_same(OURS.read(tmp_path), values)


# ---------------------------------------------------------------- defaults


def _samples() -> dict[str, np.ndarray]:
    """Values of every kind of dtype that both sides know without being told."""
    count = np.arange(2 * 3 * 50).reshape(2, 3, 50)
    names = (
        "bool",
        "int8",
        "uint16",
        "int64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "S3",
        "U5",
        "M8[s]",
        "m8[ms]",
    )
    found = {name: count.astype(name) for name in names}
    found["string"] = count.astype("U").astype(np.dtypes.StringDType())
    found["0-d"] = np.array(1.5)
    found["zero-length"] = np.zeros((0, 3))
    return found


@pytest.mark.parametrize("name", _samples())
def test_our_defaults(name: str, tmp_path: Path) -> None:
    """An array made without any option opens in zarr-python, and in the others where they know the data type."""
    values = _samples()[name]
    zarrv3.create_array(str(tmp_path), data=values)
    numeric = values.dtype.kind in "biufc"
    for peer in PEERS.values() if numeric else [PEERS["zarr-python"]]:
        check_same(peer.read(tmp_path), values)


@pytest.mark.parametrize("name", _samples())
def test_zarr_python_defaults(name: str, tmp_path: Path) -> None:
    """An array that zarr-python makes without any option opens here."""
    values = _samples()[name]
    with warnings.catch_warnings():
        quiet()
        array = zarr.create_array(tmp_path, data=values)
        assert zarrv3.open_array(str(tmp_path), mode="r").chunks == array.chunks
    check_same(OURS.read(tmp_path), values)


@pytest.mark.parametrize("dtype", ["bool", "int16", "uint64", "float64", "complex128", "bfloat16", "int4"])
def test_tensorstore_defaults(dtype: str, tmp_path: Path) -> None:
    """An array that TensorStore makes from dtype and shape alone, with its default codecs, opens here."""
    values = np.arange(8).reshape(2, 4).astype(getattr(ml_dtypes, dtype, dtype))
    array = PEERS["tensorstore"].open(
        tmp_path, create=True, dtype=dtype, schema={"domain": {"shape": values.shape}}
    )
    array.write(values).result()
    check_same(OURS.read(tmp_path), values)


# ---------------------------------------------------------------- metadata


@pytest.mark.parametrize("peer", ["zarr-python", "tensorstore"])
def test_array_metadata(peer: str, tmp_path: Path) -> None:
    """Attributes and dimension names pass both ways, names that are missing, too."""
    named = Case(
        "named",
        "int32",
        np.arange(12, dtype="i4").reshape(3, 2, 2),
        7,
        (2, 1, 2),
        (LITTLE,),
        dimension_names=("x", None, ""),
        attributes=ATTRIBUTES,
    )
    OURS.write(tmp_path / "a", named)
    (tmp_path / "b").mkdir()
    PARTNERS[peer].write(tmp_path / "b", named)
    ours = zarrv3.open_array(str(tmp_path / "b"), mode="r")
    assert (dict(ours.attrs), ours.dimension_names, ours.fill_value) == (ATTRIBUTES, ("x", None, ""), 7)
    if peer == "zarr-python":
        theirs = zarr.open_array(tmp_path / "a", mode="r")
        assert (theirs.attrs.asdict(), theirs.metadata.dimension_names) == (ATTRIBUTES, ("x", None, ""))
        assert (theirs.fill_value, theirs.shape, theirs.chunks) == (7, (3, 2, 2), (2, 1, 2))
    else:
        array = PEERS["tensorstore"].open(tmp_path / "a")
        assert array.domain.labels == ("x", "", "")
        assert (array.fill_value, array.shape, array.chunk_layout.read_chunk.shape) == (
            7,
            (3, 2, 2),
            (2, 1, 2),
        )


def _hierarchy(folder: Path) -> dict[str, Any]:
    """A tree of groups and arrays of ours; returned are the attributes by path."""
    root = zarrv3.create_group(str(folder), attributes=ATTRIBUTES)
    root.create_group("empty")
    inner = root.create_group("a/b", attributes={"depth": 2})
    inner.create_array(
        "numbers", data=np.arange(10), chunks=3, attributes={"units": "m"}, dimension_names=["t"]
    )
    root.create_array("naïve name", data=np.array(["x", "yy"], dtype=np.dtypes.StringDType()))
    return {
        "a": {}, "a/b": {"depth": 2}, "a/b/numbers": {"units": "m"}, "empty": {}, "naïve name": {},
    }  # fmt: skip


def _check_zarr_python_sees(group: zarr.Group, expected: dict[str, Any]) -> None:
    members = dict(group.members(max_depth=None))
    assert {path: member.attrs.asdict() for path, member in members.items()} == expected
    assert group.attrs.asdict() == ATTRIBUTES
    np.testing.assert_array_equal(members["a/b/numbers"][...], np.arange(10))
    assert members["naïve name"][...].tolist() == ["x", "yy"]


def test_zarr_python_reads_our_groups(tmp_path: Path) -> None:
    """zarr-python lists the members of our groups, with attributes, and reads their arrays."""
    expected = _hierarchy(tmp_path)
    _check_zarr_python_sees(zarr.open_group(tmp_path, mode="r", use_consolidated=False), expected)


def test_zarr_python_reads_our_consolidated_metadata(tmp_path: Path) -> None:
    """zarr-python opens a tree by the metadata that we consolidated, even where the documents themselves are gone."""
    expected = _hierarchy(tmp_path)
    zarrv3.consolidate_metadata(str(tmp_path))
    for path in expected:
        (tmp_path / path / "zarr.json").unlink()
    _check_zarr_python_sees(zarr.open_consolidated(tmp_path), expected)


def test_consolidated_metadata_is_zarr_pythons(tmp_path: Path) -> None:
    """We consolidate the same nodes to the same documents as zarr-python does, up to what it adds where it is empty."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    _hierarchy(ours)
    shutil.copytree(ours, theirs)
    zarrv3.consolidate_metadata(str(ours))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(theirs)
    mine, other = (load_document(folder)["consolidated_metadata"] for folder in (ours, theirs))
    assert (mine["kind"], mine["must_understand"]) == (other["kind"], other["must_understand"])
    assert mine["metadata"].keys() == other["metadata"].keys()
    for path, document in mine["metadata"].items():
        shared = {name: value for name, value in other["metadata"][path].items() if name in document}
        assert _short(shared) == _short(document), path


def _short(value: Any) -> Any:
    """A document without empty configurations, which zarr-python writes."""
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items() if (name, item) != ("configuration", {})}
    return [_short(item) for item in value] if isinstance(value, list) else value


def test_we_read_zarr_pythons_groups(tmp_path: Path) -> None:
    """A tree that zarr-python wrote and consolidated opens here, and what we change in it zarr-python sees."""
    root = zarr.create_group(tmp_path, attributes=ATTRIBUTES)
    root.create_group("a/b", attributes={"depth": 2})
    root["a/b"].create_array("numbers", data=np.arange(10), chunks=(3,), attributes={"units": "m"})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(tmp_path)
    ours = zarrv3.open_group(str(tmp_path), mode="r+", use_consolidated=False)
    assert dict(ours.attrs) == ATTRIBUTES
    assert {path: dict(node.attrs) for path, node in ours.members(None)} == {
        "a": {}, "a/b": {"depth": 2}, "a/b/numbers": {"units": "m"},
    }  # fmt: skip
    np.testing.assert_array_equal(ours["a/b/numbers"][...], np.arange(10))
    ours.attrs["changed"] = True
    with pytest.warns(zarrv3.errors.StaleMetadataWarning):
        ours["a/b/numbers"].append(np.arange(5))
    again = zarr.open_group(tmp_path, mode="r", use_consolidated=False)
    assert again.attrs.asdict() == ATTRIBUTES | {"changed": True}
    assert again["a/b/numbers"][...].tolist() == [*range(10), *range(5)]


def test_edge_chunks_are_whole(tmp_path: Path) -> None:
    """Chunks that reach over the edge are stored whole, as the specification has it, by everybody alike."""
    case = CASES["keys-default/-3d"]
    size = math.prod(case.chunks) * 4
    for name, partner in PARTNERS.items():
        (folder := tmp_path / name).mkdir()
        partner.write(folder, case)
        sizes = {path.stat().st_size for path in (folder / "c").rglob("*") if path.is_file()}
        assert sizes == {size}, name


@needs_node
def test_the_page_is_current() -> None:
    """`docs/interop.md` says what the tables of gaps say, for the versions that it names."""
    written = interop_matrix.PAGE.read_text(encoding="utf-8")
    expected = interop_matrix.page()
    assert "no" in expected
    if f"With {interop_matrix.versions()}." in written:
        assert written == expected, "run: python tests/interop/interop_matrix.py"

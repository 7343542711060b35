"""The pure parts: ranges that are merged, keys and places, shards packed and unpacked."""

import math
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import parse_codec
from zarrv3.format.grids import ChunkKeyEncoding, DefaultKeys, V2Keys
from zarrv3.store.contract import ByteRange
from zarrv3_transformer_sharding.places import Places
from zarrv3_transformer_sharding.ranges import MAX_GAP, Span, merged
from zarrv3_transformer_sharding.shard import Location, ShardFormat

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
TRANSPOSED = {"name": "transpose", "configuration": {"order": [2, 1, 0]}}
ADLER = {"name": "numcodecs.adler32", "configuration": {}}
INDEXES = [
    [LITTLE],
    [BIG],
    [LITTLE, "crc32c"],
    [TRANSPOSED, BIG, "crc32c", "crc32c"],
    [LITTLE, ADLER],
]


# ---------------------------------------------------------------- ranges


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60))), st.integers(0, 50))
def test_extents_cover_spans(pairs: list[tuple[int, int]], gap: int) -> None:
    """Every span lies in the extent that holds it, extents do not touch gaps that are too wide, and little is spare."""
    spans = [Span(start, start + length, n) for n, (start, length) in enumerate(pairs)]
    extents = merged(spans, gap)
    assert sorted(span.position for extent in extents for span in extent.spans) == [*range(len(spans))]
    for extent in extents:
        wanted = {byte for span in extent.spans for byte in range(span.start, span.stop)}
        assert extent.start == min(wanted)
        assert extent.stop == max(wanted) + 1
        assert extent.stop - extent.start <= 1.5 * len(wanted)
        missing = sorted({*range(extent.start, extent.stop)} - wanted)
        assert all(any(b not in missing for b in range(m, m + gap + 1)) for m in missing)
    assert all(a.stop < b.start for a, b in pairwise(extents))


def test_neighbours_are_one_extent() -> None:
    """What lies side by side is fetched as one; a gap that is too wide, or too wide for what is asked, parts it."""
    assert len(merged([Span(0, 10, 0), Span(10, 20, 1), Span(20, 30, 2)], MAX_GAP)) == 1
    assert len(merged([Span(0, 10, 0), Span(20, 30, 1)], MAX_GAP)) == 1
    assert len(merged([Span(0, 10, 0), Span(21, 31, 1)], MAX_GAP)) == 2
    wide = 2**20
    assert len(merged([Span(0, wide, 0), Span(wide + MAX_GAP, 2 * wide, 1)], MAX_GAP)) == 1
    assert len(merged([Span(0, wide, 0), Span(wide + MAX_GAP + 1, 2 * wide, 1)], MAX_GAP)) == 2
    assert len(merged([Span(0, 10, 0), Span(10, 20, 1), Span(20, 50, 2)], MAX_GAP, 20)) == 2
    assert merged([], MAX_GAP) == []


# ---------------------------------------------------------------- places


@st.composite
def places(draw: Any) -> Places:
    """A grid in shards, of up to three dimensions, under any keys."""
    ndim = draw(st.integers(0, 3))
    encoding: ChunkKeyEncoding = draw(
        st.sampled_from([DefaultKeys("/"), DefaultKeys("."), V2Keys("/"), V2Keys(".")])
    )
    counts = st.tuples(*[st.integers(1, 4)] * ndim)
    return Places(draw(st.sampled_from(["", "a/", "c/0/"])), encoding, draw(counts), draw(counts))


@given(places())
def test_every_chunk_has_one_place(grid: Places) -> None:
    """Keys and places are one to one, slots count in C order, and the keys of a shard's slots are found again."""
    chunks = [*product(*[range(n) for n in grid.grid])]
    found = {}
    for coords in chunks:
        placed = grid.place(grid.key(coords))
        assert placed is not None
        shard, slot = placed
        inside = tuple(c % n for c, n in zip(coords, grid.per_shard, strict=True))
        assert slot == (np.ravel_multi_index(inside, grid.per_shard) if inside else 0)
        assert [*grid.chunk_keys(shard, [slot])] == [grid.key(coords)]
        assert grid.key(coords).startswith(grid.root)
        found[shard, slot] = coords
    assert len(found) == len(chunks)
    for shard in {shard for shard, _ in found}:
        slots = {slot for other, slot in found if other == shard}
        assert grid.covers(shard, slots)
        assert grid.covers(shard, set(range(math.prod(grid.per_shard))))
        assert not grid.covers(shard, slots - {max(slots)})
    for key in ("zarr.json", grid.folder + "zarr.json", grid.folder + "c", "other", grid.folder + "x/0"):
        assert grid.place(key) is None or not grid.grid


@given(places(), st.data())
def test_prefixes_reach_their_shards(grid: Places, data: st.DataObject) -> None:
    """Whatever prefix below the root a chunk key has, the key of its shard has the prefix that is looked for."""
    coords = tuple(data.draw(st.integers(0, 25)) for _ in grid.grid)
    key = grid.key(coords)
    placed = grid.place(key)
    assert placed is not None
    prefix = key[: data.draw(st.integers(len(grid.root), len(key)))]
    looked = grid.shard_prefix(prefix)
    assert grid.key(placed[0]).startswith(looked)
    assert looked.startswith(grid.root)


def test_prefixes_are_narrow() -> None:
    """What is known of a prefix is used: numbers that are followed by a separator."""
    grid = Places("a/", DefaultKeys("/"), (2, 3), (100, 100))
    assert [grid.shard_prefix(p) for p in ("a/c/", "a/c/1", "a/c/5/", "a/c/5/1")] == [
        "a/c/", "a/c/", "a/c/2/", "a/c/2/",
    ]  # fmt: skip
    dotted = Places("", V2Keys("."), (2, 3), (100, 100))
    assert [dotted.shard_prefix(p) for p in ("", "1", "5.", "5.1")] == ["", "", "2.", "2."]


# ---------------------------------------------------------------- shards


def shards(per_shard: tuple[int, ...], codecs: list[Any], location: Location = "end") -> ShardFormat:
    """A format."""
    return ShardFormat.build(per_shard, [parse_codec(codec) for codec in codecs], location)


@pytest.mark.parametrize("codecs", INDEXES)
@pytest.mark.parametrize("location", ["start", "end"])
@given(data=st.data())
def test_chunks_come_back(codecs: list[Any], location: Location, data: st.DataObject) -> None:
    """What is packed is unpacked, chunks without bytes are not missing ones, and nothing at all is not a shard."""
    form = shards((2, 3), codecs, location)
    chunks = data.draw(st.lists(st.none() | st.binary(max_size=9), min_size=6, max_size=6))
    packed = form.pack(chunks)
    if packed is None:
        assert chunks == [None] * 6
        return
    assert len(packed) == form.index_bytes + sum(len(chunk) for chunk in chunks if chunk is not None)
    assert form.unpack(packed) == chunks
    entries = form.of_shard(packed)
    assert entries.present() == [n for n, chunk in enumerate(chunks) if chunk is not None]
    where, expected = form.witness(entries), form.expected(entries)
    assert packed[where.start : where.stop] == expected
    assert len(expected) == (4 if codecs[-1] == "crc32c" else form.index_bytes)


def index(*words: int) -> bytes:
    """A plain index."""
    return np.array([w % 2**64 for w in words], "<u8").tobytes()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((0, 4, 3, 4), "share bytes"),
        ((4, 4, 0, 5), "share bytes"),
        ((0, 4, 0, 4), "share bytes"),
        ((0, 4, 5, 4), "outside"),
        ((0, 4, 2**63, 4), "outside"),
        ((0, 4, 4, 2**63), "outside"),
        ((0, 4, 2**63 - 1, 2), "outside"),
        ((0, 4, -1, 4), "outside"),
        ((0, 4, 4, -1), "outside"),
        ((0, 4, 2**64 - 4, 4), "outside"),
        ((0, 4, 9, 0), "outside"),
    ],
)
def test_lies_in_an_index(words: tuple[int, ...], what: str) -> None:
    """Chunks outside the shard, in the index, in each other, and sums that overflow are refused."""
    form = shards((2,), [LITTLE])
    with pytest.raises(CorruptDataError, match=what):
        form.of_shard(b"x" * 8 + index(*words))
    start = shards((2,), [LITTLE], "start")
    moved = [w + 32 if n % 2 == 0 and 0 <= w < 2**62 else w for n, w in enumerate(words)]
    with pytest.raises(CorruptDataError, match=what):
        start.of_shard(index(*moved) + b"x" * 8)
    with pytest.raises(CorruptDataError, match="outside"):
        start.of_shard(index(31, 1, -1, -1) + b"x" * 8)


def test_gaps_and_any_order() -> None:
    """Chunks may lie in any order with gaps between them, before the index too, and empty ones anywhere."""
    form = shards((4,), [LITTLE])
    shard = b"--BB--AAAA---" + index(6, 4, 2, 2, -1, -1, 3, 0)
    assert form.unpack(shard) == [b"AAAA", b"BB", None, b""]
    assert form.witness(form.of_shard(shard)) == ByteRange(10, 10 + 64 + 1)


@pytest.mark.parametrize("cut", [0, 3, 31])
def test_too_short_for_an_index(cut: int) -> None:
    """What is shorter than an index is not a shard."""
    for location in ("start", "end"):
        with pytest.raises(CorruptDataError, match=f"{cut} bytes of an index of 32"):
            shards((2,), [LITTLE], location).of_shard(bytes(cut))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("codecs", "what"),
    [
        ([LITTLE, {"name": "gzip", "configuration": {"level": 1}}], "same size"),
        ([LITTLE, {"name": "zstd", "configuration": {"level": 0, "checksum": False}}], "same size"),
        (["bytes"], "endian"),
        ([LITTLE, LITTLE], "cannot stand"),
        (["crc32c"], "cannot stand|no array"),
        (["vlen-bytes"], "vlen-bytes"),
    ],
)
def test_index_codecs_of_fixed_size(codecs: list[Any], what: str) -> None:
    """Codecs that cannot encode every index to one size are refused."""
    with pytest.raises(MetadataError, match=what):
        shards((2,), codecs)


def test_absurd_shards() -> None:
    """An index too large for memory, and more dimensions than numpy has, are refused."""
    shards((2**10, 2**10), [LITTLE])
    with pytest.raises(MetadataError, match="make chunks larger"):
        shards((2**14, 2**14), [LITTLE])
    with pytest.raises(MetadataError, match="cannot be sharded"):
        shards((1,) * 64, [LITTLE])

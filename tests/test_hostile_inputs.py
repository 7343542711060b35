"""Damaged and hostile input to everything that parses: sound values or an error of ours, whatever was done to it.

Each parser gets input made from what it reads; `nox -s stress` tries twenty times as much.
"""

import json
import mmap
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import ConfigurationError, CorruptDataError, MetadataError, ZarrError
from zarrv3.options.redaction import redact_url
from zarrv3.testing.mutations import TEXTS, damaged, documents, mutated, odd
from zarrv3.testing.processes import Child
from zarrv3.testing.rules import HOSTILE, only_our_errors
from zarrv3_layer_zarr2 import Zarr2

DRAFT = "https://purl.org/zarr/spec/protocol/core/3.0"
CODEC = "https://purl.org/zarr/spec/codec"
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112


class Parser(NamedTuple):
    """Input for something that parses, and what is done with it."""

    inputs: st.SearchStrategy[Any]
    attempt: Callable[[Any], object]


# ---------------------------------------------------------------- documents of the final format


ZSTD: list[Any] = [{"name": "zstd", "configuration": {"level": 1}}]


def hierarchy() -> dict[str, bytes]:
    """A group with arrays of many kinds, by its keys."""
    store: dict[str, bytes] = {}
    root = zarrv3.create_group(store, attributes={"title": "x", "deep": {"a": [1, None]}})
    data = np.arange(24, dtype="i4").reshape(4, 6)
    root.create_array(
        "plain", data=data, chunks=(2, 3), compressors=None, fill_value=-1, dimension_names=["y", None]
    )
    root.create_array(
        "sharded", data=data.astype("f8"), chunks=(2, 3), shards=(4, 6), compressors=[*ZSTD, "crc32c"]
    )
    root.create_array("record", data=np.zeros(3, [("a", ">i2"), ("b", "f4"), ("c", "S3")]), filters=None)
    root.create_array(
        "text",
        data=np.array(["a", "bc"], dtype=object),
        dtype="string",
        compressors=[{"name": "gzip", "configuration": {"level": 1}}],
    )
    root.create_array("bytes", data=np.array([b"a", b""], dtype=object), dtype="bytes")
    root.create_array("time", data=np.array([1, 2], "M8[10s]"), chunk_key_encoding={"name": "v2"})
    complexes = np.zeros((2, 2), "c8")
    transpose = [{"name": "transpose", "configuration": {"order": [1, 0]}}]
    blosc = [
        {
            "name": "blosc",
            "configuration": {
                "cname": "lz4",
                "clevel": 1,
                "shuffle": "bitshuffle",
                "typesize": 8,
                "blocksize": 0,
            },
        }
    ]
    root.create_array(
        "transposed", data=complexes, filters=transpose, compressors=blosc, fill_value=complex(1, 2)
    )
    root.create_array("bool", data=np.ones(9, bool), filters=["packbits"], compressors=None)
    delta = [{"name": "numcodecs.delta", "configuration": {"dtype": "<i4"}}]
    root.create_array(
        "numcodecs",
        data=data[0],
        filters=delta,
        compressors=[{"name": "numcodecs.lzma", "configuration": {"preset": 1}}],
    )
    root.create_array("small", shape=(2,), dtype="bfloat16", fill_value="0x7fc1")
    transformer = {"name": "sharding", "configuration": {"type": "indexed", "chunks_per_shard": [2]}}
    root.create_array(
        "transformed", data=data[0], chunks=(3,), compressors=None, storage_transformers=[transformer]
    )
    return store


KEYS = hierarchy()
ARRAYS = {key: json.loads(value) for key, value in KEYS.items() if key.endswith("/zarr.json")}


def each(*calls: Callable[[], object]) -> None:
    """Make all calls; an error of ours ends that call only."""
    for call in calls:
        with suppress(ZarrError):
            call()


def use(store: Any, path: str = "") -> None:
    """Open a node, look at it and read a part of it."""
    node = zarrv3.open(store, path=path, mode="r")
    each(lambda: repr(node), lambda: str(node.info), lambda: dict(node.attrs))
    if isinstance(node, zarrv3.Array):
        each(lambda: node[tuple(slice(0, 2) for _ in node.shape)], lambda: repr(node.dtype))
    else:
        each(lambda: str(node.tree()), lambda: list(node.members(None)))


def use_document(given_: tuple[str, bytes]) -> None:
    """Use a node whose document is damaged, and the hierarchy around it."""
    key, document = given_
    store = {**KEYS, key: document}
    try:
        use(store, key.rpartition("/")[0])
    finally:
        list(zarrv3.open_group({**store, "zarr.json": KEYS["zarr.json"]}, mode="r").members(None))


damaged_documents = st.sampled_from(sorted(ARRAYS)).flatmap(
    lambda key: st.tuples(st.just(key), documents(ARRAYS[key]))
)


def write_document(given_: tuple[str, bytes]) -> None:
    """Write to an array whose document is damaged, change its attributes and resize it."""
    key, document = given_
    array = zarrv3.open_array({**KEYS, key: document}, path=key.rpartition("/")[0], mode="r+")
    part = tuple(slice(0, 1) for _ in array.shape)
    each(
        lambda: array.attrs.update(a=1),
        lambda: array.__setitem__(part, array.fill_value),
        lambda: array.resize(tuple(min(2, length) for length in array.shape)),
    )


def consolidated() -> dict[str, Any]:
    """The document of a root with consolidated metadata."""
    store = dict(KEYS)
    zarrv3.consolidate_metadata(store)
    document: dict[str, Any] = json.loads(store["zarr.json"])
    return document


def use_consolidated(document: bytes) -> None:
    """Open a hierarchy through consolidated metadata that are damaged, and walk through it."""
    store = {**KEYS, "zarr.json": document}
    each(lambda: use(store))
    group = zarrv3.open_consolidated(store)
    each(
        lambda: [repr(node) for _, node in group.members(None)],
        lambda: group["plain"][:2],
        group.tree,
    )


# ---------------------------------------------------------------- documents of other formats


def draft(arrays: Mapping[str, bytes], groups: Mapping[str, bytes], entry: bytes) -> dict[str, bytes]:
    """A draft hierarchy by its keys."""
    store = {"zarr.json": entry}
    store |= {f"meta/root/{name}.array.json": value for name, value in arrays.items()}
    store |= {f"meta/root/{name}.group.json": value for name, value in groups.items()}
    return store | {f"data/root/{name}/c0": bytes(16) for name in arrays}


ENTRY = {"zarr_format": DRAFT, "metadata_encoding": DRAFT, "metadata_key_suffix": ".json", "extensions": []}
ARRAY = {
    "shape": [4], "data_type": "<i4", "chunk_grid": {"type": "regular", "chunk_shape": [2], "separator": "/"},
    "chunk_memory_layout": "C", "fill_value": 0, "extensions": [], "attributes": {"a": 1},
    "compressor": {"codec": f"{CODEC}/blosc/1.0", "configuration": {"shuffle": 1, "cname": "lz4", "clevel": 5, "blocksize": 0}},
}  # fmt: skip
RECORD = [["a", "<i4"], ["b", ">f8", [2]], ["c", [["d", "|S3"], ["e", "<M8[s]"]]]]
SHARDS = [{"extension": "https://purl.org/zarr/spec/storage_transformers/sharding/1.0", "type": "indexed",
           "configuration": {"chunks_per_shard": [2]}}]  # fmt: skip
FILTERS: list[dict[str, Any]] = [
    {"id": "delta", "dtype": "<i4", "astype": "<i2"},
    {"id": "fixedscaleoffset", "scale": 10, "offset": 1, "dtype": "<f8", "astype": "u1"},
    {"id": "quantize", "digits": 3, "dtype": "<f4"},
    {"id": "packbits"},
    {"id": "categorize", "labels": ["a", "b"], "dtype": "|O", "astype": "u1"},
    {"id": "astype", "encode_dtype": "<i2", "decode_dtype": "<i4"},
    {"id": "vlen-utf8"},
    {"id": "json2", "encoding": "utf-8"},
    {"id": "bz2", "level": 1},
    {"id": "shuffle", "elementsize": 4},
    {"id": "crc32"},
]
DRAFTS: list[dict[str, Any]] = [
    ARRAY,
    {**ARRAY, "chunk_memory_layout": "F", "shape": [4, 4], "compressor": None, "storage_transformers": SHARDS,
     "chunk_grid": {"type": "regular", "chunk_shape": [2, 2], "separator": "."}},
    {**ARRAY, "data_type": {"extension": "x", "type": RECORD, "fallback": None}, "fill_value": None},
    *({**ARRAY, "attributes": {"filters": [one]}, "data_type": one.get("dtype", "<i4"), "compressor": None} for one in FILTERS),
    {**ARRAY, "attributes": {"filters": FILTERS[6:7]}, "data_type": {"extension": "x", "type": "|O"}, "fill_value": ""},
]  # fmt: skip


def use_draft(given_: tuple[bytes, bytes, bytes], **options: Any) -> None:
    """Show a draft hierarchy of which one document is damaged: listed, reported, opened and read."""
    array, group, entry = given_
    store = draft({"a": array, "b": json.dumps(ARRAY).encode()}, {"g": group}, entry)
    shown = zarrv3.DraftV3(store, **options)
    each(
        shown.list,
        lambda: dict(shown.list_sizes("")),
        shown.report,
        *(partial(use, shown, path) for path in ("", "g", "b", "a")),
    )


def in_draft(place: int) -> st.SearchStrategy[tuple[bytes, ...]]:
    """A draft's documents of an array, a group and the entry point, one of them damaged."""
    sound = [DRAFTS, [{"attributes": {"x": 1}, "extensions": []}], [ENTRY]]
    return st.tuples(
        *(
            documents(*some)
            if index == place
            else st.sampled_from([json.dumps(one).encode() for one in some])
            for index, some in enumerate(sound)
        )
    )


OTHERS: dict[str, dict[str, Any]] = {
    ".zgroup": {"zarr_format": 2},
    ".zattrs": {"a": 1},
    ".zarray": {"zarr_format": 2, "shape": [2], "chunks": [1], "dtype": "<i4", "compressor": None, "fill_value": 0,
                "order": "C", "filters": None},
    ".zmetadata": {"zarr_consolidated_format": 1, "metadata": {".zgroup": {"zarr_format": 2}}},
    "attributes.json": {"n5": "2.5.0", "dimensions": [2], "blockSize": [1], "dataType": "int32", "compression": {"type": "raw"}},
}  # fmt: skip


def use_other(given_: tuple[str, bytes]) -> None:
    """Open, and create beside it, what has a document of Zarr version 2 or N5."""
    name, document = given_
    store = {name: document, f"a/{name}": document}
    before = dict(store)
    try:
        zarrv3.open(store, mode="r")
    finally:
        try:
            zarrv3.create_array(store, name="a", shape=2, dtype="i4")
        finally:
            assert {key: store[key] for key in before} == before


def version2() -> dict[str, bytes]:
    """A hierarchy of version 2 with arrays of many kinds, consolidated, by its keys."""
    blosc = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
    zlib, vlen = {"id": "zlib", "level": 1}, {"id": "vlen-utf8"}
    delta = {"id": "delta", "dtype": "<i4", "astype": "<i2"}
    labels = {"id": "categorize", "labels": ["a", "b"], "dtype": "|O", "astype": "|u1"}
    numbers = np.arange(4, dtype="<i4")
    arrays: dict[str, tuple[Any, Any, list[Any], Any, Any]] = {
        "plain": (numbers, "<i4", [], blosc, -1),
        "delta": (numbers, "<i4", [delta], zlib, None),
        "time": (numbers.astype("<M8[s]"), "<M8[s]", [], None, 0),
        "complex": (numbers.astype("<c16"), "<c16", [], zlib, [0, "NaN"]),
        "record": (np.zeros(4, [("a", ">i2"), ("b", "<f4")]), [["a", ">i2"], ["b", "<f4"]], [], zlib, "AAAAAAAA"),
        "text": (np.array(["a", "bc", "", "d"], object), "|O", [vlen], zlib, ""),
        "labels": (np.array(["a", "b", "a", "b"], object), "|O", [labels], None, ""),
        "objects": (np.array([1, None, "x", []], object), "|O", [{"id": "json2"}], None, 0),
    }  # fmt: skip
    found: dict[str, bytes] = {}
    metadata: dict[str, Any] = {
        ".zgroup": {"zarr_format": 2},
        "plain/.zattrs": {"_ARRAY_DIMENSIONS": ["x"], "b": [None]},
    }
    for name, (data, dtype, filters, compressor, fill) in arrays.items():
        metadata[f"{name}/.zarray"] = {
            "zarr_format": 2, "shape": [4], "chunks": [2], "dtype": dtype, "order": "C", "fill_value": fill,
            "filters": filters or None, "compressor": compressor, "dimension_separator": ".",
        }  # fmt: skip
        for number in range(2):
            value: Any = data[2 * number : 2 * number + 2]
            for config in [*filters, *([compressor] if compressor else [])]:
                value = numcodecs.get_codec(dict(config)).encode(value)
            found[f"{name}/{number}"] = value.tobytes() if isinstance(value, np.ndarray) else bytes(value)
    metadata[".zmetadata"] = {"zarr_consolidated_format": 1, "metadata": dict(metadata)}
    return found | {key: json.dumps(value).encode() for key, value in metadata.items()}


VERSION2 = version2()


def use_version2(given_: tuple[str, bytes]) -> None:
    """Show a hierarchy of version 2 of which one value is damaged: listed, opened, read, written to and copied."""
    key, value = given_
    path = key.rpartition("/")[0]
    if key == ".zmetadata":
        use(Zarr2({**VERSION2, key: value}))
    store = Zarr2({**VERSION2, key: value}, consolidated=False)
    if key in documents2:
        each(lambda: use(store), lambda: zarrv3.copy(store, zarrv3.MemoryStore(), source_path=path))
    try:
        use(store, path)
    finally:
        array = zarrv3.open_array(store, path=path or "plain", mode="r+")
        each(partial(array.__setitem__, 0, array.fill_value), lambda: array.attrs.update(new=1))


documents2 = [key for key in VERSION2 if ".z" in key]

# ---------------------------------------------------------------- URLs, configurations, settings

PARTS = (
    "file", "memory", "directory", "zip", "sqlite", "lmdb", "dbm", "fsspec", "s3", "https", "redis", "postgresql", "mongodb",
    "sql+sqlite", "store", "simplecache", "lru-cache", "retry", "prefix", "read-only", "draft-v3", "counting", "consolidated",
    "zarr2", "nosuch", ":", ":", "//", "/", "|", "|", "::", "?", "&", "=", "@", "#", "%", "%7C", "%00", "%ff", "[", "]", "[::1]", ".", "..",
    "u:p@h", "localhost", "127.0.0.1:1", ":99999", ":x", "a", "max_size=1", "attempts=2", "path=a", "timeout=1", "${HOME}", "${", "$",
    "\\", "C:", "~", "\n", *TEXTS,
)  # fmt: skip
texts = st.lists(st.sampled_from(PARTS), max_size=9).map("".join)
urls = st.one_of(
    texts,
    st.builds("{}:{}".format, st.sampled_from(PARTS[:14]), texts),
    st.builds("memory:|{}:{}".format, st.sampled_from(PARTS[16:24]), texts),
    texts.flatmap(lambda text: st.integers(0, 9).map(lambda end: text * end)),
)


def configured(path: str) -> list[dict[str, Any]]:
    """Configurations of stores."""
    layers = [
        {"layer": "lru-cache", "max_size": 100},
        {"layer": "retry", "attempts": 2},
        {"layer": "prefix", "path": "a"},
        {"layer": "draft-v3", "repair": True, "chunks_per_shard": {"a": [2]}, "misordered": ["a"]},
    ]
    return [
        {"store": "memory", "layers": layers[:2]},
        {"url": f"file://{path}/a", "layers": layers},
        {"store": "directory", "path": f"{path}/b", "normalize_keys": False, "layers": []},
        {"store": "zip", "path": f"{path}/c.zip", "compression": 0, "allowZip64": True},
        {"store": "sqlite", "path": f"{path}/d.db", "timeout": 1.5},
        {"store": "lmdb", "path": f"{path}/e", "map_size": 1 << 20},
        {"store": "dbm", "path": f"{path}/f", "mode": 0o666},
        {"store": "fsspec", "url": "memory://x", "storage_options": {"a": {"b": [1]}}},
        {"store": "redis", "host": "127.0.0.1", "port": 1, "password": "x"},
        {"store": "mongodb", "url": "mongodb://127.0.0.1:1", "database": "a"},
        {"store": "sql", "url": "postgresql://u:p@127.0.0.1:1/x", "table": "t"},
    ]


@contextmanager
def folder() -> Iterator[str]:
    """A new folder in memory, which is also where bare paths lead."""
    before = os.getcwd()  # noqa: PTH109
    with tempfile.TemporaryDirectory(dir=MEMORY, ignore_cleanup_errors=True) as path:
        os.chdir(path)
        try:
            yield path
        finally:
            os.chdir(before)


def open_only(given_: Any) -> None:
    """Open a store, which connects to nothing and makes nothing, and show it."""
    with folder() as path:
        try:
            store = zarrv3.open_store(given_)
            repr(store)
            str(store.capabilities)
            store.close()
            with suppress(ConfigurationError):
                json.dumps(store.spec())
        finally:
            assert not os.listdir(path)  # noqa: PTH208


def use_settings(content: bytes) -> None:
    """Read settings and open named stores from a configuration file."""
    with folder() as path, pytest.MonkeyPatch.context() as patch:
        Path(path, "config.toml").write_bytes(content)
        patch.setenv("ZARRV3_CONFIG", f"{path}/config.toml")
        zarrv3.config.reset()
        try:
            for name in ("threads", "kernels", "window", "write_empty_chunks"):
                zarrv3.config.get(name)
            for name in ("lab", "here"):
                repr(zarrv3.open_store(f"store:{name}"))
        finally:
            zarrv3.config.reset()


TOML = b"""[settings]
threads = 2
kernels = "auto"
window = 4
write_empty_chunks = false
[stores.lab]
store = "memory"
layers = [{layer = "lru-cache", max_size = "1MiB"}]
[stores.here]
url = "memory://x|read-only:"
"""
settings = st.one_of(
    damaged(TOML),
    st.tuples(st.sampled_from(TOML.split(b"\n")), odd).map(
        lambda one: TOML.replace(
            one[0], one[0].partition(b"=")[0] + b"= " + json.dumps(one[1]).encode("utf-8", "replace")
        )
    ),
)

# ---------------------------------------------------------------- bytes


def archive() -> bytes:
    """A small hierarchy in a zip archive."""
    with folder() as path:
        with zarrv3.open_store(f"zip://{path}/a.zip") as store:
            zarrv3.create_array(store, name="a", data=np.arange(4), chunks=2, compressors=["crc32c"])
            zarrv3.create_group(store, path="b", attributes={"ä": "ö"})
        return Path(path, "a.zip").read_bytes()


def database(url: str, name: str) -> dict[str, bytes]:
    """The files of a database that holds a small hierarchy."""
    with folder() as path:
        with zarrv3.open_store(url.format(f"{path}/{name}")) as store:
            zarrv3.create_array(store, name="a", data=np.arange(4), chunks=2, compressors=["crc32c"])
            store["k"] = b"x" * 9000
        return {
            str(file.relative_to(path)): file.read_bytes() for file in Path(path).rglob("*") if file.is_file()
        }


def use_files(url: str) -> Callable[[Mapping[str, bytes]], None]:
    """Read, list and write a database whose files are damaged."""

    def attempt(files: Mapping[str, bytes]) -> None:
        with folder() as path:
            for name, content in files.items():
                Path(path, name).parent.mkdir(parents=True, exist_ok=True)
                Path(path, name).write_bytes(content)
            with zarrv3.open_store(url.format(f"{path}/x")) as store:
                each(
                    lambda: use(store),
                    store.list,
                    lambda: dict(store.list_sizes("")),
                    lambda: use(store, "a"),
                    lambda: store.get("k"),
                    lambda: store.update({"new": b"1"}),
                    lambda: store.get("new"),
                )

    return attempt


def one_damaged(files: Mapping[str, bytes]) -> st.SearchStrategy[dict[str, bytes]]:
    """Files of which one is damaged."""
    return st.sampled_from(sorted(files)).flatmap(
        lambda name: damaged(files[name]).map(lambda content: {**files, name: content})
    )


LMDB = database("lmdb://{}", "x")
PAGE = mmap.PAGESIZE


def use_lmdb(content: bytes) -> None:
    """Use a damaged LMDB file in a child process, which may die of damage behind the meta pages only."""
    files = {**LMDB, "x/data.mdb": content}
    child = Child(each, lambda: use_files("lmdb://{}")(files))
    try:
        outcome = child.outcome()
    finally:
        child.kill()
    if outcome is None:
        assert content[2 * PAGE :] != LMDB["x/data.mdb"][2 * PAGE :]
    else:
        assert outcome[0], outcome[1]


def in_metas(content: bytes) -> st.SearchStrategy[bytes]:
    """An LMDB file with damage in the used parts of its meta pages."""
    parts = (damaged(content[place : place + 152]) for place in (0, PAGE))
    return st.tuples(*parts).map(
        lambda made: b"".join(part[:PAGE].ljust(PAGE, b"\0") for part in made) + content[2 * PAGE :]
    )


SHARDED = {key: value for key, value in KEYS.items() if key.startswith(("sharded/", "transformed/"))}


def use_shard(given_: tuple[str, bytes]) -> None:
    """Read an array whose shard is damaged: what is read has checksums, so it is right."""
    key, value = given_
    array = zarrv3.open_array({**SHARDED, key: value}, path=key.partition("/")[0], mode="r+")
    found = array[...]
    if key.startswith("sharded/"):
        right = np.arange(24.0).reshape(4, 6)
        fill = np.full((2, 3), array.fill_value)
        for row, column in np.ndindex(2, 2):
            box = (slice(2 * row, 2 * row + 2), slice(3 * column, 3 * column + 3))
            assert np.array_equal(found[box], right[box]) or np.array_equal(found[box], fill)
    array[0] = 1


PARSERS: dict[str, Parser] = {
    "zarr.json": Parser(damaged_documents, use_document),
    "zarr.json, written to": Parser(damaged_documents, write_document),
    "consolidated metadata": Parser(documents(consolidated()), use_consolidated),
    "draft-V3 arrays": Parser(in_draft(0), use_draft),
    "draft-V3 arrays, repaired": Parser(in_draft(0), lambda given_: use_draft(given_, repair=True)),
    "draft-V3 groups": Parser(in_draft(1), use_draft),
    "draft-V3 entry points": Parser(in_draft(2), use_draft),
    "v2 and N5 documents": Parser(
        st.sampled_from(sorted(OTHERS)).flatmap(
            lambda name: st.tuples(st.just(name), documents(OTHERS[name]))
        ),
        use_other,
    ),
    "version 2 as V3, documents": Parser(
        st.sampled_from(documents2).flatmap(
            lambda key: st.tuples(st.just(key), documents(json.loads(VERSION2[key])))
        ),
        use_version2,
    ),
    "version 2 as V3, chunks": Parser(
        st.sampled_from([key for key in VERSION2 if key not in documents2]).flatmap(
            lambda key: st.tuples(st.just(key), damaged(VERSION2[key]))
        ),
        use_version2,
    ),
    "URLs": Parser(urls, open_only),
    "configurations": Parser(st.sampled_from(configured("/dev/null")).flatmap(mutated), open_only),
    "TOML": Parser(settings, use_settings),
    "shards": Parser(
        st.sampled_from([key for key in SHARDED if not key.endswith(".json")]).flatmap(
            lambda key: st.tuples(st.just(key), damaged(SHARDED[key]))
        ),
        use_shard,
    ),
    "zip archives": Parser(damaged(archive()).map(lambda content: {"x": content}), use_files("zip://{}")),
    "SQLite files": Parser(one_damaged(database("sqlite:///{}", "x")), use_files("sqlite:///{}")),
    "LMDB files": Parser(st.one_of(in_metas(LMDB["x/data.mdb"]), damaged(LMDB["x/data.mdb"])), use_lmdb),
    "DBM files": Parser(
        one_damaged(database("dbm://{}?module=dumb", "x")), use_files("dbm://{}?module=dumb")
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_hostile_input(name: str) -> None:
    """Whatever is done to the input of a parser, it gives sound values or an error of ours."""
    inputs, attempt = PARSERS[name]

    @given(inputs)
    def check(value: Any) -> None:
        with only_our_errors(HOSTILE, f"{name}: {value!r}"):
            attempt(value)

    check()


def test_odd_paths_and_urls() -> None:
    """What no path, URL or configuration can be is refused in words that name the option."""
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    cases: list[tuple[Any, str]] = [
        (
            {"store": "directory", "path": ["x"]},
            "option 'path' of 'directory' takes text or a path, not list",
        ),
        ({"store": "dbm", "path": float("nan")}, "option 'path' of 'dbm' takes text or a path, not nan"),
        ({"store": "fsspec", "url": {"a": 1}}, "option 'url' of 'fsspec' takes text or a path, not dict"),
        ("file:///tmp/a%00b", "characters that no path has"),
        ({"store": "lmdb", "path": "\ud800"}, "characters that no path has"),
        ({"store": "memory", "layers": deep}, "a layer is a table|nested too deep"),
        ({"store": "fsspec", "url": "memory://x", "storage_options": deep}, "nested too deep"),
    ]
    for given_, text in cases:
        with pytest.raises(ConfigurationError, match=text):
            zarrv3.open_store(given_)
    with pytest.raises(
        ConfigurationError, match=r"an archive in an open file is read by zarrv3\.storage\.ZipStore"
    ):
        zarrv3.ZipStore(BytesIO())


def test_long_text_that_is_no_url() -> None:
    """Looking for a password in a long text takes time in proportion to its length."""
    text = "x" * 200_000
    assert redact_url(text) == text


def test_consolidated_node_type_of_another_type() -> None:
    """A `node_type` that is an object is told with the place of the document."""
    document = consolidated()
    document["consolidated_metadata"]["metadata"]["plain"]["node_type"] = {}
    with pytest.raises(MetadataError, match=r"'zarr.json' .*'plain' with a node_type"):
        zarrv3.open_consolidated({**KEYS, "zarr.json": json.dumps(document).encode()})


@pytest.mark.parametrize("value", ["12345678", None, -1, 8, 1.5])
def test_foreign_values_in_a_database(value: object, tmp_path: Path) -> None:
    """What another program wrote into the table and is not bytes is an error that names the key, never numbers."""
    url = f"sqlite:///{tmp_path}/x.db"
    with zarrv3.open_store(url) as store:
        zarrv3.create_array(store, shape=8, chunks=8, dtype="u1", compressors=None)
    with closing(sqlite3.connect(tmp_path / "x.db")) as base, base:
        base.execute("INSERT INTO zarr VALUES (?, ?)", ("c/0", value))
    with zarrv3.open_store(url) as store:
        array = zarrv3.open_array(store)
        for call in (lambda: array[:], lambda: array.__setitem__(0, 1)):
            with pytest.raises(CorruptDataError, match="'c/0'"):
                call()


def test_a_deep_hierarchy() -> None:
    """The members of a hierarchy are found however deep it is."""
    store: dict[str, bytes] = {}
    zarrv3.create_group(store, path="/".join(["a"] * 1200))
    assert sum(1 for _ in zarrv3.open_group(store, mode="r").members(None)) == 1200
    assert sum(1 for _ in zarrv3.open_group(store, mode="r").members(2)) == 3


@pytest.mark.parametrize(
    ("shards", "why"),
    [
        ({"form": (20, 20)}, "a dict with the members 'shape' and 'index_location'"),
        ([[60, 40, "x"], [50, 50]], "must be an integer from 1"),
        ([20, "x"], "the length of a dimension is an integer"),
    ],
)
def test_shards_of_other_forms(shards: Any, why: str) -> None:
    """Shards that are not lengths are refused in words."""
    for chunks in ((10, 10), None):
        with pytest.raises(MetadataError, match=why):
            zarrv3.create_array(shape=(120, 100), dtype="i4", chunks=chunks, shards=shards)

"""The examples of the API page that this project started from, line by line, with `import zarrv3 as zarr`.

They come from the page of zarr-python 2's experimental V3 support. Where it shows files, types or sizes of the Zarr V2
format, ours stand instead. The page's remarks on warnings stay as they are; we replace without one. An example whose plugin is not installed asserts
what its user is told then.
"""

import ast
import contextlib
import dbm.dumb
import doctest
import inspect
import io
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import zarrv3
from zarrv3 import compat, registry


class Example(NamedTuple):
    """Lines of the page, and the plugin they need."""

    name: str
    needs: str | None
    package: str | None
    text: str


def _database(store: str, ending: str, package: str) -> list[Example]:
    """The examples that the page repeats for every database in one file."""
    array = f"""
>>> import zarr
>>> store = zarr.{store}('data/array.{ending}')
>>> z = zarr.zeros((10, 10), chunks=(5, 5), store=store, overwrite=True)
>>> z[...] = 42
>>> store.close()  # don't forget to call this when you're done
"""
    group = f"""
>>> import zarr
>>> store = zarr.{store}('data/group.{ending}')
>>> root = zarr.group(store=store, overwrite=True)
>>> foo = root.create_group('foo')
>>> bar = foo.zeros('bar', shape=(10, 10), chunks=(5, 5))
>>> bar[...] = 42
>>> store.close()  # don't forget to call this when you're done
"""
    block = f"""
>>> import zarr
>>> with zarr.{store}('data/array.{ending}') as store:
...     z = zarr.zeros((10, 10), chunks=(5, 5), store=store, overwrite=True)
...     z[...] = 42
...     # no need to call store.close()
"""
    texts = {"array": array, "group": group, "context": block}
    return [Example(f"{store}-{name}", store, package, text) for name, text in texts.items()]


EXAMPLES = [
    Example(
        "create",
        None,
        None,
        """
>>> import zarr
>>> z = zarr.create((10000, 10000),
>>>             chunks=(100, 100),
>>>             dtype='f8',
>>>             compressor='default',
>>>             path='path-where-you-want-zarr-v3-array',
>>>             zarr_version=3)

>>> z.info
Name               : path-where-you-want-zarr-v3-array
Type               : zarrv3.Array
Data type          : float64
Shape              : (10000, 10000)
Chunk shape        : (100, 100)
Order              : C
Read-only          : False
Compressor         : blosc(...cname='lz4', clevel=5, shuffle='shuffle',...blocksize=0)
Store type         : zarrv3.MemoryStore
No. bytes          : 800000000 (762.9M)
No. bytes stored   : ...
Storage ratio      : ...
Chunks initialized : 0/10000
Damage is detected : ...
""",
    ),
    Example(
        "MemoryStore",
        None,
        None,
        """
>>> import zarr
>>> g = zarr.group()
>>> type(g.store)
<class 'zarrv3.store.memory.MemoryStore'>

>>> z = zarr.zeros(100)
>>> type(z.store)
<class 'zarrv3.store.memory.MemoryStore'>
""",
    ),
    Example(
        "DirectoryStore-array",
        "DirectoryStore",
        "zarrv3-store-directory",
        """
>>> import zarr
>>> store = zarr.DirectoryStore('data/array.zarr')
>>> z = zarr.zeros((10, 10), chunks=(5, 5), store=store, overwrite=True)
>>> z[...] = 42

>>> import os
>>> sorted(os.listdir('data/array.zarr'))
['c', 'zarr.json']
>>> sorted(os.listdir('data/array.zarr/c'))
['0', '1']
>>> sorted(os.listdir('data/array.zarr/c/0'))
['0', '1']
""",
    ),
    Example(
        "DirectoryStore-group",
        "DirectoryStore",
        "zarrv3-store-directory",
        """
>>> import zarr
>>> import os
>>> store = zarr.DirectoryStore('data/group.zarr')
>>> root = zarr.group(store=store, overwrite=True)
>>> foo = root.create_group('foo')
>>> bar = foo.zeros('bar', shape=(10, 10), chunks=(5, 5))
>>> bar[...] = 42

>>> sorted(os.listdir('data/group.zarr'))
['foo', 'zarr.json']
>>> sorted(os.listdir('data/group.zarr/foo'))
['bar', 'zarr.json']
>>> sorted(os.listdir('data/group.zarr/foo/bar'))
['c', 'zarr.json']
""",
    ),
    Example(
        "ZipStore-twice",
        "ZipStore",
        "zarrv3-store-zip",
        """
>>> import zarr
>>> store = zarr.ZipStore('data/example.zip', mode='w')
>>> z = zarr.zeros(100, chunks=10, store=store)
>>> # first write OK
... z[...] = 42
>>> # second write generates warnings
... z[...] = 42
>>> store.close()
""",
    ),
    Example(
        "ZipStore-unaligned",
        "ZipStore",
        "zarrv3-store-zip",
        """
>>> import zarr
>>> store = zarr.ZipStore('data/example.zip', mode='w')
>>> z = zarr.zeros(100, chunks=10, store=store)
>>> z[5:15] = 42
>>> # write overlaps chunk previously written, generates warnings
... z[15:25] = 42
""",
    ),
    Example(
        "ZipStore-array",
        "ZipStore",
        "zarrv3-store-zip",
        """
>>> import zarr
>>> store = zarr.ZipStore('data/array.zip', mode='w')
>>> z = zarr.zeros((10, 10), chunks=(5, 5), store=store)
>>> z[...] = 42
>>> store.close()  # don't forget to call this when you're done
""",
    ),
    Example(
        "ZipStore-group",
        "ZipStore",
        "zarrv3-store-zip",
        """
>>> import zarr
>>> store = zarr.ZipStore('data/group.zip', mode='w')
>>> root = zarr.group(store=store)
>>> foo = root.create_group('foo')
>>> bar = foo.zeros('bar', shape=(10, 10), chunks=(5, 5))
>>> bar[...] = 42
>>> store.close()  # don't forget to call this when you're done
""",
    ),
    Example(
        "ZipStore-context",
        "ZipStore",
        "zarrv3-store-zip",
        """
>>> import zarr
>>> with zarr.ZipStore('data/array.zip', mode='w') as store:
...     z = zarr.zeros((10, 10), chunks=(5, 5), store=store)
...     z[...] = 42
...     # no need to call store.close()
""",
    ),
    *_database("DBMStore", "db", "zarrv3-store-dbm"),
    Example(
        "DBMStore-open",
        "DBMStore",
        "zarrv3-store-dbm",
        """
>>> import zarr
>>> import bsddb3
>>> store = zarr.DBMStore('data/array.bdb', open=bsddb3.btopen)
>>> z = zarr.zeros((10, 10), chunks=(5, 5), store=store, overwrite=True)
>>> z[...] = 42
>>> store.close()
""",
    ),
    *_database("LMDBStore", "mdb", "zarrv3-store-lmdb"),
    *_database("SQLiteStore", "sqldb", "zarrv3-store-sql")[:2],
    Example(
        "LRUStoreCache",
        "LRUStoreCache",
        "zarrv3-layer-lru-cache",
        """
>>> import s3fs
>>> import zarr
>>> s3 = s3fs.S3FileSystem(anon=True, client_kwargs=dict(region_name='eu-west-2'))
>>> store = s3fs.S3Map(root='zarr-demo/store', s3=s3, check=False)
>>> cache = zarr.LRUStoreCache(store, max_size=2**28)
>>> root = zarr.group(store=cache)
>>> z = root['foo/bar/baz']
>>> from timeit import timeit
>>> # first data access is relatively slow, retrieved from store
... timeit('print(z[:].tobytes())', number=1, globals=globals())
b'Hello from the cloud!'
...
>>> # second data access is faster, uses cache
... timeit('print(z[:].tobytes())', number=1, globals=globals())
b'Hello from the cloud!'
...
""",
    ),
    Example(
        "ConsolidatedMetadataStore",
        None,
        None,
        """
>>> import zarr
>>> store = zarr.MemoryStore()
>>> bar = zarr.group(store=store).create_group('foo').zeros('bar', shape=(10, 10), chunks=(5, 5))
>>> group = zarr.consolidate_metadata(store)
>>> consolidated = zarr.ConsolidatedMetadataStore(store)
>>> zarr.open(consolidated, mode='r')['foo/bar'].shape
(10, 10)
""",
    ),
    Example(
        "ShardingStorageTransformer",
        "ShardingTransformer",
        "zarrv3-transformer-sharding",
        """
>>> import zarr
>>> from zarrv3.compat import ShardingStorageTransformer
>>> sharding = ShardingStorageTransformer('indexed', chunks_per_shard=2)
>>> z = zarr.create((8,), chunks=(2,), dtype='i4', storage_transformers=[sharding], zarr_version=3)
>>> z[...] = 42
>>> int(z[...].sum()), z.chunks, z.shards
(336, (2,), (4,))
""",
    ),
]

SIGNATURES = {
    "KVStoreV3": "mutablemapping",
    "FSStoreV3": "url normalize_keys key_separator mode exceptions dimension_separator fs check create "
    "missing_exceptions",
    "MemoryStoreV3": "root cls dimension_separator",
    "DirectoryStoreV3": "path normalize_keys dimension_separator",
    "ZipStoreV3": "path compression allowZip64 mode dimension_separator",
    "RedisStoreV3": "prefix dimension_separator",
    "MongoDBStoreV3": "database collection dimension_separator",
    "DBMStoreV3": "path flag mode open write_lock dimension_separator",
    "LMDBStoreV3": "path buffers dimension_separator",
    "SQLiteStoreV3": "path dimension_separator",
    "LRUStoreCacheV3": "store max_size",
    "ConsolidatedMetadataStoreV3": "store metadata_key",
    "StorageTransformer": "_type",
    "ShardingStorageTransformer": "_type chunks_per_shard",
}


def is_installed(name: str | None) -> bool:
    """Whether the plugin with a class is installed, be it sound or broken."""
    return name is None or name in registry.class_names()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines run and print what the page shows; without the plugin the user is told what to install."""
    if not is_installed(example.needs):
        with pytest.raises(AttributeError, match=f"pip install {example.package}$"):
            getattr(zarrv3, str(example.needs))
        return
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, module in _stand_ins().items():
        monkeypatch.setitem(sys.modules, name, module)
    _run(example.text.replace(">>> import zarr\n", ">>> import zarrv3 as zarr\n"))


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    """The classes of the page take its arguments in its order; without the plugin the import says what to install."""
    theirs = compat.PLUGIN_CLASSES.get(name)
    if not is_installed(theirs):
        with pytest.raises(
            ImportError, match=f"{name}.*pip install {registry.OFFERED_CLASSES[str(theirs)]}$"
        ):
            exec(f"from zarrv3.compat import {name}")
        return
    parameters = inspect.signature(getattr(compat, name)).parameters.values()
    taken = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    wanted = SIGNATURES[name].split()
    assert taken[: len(wanted)] == wanted


def test_info_has_the_lines_of_the_page() -> None:
    """`info` names the same things in the same order as the page, and then what the page has not."""
    array = zarrv3.create((100, 100), chunks=(10, 10), compressor="default", path="here", zarr_version=3)
    assert [line.split(":")[0].rstrip() for line in repr(array.info).splitlines()] == [
        "Name",
        "Type",
        "Data type",
        "Shape",
        "Chunk shape",
        "Order",
        "Read-only",
        "Compressor",
        "Store type",
        "No. bytes",
        "No. bytes stored",
        "Storage ratio",
        "Chunks initialized",
        "Damage is detected",
    ]


@pytest.mark.parametrize("name", sorted(registry.OFFERED_CLASSES))
def test_plugin_classes_answer_by_name(name: str) -> None:
    """`zarrv3.<Name>` is the class of an installed plugin, and is offered by `dir`; otherwise the error says what to install."""
    if is_installed(name):
        assert getattr(zarrv3, name).__name__ == name
        assert name in dir(zarrv3)
        return
    assert name not in dir(zarrv3)
    with pytest.raises(AttributeError, match=f"pip install {registry.OFFERED_CLASSES[name]}$"):
        getattr(zarrv3, name)


def test_unknown_names_stay_attribute_errors() -> None:
    """A name that does not exist is an AttributeError, so that `hasattr` works."""
    assert not hasattr(compat, "BogusStoreV3")
    assert not hasattr(zarrv3, "BogusStore")
    with pytest.raises(ImportError, match="BogusStoreV3"):
        exec("from zarrv3.compat import BogusStoreV3")


def test_importing_looks_for_no_plugin() -> None:
    """Importing the package and the old names reads no entry points and imports no plugin."""
    code = """
import sys, zarrv3, zarrv3.compat
print(zarrv3.registry._scan, sorted({name.split(".")[0] for name in sys.modules if name.startswith("zarrv3")}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None ['zarrv3']", done.stdout + done.stderr


# ---------------------------------------------------------------- running a page's text


def _run(text: str) -> None:
    """Run each block of prompts and compare what its last expression and its prints show."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for source, expected in _blocks(text):
        shown = io.StringIO()
        *statements, last = ast.parse(source).body
        with contextlib.redirect_stdout(shown):
            if isinstance(last, ast.Expr):
                exec(compile(ast.Module(statements, []), "<example>", "exec"), space)
                value = eval(compile(ast.Expression(last.value), "<example>", "eval"), space)
                if value is not None:
                    print(repr(value))  # noqa: T201 - as the prompt does
            else:
                exec(compile(source, "<example>", "exec"), space)
        if expected or isinstance(last, ast.Expr):
            options = doctest.ELLIPSIS
            assert doctest.OutputChecker().check_output(expected, shown.getvalue(), options), shown.getvalue()


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Source and shown output, in turn."""
    source: list[str] = []
    expected: list[str] = []
    for line in [*text.strip().splitlines(), ">>> None"]:
        is_prompt = line.startswith((">>> ", "... "))
        if is_prompt and expected:
            yield "\n".join(source), "".join(f"{shown}\n" for shown in expected)
            source, expected = [], []
        if is_prompt:
            source.append(line[4:])
        elif line.strip():
            expected.append(line)
    yield "\n".join(source), ""


def _stand_ins() -> dict[str, types.ModuleType]:
    """Modules that the page imports and a test cannot have: Berkeley DB, and a bucket in the cloud."""

    def berkeley(path: str, flag: str = "c", mode: int = 0o666) -> Any:
        return dbm.dumb.open(path, flag, mode)

    def bucket(root: str, s3: object, *, check: bool) -> dict[str, bytes]:
        content: dict[str, bytes] = {}
        text = b"Hello from the cloud!"
        array = zarrv3.create_array(content, name="foo/bar/baz", shape=len(text), chunks=7, dtype="S1")
        array[...] = [bytes([letter]) for letter in text]
        return content

    modules = {name: types.ModuleType(name) for name in ("bsddb3", "s3fs")}
    vars(modules["bsddb3"]).update(btopen=berkeley)
    vars(modules["s3fs"]).update(S3FileSystem=lambda **options: object(), S3Map=bucket)
    return modules

"""Finding plugins by name.

A plugin is an entry point: its group says the kind, its name is a URL scheme or the name used in metadata, its value is
the class. `import zarrv3` looks at none of them; the first lookup of a name that the core does not have itself scans the
installed distributions once. Only the plugin asked for is imported, so a broken one breaks its own name alone.

Several packages may serve one name: one claims it (`zarrv3.stores`), others stand behind it (`zarrv3.fallbacks.stores`). Whom a
user prefers is asked first.
"""

import importlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from zarrv3.errors import RegistryError
from zarrv3.forks import Lock

if TYPE_CHECKING:
    from zarrv3.entry_points import EntryPoint

T = TypeVar("T")

Kind: TypeAlias = Literal[
    "stores",
    "layers",
    "storage_transformers",
    "codecs",
    "data_types",
    "chunk_grids",
    "chunk_key_encodings",
    "kernels",
]

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_COMPLEX = ("complex64", "complex128", "complex_float32", "complex_float64")

BUILT_IN: dict[str, dict[str, str]] = {
    "stores": {
        "memory": "zarrv3.store.memory:MemoryStore",
        "kv": "zarrv3.store.memory:KVStore",
    },
    "layers": {
        "consolidated": "zarrv3.hierarchy.consolidated.layer:ConsolidatedMetadataStore",
        "counting": "zarrv3.layers.counting:Counting",
        "transaction": "zarrv3.layers.transaction:Transaction",
        "prefix": "zarrv3.layers.prefix:Prefix",
        "read-only": "zarrv3.layers.read_only:ReadOnly",
    },
    "storage_transformers": {},
    "codecs": {
        "bytes": "zarrv3.format.codecs.bytes:BytesCodec",
        "transpose": "zarrv3.format.codecs.transpose:TransposeCodec",
        "vlen-utf8": "zarrv3.format.codecs.vlen:VLenUTF8Codec",
        "vlen-bytes": "zarrv3.format.codecs.vlen:VLenBytesCodec",
        "blosc": "zarrv3.format.codecs.blosc:BloscCodec",
        "gzip": "zarrv3.format.codecs.gzip:GzipCodec",
        "zstd": "zarrv3.format.codecs.zstd:ZstdCodec",
        "crc32c": "zarrv3.format.codecs.checksums:Crc32cCodec",
    },
    "data_types": {
        "bool": "zarrv3.format.data_types.numerics:Bool",
        **dict.fromkeys(_INTEGERS, "zarrv3.format.data_types.numerics:Integer"),
        **dict.fromkeys(("float16", "float32", "float64"), "zarrv3.format.data_types.numerics:Float"),
        **dict.fromkeys(_COMPLEX, "zarrv3.format.data_types.numerics:Complex"),
        "raw_bytes": "zarrv3.format.data_types.binary:Raw",
        "null_terminated_bytes": "zarrv3.format.data_types.binary:NullTerminatedBytes",
        **dict.fromkeys(("bytes", "variable_length_bytes"), "zarrv3.format.data_types.binary:VariableBytes"),
        "string": "zarrv3.format.data_types.texts:String",
        "fixed_length_utf32": "zarrv3.format.data_types.texts:FixedText",
        **dict.fromkeys(("numpy.datetime64", "numpy.timedelta64"), "zarrv3.format.data_types.times:Time"),
        **dict.fromkeys(("struct", "structured"), "zarrv3.format.data_types.structs:Struct"),
    },
    "chunk_grids": {"regular": "zarrv3.format.grids:RegularGrid"},
    "chunk_key_encodings": {
        "default": "zarrv3.format.grids:DefaultKeys",
        "v2": "zarrv3.format.grids:V2Keys",
    },
    "kernels": {},
}
"""The core's own plugins: found without a scan, and never replaced by somebody else's. `*` stands for any ending."""

_FSSPEC = (
    "fsspec", "fsspec+*", "ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs", "github", "hf", "reference",
)  # fmt: skip
_OBSTORE = ("obstore", "obstore+*", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https")
_LAYERS = ("draft-v3", "log", "lru-cache", "overlay", "retry", "telemetry", "zarr2")
_NUMCODECS = (
    "base64", "blosc", "lz4", "zstd", "zlib", "gzip", "bz2", "lzma", "shuffle", "crc32", "crc32c", "adler32", "fletcher32",
    "jenkins_lookup3", "delta", "bitround", "fixedscaleoffset", "quantize", "packbits", "astype", "pcodec", "zfpy",
    "pickle",
)  # fmt: skip
_REGISTERED = ("bitround", "cast_value", "conditional", "n5_default", "reshape", "scale_offset")
_ML_DTYPES = (
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn", "int2", "int4", "uint2",
    "uint4", "complex_float16", "complex_bfloat16",
)  # fmt: skip

OFFERED: dict[str, dict[str, str]] = {
    "stores": {
        **dict.fromkeys(("directory", "file"), "zarrv3-store-directory"),
        "zip": "zarrv3-store-zip",
        **dict.fromkeys(_FSSPEC, "zarrv3-store-fsspec"),
        **dict.fromkeys(_OBSTORE, "zarrv3-store-obstore"),
        **dict.fromkeys(("icechunk", "icechunk+*"), "zarrv3-bridge-icechunk"),
        **dict.fromkeys(("redis", "rediss", "unix", "valkey"), "zarrv3-store-redis"),
        **dict.fromkeys(("mongodb", "mongodb+srv"), "zarrv3-store-mongodb"),
        "dbm": "zarrv3-store-dbm",
        "lmdb": "zarrv3-store-lmdb",
        **dict.fromkeys(("sqlite", "postgresql", "mysql", "mariadb", "sql"), "zarrv3-store-sql"),
        **dict.fromkeys(("sqlite+*", "postgresql+*", "mysql+*", "mariadb+*", "sql+*"), "zarrv3-store-sql"),
    },
    "layers": {
        **{name: f"zarrv3-layer-{name}" for name in _LAYERS},
        "zip": "zarrv3-store-zip",
    },
    "storage_transformers": {
        "https://purl.org/zarr/spec/storage_transformers/sharding/1.0": "zarrv3-transformer-sharding",
        "sharding": "zarrv3-transformer-sharding",
    },
    "codecs": {
        "sharding_indexed": "zarrv3-transformer-sharding",
        "zfp": "zarrv3-codecs-zfp",
        **dict.fromkeys(_REGISTERED, "zarrv3-codecs-registered"),
        "packbits": "zarrv3-codecs-numcodecs",
        **{f"numcodecs.{name}": "zarrv3-codecs-numcodecs" for name in _NUMCODECS},
    },
    "data_types": dict.fromkeys(_ML_DTYPES, "zarrv3-types-ml-dtypes"),
    "chunk_grids": {"rectilinear": "zarrv3-grid-rectilinear"},
    "chunk_key_encodings": {},
    "kernels": {"native": "zarrv3-native"},
}
"""Names that packages of this project provide: what an unknown name is answered with when it is one of these."""

OFFERED_CLASSES: dict[str, str] = {
    "DBMStore": "zarrv3-store-dbm",
    "DirectoryStore": "zarrv3-store-directory",
    "DraftV3": "zarrv3-layer-draft-v3",
    "FSStore": "zarrv3-store-fsspec",
    "IcechunkStore": "zarrv3-bridge-icechunk",
    "LMDBStore": "zarrv3-store-lmdb",
    "LogLayer": "zarrv3-layer-log",
    "LRUStoreCache": "zarrv3-layer-lru-cache",
    "MongoDBStore": "zarrv3-store-mongodb",
    "ObjectStore": "zarrv3-store-obstore",
    "OverlayLayer": "zarrv3-layer-overlay",
    "RedisStore": "zarrv3-store-redis",
    "Retry": "zarrv3-layer-retry",
    "SQLStore": "zarrv3-store-sql",
    "SQLiteStore": "zarrv3-store-sql",
    "ShardingTransformer": "zarrv3-transformer-sharding",
    "TelemetryLayer": "zarrv3-layer-telemetry",
    "Zarr2": "zarrv3-layer-zarr2",
    "ZipStore": "zarrv3-store-zip",
}
"""Classes that `zarrv3.<Name>` resolves to once their package is installed."""

OFFERED_FUNCTIONS: dict[str, str] = {
    **dict.fromkeys(("copy", "diff", "verify"), "zarrv3-tools"),
    "from_zarr_store": "zarrv3-bridge-zarr",
}
"""Functions that `zarrv3.<name>` resolves to once their package is installed."""

NOUN: dict[str, str] = {
    **{kind: kind.removesuffix("s").replace("_", " ") for kind in BUILT_IN},
    "kernels": "set of kernels",
}


class Plugin(NamedTuple):
    """One name of one plugin, as installed; nothing of it has been imported."""

    kind: str
    name: str
    value: str
    distribution: str
    version: str


_lock = Lock()
_loaded: dict[tuple[str, ...], Any] = {}
"""What a name means; where several packages serve it, what it means to each: by kind, name and value."""
_scan: dict[str, dict[str, "list[EntryPoint]"]] | None = None


def load(kind: Kind, name: str) -> Any:
    """The class registered under a name; where several packages serve it, that of the one that claims it.

    Raises `RegistryError`: the name is unknown (with the `pip install` line or a did-you-mean), two distributions claim
    it, or its plugin cannot be imported (naming the distribution). Thread-safe; found classes are cached.
    """
    try:
        return _loaded[kind, name]
    except KeyError:
        return next(alternatives(kind, name))


def alternatives(kind: Kind, name: str, prefer: "Callable[[], Sequence[str]]" = tuple) -> Iterator[Any]:
    """The classes that serve a name, each imported when its turn comes; at least one. Raises as `load` does.

    First those of the plugins that `prefer`, asked where there are several, lists by names of their own (`"fsspec"`), then the
    one that claims the name, then its fallbacks.
    """
    if (kind, name) not in _loaded and (built_in := _matching(BUILT_IN[kind], name)):
        module, _, attribute = built_in.partition(":")
        _loaded[kind, name] = getattr(importlib.import_module(module), attribute)
    if (kind, name) in _loaded:
        yield _loaded[kind, name]
        return
    points = [*_in_order(kind, name, prefer)]
    for point in points:
        place = (kind, name) if len(points) == 1 else (kind, name, point.value)
        if place not in _loaded:
            _loaded[place] = _class_of(kind, point)
        yield _loaded[place]


def _class_of(kind: Kind, point: "EntryPoint") -> Any:
    found = _import_entry_point(point)
    adapters = _adapters(kind).get(point.group)
    if adapters is None:
        return found
    return _import_entry_point(_the_only(f"the adapter of {point.group}", adapters))(found)


def register(kind: Kind, name: str, plugin: Any) -> None:
    """Make a class known by a name, in this process and until `reset`, without an installed package: in a notebook or a test.

    It goes before a plugin of that name. Raises `RegistryError` for a name of the core.
    """
    if _matching(BUILT_IN[kind], name):
        raise RegistryError(f"the {NOUN[kind]} {name!r} belongs to the core and cannot be replaced")
    _loaded[kind, name] = plugin


def installed(kind: Kind, name: str) -> bool:
    """Whether somebody provides a name, as of the last scan; imports nothing."""
    return (kind, name) in _loaded or _matching(BUILT_IN[kind], name) is not None or bool(_points(kind, name))


def plugins(kind: Kind | None = None) -> list[Plugin]:
    """Every installed plugin of a kind (default: of all kinds), sorted; imports none of them."""
    core: str = importlib.import_module("zarrv3").__version__
    wanted = {*NOUN, "hooks"} if kind is None else {kind}
    found = [
        Plugin(kind_, name, value, "zarrv3-core", core)
        for kind_ in wanted & BUILT_IN.keys()
        for name, value in BUILT_IN[kind_].items()
    ]
    for own in wanted:
        for tier in _by_name(own):
            found += [_plugin(own, point) for points in tier.values() for point in points]
    return sorted(found)


def providers(kind: str, name: str, prefer: "Callable[[], Sequence[str]]" = tuple) -> list[Plugin]:
    """The plugins that serve a name which is not the core's, in the order of `alternatives`; imports none of them."""
    if kind not in BUILT_IN or _matching(BUILT_IN[kind], name) is not None:
        return []
    return [_plugin(kind, point) for point in _in_order(kind, name, prefer)]


def load_plugin(plugin: Plugin) -> Any:
    """What one plugin of `plugins` provides, whoever else serves its name."""
    for tier in _by_name(plugin.kind):
        for point in tier.get(plugin.name, []):
            if _plugin(plugin.kind, point) == plugin:
                return _import_entry_point(point)
    return load(plugin.kind, plugin.name)  # type: ignore[arg-type]  # the core's own


def _plugin(kind: str, point: "EntryPoint") -> Plugin:
    return Plugin(kind, point.name, point.value, *_origin(point))


def find_class(name: str) -> Any:
    """The class of an installed store, layer or transformer called `name`: what `zarrv3.<name>` means.

    Raises `AttributeError` that says which package to install, where one is known.
    """
    found = _class_points(name)
    if not found and name[:1].isupper():  # perhaps installed since the last look
        reset()
        found = _class_points(name)
    if found:
        return _import_entry_point(_the_only(f"zarrv3.{name}", [*found.values()]))
    package = OFFERED_CLASSES.get(name)
    hint = f"; it comes with: pip install {package}" if package else ""
    raise AttributeError(f"module 'zarrv3' has no attribute {name!r}{hint}", name=name)


def find_function(name: str) -> Any:
    """The function called `name` of the package that offers it: what `zarrv3.<name>` means; reads no entry points.

    Raises `AttributeError` that says which package to install.
    """
    package = OFFERED_FUNCTIONS[name]
    module = package.replace("-", "_")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        text = f"module 'zarrv3' has no attribute {name!r}; it comes with: pip install {package}"
        raise AttributeError(text, name=name) from error


def class_names() -> set[str]:
    """The names of the classes of installed stores, layers and transformers; imports none of them."""
    return {point.attr for point in _of_classes() if point.attr and point.attr.isidentifier()}


def hooks() -> "Iterator[EntryPoint]":
    """The installed entry points of the group `zarrv3.hooks`."""
    for points in _entry_points().get("zarrv3.hooks", {}).values():
        yield from points


def reset() -> None:
    """Forget what was found: the next lookup scans again. For tests, and after installing into a running process."""
    global _scan  # noqa: PLW0603 - the registry is the one piece of global state
    with _lock.taken:
        _scan = None
        _loaded.clear()
        importlib.invalidate_caches()


def origin(point: "EntryPoint") -> str:
    """How an error names the distribution an entry point comes from."""
    return " ".join(_origin(point)).strip()


def owner(kind: Kind, name: str) -> str:
    """How an error names the distribution that provides a name."""
    if _matching(BUILT_IN[kind], name):
        return "zarrv3-core"
    return " and ".join(origin(point) for point in _points(kind, name))


def _matching(table: Mapping[str, T], name: str) -> T | None:
    """What a table has for a name: under the name itself, else under the longest pattern (`sql+*`) that fits."""
    if name in table:
        return table[name]
    fitting = [key for key in table if key.endswith("*") and name.startswith(key[:-1])]
    return table[max(fitting, key=len)] if fitting else None


def _in_order(kind: str, name: str, prefer: "Callable[[], Sequence[str]]" = tuple) -> "Iterator[EntryPoint]":
    """Who serves a name, in the order of `alternatives`. Two that claim it are an error, unless one of them is preferred."""
    tiers = _tiers(kind, name)
    if not any(tiers):  # perhaps installed since the last look, from a notebook
        reset()
        tiers = _tiers(kind, name)
    if not any(tiers):
        raise RegistryError(_unknown(kind, name))
    taken = []
    for own in prefer() if len([*itertools.chain(*tiers)]) > 1 else ():
        values = {point.value for point in itertools.chain(*_tiers(kind, own))}
        if not values and _matching(OFFERED[kind], own) is None:
            raise RegistryError(f"preferred is {own!r}: {_unknown(kind, own)}")
        taken += [p for p in itertools.chain(*tiers) if p.value in values and p not in taken]
    yield from taken
    for tier in tiers:
        left = [point for point in tier if point not in taken]
        if left:
            way_out = ", or name one by the setting 'prefer'" if kind == "stores" else ""
            yield _the_only(f"{NOUN[kind]} {name!r}", left, way_out)


def _the_only(what: str, points: "list[EntryPoint]", way_out: str = "") -> "EntryPoint":
    if len(points) > 1:
        owners = " and ".join(sorted(map(origin, points)))
        raise RegistryError(f"{what} is claimed by {owners}; uninstall all but one{way_out}")
    return points[0]


def _points(kind: str, name: str) -> "list[EntryPoint]":
    return [*itertools.chain(*_tiers(kind, name))]


def _tiers(kind: str, name: str) -> "list[list[EntryPoint]]":
    """Who claims a name, and who stands behind it; else those of other libraries that a plugin has an adapter for."""
    own = [_matching(tier, name) or [] for tier in _by_name(kind)]
    foreign = (
        [point for point in _entry_points().get(group, {}).get(name, []) if origin(point) not in exporters]
        for group, adapters in _adapters(kind).items()
        for exporters in [{*map(origin, adapters)}]  # what an adapter's distribution has there is ours
    )
    return own if any(own) else [next((points for points in foreign if points), [])]


def _by_name(kind: str) -> "list[dict[str, list[EntryPoint]]]":
    """All that claim a name of a kind, and all that stand behind one."""
    return [_entry_points().get(group, {}) for group in (f"zarrv3.{kind}", f"zarrv3.fallbacks.{kind}")]


def _adapters(kind: str) -> "dict[str, list[EntryPoint]]":
    """The groups of other libraries' entry points, each with the function that makes a class of ours of one of theirs."""
    return _entry_points().get(f"zarrv3.adapters.{kind}", {})


def _class_points(name: str) -> "dict[str, EntryPoint]":
    """The entry points whose class is called `name`, one per distribution."""
    return {origin(point): point for point in _of_classes() if point.attr == name}


def _of_classes() -> "Iterator[EntryPoint]":
    """The entry points of stores, layers and transformers: those whose classes `zarrv3.<Name>` resolves to."""
    for kind in ("stores", "layers", "storage_transformers"):
        for points in _entry_points().get(f"zarrv3.{kind}", {}).values():
            yield from points


def _import_entry_point(point: "EntryPoint") -> Any:
    try:
        return point.load()
    except Exception as error:
        raise RegistryError(
            f"plugin {point.name!r} of {origin(point)} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _unknown(kind: str, name: str) -> str:
    noun = NOUN[kind]
    offered = _matching(OFFERED[kind], name)
    if offered:
        return f"{noun} {name!r} is not installed; it comes with: pip install {offered}"
    known = sorted({*BUILT_IN[kind], *OFFERED[kind]}.union(*_by_name(kind)))
    return f"no {noun} is called {name!r}; {nearest(name, known, 'known here')}"


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """What an error says about a name that is not known: those that look like it, or where none does all, after `otherwise`.

    Of more than a dozen, eight are named, the likeliest first.
    """
    import difflib

    spelled = {one.lower(): one for one in known}
    if close := difflib.get_close_matches(name.lower(), spelled):
        return f"did you mean {' or '.join(repr(spelled[one]) for one in close)}?"
    shown = [*spelled.values()]
    if len(shown) > 12:
        likely = difflib.get_close_matches(name.lower(), spelled, 8, 0.0)
        shown = [*map(spelled.__getitem__, likely), f"and {len(shown) - len(likely)} others"]
    return f"{otherwise}: {', '.join(shown) or 'none'}"


def _entry_points() -> "dict[str, dict[str, list[EntryPoint]]]":
    global _scan  # noqa: PLW0603 - the one scan of this process
    with _lock.taken:
        if _scan is None:
            found: dict[str, dict[str, list[EntryPoint]]] = {}
            points = [*_installed()]
            foreign = {point.name for point in points if point.group.startswith("zarrv3.adapters.")}
            for point in points:
                if point.group.startswith("zarrv3.") or point.group in foreign:
                    same = found.setdefault(point.group, {}).setdefault(point.name, [])
                    if not any(origin(other) == origin(point) for other in same):
                        same.append(point)
            _scan = found
        return _scan


def _installed() -> "Iterator[EntryPoint]":
    from zarrv3.entry_points import installed

    return installed()


def _origin(point: "EntryPoint") -> tuple[str, str]:
    try:
        if (dist := point.dist) is not None:
            return str(dist.name), str(dist.version)
    except Exception:  # noqa: BLE001, S110 - damaged metadata: whatever the reader of them raises
        pass
    return "an unknown distribution", ""

"""The arrays that are exchanged: every data type, codec, key encoding, fill value and kind of shape, pairwise."""

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
from interop_peers import BIG, LITTLE, SINGLE, Case, named

__all__ = ["COMPLEX", "FILLS", "KEYS", "SMALL", "codec", "every_case", "filled"]

# ---------------------------------------------------------------- values

SHAPE, CHUNKS = (7, 20, 30), (4, 8, 16)
"""Three dimensions, every chunk at the upper edges partial, large enough for Blosc to compress."""


def codec(name: str, **configuration: Any) -> dict[str, Any]:
    """A codec as a document names it."""
    if configuration or name.startswith("numcodecs."):  # of which zarr-python wants an empty one, too
        return {"name": name, "configuration": configuration}
    return {"name": name}


def extension(name: str, **configuration: Any) -> dict[str, Any]:
    """A data type with a configuration."""
    return {"name": name, "configuration": configuration}


def of_bits(dtype: Any, *words: int) -> np.ndarray:
    """Floating point numbers by their bits."""
    dtype = np.dtype(dtype)
    return np.array(words, dtype=f"u{dtype.itemsize}").view(dtype)


def cube(dtype: str) -> np.ndarray:
    """Numbers that compress, differ in every byte and include a whole chunk of zeros."""
    numbers = (np.arange(math.prod(SHAPE), dtype=np.int64) // 50 * 2654435761 >> 3).reshape(SHAPE)
    numbers[tuple(map(slice, CHUNKS))] = 0
    if dtype == "bool":
        return numbers % 3 == 1
    if np.dtype(dtype).kind in "fc":
        return (numbers % 4001 / 8).astype(dtype)
    return numbers.astype(dtype)


def objects(*items: bytes) -> np.ndarray:
    """Byte strings of any length."""
    found = np.empty(len(items), dtype=object)
    found[:] = items
    return found


def serializer(values: np.ndarray) -> dict[str, Any]:
    """`bytes` as it is written for a data type."""
    return SINGLE if values.dtype.itemsize == 1 else LITTLE


# ---------------------------------------------------------------- data types

_FLOATS = {  # payload NaN, negative NaN, -0.0, 0 0 (a chunk that is not stored), infinities, least and greatest
    "float16": of_bits("f2", 0x7E01, 0xFE00, 0x8000, 1, 0, 0, 0x7C00, 0xFC00, 0x7BFF, 0x7C01),
    "float32": of_bits(
        "f4", 0x7FC00001, 0xFFC00000, 1 << 31, 1, 0, 0, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x7F800001
    ),
    "float64": of_bits(
        "f8",
        0x7FF8 << 48 | 1,
        0xFFF8 << 48,
        1 << 63,
        1,
        0,
        0,
        0x7FF << 52,
        0xFFF << 52,
        (0x7FF << 52) - 1,
        0x7FF << 52 | 1,
    ),
}

_TEXTS = ("", "a", "zarr", "żółw 🐢", "", "", "x" * 300, "line\nfeed", "\x00nul")


def _numbers() -> dict[str, np.ndarray]:
    found = {"bool": np.array([True, False, False, False, True])}
    for kind, width in itertools.product("iu", (1, 2, 4, 8)):
        dtype = np.dtype(f"{kind}{width}")
        info = np.iinfo(dtype)
        found[dtype.name] = np.array([info.min, info.max, 0, 0, 1], dtype=dtype)
    found |= _FLOATS
    found["complex64"] = _FLOATS["float32"].view("c8")
    found["complex128"] = _FLOATS["float64"].view("c16")
    found["complex_float32"], found["complex_float64"] = found["complex64"], found["complex128"]
    found["complex_float16"] = of_bits("f2", 0x7E01, 0xFE00, 0x8000, 1, 0, 0, 0x7C00, 0xFC00).view(
        ml_dtypes.complex32
    )
    found["complex_bfloat16"] = of_bits("u2", 0x7FC1, 0xFFC0, 0x8000, 1, 0, 0, 0x7F80, 0xFF80).view(
        ml_dtypes.bcomplex32
    )
    return found


def _small(name: str) -> np.ndarray:
    """All patterns of a type of at most 8 bits, some of bfloat16."""
    if name == "bfloat16":
        return of_bits(ml_dtypes.bfloat16, 0x7FC1, 0xFFC0, 0x8000, 1, 0, 0, 0x7F80, 0xFF80, 0x3F80)
    dtype = np.dtype(getattr(ml_dtypes, name))
    if "int" in name:
        info = ml_dtypes.iinfo(dtype)
        return np.arange(info.min, info.max + 1).astype(dtype)
    width = {"float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6}.get(name, 8)
    return np.arange(2**width, dtype=np.uint8).view(dtype)


SMALL = (
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn", "int2", "int4", "uint2", "uint4",
)  # fmt: skip

COMPLEX = ("complex_float16", "complex_bfloat16", "complex_float32", "complex_float64")

_RECORDS = np.array(
    [(1, -0.5, True), (-(2**31), np.inf, False), (0, 0, False), (0, 0, False)], dtype="i4, f8, ?"
)
_FIELDS = [("f0", "int32"), ("f1", "float64"), ("f2", "bool")]
_STRUCT = extension("struct", fields=[{"name": name, "data_type": kind} for name, kind in _FIELDS])
_STRUCTURED = extension("structured", fields=[[name, kind] for name, kind in _FIELDS])
_NAT = -(2**63)


def _others() -> list[tuple[Any, np.ndarray, Any, dict[str, Any]]]:
    """Data type, values, fill value and serializer of what is not a number."""
    raw = np.frombuffer(b"\x00\x01\x02\xff\xfe\xfd\x00\x00\x00\x00\x00\x00\x01\x00\x00", dtype="V3")
    text = np.array(["żół", "🐢", "", "", "abc"], dtype="U3")
    terminated = np.array([b"ab", b"\xff\x01", b"", b"", b"abc"], dtype="S3")
    times = np.array([0, 1, _NAT, _NAT, 2**62])
    string = np.array(_TEXTS, dtype=np.dtypes.StringDType())
    strings = objects(b"", b"\x00\xff", b"", b"", b"x" * 300)
    found = [
        ("r24", raw, [0, 0, 0], SINGLE),
        (extension("raw_bytes", length_bytes=3), raw, "AAAA", SINGLE),
        ("string", string, "", codec("vlen-utf8")),
        ("bytes", strings, "", codec("vlen-bytes")),
        ("variable_length_bytes", strings, "", codec("vlen-bytes")),
        (extension("fixed_length_utf32", length_bytes=12), text, "", LITTLE),
        (extension("null_terminated_bytes", length_bytes=3), terminated, "", SINGLE),
        (_STRUCT, _RECORDS, {"f0": 0, "f1": 0.0, "f2": False}, LITTLE),
        (_STRUCTURED, _RECORDS, "AAAAAAAAAAAAAAAAAA==", LITTLE),
    ]
    for unit, scale in (("ns", 1), ("s", 10), ("D", 1), ("Y", 1)):
        for kind in ("datetime64", "timedelta64"):
            data_type = extension(f"numpy.{kind}", unit=unit, scale_factor=scale)
            found.append((data_type, times.astype(f"{kind}[{scale}{unit}]"), _NAT, LITTLE))
    return found


def data_types() -> list[Case]:
    """Every data type with its plain serializer, in little-endian and, where that differs, in big-endian order."""
    zeros: dict[str, Any] = {
        "bool": False,
        "complex64": [0.0, 0.0],
        "complex128": [0.0, 0.0],
        **{name: [0.0, 0.0] for name in COMPLEX},
        "float8_e8m0fnu": "0x00",
    }
    numbers = _numbers() | {name: _small(name) for name in SMALL}
    table = [
        (name, values, zeros.get(name, 0), serializer(values)) for name, values in numbers.items()
    ] + _others()
    cases = []
    for data_type, values, fill, plain in table:
        name = named(data_type)
        if name.startswith("numpy."):
            name += "[{scale_factor}{unit}]".format(**data_type["configuration"])
        cases.append(Case(name, data_type, values, fill, (2,), (plain,)))
        if plain is LITTLE:
            cases.append(Case(f"{name}-big", data_type, values, fill, (2,), (BIG,)))
    cases.append(Case("int8-endian", "int8", numbers["int8"], 0, (2,), (LITTLE,)))
    return cases


# ---------------------------------------------------------------- codecs

_THREE = ("uint8", "int32", "float64")


def _cubes(name: str, dtypes: tuple[str, ...], *codecs: Any, tags: tuple[str, ...] = ()) -> list[Case]:
    """A chain with several data types; `bytes` is put in front unless the chain has a serializer."""
    cases = []
    for dtype in dtypes:
        values = cube(dtype)
        chain = (
            codecs
            if any(named(one) in {"bytes", "packbits"} for one in codecs)
            else (serializer(values), *codecs)
        )
        zero = {"bool": False, "complex128": [0.0, 0.0]}.get(dtype, 0)
        cases.append(Case(f"{name}-{dtype}", dtype, values, zero, CHUNKS, chain, tags=frozenset(tags)))
    return cases


def transposed() -> list[Case]:
    """All orders of three dimensions, in either byte order, and two orders in a row."""
    cases = []
    for order in itertools.permutations(range(3)):
        name = "transpose" + "".join(map(str, order))
        cases += _cubes(name, ("int16",), codec("transpose", order=list(order)), LITTLE)
    order = codec("transpose", order=[2, 0, 1])
    cases += _cubes("transpose-big", ("int16", "float64"), order, BIG, codec("zstd", level=1, checksum=False))
    cases += _cubes("transpose-twice", ("int16",), order, order, LITTLE)
    return cases


def compressed() -> list[Case]:
    """The compressors of the specification with all their choices."""
    cases = []
    for cname, shuffle in itertools.product(
        ("lz4", "lz4hc", "blosclz", "zstd", "zlib", "snappy"), ("noshuffle", "shuffle", "bitshuffle")
    ):
        if (cname, shuffle) == ("snappy", "noshuffle"):
            continue  # whether anything is compressed depends on the peer
        configuration = {"cname": cname, "clevel": 5, "shuffle": shuffle, "blocksize": 0, "typesize": 4}
        cases += _cubes(
            f"blosc-{cname}-{shuffle}", ("int32",), codec("blosc", **configuration), tags=(f"blosc-{cname}",)
        )
    for level, size in ((0, 0), (9, 256)):
        for dtype, typesize in zip((*_THREE, "complex128"), (1, 4, 8, 16), strict=True):
            configuration = {
                "cname": "lz4",
                "clevel": level,
                "shuffle": "shuffle",
                "blocksize": size,
                "typesize": typesize,
            }
            cases += _cubes(f"blosc-level{level}", (dtype,), codec("blosc", **configuration))
    for level in (0, 1, 9):
        cases += _cubes(f"gzip{level}", _THREE, codec("gzip", level=level))
    for level, checksum in itertools.product((-5, 0, 3, 22), (False, True)):
        name = f"zstd{level}{'-checksum' * checksum}"
        cases += _cubes(
            name, _THREE if level == 0 else ("int32",), codec("zstd", level=level, checksum=checksum)
        )
    cases += _cubes("crc32c", _THREE, codec("crc32c"))
    cases += _cubes("zstd-crc32c", _THREE, codec("zstd", level=0, checksum=False), codec("crc32c"))
    cases += _cubes("crc32c-gzip", ("int32",), codec("crc32c"), codec("gzip", level=1))
    cases += _cubes(
        "gzip-zstd-crc32c",
        ("int32",),
        codec("gzip", level=1),
        codec("zstd", level=1, checksum=True),
        codec("crc32c"),
    )
    text = Case(
        "string-zstd",
        "string",
        np.array(_TEXTS, dtype=np.dtypes.StringDType()),
        "",
        (4,),
        (codec("vlen-utf8"), codec("zstd", level=0, checksum=False)),
    )
    data = Case(
        "bytes-gzip",
        "bytes",
        objects(b"", b"ab", b"\xff" * 99),
        "",
        (2,),
        (codec("vlen-bytes"), codec("gzip", level=5)),
    )
    return [*cases, text, data]


def packed() -> list[Case]:
    """`packbits` of zarr-extensions."""
    return _cubes("packbits", ("bool",), codec("packbits"), codec("gzip", level=1))


def registered() -> list[Case]:
    """The other codecs of zarr-extensions, with values that they keep; shards behind them lack chunks of the fill value."""
    scaled = codec("scale_offset", offset=1, scale=8)
    cast = codec("cast_value", data_type="int32")
    cases = [
        *_cubes("scale_offset", ("float64",), scaled, LITTLE),
        *_cubes("cast_value", ("float64",), scaled, cast, LITTLE),
        *_cubes("bitround", ("float32", "float64"), codec("bitround", keepbits=20), LITTLE),
        *_cubes("bitround", ("uint8",), codec("bitround", keepbits=8), SINGLE),
        *_cubes("reshape", ("int16",), codec("reshape", shape=[[0, 1], [2]]), LITTLE),
        *_cubes("conditional", ("int32",), codec("conditional", codecs=[codec("gzip", level=1)])),
    ]
    values = cube("float64")
    values[:, 10:12] = 2.5
    chain = (scaled, cast, sharding((2, 2, 4)))
    cases.append(
        Case("cast_value-sharded", "float64", values, 2.5, CHUNKS, chain, tags=frozenset({"sharded"}))
    )
    inner = [codec("transpose", order=[2, 1, 0]), BIG, codec("gzip", level=1)]
    for name, one in (
        ("n5_default", codec("n5_default", codecs=inner)),
        ("zfp", codec("zfp", mode="reversible")),
    ):
        values = cube("int32") >> 2
        cases.append(Case(f"{name}-int32", "int32", values, 0, CHUNKS, (one,), KEYS["v2/"]))
    return cases


def foreign() -> list[Case]:
    """The codecs of numcodecs under the names that zarr-python gives them."""
    cases = []
    for name, configuration in (
        ("blosc", {"cname": "zstd", "clevel": 3, "shuffle": 1, "blocksize": 0}),
        ("lz4", {"acceleration": 1}),
        ("zstd", {"level": 3}),
        ("zlib", {"level": 2}),
        ("gzip", {"level": 2}),
        ("bz2", {"level": 2}),
        ("lzma", {"preset": 1}),
        ("crc32", {}),
        ("crc32c", {}),
        ("adler32", {}),
        ("fletcher32", {}),
        ("jenkins_lookup3", {}),
    ):
        cases += _cubes(
            f"numcodecs.{name}", ("uint8", "float64"), codec(f"numcodecs.{name}", **configuration)
        )
    cases += _cubes(
        "numcodecs.shuffle", ("int32",), codec("numcodecs.shuffle", elementsize=4), codec("gzip", level=1)
    )
    for dtype in ("int32", "uint8"):
        delta = codec("numcodecs.delta", dtype=np.dtype(dtype).str)
        cases += _cubes("numcodecs.delta", (dtype,), delta, SINGLE if dtype == "uint8" else LITTLE)
    scaled = codec("numcodecs.fixedscaleoffset", offset=0, scale=8, dtype="<f8", astype="<i4")
    cases += _cubes("numcodecs.fixedscaleoffset", ("float64",), scaled, LITTLE)
    for dtype in ("float32", "float64"):
        rounded = codec("numcodecs.quantize", digits=4, dtype=np.dtype(dtype).str)
        cases += _cubes("numcodecs.quantize", (dtype,), rounded, LITTLE)
        cases += _cubes("numcodecs.bitround", (dtype,), codec("numcodecs.bitround", keepbits=20), LITTLE)
    cases += _cubes("numcodecs.packbits", ("bool",), codec("numcodecs.packbits"), SINGLE)
    cases += _cubes(
        "numcodecs.astype",
        ("int32",),
        codec("numcodecs.astype", encode_dtype="<i8", decode_dtype="<i4"),
        LITTLE,
    )
    return cases


# ---------------------------------------------------------------- shards

_ZSTD = codec("zstd", level=0, checksum=False)


def sharding(chunk_shape: tuple[int, ...], *codecs: Any, location: str = "end", checksum: bool = True) -> Any:
    """The codec `sharding_indexed`."""
    return codec(
        "sharding_indexed",
        chunk_shape=list(chunk_shape),
        codecs=list(codecs or (LITTLE,)),
        index_codecs=[LITTLE, codec("crc32c")] if checksum else [LITTLE],
        index_location=location,
    )


def sharded() -> list[Case]:
    """Shards with the index at either end, inner codecs of each kind, missing chunks, shards that reach over the edge."""
    values = cube("int32")
    values[:, 10:12] = 0  # inner chunks that are missing in shards that are not
    inner = (2, 2, 4)
    codecs = {
        f"{location}-{'crc32c' if checksum else 'plain'}": (
            sharding(inner, location=location, checksum=checksum),
        )
        for location, checksum in itertools.product(("end", "start"), (True, False))
    }
    reverse = codec("transpose", order=[2, 1, 0])
    codecs |= {
        "gzip": (sharding(inner, LITTLE, codec("gzip", level=1)),),
        "zstd-crc32c": (sharding(inner, LITTLE, _ZSTD, codec("crc32c"), location="start"),),
        "transpose": (sharding(inner, reverse, BIG, _ZSTD),),
        "one-chunk": (sharding(CHUNKS, LITTLE, _ZSTD),),
        "nested": (sharding((4, 4, 8), sharding(inner, LITTLE, _ZSTD, location="start")),),
        "after-transpose": (reverse, sharding((4, 4, 2), LITTLE, _ZSTD)),
        "before-gzip": (sharding(inner), codec("gzip", level=1)),
    }
    cases = [
        Case(f"sharded-{name}", "int32", values, 0, CHUNKS, chain, tags=frozenset({"sharded"}))
        for name, chain in codecs.items()
    ]
    text = np.array(_TEXTS, dtype=np.dtypes.StringDType())
    chain = (sharding((2,), codec("vlen-utf8"), _ZSTD),)
    cases.append(Case("sharded-string", "string", text, "", (6,), chain, tags=frozenset({"sharded"})))
    for label, keys in KEYS.items():
        numbers = np.arange(1, 12, dtype=np.int32)
        cases.append(
            Case(
                f"sharded-keys-{label}",
                "int32",
                numbers,
                0,
                (4,),
                (sharding((2,)),),
                keys,
                tags=frozenset({"sharded"}),
            )
        )
    return cases


# ---------------------------------------------------------------- keys, shapes, fill values

KEYS = {
    f"{name}{separator}": {"name": name, "configuration": {"separator": separator}}
    for name, separator in itertools.product(("default", "v2"), "/.")
}


def keyed() -> list[Case]:
    """Every chunk key encoding for zero, one and three dimensions."""
    cases = []
    for label, keys in KEYS.items():
        for shape, chunks in (((), ()), ((5,), (2,)), (SHAPE, CHUNKS)):
            values = np.arange(1, math.prod(shape) + 1, dtype=np.int32).reshape(shape)
            cases.append(Case(f"keys-{label}-{len(shape)}d", "int32", values, 0, chunks, (LITTLE,), keys))
    return cases


def shaped() -> list[Case]:
    """Shapes without dimensions, of length zero, smaller than a chunk, and with names for dimensions."""
    cases = []
    for shape, chunks in (
        ((), ()),
        ((0,), (1,)),
        ((0,), (3,)),
        ((3, 0, 2), (2, 1, 2)),
        ((1,), (1,)),
        ((3,), (10,)),
        ((4, 4), (4, 4)),
        ((3, 5), (4, 2)),
        ((2, 1, 2, 1, 2), (1, 1, 2, 1, 2)),
    ):
        count = math.prod(shape)
        names = tuple(None if axis % 2 else f"axis {axis}" for axis in range(len(shape)))
        for dtype, plain in (("float64", LITTLE), ("string", codec("vlen-utf8"))):
            values = np.arange(1, count + 1).astype(np.dtypes.StringDType() if dtype == "string" else dtype)
            cases.append(
                Case(
                    f"shape{shape}-chunks{chunks}-{dtype}".replace(" ", ""),
                    dtype,
                    values.reshape(shape),
                    "" if dtype == "string" else "NaN",
                    chunks,
                    (plain, codec("zstd", level=0, checksum=False)),
                    dimension_names=names,
                    attributes={"units": "m", "nested": {"list": [1, 2.5, None, "ü"]}},
                    tags=frozenset() if count else frozenset({"zero-length"}),
                )
            )
    return cases


def _payload(width: int) -> str:
    quiet = {2: 0x7E01, 4: 0x7FC00001, 8: 0x7FF8 << 48 | 1}[width]
    return f"0x{quiet:0{width * 2}x}"


FILLS: dict[str, list[tuple[Any, Any]]] = {
    "bool": [(True, True)],
    "int8": [(-128, -128), (127, 127)],
    "int64": [(-(2**63), -(2**63)), (2**63 - 1, 2**63 - 1), (2**53 + 1, 2**53 + 1)],
    "uint64": [(2**64 - 1, 2**64 - 1)],
    "string": [("żółw 🐢", "żółw 🐢"), ('\x00\n"\\', '\x00\n"\\')],
    "bytes": [("/wA=", b"\xff\x00")],
    **{
        f"float{width * 8}": [
            ("NaN", np.nan),
            ("Infinity", np.inf),
            ("-Infinity", -np.inf),
            (-0.0, -0.0),
            (1.5, 1.5),
            (0, 0.0),
            (_payload(width), of_bits(f"f{width}", int(_payload(width), 16))[0]),
        ]
        for width in (2, 4, 8)
    },
    "complex64": [
        ([1.5, -2.5], 1.5 - 2.5j),
        (["NaN", "-Infinity"], complex(np.nan, -np.inf)),
        ([-0.0, -0.0], np.array([-0.0, -0.0], "f4").view("c8")[0]),
        ([_payload(4), 0.0], of_bits("f4", int(_payload(4), 16), 0).view("c8")[0]),
    ],
    "complex128": [
        (["Infinity", 0.1], complex(np.inf, 0.1)),
        ([_payload(8), _payload(8)], of_bits("f8", *[int(_payload(8), 16)] * 2).view("c16")[0]),
    ],
    "bfloat16": [("NaN", np.nan), ("0x7fc1", of_bits(ml_dtypes.bfloat16, 0x7FC1)[0]), (-1.5, -1.5)],
    "float8_e4m3fn": [("NaN", np.nan), (0.5, 0.5)],
    "float8_e5m2": [("Infinity", np.inf), ("0x7d", of_bits(ml_dtypes.float8_e5m2, 0x7D)[0])],
    "int4": [(-8, -8), (7, 7)],
}
"""Fill values as JSON and as numpy has them."""


def filled() -> list[Case]:
    """Every form of fill value: the middle chunk holds nothing else and is stored by nobody who leaves such chunks out."""
    cases = []
    for dtype, pairs in FILLS.items():
        for fill, value in pairs:
            variable = {"string": np.dtypes.StringDType(), "bytes": np.dtype(object)}
            values = np.empty(6, variable.get(dtype) or np.dtype(getattr(ml_dtypes, dtype, dtype)))
            values[:] = value
            values[0], values[5] = {"string": ("a", "b"), "bytes": (b"a", b"b")}.get(dtype, (0, 1))
            plain = {"string": codec("vlen-utf8"), "bytes": codec("vlen-bytes")}.get(dtype) or serializer(
                values
            )
            text = fill if isinstance(fill, str) and fill.isascii() and fill.isprintable() else ascii(fill)
            tags = frozenset({"fill-hex"} if "0x" in text else ())
            cases.append(Case(f"fill-{dtype}-{text}", dtype, values, fill, (2,), (plain,), tags=tags))
    return cases


def every_case() -> list[Case]:
    """All cases; their names are unique."""
    cases = [
        *data_types(), *transposed(), *compressed(), *packed(), *foreign(), *keyed(), *shaped(), *filled(),
        *sharded(), *registered(),
    ]  # fmt: skip
    assert len({case.name for case in cases}) == len(cases)
    return cases

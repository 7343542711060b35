"""What a peer cannot do, with the words it has for it. A test sees each of them fail, so the table stays true."""

import re
from dataclasses import dataclass

from interop_cases import COMPLEX, SMALL
from interop_peers import VERSIONS, Case
from interop_zarrita import node_version


@dataclass(frozen=True)
class Gap:
    """How a peer fails: the name of the exception and a part of its text or of its cause's."""

    error: str
    text: str = ""
    when: tuple[str, ...] = ("reads", "writes")
    unless: str = ""
    """The tag of cases for which it works all the same."""

    def explains(self, error: BaseException) -> bool:
        """Whether this is the failure that is listed here."""
        texts = []
        found: BaseException | None = error
        while found is not None:
            texts.append(str(found))
            found = found.__cause__ or found.__context__
        return type(error).__name__ == self.error and re.search(self.text, " ".join(texts)) is not None


def _no_data_type(*names: str) -> dict[str, Gap]:
    return {name: Gap("ValueError", f"No Zarr data type found that matches .*{name}") for name in names}


_UNKNOWN = ("packbits", "bitround", "conditional", "n5_default", "reshape", "zfp")
"""Codecs of zarr-extensions that only we know of those that are tested."""

_DIFFERENT = "AssertionError"  # of `check_same`: the peer says nothing and gets it wrong
_NUMCODECS = (
    "blosc", "lz4", "zstd", "gzip", "lzma", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3",
    "delta", "bitround", "quantize", "packbits", "astype",
)  # fmt: skip

# ---------------------------------------------------------------- zarr-python

_ZARR_METADATA: dict[str, Gap] = {
    **_no_data_type(*SMALL, *COMPLEX, "r24"),
    **{name: Gap("UnknownCodecError", name) for name in _UNKNOWN},
    # a hexadecimal float16 is converted by way of float64, which loses the payload
    "fill-float16-0x7e01": Gap(_DIFFERENT, "other values", ("reads",)),
}
_ZARR_CODECS: dict[str, Gap] = {
    # NaN payloads are written as "NaN", yet chunks that are full of them are left out
    "fill-hex": Gap(_DIFFERENT, "other values", ("writes",)),
    # 0.0 is taken for -0.0, and the chunk left out
    "fill-complex64-[-0.0, -0.0]": Gap(_DIFFERENT, "other values", ("writes",)),
    "blosc-snappy": Gap("ValueError", "compressor not supported: 'snappy'", ("writes",)),
}
if VERSIONS["zarr-python"] < (3, 2):  # the last for Python 3.11 is 3.1
    _ZARR_METADATA |= _no_data_type("struct")
    _ZARR_METADATA |= {name: Gap("UnknownCodecError", name) for name in ("scale_offset", "cast_value")}
    _ZARR_CODECS |= {"structured-big": Gap(_DIFFERENT, "other values", ("reads",))}  # not swapped

# ---------------------------------------------------------------- zarrs

_ZARRS: dict[str, Gap] = {
    **{
        name: Gap("UnsupportedMetadataError", f"data type {name} is not supported")
        for name in ("fixed_length_utf32", "null_terminated_bytes", "raw_bytes", "struct")
    },
    # zarr-python 3.4 hands a `structured` on as `struct`
    "structured": Gap("UnsupportedMetadataError", "data type struct(ured)? is not supported"),
    **{
        name: Gap("UnsupportedDataTypeError", unless="zero-length")
        for name in ("string", "bytes", "variable_length_bytes", "numpy.datetime64", "numpy.timedelta64")
    },
    **{
        f"numcodecs.{name}": Gap("UnsupportedMetadataError", f"codec numcodecs.{name} is not supported")
        for name in _NUMCODECS
    },
    # it gets the document from zarr-python, which has made "NaN" of the payload
    "fill-hex": Gap(_DIFFERENT, "other values", ("reads",)),
    # swapping makes signalling NaNs quiet
    "complex64-big": Gap(_DIFFERENT, "other values", ("reads",)),
    "complex128-big": Gap(_DIFFERENT, "other values", ("reads",)),
}

if VERSIONS["zarr-python"] >= (3, 2):  # which hands them on
    _ZARRS |= {
        name: Gap("UnsupportedMetadataError", "codec (scale_offset|cast_value) is not supported")
        for name in ("scale_offset", "cast_value")
    }

# ---------------------------------------------------------------- TensorStore

_TENSORSTORE: dict[str, Gap] = {
    **{
        name: Gap("ValueError", f"{name} data type is not one of the supported data types")
        for name in (
            "string", "bytes", "variable_length_bytes", "fixed_length_utf32", "null_terminated_bytes",
            "numpy.datetime64", "numpy.timedelta64", "float8_e4m3", "float6_e2m3fn", "float6_e3m2fn", "uint2", "uint4", *COMPLEX,
        )
    },
    **{
        name: Gap("ValueError", f'"{name}" is not registered')
        for name in (
            *_UNKNOWN, "scale_offset", "cast_value", *(f"numcodecs.{name}" for name in (*_NUMCODECS, "zlib", "bz2", "shuffle", "fixedscaleoffset")),
        )
    },
    "sharded-before-gzip": Gap("ValueError", "Sharding codec .* is not compatible with subsequent"),
    # it creates them by `open_as_void` only, and then cannot open what it wrote
    "raw_bytes": Gap("ValueError", "raw_bytes data type is invalid", ("writes",)),
    "r24": Gap("ValueError", "Expected base64-encoded string for raw_bytes fill_value"),
}  # fmt: skip

# ---------------------------------------------------------------- zarrita.js

_ZARRITA: dict[str, Gap] = {
    **{
        name: Gap("ZarritaError", f"Unknown or unsupported dataType: {name}")
        for name in (*SMALL, *COMPLEX, "r24", "bytes", "variable_length_bytes", "complex64", "complex128")
    },
    **{
        name: Gap("ZarritaError", "dataType.match is not a function")  # of a data type with a configuration
        for name in (
            "raw_bytes", "fixed_length_utf32", "null_terminated_bytes", "struct", "structured", "numpy.datetime64",
            "numpy.timedelta64",
        )
    },
    **{
        name: Gap("ZarritaError", f"Unknown codec: {name}")
        for name in (
            *(name for name in _UNKNOWN if name != "bitround"), *(f"numcodecs.{name}" for name in (
                "lzma", "bz2", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "quantize", "packbits",
                "astype", "fixedscaleoffset",
            )),
        )
    },
    **{
        name: Gap("ZarritaError", f"Unsupported: {name.removeprefix('numcodecs.')} encode", ("writes",))
        for name in ("crc32c", "gzip", "vlen-utf8", "bitround", "scale_offset", "numcodecs.gzip", "numcodecs.zlib", "numcodecs.bitround")
    },
    "zero-length": Gap("ZarritaError", "Input contains an empty iterator"),
    # two transpositions in a row are encoded in the wrong order
    "transpose-twice-int16": Gap(_DIFFERENT, "other values"),
    # JSON numbers become doubles
    **{
        f"fill-{name}": Gap(_DIFFERENT, "other values", ("reads",))
        for name in ("int64-9223372036854775807", "int64-9007199254740993", "uint64-18446744073709551615")
    },
    # the bits are taken for a number
    **{
        f"fill-{name}": Gap(_DIFFERENT, "other values", ("reads",))
        for name in ("float32-0x7fc00001", "float64-0x7ff8000000000001")
    },
    "sharded": Gap("ZarritaError", "Unsupported: set on sharded arrays", ("writes",)),
    "sharded-nested": Gap("ZarritaError", "Unknown codec: sharding_indexed", ("reads",)),
    # what stands beside sharding in the chain is left out
    "sharded-after-transpose": Gap(_DIFFERENT, "other values", ("reads",)),
    "cast_value-sharded": Gap(_DIFFERENT, "other values", ("reads",)),
    # what is taken for the index, at the end of what is stored, is something else
    **{
        f"sharded-{name}": Gap("ZarritaError", "Unexpected response status 416", ("reads",))
        for name in ("before-gzip", "start-plain", "start-crc32c", "zstd-crc32c")
    },
}  # fmt: skip
if node_version() < 24:  # which has no Float16Array
    _ZARRITA["float16"] = Gap("ZarritaError", "Unknown or unsupported dataType: float16")

# ---------------------------------------------------------------- ourselves

# the wheels of numcodecs, whose Blosc we use, are built without Snappy
_OUR_WRITING: dict[str, Gap] = {"blosc-snappy": Gap("MetadataError", "snappy", ("writes",))}
_OUR_READING: dict[str, Gap] = {
    "blosc-snappy": Gap("UnknownExtensionError", "compressed with snappy", ("reads",))
}

UNSUPPORTED: dict[tuple[str, str], tuple[Gap, ...]] = {}
"""By (peer, feature), the feature being a data type, a codec, or the name or a tag of a case."""

for _peer, _table in (
    ("zarrv3", _OUR_WRITING),
    ("zarrv3", _OUR_READING),
    ("zarr-python", _ZARR_METADATA),
    ("zarr-python", _ZARR_CODECS),
    ("zarrs", _ZARR_METADATA),
    ("zarrs", _ZARRS),
    ("tensorstore", _TENSORSTORE),
    ("zarrita", _ZARRITA),
):
    for _feature, _gap in _table.items():
        UNSUPPORTED[_peer, _feature] = (*UNSUPPORTED.get((_peer, _feature), ()), _gap)


def gaps(peer: str, when: str, case: Case) -> list[Gap]:
    """What is listed for a peer that reads or writes a case."""
    return [
        gap
        for feature in sorted(case.features)
        for gap in UNSUPPORTED.get((peer, feature), ())
        if when in gap.when and gap.unless not in case.tags
    ]

"""Filters of numcodecs: array → array; and its serializers: array → bytes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError, UnknownExtensionError
from zarrv3.format.codecs.base import Array, ArrayArrayCodec, ArrayBytesCodec, ChunkSpec
from zarrv3.format.codecs.support import guarded
from zarrv3.format.data_types import DataType, data_type_of
from zarrv3.format.extensions import shown
from zarrv3.store.contract import JSON, Buffer
from zarrv3_codecs_numcodecs.library import NumCodec, numcodec


@dataclass(frozen=True)
class Filter(NumCodec, ArrayArrayCodec):
    """A filter of numcodecs."""

    dtype_members: ClassVar[tuple[str, ...]] = ("dtype", "astype", "encode_dtype", "decode_dtype")
    own: ClassVar[str | None] = "dtype"
    """The member that says what the decoded elements are."""
    stored: ClassVar[str] = "astype"
    """The member that says what the encoded elements are."""
    kinds: ClassVar[str] = "iufc"
    """The kinds of dtypes that the filter handles."""

    def _check(self, member: str, value: JSON) -> None:
        if member in self.dtype_members:
            if value is not None:
                self._data_type(value)
            return
        kinds = int if member in {"digits", "keepbits"} else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise MetadataError(f"codec {self.name!r}: {member} must be a number, not {shown(value)}")

    def evolve(self, spec: ChunkSpec) -> Self:
        """With the dtype of what is encoded."""
        dtype = spec.data_type.numpy
        if (
            spec.data_type.item_size is None
            or dtype.kind not in self.kinds
            or spec.data_type.carrier != dtype
        ):
            raise MetadataError(f"codec {self.name!r} cannot encode data type {spec.data_type.describe()}")
        if self.own is None:
            return self
        given = self.configuration.get(self.own)
        if given is None:
            return replace(self, configuration={**self.configuration, self.own: dtype.name})
        if self._data_type(given) != spec.data_type:
            raise MetadataError(
                f"codec {self.name!r} is configured for {given}, but gets data type {spec.data_type.describe()}"
            )
        return self

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Elements of the type that `astype` names, in the same shape; the fill value is that number, not encoded.

        That is what zarr-python does, which alone defines these codecs: what it leaves out of a shard is what it takes for empty.
        """
        astype = self.configuration.get(self.stored)
        return spec if astype is None else _with_type(spec, self._data_type(astype))

    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        # numcodecs flattens arrays in the order of their memory: it has to be C order
        with np.errstate(all="ignore"):
            found = self._codec().encode(np.ascontiguousarray(array))
        wanted = self.resolve(spec)
        shaped: Array = found.reshape(wanted.shape)
        return shaped.view(wanted.data_type.numpy)

    def decode(self, array: Array, spec: ChunkSpec) -> Array:
        def run() -> Array:
            with np.errstate(all="ignore"):
                found: Array = self._codec().decode(np.ascontiguousarray(array))
            return found.reshape(spec.shape)

        found: Array = guarded(self.name, run)
        if found.dtype != spec.data_type.numpy:
            raise CorruptDataError(
                f"{self.name}: decodes to {found.dtype}, not to {spec.data_type.describe()}"
            )
        return found

    def _codec(self) -> Any:
        # arrays are in native byte order here, whatever the configuration says
        native = {
            member: self._data_type(value).numpy.str
            if member in self.dtype_members and value is not None
            else value
            for member, value in self.configuration.items()
        }
        return numcodec(self.name, native)

    def _data_type(self, value: JSON) -> DataType:
        if not isinstance(value, str):
            raise MetadataError(f"codec {self.name!r}: a dtype must be text, not {shown(value)}")
        data_type = data_type_of(value)
        if data_type.numpy.kind not in "biufc":
            raise MetadataError(f"codec {self.name!r}: dtype {value!r} is not a number's")
        return data_type


def _with_type(spec: ChunkSpec, data_type: DataType) -> ChunkSpec:
    """Elements of another type, and the fill value as numpy casts it."""
    with np.errstate(all="ignore"):
        return spec._replace(
            data_type=data_type, fill_value=np.asarray(spec.fill_value).astype(data_type.numpy)[()]
        )


@dataclass(frozen=True)
class Delta(Filter):
    """`numcodecs.delta`: differences between neighbours."""

    optional: ClassVar[tuple[str, ...]] = ("dtype", "astype")
    kinds: ClassVar[str] = "iuf"


@dataclass(frozen=True)
class FixedScaleOffset(Filter):
    """`numcodecs.fixedscaleoffset`: `(x - offset) * scale`, rounded."""

    required: ClassVar[tuple[str, ...]] = ("offset", "scale")
    optional: ClassVar[tuple[str, ...]] = ("dtype", "astype")
    kinds: ClassVar[str] = "iuf"


@dataclass(frozen=True)
class Quantize(Filter):
    """`numcodecs.quantize`: a number of decimal digits."""

    required: ClassVar[tuple[str, ...]] = ("digits",)
    optional: ClassVar[tuple[str, ...]] = ("dtype", "astype")
    kinds: ClassVar[str] = "f"


@dataclass(frozen=True)
class BitRound(Filter):
    """`numcodecs.bitround`: a number of mantissa bits."""

    required: ClassVar[tuple[str, ...]] = ("keepbits",)
    own: ClassVar[str | None] = None
    kinds: ClassVar[str] = "f"

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the mantissa of what is encoded."""
        found = super().evolve(spec)
        bits = np.finfo(spec.data_type.numpy).nmant
        if not 0 <= self.configuration["keepbits"] <= bits:
            raise MetadataError(f"codec {self.name!r}: keepbits must be from 0 to {bits}")
        return found


@dataclass(frozen=True)
class AsType(Filter):
    """`numcodecs.astype`: stored as another dtype."""

    required: ClassVar[tuple[str, ...]] = ("encode_dtype",)
    optional: ClassVar[tuple[str, ...]] = ("decode_dtype",)
    own: ClassVar[str | None] = "decode_dtype"
    stored: ClassVar[str] = "encode_dtype"
    kinds: ClassVar[str] = "biufc"


@dataclass(frozen=True)
class PackBits(Filter):
    """`numcodecs.packbits`: eight booleans per byte, after a byte that counts the padding."""

    own: ClassVar[str | None] = None
    kinds: ClassVar[str] = "b"

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """One dimension of `uint8`."""
        return _with_type(spec, data_type_of("uint8"))._replace(shape=(1 + math.ceil(spec.item_count / 8),))


@dataclass(frozen=True)
class PCodec(NumCodec, ArrayBytesCodec):
    """`numcodecs.pcodec`, which needs the package pcodec."""

    optional: ClassVar[tuple[str, ...]] = (
        "level", "mode_spec", "delta_spec", "paging_spec", "delta_encoding_order", "equal_pages_up_to",
    )  # fmt: skip

    def _check(self, member: str, value: JSON) -> None:
        """The library knows."""

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the kinds of numbers that the library handles."""
        if spec.data_type.numpy.kind not in "iuf" or spec.data_type.carrier != spec.data_type.numpy:
            raise MetadataError(f"codec {self.name!r} cannot encode data type {spec.data_type.describe()}")
        return self

    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:
        codec = numcodec(self.name, self.configuration)
        try:
            return bytes(codec.encode(np.ascontiguousarray(array)))
        except (TypeError, ValueError) as error:
            described = spec.data_type.describe()
            raise MetadataError(
                f"codec {self.name!r} cannot encode {described} {spec.shape}: {error}"
            ) from error

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        codec = numcodec(self.name, self.configuration)
        found: Array = np.asarray(guarded(self.name, codec.decode, bytes(buffer)))
        if found.dtype != spec.data_type.numpy or found.size != spec.item_count:
            raise CorruptDataError(
                f"{self.name}: holds {found.size} × {found.dtype}, not {spec.item_count} elements"
            )
        if out is None:
            return found.reshape(spec.shape)
        out[...] = found.reshape(spec.shape)
        return out


class ZFPY(PCodec):
    """`numcodecs.zfpy`, which needs the package zfpy."""

    optional: ClassVar[tuple[str, ...]] = ("mode", "tolerance", "rate", "precision", "compression_kwargs")


class Pickle:
    """`numcodecs.pickle`, refused by name."""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> NoReturn:  # noqa: ARG003 - whatever it is
        """Raise `UnknownExtensionError`."""
        raise UnknownExtensionError(
            f"codec {name!r} is refused: unpickling stored bytes would run code from the store. "
            "Store text as data type 'string' and byte strings as 'bytes'"
        )

"""`zfp` of zarr-extensions: chunks of numbers, without the header of zfp."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError, UnknownExtensionError
from zarrv3.format.codecs import ArrayBytesCodec, ChunkSpec
from zarrv3.format.codecs.base import Array, Declared
from zarrv3.format.codecs.support import guarded, lazy
from zarrv3.format.extensions import choice, integer, shown
from zarrv3.store.contract import Buffer

MEMBERS = {
    "reversible": (),
    "expert": ("minbits", "maxbits", "maxprec", "minexp"),
    "fixed_accuracy": ("tolerance",),
    "fixed_rate": ("rate",),
    "fixed_precision": ("precision",),
}
"""What each mode needs."""


def _number(owner: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
        raise MetadataError(f"{owner} must be a positive number, not {shown(value)}")
    return value.item() if isinstance(value, np.number) else value


_COUNT = partial(integer, low=0, high=2**31 - 1)


@dataclass(frozen=True)
class ZFP(Declared, ArrayBytesCodec):
    """One stream per chunk, whose parameters are in the document only."""

    name: ClassVar[str] = "zfp"
    mode: Annotated[str, partial(choice, allowed=MEMBERS)]
    tolerance: Annotated[float | None, _number] = None
    rate: Annotated[float | None, _number] = None
    precision: Annotated[int | None, partial(integer, low=1, high=64)] = None
    minbits: Annotated[int | None, _COUNT] = None
    maxbits: Annotated[int | None, _COUNT] = None
    maxprec: Annotated[int | None, _COUNT] = None
    minexp: Annotated[int | None, partial(integer, low=-(2**31), high=2**31 - 1)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        every = {member for members in MEMBERS.values() for member in members}
        given = {member for member in every if getattr(self, member) is not None}
        if given != {*MEMBERS[self.mode]}:
            needed = ", ".join(MEMBERS[self.mode]) or "no other member"
            raise MetadataError(f"codec 'zfp': mode {self.mode!r} needs {needed}; there is {sorted(given)}")

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against what zfp knows."""
        data_type = spec.data_type
        known = data_type.number in {"integer", "float"} and data_type.carrier == data_type.numpy
        if not known or data_type.numpy.itemsize < 4:
            raise MetadataError(f"codec 'zfp' cannot encode data type {data_type.describe()}")
        if data_type.numpy.kind == "u" and self.mode != "reversible":
            raise MetadataError("codec 'zfp' encodes unsigned integers in mode 'reversible' only")
        if len(spec.shape) > 4:
            raise MetadataError(f"codec 'zfp' knows four dimensions, the chunk has {len(spec.shape)}")
        return self

    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:  # noqa: ARG002 - the array says it
        if self.mode != "reversible" and not _fits(array):
            raise MetadataError(f"codec 'zfp': mode {self.mode!r} cannot encode a number that is there")
        signed = _signed(np.ascontiguousarray(array).reshape(array.shape or (1,)))
        data = lazy("zfpy").compress_numpy(signed, write_header=False, **self._parameters())
        return bytes(data)

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        zfpy, parameters = lazy("zfpy"), self._parameters()
        shape, dtype = spec.shape or (1,), _signed(np.empty(0, spec.data_type.numpy)).dtype
        # zfp reads on where the bytes end: as much as all blocks can have follows
        blocks = math.prod(-(-length // 4) for length in shape)
        room = blocks * (4 ** len(shape) * (dtype.itemsize + 1) + 64)
        if not len(buffer) or len(buffer) > room:
            raise CorruptDataError(f"zfp: {len(buffer)} bytes for a chunk of shape {spec.shape}")
        number_type = getattr(
            zfpy, f"type_{'float' if dtype == 'f4' else 'double' if dtype == 'f8' else dtype.name}"
        )
        padded = bytes(buffer).ljust(room + 64, b"\0")
        found = guarded("zfp", partial(zfpy._decompress, padded, number_type, shape, **parameters))
        array: Array = _unsigned(np.asarray(found), spec.data_type.numpy).reshape(spec.shape)
        if out is None:
            return array
        out[...] = array
        return out

    def _parameters(self) -> dict[str, Any]:
        """What zfpy is told; nothing is the reversible mode."""
        if self.mode == "expert":
            raise UnknownExtensionError("codec 'zfp': zfpy cannot do the mode 'expert'")
        return {member: getattr(self, member) for member in MEMBERS[self.mode]}


def _fits(array: Array) -> bool:
    """Whether all numbers are finite and have room for the sums that zfp makes of them."""
    if array.dtype.kind == "f":
        return bool(np.isfinite(array).all())
    most = 1 << (array.dtype.itemsize * 8 - 2)
    return bool(((array < most) & (array > -most)).all())


def _signed(array: Array) -> Array:
    """Unsigned integers moved into the range of signed ones, which are what zfp knows."""
    if array.dtype.kind != "u":
        return array
    signed = np.dtype(f"i{array.dtype.itemsize}")
    top = array.dtype.type(1 << (array.dtype.itemsize * 8 - 1))
    moved: Array = (array ^ top).view(signed)
    return moved


def _unsigned(array: Array, dtype: np.dtype[Any]) -> Array:
    """And back."""
    return array if dtype.kind != "u" else array.view(dtype) ^ dtype.type(1 << (dtype.itemsize * 8 - 1))

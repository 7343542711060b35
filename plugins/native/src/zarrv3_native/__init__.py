"""Kernels in C: batches of chunks and files, without Python's lock, so that two threads do twice as much.

`Native` is found by the core through the entry point `native` of the group `zarrv3.kernels`; see `zarrv3.chunks.kernels` for
what its methods promise. Blosc and Zstandard are called in the shared libraries of numcodecs, which the codecs in Python
use too: the bytes are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrv3.chunks.kernels import UNDONE, Undone
from zarrv3.format.codecs import CodecChain
from zarrv3.format.codecs.base import BytesBytesCodec
from zarrv3.store.contract import Buffer, Request
from zarrv3_native import _kernels
from zarrv3_native._kernels import get_files, write_files  # an older build has none

__all__ = ["Native"]

LARGE = 2**20
"""Chunks of so many bytes are encoded in memory that is used again."""


class Native:
    """The kernels."""

    def chunks(self, chain: CodecChain) -> NativeChunks | None:
        """For plain elements of one size, stored as they are or compressed with Blosc or Zstandard."""
        spec = chain.spec
        dtype = spec.data_type.numpy
        if (
            chain.filters
            or not chain.plain
            or not spec.nbytes
            or dtype.kind in "OSTU"
            or len(spec.shape) > _kernels.MAX_NDIM
        ):
            return None
        compressors = [compressor for compressor, _, _ in chain.compressors]
        codec = _codec(compressors[0]) if len(compressors) == 1 else None
        if compressors and codec is None:
            return None
        fill = np.asarray(spec.fill_value, dtype).tobytes()
        return NativeChunks(codec, spec.shape, fill)

    def get_files(
        self,
        root: str,
        requests: list[Request],
        reserved: str,
        flags: int,
        *,
        letters: bool,
        versions: bool,
    ) -> tuple[list[Any], list[int]]:
        """See `zarrv3_store_directory.kernel.FileKernel`."""
        return get_files(root, requests, reserved, flags, letters, versions)

    def write_files(
        self,
        folder: int,
        names: list[str],
        values: list[Buffer],
        prefix: str,
        flags: int,
        *,
        letters: bool,
    ) -> list[int]:
        """See `zarrv3_store_directory.kernel.FileKernel`."""
        return write_files(folder, names, values, prefix, flags, letters)


class NativeChunks:
    """The chunks of one chain of codecs.

    Args:
        codec: what `_kernels` made of the compressor; `None` without one.
        shape: of a chunk.
        fill: the bytes of the fill value.
    """

    def __init__(self, codec: object | None, shape: tuple[int, ...], fill: bytes) -> None:
        self.codec = codec
        self.shape = shape
        self.fill = fill
        self.raw = np.dtype(f"V{len(fill)}")  # a dtype that every kind of element can be seen as

    def decode(
        self, values: Sequence[Buffer | None], pieces: Sequence[Any], out: np.ndarray[Any, Any]
    ) -> list[int]:
        """See `zarrv3.chunks.kernels.ChunkKernel`."""
        return _kernels.decode(self.codec, self.shape, self.fill, values, pieces, out.view(self.raw))

    def memory(self) -> Memory | None:
        """See `zarrv3.chunks.kernels.ChunkKernel`."""
        nbytes = math.prod(self.shape) * len(self.fill)
        return Memory(nbytes, _kernels.bound(self.codec, nbytes)) if nbytes >= LARGE else None

    def encode(
        self,
        pieces: Sequence[Any],
        value: np.ndarray[Any, Any],
        memory: Memory | None = None,
        *,
        keep_empty: bool,
    ) -> Sequence[Buffer | Undone | None]:
        """See `zarrv3.chunks.kernels.ChunkKernel`."""
        raw = value.view(self.raw)
        if memory is None:
            return _kernels.encode(  # type: ignore[return-value]  # places are in lent memory only
                self.codec, self.shape, self.fill, keep_empty, pieces, raw, UNDONE, None, None
            )
        scratch, room = memory.lend(len(pieces))
        found = _kernels.encode(
            self.codec, self.shape, self.fill, keep_empty, pieces, raw, UNDONE, scratch, room
        )
        view = memoryview(room)
        return [view[place[0] : place[1]] if isinstance(place, tuple) else place for place in found]


class Memory:
    """What a thread that encodes large chunks works with, one task after the other: fresh memory costs more than encoding.

    Args:
        nbytes: of a chunk.
        bound: what it can become.
    """

    def __init__(self, nbytes: int, bound: int) -> None:
        self.nbytes = nbytes
        self.bound = bound
        self.scratch = bytearray()
        self.room = bytearray()

    def lend(self, count: int) -> tuple[bytearray, bytearray]:
        """Memory of the size of a chunk, and for so many encoded ones."""
        if not self.scratch:
            self.scratch = bytearray(self.nbytes)
        if len(self.room) < count * self.bound:
            self.room = bytearray(count * self.bound)
        return self.scratch, self.room


def _codec(codec: BytesBytesCodec) -> object | None:
    """A compressor as the functions of numcodecs' libraries; `None` for others, and where these cannot be found."""
    name, library, arguments = codec.native() or ("", "", ())
    make: Any = {"blosc": _kernels.blosc, "zstd": _kernels.zstd}.get(name)
    return None if make is None else make(library, *arguments)

"""Kernels in C: batches of chunks and files, without Python's lock, so that two threads do twice as much.

`Native` is found by the core through the entry point `native` of the group `zarrv3.kernels`; see `zarrv3.chunks.kernels` for
what its methods promise. Blosc and CRC32C are called in the shared libraries of numcodecs and google-crc32c, which the codecs in
Python use too: the bytes are the same. gzip and zlib are made by libdeflate, in the shared library of deflate, and Zstandard in that of
backports.zstd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from zarrv3.chunks.kernels import UNDONE, Undone
from zarrv3.chunks.rooms import Rooms
from zarrv3.errors import UnknownExtensionError
from zarrv3.format.codecs import CodecChain
from zarrv3.format.codecs.base import BytesBytesCodec
from zarrv3.format.codecs.support import library_of
from zarrv3.options.settings import config
from zarrv3.store.contract import Buffer, Request, Version
from zarrv3_native import _kernels
from zarrv3_native._kernels import chain as make_chain  # an older build has none
from zarrv3_native._kernels import get_files, replace_files

__all__ = ["Native"]

ENTRY = 32
"""Bytes beside each chunk in memory that is lent: for its entry in the index of a shard, and that of the checksum."""


class Native:
    """The kernels."""

    def chunks(self, chain: CodecChain) -> NativeChunks | NativeTexts | None:
        """For texts, and elements of one size in any order of bytes: dimensions in any order, one compressor at most, and CRC32C."""
        spec = chain.spec
        dtype = spec.data_type.numpy
        word = chain.serializer.native(chain.inner)
        are_texts = word == "vlen-utf8" and dtype == np.dtypes.StringDType() and _kernels.HAS_TEXTS
        if not are_texts and (not spec.nbytes or dtype.kind in "OSTU" or not isinstance(word, int)):
            return None
        orders = [filter_.native() for filter_, _ in chain.filters]
        if None in orders or not spec.item_count or len(spec.shape) > _kernels.MAX_NDIM:
            return None
        compressors = [compressor for compressor, _, _ in chain.compressors]
        codec = _codec(compressors, word if isinstance(word, int) else 1, orders)
        if codec is None:
            return None
        if not isinstance(word, int):
            return NativeTexts(codec, spec.shape, str(spec.fill_value).encode())
        fill = np.asarray(spec.fill_value, dtype).tobytes()
        return NativeChunks(codec, spec.shape, fill, word)

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

    def replace_files(
        self,
        folder: int,
        names: list[str],
        values: list[Buffer | None],
        prefix: str,
        flags: int,
        *,
        letters: bool,
        versions: list[Version | None] | None = None,
    ) -> tuple[list[int], list[int]]:
        """See `zarrv3_store_directory.kernel.FileKernel`."""
        return replace_files(folder, names, values, versions, prefix, flags, letters)


class NativeChunks:
    """The chunks of one chain of codecs.

    Args:
        codec: what `_kernels` made of the codecs.
        shape: of a chunk.
        fill: the bytes of the fill value.
        word: how many bytes at a time are stored in reverse.
    """

    def __init__(self, codec: object, shape: tuple[int, ...], fill: bytes, word: int = 1) -> None:
        self.codec = codec
        self.shape = shape
        self.fill = fill
        self.stored_fill = b"".join(fill[at : at + word][::-1] for at in range(0, len(fill), word))
        self.raw = np.dtype(f"V{len(fill)}")  # a dtype that every kind of element can be seen as

    def decode(
        self, values: Sequence[Buffer | None], pieces: Sequence[Any], out: np.ndarray[Any, Any]
    ) -> list[int]:
        """See `zarrv3.chunks.kernels.ChunkKernel`."""
        return _kernels.decode(self.codec, self.shape, self.fill, values, pieces, out.view(self.raw))

    def encode(
        self,
        pieces: Sequence[Any],
        value: np.ndarray[Any, Any],
        rooms: Rooms | None = None,
        *,
        keep_empty: bool,
        olds: Sequence[Buffer | None] | None = None,
    ) -> Sequence[Buffer | Undone | None]:
        """See `zarrv3.chunks.kernels.ChunkKernel`."""
        room = None
        if rooms is not None:
            bound = _kernels.bound(self.codec, math.prod(self.shape) * len(self.fill))[1]
            room = rooms.lend(len(pieces) * (bound + ENTRY))
        found = _kernels.encode(
            self.codec,
            self.shape,
            self.stored_fill,
            keep_empty,
            pieces,
            olds,
            value.view(self.raw),
            UNDONE,
            room,
        )
        if room is None:
            return found  # type: ignore[return-value]  # places are in lent memory only
        view = room.data
        made = [view[place[0] : place[1]] if isinstance(place, tuple) else place for place in found]
        chunks = [one for one in made if isinstance(one, memoryview)]
        if sum(map(len, chunks)) == max((place[1] for place in found if isinstance(place, tuple)), default=0):
            room.note(chunks)  # an older build leaves gaps between them
        return made


class NativeTexts:
    """The chunks of texts of one chain of codecs; in numpy's `StringDType`.

    Args:
        codec: what `_kernels` made of the codecs.
        shape: of a chunk.
        fill: the fill value as UTF-8.
    """

    def __init__(self, codec: object, shape: tuple[int, ...], fill: bytes) -> None:
        self.codec = codec
        self.shape = shape
        self.fill = fill

    def decode(
        self, values: Sequence[Buffer | None], pieces: Sequence[Any], out: np.ndarray[Any, Any]
    ) -> list[int]:
        """See `zarrv3.chunks.kernels.ChunkKernel`."""
        limit = config.get("unpacked_bytes")
        return _kernels.decode_texts(self.codec, self.shape, self.fill, limit, values, pieces, out)

    def encode(
        self,
        pieces: Sequence[Any],
        value: np.ndarray[Any, Any],
        rooms: Rooms | None = None,  # noqa: ARG002
        *,
        keep_empty: bool,
        olds: Sequence[Buffer | None] | None = None,
    ) -> Sequence[Buffer | Undone | None]:
        """See `zarrv3.chunks.kernels.ChunkKernel`; what is put into an old chunk is left to Python."""
        if olds is not None:
            pieces = [piece if old is None else None for piece, old in zip(pieces, olds, strict=True)]
        return _kernels.encode_texts(self.codec, self.shape, self.fill, keep_empty, pieces, value, UNDONE)


def _codec(codecs: list[BytesBytesCodec], word: int, orders: list[Any]) -> object | None:
    """Codecs as one of `_kernels`; `None` for others, and where their libraries cannot be found."""
    order: tuple[int, ...] | None = None
    for each in orders:
        order = each if order is None else tuple(order[axis] for axis in each)
    steps = [codec.native() or ("", "", ()) for codec in codecs]
    compressors = [number for number, step in enumerate(steps) if step[0] != "crc32c"]
    inner, outer, library, compressor = 0, len(steps), "", None
    if compressors:
        name, path, arguments = steps[compressors[0]]
        inner, outer = compressors[0], len(steps) - compressors[0] - 1
        make = _MAKERS.get(name)
        compressor = None if make is None else make(path, *arguments)
        if compressor is None or len(compressors) > 1:
            return None
    if inner or outer:
        library = next(step[1] for step in steps if step[0] == "crc32c")
    return make_chain(compressor, inner, outer, library, word, order)


def _zstd(path: str, level: int, checksum: bool) -> object | None:
    """The codec that Zstandard is: that of `backports.zstd`, which is newer and faster, or else the one that Python uses."""
    return _kernels.zstd(_newer_zstd() or path, level, checksum)


@cache
def _newer_zstd() -> str | None:
    """The shared library of `backports.zstd`, if it is installed."""
    with suppress(UnknownExtensionError):
        return library_of("backports.zstd._zstd")
    return None


def _deflate(gzip: bool, level: int) -> object | None:
    """The codec that libdeflate is; `None` where it is not installed, and for levels that only Python knows."""
    if not 0 <= level <= 9:
        return None
    try:
        library = library_of("deflate._deflate")
    except UnknownExtensionError:
        return None
    return _kernels.deflate(library, gzip, level)


_MAKERS: dict[str, Any] = {
    "blosc": _kernels.blosc,
    "zstd": _zstd,
    "gzip": lambda _, level: _deflate(True, level),
    "zlib": lambda _, level: _deflate(False, level),
}

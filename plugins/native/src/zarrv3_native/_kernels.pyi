from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrv3.chunks.kernels import Undone
from zarrv3.store.contract import Buffer, Request, Version

MAX_NDIM: int
"""Chunks of more dimensions are left to Python."""

HAS_TEXTS: bool
"""Whether it was built with numpy's headers."""

def blosc(
    library: str, name: bytes, level: int, shuffle: int, block: int, typesize: int, /
) -> object | None: ...
def zstd(library: str, level: int, checksum: bool, /) -> object | None: ...
def deflate(library: str, gzip: bool, level: int, /) -> object | None: ...
def chain(
    compressor: object | None,
    inner: int,
    outer: int,
    library: str,
    word: int,
    order: tuple[int, ...] | None,
    /,
) -> object | None: ...
def bound(codec: object | None, nbytes: int, /) -> tuple[int, int]: ...
def decode(
    codec: object | None,
    shape: tuple[int, ...],
    fill: bytes,
    values: Sequence[Buffer | None],
    pieces: Sequence[Any],
    out: np.ndarray[Any, Any],
    /,
) -> list[int]: ...
def encode(
    codec: object | None,
    shape: tuple[int, ...],
    fill: bytes,
    keep_empty: bool,
    pieces: Sequence[Any],
    olds: Sequence[Buffer | None] | None,
    value: np.ndarray[Any, Any],
    undone: Undone,
    room: bytearray | np.ndarray[Any, Any] | None,
    /,
) -> list[bytes | tuple[int, int] | Undone | None]: ...
def decode_texts(
    codec: object | None,
    shape: tuple[int, ...],
    fill: bytes,
    limit: int,
    values: Sequence[Buffer | None],
    pieces: Sequence[Any],
    out: np.ndarray[Any, Any],
    /,
) -> list[int]: ...
def encode_texts(
    codec: object | None,
    shape: tuple[int, ...],
    fill: bytes,
    keep_empty: bool,
    pieces: Sequence[Any],
    value: np.ndarray[Any, Any],
    undone: Undone,
    /,
) -> list[bytes | Undone | None]: ...
def get_files(
    root: str, requests: list[Request], reserved: str, flags: int, letters: bool, versions: bool, /
) -> tuple[list[Any], list[int]]: ...
def replace_files(
    folder: int,
    names: list[str],
    values: list[Buffer | None],
    versions: list[Version | None] | None,
    prefix: str,
    flags: int,
    letters: bool,
    /,
) -> tuple[list[int], list[int]]: ...

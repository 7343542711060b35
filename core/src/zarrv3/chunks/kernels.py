"""Kernels: a plugin that does whole batches at once where Python would go chunk by chunk. Everything works without one.

Which one is the setting `kernels`, by default `native` (package zarrv3-native: compiled, and without Python's lock). A
kernel does what is usual and hands back what is not: missing folders, odd names, indices that are arrays, bytes that
are no chunk. The code in Python then does that as if there were no kernel, and says what is wrong. So there is one
behaviour, written once; a kernel can only be faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Protocol

import numpy as np

from zarrv3.errors import RegistryError
from zarrv3.format.codecs import CodecChain
from zarrv3.options.settings import config
from zarrv3.registry import installed, load
from zarrv3.store.contract import Buffer, Request


class Undone(Enum):
    """What stands for a chunk that a kernel has left to Python."""

    UNDONE = auto()


UNDONE = Undone.UNDONE


class ChunkKernel(Protocol):
    """Chunks of one array; all methods may be called from many threads at once."""

    def decode(
        self, values: Sequence[Buffer | None], pieces: Sequence[Any], out: np.ndarray[Any, Any]
    ) -> list[int]:
        """Decode values, or the fill value for `None`, into `out` as the pieces say; the numbers of those left undone.

        Of a piece that is left undone, any part may have been written.
        """

    def memory(self) -> Any:
        """What one thread may encode with, task after task; `None` if nothing is gained by that."""

    def encode(
        self, pieces: Sequence[Any], value: np.ndarray[Any, Any], memory: Any = None, *, keep_empty: bool
    ) -> Sequence[Buffer | Undone | None]:
        """The encoded chunks of pieces that cover theirs, exactly as the codecs would make them.

        `None` for one that holds only the fill value, unless `keep_empty`; `UNDONE` for one that is left undone. With `memory`
        the others are in it, until it is used again.
        """


class Kernels(Protocol):
    """What a plugin of the group `zarrv3.kernels` is: a class without arguments."""

    def chunks(self, chain: CodecChain) -> ChunkKernel | None:
        """What moves the chunks of a chain; `None` for codecs and data types it does not know."""

    def read_files(
        self, root: str, requests: list[Request], reserved: str, flags: int, *, letters: bool
    ) -> tuple[list[Buffer | None], list[int]]:
        """The requested bytes of regular files below a folder, and the numbers of those left undone.

        Args:
            root: the path of the folder; links in it are followed.
            requests: paths below it and ranges.
            reserved: paths with a part that begins so are left undone.
            flags: what they are opened with; with `O_NOFOLLOW` no part of a path may be a symbolic link.
            letters: a name with letters leads to the file of exactly this name; without, such paths are left undone.
        """

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
        """Replace files in an open folder by way of temporary ones; the numbers of those left undone.

        Args:
            folder: a descriptor.
            names: of the files.
            values: as many.
            prefix: what the name of a temporary file begins with; the last 200 characters of the file's follow.
            flags: what temporary files are created with.
            letters: as in `read_files`.
        """


NONE = "none"
"""The setting that stands for no kernels."""

DEFAULT = "native"

_made: dict[type[Kernels], Kernels] = {}
_last: tuple[object, Kernels | None] | None = None


def kernels() -> Kernels | None:
    """The kernels in use, if any. The environment and the configuration file are looked at once, the code's settings always.

    Raises `RegistryError` if the setting names some that are not installed or cannot be loaded; the default ones are
    then done without.
    """
    global _last  # noqa: PLW0603 - asked for with every batch
    stamp = config.stamp
    if _last is None or _last[0] is not stamp:
        _last = stamp, _wanted()
    return _last[1]


def _wanted() -> Kernels | None:
    name: str = config.get("kernels")
    if name == NONE or (name == DEFAULT and not installed("kernels", name)):
        return None
    try:
        found = load("kernels", name)
    except RegistryError:
        if name == DEFAULT:  # installed where there was no compiler
            return None
        raise
    if found not in _made:
        _made[found] = found()
    return _made[found]


def chunk_kernel(chain: CodecChain) -> ChunkKernel | None:
    """What moves the chunks of a chain in batches, if anything does."""
    found = kernels()
    if found is None:
        return None
    made: dict[Kernels, ChunkKernel | None] = chain.kernels
    if found not in made:
        made[found] = found.chunks(chain)
    return made[found]

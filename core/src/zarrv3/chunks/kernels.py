"""Kernels: a plugin that does whole batches at once where Python would go chunk by chunk. Everything works without one.

Which one is the setting `kernels`, by default `native` (package zarrv3-native: compiled, and without Python's lock). A
kernel does what is usual and hands back what is not: missing folders, odd names, indices that are arrays, bytes that
are not a chunk. The code in Python then does that as if there were no kernel, and says what is wrong. So there is one
behaviour, written once; a kernel can only be faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Protocol

import numpy as np

from zarrv3.chunks.rooms import Rooms
from zarrv3.format.codecs import CodecChain
from zarrv3.options.kernels import kernels
from zarrv3.store.contract import Buffer


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

    def encode(
        self,
        pieces: Sequence[Any],
        value: np.ndarray[Any, Any],
        rooms: Rooms | None = None,
        *,
        keep_empty: bool,
        olds: Sequence[Buffer | None] | None = None,
    ) -> Sequence[Buffer | Undone | None]:
        """The encoded chunks of pieces, exactly as the codecs would make them, or by a faster library: they decode to the same.

        With `olds`, the old values of as many chunks, `None` for a missing one, the pieces are put into these.
        Otherwise, what a piece does not cover of its chunk has the fill value.
        `None` for one that holds only the fill value, unless `keep_empty`; `UNDONE` for one that is left undone. With `rooms`
        the others may lie in memory from there, one behind the other, until that is left.
        """


class Kernels(Protocol):
    """What a plugin of the group `zarrv3.kernels` is: a class without arguments."""

    def chunks(self, chain: CodecChain) -> ChunkKernel | None:
        """What moves the chunks of a chain; `None` for codecs and data types it does not know."""


def chunk_kernel(chain: CodecChain) -> ChunkKernel | None:
    """What moves the chunks of a chain in batches, if anything does."""
    found: Kernels | None = kernels()
    if found is None:
        return None
    made: dict[Kernels, ChunkKernel | None] = chain.kernels
    if found not in made:
        made[found] = found.chunks(chain)
    return made[found]

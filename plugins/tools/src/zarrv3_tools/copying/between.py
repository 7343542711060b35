"""Where the array between two passes lies, and how a copy that goes on finds it again.

It lies in a new folder of the user's own below the temporary one. The folder's name stands in the mark that the destination has of
an array that is not complete, so that it goes with what is at the destination and with nothing else. A copy that fails or is killed
leaves the folder; the one that goes on takes it up, and removes it at the end.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from zarrv3.errors import StoreAccessError
from zarrv3.format.codecs import Codec
from zarrv3.format.codecs.blosc import MAX_SIZE, BloscCodec
from zarrv3.format.codecs.checksums import Crc32cCodec
from zarrv3.format.documents import dump_document
from zarrv3.hierarchy.array import Array
from zarrv3.hierarchy.creation import metadata_for
from zarrv3.opening.stores import open_store
from zarrv3.store.base import BaseStore

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(rb"\n([0-9a-f]{32})\Z")
_PLAN, _COMPLETE, _ARRAY = "plan", "complete", "array"
"""Keys beside the array's: the document of the array, and, when the first pass is done, how many chunks it has."""


def new_name() -> str:
    """A name that no other copy has."""
    return uuid4().hex


def mark(document: bytes, name: str | None) -> bytes:
    """The mark of an array that is not complete: the document that it will have, and the name of the folder where there is one."""
    return document if name is None else document + f"\n{name}".encode("ascii")


def unmarked(found: bytes) -> tuple[bytes, str | None]:
    """The document and the name in a mark; a document ends in a brace."""
    match = _NAME.search(found)
    return (found, None) if match is None else (found[: match.start()], match[1].decode("ascii"))


def _folder(name: str) -> Path:
    return Path(tempfile.gettempdir(), f"zarrv3-copy-{name}")


def is_there(name: str) -> bool:
    """Whether there is a folder of that name which nobody but this user can have made or filled."""
    try:
        found = _folder(name).lstat()
    except OSError:
        return False
    own = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o077)
    return stat.S_ISDIR(found.st_mode) and own


def told(name: str) -> str:
    """What is to be said where a copy ends too early."""
    return f"What lies between its two passes is in {str(_folder(name))!r}."


def remove(name: str) -> None:
    """Remove the folder of that name, if it is there."""
    if is_there(name):
        shutil.rmtree(_folder(name), ignore_errors=True)


def _compressors(size: int) -> list[Codec]:
    """The codecs of chunks of so many bytes, which are written and read once: little work that saves room and finds damage."""
    return [BloscCodec(cname="lz4", clevel=1), Crc32cCodec()] if size <= MAX_SIZE else [Crc32cCodec()]


class Between:
    """An array between two passes."""

    def __init__(self, store: BaseStore, likes: Array, chunks: tuple[int, ...]) -> None:
        metadata = metadata_for(
            store,
            shape=likes.shape,
            dtype=likes.metadata.data_type,
            fill_value=likes.fill_value,
            chunks=chunks,
            compressors=_compressors(math.prod(chunks) * likes.itemsize),
        )
        self.store = store
        self.array = Array(store, _ARRAY, metadata=metadata, write_empty_chunks=False)
        document = dump_document(metadata.document)
        if store.get(_PLAN) != document:  # another plan: what is there is of no use
            store.erase_prefix("")
            store[_PLAN] = document

    @property
    def witness(self) -> tuple[BaseStore, str]:
        """A key that is there for whoever sees this folder."""
        return self.store, _PLAN

    @property
    def is_complete(self) -> bool:
        """Whether the first pass is done, and nothing has been lost since."""
        return self.store.get(_COMPLETE) == self._count()

    def complete(self) -> None:
        """Note that the first pass is done."""
        self.store[_COMPLETE] = self._count()

    def _count(self) -> bytes:
        return str(sum(1 for _ in self.store.list_prefix(f"{_ARRAY}/"))).encode("ascii")


@contextmanager
def opened(name: str, likes: Array, chunks: tuple[int, ...]) -> Iterator[Between]:
    """The array of that name, with the elements of another one in these chunks, for this process alone; its folder stays.

    Raises `StoreAccessError` where another process or user has it.
    """
    folder = _folder(name)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not is_there(name):
        raise StoreAccessError(f"{str(folder)!r} is open to other users; remove it, or set another TMPDIR")
    with _alone(folder), open_store(str(folder / "store")) as store:
        yield Between(store, likes, chunks)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreAccessError(
                f"another process makes the same copy by way of {str(folder)!r}; wait until it ends"
            ) from None
        yield
    finally:
        os.close(handle)

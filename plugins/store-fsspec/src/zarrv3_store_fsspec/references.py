"""References of kerchunk and VirtualiZarr, whose values lie in other files or inline."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection, Iterator
from itertools import product
from typing import Any, TypeVar

from zarrv3.store.helpers import chunked
from zarrv3_store_fsspec.access import Entry, Errors, ObjectAccess
from zarrv3_store_fsspec.reading import Part

T = TypeVar("T")
Asked = TypeVar("Asked")

PAGE = 1000
"""How many sizes a listing asks for at a time."""


class ReferenceAccess(ObjectAccess):
    """Files that fsspec puts together from references, a document in JSON or a table in parquet."""

    def __init__(self, fs: Any, missing: Errors = ()) -> None:
        super().__init__(fs, missing)
        self.table = None if isinstance(fs.references, dict) else fs.references
        if self.table is None:
            _decode_inline(fs)

    def at_once(
        self, function: Callable[[Asked], Awaitable[T]], asked: Collection[Asked]
    ) -> list[T | BaseException]:
        """See `ObjectAccess`; parts of a table that lies on a server are read before, since fsspec waits for them."""
        if self.table is not None:
            for item in asked:
                self.table.get(item.path if isinstance(item, Part) else item)
        return super().at_once(function, asked)

    async def size(self, path: str) -> int | None:
        """See `ObjectAccess`; what a table says."""
        found = None if self.table is None else self.table.get(path)
        if isinstance(found, list) and len(found) > 1:
            return int(found[2])
        return await super().size(path) if found is None or isinstance(found, list) else len(found)

    def below(self, folder: str) -> Iterator[Entry]:
        """See `ObjectAccess`; of a table, whose groups below groups fsspec takes for arrays, the keys that its arrays can have."""
        if self.table is None:
            yield from super().below(folder)
            return
        start = folder.lstrip("/")  # that of the root is "/"
        for paths in chunked((key for key in self._keys() if key.startswith(start)), PAGE):
            for path, size in zip(paths, self.sizes(paths), strict=True):
                if size is not None:
                    yield Entry(path, size)

    def _keys(self) -> Iterator[str]:
        assert self.table is not None
        for key, document in self.table.zmetadata.items():
            yield key
            if key.endswith(".zarray"):
                counts = (-(-n // c) for n, c in zip(document["shape"], document["chunks"], strict=True))
                for coords in product(*map(range, counts)):
                    yield key.removesuffix(".zarray") + (".".join(map(str, coords)) or "0")


def _decode_inline(fs: Any) -> None:
    """Have inline values as the bytes they stand for: fsspec says the size of their text."""
    texts = {key: value for key, value in fs.references.items() if isinstance(value, str)}
    for key, text in texts.items():
        is_encoded = text.startswith("base64:")
        fs.references[key] = base64.b64decode(text[len("base64:") :]) if is_encoded else text.encode()
    if texts and fs.dircache:
        fs._dircache_from_items()

"""The store contract over a store of zarr-python: batches become concurrent calls on an event loop of our own."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import suppress
from itertools import accumulate, product
from typing import TypeVar

from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from zarrv3.errors import InvalidKeyError
from zarrv3.format.grids import grid_shape
from zarrv3.format.metadata import ArrayMetadata, parse_document
from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Changes, Request, whole
from zarrv3.store.helpers import chunked, rename_by_copy, resolve
from zarrv3.store.keys import parent
from zarrv3_bridge_zarr.loop import run
from zarrv3_bridge_zarr.ranges import ByteRequest, covering, part_of, to_request

T = TypeVar("T")
R = TypeVar("R")

PAGE = 1000
"""How many keys a listing, and what follows from one, handles at a time."""


class ZarrDriver:
    """Runs the coroutines of a foreign store; see `ForeignStore` for what is claimed.

    Swaps are not: no method of zarr-python's stores tells who was first, not even `set_if_not_exists`.

    Args:
        store: any store of zarr-python.
        persistent: whether other processes see each value once it is stored, and it outlives this one.
        concurrency: how many calls of a batch are under way at once.
    """

    def __init__(self, store: Store, *, persistent: bool, concurrency: int) -> None:
        self.store = store
        self.concurrency = concurrency
        self.prototype = default_buffer_prototype()
        run(store._ensure_open())
        writable = store.supports_writes and not store.read_only
        self.capabilities = Capabilities(
            write=writable,
            erase=writable and store.supports_deletes,
            list=store.supports_listing,
            native_ranges=True,
            shared=persistent,
            persistent=persistent,
            durable=persistent,
        )

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says; several ranges of one key are cut from one that covers them, so that they are of one version."""
        asked: dict[str, list[ByteRange | None]] = {}
        for key, wanted in requests:
            asked.setdefault(key, []).append(wanted)
        covers = [Request(key, covering(ranges)) for key, ranges in asked.items()]
        values = run(self._each(covers, self._get))
        found = {key: (cover, value) for (key, cover), value in zip(covers, values, strict=True)}
        return [part_of(*found[key], wanted) for key, wanted in requests]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return run(self._each(keys, self._size))

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """As the contract says, page by page."""
        listing = self._keys(folder)
        try:
            while page := run(_page(listing)):
                yield from page
        finally:
            run(listing.aclose())

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says; the foreign store gives names only, so two calls for each name tell what it is."""
        for names in chunked(dict.fromkeys(run(self._names(folder))), PAGE):
            keys = run(self._each(names, self._is_key))
            folders = run(self._each(names, self._is_folder))
            yield from (name for name, is_key in zip(names, keys, strict=True) if is_key)
            yield from (f"{name}/" for name, is_folder in zip(names, folders, strict=True) if is_folder)

    def write_many(self, changes: Changes, /) -> None:
        run(self._each(changes.items(), self._write))

    def erase_prefix(self, folder: str, /) -> None:
        run(self._erase_prefix(folder))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """By copying, documents last; once more with them first where chunks are taken only below one, as by Icechunk."""
        try:
            rename_by_copy(self, source, target)
        except KeyError:
            documents = [key for key in self.list_prefix(source) if key.endswith("zarr.json")]
            values = zip(documents, self.get_many(whole(documents)), strict=True)
            self.write_many({target + key[len(source) :]: value for key, value in values})
            rename_by_copy(self, source, target)

    def close(self) -> None:
        self.store.close()

    # ------------------------------------------------------------ coroutines

    async def _each(self, items: Iterable[T], action: Callable[[T], Awaitable[R]]) -> list[R]:
        """Do something with every item, `concurrency` at once; after a failure, those begun end before it is raised."""
        places = asyncio.Semaphore(self.concurrency)

        async def one(item: T) -> R:
            async with places:
                return await action(item)

        found = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
        for result in found:
            if isinstance(result, BaseException):
                raise result
        return found  # type: ignore[return-value]  # no exception among them

    async def _get(self, request: Request) -> bytes | None:
        key, wanted = request
        if wanted is not None and wanted.stop is not None and 0 <= wanted.stop <= wanted.start:
            return b"" if await self._is_key(key) else None
        asked, rest = to_request(wanted)
        try:
            value = await self._read(key, asked)
        except Exception as error:
            try:
                size = await self._size(key)
            except NotImplementedError:  # the store cannot say whether there is such a key
                raise error from None
            if size is None:
                return None
            if wanted is None:
                raise
            start, length = resolve(
                wanted, size
            )  # to many stores, a range that reaches beyond the value is an error
            return await self._read(key, RangeByteRequest(start, start + length)) if length else b""
        if isinstance(asked, SuffixByteRequest) and value is not None and len(value) < asked.suffix:
            # a short value, or a store of zarr-python before 3.4, which cuts a longer suffix at a wrong place
            value, rest = await self._read(key, None), wanted
        return value if value is None or rest is None else value[rest.start : rest.stop]

    async def _read(self, key: str, asked: ByteRequest | None) -> bytes | None:
        found = await self.store.get(key, self.prototype, asked)
        value = None if found is None else found.to_bytes()
        if value is not None and len(value) == 1:
            start = asked.start if isinstance(asked, RangeByteRequest) else getattr(asked, "offset", 0)
            if start and start >= await self.store.getsize(key):
                return b""  # Icechunk 1 gives the last byte where a range begins behind it
        return value

    async def _write(self, change: tuple[str, Buffer | None]) -> None:
        """Store or remove a key, and only that: `delete` of some stores removes a folder of that name with all in it."""
        key, value = change
        if value is not None:
            try:
                await self.store.set(key, self.prototype.buffer.from_bytes(bytes(value)))
            except Exception as error:
                if await self._is_below_key(key) or await self._is_folder(key):
                    raise InvalidKeyError(
                        f"{key!r} cannot be a key: a value lies above it, or keys below it"
                    ) from error
                raise
        elif await self._is_key(key):
            await self.store.delete(key)

    async def _size(self, key: str) -> int | None:
        try:
            return await self.store.getsize(key) if await self._is_key(key) else None
        except FileNotFoundError:  # erased in between
            return None

    async def _is_key(self, key: str) -> bool:
        """Whether there is a value: `exists` and `getsize` of some stores are true of a folder, `get` of none."""
        try:
            return await self.store.get(key, self.prototype, RangeByteRequest(0, 1)) is not None
        except Exception:  # noqa: BLE001 - to some stores, the first byte of an empty value is an error
            return await self._exists(key)

    async def _exists(self, key: str) -> bool:
        try:
            return await self.store.exists(key)
        except NotImplementedError:  # VirtualiZarr's stores only list folders, and not all of those
            parts = [*accumulate(key.split("/"), "{}/{}".format)]
            return all(
                [part in await self._names(parent(part)) for part in parts]
            ) and not await self._has_names(key)
        except (
            Exception
        ):  # to obstore's folders, a key below another key is an error; to Icechunk, one that is not Zarr's
            if not self.store.supports_listing:
                raise
            return any([found == key async for found in self._below(parent(key))])

    async def _is_below_key(self, key: str) -> bool:
        return any([await self._is_key(part) for part in accumulate(key.split("/")[:-1], "{}/{}".format)])

    async def _is_folder(self, name: str) -> bool:
        """Whether there is a key below; `is_empty` of some stores is true of a folder of folders."""
        listing = self._below(f"{name}/")
        try:
            return await anext(listing, None) is not None
        except NotImplementedError:
            return await self._has_names(name)
        finally:
            await listing.aclose()

    async def _below(self, folder: str) -> AsyncGenerator[str, None]:
        """Every key below a folder; Icechunk refuses to list one that is not a node, so the one above it is listed then."""
        begun = False
        try:
            async for key in self.store.list_prefix(folder):
                begun = True
                if key.startswith(folder):
                    yield key
        except Exception as error:
            if begun or not folder or isinstance(error, NotImplementedError):
                raise
        else:
            return
        async for key in self._below(parent(folder[:-1])):
            if key.startswith(folder):
                yield key

    async def _keys(self, folder: str) -> AsyncGenerator[str, None]:
        """Every key below a folder, also of a store that can only list what is directly in one, as VirtualiZarr's."""
        try:
            async for key in self._below(folder):
                yield key
        except NotImplementedError:
            async for key in self._walk(folder):
                yield key

    async def _walk(self, folder: str) -> AsyncGenerator[str, None]:
        try:
            names = await self._names(folder)
        except NotImplementedError:  # an array whose chunks it does not list
            for key in await self._in_grid(folder):
                yield key
            return
        for name in names:
            if await self._has_names(name):
                async for key in self._walk(f"{name}/"):
                    yield key
            else:
                yield name

    async def _in_grid(self, folder: str) -> list[str]:
        """The keys of an array: of those that its grid has, the ones that are there."""
        document = f"{folder}zarr.json"
        metadata = parse_document(await self._read(document, None) or b"", source=document)
        if not isinstance(metadata, ArrayMetadata):
            raise NotImplementedError(f"the keys below {folder!r} cannot be listed")
        coords = product(*map(range, grid_shape(metadata.chunk_grid.cuts, metadata.shape)))
        keys = [folder + metadata.chunk_key_encoding.encode(one) for one in coords]
        found = await self._each(keys, self._is_key)
        return [document, *(key for key, is_there in zip(keys, found, strict=True) if is_there)]

    async def _has_names(self, name: str) -> bool:
        """Whether something is directly in a folder."""
        try:
            return bool(await self._names(f"{name}/"))
        except NotImplementedError:  # it knows the folder, but does not list it
            return True

    async def _names(self, folder: str) -> list[str]:
        return [f"{folder}{name.strip('/')}" async for name in self.store.list_dir(folder.rstrip("/"))]

    async def _erase_prefix(self, folder: str) -> None:
        if not folder:
            await self.store.clear()
            return
        with suppress(Exception):  # a folder at once, where the store can; what is left then goes key by key
            await self.store.delete_dir(folder.rstrip("/"))
        left = [key async for key in self._keys(folder)]
        await self._each(left, self.store.delete)


async def _page(listing: AsyncIterator[str]) -> list[str]:
    page: list[str] = []
    while len(page) < PAGE:
        key = await anext(listing, None)
        if key is None:
            break
        page.append(key)
    return page

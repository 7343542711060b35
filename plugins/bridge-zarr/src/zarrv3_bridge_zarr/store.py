"""`ZarrStore`: the abstract store of zarr-python 3 over a store of ours."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal

from zarr.abc.store import Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from zarrv3.errors import ConfigurationError
from zarrv3.opening.stores import StoreLike, as_store
from zarrv3.store import contract
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Capabilities, Request
from zarrv3.store.helpers import cut
from zarrv3_bridge_fsspec.gathering import Gatherer, Gatherers
from zarrv3_bridge_zarr.ranges import ByteRequest, to_range

PAGE = 1000
"""How many keys a listing fetches in one hop to a thread."""


def as_zarr_store(
    store: StoreLike = None, /, *, read_only: bool = False, sync_io: bool = True, **options: Any
) -> ZarrStore:
    """A store for zarr-python, xarray and Dask: `zarr.open(store=as_zarr_store("redis://…"))`.

    Args:
        store: a store object of ours, or anything that `zarrv3.open_store` takes: a URL, a path, a configuration.
        read_only: refuse every write.
        sync_io: see `ZarrStore`.
        options: options of the store, where it is opened by a URL or a path.
    """
    return ZarrStore(as_store(store, options), read_only=read_only, sync_io=sync_io)


class ZarrStore(Store):
    """A store of ours as a `zarr.abc.store.Store`.

    Calls that are made concurrently in one event loop are gathered into batches; see `zarrv3_bridge_fsspec.gathering`. A
    write that has been awaited is in the store. Usable from any number of event loops and threads at once; pickled and
    compared by the store below. Closing it closes the store below, unless it came from `with_read_only`.

    Args:
        store: a store object of ours.
        read_only: refuse every write. A store that cannot be written is read-only in any case.
        sync_io: offer the synchronous methods to zarr-python's `FusedCodecPipeline`, which then asks for one chunk at a
            time in each of its threads: right for stores in memory or on a local disk. Without it that pipeline is served
            by gathered batches: right for stores far away.
    """

    def __init__(self, store: BaseStore, *, read_only: bool = False, sync_io: bool = True) -> None:
        if not isinstance(store, BaseStore):
            raise ConfigurationError(
                f"ZarrStore needs a store object, not {type(store).__name__}; as_zarr_store takes URLs and paths too"
            )
        super().__init__(read_only=read_only)
        self.store = store
        self._sync_io = sync_io
        self._owns = True
        self._reset()

    def _reset(self) -> None:
        self._found: Capabilities | None = None
        self._gatherers = Gatherers()

    @property
    def _gatherer(self) -> Gatherer:
        """The queue of the running loop."""
        return self._gatherers.of_this_loop(self.store)

    # ------------------------------------------------------------ what it can do

    @property
    def capabilities(self) -> Capabilities:
        """What the store below can do; asked for once, since that may connect."""
        if self._found is None:
            self._found = self.store.capabilities
        return self._found

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        return self._read_only or not self.capabilities.write

    @property
    def supports_writes(self) -> bool:
        """Whether the store below can be written."""
        return self.capabilities.write

    @property
    def supports_deletes(self) -> bool:
        """Whether keys can be erased."""
        return self.capabilities.erase

    @property
    def supports_listing(self) -> bool:
        """Whether keys can be listed."""
        return self.capabilities.list

    @property
    def supports_partial_writes(self) -> Literal[False]:
        """Never: a value is replaced whole, which keeps every write atomic."""
        return False

    @property
    def _supports_sync_io(self) -> bool:
        """How zarr-python's `FusedCodecPipeline` asks whether it may call the synchronous methods."""
        return self._sync_io

    # ------------------------------------------------------------ life

    async def _open(self) -> None:
        """Note that the store is open, and connect without blocking the event loop."""
        await super()._open()
        await self._connect()

    async def _ensure_open(self) -> None:
        """Open, unless it is."""
        if not self._is_open:
            self._is_open = True  # at once: others may ask while this one connects
            await self._connect()

    async def _connect(self) -> None:
        try:
            await asyncio.to_thread(lambda: self.capabilities)
        except BaseException:
            self._is_open = False
            raise

    def with_read_only(self, read_only: bool = False) -> ZarrStore:
        """A store over the same data with another `read_only`; closing it leaves the store below open."""
        copy = type(self)(self.store, read_only=read_only, sync_io=self._sync_io)
        copy._owns = False
        return copy

    def close(self) -> None:
        """Flush and close the store below."""
        super().close()
        if self._owns:
            self.store.close()

    def __eq__(self, other: object) -> bool:
        """Whether both present equal stores in the same mode."""
        return (
            isinstance(other, type(self))
            and self.store == other.store
            and (self._read_only, self._sync_io) == (other._read_only, other._sync_io)
        )

    __hash__ = None  # type: ignore[assignment]  # equal stores may hold different data a moment later

    def __str__(self) -> str:
        """The store below in one line, without secrets."""
        return self.store.describe()

    def __repr__(self) -> str:
        """The store below in one line, without secrets."""
        return f"ZarrStore({self.store.describe()})"

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the store below and the mode; queues stay here."""
        return {name: value for name, value in vars(self).items() if name not in {"_found", "_gatherers"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    # ------------------------------------------------------------ reading

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The value of a key or a part of it; `None` when the key is missing."""
        value = await self._gatherer.call("get", key, to_range(byte_range)).answer() if key else None
        return _buffer(value, prototype)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> builtins.list[Buffer | None]:
        """Parts of values, in order; `None` where a key is missing."""
        values = await self._gatherer.get_many([Request(key, to_range(wanted)) for key, wanted in key_ranges])
        return [_buffer(value, prototype) for value in values]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        """Several values, in order."""
        wanted = list(requests)
        values = await self._gatherer.get_many([Request(key, to_range(part)) for key, _, part in wanted])
        for (key, prototype, _), value in zip(wanted, values, strict=True):
            yield key, _buffer(value, prototype)

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **tuning: int,  # noqa: ARG002 - how zarr-python would merge requests: the store below knows better
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Parts of one value with their positions among `byte_ranges`, in one batch.

        Raises an exception group, as zarr-python's own stores do: of a `FileNotFoundError` when the key is missing.
        """
        if byte_ranges:
            with _grouped(key):
                values = await self._gatherer.get_many(self._requests(key, byte_ranges))
                found = _parts(key, byte_ranges, values, prototype)
            yield found

    def _requests(self, key: str, byte_ranges: Sequence[ByteRequest | None]) -> builtins.list[Request]:
        """What to ask for some parts of one value; once the whole, where a part costs as much."""
        if len(byte_ranges) > 1 and not self.capabilities.native_ranges:
            return [Request(key)]
        return [Request(key, to_range(wanted)) for wanted in byte_ranges]

    async def exists(self, key: str) -> bool:
        """Whether a key exists; its value is not read."""
        return await asyncio.to_thread(self.store.__contains__, key)

    async def getsize(self, key: str) -> int:
        """The bytes that a value occupies; `FileNotFoundError` when the key is missing."""
        [size] = await asyncio.to_thread(self.store.stat_many, [key])
        if size is None:
            raise FileNotFoundError(f"key {key!r} is not in {self.store.describe()}")
        return size

    async def getsize_prefix(self, prefix: str) -> int:
        """The bytes that all values below a folder occupy, without reading them."""
        return await asyncio.to_thread(
            lambda: sum(size for _, size in self.store.list_sizes(_folder(prefix)))
        )

    # ------------------------------------------------------------ writing

    async def set(self, key: str, value: Buffer) -> None:
        """Store a value, replacing what was there; when this has been awaited, every reader sees it."""
        self._check_writable()
        await self._gatherer.call("write", key, _content(value)).answer()

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store a value unless the key exists: atomically where the store below can, else by looking first."""
        self._check_writable()
        await self._gatherer.call("create", key, _content(value)).answer()

    async def set_partial_values(self, key_start_values: Iterable[tuple[str, int, Any]]) -> None:
        """Refused: zarr-python 3.0 asks for the method but does not use it."""
        raise NotImplementedError("a value is replaced whole; parts cannot be written")

    async def delete(self, key: str) -> None:
        """Remove a key; a missing one is fine, and so is the empty one, which no store has."""
        self._check_writable()
        if key:
            await self._gatherer.call("write", key).answer()

    async def delete_dir(self, prefix: str) -> None:
        """Remove every key below a folder, in one operation of the store below."""
        self._check_writable()
        gatherer = self._gatherer
        await gatherer.writes_ended()
        await asyncio.to_thread(self.store.erase_prefix, _folder(prefix))

    async def clear(self) -> None:
        """Remove everything."""
        await self.delete_dir("")

    # ------------------------------------------------------------ listing

    async def is_empty(self, prefix: str) -> bool:
        """Whether there is no key below a folder."""
        folder = _folder(prefix)
        return await asyncio.to_thread(lambda: next(self.store.list_prefix(folder), None) is None)

    def list(self) -> AsyncIterator[str]:
        """All keys, in any order."""
        return self.list_prefix("")

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every key that starts with `prefix`, in any order; none starts with `/`."""
        if prefix.startswith("/"):
            return
        keys = await asyncio.to_thread(self.store.list_prefix, prefix)
        while page := await asyncio.to_thread(_page, keys):
            for key in page:
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The names of keys and sub-folders directly below a folder, each once."""
        folder = _folder(prefix)
        names = await asyncio.to_thread(lambda: [*self.store.list_dir(folder)])
        for name in dict.fromkeys(name[len(folder) :].rstrip("/") for name in names):
            yield name

    # ------------------------------------------------------------ synchronous

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The value of a key or a part of it, read in the calling thread; `None` when the key is missing."""
        return _buffer(self.store.get_many([Request(key, to_range(byte_range))])[0], prototype)

    def get_ranges_sync(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **tuning: int,  # noqa: ARG002 - how zarr-python would merge requests: the store below knows better
    ) -> Sequence[tuple[int, Buffer | None]]:
        """Parts of one value with their positions among `byte_ranges`, read in the calling thread.

        Raises an exception group of a `FileNotFoundError` when the key is missing.
        """
        if not byte_ranges:
            return []
        with _grouped(key):
            values = self.store.get_many(self._requests(key, byte_ranges))
            return _parts(key, byte_ranges, values, prototype)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Store a value, replacing what was there, in the calling thread."""
        self._check_writable()
        self.store.write_many({key: _content(value)})

    def delete_sync(self, key: str) -> None:
        """Remove a key, in the calling thread; a missing one is fine."""
        self._check_writable()
        if key:
            self.store.write_many({key: None})


def _parts(
    key: str,
    byte_ranges: Sequence[ByteRequest | None],
    values: Sequence[contract.Buffer | None],
    prototype: BufferPrototype,
) -> Sequence[tuple[int, Buffer | None]]:
    """The parts with their positions, from an answer a part or from the whole value."""
    if None in values:
        raise FileNotFoundError(key)
    if len(values) < len(byte_ranges):
        values = [cut(values[0], to_range(wanted)) for wanted in byte_ranges]
    return [(position, _buffer(value, prototype)) for position, value in enumerate(values)]


@contextmanager
def _grouped(key: str) -> Iterator[None]:
    """Raise errors as zarr-python expects them of a read of several parts: in an exception group."""
    try:
        yield
    except Exception as error:
        raise ExceptionGroup(f"cannot read parts of {key!r}", [error]) from error


def _buffer(value: contract.Buffer | None, prototype: BufferPrototype | None) -> Buffer | None:
    return None if value is None else (prototype or default_buffer_prototype()).buffer.from_bytes(value)


def _content(value: Buffer) -> bytes:
    """A copy: when a write is cancelled, its caller may change the buffer while the store still reads it."""
    if not isinstance(value, Buffer):
        raise TypeError(f"a value is a Buffer of zarr-python, not {type(value).__name__}")
    return value.to_bytes()


def _folder(prefix: str) -> str:
    path = prefix.strip("/")
    return f"{path}/" if path else ""


def _page(keys: Iterator[str]) -> builtins.list[str]:
    return list(islice(keys, PAGE))

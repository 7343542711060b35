"""`StoreFileSystem`: fsspec's methods over a store."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Iterable
from glob import has_magic
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import fsspec.asyn  # type: ignore[import-untyped]
from fsspec.asyn import AsyncFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK  # type: ignore[import-untyped]

from zarrv3.errors import ConfigurationError
from zarrv3.forks import at_forks
from zarrv3.opening.stores import StoreLike, open_store
from zarrv3.options.redaction import redact_options, redact_url
from zarrv3.store.contract import ByteRange, whole
from zarrv3.store.undisturbed import function_undisturbed, undisturbed
from zarrv3_bridge_fsspec.files import ReadFile, WriteFile, taken
from zarrv3_bridge_fsspec.gathering import Gatherer, Gatherers
from zarrv3_bridge_fsspec.places import ANY, Inside, divide, strip, token

T = TypeVar("T")
Details = dict[str, Any]

at_forks(in_child=fsspec.asyn.reset_lock)  # fsspec forgets its loop in a child, but not the lock around it


class StoreFileSystem(AsyncFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A store as a file system: keys are files, what lies above them are folders, and there are no empty folders.

    Concurrent calls for single files are gathered into batches (`zarrv3_bridge_fsspec.gathering`): fsspec's `cat`,
    `cat_ranges`, `pipe`, `copy`, `get`, `put` and `rm` make one call per file, so all of them are batches. Folders are
    listed, erased and renamed in one call of the store.

    fsspec keeps no instance of this class, so that a store is closed when nobody uses it.

    Args:
        store: anything that `zarrv3.open_store` takes; by default the store that the options describe.
        asynchronous: whether the methods that begin with `_` are awaited in the caller's event loop.
        loop: the event loop that runs them otherwise; by default fsspec's own.
        batch_size: how many calls fsspec makes at once.
        options: the store's options.
    """

    protocol: ClassVar[tuple[str, ...]] = ("zarrv3",)
    """The schemes of the class; the first one names the store that options describe."""
    cachable = False
    mirror_sync_methods = False  # done in the constructor
    root_marker = ""
    _pid: int

    def __init__(
        self,
        store: StoreLike = None,
        *,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        listings = {name: options.pop(name) for name in LISTINGS & {*options}}
        super().__init__(asynchronous=asynchronous, loop=loop, batch_size=batch_size, **listings)
        fsspec.asyn.mirror_sync_methods(self)
        for name, method in [*vars(self).items()]:
            if inspect.isfunction(
                method
            ):  # it waits for a coroutine: an interrupt could block fsspec's loop for ever
                setattr(self, name, function_undisturbed(method))
        if store is None:
            store = {"store": self._kind(), **options}
            options = {}
        if isinstance(store, str):
            store = store.removeprefix(ANY)
        self.store = open_store(store, **options)
        self._url = store if isinstance(store, str) else None
        self._gatherers = Gatherers()
        # where the class says which path, this says also that it is of this store
        self._strip_protocol = self._own  # type: ignore[method-assign]

    @classmethod
    def _kind(cls) -> str:
        if cls.protocol == StoreFileSystem.protocol:
            raise ConfigurationError(
                "say which store: fsspec.filesystem('zarrv3', store='sqlite:///data.db')"
            )
        return cls.protocol[0]

    # ------------------------------------------------------------ URLs and paths

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> Details:
        """The store of a URL."""
        return {"store": divide(path)[0]} if "://" in path else {}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The path inside of a URL or path, or those of a list."""
        return strip(path)

    def _own(self, path: Any) -> Any:
        """The path inside, as `_strip_protocol`; a URL of another store is refused."""
        found = strip(path)
        for one in found if isinstance(found, list) else [found]:
            if isinstance(one, Inside) and one.place != token(self._url):
                raise ConfigurationError(f"{str(one)!r} was given as a URL of another store than {self!r}")
        return found

    def unstrip_protocol(self, name: str) -> str:
        """The URL of a path inside, without secrets."""
        if self._url is None:
            return str(super().unstrip_protocol(name))
        before = ANY if self.protocol == StoreFileSystem.protocol else ""
        return f"{before}{redact_url(self._url)}|zarr3:{quote(self._own(name)[1:])}"

    def _key(self, path: str) -> str:
        """The key that a path inside stands for; that of the store itself is `""`."""
        return str(self._own(path)[1:])

    def _file_key(self, path: str) -> str:
        key = self._key(path)
        if not key:
            raise IsADirectoryError(f"{self!r} is a folder; a file in it was asked for")
        return key

    # ------------------------------------------------------------ life

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that runs the coroutines; in a forked child another one."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loop = None if self.asynchronous else fsspec.asyn.get_loop()
        loop: asyncio.AbstractEventLoop | None = self._loop
        return loop

    @property
    def _gatherer(self) -> Gatherer:
        """The queue of the running loop."""
        return self._gatherers.of_this_loop(self.store)

    @property
    def _fs_token_(self) -> str:
        """By what fsspec and Dask tell file systems apart: no secret can be found from it, as from fsspec's own."""
        options = {**self.storage_options, "asynchronous": self.asynchronous}
        return token(
            (type(self), [*map(_plain, self.storage_args)], {n: _plain(v) for n, v in options.items()})
        )

    @_fs_token_.setter
    def _fs_token_(self, _: str | None) -> None:
        """Nothing: the token that fsspec makes is not kept."""

    def to_dict(self, *, include_password: bool = True) -> Details:
        """What `from_dict` makes an equal file system from; with `include_password=False`, without any secret."""
        found: Details = super().to_dict()
        return found if include_password else redact_options(found)

    def close(self) -> None:
        """Flush and close the store."""
        self.store.close()

    def __repr__(self) -> str:
        """The store in one line, without secrets."""
        return f"<{type(self).__name__} of {self.store.describe()}>"

    # ------------------------------------------------------------ single files, in batches

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The value of a key, or `value[start:end]`."""
        part = None if start is None and end is None else ByteRange(start or 0, end)
        value = await self._gatherer.call("get", self._file_key(path), part).answer()
        if value is None:
            raise missing(path)
        return bytes(value)

    async def _pipe_file(self, path: str, value: Any, mode: str = "overwrite", **_: Any) -> None:
        """Store a value; with `mode="create"`, only if the key does not exist."""
        call = self._gatherer.call(
            "create" if mode == "create" else "write", self._file_key(path), bytes(value)
        )
        await call.answer()
        if call.refused:
            raise taken(path)

    async def _rm_file(self, path: str, **_: Any) -> None:
        """Erase a key, which must exist."""
        if await self._stat(path) is None:
            raise missing(path)
        await self._gatherer.call("write", self._file_key(path)).answer()

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a file; a folder needs no copy, since it is where its files are."""
        if self._key(path1) == self._key(path2):
            raise ValueError(f"{path1!r} cannot be copied to itself")
        try:
            value = await self._cat_file(path1)
        except (FileNotFoundError, IsADirectoryError):
            if await self._isdir(path1):
                return
            raise
        await self._pipe_file(path2, value)

    async def _get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **_: Any) -> None:
        """Copy a file to this machine; for a folder, make the folder."""
        try:
            value = await self._cat_file(rpath)
        except (FileNotFoundError, IsADirectoryError):
            if not await self._isdir(rpath):
                raise
            await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)
            return
        callback.set_size(len(value))
        if hasattr(lpath, "write"):
            lpath.write(value)
        else:
            await asyncio.to_thread(Path(lpath).write_bytes, value)
        callback.relative_update(len(value))

    async def _put_file(
        self,
        lpath: str,
        rpath: str,
        callback: Any = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **_: Any,
    ) -> None:
        """Copy a file from this machine; a folder needs no copy, since it is where its files are."""
        if not await asyncio.to_thread(os.path.isdir, lpath):
            value = await asyncio.to_thread(Path(lpath).read_bytes)
            callback.set_size(len(value))
            await self._pipe_file(rpath, value, mode)
            callback.relative_update(len(value))

    async def _stat(self, path: str) -> int | None:
        """The bytes of a file; `None` where there is none."""
        key = self._key(path)
        if not key:
            return None
        call = self._gatherer.call("stat", key)
        await call.answer()
        return call.size

    async def _info(self, path: str, **_: Any) -> Details:
        """Name, size and type."""
        path = self._own(path)
        size = await self._stat(path)
        if size is not None:
            return file_details(path, size)
        folder = f"{path[1:]}/"
        if path and await self._run(lambda: next(self.store.list_prefix(folder), None)) is None:
            raise missing(path)
        return folder_details(path)

    # ------------------------------------------------------------ folders, in one call

    async def _run(self, call: Callable[[], T]) -> T:
        """What a call of the store returns, made in a thread after all writes before it."""
        await self._gatherer.writes_ended()
        return await asyncio.to_thread(call)

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What lies directly in a folder; of a file, the file."""
        path = self._own(path)
        names = sorted(await self._run(lambda: [*self.store.list_dir(_folder(path))]))
        if not names and path:
            found = [await self._info(path)]
        elif detail:
            keys = [name for name in names if not name.endswith("/")]
            sizes = dict(zip(keys, await self._run(lambda: self.store.stat_many(keys)), strict=True))
            found = [_details(name, sizes.get(name)) for name in names if sizes.get(name, 0) is not None]
        else:
            return [*dict.fromkeys(f"/{name.rstrip('/')}" for name in names)]
        return found if detail else [one["name"] for one in found]

    async def _find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """All files below a folder, by one listing with sizes; with `maxdepth`, level by level."""
        if maxdepth is not None:
            return await super()._find(path, maxdepth, withdirs, detail=detail)
        path = self._own(path)
        sizes = await self._run(lambda: dict(self.store.list_sizes(_folder(path))))
        found = {f"/{key}": file_details(f"/{key}", size) for key, size in sizes.items()}
        if withdirs:
            found |= {name: folder_details(name) for name in _folders(found, path)}
        size = await self._stat(path)
        if size is not None:
            found[path] = file_details(path, size)
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    async def _cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """The values of files; with `recursive`, of all files in folders."""
        if not recursive:
            return await super()._cat(path, on_error=on_error, **kwargs)
        files = [file for name in await self._matching(path) for file in await self._find(name)]
        values = await self._cat_ranges(
            files, None, None, on_error="raise" if on_error == "raise" else "return"
        )
        pairs = zip(files, values, strict=True)
        return {name: value for name, value in pairs if on_error != "omit" or isinstance(value, bytes)}

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Erase files, and with `recursive` folders; what has `*`, `?` or `[` and is not a name itself is a pattern."""
        undisturbed(
            lambda: fsspec.asyn.sync(
                self.loop, self._rm_matching, path, recursive=recursive, maxdepth=maxdepth
            )
        )

    async def _rm_matching(self, path: Any, **kwargs: Any) -> None:
        await self._rm(await self._matching(path), **kwargs)

    async def _matching(self, path: Any) -> list[str]:
        """Some paths, patterns replaced by what they stand for."""
        found: list[str] = []
        for one in path if isinstance(path, list) else [path]:
            name = self._own(one)
            literal = not has_magic(name) or await self._exists(name)
            names = [name] if literal else await self._glob(name)
            if not names:
                raise missing(name)
            found += names
        return found

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **_: Any,
    ) -> None:
        """Erase files, and with `recursive` folders, each in one call.

        Names are taken as they are: zarr-python calls this for nodes, which may be called `a*`.
        """
        names = [self._own(one) for one in (path if isinstance(path, list) else [path])]
        if recursive and maxdepth is None:
            for name in names:
                await self._rm_tree(name)
            return
        if recursive:
            names = [file for name in names for file in await self._find(name, maxdepth)]
        await fsspec.asyn._run_coros_in_chunks(
            [self._rm_file(name) for name in names], batch_size=batch_size or self.batch_size, nofiles=True
        )

    async def _rm_tree(self, path: str) -> None:
        """Erase a file or folder."""
        if (await self._info(path))["type"] == "file":
            await self._rm_file(path)
        await self._run(lambda: self.store.erase_prefix(_folder(path)))

    def mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """Move files, or with `recursive` a folder: by renaming where nothing is at the target."""
        options = {"recursive": recursive, "maxdepth": maxdepth, **kwargs}
        undisturbed(lambda: fsspec.asyn.sync(self.loop, self._mv, path1, path2, **options))

    async def _mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """Move files, as `mv` does."""
        sources = await self._matching(path1)
        target = self._own(path2)
        if sources == [target]:
            return
        if recursive and isinstance(target, str):
            for source in sources:
                if f"{target}/".startswith(f"{source}/"):
                    raise ValueError(f"{source!r} cannot be moved into itself, to {target!r}")
            if maxdepth is None and len(sources) == 1 and await self._is_to_rename(sources[0], target):
                await self._run(lambda: self.store.rename_prefix(_folder(sources[0]), _folder(target)))
                return
        await self._copy(path1, path2, recursive=recursive, maxdepth=maxdepth, on_error="raise", **kwargs)
        await self._rm_matching(path1, recursive=recursive, maxdepth=maxdepth)

    async def _is_to_rename(self, source: str, target: str) -> bool:
        """Whether a folder becomes another one, and nothing else."""
        return (
            await self._stat(source) is None
            and await self._isdir(source)
            and bool(target)
            and not await self._exists(target)
        )

    # ------------------------------------------------------------ open files

    def _open(self, path: str, mode: str = "rb", autocommit: bool = True, **_: Any) -> ReadFile | WriteFile:
        """A file: read whole when it is opened, or written whole when it is closed."""
        key = self._file_key(path)
        if mode == "rb":
            (value,) = self.store.get_many(whole([key]))
            if value is None:
                raise missing(path)
            return ReadFile(self, path, value)
        if mode not in {"wb", "xb", "ab"}:
            raise ValueError(
                f"a file is opened as 'rb', 'wb', 'xb' or 'ab', not {mode!r}: values are replaced whole"
            )
        if mode == "xb" and key in self.store:
            raise taken(path)
        return WriteFile(self, path, mode, autocommit=autocommit)

    def ukey(self, path: str) -> str:
        """A digest of a file's bytes: other bytes, another one."""
        from hashlib import sha256

        with self._open(self._own(path)) as file:
            return sha256(file.getbuffer()).hexdigest()

    def checksum(self, path: str) -> int:
        """`ukey` as a number."""
        return int(self.ukey(path), 16)


class SQLiteFileSystem(StoreFileSystem):
    """`sqlite:///file.db`."""

    protocol = ("sqlite",)


class SQLFileSystem(StoreFileSystem):
    """`postgresql://…`, `mysql://…`, `mariadb://…`."""

    protocol = ("postgresql", "mysql", "mariadb")


class LMDBFileSystem(StoreFileSystem):
    """`lmdb:///folder`."""

    protocol = ("lmdb",)


class DBMFileSystem(StoreFileSystem):
    """`dbm:///file`."""

    protocol = ("dbm",)


class RedisFileSystem(StoreFileSystem):
    """`redis://host:6379/0`, `rediss://…`, `valkey://…`."""

    protocol = ("redis", "rediss", "valkey")


class MongoDBFileSystem(StoreFileSystem):
    """`mongodb://host:27017/database`, `mongodb+srv://…`."""

    protocol = ("mongodb", "mongodb+srv")


LISTINGS = {"use_listings_cache", "listings_expiry_time", "max_paths"}
"""What fsspec's cache of listings takes, which is not used: listings are always those of the store."""


def missing(path: str) -> FileNotFoundError:
    """The error of a file that does not exist."""
    return FileNotFoundError(f"there is no file {str(path)!r}")


def file_details(path: str, size: int) -> Details:
    """What fsspec is told of a file."""
    return {"name": path, "size": size, "type": "file"}


def folder_details(path: str) -> Details:
    """What fsspec is told of a folder."""
    return {"name": path, "size": 0, "type": "directory"}


def _details(name: str, size: int | None) -> Details:
    return folder_details(f"/{name[:-1]}") if size is None else file_details(f"/{name}", size)


def _folder(path: str) -> str:
    """The folder of the store that a path inside stands for."""
    return f"{path[1:]}/" if path else ""


def _folders(names: Iterable[str], path: str) -> set[str]:
    """The folders that some files lie in: those below a path, and the path unless it is the store itself."""
    found: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder not in found and len(folder) >= len(path) and folder:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _plain(value: object) -> object:
    """A value by whose text it is known; a live object by which it is."""
    return value if isinstance(value, str | int | float | bool | dict | list | tuple | None) else id(value)

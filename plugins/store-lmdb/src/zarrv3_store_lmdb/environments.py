"""LMDB environments: one per file and process, however many stores use it.

LMDB forbids opening a file twice in one process, and using an environment after a fork. So environments are
shared by all stores over one file, by its identity, and replaced by new ones in a forked child. The map of an
environment grows as needed; LMDB demands that no transaction of the process is open at that moment:
transactions read-lock the map, growing write-locks it.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias, TypeVar

import lmdb

from zarrv3.errors import ConfigurationError, StoreAccessError, StoreClosedError
from zarrv3.forks import at_forks, renew_in_children
from zarrv3.store.files import check_helper_file, sync_names
from zarrv3.store.locks import ReadWriteLock
from zarrv3.store.sharing import Sharing
from zarrv3_store_lmdb.pages import damage

T = TypeVar("T")
Transaction: TypeAlias = "lmdb.Transaction[memoryview]"
"""A transaction whose keys and values are views into the map."""

FIRST_SIZE = 16 << 20
"""The initial size of a map, unless `map_size` says otherwise: address space, not disk."""

_ROUND = 1 << 20
_MAY_MISS = 1 << 18  # LMDB may leave its last pages unwritten when they are free
_READ_ALL = """
import json, lmdb, sys
with lmdb.open(**json.loads(sys.argv[1]), readonly=True) as env, env.begin(buffers=True) as transaction:
    for _ in transaction.cursor():
        pass
"""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # a write cut short is an EIO to LMDB
_PATIENCE = 10.0  # seconds that a fork waits for transactions to end

Identity = tuple[int, int]


class Place(NamedTuple):
    """Where an environment lies."""

    path: str
    """What `lmdb.open` is given: a folder or a file."""
    subdir: bool
    """Whether it is a folder."""

    @property
    def data(self) -> str:
        """The file that holds everything."""
        return os.path.join(self.path, "data.mdb") if self.subdir else self.path  # noqa: PTH118

    @property
    def lock(self) -> str:
        """The lock file, shared by processes."""
        return os.path.join(self.path, "lock.mdb") if self.subdir else f"{self.path}-lock"  # noqa: PTH118

    def identity(self) -> Identity | None:
        """The identity of the file; `None` when there is none, or only an empty one."""
        try:
            status = os.stat(self.data)  # noqa: PTH116 - a text path is all there is, and this is a hot path
        except FileNotFoundError:
            return None
        return (status.st_dev, status.st_ino) if status.st_size else None

    def can_lock(self) -> bool:
        """Whether the lock file can be used, or made."""
        if os.path.exists(self.lock):  # noqa: PTH110
            return os.access(self.lock, os.R_OK | os.W_OK)
        return os.access(os.path.dirname(self.lock) or ".", os.W_OK)  # noqa: PTH120

    def can_write(self) -> bool:
        """Whether the data file may be changed; if there is none, the first write will show."""
        return self.identity() is None or (os.access(self.data, os.W_OK) and self.can_lock())


class Environment:
    """An open environment, shared by the stores of this process; thread-safe.

    Args:
        place: where it lies.
        options: for `lmdb.open`, the same for all users.
        map_size: the initial size of the map.
    """

    def __init__(self, place: Place, options: Mapping[str, Any], map_size: int) -> None:
        self.place = place
        self.options = dict(options)
        self.map_lock = ReadWriteLock()
        self.is_at_rest = False
        self.locking = bool(options.get("lock", True)) and (place.can_write() or place.can_lock())
        self._unsynced = False
        self._size = 0
        self._lmdb: lmdb.Environment | None = self._open(map_size)
        self.identity = place.identity()
        renew_in_children(self)

    # ------------------------------------------------------------ transactions

    def read(self, function: Callable[[Transaction], T]) -> T:
        """What the function returns in a read transaction: nothing that points into the map."""
        doubts = 0
        while True:
            env, size = None, 0
            try:
                with self.map_lock.reading():
                    env = self._opened()
                    size = self._size
                    with env.begin(buffers=True) as transaction:
                        return function(transaction)
            except lmdb.MapResizedError:  # another process has grown the map
                self._resize(env, size, 0)
            except lmdb.CorruptedError:
                # the new format (lib_version=1) finds pages of the wrong type now and then while other processes write
                doubts += 1
                if doubts == _DOUBTS:
                    raise
            except lmdb.ReadersFullError:
                if not env or not env.reader_check():  # none of them was dead
                    raise

    def write(self, function: Callable[[Transaction], T], room: int = 0) -> T:
        """What the function returns in a write transaction; it is called again when the map had to grow.

        `room` is how many bytes are going to be written, as far as known.
        """
        while True:
            env, size = None, 0
            try:
                with self.map_lock.reading() if self.locking else self.map_lock.writing():
                    env = self._opened()
                    size = self._size
                    with env.begin(write=True, buffers=True) as transaction:
                        result = function(transaction)
                    self._unsynced = True
                    return result
            except lmdb.MapFullError:
                self._resize(env, size, _grown(size, room))
            except lmdb.MapResizedError:
                self._resize(env, size, 0)
            except lmdb.Error as error:
                if any(os.strerror(number) in str(error) for number in _NO_SPACE):
                    raise OSError(f"{error}: the disk is full or broken; nothing was changed") from error
                raise

    def _resize(self, env: lmdb.Environment | None, seen: int, size: int) -> None:
        """Replace the map, unless that was done since it had the size `seen`; 0: as other processes have it."""
        with self.map_lock.writing():
            if env is None or env is not self._lmdb or self._size != seen:
                return
            env.reader_check()  # readers that died keep pages from being used again
            try:
                env.set_mapsize(size)
                self._size = env.info()["map_size"]
            except lmdb.Error as error:  # py-lmdb has closed it
                self.drop()
                self._lmdb = self._open(seen)
                raise StoreAccessError(
                    f"the memory map of {self.place.data!r} cannot grow from {seen} to {size} bytes ({error}); this "
                    "process may have too little address space (ulimit -v)"
                ) from error

    # ------------------------------------------------------------ life

    def is_at(self, place: Place) -> bool:
        """Whether the file at a place is still this one: neither erased nor replaced."""
        return self.identity is not None and place.identity() == self.identity

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise `ConfigurationError` unless the options are those it was opened with."""
        for name in sorted({*options, *self.options}):
            if options.get(name) != self.options.get(name):
                raise ConfigurationError(
                    f"{self.place.data!r} is open in this process with {name}={self.options.get(name)!r}; close that store, "
                    f"or open this one without {name}={options.get(name)!r}"
                )

    def flush(self) -> None:
        """Bring everything that was written to the disk."""
        with self.map_lock.reading():
            env = self._opened()
            if self._unsynced:
                self._unsynced = False
                try:
                    env.sync(True)
                    sync_names(self.place.data)
                except BaseException:
                    self._unsynced = True
                    raise

    def close(self) -> None:
        """Wait for transactions to end and release the file."""
        with self.map_lock.writing():
            self.drop()

    def drop(self) -> None:
        """Release the file, while no transaction is open."""
        env, self._lmdb = self._lmdb, None
        if env is not None:
            env.close()

    def renew(self) -> None:
        """In a forked child: free its copy; file locks, reader slots and mutexes stay the parent's.

        py-lmdb refuses to open a file of which it has an environment, even an inherited one, so that is
        freed.
        """
        if not self.is_at_rest:
            _abandoned.append(self._lmdb)
            self._lmdb = None
        self.drop()

    def _opened(self) -> lmdb.Environment:
        if self._lmdb is None:
            raise StoreClosedError(
                f"{self.place.data!r} was closed, or replaced by another file, in the middle of a call"
            )
        return self._lmdb

    def _open(self, map_size: int) -> lmdb.Environment:
        readonly = not self.place.can_write()
        options = {**self.options, "lock": self.locking, "readonly": readonly, "map_size": map_size}
        if self.locking:
            check_helper_file(self.place.lock)
        if not readonly:
            self._prepare()
        if fault := damage(self.place.data):
            raise StoreAccessError(f"{self.place.data!r} is damaged: {fault}; restore it from a copy")
        env = _opened(self.place, options)
        info = env.info()
        self._size = info["map_size"]
        end = (info["last_pgno"] + 1) * env.stat()["psize"]
        missing = end - os.path.getsize(self.place.data)  # noqa: PTH202
        if missing > _MAY_MISS or (missing > 0 and self._is_damaged()):
            env.close()
            raise StoreAccessError(
                f"{self.place.data!r} is truncated, {missing} bytes are missing at its end; copy it again"
            )
        if missing > 0 and not readonly:
            with env.begin(write=True):
                self._lengthen(end)
        if self.options.get("sync") and not readonly:
            sync_names(self.place.data)
        if self.locking:
            env.reader_check()  # readers that died keep pages from being used again
        return env

    def _is_damaged(self) -> bool:
        """Whether a process that reads everything dies from the signal for reading a map beyond the end of its file."""
        options: dict[str, Any] = {name: v for name, v in self.options.items() if name == "lib_version"}
        options |= {"path": self.place.path, "subdir": self.place.subdir, "lock": self.locking}
        command = [sys.executable, "-c", _READ_ALL, json.dumps(options)]
        return subprocess.run(command, check=False, capture_output=True).returncode < 0  # noqa: S603 - our own code

    def _lengthen(self, end: int) -> None:
        """Extend the file to the length it claims, so that the missing pages need not be checked again."""
        if os.path.getsize(self.place.data) < end:  # noqa: PTH202
            os.truncate(self.place.data, end)

    def _prepare(self) -> None:
        """Make the folder and the first page of the lock file: on a full disk LMDB would crash when it writes to its map."""
        mode = self.options["mode"]
        if self.options.get("create", True):
            os.makedirs(os.path.dirname(self.place.data) or ".", mode, exist_ok=True)  # noqa: PTH103, PTH120
        if self.locking and hasattr(os, "posix_fallocate"):
            with suppress(FileExistsError):
                lock = os.open(
                    self.place.lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o666
                )
                try:
                    os.posix_fallocate(lock, 0, min(4096, 64 * self.options.get("max_readers", 126)))
                except OSError:
                    os.unlink(self.place.lock)  # noqa: PTH108
                    raise
                finally:
                    os.close(lock)


_DOUBTS = 3
"""How often a transaction has to find damage before it is believed."""


def _opened(place: Place, options: Mapping[str, Any]) -> lmdb.Environment:
    for _ in range(100):
        with suppress(lmdb.MapResizedError):  # another process has just grown the map
            return lmdb.open(place.path, subdir=place.subdir, **options)
    return lmdb.open(place.path, subdir=place.subdir, **options)


def _grown(size: int, room: int) -> int:
    """The next size of a map that was full when `room` more bytes were to be written."""
    return -(-max(2 * size, size + 2 * room) // _ROUND) * _ROUND


# ---------------------------------------------------------------- one per file and process

_environments: Sharing[Environment] = Sharing()
_abandoned: list[lmdb.Environment | None] = []
"""The parent process's environments that were in use when it forked: never touched, never freed."""


def acquire(
    user: object, place: Place, options: Mapping[str, Any], map_size: int, *, create: bool
) -> Environment | None:
    """The environment of a place, opened if necessary; `None` without a file and with `create` false.

    Raises `ConfigurationError` when it is open with other options.
    """
    with _environments.lock:
        identity = place.identity()
        if identity is None and not create:
            return None
        environment = None if identity is None else _environments.find(identity)
        if environment is None:
            environment = Environment(place, options, map_size)
            _environments.add(environment.identity, environment)
        else:
            environment.check(options)
        _environments.use(environment, user)
        return environment


def release(user: object, environment: Environment) -> None:
    """Stop using it; the last user closes it."""
    with _environments.lock:
        if _environments.release(environment, user):
            environment.close()


def _before_fork() -> None:
    """Wait until no transaction is open, so that a child inherits a consistent state."""
    _environments.lock.acquire()
    for env in _environments.every():
        env.is_at_rest = env.map_lock.acquire(_PATIENCE)


def _after_fork_in_parent() -> None:
    for env in _environments.every():
        if env.is_at_rest:
            env.map_lock.release()
    _environments.lock.release()


at_forks(before=_before_fork, in_parent=_after_fork_in_parent)

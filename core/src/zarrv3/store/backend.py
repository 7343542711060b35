"""The guard under every stack: what a backend's driver never has to care about.

A backend is two small things. Its *driver* has the contract's methods over a live connection and does nothing but I/O:
no checks, no `try`. Its store class, derived from `Backend`, records the options and makes the driver (`connect`). All
calls pass through here, where

    keys, ranges and values are checked → capabilities are asked → batches are cut to the driver's limits
    → the driver does it → its library's exceptions become ours, naming the key and the redacted store

and where the driver is made on first use, once a process: after a fork or unpickling there is a new connection.
"""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, cast

from zarrv3.errors import (
    InvalidKeyError,
    LimitError,
    ReadOnlyError,
    StoreAccessError,
    StoreClosedError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    UnsupportedError,
    ZarrError,
)
from zarrv3.options.redaction import redact
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, Capabilities, Limits, Request, Store, TransactionalStore
from zarrv3.store.helpers import check_rename, chunked, split_items
from zarrv3.store.keys import check_folder, check_key, check_keys, check_where, longest, split_prefix, summary

ErrorTable = Mapping[type[Exception], type[StoreError]]

_SYSTEM: ErrorTable = {
    TimeoutError: StoreTimeoutError,
    ConnectionError: StoreUnavailableError,
    OSError: StoreAccessError,
}


class Backend(BaseStore):
    """The base class of stores that hold data themselves: the guard around a driver.

    A subclass passes its options by name to `super().__init__`, with the names of its constructor's parameters, and
    makes the driver in `connect`. Instances are thread-safe, fork-safe and picklable by their options.
    """

    errors: ClassVar[ErrorTable] = {}
    """How exceptions of the backend's library translate; the first class that fits counts."""

    def __init__(self, **options: Any) -> None:
        self._options = self.declared().check(options)
        self._reset()

    @property
    def dimension_separator(self) -> str | None:
        """See `BaseStore`: the option of that name, where there is one."""
        return self.option("dimension_separator") if "dimension_separator" in self._options else None

    @abstractmethod
    def connect(self) -> Store:
        """Make the driver: open what has to be opened. Called once a process, under a lock."""

    # ------------------------------------------------------------ the driver's life

    def _reset(self, *, closed: bool = False) -> None:
        self._live: Store | None = None
        self._closed = closed
        self._lock = threading.RLock()
        self._process = os.getpid()  # last: from here on, other threads believe the rest

    @property
    def driver(self) -> Store:
        """The driver of this process, made on first use."""
        live = self._live  # once: another thread may be closing
        if live is not None and self._process == os.getpid():
            return live
        return self._connect()

    def _connect(self) -> Store:
        if self._process != os.getpid():  # a forked child: the parent's connection and lock are not ours
            self._reset(closed=self._closed)
        with self._lock:
            if self._closed:
                raise StoreClosedError(f"{self.describe()} is closed; open it again to use it")
            if self._live is None:
                with self._translated("open", ()):
                    self._live = self.connect()
            return self._live

    def flush(self) -> None:
        """See the contract; a store that was never used has nothing to flush."""
        live = self._live
        if live is not None and self._process == os.getpid():
            with self._translated("flush", ()):
                live.flush()

    def close(self) -> None:
        """Flush and release everything; further calls raise `StoreClosedError`."""
        if self._process != os.getpid():  # the parent's connection stays the parent's
            self._reset(closed=True)
        with self._lock:
            live, self._live, self._closed = self._live, None, True
            if live is not None:
                with self._translated("close", ()):
                    live.close()

    # ------------------------------------------------------------ the contract, guarded

    @property
    def capabilities(self) -> Capabilities:
        """What the driver can do."""
        return self.driver.capabilities

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        driver = self.driver
        keys = [key for key, _ in requests]
        limits = self._check(keys, driver)
        with self._translated("read", keys):
            if limits.batch_keys is None or len(requests) <= limits.batch_keys:
                return driver.get_many(requests)
            return [value for part in chunked(requests, limits.batch_keys) for value in driver.get_many(part)]

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        driver = self._writable("write")
        limits = self._check(items.keys(), driver)
        for key, value in items.items():
            if type(value) is not bytes:
                check_value(key, value)
        if limits.value_bytes is not None:
            self._check_sizes(items, limits.value_bytes)
        with self._translated("write", items.keys()):
            if limits.batch_keys is None and limits.batch_bytes is None:
                driver.set_many(items)
            else:
                for part in split_items(items, limits.batch_keys, limits.batch_bytes):
                    driver.set_many(part)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        driver = self._writable("erase")
        keys = list(keys)
        limits = self._check(keys, driver)
        with self._translated("erase", keys):
            for part in chunked(keys, limits.batch_keys or len(keys) or 1):
                driver.erase_many(part)

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        driver = self._writable("erase")
        folder = check_folder(folder)
        with self._translated("erase", (folder,)):
            driver.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract."""
        driver = self._writable("erase")
        self._writable("write")
        source, target = check_folder(source), check_folder(target)
        check_rename(source, target)
        with self._translated("rename", (source, target)):
            driver.rename_prefix(source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        driver = self._writable("atomic_create" if old is None else "atomic_swap")
        if new is None and old is not None:
            self._writable("erase")
        limits = self._check((check_key(key),), driver)
        for value in (old, new):
            if value is not None:
                check_value(key, value)
        if new is not None and limits.value_bytes is not None:
            self._check_sizes({key: new}, limits.value_bytes)
        with self._translated("replace", (key,)):
            return driver.compare_and_set(key, old, new)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract."""
        driver = cast("TransactionalStore", self._writable("transactions"))
        limits = self._check(changes.keys(), driver)
        for key, value in changes.items():
            if value is not None:
                check_value(key, value)
        if limits.value_bytes is not None:
            self._check_sizes({k: v for k, v in changes.items() if v is not None}, limits.value_bytes)
        with self._translated("change", changes.keys()):
            driver.apply_many(changes)

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""
        where = check_where(where)
        driver = self._listable() if where.endswith("/") or not where else self.driver
        return self._guarded(lambda: driver.sizes(where), where)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""
        folder, prefix = split_prefix(prefix)
        driver = self._listable()
        keys = self._guarded(lambda: driver.list_prefix(folder), folder)
        return keys if folder == prefix else (key for key in keys if key.startswith(prefix))

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        folder = check_folder(folder)
        driver = self._listable()
        with self._translated("list", (folder,)):
            return driver.list_dir(folder)

    # ------------------------------------------------------------ checks

    def _check(self, keys: Collection[str], driver: Store) -> Limits:
        check_keys(keys)
        limits = driver.capabilities.limits
        if limits.key_bytes is not None and longest(keys) > limits.key_bytes:
            key = max(keys, key=lambda key: len(key.encode()))
            raise LimitError(
                f"key {key!r} has {len(key.encode())} bytes but {self.describe()} holds keys of at most "
                f"{limits.key_bytes}; use shorter node names"
            )
        return limits

    def _check_sizes(self, items: Mapping[str, Buffer], most: int) -> None:
        for key, value in items.items():
            if len(value) > most:
                raise LimitError(
                    f"the value of {key!r} has {len(value)} bytes but {self.describe()} holds values of at most "
                    f"{most}; use smaller chunks"
                )

    def _writable(self, capability: str) -> Store:
        driver = self.driver
        can = driver.capabilities
        if getattr(can, capability):
            return driver
        if not can.write:
            raise ReadOnlyError(f"{self.describe()} is read-only; open it for writing to change it")
        verb = {
            "erase": "erase keys",
            "atomic_create": "create a key atomically",
            "atomic_swap": "swap a value atomically",
        }
        raise UnsupportedError(f"{self.describe()} cannot {verb.get(capability, capability)}")

    def _listable(self) -> Store:
        driver = self.driver
        if not driver.capabilities.list:
            raise UnsupportedError(
                f"{self.describe()} cannot list its keys; consolidated metadata does without"
            )
        return driver

    # ------------------------------------------------------------ errors

    @contextmanager
    def _translated(self, verb: str, keys: Collection[str]) -> Iterator[None]:
        try:
            yield
        except ZarrError:
            raise
        except Exception as error:
            tells = self._tells_secrets(error)
            ours = self._translate(error, verb, keys, StoreAccessError if tells else None)
            if ours is None:
                raise
            raise ours from (None if tells else error)

    def _guarded(self, start: Callable[[], Iterator[Any]], where: str) -> Iterator[Any]:
        with self._translated("list", (where,)):
            yield from start()

    def _translate(
        self, error: Exception, verb: str, keys: Collection[str], other: type[StoreError] | None
    ) -> StoreError | None:
        """Our error for one of the library's; for one that no table knows, one of class `other`, if any."""
        tables = (*self.errors.items(), *_SYSTEM.items())
        ours = next((ours for theirs, ours in tables if isinstance(error, theirs)), other)
        if ours is None:
            return None
        text = redact(str(error), self.secrets()) or type(error).__name__
        subject = f" {summary(keys)} in" if keys else ""
        return ours(f"cannot {verb}{subject} {self.describe()}: {text}")

    def _tells_secrets(self, error: BaseException) -> bool:
        """Whether a secret stands in the text of an exception or of one that it came from."""
        seen: list[BaseException] = []
        waiting: list[BaseException | None] = [error]
        while waiting:
            one = waiting.pop()
            if one is not None and not any(one is other for other in seen):
                seen.append(one)
                waiting += [one.__cause__, one.__context__]
        secrets = self.secrets()
        return any(redact(str(one), secrets) != str(one) for one in seen)


def check_value(key: str, value: object) -> None:
    """Raise `InvalidKeyError` unless a value is flat bytes."""
    if isinstance(value, memoryview):
        if value.contiguous and value.ndim == 1 and value.itemsize == 1:
            return
        raise InvalidKeyError(
            f"the value of {key!r} is a memoryview that is not flat bytes; pass view.cast('B')"
        )
    if not isinstance(value, bytes | bytearray):
        raise InvalidKeyError(f"the value of {key!r} must be bytes-like, not {type(value).__name__}")

"""The guard under every stack: what a backend's driver never has to care about.

A backend is two small things. Its *driver* has the contract's methods over a live connection and does nothing but I/O:
no checks, no `try`. Its store class, derived from `Backend`, records the options and makes the driver (`connect`). All
calls pass through here, where

    keys, ranges and values are checked → capabilities are asked → batches are cut to the driver's limits
    → the driver does it, or a helper where it lacks the method → its library's exceptions become ours, naming the
      key and the redacted store

and where the driver is made on first use, once per process: after a fork or unpickling there is a new connection.
"""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, NamedTuple

from zarrv3.errors import (
    ConfigurationError,
    LimitError,
    StoreAccessError,
    StoreClosedError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    ZarrError,
)
from zarrv3.options.redaction import raise_alone, redact, tells, text_of
from zarrv3.store import helpers
from zarrv3.store.asking import Question
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import (
    METHODS,
    Buffer,
    ByteRange,
    Capabilities,
    Changes,
    Driver,
    Limits,
    Request,
    Swaps,
    Versioned,
    as_requests,
    whole,
)
from zarrv3.store.keys import check_folder, check_keys, longest, split_prefix, summary
from zarrv3.store.values import (
    check_changes,
    check_erasing,
    check_renaming,
    check_swaps,
    check_transaction,
    require,
)

ErrorTable = Mapping[type[Exception], type[StoreError]]

_SYSTEM: ErrorTable = {
    TimeoutError: StoreTimeoutError,
    ConnectionError: StoreUnavailableError,
    OSError: StoreAccessError,
}

_inherited: list[object] = []
"""Drivers of a parent process: a forked child neither uses nor closes them, nor frees them, which could write to a socket."""


class Backend(BaseStore):
    """The base class of stores that hold data themselves: the guard around a driver.

    A subclass passes its options by name to `super().__init__`, with the names of its constructor's parameters, and
    makes the driver in `connect`. It may refine `errors`, `plain_error`, `secrets` and `identity`, and calls its driver in
    `with self.using_driver(…)` where it has methods of its own. Instances are thread-safe, fork-safe and picklable by their
    options.
    """

    errors: ClassVar[ErrorTable] = {}
    """How exceptions of the backend's library translate; the first class that fits counts."""

    def __init__(self, **options: Any) -> None:
        self.given_options = self.declared().check(options)
        # two underscores: a subclass may have a `_lock` of its own
        self.__live: Any = None
        self.__closed = False
        self.__lock = threading.RLock()
        self.__process = os.getpid()
        self.__questions: dict[str, Question] = {}

    @property
    def dimension_separator(self) -> str | None:
        """See `BaseStore`: the option of that name, where there is one."""
        return self.option("dimension_separator") if "dimension_separator" in self.given_options else None

    @abstractmethod
    def connect(self) -> Driver:
        """Make the driver: open what has to be opened. Called once per process, under a lock."""

    # ------------------------------------------------------------ the driver's life

    @property
    def driver(self) -> Any:
        """The driver of this process, made on first use; has the methods of what it claims."""
        live = self.__live  # once: another thread may be closing
        if live is not None and self.__process == os.getpid():
            return live
        return self._connected()

    @driver.setter
    def driver(self, value: object) -> None:  # noqa: ARG002
        name = type(self).__name__
        raise TypeError(
            f"{name}.driver is what {name}.connect makes; give an attribute of yours another name"
        )

    @property
    def live_driver(self) -> Any:
        """The driver, if this process has made one and not closed it, else `None`: asking opens nothing."""
        live = self.__live
        return live if self.__process == os.getpid() else None

    def _connected(self) -> Any:
        self._leave_parent()
        with self.__lock:
            if self.__closed:
                raise StoreClosedError(f"{self.describe()} is closed; open it again to use it")
            if self.__live is None:
                with _Translating(self, "open", ()):
                    live = self.connect()
                    _check_driver(live, self)
                self.__live = live
            return self.__live

    def _leave_parent(self) -> None:
        """In a forked child: the parent's connection and lock are not ours."""
        if self.__process == os.getpid():
            return
        live, self.__live = self.__live, None
        self.__lock, self.__questions = threading.RLock(), {}
        self.__process = os.getpid()  # last: from here on, other threads believe the rest
        if live is not None:
            _inherited.append(live)

    def reach(self, folder: str, within: float) -> None:
        """See `BaseStore`; who asks while a question is under way waits for the answer to that one."""
        self._leave_parent()
        question = self.__questions.get(folder)
        if question is None or question.is_answered:
            question = self.__questions[folder] = Question(partial(self._ask, folder))
        try:
            question.wait(within, self.describe())
        finally:
            if question.is_answered:
                self.__questions.pop(folder, None)

    def _ask(self, folder: str) -> None:
        """Ask the server for something small: one byte of a document, which may be missing."""
        if not self._done("reach", self.driver, "ping"):
            self.get_many([Request(f"{folder}zarr.json", ByteRange(0, 1))])

    def flush(self) -> None:
        """Make everything written so far survive a crash; a store that was never used has nothing to flush."""
        self._done("flush", self.live_driver, "flush")

    def close(self) -> None:
        """Flush and release everything; further calls raise `StoreClosedError`."""
        self._leave_parent()
        with self.__lock:
            live, self.__live, self.__closed = self.__live, None, True
            self._done("close", live, "close")

    def _done(self, verb: str, live: Any, method: str, *folders: str) -> bool:
        """Have a driver do something, if there is one and it has the method; whether it has."""
        call = getattr(live, method, None)
        if call is None:
            return False
        with _Translating(self, verb, folders):
            call(*folders)
        return True

    # ------------------------------------------------------------ reading

    @property
    def capabilities(self) -> Capabilities:
        """What the driver can do."""
        can: Capabilities = self.driver.capabilities
        return can

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        if not requests:
            return []
        requests = as_requests(requests)
        driver = self.driver
        keys = [key for key, _ in requests]
        check_keys(keys)
        most = self._limits(keys, driver).batch_keys
        with _Translating(self, "read", keys):
            if most is None or len(requests) <= most:
                values: Sequence[Buffer | None] = driver.get_many(requests)
            else:
                values = self._in_parts(driver, requests, most)
            return self._complete(values, requests, "get_many")

    def _in_parts(self, driver: Driver, requests: Sequence[Request], most: int) -> Sequence[Buffer | None]:
        """What a driver answers to more requests than it takes at once; those for one key stay together, or become one."""
        asked: dict[str, dict[Request, None]] = {}
        for request in requests:
            asked.setdefault(request.key, {})[request] = None
        groups = ((key, [*own] if len(own) <= most else whole([key])) for key, own in asked.items())
        found: dict[Request, Buffer | None] = {}
        for part in helpers.split(groups, len, None, most):
            batch = [request for own in part.values() for request in own]
            found.update(zip(batch, self._complete(driver.get_many(batch), batch, "get_many"), strict=True))
        return [
            found[request] if request in found else helpers.cut(found[Request(request.key)], request.range)
            for request in requests
        ]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return self._by_key("look at", "stat_many", keys) if keys else []

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        if not keys:
            return []
        self._able("swap")
        return self._by_key("read", "get_versioned", keys)

    def _by_key(self, verb: str, method: str, keys: Sequence[str]) -> list[Any]:
        """What a method of the driver returns for some keys, or else a helper; in batches."""
        driver = self.driver
        check_keys(keys)
        limits = self._limits(keys, driver)
        call = getattr(driver, method, None)
        if call is None:
            return helpers.stat_by_reading(self, keys)
        with _Translating(self, verb, keys):
            return [
                item
                for part in helpers.chunked(keys, limits.batch_keys or len(keys))
                for item in self._complete(call(part), part, method)
            ]

    def _complete(self, answers: Any, asked: Sequence[object], method: str) -> Sequence[Any]:
        """What a driver has answered, if it is as much as was asked."""
        if type(answers) is not list and not isinstance(answers, Sequence):
            raise self._broken(f"{method} returned a {type(answers).__name__}, not a sequence of answers")
        if len(answers) != len(asked):
            raise self._broken(f"{method} gave {len(answers)} answers to {len(asked)} questions")
        checked: Sequence[Any] = answers
        return checked

    def _refused(self, swaps: Swaps, refused: Any) -> Collection[str]:
        """The keys that a driver has refused to swap, if it was given them."""
        if not isinstance(refused, Collection) or isinstance(refused, str | bytes):
            raise self._broken(f"swap_many returned {refused!r}, not the keys that it refused")
        if not swaps.keys() >= {*refused}:
            raise self._broken("swap_many refused keys that it was not given")
        keys: Collection[str] = refused
        return keys

    def _broken(self, text: str) -> StoreAccessError:
        return StoreAccessError(f"the driver of {self.describe()} is broken: {text}")

    # ------------------------------------------------------------ listing

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        folder, prefix = split_prefix(prefix)
        driver = self._able("list")
        keys = self._listed(driver.list_prefix, folder)
        return keys if folder == prefix else (key for key in keys if key.startswith(prefix))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        folder = check_folder(folder)
        driver = self._able("list")
        if hasattr(driver, "list_dir"):
            return self._listed(driver.list_dir, folder)
        return helpers.children(self._listed(driver.list_prefix, folder), folder)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        folder = check_folder(folder)
        driver = self._able("list")
        if hasattr(driver, "list_sizes"):
            return self._listed(driver.list_sizes, folder)
        return helpers.sizes_by_stat(self.list_prefix(folder), self)

    def _listed(self, method: Callable[[str], Iterable[Any]], folder: str) -> Iterator[Any]:
        with _Translating(self, "list", (folder,)):
            yield from method(folder)

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        if not changes:
            return
        driver = self.driver
        erased = check_changes(self, changes)
        limits = self._limits(changes, driver, changes.values())
        with _Translating(self, "write" if erased < len(changes) else "erase", changes):
            size = helpers.size_of
            for part in helpers.split(changes.items(), size, limits.batch_keys, limits.batch_bytes):
                driver.write_many(part)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        if not swaps:
            return ()
        driver = self.driver
        check_swaps(self, swaps)
        limits = self._limits(swaps, driver, (new for _, new in swaps.values()))
        with _Translating(self, "replace", swaps):
            parts = helpers.split(
                swaps.items(), lambda swap: helpers.size_of(swap[1]), limits.batch_keys, limits.batch_bytes
            )
            return [key for part in parts for key in self._refused(part, driver.swap_many(part))]

    def apply_many(self, changes: Changes, /) -> None:
        check_transaction(self, changes)
        if not changes:
            return
        driver = self.driver
        limits = self._limits(changes, driver, changes.values())
        for most, count, what in (
            (limits.transaction_keys, len(changes), "keys"),
            (limits.transaction_bytes, sum(map(helpers.size_of, changes.values())), "bytes"),
        ):
            if most is not None and count > most:
                raise LimitError(
                    f"a transaction of {count} {what} is too large for {self.describe()}, which takes at most {most}; "
                    "nothing was written"
                )
        with _Translating(self, "change", changes):
            driver.apply_many(changes)

    def erase_prefix(self, folder: str, /) -> None:
        folder = check_erasing(self, folder)
        if not self._done("erase", self.driver, "erase_prefix", folder):
            helpers.erase_by_listing(self, folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        source, target = check_renaming(self, source, target)
        if not self._done("rename", self.driver, "rename_prefix", source, target):
            helpers.rename_by_copy(self, source, target)

    # ------------------------------------------------------------ checks

    def _limits(self, keys: Collection[str], driver: Driver, values: Iterable[Buffer | None] = ()) -> Limits:
        """The driver's limits, if no key is too long for it, nor any of their new values too large."""
        limits = driver.capabilities.limits
        if limits.key_bytes is not None and longest(keys) > limits.key_bytes:
            key = max(keys, key=lambda key: len(key.encode()))
            raise LimitError(
                f"key {key!r} has {len(key.encode())} bytes but {self.describe()} holds keys of at most "
                f"{limits.key_bytes}; use shorter node names"
            )
        if limits.value_bytes is not None:
            for key, size in zip(keys, map(helpers.size_of, values), strict=False):
                if size > limits.value_bytes:
                    raise LimitError(
                        f"the value of {key!r} has {size} bytes but {self.describe()} holds values of at "
                        f"most {limits.value_bytes}; use smaller chunks"
                    )
        return limits

    def _able(self, capability: str) -> Any:
        """The driver, if it has a capability."""
        require(self, capability)
        return self.driver

    # ------------------------------------------------------------ errors

    @contextmanager
    def using_driver(self, verb: str, keys: Collection[str] = (), *, capability: str = "") -> Iterator[Any]:
        """A block in which a store class calls its driver itself, by methods that the contract does not have.

        The driver must have the `capability`, if one is named. Exceptions of the backend's library become ours, which say
        what could not be done: `verb`, with which keys.
        """
        check_keys(keys)
        driver = self._able(capability) if capability else self.driver
        with _Translating(self, verb, keys):
            yield driver

    def plain_error(self, error: Exception) -> Exception:
        """What an exception of the backend's library amounts to: what is looked up in `errors`, and whose text is shown.

        Returned as it is unless a subclass knows better; it may also return a `StoreError`.
        """
        return error

    def _raise(self, error: Exception, verb: str, keys: Collection[str]) -> None:
        """Raise our error for one of the library's; return where it is to be raised as it is."""
        secrets = self.secrets()
        is_secret = tells(error, secrets)
        if isinstance(error, ZarrError):
            if is_secret:
                raise_alone(type(error)(redact(text_of(error), secrets)))
            return
        plain = self.plain_error(error)
        if isinstance(plain, StoreError):
            ours: type[StoreError] | None = type(plain)
        else:
            tables = (*self.errors.items(), *_SYSTEM.items())
            other = StoreAccessError if is_secret else None
            ours = next((ours for theirs, ours in tables if isinstance(plain, theirs)), other)
        if ours is None:
            return
        text = redact(text_of(plain), secrets) or type(plain).__name__
        subject = f" {summary(keys)} in" if keys else ""
        told = ours(f"cannot {verb}{subject} {self.describe()}: {text}")
        if is_secret:
            raise_alone(told)
        raise told from error


class _Translating(NamedTuple):
    """A block that calls the backend's library, whose exceptions become ours."""

    store: Backend
    verb: str
    keys: Collection[str]

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Raise our error for the library's."""
        if isinstance(error, Exception):
            self.store._raise(error, self.verb, self.keys)


def _check_driver(driver: object, store: BaseStore) -> None:
    """Raise `ConfigurationError` that says in one line what a driver lacks of what it claims."""
    can = getattr(driver, "capabilities", None)
    name = type(driver).__name__
    if not isinstance(can, Capabilities):
        raise ConfigurationError(
            f"the driver {name} of {store.describe()} has no attribute `capabilities` of class zarrv3.Capabilities"
        )
    claims = {f"`{claim}`": methods for claim, methods in METHODS.items() if getattr(can, claim)}
    for claim, methods in {"to read": ("get_many",), **claims}.items():
        for method in methods:
            if not callable(getattr(driver, method, None)):
                raise ConfigurationError(
                    f"the driver {name} of {store.describe()} claims {claim} but has no method `{method}`"
                )

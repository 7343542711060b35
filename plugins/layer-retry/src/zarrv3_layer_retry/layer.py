"""`Retry`: which calls are repeated, and when that would be wrong."""

import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property, partial
from typing import Annotated, Any, TypeVar

import stamina

from zarrv3.errors import StoreError, SwapUnknownError
from zarrv3.layers.base import Layer
from zarrv3.options.declared import Option
from zarrv3.store.contract import Buffer, Capabilities, Changes, Request, Swaps, Versioned
from zarrv3.store.keys import summary

T = TypeVar("T")

_SECONDS: dict[str, Any] = {
    "check": lambda seconds: 0 <= seconds < math.inf,
    "takes": "a number of seconds from 0 on",
}

_POSITIVE = "a positive number of seconds"

_logger = logging.getLogger("zarrv3.retry")


def _is_positive(seconds: float) -> bool:
    return 0 < seconds < math.inf


class Retry(Layer):
    """Repeats calls that failed for a reason that may pass, such as a lost connection; adapter `|retry:`.

    Only errors marked `retryable` (`StoreUnavailableError`, `StoreTimeoutError`) lead to another attempt,
    after a pause that doubles from one attempt to the next and is jittered. The last error is raised as it is. `close` is
    never repeated: a second call would find the store closed and hide that the first lost something.

    A listing that breaks off is started again and continues with the keys not yet given; after progress it
    has all attempts again. `swap_many` never swaps twice: see there.
    """

    kind = "retry"

    def __init__(
        self,
        store: object,
        attempts: Annotated[
            int,
            Option(
                "the maximum number of attempts per call",
                check=lambda n: n >= 1,
                takes="a whole number from 1 on",
            ),
        ] = 5,
        timeout: Annotated[
            float,
            Option(
                "the number of seconds after which no further attempt starts",
                check=_is_positive,
                takes=_POSITIVE,
            ),
        ] = 45.0,
        *,
        wait_initial: Annotated[
            float, Option("seconds before the second attempt; doubled for each further one", **_SECONDS)
        ] = 0.1,
        wait_max: Annotated[float, Option("the longest pause in seconds, jitter included", **_SECONDS)] = 5.0,
        wait_jitter: Annotated[
            float, Option("up to how many random seconds are added to each pause", **_SECONDS)
        ] = 1.0,
    ) -> None:
        super().__init__(
            store,
            attempts=attempts,
            timeout=timeout,
            wait_initial=wait_initial,
            wait_max=wait_max,
            wait_jitter=wait_jitter,
        )

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return {name: self.option(name) for name in self.given_options}

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner store; asking for them may connect."""
        return self._repeat(lambda: self.inner.capabilities)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        return self._repeat(self.inner.get_many, requests)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return self._repeat(self.inner.stat_many, keys)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        return self._repeat(self.inner.get_versioned, keys)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        return self._resumed(partial(self.inner.list_prefix, prefix), str)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        return self._resumed(partial(self.inner.list_dir, folder), str)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        return self._resumed(partial(self.inner.list_sizes, folder), lambda item: item[0])

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says; making the same changes again changes nothing."""
        self._repeat(self.inner.write_many, changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says; after an error keys are read before the next attempt, since they may have been swapped.

        A key that still has its version is tried again; one that has its new value counts as swapped, though
        another writer may have given it the same. Any other value, and any value of a document, since two
        that append a row write the same length, is ambiguous: this call may have swapped the key before
        another writer did. That raises `SwapUnknownError`; writing to arrays then makes the change again.
        """
        left, failed = dict(swaps), list[StoreError]()

        def attempt(_: Swaps) -> Collection[str]:
            if failed:
                self._look_at([*left], left, failed[-1], again=True)
            try:
                refused = self.inner.swap_many(left)
            except StoreError as error:
                failed.append(error)
                raise
            if not failed or not refused:
                return refused
            self._look_at([*refused], left, failed[-1], again=False)  # perhaps the first attempt came late
            return ()

        return self._repeat(attempt, swaps)

    def _look_at(self, keys: Sequence[str], left: dict[str, Any], error: StoreError, *, again: bool) -> None:
        """Forget the keys that have been swapped; those that still have their version are left for another attempt."""
        unknown = []
        for key, (value, version) in zip(keys, self.inner.get_versioned(keys), strict=True):
            expected, new = left[key]
            if again and version == expected:
                continue
            if value == new and key.rpartition("/")[2] != "zarr.json":
                del left[key]
            else:
                unknown.append(key)
        if unknown:
            raise SwapUnknownError(
                f"whether this call or another writer replaced {summary(unknown)} in {self.inner.describe()} is unknown: "
                "the connection failed in the meantime; read the values and decide"
            ) from error

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says; repeating the changes, all at once, changes nothing."""
        self._repeat(self.inner.apply_many, changes)

    def erase_prefix(self, folder: str, /) -> None:
        self._repeat(self.inner.erase_prefix, folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says; another attempt moves what is still at the source."""
        self._repeat(self.inner.rename_prefix, source, target)

    def flush(self) -> None:
        self._repeat(self.inner.flush)

    def _repeat(self, call: Callable[..., T], *arguments: Any) -> T:
        """What a call finally returns; logs every failed attempt."""
        # `stamina.retry_context` passes no arguments of a call to the hooks that log retries: no values
        for attempt in stamina.retry_context(_is_retryable, **self._settings):
            with attempt:
                try:
                    return call(*arguments)
                except StoreError as error:
                    if error.retryable:
                        self._log(attempt, error, arguments)
                    raise
        raise AssertionError  # pragma: no cover - the last error has been raised

    def _log(self, attempt: stamina.Attempt, error: StoreError, arguments: Sequence[Any]) -> None:
        store, attempts = self.inner.describe(), self._settings["attempts"]
        keys = [key for argument in arguments for key in _keys(argument)]
        # a driver may raise one of its own
        subject = "" if not keys or repr(keys[0]) in str(error) else f" for {summary(keys)}"
        subject += "" if store in str(error) else f" in {store}"
        pause = f", the next {attempt.next_wait:.3g} s later or more" if attempt.num < attempts else ""
        _logger.warning("attempt %d of %d failed%s%s: %s", attempt.num, attempts, subject, pause, error)

    def _resumed(self, start: Callable[[], Iterator[T]], key_of: Callable[[T], str]) -> Iterator[T]:
        """The items of a listing, each key once, however often it is started again.

        Remembers the keys it has given and skips them in a second listing: a key that was there all the time
        comes exactly once; one that was added or erased in the meantime may or may not come, as in any
        listing.
        """
        given: set[str] = set()
        current: Iterator[T] | None = None
        failed: StoreError | None = None

        def step() -> list[T]:
            nonlocal current, failed
            if failed is not None:  # a failure in mid-listing counts as the first attempt
                error, failed = failed, None
                raise error
            try:
                current = current or start()
                return next(([item] for item in current if key_of(item) not in given), [])
            except StoreError:
                current = None
                raise

        while True:
            try:
                batch = step()
            except StoreError as error:
                failed = error
                batch = self._repeat(step)
            if not batch:
                return
            given.add(key_of(batch[0]))
            yield batch[0]


def _is_retryable(error: Exception) -> bool:
    return isinstance(error, StoreError) and error.retryable


def _keys(argument: Any) -> list[str]:
    """The keys of requests, keys or changes, or the folder, that a call is given."""
    return (
        [argument]
        if isinstance(argument, str)
        else [one if isinstance(one, str) else one.key for one in argument]
    )

"""`Retry`: which calls are repeated, and when that would be wrong."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, TypeVar

import stamina

from zarrv3.errors import StoreAccessError, StoreError
from zarrv3.layers.base import Layer
from zarrv3.options.declared import Option
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, Capabilities, Request

T = TypeVar("T")

_SECONDS: dict[str, Any] = {
    "check": lambda seconds: 0 <= seconds < math.inf,
    "takes": "a number of seconds from 0 on",
}


class Retry(Layer):
    """Repeats calls that failed for a reason that may pass, such as a lost connection; adapter `|retry:`.

    Only errors that are marked `retryable` (`StoreUnavailableError`, `StoreTimeoutError`) are answered by another attempt,
    after a pause that doubles from one attempt to the next and is jittered. The last error is raised as it is. `close` is
    never repeated: a second one would find the store closed and hide that the first one lost something.

    A listing that breaks off is begun again and continues with the keys that it has not given yet; each time that it made
    progress it has all attempts before it. `compare_and_set` says `True` or `False` only when that is known.
    """

    kind = "retry"

    def __init__(
        self,
        store: object,
        attempts: Annotated[
            int,
            Option(
                "how often a call is made at most", check=lambda n: n >= 1, takes="a whole number from 1 on"
            ),
        ] = 5,
        timeout: Annotated[
            float,
            Option(
                "after how many seconds no further attempt is begun",
                check=lambda seconds: 0 < seconds < math.inf,
                takes="a positive number of seconds",
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
    def _attempt(self) -> stamina.BoundRetryingCaller:
        # `stamina.RetryingCaller` passes no arguments of a call to the hooks that log retries: no values.
        settings = {name: self.option(name) for name in self._options}
        return stamina.RetryingCaller(**settings).on(_is_retryable)

    @property
    def capabilities(self) -> Capabilities:
        """The same; asking for them may connect."""
        return self._attempt(lambda: self.inner.capabilities)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        return self._attempt(self.inner.get_many, requests)

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract; storing the same values again changes nothing."""
        self._attempt(self.inner.set_many, items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract; missing keys are fine, so erasing again changes nothing."""
        self._attempt(self.inner.erase_many, keys)

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        self._attempt(self.inner.erase_prefix, folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract; once more moves what is still at the source."""
        self._attempt(self.inner.rename_prefix, source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract; after an error the key is read before the next attempt, since the swap may have been done.

        While it still has `old` the swap is tried again. Otherwise nobody can know whether this call or another writer
        replaced it, not even when it has `new` now: two who count from 1 to 2 must not both be told `True`. That raises
        `StoreAccessError`, which is not retryable. Read the key and decide; a value that is unique to its writer (an
        owner's name, a random token) tells.
        """
        return self._attempt(_Swap(self.inner, key, old, new).attempt)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract; the same changes once more, all at once, change nothing."""
        self._attempt(self.inner.apply_many, changes)

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""

        def start() -> Iterator[tuple[str, int]]:
            return self.inner.sizes(where)

        return self._resumed(self._attempt(start), start, lambda item: item[0])

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""

        def start() -> Iterator[str]:
            return self.inner.list_prefix(prefix)

        return self._resumed(self._attempt(start), start, lambda key: key)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        return self._attempt(self.inner.list_dir, folder)

    def flush(self) -> None:
        """See the contract."""
        self._attempt(self.inner.flush)

    def _resumed(
        self, listing: Iterator[T], start: Callable[[], Iterator[T]], key_of: Callable[[T], str]
    ) -> Iterator[T]:
        """The items of a listing, each key once, however often it has to be begun again.

        Remembers the keys it has given. In a second listing they are passed over: what was there all the time comes
        exactly once; what came or went meanwhile may or may not come, as in any listing.
        """
        given: set[str] = set()
        current: Iterator[T] | None = listing
        failed: StoreError | None = None

        def step() -> list[T]:
            nonlocal current, failed
            if failed is not None:  # what went wrong in mid-listing counts as the first attempt
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
                found = step()
            except StoreError as error:
                failed = error
                found = self._attempt(step)
            if not found:
                return
            given.add(key_of(found[0]))
            yield found[0]


class _Swap:
    """One `compare_and_set` through all its attempts."""

    def __init__(self, store: BaseStore, key: str, old: Buffer | None, new: Buffer | None) -> None:
        self._store = store
        self._key = key
        self._old = old
        self._new = new
        self._unsure: StoreError | None = None

    def attempt(self) -> bool:
        """Swap, unless an earlier attempt that failed may have done it."""
        if self._unsure is not None and (current := self._read()) != self._old:
            raise self._unknown(current) from self._unsure
        try:
            done = self._store.compare_and_set(self._key, self._old, self._new)
        except StoreError as error:
            if error.retryable:
                self._unsure = error
            raise
        if (
            not done and self._unsure is not None
        ):  # replaced since it was read, perhaps by the first attempt, late
            raise self._unknown(self._read()) from self._unsure
        return done

    def _read(self) -> Buffer | None:
        return self._store.get_many([(self._key, None)])[0]

    def _unknown(self, current: Buffer | None) -> StoreAccessError:
        what = "the new value" if current == self._new else "not the new value"
        return StoreAccessError(
            f"whether this call replaced {self._key!r} in {self._store.describe()} is unknown: the connection failed "
            f"meanwhile, and the key has {what} now; read it and decide"
        )


def _is_retryable(error: Exception) -> bool:
    return isinstance(error, StoreError) and error.retryable

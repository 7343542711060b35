"""The layer that looks at every call: what logs and traces begins with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from zarrv3.errors import escaped
from zarrv3.layers.base import Layer
from zarrv3.options.redaction import redact, text_of
from zarrv3.store.contract import Buffer, Changes, Request, Swaps, Versioned
from zarrv3.store.helpers import size_of

T = TypeVar("T")


class Call(NamedTuple):
    """A call that has ended."""

    method: str
    asked: Collection[Any]
    """What it was about: requests, keys, changes or folders."""
    seconds: float
    """How long the store took; of a listing, all its steps without what was done between them."""
    error: BaseException | None = None
    """What it raised."""
    read: int = 0
    """The bytes of the values that it returned."""
    written: int = 0
    """The bytes of the values that it stored."""
    listed: int | None = None
    """How many items it has listed, if it is a listing; one that nobody takes to its end has ended too."""

    @property
    def keys(self) -> Iterator[str]:
        """The keys, or folders, that it was about."""
        return (one if isinstance(one, str) else one.key for one in self.asked)


class Observing(Layer):
    """Passes every call on unchanged; a subclass is told of each, before and after. Closing is not a call."""

    def began(self, method: str, asked: Collection[Any], *, is_listing: bool = False) -> Any:
        """Called before the store; `ended` is given what it returns. A listing may end in another thread, or never."""

    def run(self, began: Any, call: Callable[..., T], *arguments: Any) -> T:  # noqa: ARG002 - for subclasses
        """Call the store; a listing is not run by this."""
        return call(*arguments)

    def ended(self, began: Any, call: Call) -> None:
        """Called after the store, whatever came of it."""

    def told(self, error: BaseException) -> str:
        """What an error says, in one line and without secrets of any store below."""
        secrets = [secret for store in self.inner.stack() for secret in store.secrets()]
        return escaped(" ".join(redact(text_of(error), secrets).split())) or type(error).__name__

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        return self._observe("get_many", requests, self.inner.get_many, requests, read=_bytes)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return self._observe("stat_many", keys, self.inner.stat_many, keys)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        return self._observe("get_versioned", keys, self.inner.get_versioned, keys, read=_versioned_bytes)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        return self._listing("list_prefix", prefix, self.inner.list_prefix)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        return self._listing("list_dir", folder, self.inner.list_dir)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        return self._listing("list_sizes", folder, self.inner.list_sizes)

    def write_many(self, changes: Changes, /) -> None:
        self._observe(
            "write_many", changes, self.inner.write_many, changes, written=lambda _: _stored(changes)
        )

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        def written(refused: Collection[str]) -> int:
            return sum(size_of(new) for key, (_, new) in swaps.items() if key not in refused)

        return self._observe("swap_many", swaps, self.inner.swap_many, swaps, written=written)

    def apply_many(self, changes: Changes, /) -> None:
        self._observe(
            "apply_many", changes, self.inner.apply_many, changes, written=lambda _: _stored(changes)
        )

    def erase_prefix(self, folder: str, /) -> None:
        self._observe("erase_prefix", (folder,), self.inner.erase_prefix, folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        self._observe("rename_prefix", (source, target), self.inner.rename_prefix, source, target)

    def flush(self) -> None:
        self._observe("flush", (), self.inner.flush)

    def _observe(
        self,
        method: str,
        asked: Collection[Any],
        call: Callable[..., T],
        *arguments: Any,
        read: Callable[[T], int] | None = None,
        written: Callable[[T], int] | None = None,
    ) -> T:
        began = self.began(method, asked)
        start = perf_counter()
        try:
            answer = self.run(began, call, *arguments)
        except BaseException as error:
            self.ended(began, Call(method, asked, perf_counter() - start, error))
            raise
        seconds = perf_counter() - start
        sizes = read(answer) if read else 0, written(answer) if written else 0
        self.ended(began, Call(method, asked, seconds, None, *sizes))
        return answer

    def _listing(self, method: str, folder: str, call: Callable[[str], Iterator[T]]) -> Iterator[T]:
        began = self.began(method, (folder,), is_listing=True)
        start = perf_counter()
        try:
            items = iter(call(folder))
        except BaseException as error:
            self.ended(began, Call(method, (folder,), perf_counter() - start, error))
            raise
        return self._items(began, method, folder, items, perf_counter() - start)

    def _items(self, began: Any, method: str, folder: str, items: Iterator[T], seconds: float) -> Iterator[T]:
        listed = 0
        failed: BaseException | None = None
        try:
            while True:
                start = perf_counter()
                try:
                    item = next(items, _END)
                except BaseException as error:
                    failed = error
                    raise
                finally:
                    seconds += perf_counter() - start
                if item is _END:
                    break
                listed += 1
                yield item  # type: ignore[misc]  # it is not the end
        finally:
            self.ended(began, Call(method, (folder,), seconds, failed, listed=listed))


_END = object()


def _bytes(values: Sequence[Buffer | None]) -> int:
    return sum(len(value) for value in values if value is not None)


def _versioned_bytes(values: Sequence[Versioned]) -> int:
    return sum(len(value) for value, _ in values if value is not None)


def _stored(changes: Changes) -> int:
    return sum(map(size_of, changes.values()))

"""What a check is, and how functions become one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Capabilities, Changes, Request, whole
from zarrv3.store.wrapping import wrap
from zarrv3.testing.rules import same

Opener: TypeAlias = Callable[[], Any]
"""Opens the same data with every call, as a new store object: `functools.partial(MyStore, path)`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that a store has to do."""

    name: str
    """How tests and reports call it."""
    summary: str
    """What has to be so, in one sentence."""
    run: Callable[[Opener], None]
    """Raises `ConformanceError` where it is not so; the opener's location is empty, unless the store is read-only."""
    needs: tuple[str, ...] = ()
    """Capabilities that the store has to claim for the check to make sense."""

    def missing(self, capabilities: Capabilities) -> list[str]:
        """Which of the needed capabilities are not claimed."""
        return [name for name in self.needs if not getattr(capabilities, name)]


TABLE: list[Check] = []
"""All checks as they are entered; `checks.CHECKS` has them in order."""


def check(
    *needs: str, table: list[Check] = TABLE
) -> Callable[[Callable[[Opener], None]], Callable[[Opener], None]]:
    """Enter a function `check_…` into a table; its name and the first line of its docstring are the check's."""

    def enter(function: Callable[[Opener], None]) -> Callable[[Opener], None]:
        summary = (function.__doc__ or "").partition("\n")[0]
        table.append(
            Check(name=function.__name__.removeprefix("check_"), summary=summary, run=function, needs=needs)
        )
        return function

    return enter


@contextmanager
def opened(opener: Opener) -> Iterator[BaseStore]:
    """A store that is closed at the end of the block."""
    store = wrap(opener())
    try:
        yield store
    finally:
        store.close()


def capabilities_of(opener: Opener) -> Capabilities:
    """What the opener's store can do."""
    with opened(opener) as store:
        return store.capabilities


def values_of(store: BaseStore, *keys: str) -> list[bytes | None]:
    """The whole values of some keys as bytes."""
    return answers(store, whole(keys))


def answers(store: BaseStore, requests: Sequence[Request]) -> list[bytes | None]:
    """What `get_many` returns, as bytes."""
    return [None if value is None else bytes(value) for value in store.get_many(requests)]


def listed(store: BaseStore, folder: str = "") -> list[str]:
    """What lies directly below a folder, sorted."""
    return sorted(store.list_dir(folder))


def fill(store: BaseStore, *keys: str) -> dict[str, bytes]:
    """Store each key's own name as its value."""
    items = {key: key.encode() for key in keys}
    store.write_many(items)
    return items


def holds(store: BaseStore, items: Changes, rule: str, what: str) -> None:
    """Require that every key has the value given (`None`: is missing)."""
    for (key, expected), found in zip(items.items(), values_of(store, *items), strict=True):
        same(found, expected, rule, f"{what}: the value of {key!r}")

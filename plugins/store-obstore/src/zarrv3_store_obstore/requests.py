"""Many requests under way at once: coroutines in one thread of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from zarrv3.store.loops import Loop

T = TypeVar("T")
Asked = TypeVar("Asked")

AT_ONCE = 128
"""How many requests of one call are under way at once."""

LOOP = Loop("zarrv3-obstore")


def each(function: Callable[[Asked], Awaitable[T]], asked: Iterable[Asked]) -> list[T | Exception]:
    """The results or exceptions of a coroutine function for each item, in order, `AT_ONCE` of them at a time."""
    items = [*asked]
    return LOOP.run(_each(function, items)) if items else []


async def _each(function: Callable[[Asked], Awaitable[T]], items: list[Asked]) -> list[T | Exception]:
    found: list[Any] = [None] * len(items)
    left = iter(enumerate(items))

    async def take() -> None:
        for place, item in left:
            try:
                found[place] = await function(item)
            except Exception as error:  # noqa: BLE001 - whoever asked raises it
                found[place] = error

    if len(items) == 1:
        await take()
    else:
        await asyncio.gather(*(take() for _ in range(min(AT_ONCE, len(items)))))
    return found

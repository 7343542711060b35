"""Reading and writing in coroutines, such as the handlers of a web server, without holding up their event loop.

Three functions, and not a second API: stores, arrays and groups are synchronous, and what they do happens in threads of this
module's own. The setting `aio_threads` says how many calls run at once; more wait for their turn.

A cancelled call that has not begun never begins. One that has begun goes on in its thread: a read stops before its next piece, and
what it has read is thrown away; a write, as any other call, goes on to its end. At its end the interpreter waits for what has begun.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from zarrv3.chunks.pool import Threads, is_given_up
from zarrv3.errors import StoreUnavailableError
from zarrv3.options.settings import config

T = TypeVar("T")

__all__ = ["call", "read", "write"]

_threads = Threads("zarrv3-aio", lambda: int(config.get("aio_threads")))


async def read(source: Any, selection: Any = ..., /) -> Any:
    """What `source[selection]` is, of an array, or of its `oindex`, `vindex` or `blocks`."""
    ended: list[None] = []
    try:
        return await call(_read, source, selection, lambda: bool(ended))
    except asyncio.CancelledError:
        ended.append(None)
        raise


async def write(target: Any, selection: Any, value: Any, /) -> None:
    """Do `target[selection] = value`.

    The value must not change until the write has ended, which, if this is cancelled, nothing tells.
    """
    await call(target.__setitem__, selection, value)


async def call(function: Callable[..., T], /, *arguments: Any, **options: Any) -> T:
    """What a function returns: `await aio.call(zarrv3.open_array, url, mode="r")`, `await aio.call(store.ping)`."""
    futures = _threads.submit(1, partial(function, *arguments, **options))
    if not futures:
        raise StoreUnavailableError("the process is about to end, so nothing new can begin")
    return await asyncio.wrap_future(futures[0])


def _read(source: Any, selection: Any, given_up: Callable[[], bool]) -> Any:
    is_given_up.set(given_up)  # in the context of this call alone
    return source[selection]

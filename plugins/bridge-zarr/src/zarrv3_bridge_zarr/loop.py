"""The thread whose event loop runs the coroutines of foreign stores: one per process, started on first use.

It is not zarr-python's own loop, so that a store of ours can be used from there, and stores may lie on one another.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from zarrv3.forks import at_forks
from zarrv3.store.undisturbed import undisturbed

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_inherited: asyncio.AbstractEventLoop | None = None  # kept, since a loop that goes without being closed warns

PATIENCE = 10.0
"""How many seconds the end of the interpreter waits for what is under way."""


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the loop's thread and wait for its result; an interrupt would leave the future locked for the loop."""
    return undisturbed(lambda: asyncio.run_coroutine_threadsafe(coroutine, _running()).result())


def _running() -> asyncio.AbstractEventLoop:
    global _loop, _thread  # noqa: PLW0603
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_serve, args=[_loop], name="zarrv3-bridge-zarr", daemon=True)
            _thread.start()
        return _loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def stop() -> None:
    """End the thread and close the loop; the next use starts another."""
    global _loop, _thread
    with _lock:
        loop, thread, _loop, _thread = _loop, _thread, None, None
    if loop is not None and thread is not None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)


def _forget() -> None:
    """In a forked child: the thread is the parent's, and the lock may have been held."""
    global _lock, _loop, _thread, _inherited  # noqa: PLW0603
    _lock = threading.Lock()
    _inherited, _loop, _thread = _loop, None, None


atexit.register(stop)
at_forks(in_child=_forget)

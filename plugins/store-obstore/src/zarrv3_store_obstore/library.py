"""obstore of this process.

Its threads are gone in a forked child, which would wait for them for ever; and what the child did with it would reach the
parent through their shared `epoll`, and end it. So a child leaves what it has inherited alone and loads the library a
second time. So does a process in which somebody else has imported obstore before, perhaps in front of a fork.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from zarrv3.forks import Lock, load_again

_loaded: dict[int, ModuleType] = {}
"""By process; those of the parents stay, since to free them is to use them."""
_lock = Lock()


def library() -> ModuleType:
    """The functions and classes of obstore, safe to use in this process."""
    process = os.getpid()
    if process not in _loaded:
        with _lock.taken:
            if process not in _loaded:
                is_first = not _loaded and "obstore" not in sys.modules
                _loaded[process] = importlib.import_module("obstore._obstore") if is_first else _second()
    return _loaded[process]


def store_class(obstore: ModuleType, name: str) -> Callable[..., Any]:
    """The class of obstore's object stores with a name, without the methods that its package adds in Python."""
    found: Callable[..., Any] = getattr(vars(obstore)["_store"], name)
    return found


def _second() -> ModuleType:
    """The extension module once more."""
    folder = importlib.util.find_spec("obstore")
    assert folder is not None and folder.submodule_search_locations  # noqa: PT018 - it is a dependency
    return load_again(
        "_obstore",
        next(
            path
            for path in Path(folder.submodule_search_locations[0]).glob("_obstore.*")
            if path.suffix != ".pyi"
        ),
    )

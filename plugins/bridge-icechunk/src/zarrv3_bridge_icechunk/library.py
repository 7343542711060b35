"""icechunk of this process, and what its exceptions mean.

Its threads are gone in a forked child, which would wait for them for ever. So a child loads the library once more, where its
parent has used it; the modules that are found by `import icechunk` there are the new ones.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from types import ModuleType
from typing import Any

from zarrv3.errors import InvalidKeyError, ReadOnlyError, StoreAccessError, StoreError
from zarrv3.forks import Lock, at_forks, load_again

_NATIVE = "icechunk._icechunk_python"

_loaded: dict[int, Any] = {}
"""The module by process; those of the parents stay, since to free them is to use them."""
_inherited: list[ModuleType] = []
_lock = Lock()


def library() -> Any:
    """The module `icechunk` of this process."""
    process = os.getpid()
    if process not in _loaded:
        with _lock.taken:
            if process not in _loaded:
                _loaded[process] = _first()
    return _loaded[process]


def _first() -> Any:
    is_here = "icechunk" in sys.modules
    if is_here and _is_forked:
        path = str(sys.modules[_NATIVE].__file__)
        names = [name for name in sys.modules if name.partition(".")[0] == "icechunk"]
        _inherited.extend(map(sys.modules.pop, names))
        sys.modules[_NATIVE] = load_again(_NATIVE, path)
        is_here = False
    module = importlib.import_module("icechunk")
    if not is_here and "ICECHUNK_LOG" not in os.environ:
        module.set_logs_filter("error")  # it writes warnings to stderr, about folders, which are locked here
    return module


_is_forked = False


def _note_fork() -> None:
    global _is_forked  # noqa: PLW0603
    _is_forked = True


at_forks(in_child=_note_fork)


_REF = re.compile(r"(ref|branch|tag|snapshot( id)?) not found|invalid snapshot id", re.IGNORECASE)
_NO_REPOSITORY = re.compile(r"repository (doesn't|does not) exist", re.IGNORECASE)
_KEY = re.compile(
    r"invalid zarr key|node not found|zero-length chunk|invalid chunk index|bad metadata|bad key prefix|invalid path",
    re.IGNORECASE,
)
_READ_ONLY = re.compile(r"read-only|read only|readonly", re.IGNORECASE)
_VIRTUAL = re.compile(r"virtual", re.IGNORECASE)


def text_of(error: BaseException) -> str:
    """What an exception of icechunk says, without its drawing of causes."""
    text = str(error).partition("\n  | \n  | context:")[0].partition("\n\ncontext:")[0]
    lines = (line.strip().removeprefix("x ").strip("| ") for line in text.splitlines())
    return " ".join(filter(None, lines)) or type(error).__name__


def is_missing_repository(error: BaseException) -> bool:
    """Whether it says that there is no repository."""
    return _says(error, _NO_REPOSITORY)


def is_missing_version(error: BaseException) -> bool:
    """Whether it says that there is no such branch, tag or snapshot."""
    return _says(error, _REF)


def is_no_key(error: BaseException) -> bool:
    """Whether it says that a key is not one of Zarr's, or is of an array that does not exist."""
    return isinstance(error, KeyError) or _says(error, _KEY)


def _says(error: BaseException, pattern: re.Pattern[str]) -> bool:
    return bool(pattern.search(text_of(error)))


def plain(error: Exception) -> Exception:
    """The error of ours, without its subject, for an exception of icechunk; any other as it is."""
    if isinstance(error, StoreError) or not (
        isinstance(error, KeyError) or type(error).__module__.partition(".")[0] == "icechunk"
    ):
        return error
    text = text_of(error)
    if _VIRTUAL.search(text):
        return StoreAccessError(
            f"{text} (a chunk that lies outside the repository is read where `virtual` names its place and credentials)"
        )
    if is_no_key(error):
        if isinstance(error, KeyError) and not _KEY.search(text):
            text = f"there is no array at {text}"
        return InvalidKeyError(
            f"{text}; Icechunk holds documents of nodes, and the chunks of arrays that are there"
        )
    if _READ_ONLY.search(text):
        return ReadOnlyError(text)
    return StoreAccessError(text)

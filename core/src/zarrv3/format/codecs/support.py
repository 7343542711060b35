"""What several codecs share: configuration, sizes and the one place where foreign errors become ours."""

import functools
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any

from zarrv3.errors import CorruptDataError, UnknownExtensionError, ZarrError
from zarrv3.store.contract import Buffer


@functools.cache
def lazy(module: str) -> Any:
    """A module that is imported when it is first needed: metadata alone needs no compressor.

    Raises `UnknownExtensionError` if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UnknownExtensionError(f"this codec needs {module}: pip install {package} ({error})") from error


@functools.cache
def library_of(module: str) -> str:
    """The file of the shared library that a module of a package is. Nothing is imported if it lies in a folder on the path.

    That of `numcodecs.zstd` exports the functions of zstd, and kernels need nothing else of the package, whose import takes
    longer than reading an element. Raises as `lazy` does.
    """
    if module not in sys.modules:
        found, name = None, ""
        for part in module.split("."):
            name = f"{name}.{part}" if name else part
            found = PathFinder.find_spec(name, found.submodule_search_locations if found else None)
            if found is None:
                break
        if found and found.origin:
            return found.origin
    return str(lazy(module).__file__)


def guarded(codec: str, decode: Callable[..., Any], *arguments: Any) -> Any:
    """What a library's function decodes; what that raises becomes a `CorruptDataError`."""
    try:
        return decode(*arguments)
    except (ZarrError, MemoryError):
        raise
    except Exception as error:
        raise CorruptDataError(f"{codec}: {type(error).__name__}: {error}") from error


class TooLargeError(CorruptDataError):
    """More decoded bytes than there can be, or than are allowed for."""


def wrong_size(codec: str, actual: int, size: int) -> CorruptDataError:
    """The error for bytes that are too many or too few."""
    return CorruptDataError(f"{codec}: {actual} bytes where {size} are expected")


def check_size(codec: str, actual: int, size: int | None, limit: int | None) -> None:
    """Refuse a number of decoded bytes that is not `size`, or more than `limit` where `size` is not known."""
    if size is not None and actual != size:
        raise wrong_size(codec, actual, size)
    if size is None and limit is not None and actual > limit:
        raise TooLargeError(f"{codec}: claims {actual} bytes where at most {limit} can be")


def deliver(
    codec: str, data: Buffer, size: int | None, out: memoryview | None = None, limit: int | None = None
) -> Buffer:
    """Decoded bytes to the caller: their number checked, copied into `out` if there is one."""
    check_size(codec, len(data), size, limit)
    if out is None:
        return data
    out[:] = data
    return out

"""The hook that recognises Zarr version 2."""

from zarrv3.errors import InvalidKeyError, StoreAccessError, StoreUnavailableError
from zarrv3.opening.hooks import hookimpl
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import ByteRange, Request

_MARKS = (".zgroup", ".zarray", ".zmetadata")


@hookimpl
def zarrv3_recognise(store: BaseStore, path: str) -> str | None:
    """The adapter for a hierarchy of version 2 at the root of a store, or at a path of it."""
    places = dict.fromkeys(("", path))
    marks = [Request(f"{place}/{mark}".lstrip("/"), ByteRange(0, 1)) for place in places for mark in _MARKS]
    try:
        found = iter(store.get_many(marks))
    except StoreUnavailableError:
        raise
    except (InvalidKeyError, StoreAccessError):  # a store that refuses such keys has none
        return None
    for place in places:
        if any([next(found) is not None for _ in _MARKS]):  # noqa: C419 - all of them are taken
            return f"prefix:{place}|zarr2:" if place else "zarr2:"
    return None

"""What is checked before a change: its keys and values, and that the store can make it."""

from collections.abc import Collection

from zarrv3.errors import InvalidKeyError, ReadOnlyError, UnsupportedError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Changes, Swaps
from zarrv3.store.helpers import check_rename
from zarrv3.store.keys import check_folder, check_keys, summary

_DOING = {
    "write": "store values",
    "erase": "erase keys",
    "list": "list its keys; consolidated metadata does without",
    "swap": "swap values atomically",
    "swap_erases": "erase keys on the condition that they have not changed",
    "transactions": "make several changes at once",
}


def check_value(key: str, value: object) -> None:
    """Raise `InvalidKeyError` unless a value is flat bytes."""
    if isinstance(value, memoryview):
        if value.contiguous and value.ndim == 1 and value.itemsize == 1:
            return
        raise InvalidKeyError(
            f"the value of {key!r} is a memoryview that is not flat bytes; pass view.cast('B')"
        )
    if not isinstance(value, bytes | bytearray):
        raise InvalidKeyError(f"the value of {key!r} must be bytes-like, not {type(value).__name__}")


def check_values(changes: Changes) -> int:
    """Raise `InvalidKeyError` unless all new values are flat bytes or `None`; returns how many are `None`: keys to erase."""
    erased = 0
    for key, value in changes.items():
        if value is None:
            erased += 1
        elif type(value) is not bytes:
            check_value(key, value)
    return erased


def check_changes(store: BaseStore, changes: Changes) -> int:
    """Raise unless keys and values are sound and the store can make the changes; returns how many keys are to be erased."""
    check_keys(changes)
    erased = check_values(changes)
    if erased < len(changes):
        require(store, "write", changes)
    if erased:
        require(store, "erase", changes)
    return erased


def check_transaction(store: BaseStore, changes: Changes) -> None:
    """Raise unless keys and values are sound and the store has transactions."""
    require(store, "transactions", changes)
    check_keys(changes)
    check_values(changes)


def check_erasing(store: BaseStore, folder: str) -> str:
    """The folder, if it is one and the store can erase it."""
    folder = check_folder(folder)
    require(store, "erase", (folder,))
    return folder


def check_renaming(store: BaseStore, source: str, target: str) -> tuple[str, str]:
    """The folders, if they are some, the store can change them, and one can be moved to the other."""
    source, target = check_folder(source), check_folder(target)
    require(store, "write", (source, target))
    check_rename(source, target, replace=store.capabilities.replace)
    require(store, "erase", (source, target))
    return source, target


def check_swaps(store: BaseStore, swaps: Swaps) -> None:
    """Raise unless keys and values are sound and the store can make the swaps."""
    require(store, "swap", swaps)
    check_keys(swaps)
    for key, (version, value) in swaps.items():
        if value is not None:
            if type(value) is not bytes:
                check_value(key, value)
        elif version is not None:
            require(store, "swap_erases", swaps)


def require(store: BaseStore, capability: str, keys: Collection[str] = ()) -> None:
    """Raise `UnsupportedError` unless a store has a capability, or `ReadOnlyError` if it is a write and the store takes none.

    The error names the `keys`, if any are given.
    """
    can = store.capabilities
    if getattr(can, capability):
        return
    if capability != "list" and not can.write:
        what = f"cannot change {summary(keys)}: " if keys else ""
        raise ReadOnlyError(f"{what}{store.describe()} is read-only; open it for writing to change it")
    raise UnsupportedError(f"{store.describe()} cannot {_DOING[capability]}")

"""Which values are refused, and which changes."""

from zarrv3.errors import InvalidKeyError
from zarrv3.store.contract import Changes, Swaps


def check_value(key: str, value: object) -> None:
    """Raise `InvalidKeyError` unless a value is flat bytes."""
    if type(value) is bytes:
        return
    if isinstance(value, memoryview):
        if value.contiguous and value.ndim == 1 and value.itemsize == 1:
            return
        raise InvalidKeyError(
            f"the value of {key!r} is a memoryview that is not flat bytes; pass view.cast('B')"
        )
    if not isinstance(value, bytes | bytearray):
        raise InvalidKeyError(f"the value of {key!r} must be bytes-like, not {type(value).__name__}")


def check_changes(changes: Changes) -> int:
    """Raise `InvalidKeyError` unless all new values are flat bytes or `None`; returns how many are `None`: keys to erase."""
    erased = 0
    for key, value in changes.items():
        if value is None:
            erased += 1
        elif type(value) is not bytes:
            check_value(key, value)
    return erased


def check_swaps(swaps: Swaps) -> int:
    """Raise `InvalidKeyError` unless all new values are flat bytes or `None`; returns how many keys are to be erased."""
    erased = 0
    for key, (version, value) in swaps.items():
        if value is not None:
            check_value(key, value)
        elif version is not None:
            erased += 1
    return erased

"""What an overlay writes into its store besides values.

* `ERASED` as the value of a key: the base has the key, and here it is erased. Being the value of the key itself, a swap decides between
  who erases and who writes, as it does between two who write.
* `THROUGH` as the value of a key: the base's value counts. It holds the place of a key that is about to be swapped.
* The key `FOLDER/__overlay/erased`: nothing of what the base has below the folder is shown. Lying in the folder, it is moved
  with it, in the same step.
* The key `__overlay/any`: something has been erased here once; without it, nothing is looked for.

None of them is ever taken back: what the base has at a place is shown up to some moment, and from then on never again.
"""

from collections.abc import Collection

from zarrv3.errors import InvalidKeyError
from zarrv3.store.contract import Buffer, Changes

NAME = "__overlay"
"""The part of a key that is an overlay's own, wherever it stands. The specification reserves names that begin with `__`."""
ANY = f"{NAME}/any"
FOLDER = f"{NAME}/erased"

ERASED = b"\0zarrv3 overlay: erased here, but not in the base.\n"
THROUGH = b"\0zarrv3 overlay: as in the base, not yet replaced.\n"
SIZE = len(ERASED)
MARKS = (ERASED, THROUGH)
assert len(THROUGH) == SIZE


def is_mark(value: Buffer) -> bool:
    """Whether a value is one of the marks."""
    return len(value) == SIZE and value in MARKS


def is_reserved(key: str) -> bool:
    """Whether a key is an overlay's own."""
    return NAME in key and f"/{NAME}/" in f"/{key}/"


def check_names(keys: Collection[str]) -> None:
    """Raise `InvalidKeyError` for a key or folder that is an overlay's own."""
    for key in keys:
        if is_reserved(key):
            raise InvalidKeyError(
                f"{key!r} has the part {NAME!r}, under which an overlay keeps what is erased"
            )


def check_values(changes: Changes) -> None:
    """Raise `InvalidKeyError` for a value that would be a mark."""
    for key, value in changes.items():
        if value is not None and is_mark(value):
            raise InvalidKeyError(
                f"the value of {key!r} is what an overlay writes to mark a key; nothing was written"
            )


def above(key: str) -> list[str]:
    """The folders that a key lies in, the outermost first."""
    folders = [""]
    end = key.find("/")
    while end >= 0:
        folders.append(key[: end + 1])
        end = key.find("/", end + 1)
    return folders

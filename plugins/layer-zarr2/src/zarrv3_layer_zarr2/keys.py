"""Keys of both formats: `a/.zarray`, `a/.zgroup` and `a/.zattrs` are `a/zarr.json`; chunks have the same keys in both."""

import re
from collections.abc import Iterator
from typing import NamedTuple

DOCUMENT = "zarr.json"
ARRAY, GROUP, ATTRIBUTES, CONSOLIDATED = ".zarray", ".zgroup", ".zattrs", ".zmetadata"
NODES = frozenset({ARRAY, GROUP})
"""The names of documents that make a node."""
CONSOLIDATES = NODES | {ATTRIBUTES}
"""The names of documents that consolidated metadata have."""
HIDDEN = frozenset({ARRAY, GROUP, ATTRIBUTES, CONSOLIDATED, DOCUMENT})
"""The names of keys below that are not shown: documents of version 2, and those of Zarr V3 that lie beside them."""

_NUMBERS = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")


class Split(NamedTuple):
    """A key as folder (`""` or ending in `/`) and name."""

    folder: str
    name: str


def split(key: str) -> Split:
    """A key taken apart."""
    cut = key.rfind("/") + 1
    return Split(key[:cut], key[cut:])


def node_of(key: str) -> str | None:
    """The path of the node whose final document has this key; `None` if it is another key."""
    folder, name = split(key)
    return folder[:-1] if name == DOCUMENT else None


def document(path: str) -> str:
    """The final key of a node's document."""
    return folder_of(path) + DOCUMENT


def folder_of(path: str) -> str:
    """The folder of a node's keys."""
    return f"{path}/" if path else ""


def above(path: str) -> Iterator[str]:
    """The paths above a path, the nearest first, the root last."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def arrays_of(key: str) -> list[str]:
    """The paths of the arrays whose chunk a key may be: `a/0/1` may be one of `a/0` or of `a`."""
    paths = []
    folder, name = split(key)
    while _NUMBERS.fullmatch(name):
        paths.append(folder[:-1])
        folder, name = split(folder[:-1])
    return paths

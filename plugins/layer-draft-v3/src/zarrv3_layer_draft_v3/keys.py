"""Keys of both formats: `meta/root/a.array.json` and `data/root/a/c0/1`, `a/zarr.json` and `a/c/0/1`. Pure text.

A chunk key begins at the last part that starts with `c` and is followed by nothing but
numbers. So an array may be called `c0`, or `0` in a group `c`.
"""

import re
from typing import NamedTuple

from zarrv3_layer_draft_v3.entry import ENTRY

META = "meta/root"
DATA = "data/root/"
CONSOLIDATED = "consolidated"
"""The group that draft consolidated metadata lie in."""

_NUMBER = r"(?:0|[1-9][0-9]{0,19})"
_FINAL = re.compile(rf"(?:(.+)/)?c((?:/{_NUMBER})+|(?:\.{_NUMBER})+|)")
_DRAFT = re.compile(rf"(?:(.+)/)?c({_NUMBER}(?:(?:/{_NUMBER})*|(?:\.{_NUMBER})*)|)")


class Chunk(NamedTuple):
    """A chunk key of either format, taken apart."""

    path: str
    """The path of the array."""
    coords: tuple[int, ...]
    separator: str
    """`/` or `.`; `""` where the key does not tell."""


class Grid(NamedTuple):
    """What an array's metadata say about its chunk keys."""

    ndim: int
    separator: str


def node_of(key: str) -> str | None:
    """The path of the node whose final document has this key, `None` if it is not one."""
    return key[: -len(ENTRY) - 1] if key == ENTRY or key.endswith("/" + ENTRY) else None


def final_document(path: str) -> str:
    """The final key of a node's document."""
    return f"{path}/{ENTRY}" if path else ENTRY


def draft_document(path: str, kind: str, suffix: str) -> str:
    """The draft key of a node's document; `kind` is `array` or `group`."""
    return f"{meta_name(path)}.{kind}{suffix}"


def meta_name(path: str) -> str:
    """What the draft keys of a node's document and of its members start with."""
    return f"{META}/{path}" if path else META


def split_document(key: str, suffix: str) -> tuple[str, str] | None:
    """Path and node type of a draft key below `meta/root`; `None` if it is not a node's document.

    A name may itself end in `.array.json`: one suffix is taken away.
    """
    for kind in ("array", "group"):
        name = key.removesuffix(f".{kind}{suffix}")
        if name == key:
            continue
        if name == META:
            return "", kind
        path = name.removeprefix(META + "/")
        if path != name and path and not path.endswith("/"):
            return path, kind
    return None


def split_final(key: str) -> Chunk | None:
    """A final chunk key (`a/c/0/1`, `a/c.0.1`, `a/c`) taken apart; `None` for any other key."""
    match = _FINAL.fullmatch(key)
    if match is None:
        return None
    text = match[2]
    return Chunk(match[1] or "", _numbers(text[1:], text[:1]), text[:1])


def split_draft(key: str) -> Chunk | None:
    """A draft chunk key without `data/root/` (`a/c0/1`, `a/c0.1`) taken apart; `None` for any other key."""
    match = _DRAFT.fullmatch(key)
    if match is None:
        return None
    text = match[2]
    separator = "/" if "/" in text else "." if "." in text else ""
    return Chunk(match[1] or "", _numbers(text, separator), separator)


def draft_chunks(path: str, coords: tuple[int, ...], separator: str) -> list[str]:
    """The draft keys that a chunk may have, the usual one first: two for an array without dimensions, else one."""
    folder = DATA + (f"{path}/" if path else "")
    if not coords:
        return [f"{folder}c0", f"{folder}c"]
    return [f"{folder}c{separator.join(map(str, coords))}"]


def final_chunk(path: str, coords: tuple[int, ...], separator: str) -> str:
    """The final key of a chunk."""
    return (f"{path}/" if path else "") + separator.join(["c", *map(str, coords)])


def coords_in(chunk: Chunk, grid: Grid) -> tuple[int, ...] | None:
    """The coordinates that a draft key means in an array; `None` if it does not have keys of that form."""
    if grid.ndim == 0:
        return () if chunk.coords in {(0,), ()} and not chunk.separator else None
    fits = len(chunk.coords) == grid.ndim and chunk.separator in {"", grid.separator}
    return chunk.coords if fits else None


def fits(chunk: Chunk, grid: Grid) -> bool:
    """Whether a final chunk key is one of an array."""
    return len(chunk.coords) == grid.ndim and (not chunk.coords or chunk.separator == grid.separator)


def _numbers(text: str, separator: str) -> tuple[int, ...]:
    if not text:
        return ()
    return tuple(map(int, text.split(separator) if separator else [text]))

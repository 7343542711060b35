"""One place, however it is spelled: whether two stores show the same data, or one lies inside the other.

Asked before anything is erased or overwritten that somebody may still have to read. Nothing is written to find out, except by
a probe where the caller allows it, since it is about to write there anyway.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from zarrv3.store.base import Address, BaseStore


class Ground(NamedTuple):
    """A folder of a store that holds its data itself."""

    store: BaseStore
    folder: str
    address: Address


def ground(store: BaseStore, folder: str) -> Ground:
    """The store below all layers, and where a folder lies there."""
    store, folder = store.ground(folder)
    return Ground(store, folder, store.address(folder))


def overlap(source: BaseStore, folder: str, dest: BaseStore, target: str, *, probe: bool) -> bool:
    """Whether a folder of a store is a folder of another one, lies in it, or has it inside.

    Files are compared as the system knows them: through links, mounts and all that else leads to them. A database or archive
    that is written into a folder that is read is not meant: nothing there is replaced.

    Args:
        source: what is read, with what its layers read besides.
        folder: which folder of `source`.
        dest: what is going to be written.
        target: which folder of `dest`.
        probe: where nothing else tells, write a new key to `dest`, look for it in `source`, and erase it.
    """
    for layer, place in source.way_down(folder):
        for store, below in layer.beside(place):
            if overlap(store, below, dest, target, probe=probe):
                return True
    one, other = ground(source, folder), ground(dest, target)
    mine, theirs = one.address, other.address
    if mine.file is not None and theirs.file is not None:
        if _is_file(mine.file, theirs.file) and mine.key is not None and theirs.key is not None:
            return _nested(mine.key, theirs.key)
        return _lies_in(mine.file, theirs.file) or (theirs.key is None and _lies_in(theirs.file, mine.file))
    if _is_same(one.store, other.store):
        return _nested(one.folder, other.folder)
    is_known = not (_is_around(one.store) or _is_around(other.store))
    if is_known and not (type(one.store) is type(other.store) and _nested(mine.key or "", theirs.key or "")):
        return False
    can = other.store.capabilities
    return probe and can.write and can.erase and _shows(one, other, is_known=is_known)


def _is_same(one: BaseStore, other: BaseStore) -> bool:
    """Whether two stores were made for the same data.

    One that holds a mapping is identified by that object: to compare contents would read all that is in both.
    """
    if type(one) is not type(other):
        return False
    mine, theirs = one.identity(), other.identity()
    return mine is theirs or (one.identity() is not mine and bool(mine == theirs))


def _is_around(store: BaseStore) -> bool:
    """Whether a store was made from a live object, of which nobody knows where its data lies."""
    return not set(store.declared().live).isdisjoint(store.changed_options())


def _nested(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


# ---------------------------------------------------------------- files


def _is_file(one: str, other: str) -> bool:
    return _canonical(one) == _canonical(other) or _stamp(one) == _stamp(other) is not None


def _lies_in(inner: str, outer: str) -> bool:
    """Whether a file or folder is another, or lies in it; neither needs to exist."""
    (device, path), (other, above) = _canonical(inner), _canonical(outer)
    if device == other and os.path.commonpath([path, above]) == above:
        return True
    stamp = _stamp(outer)
    path = os.path.realpath(inner)
    while stamp is not None:  # file systems that ignore case, and mounts where the system does not list them
        if _stamp(path) == stamp:
            return True
        path, below = os.path.dirname(path), path  # noqa: PTH120 - texts are all there is
        if path == below:
            break
    return False


def _stamp(path: str) -> tuple[int, int] | None:
    """What tells an existing file from all others."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None


def _canonical(path: str) -> tuple[str, str]:
    """A path without links, within its file system: where a folder is mounted at several places, it is one there."""
    path = os.path.realpath(path)
    best = "", "/", "/"
    for device, root, point in _mounts():
        if len(point) >= len(best[2]) and os.path.commonpath([path, point]) == point:
            best = device, root, point
    device, root, point = best
    if not device:
        return "", path
    return device, os.path.normpath(os.path.join(root, os.path.relpath(path, point)))  # noqa: PTH118


def _mounts() -> list[tuple[str, str, str]]:
    """Devices, the folder of each that is mounted, and where; nothing where the system does not tell."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
            fields = [line.split(" ", 5) for line in lines]
    except OSError:
        return []
    return [(field[2], _plain(field[3]), _plain(field[4])) for field in fields]


def _plain(text: str) -> str:
    """A path of the list of mounts, in which blanks and the like stand as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


# ---------------------------------------------------------------- the probe


_PROBE = b'{"zarr_format": 3, "node_type": "group"}'


def _shows(one: Ground, other: Ground, *, is_known: bool) -> bool:
    """Whether a key that is written to the one place, and erased again, is seen at the other."""
    # stores that take only what is Zarr's take a group
    name = f"zarrv3-probe-{os.urandom(16).hex()}/zarr.json"
    mine, theirs = one.address.key or "", other.address.key or ""
    key = other.folder + name
    if not is_known:
        parts = [part for part in f"{other.address.file or ''}/{theirs}".split("/") if part]
        seen = ["/".join([*parts[start:], name]) for start in range(len(parts) + 1)]
    elif theirs.startswith(mine):
        seen = [one.folder + theirs[len(mine) :] + name]
    else:
        key = other.folder + mine[len(theirs) :] + name
        seen = [one.folder + name]
    try:
        other.store.write_many({key: _PROBE})
        return any(size is not None for size in one.store.stat_many(seen))
    finally:
        try:
            other.store.write_many({key: None})
        except KeyboardInterrupt:  # not before the probe is gone
            other.store.write_many({key: None})
            raise

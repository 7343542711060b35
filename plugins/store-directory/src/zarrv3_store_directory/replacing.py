"""Putting a folder in the place of one that it lies in.

Where the system can exchange two names (Linux, macOS), that is one step: the new folder is moved beside the old one, they are
exchanged, and the old one is moved into the new one, where it is erased. Where it cannot, or the new folder would have other
permissions than the old one, what is in the old one is moved aside, its document first, then what is in the new one is moved up,
its document last: between these renames there is no node, and never half of one. What a process leaves that is killed has the
name of a temporary file, and goes when the next folder is put here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from zarrv3_store_directory.folders import TEMPORARY, Folder

OLD = f"{TEMPORARY}old"
NEW = f"{TEMPORARY}new"

_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_CANNOT = {
    *(errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP),  # the system
    *(errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES, errno.EROFS),  # what is there
}


def put(
    inner: Folder,
    place: tuple[Folder, str],
    outer: Folder,
    above: tuple[Folder, str] | None,
    discard: Callable[[Folder, str], object],
) -> Folder:
    """Put a folder in the place of one that it lies in; returns what is there then, where `OLD` is what was there before.

    Args:
        inner: the new folder.
        place: the folder that it lies in, and its name there.
        outer: the old folder, in which nobody writes.
        above: the folder that the old one lies in, in which nobody writes, and its name there; `None` where it cannot be opened.
        discard: removes what has a name in a folder.
    """
    if above is not None and _may_be_exchanged(inner, outer, *above):
        beside = above[0], f"{TEMPORARY}{above[1][-50:]}"
        try:
            discard(*beside)
            _move(place, beside)
            place = beside
            _exchange(above[0], beside[1], above[1])
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
        else:
            _move(beside, (inner, OLD))
            return inner
    for left in (OLD, NEW):
        discard(outer, left)
    _move(place, (outer, NEW))
    os.mkdir(outer.at(OLD), dir_fd=outer.fd)
    for name in _documents_first(outer):
        if name not in {OLD, NEW}:
            _move((outer, name), (outer, f"{OLD}/{name}"))
    moved = inner if inner.fd is not None else Folder(outer.at(NEW), None)
    for name in reversed(_documents_first(moved)):
        _move((moved, name), (outer, name))
    os.rmdir(outer.at(NEW), dir_fd=outer.fd)
    return outer


def _move(source: tuple[Folder, str], target: tuple[Folder, str]) -> None:
    """Rename a file or folder; each is a folder and a name there."""
    (old, name), (new, other) = source, target
    os.rename(old.at(name), new.at(other), src_dir_fd=old.fd, dst_dir_fd=new.fd)


def _documents_first(folder: Folder) -> list[str]:
    """The names in a folder."""
    names = os.listdir(folder.path if folder.fd is None else folder.fd)  # noqa: PTH208 - of an open folder
    return sorted(names, key=lambda name: name != "zarr.json")


def _may_be_exchanged(inner: Folder, outer: Folder, above: Folder, name: str) -> bool:
    """Whether exchanging two folders changes nothing else: no link, no permission, and not where this process is."""
    if inner.fd is None or outer.fd is None:
        return False
    there, new, old = above.stat(name), os.fstat(inner.fd), os.fstat(outer.fd)
    with suppress(OSError):  # where it is does not exist any more
        if os.path.samestat(os.stat("."), old):  # noqa: PTH116 - not a path of ours
            return False
    return (
        there is not None
        and os.path.samestat(there, old)
        and _rights(inner.fd, new) == _rights(outer.fd, old)
    )


def _rights(fd: int, status: os.stat_result) -> tuple[Any, ...]:
    """Who may do what with a folder."""
    names = sorted(os.listxattr(fd)) if sys.platform == "linux" else []
    return status.st_uid, status.st_gid, status.st_mode, [(name, os.getxattr(fd, name)) for name in names]


def _exchange(folder: Folder, one: str, other: str) -> None:
    """Exchange two names in a folder in one step; an `OSError` with one of `_CANNOT` where the system cannot."""
    call = _system()
    failed = call is None or call(folder.fd, os.fsencode(one), folder.fd, os.fsencode(other), _EXCHANGE)
    if failed:
        raise OSError(ctypes.get_errno() if call else errno.ENOSYS, "two folders cannot be exchanged")


@cache
def _system() -> Any:
    """The function of the system that renames relative to open folders, with flags; `None` where it has none."""
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform)
    return getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None

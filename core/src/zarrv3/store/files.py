"""Files that stores keep beside their data, files that replace others, and making names durable."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from zarrv3.errors import StoreAccessError
from zarrv3.store.contract import Buffer

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_HAS_OWNERS = hasattr(os, "fchown")
_TOLD = {errno.EIO, errno.ENOSPC, errno.EDQUOT}  # else it is a folder that cannot be opened or synchronised


_moving = threading.Lock()


def _read_at(fd: int, length: int, start: int) -> bytes:
    with _moving:
        os.lseek(fd, start, os.SEEK_SET)
        return os.read(fd, length)


def _write_at(fd: int, data: Buffer, start: int) -> int:
    with _moving:
        os.lseek(fd, start, os.SEEK_SET)
        return os.write(fd, data)


# what `os.pread` and `os.pwrite` do, on Windows too, which has one position for each open file
read_at: Callable[[int, int, int], bytes] = getattr(os, "pread", _read_at)
write_at: Callable[[int, Buffer, int], int] = getattr(os, "pwrite", _write_at)


def check_helper_file(path: str) -> None:
    """Raise `StoreAccessError` where a helper file would be opened through a link, symbolic or hard, or is not a plain file.

    For libraries that open theirs themselves; a store's own are opened with `O_NOFOLLOW`, and new ones with `O_EXCL` too. The
    file is not opened for it: that it is closed would release the locks that a library has on it in this process.
    """
    status = status_of(path)
    if status is None:
        return
    what = None
    if stat.S_ISLNK(status.st_mode):
        what = "a symbolic link, and what it leads to would be overwritten"
    elif not stat.S_ISREG(status.st_mode):
        what = "not a file"
    elif status.st_nlink > 1:
        what = "a file with other names (hard links), and would be overwritten under them too"
    if what:
        raise StoreAccessError(f"{path!r}, which this store needs for itself, is {what}; remove it")


def status_of(path: str) -> os.stat_result | None:
    """The status of what is at a path, of a link itself; `None` where there is nothing."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def narrow(before: os.stat_result | None) -> int:
    """The mode to create a file with that is to replace another one: until it has that one's group, its group may do what all may."""
    mode = before.st_mode if before is not None and stat.S_ISREG(before.st_mode) else 0o666
    return mode & 0o707 | (mode & 0o007) << 3


def inherit(fd: int, before: os.stat_result | None) -> None:
    """Give a new file, opened with the mode `narrow`, the owner, group and permissions of the one that it is to replace.

    As far as this process may: whatever it may not set, nobody can do more with the new file than with the old one.
    """
    if before is None or not stat.S_ISREG(before.st_mode) or not _HAS_OWNERS:
        return
    new = os.fstat(fd)
    if (new.st_uid, new.st_gid) != (before.st_uid, before.st_gid):
        for owner in (before.st_uid, -1):
            with suppress(OSError):
                os.fchown(fd, owner, before.st_gid)
                break
        new = os.fstat(fd)
    mode = before.st_mode & 0o777 if new.st_gid == before.st_gid else narrow(before)
    if new.st_mode & 0o777 != mode:
        with suppress(OSError):  # a file system without permissions
            os.fchmod(fd, mode)


def sync_folder(path: str) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name != "posix":
        return
    opened = [-1]
    close = partial(any, map(os.close, iter(opened.pop, -1)))  # an interrupt leaves nothing open
    try:
        opened.extend(map(os.open, (path or ".",), (_FOLDER,)))
        os.fsync(opened[-1])
    finally:
        close()


def sync_names(path: str) -> None:
    """Make the name of a file or folder durable, and those of all folders above it that this process may open."""
    folder = os.path.abspath(path)  # noqa: PTH100 - a text path is all there is
    while (above := os.path.dirname(folder)) != folder:  # noqa: PTH120
        folder = above
        try:
            sync_folder(folder)
        except OSError as error:
            if error.errno in _TOLD:
                raise

"""Files that stores keep beside their data, and making names durable."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial

from zarrv3.errors import StoreAccessError

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_TOLD = {errno.EIO, errno.ENOSPC, errno.EDQUOT}  # else it is a folder that cannot be opened or synchronised


def check_helper_file(path: str) -> None:
    """Raise `StoreAccessError` where a helper file would be opened through a link, symbolic or hard, or is not a plain file.

    For libraries that open theirs themselves; a store's own are opened with `O_NOFOLLOW`, and new ones with `O_EXCL` too. The
    file is not opened for it: that it is closed would release the locks that a library has on it in this process.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
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

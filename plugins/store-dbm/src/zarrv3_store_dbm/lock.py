"""A lock file between processes."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

from zarrv3.errors import StoreUnavailableError
from zarrv3.store.files import check_helper_file

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

LOCKS = fcntl is not None
"""Whether processes of this system can keep each other out."""

PATIENCE = 0.5
"""Seconds to wait for another process: it may be closing just now."""

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_FILE = {errno.EACCES, errno.EPERM, errno.EROFS}


class LockFile:
    """`NAME.lock` beside an open database: shared by readers, exclusive to a process that writes.

    The file goes away with its last user. One left by a killed process is empty and blocks nobody. There is
    none where it cannot be made (a reader in a folder that it may not write) or the file system has no locks.
    """

    def __init__(self, path: str) -> None:
        self.path = f"{path}.lock"
        self._opened: list[int] = []  # filled and emptied by steps in C, between which no interrupt comes

    def take(self, *, exclusive: bool) -> None:
        """Take the lock or change its kind; raises `StoreUnavailableError` when another process holds it.

        After that error no lock is held.
        """
        if fcntl is None:  # pragma: no cover - Windows
            return
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if self._try(fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH):
                    return
            except BlockingIOError as error:
                if time.monotonic() > end:
                    self.forget()
                    what = "in use" if exclusive else "written"
                    raise StoreUnavailableError(
                        f"the database is {what} by another process, which holds {self.path!r}; "
                        "only one process at a time may write to it: close it there and call again"
                    ) from error
                time.sleep(0.01)
            except OSError as error:
                self.forget()
                if error.errno in _NO_LOCKS or (not exclusive and error.errno in _NO_FILE):
                    return
                raise

    def release(self) -> None:
        """Release the lock, and remove the file unless another process holds it."""
        if not self._opened:
            return
        with suppress(OSError):
            fcntl.flock(self._opened[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_there():
                os.unlink(self.path)  # noqa: PTH108
        self.forget()

    def forget(self) -> None:
        """Close the file as it is: in a forked child, where the lock stays the parent's."""
        any(map(os.close, map(self._opened.pop, [-1] * len(self._opened))))

    def _try(self, kind: int) -> bool:
        """Whether the lock is on the file that is there now, not on one that its last user has removed."""
        if not self._opened:
            check_helper_file(self.path)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            self._opened.extend(map(os.open, (self.path,), (flags,), (0o666,)))
        fcntl.flock(self._opened[0], kind | fcntl.LOCK_NB)
        if self._is_there():
            return True
        self.forget()
        return False

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._opened[0]), os.stat(self.path))  # noqa: PTH116
        except FileNotFoundError:
            return False

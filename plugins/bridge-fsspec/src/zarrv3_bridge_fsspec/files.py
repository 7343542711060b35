"""What `open` returns: a value is read when its file is opened, and written when it is closed, whole each time."""

from __future__ import annotations

import io
from types import TracebackType
from typing import Any

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, whole


class ReadFile(io.BytesIO):
    """A value open for reading: as it was when it was opened."""

    mode = "rb"

    def __init__(self, fs: Any, path: str, value: Buffer) -> None:
        super().__init__(value)
        self.fs, self.path, self.size = fs, path, len(value)

    def writable(self) -> bool:
        """Whether the file can be written: no."""
        return False

    def write(self, _: Any) -> int:
        """Refuse to write: `io.UnsupportedOperation`."""
        raise io.UnsupportedOperation("the file is open for reading")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where the value is: it is read again."""
        return self.fs.open, (self.path, "rb")


class WriteFile(io.BytesIO):
    """A value that is being written, and stored when the file is closed; not if its `with` block raises.

    Args:
        fs: the file system.
        path: the path inside.
        mode: `wb` replaces the value, `xb` stores it unless the key exists, `ab` puts it after what is there.
        autocommit: store it when the file is closed, not when a transaction of fsspec ends.
    """

    def __init__(self, fs: Any, path: str, mode: str, *, autocommit: bool) -> None:
        super().__init__()
        self.fs, self.path, self.autocommit = fs, path, autocommit
        self.mode = mode  # type: ignore[misc]  # a file has one
        self._written: bytes | None = None

    def readable(self) -> bool:
        """Whether the file can be read: no."""
        return False

    def close(self) -> None:
        """Store what was written."""
        if self.closed:
            return
        self._written = self.getvalue()
        super().close()
        if self.autocommit:
            self.commit()

    def commit(self) -> None:
        """Store what was written, once."""
        written, self._written = self._written, None
        if written is not None:
            store(self.fs.store, self.path[1:], written, self.mode)

    def discard(self) -> None:
        """Store nothing."""
        self._written = None
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; after an error, without storing half a value."""
        if error is not None:
            self.discard()
        self.close()


def store(target: BaseStore, key: str, value: bytes, mode: str) -> None:
    """Store a value in one of the modes; atomically where the store swaps."""
    if mode == "wb":
        target.write_many({key: value})
    elif not target.capabilities.swap:
        (old,) = target.get_many(whole([key]))
        if mode == "xb" and old is not None:
            raise taken(key)
        target.write_many({key: bytes(old or b"") + value})
    elif mode == "xb":
        if target.swap_many({key: (None, value)}):
            raise taken(key)
    else:
        refused = True
        while refused:  # by somebody who was faster: after their value
            ((old, version),) = target.get_versioned([key])
            refused = bool(target.swap_many({key: (version, bytes(old or b"") + value)}))


def taken(path: str) -> FileExistsError:
    """The error of a file that was to be new."""
    return FileExistsError(f"{path!r} exists already")

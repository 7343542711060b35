"""`DirectoryStore`: what a user says, as options."""

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from zarrv3.options.urls import Url, boolean, local_path
from zarrv3.store.contract import Driver
from zarrv3.store.file_backend import FileBackend
from zarrv3_store_directory.driver import DirectoryDriver


class DirectoryStore(FileBackend):
    """A folder of files, one a key; `file:///absolute/path` or the bare path of a folder.

    Safe to write from many threads and processes: every value is replaced atomically. Files are open only while they are
    read or written. Nothing is created before the first write.

    Args:
        path: the folder that is the root of the hierarchy; it need not exist yet.
        normalize_keys: lower-case all keys, so that `foo` and `FOO` are the same key.
        dimension_separator: the separator that arrays created here use by default: `.` or `/`.
        fsync: return from a write only when the value is on the disk.
        follow_symlinks: follow symbolic links below `path`; without it reading one is an error.
    """

    kind = "directory"
    example_name = "directory.zarr"
    option_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "normalize_keys": boolean,
        "dimension_separator": str,
        "fsync": boolean,
        "follow_symlinks": boolean,
    }

    def __init__(
        self,
        path: str | os.PathLike[str],
        normalize_keys: bool = False,
        dimension_separator: Literal[".", "/"] | None = None,
        *,
        fsync: bool = False,
        follow_symlinks: bool = False,
    ) -> None:
        super().__init__(
            path,
            normalize_keys=normalize_keys,
            dimension_separator=dimension_separator,
            fsync=fsync,
            follow_symlinks=follow_symlinks,
        )

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The folder of `file:///absolute/path` or of a bare path."""
        return {"path": local_path(url) if url.scheme else url.path}

    @classmethod
    def example_url(cls, folder: str) -> str:
        """A folder in the folder."""
        return super().example_url(folder).replace(f"{cls.kind}:", "file:", 1)

    def connect(self) -> Driver:
        """The driver over the folder; nothing is touched."""
        return DirectoryDriver(
            self.path,
            lower=self._options["normalize_keys"],
            fsync=self._options["fsync"],
            follow_symlinks=self._options["follow_symlinks"],
        )

"""`DirectoryStore`: its options and URL."""

import os
from typing import Annotated, Any

from zarrv3.options.declared import Option
from zarrv3.options.urls import Url, local_path
from zarrv3.store.base import Address, Separator
from zarrv3.store.contract import Driver
from zarrv3.store.file_backend import FileBackend
from zarrv3_store_directory.driver import DirectoryDriver


class DirectoryStore(FileBackend):
    """A folder of files, one per key; `file:///absolute/path` or the plain path of a folder.

    Safe to write from many threads and processes: every value is replaced atomically. Files are open only while they are
    read or written. Nothing is created before the first write.
    """

    kind = "directory"
    example_name = "directory.zarr"

    def __init__(
        self,
        path: Annotated[
            str | os.PathLike[str],
            Option("the folder that is the root of the hierarchy; it need not exist yet"),
        ],
        normalize_keys: Annotated[
            bool, Option("lower-case all keys, so that `foo` and `FOO` are one key")
        ] = False,
        dimension_separator: Separator = None,
        *,
        fsync: Annotated[bool, Option("return from every change only once it is on the disk")] = False,
        follow_symlinks: Annotated[
            bool, Option("follow symbolic links below the folder; otherwise they are an error")
        ] = False,
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
        """The folder of `file:///absolute/path` or of a plain path."""
        return {"path": local_path(url) if url.scheme else url.path}

    @classmethod
    def example_url(cls, folder: str) -> str:
        """A folder in the folder."""
        return super().example_url(folder).replace(f"{cls.kind}:", "file:", 1)

    def connect(self) -> Driver:
        """The driver over the folder; nothing is touched."""
        return DirectoryDriver(
            self.path,
            lower=self.option("normalize_keys"),
            fsync=self.option("fsync"),
            follow_symlinks=self.option("follow_symlinks"),
        )

    def address(self, folder: str) -> Address:
        """See `BaseStore`; each key is a file."""
        return Address(os.path.join(self.path, folder), None)  # noqa: PTH118 - a text is wanted

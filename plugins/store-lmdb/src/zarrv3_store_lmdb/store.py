"""`LMDBStore`: what a user says, as options."""

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import lmdb

from zarrv3.errors import (
    ConfigurationError,
    LimitError,
    ReadOnlyError,
    StoreAccessError,
    StoreUnavailableError,
)
from zarrv3.options.urls import boolean, byte_size
from zarrv3.store.backend import ErrorTable
from zarrv3.store.contract import Driver
from zarrv3.store.file_backend import FileBackend
from zarrv3_store_lmdb.driver import LMDBDriver
from zarrv3_store_lmdb.environments import FIRST_SIZE, Place

_LMDB_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "map_size": byte_size,
    "subdir": boolean,
    "readonly": boolean,
    "metasync": boolean,
    "sync": boolean,
    "map_async": boolean,
    "mode": lambda text: int(text, 8),
    "create": boolean,
    "readahead": boolean,
    "writemap": boolean,
    "meminit": boolean,
    "max_readers": int,
    "max_dbs": int,
    "max_spare_txns": int,
    "lock": boolean,
    "lib_version": int,
}
"""What `lmdb.open` takes, and how text in a URL becomes it."""

_DEFAULTS: Mapping[str, Any] = {"sync": False, "metasync": False, "max_readers": 1024, "mode": 0o777}
"""What is not as `lmdb.open` has it: a write is flushed by `flush` and `close`, many threads may read at once, and the umask alone
says who else may use the files."""


class LMDBStore(FileBackend):
    """An LMDB database; `lmdb:///absolute/path`.

    Safe to use from many threads and processes of one machine. Every batch is one transaction. The database grows as
    needed. Nothing is created before the first write; `flush` and `close` bring what was written to the disk.

    Args:
        path: the folder of the database, which need not exist yet, or an existing database in a single file.
        buffers: accepted for the sake of old code; values are always read in place and copied once.
        dimension_separator: the separator that arrays created here use by default: `.` or `/`.
        kwargs: for `lmdb.open`; `map_size` is the size at first, 16 MiB by default, and `subdir` is found out where
            something is; `sync` and `metasync` are off unless they are asked for.
    """

    kind = "lmdb"
    example_name = "data.lmdb"
    option_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "buffers": boolean,
        "dimension_separator": str,
        **_LMDB_OPTIONS,
    }
    errors: ClassVar[ErrorTable] = {
        lmdb.BadValsizeError: LimitError,
        lmdb.ReadonlyError: ReadOnlyError,
        lmdb.ReadersFullError: StoreUnavailableError,
        lmdb.Error: StoreAccessError,
    }

    def __init__(
        self,
        path: str | os.PathLike[str],
        buffers: bool = True,
        dimension_separator: Literal[".", "/"] | None = None,
        **kwargs: Any,
    ) -> None:
        unknown = sorted(set(kwargs) - set(_LMDB_OPTIONS))
        if unknown:
            known = ", ".join(["buffers", "dimension_separator", *_LMDB_OPTIONS])
            raise ConfigurationError(f"'lmdb' has no option {unknown[0]!r}; its options are: {known}")
        super().__init__(
            path,
            buffers=buffers,
            dimension_separator=dimension_separator,
            **kwargs,
        )

    def connect(self) -> Driver:
        """The driver over the path; the database is opened when it is first needed."""
        given = {name: self.option(name) for name in _LMDB_OPTIONS if name in self._options}
        options = {**_DEFAULTS, **given}
        place = _place(self.path, options.pop("subdir", None))
        readonly = options.pop("readonly", False)
        return LMDBDriver(place, options, map_size=options.pop("map_size", FIRST_SIZE), readonly=readonly)


def _place(path: str, subdir: bool | None) -> Place:
    """Where the database is, a folder or a file, whichever is there."""
    if subdir is None:
        return Place(path, subdir=not os.path.isfile(path))  # noqa: PTH113
    if subdir and os.path.isfile(path):  # noqa: PTH113
        raise StoreAccessError(
            f"{path!r} is a file, not the folder of an LMDB database; open it without subdir=True"
        )
    if not subdir and os.path.isdir(path):  # noqa: PTH112
        raise StoreAccessError(
            f"{path!r} is a folder, not a database in a single file; open it without subdir=False"
        )
    return Place(path, subdir=subdir)

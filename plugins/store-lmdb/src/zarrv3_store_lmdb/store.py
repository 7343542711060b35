"""`LMDBStore`: its options and URL."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypedDict, Unpack

import lmdb

from zarrv3.errors import (
    LimitError,
    ReadOnlyError,
    StoreAccessError,
    StoreUnavailableError,
)
from zarrv3.options.declared import Option
from zarrv3.options.urls import byte_size
from zarrv3.store.backend import ErrorTable
from zarrv3.store.base import Address, Separator
from zarrv3.store.contract import Driver
from zarrv3.store.file_backend import FileBackend
from zarrv3_store_lmdb.driver import LMDBDriver
from zarrv3_store_lmdb.environments import FIRST_SIZE, Place


class LMDBOptions(TypedDict, total=False):
    """What `lmdb.open` takes."""

    map_size: Annotated[
        int,
        Option(
            "the initial size, 16 MiB by default; it grows by itself, at least doubling",
            convert=byte_size,
            takes="a size like `64MiB`",
        ),
    ]
    subdir: Annotated[bool, Option("whether the path is a folder; detected where something exists")]
    readonly: Annotated[bool, Option("open for reading only")]
    metasync: Annotated[bool, Option("flush the meta page too with each transaction; off by default")]
    sync: Annotated[
        bool, Option("flush each transaction to the disk; off by default: `flush` and `close` do")
    ]
    map_async: Annotated[bool, Option("with `writemap`, let the system flush when it likes")]
    mode: Annotated[
        int,
        Option(
            "permissions of new files", convert=lambda text: int(text, 8), takes="permissions such as `755`"
        ),
    ]
    create: Annotated[bool, Option("whether the folder is made")]
    readahead: Annotated[bool, Option("let the system read ahead")]
    writemap: Annotated[bool, Option("write into the memory map itself")]
    meminit: Annotated[bool, Option("clear new pages before they are written")]
    max_readers: Annotated[
        int, Option("how many read transactions there may be at once, in all processes; 1024 by default")
    ]
    max_dbs: Annotated[int, Option("how many named databases the file may have")]
    max_spare_txns: Annotated[int, Option("how many read transactions are kept for use again")]
    lock: Annotated[bool, Option("off where there are no file locks: then one process only")]
    lib_version: Annotated[int, Option("see `lmdb.open`")]


_NAMES = frozenset(LMDBOptions.__annotations__)

_DEFAULTS: Mapping[str, Any] = {"sync": False, "metasync": False, "max_readers": 1024, "mode": 0o777}
"""Our defaults that differ from those of `lmdb.open`: a write is flushed by `flush` and `close`, many threads
may read at once, and the umask alone says who else may use the files."""


class LMDBStore(FileBackend):
    """An LMDB database; `lmdb:///absolute/path`.

    Safe to use from many threads and processes of one machine. Every batch is one transaction. The database
    grows as needed. Nothing is created before the first write; `flush` and `close` bring writes to the disk.
    """

    kind = "lmdb"
    example_name = "data.lmdb"
    errors: ClassVar[ErrorTable] = {
        lmdb.BadValsizeError: LimitError,
        lmdb.ReadonlyError: ReadOnlyError,
        lmdb.ReadersFullError: StoreUnavailableError,
        lmdb.Error: StoreAccessError,
    }

    def __init__(
        self,
        path: Annotated[
            str | os.PathLike[str],
            Option(
                "the folder of the database, which need not exist yet, or an existing database in a single file"
            ),
        ],
        buffers: Annotated[
            bool, Option("has no effect: values are always read in place and copied once")
        ] = True,
        dimension_separator: Separator = None,
        **kwargs: Unpack[LMDBOptions],
    ) -> None:
        super().__init__(
            path,
            buffers=buffers,
            dimension_separator=dimension_separator,
            **kwargs,
        )

    def connect(self) -> Driver:
        """The driver over the path; the database is opened when it is first needed."""
        given = {name: self.option(name) for name in self.given_options if name in _NAMES}
        options = {**_DEFAULTS, **given}
        place = _place(self.path, options.pop("subdir", None))
        readonly = options.pop("readonly", False)
        return LMDBDriver(place, options, map_size=options.pop("map_size", FIRST_SIZE), readonly=readonly)

    def address(self, folder: str) -> Address:
        """See `BaseStore`; the file with the data."""
        return Address(Place(self.path, subdir=not os.path.isfile(self.path)).data, folder)  # noqa: PTH113


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

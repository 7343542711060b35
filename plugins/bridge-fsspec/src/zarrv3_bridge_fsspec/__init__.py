"""Stores of zarrv3 as file systems of fsspec, which finds them by their schemes.

Data flows from top to bottom:
places      a URL → the store and the path inside
filesystem  `StoreFileSystem`: fsspec's methods; single keys go to the queue, folders straight to the store
files       what `open` returns
gathering   single-key calls of one turn of an event loop → batches of a store
"""

from zarrv3_bridge_fsspec.filesystem import (
    DBMFileSystem,
    LMDBFileSystem,
    MongoDBFileSystem,
    RedisFileSystem,
    SQLFileSystem,
    SQLiteFileSystem,
    StoreFileSystem,
)

__all__ = [
    "DBMFileSystem",
    "LMDBFileSystem",
    "MongoDBFileSystem",
    "RedisFileSystem",
    "SQLFileSystem",
    "SQLiteFileSystem",
    "StoreFileSystem",
]

"""Zip archives as stores.

store    the options and the URL: `ZipStore`, an archive in a file
reader   `ZipReader`, the adapter `|zip:`: an archive that is a value of another store
driver   the contract over an archive in a file
archive  the state of an archive that all stores of a process share; flushing
entries  where values lie in files, and copying them
spool    files, and the one in which unflushed values wait under a lock
members  names, headers, compression and checksums: what lies in an archive
"""

from zarrv3_store_zip.reader import ZipReader
from zarrv3_store_zip.store import ZipStore

__all__ = ["ZipReader", "ZipStore"]

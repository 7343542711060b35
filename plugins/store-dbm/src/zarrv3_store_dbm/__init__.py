"""DBM databases as a store.

store      the options and the URL: `DBMStore`
driver     the contract over a database
databases  one database per path and process: its handle, its lock file, its key names
modules    which module a file belongs to; any `dbm` module's object as a handle
dumb       the format of `dbm.dumb`, written so that it survives a killed process
space      which blocks of a data file are free
worker     a thread that alone touches a handle
lock       a lock file between processes
"""

from zarrv3_store_dbm.store import DBMStore

__all__ = ["DBMStore"]

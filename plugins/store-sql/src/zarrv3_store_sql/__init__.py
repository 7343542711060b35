"""SQL databases as stores.

store     the options and the URLs: `SQLStore`, `SQLiteStore`
driver    the contract over one table
dialects what differs between SQLite, PostgreSQL and MySQL: the table, upserts, ranges, folders
engines   from options to an SQLAlchemy engine, and servers
files     the connections of SQLite
failures  what a database's error means
"""

from zarrv3_store_sql.store import SQLiteStore, SQLStore

__all__ = ["SQLStore", "SQLiteStore"]

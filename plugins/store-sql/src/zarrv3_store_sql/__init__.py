"""SQL databases as stores.

store     the options and the URLs: `SQLStore`, `SQLiteStore`
driver    the contract over one table
dialects  what SQLite, PostgreSQL and MySQL say differently: the table, upserts, ranges, folders
engines   from options to an SQLAlchemy engine
failures  what a database's error means
"""

from zarrv3_store_sql.store import SQLiteStore, SQLStore

__all__ = ["SQLStore", "SQLiteStore"]

"""MongoDB as a store.

store    the options and the URL: `MongoDBStore`
client   the pymongo client that the options ask for
driver   the contract over commands
heads    one document per key: queries, and the index that makes keys unique
parts    values that no document can hold, in documents of their own
testing a server for tests and demonstrations
"""

from zarrv3_store_mongodb.store import MongoDBStore

__all__ = ["MongoDBStore"]

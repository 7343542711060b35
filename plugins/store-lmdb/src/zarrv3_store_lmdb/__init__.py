"""LMDB databases as a store.

store         the options and the URL: `LMDBStore`
driver        the contract over transactions
environments  LMDB environments: one a file and process, maps that grow, forks
gate          who may be in a transaction while the map is exchanged
"""

from zarrv3_store_lmdb.store import LMDBStore

__all__ = ["LMDBStore"]

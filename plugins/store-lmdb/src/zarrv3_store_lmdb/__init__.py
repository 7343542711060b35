"""LMDB databases as a store.

store         the options and the URL: `LMDBStore`
driver        the contract over transactions
environments  LMDB environments: one per file and process, maps that grow, forks
"""

from zarrv3_store_lmdb.store import LMDBStore

__all__ = ["LMDBStore"]

"""A layer that remembers what was read.

layer    `LRUStoreCache`: which calls are answered from memory, and what every write does to what is remembered
ledger   which thread fetches or writes what: the one lock
entries  what is remembered: least recently used order, exact sizes
tier     a second store that remembers values beyond the process
sealed   the form of a value in that store, which shows damage
"""

from zarrv3_layer_lru_cache.entries import Statistics
from zarrv3_layer_lru_cache.layer import LRUStoreCache
from zarrv3_layer_lru_cache.tier import CacheWarning

__all__ = ["CacheWarning", "LRUStoreCache", "Statistics"]

"""Redis and Valkey as a store.

store    the options and the URL: `RedisStore`
client   the redis-py client that the options ask for
exchange commands and their replies over the connections of a pool
driver   the contract over commands, each call one round trip
index    which keys there are, so that listing costs what it returns
scripts  what the server does in one step, in Lua
names    what a key is called in the database
"""

from zarrv3_store_redis.driver import EvictionWarning
from zarrv3_store_redis.store import RedisStore

__all__ = ["EvictionWarning", "RedisStore"]

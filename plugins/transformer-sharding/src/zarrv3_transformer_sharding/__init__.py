"""Sharding: many chunks in one value.

transformer  `ShardingTransformer`: a store of chunks on a store of shards
codec        `ShardingCodec`: the codec of the specification, which becomes a transformer where it can
reading      indexes, then ranges: how chunks are fetched, even if a shard is replaced in the meantime
shard        the index and the bytes of a shard, checked
places       chunk keys ↔ shards           ranges      byte ranges that are fetched as one
"""

from zarrv3_transformer_sharding.codec import ShardingCodec
from zarrv3_transformer_sharding.transformer import ShardingTransformer

__all__ = ["ShardingCodec", "ShardingTransformer"]

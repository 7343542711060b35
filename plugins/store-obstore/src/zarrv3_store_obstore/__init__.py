"""Object stores of the clouds and web servers, by obstore.

store     the options and the URL: `ObjectStore`
clouds    from options to an object store of obstore
driver    the contract: which requests are sent, and what the answers mean
requests  many requests under way at once, without a thread for each
library   obstore of this process: a forked child needs one of its own
failures  what obstore's exceptions mean
"""

from zarrv3_store_obstore.store import ObjectStore

__all__ = ["ObjectStore"]

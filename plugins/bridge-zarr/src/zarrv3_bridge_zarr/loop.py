"""The thread whose event loop runs the coroutines of foreign stores: one per process, started on first use.

It is not zarr-python's own loop, so that a store of ours can be used from there, and stores may lie on one another.
"""

from zarrv3.store.loops import Loop

LOOP = Loop("zarrv3-bridge-zarr")
run = LOOP.run

# layout        how an array's chunks lie           transformers  stores that array metadata names
# tasks         a plan, cut and done in threads     pool          the threads
# kernels       batches in C, where installed       chunk_cache   decoded chunks that are kept
# resizing      what happens when a shape changes   write_buffer  parts of chunks that wait
# rooms         memory for large chunks and shards
"""Chunks: the one place where selections, keys, codecs and stores meet."""
